//! Sizes as expressions of symbols: what a dynamic dimension is made of.
//!
//! PyTorch writes them as sympy prints them: plainly, `2*s0 + 1`, in version 2.5, and as constructors,
//! `Add(Mul(Integer(2), Symbol('s0', integer=True)), Integer(1))`, from 2.6 on. Both are read. Expressions are kept in a
//! normal form, a sum of products in a fixed order, so that two sizes that are equal by simple algebra compare equal.

use std::fmt;
use std::rc::Rc;

/// Deeper expressions are refused: no real size comes near.
const MAX_DEPTH: usize = 64;

/// An integer expression of symbols.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Expr {
    /// A number.
    Int(i64),
    /// A symbol.
    Symbol(Rc<str>),
    /// A sum of two or more terms.
    Sum(Vec<Expr>),
    /// A product of two or more factors; a number comes first.
    Product(Vec<Expr>),
    /// A quotient, rounded down.
    Quotient(Box<Expr>, Box<Expr>),
    /// A remainder, of the divisor's sign.
    Remainder(Box<Expr>, Box<Expr>),
    /// The largest of several.
    Max(Vec<Expr>),
    /// The smallest of several.
    Min(Vec<Expr>),
}

impl Expr {
    /// The number, where it is one.
    pub(crate) fn int(&self) -> Option<i64> {
        match self {
            Expr::Int(n) => Some(*n),
            _ => None,
        }
    }

    /// The sum of terms, in normal form.
    pub(crate) fn sum(terms: impl IntoIterator<Item = Expr>) -> Expr {
        let mut number = 0i64;
        // Each product without its number, and the sum of those numbers.
        let mut kept: Vec<(Vec<Expr>, i64)> = Vec::new();
        let mut queue: Vec<Expr> = terms.into_iter().collect();
        queue.reverse();
        while let Some(term) = queue.pop() {
            let (factors, n) = match term {
                Expr::Int(n) => {
                    number = number.wrapping_add(n);
                    continue;
                }
                Expr::Sum(inner) => {
                    queue.extend(inner);
                    continue;
                }
                Expr::Product(mut factors) => match factors[0] {
                    Expr::Int(n) => {
                        factors.remove(0);
                        (factors, n)
                    }
                    _ => (factors, 1),
                },
                other => (vec![other], 1),
            };
            match kept.iter_mut().find(|(f, _)| *f == factors) {
                Some((_, sum)) => *sum = sum.wrapping_add(n),
                None => kept.push((factors, n)),
            }
        }
        let mut out: Vec<Expr> = kept
            .into_iter()
            .filter(|(_, n)| *n != 0)
            .map(|(factors, n)| Expr::product(factors.into_iter().chain([Expr::Int(n)])))
            .collect();
        out.sort();
        if number != 0 {
            out.push(Expr::Int(number));
        }
        match out.len() {
            0 => Expr::Int(0),
            1 => out.remove(0),
            _ => Expr::Sum(out),
        }
    }

    /// The product of factors, in normal form; a number times a sum is spread over it.
    pub(crate) fn product(factors: impl IntoIterator<Item = Expr>) -> Expr {
        let mut number = 1i64;
        let mut out = Vec::new();
        let mut queue: Vec<Expr> = factors.into_iter().collect();
        while let Some(factor) = queue.pop() {
            match factor {
                Expr::Int(n) => number = number.wrapping_mul(n),
                Expr::Product(inner) => queue.extend(inner),
                other => out.push(other),
            }
        }
        if number == 0 || out.is_empty() {
            return Expr::Int(number);
        }
        out.sort();
        if out.len() == 1 {
            if number == 1 {
                return out.remove(0);
            }
            if let Expr::Sum(terms) = &out[0] {
                return Expr::sum(
                    terms
                        .iter()
                        .map(|t| Expr::product([Expr::Int(number), t.clone()])),
                );
            }
        }
        if number != 1 {
            out.insert(0, Expr::Int(number));
        }
        Expr::Product(out)
    }

    /// The quotient, rounded down, simplified where the divisor divides every term.
    pub(crate) fn quotient(a: Expr, b: Expr) -> Expr {
        match (&a, &b) {
            (_, Expr::Int(1)) => return a,
            (Expr::Int(x), Expr::Int(y)) if *y > 0 => return Expr::Int(x.div_euclid(*y)),
            (_, Expr::Int(y)) if *y > 0 => {
                if let Some(exact) = a.divided(*y) {
                    return exact;
                }
            }
            _ if a == b => return Expr::Int(1),
            _ => {}
        }
        Expr::Quotient(Box::new(a), Box::new(b))
    }

    /// The expression over `n`, where that is exact whatever the symbols are.
    fn divided(&self, n: i64) -> Option<Expr> {
        match self {
            Expr::Int(x) => (x % n == 0).then(|| Expr::Int(x / n)),
            Expr::Product(factors) => {
                let first = factors[0].divided(n)?;
                Some(Expr::product(
                    [first].into_iter().chain(factors[1..].iter().cloned()),
                ))
            }
            Expr::Sum(terms) => Some(Expr::sum(
                terms
                    .iter()
                    .map(|t| t.divided(n))
                    .collect::<Option<Vec<_>>>()?,
            )),
            _ => None,
        }
    }

