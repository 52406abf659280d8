//! The tree of a source file: the part of Python that TorchScript writes.

use std::sync::Arc;

/// A file's classes and functions.
#[derive(Debug, Default)]
pub struct Module {
    /// Classes in the order of the file.
    pub classes: Vec<Class>,
    /// Functions in the order of the file.
    pub functions: Vec<Function>,
}

/// A class.
#[derive(Debug)]
pub struct Class {
    /// The name without that of its file.
    pub name: String,
    /// What it derives from, such as `Module` or `NamedTuple`; empty where it says nothing.
    pub base: String,
    /// The names of its attributes, in order, with the expressions of their types.
    pub fields: Vec<(String, Expr)>,
    /// Its methods.
    pub methods: Vec<Function>,
}

/// A function or a method.
#[derive(Debug)]
pub struct Function {
    /// The name.
    pub name: String,
    /// The parameters, `self` among them.
    pub parameters: Vec<Parameter>,
    /// What it does.
    pub body: Vec<Statement>,
    /// The line of `def`, counted from 1.
    pub line: u32,
}

/// A parameter of a function.
#[derive(Debug)]
pub struct Parameter {
    /// The name.
    pub name: String,
    /// The expression of its type.
    pub kind: Option<Expr>,
    /// The value where none is given.
    pub default: Option<Expr>,
}

/// A statement and its line, counted from 1.
#[derive(Debug)]
pub struct Statement {
    /// The line.
    pub line: u32,
    /// The statement.
    pub kind: StatementKind,
}

/// What a statement does.
#[derive(Debug)]
pub enum StatementKind {
    /// `targets = value`; several take the members of a tuple or list.
    Assign {
        /// Names or attributes.
        targets: Vec<Expr>,
        /// Whether a comma follows the one target, which then takes the only member.
        unpacks: bool,
        /// The value.
        value: Expr,
    },
    /// An expression whose value is dropped.
    Expr(Expr),
    /// `return`.
    Return(Option<Expr>),
    /// `if`, with the statements of both ways.
    If {
        /// What is asked.
        condition: Expr,
        /// If so.
        then: Vec<Statement>,
        /// If not.
        otherwise: Vec<Statement>,
    },
    /// `for target in values`.
    For {
        /// A name.
        target: Expr,
        /// What it goes through.
        values: Expr,
        /// What is done for each.
        body: Vec<Statement>,
    },
    /// `while`.
    While {
        /// What is asked before each time.
        condition: Expr,
        /// What is done.
        body: Vec<Statement>,
    },
    /// `with`, whose statements are done as they are.
    With {
        /// What is entered.
        context: Expr,
        /// What is done in it.
        body: Vec<Statement>,
    },
    /// `pass`.
    Pass,
}

/// An expression.
#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    /// `None`.
    None,
    /// `True` or `False`.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A floating-point number.
    Float(f64),
    /// A string.
    Str(Arc<str>),
    /// A name.
    Name(String),
    /// `of.name`.
    Attribute(Box<Expr>, String),
    /// `of[index]`.
    Index(Box<Expr>, Box<Expr>),
    /// `of[start:end]`.
    Slice(Box<Expr>, Option<Box<Expr>>, Option<Box<Expr>>),
    /// A call.
    Call(Box<Call>),
    /// `[...]`.
    List(Vec<Expr>),
    /// `(a, b)`.
    Tuple(Vec<Expr>),
    /// `{key: value}`.
    Dict(Vec<(Expr, Expr)>),
    /// `-x`.
    Negative(Box<Expr>),
    /// `not x`.
    Not(Box<Expr>),
    /// `a op b`, by the operator's sign or word.
    Binary(&'static str, Box<Expr>, Box<Expr>),
    /// `then if condition else otherwise`.
    Choice {
        /// What is asked.
        condition: Box<Expr>,
        /// If so.
        then: Box<Expr>,
        /// If not.
        otherwise: Box<Expr>,
    },
}

/// A call.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// What is called.
    pub function: Expr,
    /// The arguments by position.
    pub arguments: Vec<Expr>,
    /// The arguments by name.
    pub named: Vec<(String, Expr)>,
}

impl Expr {
    /// The expression as a path of names, such as `torch.add`.
    pub fn path(&self) -> Option<String> {
        let mut names = Vec::new();
        let mut expr = self;
        loop {
            match expr {
                Expr::Name(name) => {
                    names.push(name.as_str());
                    names.reverse();
                    return Some(names.join("."));
                }
                Expr::Attribute(of, name) => {
                    names.push(name);
                    expr = of;
                }
                _ => return None,
            }
        }
    }
}
