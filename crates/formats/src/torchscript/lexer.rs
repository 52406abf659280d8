//! Source text as tokens, with the indentation of each line.

/// More levels of indentation than any file has.
const MAX_LEVELS: usize = 64;

/// A token.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Name(String),
    Int(i64),
    Float(f64),
    Str(String),
    /// A sign of one or several characters.
    Sign(&'static str),
    /// The end of a statement's line.
    Newline,
    /// A line that is further in than the one before.
    Indent,
    /// A line that is further out, once for each level.
    Dedent,
    /// The end of the file.
    End,
}

/// Longer ones first.
const SIGNS: [&str; 30] = [
    "**", "//", "==", "!=", "<=", ">=", "->", "<<", ">>", "(", ")", "[", "]", "{", "}", ",", ":",
    ".", "=", "+", "-", "*", "/", "%", "<", ">", "&", "|", "^", "~",
];

/// All tokens of a text, each with its line, counted from 1.
///
/// # Errors
/// The line, and a sentence on what is wrong with it.
pub(super) fn tokens(text: &str) -> Result<Vec<(Token, u32)>, (u32, String)> {
    let mut lexer = Lexer {
        rest: text,
        line: 1,
        depth: 0,
        levels: vec![0],
        out: Vec::new(),
    };
    lexer.run().map_err(|problem| (lexer.line, problem))?;
    Ok(lexer.out)
}

struct Lexer<'a> {
    rest: &'a str,
    line: u32,
    /// Open brackets, in which lines do not count.
    depth: usize,
    levels: Vec<usize>,
    out: Vec<(Token, u32)>,
}