    fn remainder(a: Expr, b: Expr) -> Expr {
        if let (Expr::Int(x), Expr::Int(y)) = (&a, &b)
            && *y > 0
        {
            return Expr::Int(x.rem_euclid(*y));
        }
        Expr::Remainder(Box::new(a), Box::new(b))
    }

    /// Reads an expression as sympy prints it.
    ///
    /// # Errors
    /// A sentence: it is cut short, or uses what no size is made of.
    pub(crate) fn parse(text: &str) -> Result<Expr, String> {
        let mut parser = Parser { text, at: 0 };
        let expr = parser.sum(0).map_err(|e| format!("{text:?}: {e}"))?;
        parser.space();
        if parser.at != text.len() {
            return Err(format!("{text:?}: {:?} is left over", &text[parser.at..]));
        }
        Ok(expr)
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, items: &[Expr], between: &str| {
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    f.write_str(between)?;
                }
                write!(f, "{item}")?;
            }
            Ok(())
        };
        match self {
            Expr::Int(n) => write!(f, "{n}"),
            Expr::Symbol(name) => f.write_str(name),
            Expr::Sum(terms) => {
                f.write_str("(")?;
                list(f, terms, "+")?;
                f.write_str(")")
            }
            Expr::Product(factors) => list(f, factors, "*"),
            Expr::Quotient(a, b) => write!(f, "({a}//{b})"),
            Expr::Remainder(a, b) => write!(f, "({a}%{b})"),
            Expr::Max(items) => {
                f.write_str("max(")?;
                list(f, items, ",")?;
                f.write_str(")")
            }
            Expr::Min(items) => {
                f.write_str("min(")?;
                list(f, items, ",")?;
                f.write_str(")")
            }
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn space(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }

    fn eat(&mut self, token: &str) -> bool {
        self.space();
        let found = self.text[self.at..].starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn need(&mut self, token: &str) -> Result<(), String> {
        if self.eat(token) {
            return Ok(());
        }
        Err(format!("{token:?} expected at {}", self.at))
    }

    fn word(&mut self, of: impl Fn(char) -> bool) -> &'a str {
        self.space();
        let rest = &self.text[self.at..];
        let len = rest.find(|c| !of(c)).unwrap_or(rest.len());
        self.at += len;
        &rest[..len]
    }

    fn sum(&mut self, depth: usize) -> Result<Expr, String> {
        if depth > MAX_DEPTH {
            return Err(format!("nested more than {MAX_DEPTH} deep"));
        }
        let mut terms = vec![self.product(depth)?];
        loop {
            if self.eat("+") {
                terms.push(self.product(depth)?);
            } else if self.eat("-") {
                let term = self.product(depth)?;
                terms.push(Expr::product([Expr::Int(-1), term]));
            } else {
                return Ok(Expr::sum(terms));
            }
        }
    }

    fn product(&mut self, depth: usize) -> Result<Expr, String> {
        let mut out = self.power(depth)?;
        loop {
            if self.eat("//") {
                out = Expr::quotient(out, self.power(depth)?);
            } else if self.eat("*") {
                out = Expr::product([out, self.power(depth)?]);
            } else if self.eat("/") {
                let by = self.power(depth)?;
                out = by
                    .int()
                    .filter(|&n| n > 0)
                    .and_then(|n| out.divided(n))
                    .ok_or("a fraction")?;
            } else {
                return Ok(out);
            }
        }
    }

    fn power(&mut self, depth: usize) -> Result<Expr, String> {
        if depth > MAX_DEPTH {
            return Err(format!("nested more than {MAX_DEPTH} deep"));
        }
        if self.eat("-") {
            let of = self.power(depth + 1)?;
            return Ok(Expr::product([Expr::Int(-1), of]));
        }
        let base = self.primary(depth)?;
        if self.eat("**") {
            let exponent = self.power(depth + 1)?;
            return power(base, &exponent);
        }
        Ok(base)
    }

    fn primary(&mut self, depth: usize) -> Result<Expr, String> {
        if depth > MAX_DEPTH {
            return Err(format!("nested more than {MAX_DEPTH} deep"));
        }
        if self.eat("(") {
            let inner = self.sum(depth + 1)?;
            self.need(")")?;
            return Ok(inner);
        }
        let digits = self.word(|c| c.is_ascii_digit());
        if !digits.is_empty() {
            return digits
                .parse()
                .map(Expr::Int)
                .map_err(|_| format!("{digits} is too large"));
        }
        let name = self.word(|c| c.is_ascii_alphanumeric() || c == '_');
        if name.is_empty() {
            return Err(format!("a size expected at {}", self.at));
        }
        if !self.eat("(") {
            return Ok(Expr::Symbol(name.into()));
        }
        if name == "Symbol" {
            return self.symbol();
        }
        let mut args = vec![self.sum(depth + 1)?];
        while self.eat(",") {
            args.push(self.sum(depth + 1)?);
        }
        self.need(")")?;
        call(name, args)
    }

    /// The rest of `Symbol('s0', positive=True, integer=True)`.
    fn symbol(&mut self) -> Result<Expr, String> {
        self.need("'")?;
        let name = self.word(|c| c != '\'' && c != ')');
        self.need("'")?;
        while self.eat(",") {
            self.word(|c| c.is_ascii_alphanumeric() || c == '_' || c == '=');
        }
        self.need(")")?;
        Ok(Expr::Symbol(name.into()))
    }
}

