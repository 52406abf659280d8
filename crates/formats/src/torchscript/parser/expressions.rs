//! Expressions, and how deep they may be.

use super::super::lexer::Token;
use super::super::syntax::{Call, Expr};
use super::{Parser, Step};

/// Deeper brackets than TorchScript writes, which keeps what is in them in names of their own.
const MAX_DEPTH: usize = 64;
/// Operators and calls in a row, which nest as deeply.
const MAX_CHAIN: usize = 32;
/// Higher trees, of both together, are not made: what walks or drops one goes as deep.
const MAX_HEIGHT: usize = 128;

/// An expression, and how high its tree is.
pub(super) type Tree = (Expr, usize);

/// The height of a tree above others, of which `height` is the highest one's.
fn above(height: usize) -> Step<usize> {
    if height >= MAX_HEIGHT {
        return Err(format!("an expression nested more than {MAX_HEIGHT} deep"));
    }
    Ok(height + 1)
}

impl Parser {
    /// `then if condition else otherwise`, or less.
    pub(super) fn expr(&mut self, depth: usize) -> Step<Tree> {
        let depth = self.deeper(depth)?;
        let (then, a) = self.binary(depth, 0)?;
        if !self.eat_word("if") {
            return Ok((then, a));
        }
        let (condition, b) = self.binary(depth, 0)?;
        self.need_word("else")?;
        let (otherwise, c) = self.expr(depth)?;
        let choice = Expr::Choice {
            condition: condition.into(),
            then: then.into(),
            otherwise: otherwise.into(),
        };
        Ok((choice, above(a.max(b).max(c))?))
    }

    fn deeper(&self, depth: usize) -> Step<usize> {
        if depth >= MAX_DEPTH {
            return Err(format!("an expression nested more than {MAX_DEPTH} deep"));
        }
        Ok(depth + 1)
    }

    /// Operators from a level of [`LEVELS`] on, which bind closer from level to level.
    fn binary(&mut self, depth: usize, level: usize) -> Step<Tree> {
        let Some(signs) = LEVELS.get(level) else {
            return self.unary(depth);
        };
        if signs.is_empty() {
            if self.eat_word("not") {
                let depth = self.deeper(depth)?;
                let (of, height) = self.binary(depth, level)?;
                return Ok((Expr::Not(of.into()), above(height)?));
            }
            return self.binary(depth, level + 1);
        }
        let (mut out, mut height) = self.binary(depth, level + 1)?;
        for _ in 0..MAX_CHAIN {
            let Some(sign) = self.operator(signs) else {
                return Ok((out, height));
            };
            let (right, its) = self.binary(depth, level + 1)?;
            height = above(height.max(its))?;
            out = Expr::Binary(sign, out.into(), right.into());
        }
        Err(format!("more than {MAX_CHAIN} operators in a row"))
    }

