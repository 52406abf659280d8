//! Tokens as a tree.

use super::lexer::{Token, tokens};
use super::syntax::{Call, Class, Expr, Function, Module, Parameter, Statement, StatementKind};

/// Deeper expressions than TorchScript writes, which keeps them in names of their own.
const MAX_DEPTH: usize = 64;
/// Operators and calls in a row, which nest as deeply.
const MAX_CHAIN: usize = 32;

/// Reads a source file.
///
/// # Errors
/// The line, counted from 1, and a sentence on what is wrong with it.
pub(super) fn parse(text: &str) -> Result<Module, (u32, String)> {
    let mut parser = Parser {
        tokens: tokens(text)?,
        at: 0,
    };
    parser
        .module()
        .map_err(|problem| (parser.tokens[parser.at].1, problem))
}

struct Parser {
    /// The last is [`Token::End`], which is never gone past.
    tokens: Vec<(Token, u32)>,
    at: usize,
}

type Step<T> = Result<T, String>;

impl Parser {
    fn peek(&self) -> &Token {
        &self.tokens[self.at].0
    }

    fn line(&self) -> u32 {
        self.tokens[self.at].1
    }

    fn next(&mut self) -> Token {
        let token = self.tokens[self.at].0.clone();
        if self.at + 1 < self.tokens.len() {
            self.at += 1;
        }
        token
    }