fn power(base: Expr, exponent: &Expr) -> Result<Expr, String> {
    // Powers of powers grow fast, real sizes are small ones.
    const MOST_FACTORS: usize = 64;
    let factors = match &base {
        Expr::Product(factors) => factors.len(),
        _ => 1,
    };
    match exponent.int() {
        Some(n @ 0..=8) if factors * n as usize <= MOST_FACTORS => {
            Ok(Expr::product((0..n).map(|_| base.clone())))
        }
        _ => Err(format!("the power {exponent}")),
    }
}

fn call(name: &str, mut args: Vec<Expr>) -> Result<Expr, String> {
    let two = |args: &mut Vec<Expr>| match (args.pop(), args.pop()) {
        (Some(b), Some(a)) if args.is_empty() => Ok((a, b)),
        _ => Err(format!("{name} takes two arguments")),
    };
    match name {
        "Integer" if args.len() == 1 => Ok(args.remove(0)),
        "Add" => Ok(Expr::sum(args)),
        "Mul" => Ok(Expr::product(args)),
        "Pow" => {
            let (base, exponent) = two(&mut args)?;
            power(base, &exponent)
        }
        "FloorDiv" | "CleanDiv" => two(&mut args).map(|(a, b)| Expr::quotient(a, b)),
        "CeilDiv" => {
            let (a, b) = two(&mut args)?;
            let up = Expr::sum([a, b.clone(), Expr::Int(-1)]);
            Ok(Expr::quotient(up, b))
        }
        "Mod" | "PythonMod" => two(&mut args).map(|(a, b)| Expr::remainder(a, b)),
        "ModularIndexing" if args.len() == 3 => {
            let modulus = args.remove(2);
            let (a, b) = two(&mut args)?;
            Ok(Expr::remainder(Expr::quotient(a, b), modulus))
        }
        "Max" | "Min" => {
            args.sort();
            args.dedup();
            if args.len() == 1 {
                return Ok(args.remove(0));
            }
            Ok(if name == "Max" {
                Expr::Max(args)
            } else {
                Expr::Min(args)
            })
        }
        _ => Err(format!(
            "{name} is none of the functions that sizes are made of"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> String {
        Expr::parse(text).unwrap().to_string()
    }

    #[test]
    fn both_ways_of_printing_are_read() {
        for (plain, constructed, want) in [
            ("s0", "Symbol('s0', positive=True, integer=True)", "s0"),
            (
                "2*s0 + 1",
                "Add(Mul(Integer(2), Symbol('s0')), Integer(1))",
                "(2*s0+1)",
            ),
            ("(s0//2)", "FloorDiv(Symbol('s0'), Integer(2))", "(s0//2)"),
            (
                "s0**2",
                "Pow(Symbol('s0', integer=True), Integer(2))",
                "s0*s0",
            ),
            ("Max(1, s0)", "Max(Integer(1), Symbol('s0'))", "max(1,s0)"),
            ("Mod(s0, 8)", "Mod(Symbol('s0'), Integer(8))", "(s0%8)"),
            ("s1 - 1", "Add(Symbol('s1'), Integer(-1))", "(s1+-1)"),
        ] {
            assert_eq!(parse(plain), want);
            assert_eq!(parse(constructed), want);
        }
    }

    #[test]
    fn equal_sizes_compare_equal() {
        for (a, b) in [
            ("s0 + s1", "s1 + s0"),
            ("2*(s0 + 3)", "6 + s0*2"),
            ("s0*4//4", "s0"),
            ("s0 - s0", "0"),
            ("(6*s0 + 3)//3", "2*s0 + 1"),
            ("s0*s1*2", "2*s1*s0"),
            ("-(-s0)", "s0"),
        ] {
            assert_eq!(
                Expr::parse(a).unwrap(),
                Expr::parse(b).unwrap(),
                "{a} and {b}"
            );
        }
        assert_ne!(
            Expr::parse("(s0//2)*2").unwrap(),
            Expr::parse("s0").unwrap()
        );
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in [
            "",
            "s0 +",
            "(s0",
            "sin(s0)",
            "s0/2",
            "s0**s1",
            "Symbol(s0)",
            "99999999999999999999",
            "s0 s1",
            "é",
        ] {
            assert!(Expr::parse(text).is_err(), "{text:?}");
        }
        assert!(Expr::parse(&"(".repeat(100_000)).is_err());
        assert!(Expr::parse(&"-".repeat(100_000)).is_err());
    }
}
