//! Which model computed a page.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::time::UNIX_EPOCH;

use hearth_formats::Checkpoint;
use hearth_kernels::cpu_tier;

use crate::load::LoadOptions;

/// Files up to this size are read whole.
const WHOLE: u64 = 1 << 20;
/// Of larger ones, this many windows of `WINDOW` bytes, evenly spread.
const WINDOWS: u64 = 256;
const WINDOW: u64 = 4096;

/// A model and the way that it computes: two of the same identity compute the same keys and values, bit for bit.
///
/// It covers the files' contents as far as can be told quickly (length, time of the last change, all bytes of small
/// files and samples of large ones), how weights are multiplied, the instructions in use and the program's numeric
/// code. A copy of a file with another time counts as another model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelIdentity([u8; 32]);

impl ModelIdentity {
    /// Of a model that is loaded from `checkpoint` with `options`.
    ///
    /// # Errors
    /// The files can't be read.
    pub fn of(checkpoint: &Checkpoint, options: &LoadOptions) -> io::Result<Self> {
        let mut hasher = blake3::Hasher::new_derive_key("hearth model identity 1");
        for text in [
            env!("HEARTH_NUMERICS"),
            cpu_tier().name(),
            &format!("{options:?}"),
            checkpoint.architecture(),
        ] {
            hasher.update(text.as_bytes());
            hasher.update(&[0]);
        }
        hasher.update(&[u8::from(cfg!(target_endian = "big"))]);
        let files = checkpoint.files();
        for path in &files {
            add_file(&mut hasher, path)?;
        }
        if files.is_empty() {
            add_tensors(&mut hasher, checkpoint)?;
        }
        Ok(Self(hasher.finalize().into()))
    }

    pub(super) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

fn add_file(hasher: &mut blake3::Hasher, path: &Path) -> io::Result<()> {
    let mut file = File::open(path)?;
    let meta = file.metadata()?;
    let changed = meta.modified().ok();
    let changed = changed.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    hasher.update(&meta.len().to_le_bytes());
    hasher.update(&changed.map_or(0, |at| at.as_nanos()).to_le_bytes());
    if meta.len() <= WHOLE {
        io::copy(&mut file.take(WHOLE), hasher)?;
        return Ok(());
    }
    let mut window = [0; WINDOW as usize];
    for i in 0..WINDOWS {
        let start = (meta.len() - WINDOW) as u128 * u128::from(i) / u128::from(WINDOWS - 1);
        file.seek(SeekFrom::Start(start as u64))?;
        file.read_exact(&mut window)?;
        hasher.update(&window);
    }
    Ok(())
}

/// For a model that is part of the program.
fn add_tensors(hasher: &mut blake3::Hasher, checkpoint: &Checkpoint) -> io::Result<()> {
    for (key, value) in checkpoint.metadata().iter() {
        // The tokenizer has no part in what is computed for a token.
        if !key.starts_with("tokenizer.") {
            hasher.update(format!("{key}={value:?}\n").as_bytes());
        }
    }
    for layout in checkpoint.tensors() {
        let tensor = checkpoint.require(&layout.name).map_err(io::Error::other)?;
        hasher.update(format!("{layout:?}\n").as_bytes());
        hasher.update(&tensor.bytes);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hearth_kernels::Precision;
    use std::path::PathBuf;
    use std::time::Duration;

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures/models")
            .join(name)
    }

    fn identity(path: &Path, precision: Precision) -> ModelIdentity {
        let checkpoint = Checkpoint::open(path).unwrap();
        ModelIdentity::of(
            &checkpoint,
            &LoadOptions {
                precision,
                ..LoadOptions::default()
            },
        )
        .unwrap()
    }

    #[test]
    fn it_follows_files_and_options() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.gguf");
        std::fs::copy(fixture("llama3/model.gguf"), &path).unwrap();
        let first = identity(&path, Precision::F32);
        assert_eq!(first, identity(&path, Precision::F32));
        assert_ne!(first, identity(&path, Precision::Int8));

        // A byte of the last tensor, at the same time of change.
        let changed = path.metadata().unwrap().modified().unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        file.set_modified(changed).unwrap();
        let second = identity(&path, Precision::F32);
        assert_ne!(first, second);

        // The same bytes at another time.
        file.set_modified(changed + Duration::from_secs(1)).unwrap();
        assert_ne!(second, identity(&path, Precision::F32));
    }

    #[test]
    fn large_files_are_sampled_from_end_to_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("weights");
        let hash = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            let file = File::options().write(true).open(&path).unwrap();
            file.set_modified(UNIX_EPOCH + Duration::from_secs(1))
                .unwrap();
            let mut hasher = blake3::Hasher::new();
            add_file(&mut hasher, &path).unwrap();
            hasher.finalize()
        };
        let mut bytes = vec![0; 3 << 20];
        let zeros = hash(&bytes);
        let last = bytes.len() - 1;
        for at in [0, last] {
            bytes[at] = 1;
            assert_ne!(hash(&bytes), zeros, "byte {at}");
            bytes[at] = 0;
        }
    }
}
