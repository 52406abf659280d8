//! Sizes that are not known yet: what can be said of expressions.

use std::rc::Rc;

use super::facts::{Facts, Step};
use crate::lower::expr::Expr;

/// Larger expressions than sizes of real networks have.
const MAX_PARTS: usize = 512;
/// Larger sizes are not tried.
pub(super) const MAX_SIZE: i64 = 4096;
/// Deeper expressions than sizes of real networks have.
const MAX_DEPTH: usize = 48;

fn parts(expr: &Expr) -> Vec<&Expr> {
    match expr {
        Expr::Int(_) | Expr::Symbol(_) => Vec::new(),
        Expr::Sum(list) | Expr::Product(list) | Expr::Max(list) | Expr::Min(list) => {
            list.iter().collect()
        }
        Expr::Quotient(a, b) | Expr::Remainder(a, b) => vec![a, b],
    }
}

/// Refuses an expression that has grown beyond what sizes are; all that is computed passes here.
pub(super) fn bounded(expr: Expr) -> Step<Expr> {
    if count(&expr) > MAX_PARTS {
        return Err("a size is too long an expression".into());
    }
    Ok(expr)
}

/// Of how many parts an expression is; one more than the most, where they are more or too deep in each other.
pub(super) fn count(expr: &Expr) -> usize {
    let mut count = 0;
    let mut queue = vec![(expr, 0)];
    while let Some((part, depth)) = queue.pop() {
        count += 1;
        if count > MAX_PARTS || depth > MAX_DEPTH {
            return MAX_PARTS + 1;
        }
        queue.extend(parts(part).into_iter().map(|part| (part, depth + 1)));
    }
    count
}

/// How much work it is to add or multiply an expression, part by part with all others, and again.
pub(super) fn weight(expr: &Expr) -> usize {
    let count = count(expr);
    1 + count * count / 8
}

/// Whether a symbol is part of an expression.
pub(super) fn has(expr: &Expr, symbol: &str) -> bool {
    match expr {
        Expr::Symbol(name) => &**name == symbol,
        other => parts(other).into_iter().any(|part| has(part, symbol)),
    }
}

/// Adds the symbols of an expression that are not there yet.
pub(super) fn symbols(expr: &Expr, into: &mut Vec<Rc<str>>) {
    match expr {
        Expr::Symbol(name) if !into.contains(name) => into.push(Rc::clone(name)),
        other => parts(other)
            .into_iter()
            .for_each(|part| symbols(part, into)),
    }
}

/// The expression with another in a symbol's place.
pub(super) fn substitute(expr: &Expr, symbol: &str, by: &Expr) -> Expr {
    let each = |list: &[Expr]| -> Vec<Expr> {
        list.iter()
            .map(|part| substitute(part, symbol, by))
            .collect()
    };
    match expr {
        Expr::Symbol(name) if &**name == symbol => by.clone(),
        Expr::Int(_) | Expr::Symbol(_) => expr.clone(),
        Expr::Sum(list) => Expr::sum(each(list)),
        Expr::Product(list) => Expr::product(each(list)),
        Expr::Max(list) => Expr::Max(each(list)),
        Expr::Min(list) => Expr::Min(each(list)),
        Expr::Quotient(a, b) => {
            Expr::quotient(substitute(a, symbol, by), substitute(b, symbol, by))
        }
        Expr::Remainder(a, b) => Expr::Remainder(
            substitute(a, symbol, by).into(),
            substitute(b, symbol, by).into(),
        ),
    }
}

/// The value of an expression, where its symbols have one and nothing overflows.
pub(super) fn evaluate(expr: &Expr, size: &dyn Fn(&str) -> Option<i64>) -> Option<i64> {
    let all = |list: &[Expr]| -> Option<Vec<i64>> {
        list.iter().map(|part| evaluate(part, size)).collect()
    };
    match expr {
        Expr::Int(n) => Some(*n),
        Expr::Symbol(name) => size(name),
        Expr::Sum(list) => all(list)?.into_iter().try_fold(0i64, i64::checked_add),
        Expr::Product(list) => all(list)?.into_iter().try_fold(1i64, i64::checked_mul),
        Expr::Max(list) => all(list)?.into_iter().max(),
        Expr::Min(list) => all(list)?.into_iter().min(),
        Expr::Quotient(a, b) => evaluate(a, size)?.checked_div_euclid(evaluate(b, size)?),
        Expr::Remainder(a, b) => evaluate(a, size)?.checked_rem_euclid(evaluate(b, size)?),
    }
}

/// The one symbol that an expression is a multiple of, or a number more than that, and what it is where the expression is `n`.
pub(super) fn solve(expr: &Expr, n: i64) -> Option<(Rc<str>, i64)> {
    match expr {
        Expr::Symbol(name) => Some((Rc::clone(name), n)),
        Expr::Product(factors) => match factors.as_slice() {
            [Expr::Int(by), Expr::Symbol(name)] if *by > 0 && n % by == 0 => {
                Some((Rc::clone(name), n / by))
            }
            _ => None,
        },
        Expr::Sum(terms) => match terms.as_slice() {
            [term, Expr::Int(more)] => solve(term, n.checked_sub(*more)?),
            _ => None,
        },
        _ => None,
    }
}

