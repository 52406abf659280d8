//! Opening GGUF files.

use std::collections::HashMap;
use std::path::Path;

use hearth_kernels::{Bytes, DType};

use super::cursor::Cursor;
use super::{ALIGNMENT_KEY, DEFAULT_ALIGNMENT, MAGIC, Metadata, valid_alignment};
use crate::{Error, Result, mmap};

/// ggml allows a tensor this many dimensions.
const MAX_DIMENSIONS: u32 = 4;
/// Keys longer than this are refused, as the format's specification says.
const MAX_KEY_BYTES: usize = 65_535;

/// A tensor of a GGUF file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// The name, unique in the file.
    pub name: String,
    /// The type of the elements.
    pub dtype: DType,
    /// The dimensions, slowest first: `[rows, cols]` for a matrix. (The file stores ggml's order, fastest first.)
    pub shape: Vec<usize>,
    /// Where the data begin, in bytes from the start of the file.
    pub offset: usize,
    /// The size of the data in bytes.
    pub len: usize,
}

impl TensorInfo {
    /// The number of elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// An open GGUF file: its header parsed, its tensors left where they are.
#[derive(Debug)]
pub struct GgufFile {
    label: String,
    version: u32,
    metadata: Metadata,
    tensors: Vec<TensorInfo>,
    index: HashMap<String, usize>,
    data: Bytes,
}

impl GgufFile {
    /// Maps a file and parses its header.
    ///
    /// # Errors
    /// The file can't be read, or is no sound GGUF file of version 2 or 3, or holds a tensor of a type unknown to us.
    pub fn open(path: &Path) -> Result<GgufFile> {
        Self::from_bytes(mmap::map_file(path)?, path.display().to_string())
    }

    /// Parses a file that is part of the program. Errors call it `label`.
    pub fn from_static(data: &'static [u8], label: &str) -> Result<GgufFile> {
        Self::from_bytes(mmap::static_data(data), label.to_owned())
    }

    /// Parses a file in memory. Errors call it `label`.
    pub fn from_bytes(data: Bytes, label: String) -> Result<GgufFile> {
        let mut cursor = Cursor::new(&data, &label);
        let version = read_version(&mut cursor)?;
        // The smallest tensor info: empty name, no dimensions, type, offset. The smallest pair: empty key, type, a byte.
        let tensor_count = cursor.count(24, "tensor count")?;
        let pair_count = cursor.count(13, "metadata count")?;
        let metadata = read_metadata(&mut cursor, pair_count, &label)?;
        let alignment = read_alignment(&cursor, &metadata)?;
        let mut tensors = Vec::with_capacity(tensor_count);
        for i in 0..tensor_count {
            tensors.push(read_tensor_info(&mut cursor, i, alignment)?);
        }
        let data_start = cursor.position().next_multiple_of(alignment);
        place_tensors(&cursor, &mut tensors, data_start, data.len())?;
        let mut index = HashMap::with_capacity(tensors.len());
        for (i, t) in tensors.iter().enumerate() {
            if index.insert(t.name.clone(), i).is_some() {
                return Err(Error::tensor(
                    label,
                    t.name.clone(),
                    "the name occurs twice",
                ));
            }
        }
        Ok(GgufFile {
            label,
            version,
            metadata,
            tensors,
            index,
            data,
        })
    }

    /// What errors call the file: its path, or the label that it was given.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The format's version, 2 or 3.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The metadata.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// All tensors in file order.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// The tensor with that name.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.index.get(name).map(|&i| &self.tensors[i])
    }

    /// The bytes of one of this file's tensors; they keep the mapping alive.
    ///
    /// # Panics
    /// Where `tensor` is of another file and reaches past this one's end.
    pub fn bytes(&self, tensor: &TensorInfo) -> Bytes {
        self.data.slice(tensor.offset..tensor.offset + tensor.len)
    }

    /// The size of the file in bytes.
    pub fn file_bytes(&self) -> usize {
        self.data.len()
    }
}

fn read_version(cursor: &mut Cursor) -> Result<u32> {
    let magic = cursor.take(4, "magic")?;
    if magic != MAGIC {
        return Err(cursor.error("magic", 0, format!("{magic:02x?} is not \"GGUF\"")));
    }
    let version = cursor.u32("version")?;
    match version {
        2 | 3 => Ok(version),
        v if v.swap_bytes() < 16 => {
            Err(cursor.error("version", 4, "the file is big-endian, which is unsupported"))
        }
        v => Err(cursor.error("version", 4, format!("version {v} is not 2 or 3"))),
    }
}

fn read_metadata(cursor: &mut Cursor, count: usize, label: &str) -> Result<Metadata> {
    let mut metadata = Metadata::new(label);
    for i in 0..count {
        let at = cursor.position();
        let field = format!("metadata key {i}");
        let key = cursor.string(&field)?;
        if key.is_empty() || key.len() > MAX_KEY_BYTES {
            return Err(cursor.error(
                &field,
                at,
                format!("a length of {} bytes is not allowed", key.len()),
            ));
        }
        if metadata.get(&key).is_some() {
            return Err(cursor.error(&field, at, format!("{key:?} occurs twice")));
        }
        let field = format!("metadata {key}");
        let kind = cursor.value_type(&field)?;
        let value = cursor.value(kind, &field)?;
        metadata.insert(key, value);
    }
    Ok(metadata)
}

