//! One safetensors file.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::Path;

use hearth_kernels::{Bytes, DType};
use serde::Deserialize;
use serde::de::{MapAccess, Visitor};

use super::SafetensorsTensor;
use crate::{Error, Result, mmap};

/// Headers larger than this are refused, as the reference implementation does.
const MAX_HEADER_BYTES: u64 = 100_000_000;
/// More dimensions than any tensor in use has.
const MAX_DIMENSIONS: usize = 16;

/// The element types that the format knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[allow(missing_docs, non_camel_case_types)]
pub enum SafetensorsDType {
    BOOL,
    U8,
    I8,
    F8_E5M2,
    F8_E4M3,
    F8_E8M0,
    I16,
    U16,
    F16,
    BF16,
    I32,
    U32,
    F32,
    F64,
    I64,
    U64,
}

impl SafetensorsDType {
    /// The size of an element in bytes.
    pub const fn bytes(self) -> usize {
        use SafetensorsDType::*;
        match self {
            BOOL | U8 | I8 | F8_E5M2 | F8_E4M3 | F8_E8M0 => 1,
            I16 | U16 | F16 | BF16 => 2,
            I32 | U32 | F32 => 4,
            F64 | I64 | U64 => 8,
        }
    }

    /// Our type for it, where weights of it can be used.
    pub const fn dtype(self) -> Option<DType> {
        match self {
            SafetensorsDType::F32 => Some(DType::F32),
            SafetensorsDType::F16 => Some(DType::F16),
            SafetensorsDType::BF16 => Some(DType::BF16),
            _ => None,
        }
    }
}

/// A tensor's place in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SafetensorsInfo {
    /// The type of the elements.
    pub dtype: SafetensorsDType,
    /// The dimensions, slowest first; empty for a scalar.
    pub shape: Vec<usize>,
    /// Where the data begin, in bytes from the start of the file.
    pub offset: usize,
    /// The size of the data in bytes.
    pub len: usize,
}

/// An open safetensors file.
#[derive(Debug)]
pub struct SafetensorsFile {
    label: String,
    metadata: HashMap<String, String>,
    tensors: BTreeMap<String, SafetensorsInfo>,
    data: Bytes,
}

impl SafetensorsFile {
    /// Maps a file and parses its header.
    ///
    /// # Errors
    /// The file can't be read or is no sound safetensors file.
    pub fn open(path: &Path) -> Result<SafetensorsFile> {
        Self::from_bytes(mmap::map_file(path)?, path.display().to_string())
    }

    /// Parses a file in memory. Errors call it `label`.
    pub fn from_bytes(data: Bytes, label: String) -> Result<SafetensorsFile> {
        let malformed = |field: &str, offset: usize, problem: String| Error::Malformed {
            file: label.clone(),
            field: field.to_owned(),
            offset: offset as u64,
            problem,
        };
        let Some((len, rest)) = data.split_first_chunk::<8>() else {
            return Err(malformed(
                "header length",
                0,
                format!("8 bytes needed, {} in the file", data.len()),
            ));
        };
        let len = u64::from_le_bytes(*len);
        if len > rest.len() as u64 || len > MAX_HEADER_BYTES {
            return Err(malformed(
                "header length",
                0,
                format!(
                    "{len} bytes, but the file has {} more, and at most {MAX_HEADER_BYTES} are allowed",
                    rest.len()
                ),
            ));
        }
        let header = &rest[..len as usize];
        let data_start = 8 + header.len();
        let data_len = data.len() - data_start;
        let header: Header = serde_json::from_slice(header)
            .map_err(|e| malformed("header", 8, format!("not the JSON expected: {e}")))?;
        let mut tensors = BTreeMap::new();
        for (name, raw) in header.tensors {
            let info = raw
                .place(data_start, data_len)
                .map_err(|problem| malformed(&format!("tensor {name}"), 8, problem))?;
            tensors.insert(name, info);
        }
        let mut order: Vec<(&String, &SafetensorsInfo)> = tensors.iter().collect();
        order.sort_by_key(|(_, t)| (t.offset, t.len));
        for pair in order.windows(2) {
            let ((a, first), (b, second)) = (pair[0], pair[1]);
            if first.offset + first.len > second.offset {
                return Err(malformed(
                    &format!("tensor {b}"),
                    second.offset,
                    format!("its data overlap those of {a}"),
                ));
            }
        }
        Ok(SafetensorsFile {
            label,
            metadata: header.metadata,
            tensors,
            data,
        })
    }

    /// What errors call the file.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The free-form strings of `__metadata__`.
    pub fn metadata(&self) -> &HashMap<String, String> {
        &self.metadata
    }

    /// All tensors by name.
    pub fn tensors(&self) -> &BTreeMap<String, SafetensorsInfo> {
        &self.tensors
    }

    /// A tensor, or `None` where the name is not in the file.
    ///
    /// # Errors
    /// Its type is none of F32, F16, BF16.
    pub fn tensor(&self, name: &str) -> Result<Option<SafetensorsTensor>> {
        let Some(info) = self.tensors.get(name) else {
            return Ok(None);
        };
        let dtype = info.dtype.dtype().ok_or_else(|| {
            Error::tensor(
                self.label.clone(),
                name,
                format!(
                    "the type {:?} is unsupported; F32, F16 and BF16 are",
                    info.dtype
                ),
            )
        })?;
        Ok(Some(SafetensorsTensor {
            dtype,
            shape: info.shape.clone(),
            bytes: self.data.slice(info.offset..info.offset + info.len),
        }))
    }
}

