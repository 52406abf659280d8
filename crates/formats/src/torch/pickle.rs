//! Pickles of tensors: a machine for the few instructions and constructors that `torch.save` and TorchScript write, and no
//! others.
//!
//! Python's own unpickler calls whatever a pickle names. This one calls nothing: dictionaries, lists, numbers, strings,
//! and the functions that build tensors and parameters become data, and any other name is refused.
//!
//! Objects live in one list and refer to each other by index, so that a pickle that refers to itself is merely data. No
//! instruction copies what another has made: what is named twice is shared, and memory is bounded by the number of
//! instructions and the bytes that they carry.
//!
//! Source of the instructions: `Lib/pickletools.py` of CPython.

use std::collections::HashMap;
use std::sync::Arc;

/// More levels or instructions than any checkpoint has, in objects.
const MAX_OBJECTS: usize = 50_000_000;

/// Longer than any name of a class or function.
const MAX_NAME: usize = 512;

/// An object's place in the list.
pub(crate) type Id = u32;

/// An object that a pickle builds.
#[derive(Debug, Clone)]
pub(crate) enum Object {
    /// `None`.
    None,
    /// A boolean.
    Bool(bool),
    /// An integer of up to 64 bits.
    Int(i64),
    /// A floating-point number.
    Float(f64),
    /// A string.
    Str(Arc<str>),
    /// Bytes.
    Bytes,
    /// A tuple.
    Tuple(Vec<Id>),
    /// A list or a set.
    List(Vec<Id>),
    /// A dictionary, ordered or not, in order of insertion.
    Dict(Vec<(Id, Id)>),
    /// A class or function: its module and its name.
    Global(Arc<str>, Arc<str>),
    /// A storage: what the pickle says of it, a tuple.
    Storage(Id),
    /// The result of a call that builds a tensor: what [`Pickle::call`] tells.
    Call(Id, Id),
    /// An object of TorchScript: its class, which is a [`Object::Global`], and its state.
    Instance(Id, Option<Id>),
    /// A device, a size or another value that says nothing about data.
    Opaque,
}

/// What a pickle holds.
#[derive(Debug)]
pub(crate) struct Pickle {
    objects: Vec<Object>,
    root: Id,
    bytes: usize,
}

impl Pickle {
    /// Runs a pickle.
    ///
    /// # Errors
    /// The offset of the instruction, and a sentence on what is wrong with it.
    pub(super) fn parse(bytes: &[u8]) -> Result<Pickle, (usize, String)> {
        Self::run(bytes, false)
    }

    /// Runs a pickle of TorchScript, in which there are objects of its classes as well.
    ///
    /// # Errors
    /// As of [`Pickle::parse`].
    pub(crate) fn parse_script(bytes: &[u8]) -> Result<Pickle, (usize, String)> {
        Self::run(bytes, true)
    }

    fn run(bytes: &[u8], is_script: bool) -> Result<Pickle, (usize, String)> {
        let mut machine = Machine {
            bytes,
            is_script,
            at: 0,
            objects: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
        };
        loop {
            let at = machine.at;
            match machine.step() {
                Ok(None) => {}
                Ok(Some(root)) => {
                    return Ok(Pickle {
                        objects: machine.objects,
                        root,
                        bytes: bytes.len(),
                    });
                }
                Err(problem) => return Err((at, problem)),
            }
        }
    }

    /// The object that the pickle is.
    pub(crate) fn root(&self) -> Id {
        self.root
    }

    /// An object by its place.
    pub(crate) fn get(&self, id: Id) -> &Object {
        &self.objects[id as usize]
    }

    /// The module and the name of a class or function.
    pub(crate) fn global(&self, id: Id) -> Option<(&str, &str)> {
        match self.get(id) {
            Object::Global(module, name) => Some((module, name)),
            _ => None,
        }
    }

    /// The name of the function that a call builds a tensor with, and its arguments.
    pub(crate) fn call(&self, id: Id) -> Option<(&str, &[Id])> {
        let Object::Call(function, args) = self.get(id) else {
            return None;
        };
        match (self.get(*function), self.get(*args)) {
            (Object::Global(_, name), Object::Tuple(args)) => Some((name, args)),
            _ => None,
        }
    }

    /// The length of the pickle.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many objects there are, whose places are those below it.
    pub(crate) fn len(&self) -> Id {
        self.objects.len() as Id
    }
}

struct Machine<'a> {
    bytes: &'a [u8],
    is_script: bool,
    at: usize,
    objects: Vec<Object>,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

type Step<T> = Result<T, String>;