fn read_alignment(cursor: &Cursor, metadata: &Metadata) -> Result<usize> {
    match metadata.get_u32(ALIGNMENT_KEY)? {
        None => Ok(DEFAULT_ALIGNMENT),
        Some(a) if valid_alignment(a) => Ok(a as usize),
        Some(a) => Err(cursor.error(
            "metadata general.alignment",
            cursor.position(),
            format!("{a} is no power of two from 8 to 1048576"),
        )),
    }
}

/// Reads one tensor info. Its offset is still relative to the data section.
fn read_tensor_info(cursor: &mut Cursor, i: usize, alignment: usize) -> Result<TensorInfo> {
    let name = cursor.string(&format!("name of tensor {i}"))?;
    let field = format!("tensor {name}");
    let at = cursor.position();
    let dimensions = cursor.u32(&field)?;
    if dimensions == 0 || dimensions > MAX_DIMENSIONS {
        return Err(cursor.error(&field, at, format!("{dimensions} dimensions, not 1 to 4")));
    }
    let at = cursor.position();
    let mut shape = Vec::with_capacity(dimensions as usize);
    for _ in 0..dimensions {
        shape.push(cursor.u64(&field)?);
    }
    let type_at = cursor.position();
    let id = cursor.u32(&field)?;
    let dtype = DType::from_ggml_id(id).ok_or_else(|| {
        cursor.error(
            &field,
            type_at,
            format!("unsupported tensor type {}", ggml_type_name(id)),
        )
    })?;
    let row = shape[0];
    if row % dtype.block_len() as u64 != 0 {
        return Err(cursor.error(
            &field,
            at,
            format!(
                "rows of {row} values do not divide into {dtype} blocks of {}",
                dtype.block_len()
            ),
        ));
    }
    let elements = shape
        .iter()
        .try_fold(1u64, |n, &d| n.checked_mul(d))
        .filter(|&n| n > 0)
        .and_then(|n| usize::try_from(n).ok());
    let len = elements
        .and_then(|n| dtype.bytes_for(n))
        .ok_or_else(|| cursor.error(&field, at, format!("impossible dimensions {shape:?}")))?;
    let at = cursor.position();
    let offset = cursor.u64(&field)?;
    let aligned = usize::try_from(offset)
        .ok()
        .filter(|o| o.is_multiple_of(alignment));
    let offset = aligned.ok_or_else(|| {
        cursor.error(
            &field,
            at,
            format!("offset {offset} is no multiple of the alignment {alignment}"),
        )
    })?;
    Ok(TensorInfo {
        name,
        dtype,
        shape: shape.iter().rev().map(|&d| d as usize).collect(),
        offset,
        len,
    })
}

/// Turns relative offsets into offsets from the file's start; checks the end of the file and overlaps.
fn place_tensors(
    cursor: &Cursor,
    tensors: &mut [TensorInfo],
    data_start: usize,
    file_len: usize,
) -> Result<()> {
    for t in tensors.iter_mut() {
        let offset = data_start
            .checked_add(t.offset)
            .filter(|o| o.checked_add(t.len).is_some_and(|end| end <= file_len));
        t.offset = offset.ok_or_else(|| {
            cursor.error(
                &format!("tensor {}", t.name),
                data_start,
                format!(
                    "{} bytes at offset {} of the data reach past the end of the file at {file_len}; \
                     is it cut short?",
                    t.len, t.offset
                ),
            )
        })?;
    }
    let mut order: Vec<&TensorInfo> = tensors.iter().collect();
    order.sort_by_key(|t| t.offset);
    for pair in order.windows(2) {
        if pair[0].offset + pair[0].len > pair[1].offset {
            return Err(cursor.error(
                &format!("tensor {}", pair[1].name),
                pair[1].offset,
                format!("its data overlap those of {}", pair[0].name),
            ));
        }
    }
    Ok(())
}

/// What ggml calls the types that we do not read, for error messages.
fn ggml_type_name(id: u32) -> String {
    let name = match id {
        9 => "Q8_1",
        15 => "Q8_K",
        16 => "IQ2_XXS",
        17 => "IQ2_XS",
        18 => "IQ3_XXS",
        19 => "IQ1_S",
        20 => "IQ4_NL",
        21 => "IQ3_S",
        22 => "IQ2_S",
        23 => "IQ4_XS",
        24 => "I8",
        25 => "I16",
        26 => "I32",
        27 => "I64",
        28 => "F64",
        29 => "IQ1_M",
        34 => "TQ1_0",
        35 => "TQ2_0",
        39 => "MXFP4",
        40 => "NVFP4",
        other => return format!("{other}"),
    };
    format!("{name} ({id})")
}
