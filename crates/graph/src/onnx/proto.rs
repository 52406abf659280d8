//! Models as protocol buffers.
//!
//! A message is a list of pieces, so that weights go from the archive's map to the file without a copy in between. Field
//! numbers are those of `onnx/onnx.proto`; the wire format is <https://protobuf.dev/programming-guides/encoding/>.

use std::io::{self, Write};

use hearth_kernels::Bytes;

use super::model::{Attribute, AttributeValue, Dim, Graph, Model, Node, Tensor, ValueInfo};
use crate::{Error, Result};

/// The version of the file format: that of ONNX 1.13, the first with operator set 18.
const IR_VERSION: i64 = 8;

impl Model {
    /// Writes the model as an ONNX file.
    ///
    /// # Errors
    /// [`Error::TooLarge`] inside of the writer's error where it takes more than the 2 GiB that a message can have, and
    /// what the writer says.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let message = self.message().map_err(io::Error::other)?;
        for piece in &message.pieces {
            match piece {
                Piece::Own(bytes) => out.write_all(bytes)?,
                Piece::Shared(bytes) => out.write_all(bytes)?,
            }
        }
        Ok(())
    }

    /// The size of the ONNX file in bytes.
    ///
    /// # Errors
    /// [`Error::TooLarge`] where it takes more than the 2 GiB that a message can have.
    pub fn file_bytes(&self) -> Result<u64> {
        Ok(self.message()?.len)
    }

    /// The model as the bytes of an ONNX file.
    ///
    /// # Errors
    /// [`Error::TooLarge`] where it takes more than the 2 GiB that a message can have.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let message = self.message()?;
        let mut out = Vec::with_capacity(message.len as usize);
        for piece in &message.pieces {
            match piece {
                Piece::Own(bytes) => out.extend_from_slice(bytes),
                Piece::Shared(bytes) => out.extend_from_slice(bytes),
            }
        }
        Ok(out)
    }

    fn message(&self) -> Result<Message> {
        let mut m = Message::default();
        m.int(1, IR_VERSION);
        m.string(2, "hearth");
        m.string(3, env!("CARGO_PKG_VERSION"));
        m.message(7, graph(&self.graph));
        let mut opset = Message::default();
        opset.string(1, "");
        opset.int(2, self.opset);
        m.message(8, opset);
        for (key, value) in &self.metadata {
            let mut entry = Message::default();
            entry.string(1, key);
            entry.string(2, value);
            m.message(14, entry);
        }
        if m.len > i32::MAX as u64 {
            return Err(Error::TooLarge { bytes: m.len });
        }
        Ok(m)
    }
}

fn graph(graph: &Graph) -> Message {
    let mut m = Message::default();
    for n in &graph.nodes {
        m.message(1, node(n));
    }
    m.string(2, &graph.name);
    for t in &graph.initializers {
        m.message(5, tensor(t));
    }
    for v in &graph.inputs {
        m.message(11, value_info(v));
    }
    for v in &graph.outputs {
        m.message(12, value_info(v));
    }
    m
}

fn node(node: &Node) -> Message {
    let mut m = Message::default();
    for input in &node.inputs {
        m.string(1, input);
    }
    for output in &node.outputs {
        m.string(2, output);
    }
    m.string(3, &node.name);
    m.string(4, node.op_type);
    for a in &node.attributes {
        m.message(5, attribute(a));
    }
    m
}

fn attribute(attribute: &Attribute) -> Message {
    let mut m = Message::default();
    m.string(1, attribute.name);
    let kind = match &attribute.value {
        AttributeValue::Float(x) => {
            m.float(2, *x);
            1
        }
        AttributeValue::Int(n) => {
            m.int(3, *n);
            2
        }
        AttributeValue::String(text) => {
            m.string(4, text);
            3
        }
        AttributeValue::Tensor(t) => {
            m.message(5, tensor(t));
            4
        }
        AttributeValue::Ints(list) => {
            for n in list {
                m.int(8, *n);
            }
            7
        }
    };
    m.int(20, kind);
    m
}

fn tensor(tensor: &Tensor) -> Message {
    let mut m = Message::default();
    for &d in &tensor.dims {
        m.int(1, d);
    }
    m.int(2, tensor.dtype as i64);
    if !tensor.name.is_empty() {
        m.string(8, &tensor.name);
    }
    m.shared(9, &tensor.bytes);
    m
}

fn value_info(value: &ValueInfo) -> Message {
    let mut shape = Message::default();
    for dim in &value.dims {
        let mut d = Message::default();
        match dim {
            Dim::Fixed(n) => d.int(1, *n),
            Dim::Symbol(name) => d.string(2, name),
            Dim::Unknown => {}
        }
        shape.message(1, d);
    }
    let mut tensor = Message::default();
    tensor.int(1, value.dtype as i64);
    tensor.message(2, shape);
    let mut kind = Message::default();
    kind.message(1, tensor);
    let mut m = Message::default();
    m.string(1, &value.name);
    m.message(2, kind);
    m
}

enum Piece {
    Own(Vec<u8>),
    Shared(Bytes),
}

/// A message under construction.
#[derive(Default)]
struct Message {
    pieces: Vec<Piece>,
    len: u64,
}

/// How a field's value is written.
const VARINT: u64 = 0;
const LENGTH: u64 = 2;
const FIXED32: u64 = 5;

impl Message {
    fn own(&mut self, bytes: &[u8]) {
        self.len += bytes.len() as u64;
        if let Some(Piece::Own(last)) = self.pieces.last_mut() {
            last.extend_from_slice(bytes);
        } else {
            self.pieces.push(Piece::Own(bytes.to_vec()));
        }
    }

    fn varint(&mut self, mut n: u64) {
        let mut bytes = [0u8; 10];
        let mut len = 0;
        loop {
            bytes[len] = (n & 0x7f) as u8;
            n >>= 7;
            if n == 0 {
                break;
            }
            bytes[len] |= 0x80;
            len += 1;
        }
        self.own(&bytes[..=len]);
    }

    fn key(&mut self, field: u64, kind: u64) {
        self.varint(field << 3 | kind);
    }

    fn int(&mut self, field: u64, n: i64) {
        self.key(field, VARINT);
        self.varint(n as u64);
    }

    fn float(&mut self, field: u64, x: f32) {
        self.key(field, FIXED32);
        self.own(&x.to_le_bytes());
    }

    fn string(&mut self, field: u64, text: &str) {
        self.key(field, LENGTH);
        self.varint(text.len() as u64);
        self.own(text.as_bytes());
    }

    fn shared(&mut self, field: u64, bytes: &Bytes) {
        /// Shorter ones are cheaper to copy than to keep apart.
        const SHORT: usize = 4096;
        self.key(field, LENGTH);
        self.varint(bytes.len() as u64);
        if bytes.len() < SHORT {
            self.own(bytes);
        } else {
            self.len += bytes.len() as u64;
            self.pieces.push(Piece::Shared(bytes.clone()));
        }
    }

    fn message(&mut self, field: u64, inner: Message) {
        self.key(field, LENGTH);
        self.varint(inner.len);
        for piece in inner.pieces {
            match piece {
                Piece::Own(bytes) => self.own(&bytes),
                Piece::Shared(bytes) => {
                    self.len += bytes.len() as u64;
                    self.pieces.push(Piece::Shared(bytes));
                }
            }
        }
    }
}