/// Whether there is a size by which an expression of one symbol is `n`; of several symbols it is not asked.
pub(super) fn can_be(expr: &Expr, n: i64) -> bool {
    let mut names = Vec::new();
    symbols(expr, &mut names);
    names.len() != 1 || (1..=MAX_SIZE).any(|size| evaluate(expr, &|_| Some(size)) == Some(n))
}

/// The product of some sizes and that of others, without the factors that both have.
pub(super) fn reduced(over: &[Expr], under: &[Expr]) -> (Expr, Expr) {
    let factors = |list: &[Expr]| {
        let (mut number, mut rest) = (1i64, Vec::new());
        let mut queue: Vec<Expr> = list.to_vec();
        while let Some(factor) = queue.pop() {
            match factor {
                Expr::Int(n) => number = number.saturating_mul(n),
                Expr::Product(inner) => queue.extend(inner),
                other => rest.push(other),
            }
        }
        (number, rest)
    };
    let ((mut a, mut over), (mut b, mut under)) = (factors(over), factors(under));
    under.retain(|factor| match over.iter().position(|f| f == factor) {
        Some(at) => {
            over.swap_remove(at);
            false
        }
        None => true,
    });
    if b > 0 {
        let (mut x, mut y) = (a.unsigned_abs(), b.unsigned_abs());
        while y > 0 {
            (x, y) = (y, x % y);
        }
        let common = x.max(1) as i64;
        a /= common;
        b /= common;
    }
    over.push(Expr::Int(a));
    under.push(Expr::Int(b));
    (Expr::product(over), Expr::product(under))
}

/// What shapes become together, by the rules of broadcasting.
pub(super) fn broadcast(facts: &mut Facts, shapes: &[&[Expr]]) -> Step<Vec<Expr>> {
    let rank = shapes.iter().map(|shape| shape.len()).max().unwrap_or(0);
    let mut out = vec![Expr::Int(1); rank];
    for shape in shapes {
        let lead = rank - shape.len();
        for (dim, size) in out[lead..].iter_mut().zip(*shape) {
            *dim = match (&*dim, size) {
                (_, Expr::Int(1)) => continue,
                (Expr::Int(1), other) => other.clone(),
                (a, b) => facts.broadcast(a, b)?,
            };
        }
    }
    Ok(out)
}

/// The strides of a dense tensor, where they are known.
pub(super) fn dense(dims: &[Expr]) -> Option<(Vec<i64>, i64)> {
    let mut strides = Vec::with_capacity(dims.len());
    let mut step = Some(1i64);
    for dim in dims.iter().rev() {
        strides.push(step?);
        step = dim.int().and_then(|n| step?.checked_mul(n.max(1)));
    }
    strides.reverse();
    Some((strides, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Expr {
        Expr::parse(text).unwrap()
    }

    #[test]
    fn common_factors_are_left_out() {
        let of = |over: &[&str], under: &[&str]| {
            let parse = |list: &[&str]| list.iter().map(|text| parse(text)).collect::<Vec<_>>();
            let (over, under) = reduced(&parse(over), &parse(under));
            format!("{over} / {under}")
        };
        assert_eq!(of(&["b", "512"], &["512"]), "b / 1");
        assert_eq!(of(&["b", "l", "768"], &["12", "64"]), "b*l / 1");
        assert_eq!(of(&["b", "h//4", "6"], &["b", "4"]), "3*(h//4) / 2");
        assert_eq!(of(&["6"], &["b"]), "6 / b");
        assert_eq!(of(&["7"], &["5"]), "7 / 5");
        assert_eq!(of(&["0"], &["5"]), "0 / 1");
    }

    #[test]
    fn strides_are_known_where_only_the_first_size_is_not() {
        assert_eq!(
            dense(&[parse("b"), parse("3"), parse("4")]),
            Some((vec![12, 4, 1], 0))
        );
        assert_eq!(dense(&[parse("3"), parse("b"), parse("4")]), None);
    }

    #[test]
    fn expressions_have_bounds() {
        let mut long = parse("a");
        let symbol = |i: usize| parse(&format!("s{i}"));
        for i in 0..600 {
            long = Expr::sum([long, symbol(i)]);
        }
        assert!(bounded(long).is_err());
        let mut deep = parse("a");
        for _ in 0..60 {
            deep = Expr::quotient(Expr::sum([deep, Expr::Int(1)]), Expr::Int(2));
        }
        assert!(bounded(deep).is_err());
        assert!(bounded(parse("a*b + 1")).is_ok());
    }

    #[test]
    fn equations_of_one_symbol_are_solved() {
        assert_eq!(solve(&parse("2*s + 3"), 11).unwrap().1, 4);
        assert!(solve(&parse("2*s"), 3).is_none());
        assert!(solve(&parse("s//2"), 3).is_none());
        assert!(can_be(&parse("(s+1)//2"), 3) && !can_be(&parse("3*s"), 7));
        let half = evaluate(&parse("(s+1)//2*t"), &|name| {
            Some(if name == "s" { 5 } else { 7 })
        });
        assert_eq!(half, Some(21));
    }
}
