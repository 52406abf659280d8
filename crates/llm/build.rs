//! Tells the library which numeric code it is built from, so that keys and values kept on disk are not used by a program
//! that would compute others.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a token's keys and values are computed by. Not there in a package by itself, which has its version instead.
const SOURCES: [&str; 6] = [
    "../kernels/src",
    "../formats/src/quant",
    "src/models",
    "src/model.rs",
    "src/cache.rs",
    "src/load.rs",
];

fn main() {
    let mut hash = Fnv::new();
    hash.add(env!("CARGO_PKG_VERSION").as_bytes());
    for source in SOURCES {
        println!("cargo:rerun-if-changed={source}");
        let mut files = Vec::new();
        collect(Path::new(source), &mut files);
        files.sort_unstable();
        for file in files {
            hash.add(file.to_string_lossy().as_bytes());
            hash.add(&fs::read(&file).unwrap_or_default());
        }
    }
    // Another compiler may bring another mathematical library.
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    if let Ok(version) = Command::new(rustc).arg("-vV").output() {
        hash.add(&version.stdout);
    }
    hash.add(std::env::var("TARGET").unwrap_or_default().as_bytes());
    println!("cargo:rustc-env=HEARTH_NUMERICS={:016x}", hash.0);
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) {
    match fs::read_dir(path) {
        Ok(entries) => {
            for entry in entries.flatten() {
                collect(&entry.path(), files);
            }
        }
        Err(_) if path.is_file() => files.push(path.to_owned()),
        Err(_) => {}
    }
}

/// FNV-1a: tells versions of our own sources apart, which nobody forges.
struct Fnv(u64);

impl Fnv {
    fn new() -> Fnv {
        Fnv(0xcbf2_9ce4_8422_2325)
    }

    /// The length first, so that what is added in one piece differs from the same in two.
    fn add(&mut self, bytes: &[u8]) {
        let length = (bytes.len() as u64).to_le_bytes();
        for &byte in length.iter().chain(bytes) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}