impl Lexer<'_> {
    fn push(&mut self, token: Token) {
        self.out.push((token, self.line));
    }

    fn run(&mut self) -> Result<(), String> {
        let mut at_start = true;
        loop {
            if at_start && self.depth == 0 {
                if !self.indentation()? {
                    break;
                }
                at_start = false;
            }
            let Some(next) = self.rest.chars().next() else {
                break;
            };
            match next {
                '\n' => {
                    if self.depth == 0 {
                        self.push(Token::Newline);
                        at_start = true;
                    }
                    self.rest = &self.rest[1..];
                    self.line += 1;
                }
                ' ' | '\t' | '\r' => self.rest = &self.rest[1..],
                '#' => self.comment(),
                '"' | '\'' => self.string(next)?,
                '0'..='9' => self.number()?,
                _ if next.is_alphabetic() || next == '_' => {
                    let len = self
                        .rest
                        .find(|c: char| !c.is_alphanumeric() && c != '_')
                        .unwrap_or(self.rest.len());
                    let (name, rest) = self.rest.split_at(len);
                    self.rest = rest;
                    self.push(Token::Name(name.to_owned()));
                }
                _ => self.sign(next)?,
            }
        }
        if self.depth > 0 {
            return Err("a bracket is left open".into());
        }
        if self
            .out
            .last()
            .is_some_and(|(token, _)| *token != Token::Newline)
        {
            self.push(Token::Newline);
        }
        for _ in 1..self.levels.len() {
            self.push(Token::Dedent);
        }
        self.push(Token::End);
        Ok(())
    }

    fn comment(&mut self) {
        let len = self.rest.find('\n').unwrap_or(self.rest.len());
        self.rest = &self.rest[len..];
    }

    /// Reads the spaces before a line that holds something; whether there is one.
    fn indentation(&mut self) -> Result<bool, String> {
        loop {
            let line = self.rest.split('\n').next().unwrap_or("");
            let text = line.trim_start_matches([' ', '\t', '\r']);
            let width = line.len() - text.len();
            if text.is_empty() || text.starts_with('#') {
                match self.rest.find('\n') {
                    Some(at) => self.rest = &self.rest[at + 1..],
                    None => return Ok(false),
                }
                self.line += 1;
                continue;
            }
            self.rest = &self.rest[width..];
            let level = self.levels.last().copied().unwrap_or(0);
            if width > level {
                if self.levels.len() >= MAX_LEVELS {
                    return Err(format!("more than {MAX_LEVELS} levels of indentation"));
                }
                self.levels.push(width);
                self.push(Token::Indent);
            }
            while self.levels.last().is_some_and(|&level| level > width) {
                self.levels.pop();
                self.push(Token::Dedent);
            }
            if self.levels.last() != Some(&width) {
                return Err("its indentation is that of no line before".into());
            }
            return Ok(true);
        }
    }

    fn sign(&mut self, next: char) -> Result<(), String> {
        let sign = SIGNS
            .into_iter()
            .find(|sign| self.rest.starts_with(sign))
            .ok_or_else(|| format!("the character {next:?} begins nothing"))?;
        match sign {
            "(" | "[" | "{" => self.depth += 1,
            ")" | "]" | "}" => {
                self.depth = self
                    .depth
                    .checked_sub(1)
                    .ok_or_else(|| format!("{sign:?} closes nothing"))?;
            }
            _ => {}
        }
        self.rest = &self.rest[sign.len()..];
        self.push(Token::Sign(sign));
        Ok(())
    }

    fn number(&mut self) -> Result<(), String> {
        let bytes = self.rest.as_bytes();
        let digits = |mut at: usize| {
            while bytes.get(at).is_some_and(u8::is_ascii_digit) {
                at += 1;
            }
            at
        };
        let mut end = digits(0);
        let mut is_float = false;
        if bytes.get(end) == Some(&b'.') {
            is_float = true;
            end = digits(end + 1);
        }
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            let from = end + 1 + sign;
            if digits(from) > from {
                is_float = true;
                end = digits(from);
            }
        }
        let (text, rest) = self.rest.split_at(end);
        self.rest = rest;
        let token = if is_float {
            Token::Float(text.parse().map_err(|_| format!("{text} is no number"))?)
        } else {
            // The least integer is written as minus one more than the greatest.
            let value: u64 = text
                .parse()
                .map_err(|_| format!("{text} is too large a number"))?;
            if value > i64::MAX as u64 + 1 {
                return Err(format!("{text} is too large a number"));
            }
            Token::Int(value as i64)
        };
        self.push(token);
        Ok(())
    }

    fn string(&mut self, quote: char) -> Result<(), String> {
        let mut chars = self.rest[1..].chars();
        let mut bytes: Vec<u8> = Vec::new();
        let mut buffer = [0; 4];
        loop {
            let c = match chars.next() {
                Some(c) if c == quote => break,
                None | Some('\n') => return Err("a string without an end".into()),
                Some(c) => c,
            };
            if c != '\\' {
                bytes.extend(c.encode_utf8(&mut buffer).as_bytes());
                continue;
            }
            match chars.next().ok_or("a string without an end")? {
                'n' => bytes.push(b'\n'),
                't' => bytes.push(b'\t'),
                'r' => bytes.push(b'\r'),
                'a' => bytes.push(7),
                'b' => bytes.push(8),
                'v' => bytes.push(11),
                'f' => bytes.push(12),
                'x' => bytes.push(digits(&mut chars, 0, 16, 2)),
                first @ '0'..='7' => {
                    bytes.push(digits(&mut chars, first as u32 - '0' as u32, 8, 2));
                }
                other => bytes.extend(other.encode_utf8(&mut buffer).as_bytes()),
            }
        }
        self.rest = chars.as_str();
        let text = String::from_utf8(bytes).map_err(|_| "a string that is no text")?;
        self.push(Token::Str(text));
        Ok(())
    }
}

/// Up to `most` digits that follow, as a byte.
fn digits(chars: &mut std::str::Chars<'_>, first: u32, radix: u32, most: usize) -> u8 {
    let mut value = first;
    for _ in 0..most {
        let Some(digit) = chars.clone().next().and_then(|c| c.to_digit(radix)) else {
            break;
        };
        chars.next();
        value = value * radix + digit;
    }
    value as u8
}