/// An entry of the header as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawInfo {
    dtype: SafetensorsDType,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

impl RawInfo {
    fn place(self, data_start: usize, data_len: usize) -> Result<SafetensorsInfo, String> {
        if self.shape.len() > MAX_DIMENSIONS {
            return Err(format!(
                "{} dimensions are more than {MAX_DIMENSIONS}",
                self.shape.len()
            ));
        }
        let bytes = self
            .shape
            .iter()
            .try_fold(self.dtype.bytes() as u64, |n, &d| n.checked_mul(d))
            .ok_or_else(|| format!("the size of shape {:?} overflows", self.shape))?;
        let (begin, end) = self.data_offsets;
        if begin > end || end > data_len as u64 {
            return Err(format!(
                "data_offsets [{begin}, {end}] reach past the {data_len} bytes of data; is the file cut short?"
            ));
        }
        if end - begin != bytes {
            return Err(format!(
                "data_offsets [{begin}, {end}] hold {} bytes, but {:?} of {:?} takes {bytes}",
                end - begin,
                self.shape,
                self.dtype
            ));
        }
        // A zero among the dimensions lets the others be of any size, so each is converted with care.
        let shape = self
            .shape
            .iter()
            .map(|&d| usize::try_from(d).map_err(|_| format!("the dimension {d} is too large")))
            .collect::<Result<_, _>>()?;
        Ok(SafetensorsInfo {
            dtype: self.dtype,
            shape,
            offset: data_start + begin as usize,
            len: bytes as usize,
        })
    }
}

/// The header: a map of tensors, with one special key. A name that occurs twice is an error.
struct Header {
    metadata: HashMap<String, String>,
    tensors: BTreeMap<String, RawInfo>,
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Header, D::Error> {
        struct HeaderVisitor;

        impl<'de> Visitor<'de> for HeaderVisitor {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let mut header = Header {
                    metadata: HashMap::new(),
                    tensors: BTreeMap::new(),
                };
                while let Some(key) = map.next_key::<String>()? {
                    if key == "__metadata__" {
                        let strings: Option<HashMap<String, String>> = map.next_value()?;
                        header.metadata = strings.unwrap_or_default();
                        continue;
                    }
                    let info = map.next_value()?;
                    if header.tensors.insert(key.clone(), info).is_some() {
                        return Err(serde::de::Error::custom(format!(
                            "tensor {key:?} occurs twice"
                        )));
                    }
                }
                Ok(header)
            }
        }

        deserializer.deserialize_map(HeaderVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: usize) -> Result<SafetensorsFile> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes.resize(bytes.len() + data, 0);
        SafetensorsFile::from_bytes(Bytes::from(bytes), "file".into())
    }

    fn problem(header: &str, data: usize) -> String {
        file(header, data).expect_err("a defect").to_string()
    }

    #[test]
    fn a_sound_file_gives_its_tensors() {
        let f = file(
            r#"{"__metadata__":{"format":"pt"},
                "a":{"dtype":"F16","shape":[2,3],"data_offsets":[0,12]},
                "ids":{"dtype":"I64","shape":[],"data_offsets":[12,20]}}"#,
            20,
        )
        .unwrap();
        assert_eq!(f.metadata()["format"], "pt");
        let a = f.tensor("a").unwrap().unwrap();
        assert_eq!(
            (a.dtype, a.shape, a.bytes.len()),
            (DType::F16, vec![2, 3], 12)
        );
        assert!(f.tensor("b").unwrap().is_none());
        let error = f.tensor("ids").unwrap_err().to_string();
        assert_eq!(
            error,
            "file: tensor ids: the type I64 is unsupported; F32, F16 and BF16 are"
        );
    }

    #[test]
    fn each_defect_is_named() {
        let t = |shape: &str, offsets: &str| {
            format!(r#"{{"a":{{"dtype":"F32","shape":{shape},"data_offsets":{offsets}}}}}"#)
        };
        assert!(problem(&t("[4]", "[0,16]"), 8).contains("tensor a at byte 8"));
        assert!(problem(&t("[4]", "[0,16]"), 8).contains("cut short"));
        assert!(problem(&t("[4]", "[0,12]"), 16).contains("takes 16"));
        assert!(problem(&t("[4]", "[16,0]"), 16).contains("reach past"));
        assert!(problem(&t("[4611686018427387904,4]", "[0,16]"), 16).contains("overflows"));
        assert!(problem(&t("[-1]", "[0,4]"), 4).contains("JSON"));
        let twice = r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}"#;
        assert!(problem(twice, 2).contains("occurs twice"));
        let overlap = r#"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}"#;
        assert!(problem(overlap, 3).contains("overlap those of a"));
        let unknown = r#"{"a":{"dtype":"F4","shape":[2],"data_offsets":[0,1]}}"#;
        assert!(problem(unknown, 1).contains("F4"));
    }

    #[test]
    fn a_header_longer_than_the_file_is_refused() {
        let bytes = Bytes::from(u64::MAX.to_le_bytes().to_vec());
        let error = SafetensorsFile::from_bytes(bytes, "file".into()).unwrap_err();
        assert!(error.to_string().contains("header length at byte 0"));
        let error = SafetensorsFile::from_bytes(Bytes::from(vec![0; 7]), "file".into());
        assert!(error.is_err());
    }
}