impl Machine<'_> {
    /// Runs one instruction; the root, where it is the last.
    fn step(&mut self) -> Step<Option<Id>> {
        let op = self.take(1)?[0];
        match op {
            // PROTO, FRAME
            0x80 => {
                self.take(1)?;
            }
            0x95 => {
                self.take(8)?;
            }
            b'.' => return self.pop().map(Some),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => {
                self.pop()?;
            }
            b'N' => self.push(Object::None)?,
            0x88 => self.push(Object::Bool(true))?,
            0x89 => self.push(Object::Bool(false))?,
            b'J' => {
                let n = i32::from_le_bytes(self.array()?);
                self.push(Object::Int(n.into()))?;
            }
            b'K' => {
                let n = self.take(1)?[0];
                self.push(Object::Int(n.into()))?;
            }
            b'M' => {
                let n = u16::from_le_bytes(self.array()?);
                self.push(Object::Int(n.into()))?;
            }
            0x8a => self.long()?,
            b'G' => {
                let x = f64::from_be_bytes(self.array()?);
                self.push(Object::Float(x))?;
            }
            // BINUNICODE, SHORT_BINUNICODE, BINUNICODE8
            b'X' => {
                let len = u32::from_le_bytes(self.array()?) as usize;
                self.string(len)?;
            }
            0x8c => {
                let len = self.take(1)?[0].into();
                self.string(len)?;
            }
            0x8d => {
                let len = u64::from_le_bytes(self.array()?);
                let len = usize::try_from(len).map_err(|_| format!("a string of {len} bytes"))?;
                self.string(len)?;
            }
            // SHORT_BINBYTES, BINBYTES, SHORT_BINSTRING
            b'C' | b'U' => {
                let len = self.take(1)?[0].into();
                self.take(len)?;
                self.push(Object::Bytes)?;
            }
            b'B' => {
                let len = u32::from_le_bytes(self.array()?) as usize;
                self.take(len)?;
                self.push(Object::Bytes)?;
            }
            b'}' => self.push(Object::Dict(Vec::new()))?,
            b']' | 0x8f => self.push(Object::List(Vec::new()))?,
            b')' => self.push(Object::Tuple(Vec::new()))?,
            0x85..=0x87 => {
                let items = self.pop_many(usize::from(op - 0x84))?;
                self.push(Object::Tuple(items))?;
            }
            b't' => {
                let items = self.pop_mark()?;
                self.push(Object::Tuple(items))?;
            }
            b'l' => {
                let items = self.pop_mark()?;
                self.push(Object::List(items))?;
            }
            b'a' => {
                let item = self.pop()?;
                self.extend_list(vec![item])?;
            }
            b'e' | 0x90 => {
                let items = self.pop_mark()?;
                self.extend_list(items)?;
            }
            b's' => {
                let pair = self.pop_many(2)?;
                self.extend_dict(pair)?;
            }
            b'u' => {
                let items = self.pop_mark()?;
                self.extend_dict(items)?;
            }
            // BINPUT, LONG_BINPUT, MEMOIZE
            b'q' => {
                let key = self.take(1)?[0].into();
                self.remember(key)?;
            }
            b'r' => {
                let key = u32::from_le_bytes(self.array()?);
                self.remember(key)?;
            }
            0x94 => {
                let key = self.memo.len() as u32;
                self.remember(key)?;
            }
            b'h' => {
                let key = self.take(1)?[0].into();
                self.recall(key)?;
            }
            b'j' => {
                let key = u32::from_le_bytes(self.array()?);
                self.recall(key)?;
            }
            b'c' => {
                let module: Arc<str> = self.line()?.into();
                let name = self.line()?;
                let global = Object::Global(module, name.into());
                self.push(global)?;
            }
            // PyTorch's own pickler, which writes TorchScript, knows the other instruction alone.
            0x93 if !self.is_script => {
                let pair = self.pop_many(2)?;
                let (Object::Str(module), Object::Str(name)) =
                    (self.get(pair[0]), self.get(pair[1]))
                else {
                    return Err("a name that is no string".into());
                };
                let global = Object::Global(Arc::clone(module), Arc::clone(name));
                self.push(global)?;
            }
            b'Q' => {
                let id = self.pop()?;
                self.push(Object::Storage(id))?;
            }
            b'R' => self.reduce()?,
            // BUILD: attributes of what is below. Tensors carry none that matter, ordered dictionaries `_metadata`.
            b'b' => {
                let state = self.pop()?;
                let top = self.top()? as usize;
                if let Object::Instance(_, its) = &mut self.objects[top] {
                    *its = Some(state);
                }
            }
            // NEWOBJ
            0x81 if self.is_script => {
                let pair = self.pop_many(2)?;
                if !matches!(self.get(pair[0]), Object::Global(..)) {
                    return Err("an object of what is no class".into());
                }
                self.push(Object::Instance(pair[0], None))?;
            }
            other => {
                return Err(format!(
                    "the instruction {other:#04x} is none that torch.save writes"
                ));
            }
        }
        Ok(None)
    }

    /// Calls a function, if it is one of the few that build tensors.
    fn reduce(&mut self) -> Step<()> {
        let args = self.pop()?;
        let callable = self.pop()?;
        let Object::Global(module, name) = self.get(callable) else {
            return Err("a call of what is no function".into());
        };
        let whole = || {
            let start = |text: &str| text.chars().take(MAX_NAME).collect::<String>();
            format!("{:?}", format!("{} {}", start(module), start(name)))
        };
        let Object::Tuple(items) = self.get(args) else {
            return Err(format!("a call of {} without arguments", whole()));
        };
        let object = match (&**module, &**name) {
            ("collections", "OrderedDict") => Object::Dict(Vec::new()),
            (
                "torch._utils",
                "_rebuild_tensor_v2"
                | "_rebuild_tensor"
                | "_rebuild_tensor_v3"
                | "_rebuild_parameter"
                | "_rebuild_parameter_with_state",
            ) => Object::Call(callable, args),
            ("torch", "device" | "Size") | ("builtins", "set") => Object::Opaque,
            // Lists and dictionaries with the types of their members, which they come as without.
            ("torch.jit._pickle", _) if self.is_script => {
                let id = *items.first().ok_or("a list of nothing")?;
                self.stack.push(id);
                return Ok(());
            }
            _ => {
                return Err(format!(
                    "it calls {}, which builds no tensor; Hearth runs no code from files",
                    whole()
                ));
            }
        };
        self.push(object)
    }

    fn take(&mut self, len: usize) -> Step<&[u8]> {
        let rest = self.bytes.len() - self.at;
        if len > rest {
            return Err(format!("{len} bytes needed, {rest} left; is it cut short?"));
        }
        self.at += len;
        Ok(&self.bytes[self.at - len..self.at])
    }

    fn array<const N: usize>(&mut self) -> Step<[u8; N]> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    fn line(&mut self) -> Step<&str> {
        let rest = &self.bytes[self.at..];
        let len = rest
            .iter()
            .take(MAX_NAME)
            .position(|&b| b == b'\n')
            .ok_or("a name without an end")?;
        let line = std::str::from_utf8(&rest[..len]).map_err(|e| e.to_string())?;
        self.at += len + 1;
        Ok(line)
    }

    fn string(&mut self, len: usize) -> Step<()> {
        let text = std::str::from_utf8(self.take(len)?).map_err(|e| e.to_string())?;
        let text = text.into();
        self.push(Object::Str(text))
    }

    fn long(&mut self) -> Step<()> {
        let len = usize::from(self.take(1)?[0]);
        let bytes = self.take(len)?;
        if len > 8 {
            return Err(format!("an integer of {len} bytes; 8 are the most"));
        }
        let negative = bytes.last().is_some_and(|b| b & 0x80 != 0);
        let mut all = [if negative { 0xff } else { 0 }; 8];
        all[..len].copy_from_slice(bytes);
        self.push(Object::Int(i64::from_le_bytes(all)))
    }

    fn push(&mut self, object: Object) -> Step<()> {
        if self.objects.len() >= MAX_OBJECTS {
            return Err(format!("more than {MAX_OBJECTS} objects"));
        }
        self.stack.push(self.objects.len() as Id);
        self.objects.push(object);
        Ok(())
    }

    fn get(&self, id: Id) -> &Object {
        &self.objects[id as usize]
    }

    /// The lowest place on the stack that may be taken: things below an open mark belong to it.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self) -> Step<Id> {
        if self.stack.len() <= self.floor() {
            return Err("it takes from an empty stack".into());
        }
        self.stack
            .pop()
            .ok_or("it takes from an empty stack".into())
    }

    fn pop_many(&mut self, n: usize) -> Step<Vec<Id>> {
        let from = self
            .stack
            .len()
            .checked_sub(n)
            .filter(|&from| from >= self.floor())
            .ok_or("it takes from an empty stack")?;
        Ok(self.stack.split_off(from))
    }

    fn pop_mark(&mut self) -> Step<Vec<Id>> {
        let mark = self
            .marks
            .pop()
            .ok_or("it goes back to a mark that is not there")?;
        Ok(self.stack.split_off(mark))
    }

    fn top(&self) -> Step<Id> {
        (self.stack.len() > self.floor())
            .then(|| self.stack.last().copied())
            .flatten()
            .ok_or("it looks at an empty stack".into())
    }

    fn extend_list(&mut self, items: Vec<Id>) -> Step<()> {
        let top = self.top()? as usize;
        match &mut self.objects[top] {
            Object::List(list) => list.extend(items),
            Object::Opaque => {}
            _ => return Err("it appends to what is no list".into()),
        }
        Ok(())
    }

    fn extend_dict(&mut self, items: Vec<Id>) -> Step<()> {
        if !items.len().is_multiple_of(2) {
            return Err("a key without a value".into());
        }
        let top = self.top()? as usize;
        let Object::Dict(dict) = &mut self.objects[top] else {
            return Err("it sets an item of what is no dictionary".into());
        };
        dict.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1])));
        Ok(())
    }

    fn remember(&mut self, key: u32) -> Step<()> {
        let top = self.top()?;
        self.memo.insert(key, top);
        Ok(())
    }

    fn recall(&mut self, key: u32) -> Step<()> {
        let id = *self
            .memo
            .get(&key)
            .ok_or_else(|| format!("the memo has no entry {key}"))?;
        self.stack.push(id);
        if self.stack.len() > MAX_OBJECTS {
            return Err(format!("more than {MAX_OBJECTS} objects"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(bytes: &[u8]) -> String {
        Pickle::parse(bytes).expect_err("a defect").1
    }

    #[test]
    fn plain_objects_are_read() {
        // {'a': (1, -2, True), 'b': [None]}, protocol 2
        let p = Pickle::parse(
            b"\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01K\x01J\xfe\xff\xff\xff\x88\x87q\x02X\x01\x00\x00\x00bq\x03]q\x04Nau.",
        )
        .unwrap();
        let Object::Dict(items) = p.get(p.root()) else {
            panic!("a dictionary");
        };
        let Object::Tuple(tuple) = p.get(items[0].1) else {
            panic!("a tuple");
        };
        assert!(matches!(p.get(tuple[0]), Object::Int(1)));
        assert!(matches!(p.get(tuple[1]), Object::Int(-2)));
        assert!(matches!(p.get(tuple[2]), Object::Bool(true)));
        assert!(matches!(p.get(items[1].1), Object::List(list) if list.len() == 1));
    }

    #[test]
    fn long_integers_keep_their_sign() {
        for (bytes, want) in [
            (&b"\x8a\x00."[..], 0),
            (b"\x8a\x02\x00\x80.", -32768),
            (b"\x8a\x02\xff\x7f.", 32767),
        ] {
            let p = Pickle::parse(bytes).unwrap();
            assert!(
                matches!(p.get(p.root()), Object::Int(n) if *n == want),
                "{want}"
            );
        }
    }

    #[test]
    fn code_is_never_run() {
        let p = problem(b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.");
        assert!(p.contains("\"os system\"") && p.contains("no code"), "{p}");
    }

    #[test]
    fn each_defect_is_named() {
        assert!(problem(b"").contains("cut short"));
        assert!(problem(b"X\xff\xff\xff\xffab").contains("4294967295 bytes needed"));
        assert!(problem(b".").contains("empty stack"));
        assert!(problem(b"K\x01(.").contains("empty stack"));
        assert!(problem(b"u").contains("mark"));
        assert!(problem(b"}(K\x01u.").contains("key without a value"));
        assert!(problem(b"h\x07.").contains("no entry 7"));
        assert!(problem(b"\x8a\x09123456789.").contains("9 bytes"));
        assert!(problem(b"iabc").contains("0x69"));
        assert!(problem(b"caaa").contains("without an end"));
    }

    #[test]
    fn objects_of_classes_are_read_in_torchscript_alone() {
        // __torch__.Net with the attributes {'p': 0.5, 'ids': [1]}
        let bytes = b"\x80\x02c__torch__\nNet\n)\x81}(X\x01\x00\x00\x00pG\x3f\xe0\0\0\0\0\0\0\
            X\x03\x00\x00\x00idsctorch.jit._pickle\nbuild_intlist\n](K\x01e\x85Rub.";
        assert!(problem(bytes).contains("0x81"));
        let p = Pickle::parse_script(bytes).unwrap();
        let Object::Instance(class, Some(state)) = p.get(p.root()) else {
            panic!("an object with a state");
        };
        assert_eq!(p.global(*class), Some(("__torch__", "Net")));
        let Object::Dict(items) = p.get(*state) else {
            panic!("a dictionary");
        };
        assert!(matches!(p.get(items[0].1), Object::Float(x) if *x == 0.5));
        assert!(matches!(p.get(items[1].1), Object::List(list) if list.len() == 1));
    }

    #[test]
    fn a_list_in_itself_is_only_data() {
        let p = Pickle::parse(b"]q\x00h\x00a.").unwrap();
        let Object::List(list) = p.get(p.root()) else {
            panic!("a list");
        };
        assert_eq!(list, &[p.root()]);
    }
}