    fn operator(&mut self, signs: &[&'static str]) -> Option<&'static str> {
        let sign = signs
            .iter()
            .copied()
            .find(|sign| self.is(sign) || self.is_word(sign))?;
        self.next();
        if sign == "is" && self.eat_word("not") {
            return Some("is not");
        }
        Some(sign)
    }

    fn unary(&mut self, depth: usize) -> Step<Tree> {
        if self.eat("-") {
            let depth = self.deeper(depth)?;
            let (of, height) = self.unary(depth)?;
            return Ok(match of {
                Expr::Int(n) => (Expr::Int(n.wrapping_neg()), height),
                Expr::Float(x) => (Expr::Float(-x), height),
                of => (Expr::Negative(of.into()), above(height)?),
            });
        }
        let (base, height) = self.postfix(depth)?;
        if self.eat("**") {
            let depth = self.deeper(depth)?;
            let (exponent, its) = self.unary(depth)?;
            let power = Expr::Binary("**", base.into(), exponent.into());
            return Ok((power, above(height.max(its))?));
        }
        Ok((base, height))
    }

    fn postfix(&mut self, depth: usize) -> Step<Tree> {
        let (mut out, mut height) = self.primary(depth)?;
        for _ in 0..MAX_CHAIN {
            let its;
            (out, its) = if self.eat(".") {
                (Expr::Attribute(out.into(), self.name()?), 0)
            } else if self.eat("(") {
                self.call(out, depth)?
            } else if self.eat("[") {
                self.index(out, depth)?
            } else {
                return Ok((out, height));
            };
            height = above(height.max(its))?;
        }
        Err(format!("more than {MAX_CHAIN} calls in a row"))
    }

    /// A call, and the height of the highest argument.
    fn call(&mut self, function: Expr, depth: usize) -> Step<Tree> {
        let mut height = 0;
        let mut call = Call {
            function,
            arguments: Vec::new(),
            named: Vec::new(),
        };
        while !self.eat(")") {
            let named = matches!(
                (self.peek(), self.tokens.get(self.at + 1)),
                (Token::Name(_), Some((Token::Sign("="), _)))
            );
            if named {
                let name = self.name()?;
                self.need("=")?;
                let (value, its) = self.expr(depth)?;
                call.named.push((name, value));
                height = height.max(its);
            } else {
                let (value, its) = self.expr(depth)?;
                call.arguments.push(value);
                height = height.max(its);
            }
            if !self.is(")") {
                self.need(",")?;
            }
        }
        Ok((Expr::Call(call.into()), height))
    }

    /// An index or a part, and the height of the highest expression in it.
    fn index(&mut self, of: Expr, depth: usize) -> Step<Tree> {
        let (start, mut height) = if self.is(":") {
            (None, 0)
        } else {
            let (start, its) = self.expr(depth)?;
            (Some(start), its)
        };
        if self.eat(":") {
            let mut end = None;
            if !self.is("]") {
                let (expr, its) = self.expr(depth)?;
                end = Some(Box::new(expr));
                height = height.max(its);
            }
            self.need("]")?;
            let slice = Expr::Slice(of.into(), start.map(Box::new), end);
            return Ok((slice, height));
        }
        let first = start.ok_or("an index is missing")?;
        let mut items = vec![first];
        let mut is_tuple = false;
        while self.eat(",") {
            is_tuple = true;
            if self.is("]") {
                break;
            }
            let (item, its) = self.expr(depth)?;
            items.push(item);
            height = height.max(its);
        }
        self.need("]")?;
        let index = match items.pop() {
            Some(only) if !is_tuple => only,
            last => {
                items.extend(last);
                height = above(height)?;
                Expr::Tuple(items)
            }
        };
        Ok((Expr::Index(of.into(), index.into()), height))
    }

    fn items(&mut self, depth: usize, end: &str) -> Step<Items> {
        let mut out = Items::default();
        while !self.eat(end) {
            let (item, its) = self.expr(depth)?;
            out.items.push(item);
            out.height = out.height.max(its);
            out.ends_in_comma = false;
            if !self.is(end) {
                self.need(",")?;
                out.ends_in_comma = true;
            }
        }
        Ok(out)
    }

    fn primary(&mut self, depth: usize) -> Step<Tree> {
        let start = self.at;
        let leaf = match self.next() {
            Token::Int(n) => Expr::Int(n),
            Token::Float(x) => Expr::Float(x),
            Token::Str(mut text) => {
                // Strings beside each other are one.
                while let Token::Str(more) = self.peek() {
                    text.push_str(more);
                    self.next();
                }
                Expr::Str(text.into())
            }
            Token::Name(name) => match name.as_str() {
                "None" => Expr::None,
                "True" => Expr::Bool(true),
                "False" => Expr::Bool(false),
                _ => Expr::Name(name),
            },
            Token::Sign("(") => {
                let mut list = self.items(depth, ")")?;
                if list.items.len() == 1
                    && !list.ends_in_comma
                    && let Some(only) = list.items.pop()
                {
                    return Ok((only, list.height));
                }
                return Ok((Expr::Tuple(list.items), above(list.height)?));
            }
            Token::Sign("[") => {
                let list = self.items(depth, "]")?;
                return Ok((Expr::List(list.items), above(list.height)?));
            }
            Token::Sign("{") => {
                let (mut items, mut height) = (Vec::new(), 0);
                while !self.eat("}") {
                    let (key, a) = self.expr(depth)?;
                    self.need(":")?;
                    let (value, b) = self.expr(depth)?;
                    items.push((key, value));
                    height = height.max(a).max(b);
                    if !self.is("}") {
                        self.need(",")?;
                    }
                }
                return Ok((Expr::Dict(items), above(height)?));
            }
            _ => {
                self.at = start;
                return Err(format!("an expression expected, not {}", self.found()));
            }
        };
        Ok((leaf, 1))
    }
}

/// Expressions with commas between.
#[derive(Default)]
struct Items {
    items: Vec<Expr>,
    /// The height of the highest.
    height: usize,
    ends_in_comma: bool,
}

/// Operators that bind alike, those that bind least first; the empty level is that of `not`.
const LEVELS: [&[&str]; 9] = [
    &["or"],
    &["and"],
    &[],
    &["==", "!=", "<=", ">=", "<", ">", "is"],
    &["|"],
    &["^"],
    &["&"],
    &["+", "-"],
    &["*", "//", "/", "%"],
];
