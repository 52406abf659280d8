//! Elements of a tensor as JSON has them: one flat array, or arrays as deep within each other as the tensor has dimensions.
//!
//! They are read without a JSON value for each, and written without one.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, SeqAccess, Visitor};
use serde::ser::{Error as _, Serialize, SerializeSeq, Serializer};
use serde_json::Value;

use super::HostTensor;
use crate::onnx::DataType;

/// One element.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Element {
    /// A whole number below 2^63.
    Int(i64),
    /// A larger one.
    Uint(u64),
    Float(f64),
    Bool(bool),
}

impl Element {
    /// The element that a value is; `None` for texts, arrays and the like.
    pub fn of(value: &Value) -> Option<Element> {
        match value {
            Value::Bool(b) => Some(Element::Bool(*b)),
            Value::Number(n) => n
                .as_i64()
                .map(Element::Int)
                .or_else(|| n.as_u64().map(Element::Uint))
                .or_else(|| n.as_f64().map(Element::Float)),
            _ => None,
        }
    }

    fn float(self, most: f64) -> Option<f64> {
        let x = match self {
            Element::Int(n) => n as f64,
            Element::Uint(n) => n as f64,
            Element::Float(x) => x,
            Element::Bool(_) => return None,
        };
        (x.abs() <= most).then_some(x)
    }

    /// A whole number, also where it is written with a fraction of zero.
    fn integer(self) -> Option<i128> {
        match self {
            Element::Int(n) => Some(n.into()),
            Element::Uint(n) => Some(n.into()),
            Element::Float(x) => (x.fract() == 0.0 && x.abs() < 9e15).then_some(x as i128),
            Element::Bool(_) => None,
        }
    }

    /// Appends the element's bytes; `None` where the type does not hold it.
    pub fn write(self, dtype: DataType, bytes: &mut Vec<u8>) -> Option<()> {
        macro_rules! put {
            ($t:ty) => {
                bytes.extend_from_slice(&<$t>::try_from(self.integer()?).ok()?.to_le_bytes())
            };
        }
        match dtype {
            DataType::Float => {
                let x = self.float(f64::from(f32::MAX))? as f32;
                bytes.extend_from_slice(&x.to_le_bytes());
            }
            DataType::Double => bytes.extend_from_slice(&self.float(f64::MAX)?.to_le_bytes()),
            DataType::Float16 => {
                let x = half::f16::from_f64(self.float(f64::from(half::f16::MAX))?);
                bytes.extend_from_slice(&x.to_le_bytes());
            }
            DataType::Bfloat16 => {
                let x = half::bf16::from_f64(self.float(f64::from(half::bf16::MAX))?);
                bytes.extend_from_slice(&x.to_le_bytes());
            }
            DataType::Int8 => put!(i8),
            DataType::Int16 => put!(i16),
            DataType::Int32 => put!(i32),
            DataType::Int64 => put!(i64),
            DataType::Uint8 => put!(u8),
            DataType::Uint16 => put!(u16),
            DataType::Uint32 => put!(u32),
            DataType::Uint64 => put!(u64),
            DataType::Bool => bytes.push(match self {
                Element::Bool(b) => u8::from(b),
                _ => u8::try_from(self.integer()?).ok().filter(|n| *n <= 1)?,
            }),
        }
        Some(())
    }
}

/// The elements of a tensor in row-major order: numbers, or texts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Elements {
    elements: Vec<Element>,
    texts: Vec<String>,
    /// The size of the arrays of each depth, outermost first.
    sizes: Vec<usize>,
    /// How deep the elements lie; `None` before the first.
    depth: Option<usize>,
}

impl Elements {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.elements.len() + self.texts.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The texts that they are; `None` where they are numbers.
    pub fn into_texts(self) -> Option<Vec<String>> {
        self.elements.is_empty().then_some(self.texts)
    }

    /// The tensor that they are.
    ///
    /// # Errors
    /// A sentence: they are more or fewer than the shape takes, lie in arrays of other sizes than its own, or are not of
    /// the type.
    pub fn to_tensor(&self, dtype: DataType, shape: Vec<usize>) -> Result<HostTensor, String> {
        if !self.texts.is_empty() {
            return Err(format!("texts, where {} was expected", dtype.name()));
        }
        if self.sizes.len() > 1 && self.sizes != shape {
            return Err(format!(
                "the shape is {shape:?}, that of the arrays is {:?}",
                self.sizes
            ));
        }
        let takes = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        if takes != Some(self.len()) {
            return Err(format!(
                "{} elements are not those of the shape {shape:?}",
                self.len()
            ));
        }
        let mut bytes = Vec::with_capacity(self.len() * dtype.bytes());
        for (i, element) in self.elements.iter().enumerate() {
            element.write(dtype, &mut bytes).ok_or_else(|| {
                let element = match element {
                    Element::Int(n) => n.to_string(),
                    Element::Uint(n) => n.to_string(),
                    Element::Float(x) => x.to_string(),
                    Element::Bool(b) => b.to_string(),
                };
                format!("element {i}, {element}, is not of the type")
            })?;
        }
        HostTensor::new(dtype, shape, bytes)
    }
}

