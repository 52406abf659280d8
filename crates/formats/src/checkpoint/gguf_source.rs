//! GGUF files as a checkpoint, in one part or several.

use std::path::{Path, PathBuf};

use hearth_kernels::Bytes;

use super::TensorLayout;
use crate::gguf::{GgufFile, MAGIC, Metadata};
use crate::{Error, Result};

/// The parts of a model in GGUF.
#[derive(Debug)]
pub(super) struct GgufSource {
    parts: Vec<GgufFile>,
    paths: Vec<PathBuf>,
    /// Part and number in the part of each tensor.
    places: Vec<(usize, usize)>,
}

type Opened = (GgufSource, Metadata, Vec<TensorLayout>);

impl GgufSource {
    pub(super) fn open(path: &Path) -> Result<Opened> {
        let first = match GgufFile::open(path) {
            Err(Error::Malformed { field, file, .. }) if field == "magic" => {
                return Err(Error::unsupported(file, not_gguf(path)));
            }
            other => other?,
        };
        let count = first.metadata().get_u32("split.count")?.unwrap_or(0);
        if count <= 1 {
            return Ok(Self::new(vec![first], vec![path.to_owned()]));
        }
        let paths = part_paths(path, count).ok_or_else(|| {
            Error::unsupported(
                path.display().to_string(),
                format!(
                    "opening a model of {count} parts by this file; open the one whose name ends in \
                     -00001-of-{count:05}.gguf"
                ),
            )
        })?;
        let mut parts = vec![first];
        for p in &paths[1..] {
            parts.push(GgufFile::open(p)?);
        }
        for (i, part) in parts.iter().enumerate() {
            let number = part.metadata().require_u32("split.no")?;
            if number as usize != i {
                return Err(Error::field(
                    part.label(),
                    "split.no",
                    format!("{number}, but by its name the file is part {i} (from 0)"),
                ));
            }
        }
        let total = parts.iter().map(|p| p.tensors().len()).sum::<usize>();
        if let Some(expected) = parts[0].metadata().get_u64("split.tensors.count")?
            && expected != total as u64
        {
            return Err(Error::field(
                parts[0].label(),
                "split.tensors.count",
                format!("{expected}, but the parts hold {total} tensors"),
            ));
        }
        Ok(Self::new(parts, paths))
    }

    pub(super) fn from_static(data: &'static [u8], label: &str) -> Result<Opened> {
        let file = GgufFile::from_static(data, label)?;
        Ok(Self::new(vec![file], Vec::new()))
    }

    fn new(parts: Vec<GgufFile>, paths: Vec<PathBuf>) -> Opened {
        let metadata = parts[0].metadata().clone();
        let mut places = Vec::new();
        let mut tensors = Vec::new();
        for (p, part) in parts.iter().enumerate() {
            for (i, t) in part.tensors().iter().enumerate() {
                places.push((p, i));
                tensors.push(TensorLayout {
                    name: t.name.clone(),
                    dtype: t.dtype,
                    shape: t.shape.clone(),
                });
            }
        }
        let source = GgufSource {
            parts,
            paths,
            places,
        };
        (source, metadata, tensors)
    }

    pub(super) fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    pub(super) fn bytes(&self, tensor: usize) -> Bytes {
        let (part, i) = self.places[tensor];
        let part = &self.parts[part];
        part.bytes(&part.tensors()[i])
    }
}

/// The names of all parts, where `first` is named as the first of `count` parts.
fn part_paths(first: &Path, count: u32) -> Option<Vec<PathBuf>> {
    let name = first.file_name()?.to_str()?;
    let stem = name.strip_suffix(&format!("-00001-of-{count:05}.gguf"))?;
    // Five digits bound the count.
    (count <= 99_999).then(|| {
        (1..=count)
            .map(|i| first.with_file_name(format!("{stem}-{i:05}-of-{count:05}.gguf")))
            .collect()
    })
}

/// What to say about a file that does not begin like GGUF.
fn not_gguf(path: &Path) -> String {
    let magic = MAGIC.escape_ascii();
    match path.extension().and_then(|e| e.to_str()) {
        Some("safetensors") => {
            "a safetensors file by itself; open the folder that also holds config.json".to_owned()
        }
        Some("bin" | "pt" | "pth") => {
            "a PyTorch checkpoint by itself; open the folder that also holds config.json".to_owned()
        }
        _ => format!("the file does not begin with {magic}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_named_after_the_first() {
        let paths = part_paths(Path::new("/m/x-00001-of-00002.gguf"), 2).unwrap();
        assert_eq!(
            paths,
            [
                Path::new("/m/x-00001-of-00002.gguf"),
                Path::new("/m/x-00002-of-00002.gguf")
            ]
        );
        assert_eq!(part_paths(Path::new("/m/x-00002-of-00002.gguf"), 2), None);
        assert_eq!(part_paths(Path::new("/m/x.gguf"), 2), None);
    }
}
