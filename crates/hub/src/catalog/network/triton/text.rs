//! Protocol buffers as text, read without knowing what they are of.
//!
//! <https://protobuf.dev/reference/protobuf/textformat-spec/>. Extensions and `Any` in brackets are left out.

/// Messages within messages, at most.
const DEEPEST: usize = 32;

/// A message: its fields in their order, one of several values once for each.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Message {
    pub fields: Vec<Field>,
}

/// A field of a message.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Field {
    pub name: String,
    pub value: Value,
    /// The line that its name stands in, from 1 on.
    pub line: usize,
}

/// The value of a field.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Message(Message),
    Text(String),
    /// A word: true, false or one of an enumeration's.
    Word(String),
    /// A number as it is written.
    Number(String),
}

impl Value {
    /// What it is, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Message(_) => "a message",
            Value::Text(_) => "a text",
            Value::Word(_) => "a word",
            Value::Number(_) => "a number",
        }
    }
}

/// Reads a message.
///
/// # Errors
/// A sentence: the line, and what is wrong there.
pub(super) fn parse(text: &str) -> Result<Message, String> {
    let mut reader = Reader {
        rest: text,
        line: 1,
    };
    let message = reader.fields(None, 0)?;
    Ok(message)
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Reader<'a> {
    fn wrong<T>(&self, what: impl std::fmt::Display) -> Result<T, String> {
        Err(format!("line {}: {what}", self.line))
    }

    fn expected<T>(&self, what: &str) -> Result<T, String> {
        match self.rest.chars().next() {
            Some(found) => self.wrong(format!("expected {what}, found {found:?}")),
            None => self.wrong(format!("expected {what}, found the end")),
        }
    }

    /// Takes the first `bytes`, which end at a character's border.
    fn take(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.line += taken.bytes().filter(|byte| *byte == b'\n').count();
        self.rest = rest;
        taken
    }

    fn skip_space(&mut self) {
        loop {
            let space = self.rest.len() - self.rest.trim_ascii_start().len();
            self.take(space);
            if !self.rest.starts_with('#') {
                return;
            }
            let end = self.rest.find('\n').unwrap_or(self.rest.len());
            self.take(end);
        }
    }

    /// Takes `mark` where it is next.
    fn mark(&mut self, mark: char) -> bool {
        self.skip_space();
        let is_next = self.rest.starts_with(mark);
        if is_next {
            self.take(mark.len_utf8());
        }
        is_next
    }

    /// Takes letters, digits and `also`.
    fn run(&mut self, also: &[char]) -> &'a str {
        let is_end = |letter: char| !letter.is_ascii_alphanumeric() && !also.contains(&letter);
        let end = self.rest.find(is_end).unwrap_or(self.rest.len());
        self.take(end)
    }

    /// Fields up to the mark that ends the message, or the end of all.
    fn fields(&mut self, end: Option<char>, depth: usize) -> Result<Message, String> {
        let mut message = Message::default();
        loop {
            self.skip_space();
            match end {
                Some(end) if self.mark(end) => return Ok(message),
                None if self.rest.is_empty() => return Ok(message),
                _ => {}
            }
            let is_name = |letter: char| letter.is_ascii_alphabetic() || letter == '_';
            if !self.rest.starts_with(is_name) {
                return self.expected(match end {
                    Some('>') => "a field's name or '>'",
                    Some(_) => "a field's name or '}'",
                    None => "a field's name",
                });
            }
            let line = self.line;
            let name = self.run(&['_']).to_owned();
            let has_colon = self.mark(':');
            let mut values = Vec::new();
            match self.mark('[') {
                true => self.list(&mut values, depth)?,
                false => values.push(self.value(has_colon, depth)?),
            }
            let fields = values.into_iter().map(|value| Field {
                name: name.clone(),
                value,
                line,
            });
            message.fields.extend(fields);
            if !self.mark(',') {
                self.mark(';');
            }
        }
    }

    /// The values of a list whose beginning has been taken, which may be empty.
    fn list(&mut self, values: &mut Vec<Value>, depth: usize) -> Result<(), String> {
        if self.mark(']') {
            return Ok(());
        }
        loop {
            values.push(self.value(true, depth)?);
            if self.mark(']') {
                return Ok(());
            }
            if !self.mark(',') {
                return self.expected("',' or ']'");
            }
        }
    }

    /// A value; only a message where the field has no colon.
    fn value(&mut self, has_colon: bool, depth: usize) -> Result<Value, String> {
        for (begin, end) in [('{', '}'), ('<', '>')] {
            if self.mark(begin) {
                if depth + 1 > DEEPEST {
                    return self.wrong(format!("more than {DEEPEST} messages within each other"));
                }
                return Ok(Value::Message(self.fields(Some(end), depth + 1)?));
            }
        }
        if !has_colon {
            return self.expected("':' or '{'");
        }
        match self.rest.chars().next() {
            Some('"' | '\'') => self.text().map(Value::Text),
            Some(letter) if letter.is_ascii_alphabetic() || letter == '_' => {
                Ok(Value::Word(self.run(&['_']).to_owned()))
            }
            Some(first) if first.is_ascii_digit() || first == '-' || first == '.' => self.number(),
            _ => self.expected("a value"),
        }
    }

    fn number(&mut self) -> Result<Value, String> {
        let sign = if self.mark('-') { "-" } else { "" };
        self.skip_space();
        let mut digits = self.run(&['.']).to_owned();
        // An exponent may have a sign.
        if digits.ends_with(['e', 'E'])
            && !digits.starts_with("0x")
            && self.rest.starts_with(['+', '-'])
        {
            digits += self.take(1);
            digits += self.run(&[]);
        }
        match digits.is_empty() {
            true => self.expected("a number"),
            false => Ok(Value::Number(format!("{sign}{digits}"))),
        }
    }

    /// Texts that follow each other are one.
    fn text(&mut self) -> Result<String, String> {
        let mut bytes = Vec::new();
        loop {
            self.skip_space();
            let Some(quote) = self
                .rest
                .chars()
                .next()
                .filter(|quote| ['"', '\''].contains(quote))
            else {
                let line = self.line;
                return String::from_utf8(bytes)
                    .map_err(|_| format!("line {line}: a text is no UTF-8"));
            };
            self.take(1);
            self.quoted(quote, &mut bytes)?;
        }
    }

    fn quoted(&mut self, quote: char, bytes: &mut Vec<u8>) -> Result<(), String> {
        loop {
            let Some(letter) = self.rest.chars().next().filter(|letter| *letter != '\n') else {
                return self.wrong("a text does not end in its line");
            };
            let taken = self.take(letter.len_utf8());
            match letter {
                _ if letter == quote => return Ok(()),
                '\\' => self.escape(bytes)?,
                _ => bytes.extend(taken.as_bytes()),
            }
        }
    }

    /// What stands behind a backslash.
    fn escape(&mut self, bytes: &mut Vec<u8>) -> Result<(), String> {
        let Some(letter) = self.rest.chars().next() else {
            return self.wrong("a text ends within an escape");
        };
        if letter.is_digit(8) {
            let byte = self.digits(8, 3);
            return match byte.and_then(|byte| u8::try_from(byte).ok()) {
                Some(byte) => {
                    bytes.push(byte);
                    Ok(())
                }
                None => self.wrong("an octal escape is no byte"),
            };
        }
        self.take(letter.len_utf8());
        let code = match letter {
            'a' => 7,
            'b' => 8,
            'f' => 12,
            'n' => 10,
            'r' => 13,
            't' => 9,
            'v' => 11,
            '\\' | '\'' | '"' | '?' => letter as u32,
            'x' | 'X' => match self.digits(16, 2) {
                Some(byte) => {
                    bytes.extend(u8::try_from(byte));
                    return Ok(());
                }
                None => return self.wrong("an escape has no digits"),
            },
            'u' | 'U' => {
                let length = if letter == 'u' { 4 } else { 8 };
                let before = self.rest.len();
                let code = self.digits(16, length);
                let is_whole = before - self.rest.len() == length;
                match code.filter(|_| is_whole) {
                    Some(code) => code,
                    None => return self.wrong(format!("an escape \\{letter} has {length} digits")),
                }
            }
            other => return self.wrong(format!("there is no escape {other:?}")),
        };
        let Some(letter) = char::from_u32(code) else {
            return self.wrong(format!("{code:#x} is no character"));
        };
        bytes.extend(letter.encode_utf8(&mut [0; 4]).as_bytes());
        Ok(())
    }

    /// Takes up to `most` digits, at most eight; `None` where there is none.
    fn digits(&mut self, radix: u32, most: usize) -> Option<u32> {
        let is_digit = |byte: &u8| char::from(*byte).is_digit(radix);
        let count = self.rest.bytes().take(most).take_while(is_digit).count();
        u32::from_str_radix(self.take(count), radix).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Writes a message in one of the ways that there are.
    fn write(message: &Message, way: usize, out: &mut String) {
        for field in &message.fields {
            out.push_str(&field.name);
            match &field.value {
                Value::Message(inner) => {
                    let (begin, end) =
                        [("{", "}"), (" : {\n", "\n}"), ("<", ">"), (": [ {", "} ]")][way % 4];
                    out.push_str(begin);
                    write(inner, way / 4, out);
                    out.push_str(end);
                }
                Value::Text(text) => {
                    out.push_str(": \"");
                    for letter in text.chars() {
                        match letter {
                            '"' | '\\' => out.extend(['\\', letter]),
                            '\n' => out.push_str("\\n"),
                            _ if way.is_multiple_of(2) => {
                                out.extend(format!("\\U{:08x}", letter as u32).chars())
                            }
                            _ => out.push(letter),
                        }
                    }
                    out.push('"');
                }
                Value::Word(word) | Value::Number(word) => {
                    out.push(':');
                    out.push_str(word);
                }
            }
            out.push_str([" ", "\n", ", ", "; ", " # a } comment\n"][way % 5]);
        }
    }

    /// Lines are not compared.
    fn unlined(mut message: Message) -> Message {
        for field in &mut message.fields {
            field.line = 0;
            if let Value::Message(inner) = &mut field.value {
                *inner = unlined(std::mem::take(inner));
            }
        }
        message
    }

    fn message() -> impl Strategy<Value = Message> {
        let value = prop_oneof![
            ".*".prop_map(Value::Text),
            "[A-Za-z_][A-Za-z0-9_]{0,8}".prop_map(Value::Word),
            "-?[0-9]{1,9}(\\.[0-9]{1,3})?(e[+-]?[0-9]{1,2})?".prop_map(Value::Number),
        ];
        let value = value.prop_recursive(5, 40, 6, |inner| {
            let field = ("[a-z_][a-z0-9_]{0,6}", inner);
            prop::collection::vec(field, 0..6).prop_map(|fields| Value::Message(of(fields)))
        });
        prop::collection::vec(("[a-z_][a-z0-9_]{0,6}", value), 0..6).prop_map(of)
    }

    fn of(fields: Vec<(String, Value)>) -> Message {
        let fields = fields.into_iter().map(|(name, value)| Field {
            name,
            value,
            line: 0,
        });
        Message {
            fields: fields.collect(),
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(message in message(), way in 0usize..400) {
            let mut text = String::new();
            write(&message, way, &mut text);
            let read = parse(&text).map(unlined);
            prop_assert_eq!(read, Ok(message), "{}", text);
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".*") {
            let _ = parse(&text);
        }

        #[test]
        fn marks_in_any_order_are_read_or_refused(text in "[a-z{}<>\\[\\]:,;\"'\\\\#\n 0-9.xuU-]*") {
            let _ = parse(&text);
        }

        #[test]
        fn a_part_of_a_message_is_read_or_refused(message in message(), way in 0usize..400, at in 0usize..2000) {
            let mut text = String::new();
            write(&message, way, &mut text);
            let end = (0..=at.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
            let _ = parse(&text[..end.unwrap_or(0)]);
        }
    }

    #[test]
    fn texts_have_escapes_and_are_put_together() {
        let texts = |text: &str| -> Vec<String> {
            let message = parse(text).unwrap_or_else(|problem| panic!("{text}: {problem}"));
            let texts = message.fields.into_iter().map(|field| match field.value {
                Value::Text(text) => text,
                other => panic!("{other:?}"),
            });
            texts.collect()
        };
        assert_eq!(texts(r#"a: "b" 'c' "d""#), ["bcd"]);
        assert_eq!(texts(r#"a: ["b", 'c' "d"]"#), ["b", "cd"]);
        assert_eq!(texts(r#"a: "\101\x42\u0043\n\'\303\251""#), ["ABC\n'é"]);
        assert_eq!(texts("a: []"), [] as [&str; 0]);
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        let deep = "a {".repeat(40);
        for (text, problem) in [
            ("a: 1\nb", "line 2: expected ':' or '{', found the end"),
            ("a: 1\n\n}", "line 3: expected a field's name, found '}'"),
            ("a { b: 1 >", "expected a field's name or '}', found '>'"),
            ("a 1", "expected ':' or '{', found '1'"),
            ("a: ", "expected a value, found the end"),
            ("a: [1 2]", "expected ',' or ']', found '2'"),
            ("a: [1,", "expected a value"),
            ("a: \"b\nc\"", "line 1: a text does not end"),
            ("a: \"\\q\"", "no escape 'q'"),
            ("a: \"\\uD800\"", "no character"),
            ("a: \"\\u12\"", "has 4 digits"),
            ("a: \"\\777\"", "no byte"),
            ("a: \"\\xff\"", "no UTF-8"),
            ("a: -", "expected a number"),
            ("[ext]: 1", "expected a field's name"),
            ("ä: 1", "expected a field's name, found 'ä'"),
            (deep.as_str(), "more than 32 messages"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(problem), "{text:?}: {error}");
        }
    }
}