impl<'de> serde::Deserialize<'de> for Elements {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Elements, D::Error> {
        let mut all = Elements::default();
        Reader {
            all: &mut all,
            depth: 0,
        }
        .deserialize(deserializer)?;
        match all.depth {
            Some(0) => Err(D::Error::custom("expected an array of elements")),
            _ => Ok(all),
        }
    }
}

/// Reads what lies `depth` arrays deep.
struct Reader<'a> {
    all: &'a mut Elements,
    depth: usize,
}

impl Reader<'_> {
    fn check_depth<E: serde::de::Error>(&mut self) -> Result<(), E> {
        let depth = *self.all.depth.get_or_insert(self.depth);
        match depth == self.depth {
            true => Ok(()),
            false => Err(E::custom("elements and arrays lie beside each other")),
        }
    }

    fn add<E: serde::de::Error>(mut self, element: Element) -> Result<(), E> {
        self.check_depth()?;
        if !self.all.texts.is_empty() {
            return Err(E::custom("numbers and texts lie beside each other"));
        }
        self.all.elements.push(element);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a number, a boolean, a text, or an array of them")
    }

    fn visit_str<E: serde::de::Error>(mut self, text: &str) -> Result<(), E> {
        self.check_depth()?;
        if !self.all.elements.is_empty() {
            return Err(E::custom("numbers and texts lie beside each other"));
        }
        self.all.texts.push(text.to_owned());
        Ok(())
    }

    fn visit_bool<E: serde::de::Error>(self, b: bool) -> Result<(), E> {
        self.add(Element::Bool(b))
    }

    fn visit_i64<E: serde::de::Error>(self, n: i64) -> Result<(), E> {
        self.add(Element::Int(n))
    }

    fn visit_u64<E: serde::de::Error>(self, n: u64) -> Result<(), E> {
        self.add(i64::try_from(n).map_or(Element::Uint(n), Element::Int))
    }

    fn visit_f64<E: serde::de::Error>(self, x: f64) -> Result<(), E> {
        self.add(Element::Float(x))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Reader { all, depth } = self;
        if all.depth.is_some_and(|elements| elements <= depth) {
            return Err(A::Error::custom(
                "elements and arrays lie beside each other",
            ));
        }
        let mut count = 0;
        let inner = depth + 1;
        while items
            .next_element_seed(Reader { all, depth: inner })?
            .is_some()
        {
            count += 1;
        }
        // The arrays within have been seen before, if there are any.
        while all.sizes.len() <= depth {
            all.sizes.push(usize::MAX);
        }
        match all.sizes[depth] {
            usize::MAX => all.sizes[depth] = count,
            known if known == count => {}
            known => {
                return Err(A::Error::custom(format!(
                    "an array of {count} beside one of {known}"
                )));
            }
        }
        Ok(())
    }
}

/// A tensor's elements as one flat array. What JSON has no number for (infinite, none) is null.
#[derive(Debug, Clone, Copy)]
pub struct FlatJson<'a>(pub &'a HostTensor);

