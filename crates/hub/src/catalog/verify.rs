//! Whether a model's files are whole: read to the end, not only by their headers.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use hearth_formats::quant::dequantize;
use hearth_formats::{Checkpoint, Tensor};
use sha2::{Digest, Sha256};

use super::{Entry, network};

/// What was found sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sound {
    /// Tensors that are there; of a checkpoint all of their values are numbers.
    pub tensors: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Files whose SHA-256 is the one that is written beside them.
    pub hashed_files: usize,
}

/// What is wrong with a model's files.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// They are not written as their format says.
    #[error(transparent)]
    Format(#[from] hearth_formats::Error),
    /// A network is none that could be run.
    #[error("{0}")]
    Network(String),
    /// A value is infinite or not a number.
    #[error("tensor '{tensor}' holds values that are not finite numbers")]
    NotFinite {
        /// The tensor.
        tensor: String,
    },
    /// A file is not the one that was hashed.
    #[error("{}: its SHA-256 is {found}, not {expected}", file.display())]
    Hash {
        /// The file.
        file: PathBuf,
        /// What is written beside it.
        expected: String,
        /// What it is.
        found: String,
    },
    /// What is written beside a file is no SHA-256.
    #[error("{}: expected 64 hexadecimal digits", file.display())]
    NoHash {
        /// The file with the hash.
        file: PathBuf,
    },
    /// A file cannot be read.
    #[error("{}: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// About how many values are looked at together.
const VALUES: usize = 1 << 16;

impl Entry {
    /// Reads a checkpoint's files to the end: every tensor has to be there and made of finite numbers, and a file with its
    /// SHA-256 beside it, in a file of its name and `.sha256` as `sha256sum` writes it, has to have that. Blocks, for as
    /// long as it takes to read the files.
    ///
    /// # Errors
    /// The first fault.
    pub fn verify(&self) -> Result<Sound, Fault> {
        let checkpoint = self.open()?;
        let hashed_files = check_hashes(&checkpoint.files())?;
        Ok(Sound {
            tensors: checkpoint.tensors().len(),
            bytes: check_values(&checkpoint)?,
            hashed_files,
        })
    }

    /// Compares a network's files with the SHA-256 beside each, where there is one, and gives the number of files
    /// that have one. Whether the network is sound is not told here. Blocks.
    ///
    /// # Errors
    /// [`Fault::Hash`], [`Fault::NoHash`], [`Fault::Io`].
    pub fn verify_hashes(&self) -> Result<usize, Fault> {
        let files = self.network_path().map(|path| network::files(&path));
        check_hashes(&files.unwrap_or_default())
    }
}

fn check_hashes(files: &[PathBuf]) -> Result<usize, Fault> {
    let mut hashed = 0;
    for file in files {
        hashed += usize::from(check_hash(file)?);
    }
    Ok(hashed)
}

/// Checks the values of all tensors; gives their bytes.
fn check_values(checkpoint: &Checkpoint) -> Result<u64, Fault> {
    let mut bytes = 0;
    for layout in checkpoint.tensors() {
        let tensor = checkpoint.require(&layout.name)?;
        if !is_finite(&tensor) {
            return Err(Fault::NotFinite {
                tensor: layout.name.clone(),
            });
        }
        bytes += tensor.bytes.len() as u64;
    }
    Ok(bytes)
}

fn is_finite(tensor: &Tensor) -> bool {
    let blocks = (VALUES / tensor.dtype.block_len()).max(1);
    let mut values = Vec::new();
    tensor
        .bytes
        .chunks(blocks * tensor.dtype.block_bytes())
        .all(|piece| {
            let count = piece.len() / tensor.dtype.block_bytes() * tensor.dtype.block_len();
            values.resize(count, 0.0);
            dequantize(tensor.dtype, piece, &mut values);
            values.iter().all(|value| value.is_finite())
        })
}

/// Compares a file with the hash beside it; whether there is one.
fn check_hash(file: &Path) -> Result<bool, Fault> {
    let beside = hash_file(file);
    let expected = match std::fs::read_to_string(&beside) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(source) => {
            return Err(Fault::Io {
                file: beside,
                source,
            });
        }
    };
    let expected = expected.split_whitespace().next().unwrap_or_default();
    if expected.len() != 64 || !expected.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(Fault::NoHash { file: beside });
    }
    let expected = expected.to_ascii_lowercase();
    let found = sha256(file).map_err(|source| Fault::Io {
        file: file.to_owned(),
        source,
    })?;
    match found == expected {
        true => Ok(true),
        false => Err(Fault::Hash {
            file: file.to_owned(),
            expected,
            found,
        }),
    }
}

/// Where a file's hash is written.
pub(super) fn hash_file(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".sha256");
    name.into()
}

fn sha256(file: &Path) -> std::io::Result<String> {
    let mut reader = BufReader::new(File::open(file)?);
    let mut hasher = Sha256::new();
    let mut piece = vec![0; 1 << 20];
    loop {
        match reader.read(&mut piece)? {
            0 => break,
            read => hasher.update(&piece[..read]),
        }
    }
    let digits = hasher
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Ok(digits)
}
