//! How many weights an ONNX file has, without reading them.

use std::io::{BufRead, Error, ErrorKind, Result, Seek};

use crate::onnx::DataType;

/// `ModelProto.graph`, `GraphProto.initializer`, `TensorProto.dims` and `TensorProto.data_type`.
const GRAPH: u64 = 7;
const INITIALIZER: u64 = 5;
const DIMS: u64 = 1;
const DATA_TYPE: u64 = 2;

/// The elements of a model's weights, as [`super::Summary::parameters`] counts them, but without those of inner graphs: only the
/// heads of tensors are read from the file.
///
/// # Errors
/// The file can't be read, or is no ONNX model.
pub fn count_parameters(file: &mut (impl BufRead + Seek)) -> Result<u64> {
    let end = file.seek(std::io::SeekFrom::End(0))?;
    file.rewind()?;
    let mut parameters = 0u64;
    let mut model = Fields { file, at: 0, end };
    while let Some(field) = model.next()? {
        let (GRAPH, Content::Bytes(end)) = field else {
            model.skip(field.1)?;
            continue;
        };
        let mut graph = model.within(end);
        while let Some(field) = graph.next()? {
            let (INITIALIZER, Content::Bytes(end)) = field else {
                graph.skip(field.1)?;
                continue;
            };
            let mut tensor = graph.within(end);
            parameters = parameters.saturating_add(elements(&mut tensor)?);
            graph.at = end;
        }
        model.at = end;
    }
    Ok(parameters)
}

/// The elements of a tensor; 0 for one of 64-bit integers, which is a shape or indices.
fn elements(tensor: &mut Fields<impl BufRead + Seek>) -> Result<u64> {
    let (mut elements, mut dtype) = (1u64, None);
    while let Some(field) = tensor.next()? {
        match field {
            (DIMS, Content::Number(size)) => elements = elements.saturating_mul(size),
            (DIMS, Content::Bytes(end)) => {
                let mut dims = tensor.within(end);
                while dims.at < end {
                    elements = elements.saturating_mul(dims.number()?);
                }
                tensor.at = end;
            }
            (DATA_TYPE, Content::Number(number)) => {
                dtype = i32::try_from(number).ok().and_then(DataType::from_number);
            }
            (_, content) => tensor.skip(content)?,
        }
    }
    Ok(if dtype == Some(DataType::Int64) {
        0
    } else {
        elements
    })
}

/// What a field holds.
#[derive(Clone, Copy)]
enum Content {
    Number(u64),
    /// Bytes up to there.
    Bytes(u64),
    /// So many bytes.
    Fixed(u64),
}

/// The fields of a message that ends at `end`.
struct Fields<'a, F> {
    file: &'a mut F,
    at: u64,
    end: u64,
}

impl<F: BufRead + Seek> Fields<'_, F> {
    /// The next field's number and what it holds; the bytes of a field are yet to be passed. `None` at the end.
    fn next(&mut self) -> Result<Option<(u64, Content)>> {
        if self.at == self.end {
            return Ok(None);
        }
        let tag = self.number()?;
        let content = match tag & 7 {
            0 => Content::Number(self.number()?),
            1 => Content::Fixed(8),
            2 => {
                let length = self.number()?;
                let end = self.at.checked_add(length).filter(|end| *end <= self.end);
                Content::Bytes(end.ok_or_else(no_model)?)
            }
            5 => Content::Fixed(4),
            _ => return Err(no_model()),
        };
        Ok(Some((tag >> 3, content)))
    }

    /// Those of a message within, up to `end`.
    fn within(&mut self, end: u64) -> Fields<'_, F> {
        Fields {
            file: self.file,
            at: self.at,
            end,
        }
    }

    /// Passes over what a field holds.
    fn skip(&mut self, content: Content) -> Result<()> {
        let bytes = match content {
            Content::Number(_) => return Ok(()),
            Content::Bytes(end) => end - self.at,
            Content::Fixed(bytes) => bytes,
        };
        if bytes > self.end - self.at {
            return Err(no_model());
        }
        self.at += bytes;
        self.file
            .seek_relative(i64::try_from(bytes).map_err(|_| no_model())?)
    }

    /// A number of as many bytes as it takes.
    fn number(&mut self) -> Result<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            if self.at == self.end {
                return Err(no_model());
            }
            let mut byte = [0];
            self.file.read_exact(&mut byte)?;
            self.at += 1;
            number |= u64::from(byte[0] & 0x7f) << shift;
            if byte[0] < 0x80 {
                return Ok(number);
            }
        }
        Err(no_model())
    }
}

fn no_model() -> Error {
    Error::new(ErrorKind::InvalidData, "no ONNX model")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::{Dim, Graph, Model, Node, Tensor, ValueInfo};
    use crate::runtime::summarize;
    use proptest::prelude::*;
    use std::io::Cursor;

    fn model() -> Vec<u8> {
        let value = |name: &str| ValueInfo {
            name: name.into(),
            dtype: DataType::Float,
            dims: vec![Dim::Symbol("n".into()), Dim::Fixed(300)],
        };
        let tensor = |name: &str, dtype: DataType, dims: &[i64]| Tensor {
            name: name.into(),
            dtype,
            dims: dims.to_vec(),
            bytes: vec![0; dims.iter().product::<i64>() as usize * dtype.bytes()].into(),
        };
        let add = |a: &str, b: &str, out: &str| Node {
            name: String::new(),
            op_type: "Add",
            inputs: vec![a.into(), b.into()],
            outputs: vec![out.into()],
            attributes: Vec::new(),
        };
        let model = Model {
            opset: 18,
            graph: Graph {
                name: "g".into(),
                nodes: vec![add("x", "w", "y"), add("y", "v", "z")],
                initializers: vec![
                    tensor("w", DataType::Float, &[1, 300]),
                    tensor("v", DataType::Float, &[]),
                    tensor("i", DataType::Int64, &[7]),
                ],
                inputs: vec![value("x")],
                outputs: vec![value("z")],
            },
            metadata: vec![("about".into(), "x".repeat(10_000))],
        };
        model.to_bytes().unwrap()
    }

    #[test]
    fn weights_are_counted_as_in_the_summary() {
        let bytes = model();
        assert_eq!(summarize(&bytes).unwrap().parameters, 301);
        assert_eq!(count_parameters(&mut Cursor::new(&bytes)).unwrap(), 301);
        assert_eq!(count_parameters(&mut Cursor::new(b"")).unwrap(), 0);
        assert!(count_parameters(&mut Cursor::new(b"no model")).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_counted_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = count_parameters(&mut Cursor::new(bytes));
        }

        #[test]
        fn a_damaged_model_is_counted_or_refused(at in any::<prop::sample::Index>(), with in any::<u8>()) {
            let mut bytes = model();
            let at = at.index(bytes.len());
            bytes[at] = with;
            let _ = count_parameters(&mut Cursor::new(&bytes));
            let _ = count_parameters(&mut Cursor::new(&bytes[..at]));
        }
    }
}
