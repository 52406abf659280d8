//! Tokens as a tree: classes, functions and statements. Expressions are read in [`expressions`].

mod expressions;

use super::lexer::{Token, tokens};
use super::syntax::{Class, Expr, Function, Module, Parameter, Statement, StatementKind};

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
                    .whole()?
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
        let target = self.whole()?;
        if self.eat(":") {
            let kind = self.whole()?;
            if let Expr::Name(name) = target {
                fields.push((name, kind));
            }
            // A constant of a class has a value beside its type.
            if self.eat("=") {
                self.whole()?;
            }
        } else {
            self.need("=")?;
            let value = self.whole()?;
            if let Expr::Index(of, name) = target
                && *of == Expr::Name("__annotations__".into())
                && let Expr::Str(name) = *name
            {
                fields.push((name.to_string(), value));
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
            let kind = self.eat(":").then(|| self.whole()).transpose()?;
            let default = self.eat("=").then(|| self.whole()).transpose()?;
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
            self.whole()?;
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
                let condition = self.whole()?;
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
                let values = self.whole()?;
                StatementKind::For {
                    target,
                    values,
                    body: self.block()?,
                }
            }
            "while" => {
                self.next();
                StatementKind::While {
                    condition: self.whole()?,
                    body: self.block()?,
                }
            }
            "with" => {
                self.next();
                let context = self.whole()?;
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
        let mut targets = vec![self.whole()?];
        let mut unpacks = false;
        while self.eat(",") {
            unpacks = true;
            if self.is("=") {
                break;
            }
            targets.push(self.whole()?);
        }
        // A type that a name is given says nothing that its value does not.
        if !unpacks && self.eat(":") {
            self.whole()?;
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
            _ => Err(format!("\"=\" expected, not {}", self.found())),
        }
    }

    /// An expression, or several with commas between, which are a tuple.
    fn listed(&mut self) -> Step<Expr> {
        let first = self.whole()?;
        if !self.is(",") {
            return Ok(first);
        }
        let mut items = vec![first];
        while self.eat(",") {
            if *self.peek() == Token::Newline {
                break;
            }
            items.push(self.whole()?);
        }
        Ok(Expr::Tuple(items))
    }

    /// An expression that is in no other.
    fn whole(&mut self) -> Step<Expr> {
        Ok(self.expr(0)?.0)
    }
}