    fn is(&self, sign: &str) -> bool {
        matches!(self.peek(), Token::Sign(s) if *s == sign)
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Token::Name(name) if name == word)
    }

    fn eat(&mut self, sign: &str) -> bool {
        let found = self.is(sign);
        if found {
            self.next();
        }
        found
    }

    fn eat_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        if found {
            self.next();
        }
        found
    }

    fn need(&mut self, sign: &str) -> Step<()> {
        if self.eat(sign) {
            return Ok(());
        }
        Err(format!("{sign:?} expected, not {}", self.found()))
    }

    fn need_word(&mut self, word: &str) -> Step<()> {
        if self.eat_word(word) {
            return Ok(());
        }
        Err(format!("{word:?} expected, not {}", self.found()))
    }

    fn found(&self) -> String {
        match self.peek() {
            Token::Name(name) => format!("{name:?}"),
            Token::Int(n) => n.to_string(),
            Token::Float(x) => x.to_string(),
            Token::Str(_) => "a string".into(),
            Token::Sign(sign) => format!("{sign:?}"),
            Token::Newline => "the end of the line".into(),
            Token::Indent => "a line further in".into(),
            Token::Dedent => "a line further out".into(),
            Token::End => "the end of the file".into(),
        }
    }

    fn name(&mut self) -> Step<String> {
        if let Token::Name(name) = self.peek() {
            let name = name.clone();
            self.next();
            return Ok(name);
        }
        Err(format!("a name expected, not {}", self.found()))
    }

    fn newline(&mut self) -> Step<()> {
        if *self.peek() == Token::Newline {
            self.next();
            return Ok(());
        }
        Err(format!(
            "the end of the line expected, not {}",
            self.found()
        ))
    }

    fn module(&mut self) -> Step<Module> {
        let mut module = Module::default();
        loop {
            match self.peek() {
                Token::End => return Ok(module),
                Token::Newline => {
                    self.next();
                }
                _ if self.is_word("class") => module.classes.push(self.class()?),
                _ if self.is_word("def") => module.functions.push(self.function()?),
                _ => {
                    return Err(format!(
                        "a class or a function expected, not {}",
                        self.found()
                    ));
                }
            }
        }
    }

    fn class(&mut self) -> Step<Class> {
        self.need_word("class")?;
        let name = self.name()?;
        let mut base = String::new();
        if self.eat("(") {
            if !self.is(")") {
                base = self
                    .expr(0)?
                    .path()
                    .ok_or("what it derives from is no name")?;
            }
            self.need(")")?;
        }
        self.need(":")?;
        let mut class = Class {
            name,
            base,
            fields: Vec::new(),
            methods: Vec::new(),
        };
        self.newline()?;
        if *self.peek() != Token::Indent {
            return Err("its body is missing".into());
        }
        self.next();
        while *self.peek() != Token::Dedent {
            if self.is_word("def") {
                class.methods.push(self.function()?);
                continue;
            }
            if self.eat_word("pass") {
                self.newline()?;
                continue;
            }
            self.field(&mut class.fields)?;
        }
        self.next();
        Ok(class)
    }

    /// `name : type`, `__annotations__["name"] = type`, or an assignment that says nothing of a field.
    fn field(&mut self, fields: &mut Vec<(String, Expr)>) -> Step<()> {
        let target = self.expr(0)?;
        if self.eat(":") {
            let kind = self.expr(0)?;
            if let Expr::Name(name) = target {
                fields.push((name, kind));
            }
            // A constant of a class has a value beside its type.
            if self.eat("=") {
                self.expr(0)?;
            }
        } else {
            self.need("=")?;
            let value = self.expr(0)?;
            if let Expr::Index(of, name) = target
                && *of == Expr::Name("__annotations__".into())
                && let Expr::Str(name) = *name
            {
                fields.push((name, value));
            }
        }
        self.newline()
    }

    fn function(&mut self) -> Step<Function> {
        let line = self.line();
        self.need_word("def")?;
        let name = self.name()?;
        self.need("(")?;
        let mut parameters = Vec::new();
        while !self.eat(")") {
            let name = self.name()?;
            let kind = self.eat(":").then(|| self.expr(0)).transpose()?;
            let default = self.eat("=").then(|| self.expr(0)).transpose()?;
            parameters.push(Parameter {
                name,
                kind,
                default,
            });
            if !self.is(")") {
                self.need(",")?;
            }
        }
        if self.eat("->") {
            self.expr(0)?;
        }
        Ok(Function {
            name,
            parameters,
            body: self.block()?,
            line,
        })
    }

    /// A colon and the statements that are further in. The lexer bounds how deep they nest.
    fn block(&mut self) -> Step<Vec<Statement>> {
        self.need(":")?;
        self.newline()?;
        if *self.peek() != Token::Indent {
            return Err("its body is missing".into());
        }
        self.next();
        let mut body = Vec::new();
        while *self.peek() != Token::Dedent {
            body.push(self.statement()?);
        }
        self.next();
        Ok(body)
    }

    fn statement(&mut self) -> Step<Statement> {
        let line = self.line();
        let word = match self.peek() {
            Token::Name(name) => name.clone(),
            _ => String::new(),
        };
        let kind = match word.as_str() {
            "if" => {
                self.next();
                let condition = self.expr(0)?;
                let then = self.block()?;
                let otherwise = if self.eat_word("else") {
                    self.block()?
                } else {
                    Vec::new()
                };
                StatementKind::If {
                    condition,
                    then,
                    otherwise,
                }
            }
            "for" => {
                self.next();
                let target = Expr::Name(self.name()?);
                self.need_word("in")?;
                let values = self.expr(0)?;
                StatementKind::For {
                    target,
                    values,
                    body: self.block()?,
                }
            }
            "while" => {
                self.next();
                StatementKind::While {
                    condition: self.expr(0)?,
                    body: self.block()?,
                }
            }
            "with" => {
                self.next();
                let context = self.expr(0)?;
                if self.eat_word("as") {
                    self.name()?;
                }
                StatementKind::With {
                    context,
                    body: self.block()?,
                }
            }
            "def" | "class" => return Err(format!("a {word} inside of a function")),
            _ => {
                let kind = self.simple(&word)?;
                self.newline()?;
                kind
            }
        };
        Ok(Statement { line, kind })
    }

    fn simple(&mut self, word: &str) -> Step<StatementKind> {
        match word {
            "pass" => {
                self.next();
                return Ok(StatementKind::Pass);
            }
            "return" => {
                self.next();
                if *self.peek() == Token::Newline {
                    return Ok(StatementKind::Return(None));
                }
                let value = self.listed()?;
                return Ok(StatementKind::Return(Some(value)));
            }
            "break" | "continue" | "raise" | "assert" | "del" | "global" | "import" | "from" => {
                return Err(format!(
                    "the statement {word:?} is none that TorchScript writes"
                ));
            }
            _ => {}
        }
        let mut targets = vec![self.expr(0)?];
        let mut unpacks = false;
        while self.eat(",") {
            unpacks = true;
            if self.is("=") {
                break;
            }
            targets.push(self.expr(0)?);
        }
        // A type that a name is given says nothing that its value does not.
        if !unpacks && self.eat(":") {
            self.expr(0)?;
        }
        if self.eat("=") {
            let value = self.listed()?;
            return Ok(StatementKind::Assign {
                targets,
                unpacks,
                value,
            });
        }
        match targets.pop() {
            Some(expr) if !unpacks => Ok(StatementKind::Expr(expr)),
            _ => self.need("=").map(|()| StatementKind::Pass),
        }
    }

    /// An expression, or several with commas between, which are a tuple.
    fn listed(&mut self) -> Step<Expr> {
        let first = self.expr(0)?;
        if !self.is(",") {
            return Ok(first);
        }
        let mut items = vec![first];
        while self.eat(",") {
            if *self.peek() == Token::Newline {
                break;
            }
            items.push(self.expr(0)?);
        }
        Ok(Expr::Tuple(items))
    }

    /// `then if condition else otherwise`, or less.
    fn expr(&mut self, depth: usize) -> Step<Expr> {
        let depth = self.deeper(depth)?;
        let then = self.binary(depth, 0)?;
        if !self.eat_word("if") {
            return Ok(then);
        }
        let condition = self.binary(depth, 0)?;
        self.need_word("else")?;
        let otherwise = self.expr(depth)?;
        Ok(Expr::Choice {
            condition: condition.into(),
            then: then.into(),
            otherwise: otherwise.into(),
        })
    }

    fn deeper(&self, depth: usize) -> Step<usize> {
        if depth >= MAX_DEPTH {
            return Err(format!("an expression nested more than {MAX_DEPTH} deep"));
        }
        Ok(depth + 1)
    }

    /// Operators from a level of [`LEVELS`] on, which bind closer from level to level.
    fn binary(&mut self, depth: usize, level: usize) -> Step<Expr> {
        let Some(signs) = LEVELS.get(level) else {
            return self.unary(depth);
        };
        if signs.is_empty() {
            if self.eat_word("not") {
                let depth = self.deeper(depth)?;
                let of = self.binary(depth, level)?;
                return Ok(Expr::Not(of.into()));
            }
            return self.binary(depth, level + 1);
        }
        let mut out = self.binary(depth, level + 1)?;
        for _ in 0..MAX_CHAIN {
            let Some(sign) = self.operator(signs) else {
                return Ok(out);
            };
            let right = self.binary(depth, level + 1)?;
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

    fn unary(&mut self, depth: usize) -> Step<Expr> {
        if self.eat("-") {
            let depth = self.deeper(depth)?;
            return Ok(match self.unary(depth)? {
                Expr::Int(n) => Expr::Int(n.wrapping_neg()),
                Expr::Float(x) => Expr::Float(-x),
                of => Expr::Negative(of.into()),
            });
        }
        let base = self.postfix(depth)?;
        if self.eat("**") {
            let depth = self.deeper(depth)?;
            let exponent = self.unary(depth)?;
            return Ok(Expr::Binary("**", base.into(), exponent.into()));
        }
        Ok(base)
    }

    fn postfix(&mut self, depth: usize) -> Step<Expr> {
        let mut out = self.primary(depth)?;
        for _ in 0..MAX_CHAIN {
            if self.eat(".") {
                out = Expr::Attribute(out.into(), self.name()?);
            } else if self.eat("(") {
                out = self.call(out, depth)?;
            } else if self.eat("[") {
                out = self.index(out, depth)?;
            } else {
                return Ok(out);
            }
        }
        Err(format!("more than {MAX_CHAIN} calls in a row"))
    }

    fn call(&mut self, function: Expr, depth: usize) -> Step<Expr> {
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
                call.named.push((name, self.expr(depth)?));
            } else {
                call.arguments.push(self.expr(depth)?);
            }
            if !self.is(")") {
                self.need(",")?;
            }
        }
        Ok(Expr::Call(call.into()))
    }

    fn index(&mut self, of: Expr, depth: usize) -> Step<Expr> {
        let start = if self.is(":") {
            None
        } else {
            Some(self.expr(depth)?)
        };
        if self.eat(":") {
            let end = if self.is("]") {
                None
            } else {
                Some(self.expr(depth)?)
            };
            self.need("]")?;
            return Ok(Expr::Slice(
                of.into(),
                start.map(Box::new),
                end.map(Box::new),
            ));
        }
        let first = start.ok_or("an index is missing")?;
        let mut items = vec![first];
        let mut is_tuple = false;
        while self.eat(",") {
            is_tuple = true;
            if self.is("]") {
                break;
            }
            items.push(self.expr(depth)?);
        }
        self.need("]")?;
        let index = match items.pop() {
            Some(only) if !is_tuple => only,
            last => {
                items.extend(last);
                Expr::Tuple(items)
            }
        };
        Ok(Expr::Index(of.into(), index.into()))
    }

    fn items(&mut self, depth: usize, end: &str) -> Step<(Vec<Expr>, bool)> {
        let (mut items, mut comma) = (Vec::new(), false);
        while !self.eat(end) {
            items.push(self.expr(depth)?);
            comma = false;
            if !self.is(end) {
                self.need(",")?;
                comma = true;
            }
        }
        Ok((items, comma))
    }

    fn primary(&mut self, depth: usize) -> Step<Expr> {
        let start = self.at;
        Ok(match self.next() {
            Token::Int(n) => Expr::Int(n),
            Token::Float(x) => Expr::Float(x),
            Token::Str(mut text) => {
                // Strings beside each other are one.
                while let Token::Str(more) = self.peek() {
                    text.push_str(more);
                    self.next();
                }
                Expr::Str(text)
            }
            Token::Name(name) => match name.as_str() {
                "None" => Expr::None,
                "True" => Expr::Bool(true),
                "False" => Expr::Bool(false),
                _ => Expr::Name(name),
            },
            Token::Sign("(") => {
                let (mut items, comma) = self.items(depth, ")")?;
                match items.pop() {
                    Some(only) if items.is_empty() && !comma => only,
                    last => {
                        items.extend(last);
                        Expr::Tuple(items)
                    }
                }
            }
            Token::Sign("[") => Expr::List(self.items(depth, "]")?.0),
            Token::Sign("{") => {
                let mut items = Vec::new();
                while !self.eat("}") {
                    let key = self.expr(depth)?;
                    self.need(":")?;
                    items.push((key, self.expr(depth)?));
                    if !self.is("}") {
                        self.need(",")?;
                    }
                }
                Expr::Dict(items)
            }
            _ => {
                self.at = start;
                return Err(format!("an expression expected, not {}", self.found()));
            }
        })
    }
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