impl Serialize for FlatJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let tensor = self.0;
        let size = tensor.dtype().bytes();
        let mut seq = serializer.serialize_seq(Some(tensor.bytes().len() / size))?;
        macro_rules! each {
            ($t:ty, $show:expr) => {{
                let (elements, rest) = tensor.bytes().as_chunks::<{ size_of::<$t>() }>();
                if !rest.is_empty() {
                    return Err(S::Error::custom("a part of an element; this is a bug"));
                }
                for element in elements {
                    let show: fn($t) -> _ = $show;
                    seq.serialize_element(&show(<$t>::from_le_bytes(*element)))?;
                }
            }};
        }
        match tensor.dtype() {
            DataType::Float => each!(f32, |x| x),
            DataType::Double => each!(f64, |x| x),
            DataType::Float16 => each!(u16, |bits| half::f16::from_bits(bits).to_f32()),
            DataType::Bfloat16 => each!(u16, |bits| half::bf16::from_bits(bits).to_f32()),
            DataType::Int8 => each!(i8, |n| n),
            DataType::Int16 => each!(i16, |n| n),
            DataType::Int32 => each!(i32, |n| n),
            DataType::Int64 => each!(i64, |n| n),
            DataType::Uint8 => each!(u8, |n| n),
            DataType::Uint16 => each!(u16, |n| n),
            DataType::Uint32 => each!(u32, |n| n),
            DataType::Uint64 => each!(u64, |n| n),
            DataType::Bool => each!(u8, |n| n != 0),
        }
        seq.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::DataType::*;

    fn read(text: &str, dtype: DataType, shape: &[usize]) -> Result<HostTensor, String> {
        let elements: Elements = serde_json::from_str(text).map_err(|error| error.to_string())?;
        elements.to_tensor(dtype, shape.to_vec())
    }

    #[test]
    fn flat_and_nested_arrays_are_the_same_tensor() {
        let flat = read("[1, 2.5, 3, 4]", Float, &[2, 2]).unwrap();
        assert_eq!(flat.to_f64(), [1.0, 2.5, 3.0, 4.0]);
        assert_eq!(read("[[1, 2.5], [3, 4]]", Float, &[2, 2]), Ok(flat));
        let empty = read("[]", Float, &[0]).unwrap();
        assert!(empty.bytes().is_empty());
        assert_eq!(read("[[], []]", Float, &[2, 0]).unwrap().shape(), [2, 0]);
    }

    #[test]
    fn every_type_is_written_as_it_was_read() {
        for (text, dtype) in [
            ("[1.5,-2.0]", Float),
            ("[0.1,1e+300]", Double),
            ("[0.5,-65504.0]", Float16),
            ("[0.5,3.0]", Bfloat16),
            ("[-128,127]", Int8),
            ("[-32768,32767]", Int16),
            ("[-2147483648,2147483647]", Int32),
            ("[-9223372036854775808,9223372036854775807]", Int64),
            ("[0,255]", Uint8),
            ("[0,65535]", Uint16),
            ("[0,4294967295]", Uint32),
            ("[0,18446744073709551615]", Uint64),
            ("[true,false]", Bool),
        ] {
            let tensor = read(text, dtype, &[2]).expect(text);
            assert_eq!(serde_json::to_string(&FlatJson(&tensor)).unwrap(), text);
        }
        let tensor = HostTensor::from_f32(vec![2], &[f32::NAN, f32::INFINITY]).unwrap();
        let text = serde_json::to_string(&FlatJson(&tensor)).unwrap();
        assert_eq!(text, "[null,null]");
    }

    #[test]
    fn texts_are_read_as_they_are() {
        let read = |text: &str| serde_json::from_str::<Elements>(text).unwrap();
        let texts = read(r#"[["a"], ["b\u00e9"]]"#);
        assert_eq!(texts.len(), 2);
        assert_eq!(
            texts.into_texts(),
            Some(vec!["a".to_owned(), "bé".to_owned()])
        );
        assert_eq!(read("[1]").into_texts(), None);
    }

    #[test]
    fn what_is_no_tensor_is_told() {
        for (text, dtype, shape, problem) in [
            ("5", Float, &[1][..], "expected an array"),
            ("[1, \"a\"]", Float, &[2], "numbers and texts"),
            ("[\"a\", 1]", Float, &[2], "numbers and texts"),
            ("[\"a\"]", Float, &[1], "texts, where float32 was expected"),
            ("[[\"a\"], \"b\"]", Float, &[2], "beside each other"),
            ("[1, null]", Float, &[2], "expected a number"),
            ("[1, [2]]", Float, &[2], "beside each other"),
            ("[[1], 2]", Float, &[2], "beside each other"),
            ("[[1], [[2]]]", Float, &[2], "beside each other"),
            (
                "[[1, 2], [3]]",
                Float,
                &[3],
                "an array of 1 beside one of 2",
            ),
            (
                "[[1, 2, 3, 4]]",
                Float,
                &[2, 2],
                "that of the arrays is [1, 4]",
            ),
            ("[1, 2, 3]", Float, &[2, 2], "3 elements"),
            ("[1]", Float, &[usize::MAX, 2], "1 elements"),
            ("[1e39]", Float, &[1], "element 0"),
            ("[true]", Float, &[1], "element 0, true"),
            ("[0, 256]", Uint8, &[2], "element 1, 256"),
            ("[1.5]", Int32, &[1], "element 0, 1.5"),
            ("[2]", Bool, &[1], "element 0, 2"),
        ] {
            let error = read(text, dtype, shape).expect_err(text);
            assert!(error.contains(problem), "{text}: {error}");
        }
        let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(read(&deep, Float, &[1]).is_err());
    }
}
