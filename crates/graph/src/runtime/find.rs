//! Where ONNX Runtime's library may be.
//!
//! In this order: the path that the user gives, by `HEARTH_ONNXRUNTIME` or `ORT_DYLIB_PATH`; what the system's loader
//! finds by name; and inside of Python environments, whose package `onnxruntime` has the library in its `capi` folder.

use std::env;
use std::fmt;
use std::path::{Path, PathBuf};

/// A library that may be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The library, or its name alone where the loader is to look for it.
    pub path: PathBuf,
    /// Why it is looked at.
    pub source: Source,
}

/// Why a library is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The user gives it, in this variable of the environment.
    Given(&'static str),
    /// The system's loader may find it by name.
    Loader,
    /// The package `onnxruntime` of a Python environment has it.
    Python,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Given(variable) => write!(f, "given in {variable}"),
            Source::Loader => f.write_str("found by the system's loader"),
            Source::Python => f.write_str("found in a Python environment"),
        }
    }
}

/// The variables of the environment that give a library or the folder that holds it.
pub const VARIABLES: [&str; 2] = ["HEARTH_ONNXRUNTIME", "ORT_DYLIB_PATH"];

#[cfg(target_os = "macos")]
const NAMES: [&str; 1] = ["libonnxruntime.dylib"];
#[cfg(not(target_os = "macos"))]
const NAMES: [&str; 2] = ["libonnxruntime.so", "libonnxruntime.so.1"];

/// All places where the library may be, most wanted first. A given one is the only one: nothing stands in for it.
pub fn candidates() -> Vec<Candidate> {
    for variable in VARIABLES {
        if let Some(path) = env::var_os(variable).filter(|path| !path.is_empty()) {
            let path = PathBuf::from(path);
            return vec![Candidate {
                path: library_in(&path).unwrap_or(path),
                source: Source::Given(variable),
            }];
        }
    }
    let by_name = NAMES.iter().map(|name| Candidate {
        path: name.into(),
        source: Source::Loader,
    });
    let python = python_prefixes()
        .into_iter()
        .flat_map(|prefix| packages(&prefix))
        .filter_map(|packages| library_in(&packages.join("onnxruntime/capi")))
        .map(|path| Candidate {
            path,
            source: Source::Python,
        });
    let mut all: Vec<Candidate> = Vec::new();
    for candidate in by_name.chain(python) {
        if !all.contains(&candidate) {
            all.push(candidate);
        }
    }
    all
}

/// The folders that Python environments are in: the active one, those of programs on the path, the user's, the system's.
fn python_prefixes() -> Vec<PathBuf> {
    let active = ["VIRTUAL_ENV", "CONDA_PREFIX"]
        .into_iter()
        .filter_map(env::var_os)
        .map(PathBuf::from);
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path: Vec<PathBuf> = env::split_paths(&path)
        .filter(|folder| folder.join("python3").is_file())
        .filter_map(|folder| folder.parent().map(Path::to_owned))
        .collect();
    let user = env::var_os("HOME").map(|home| Path::new(&home).join(".local"));
    active
        .chain(on_path)
        .chain(user)
        .chain([PathBuf::from("/usr/local"), PathBuf::from("/usr")])
        .collect()
}

/// The folders of packages of a Python environment: `lib/python3*/{site,dist}-packages`.
fn packages(prefix: &Path) -> Vec<PathBuf> {
    let mut versions: Vec<PathBuf> = entries(&prefix.join("lib"))
        .filter(|path| name(path).starts_with("python3"))
        .collect();
    // The newest Python first.
    versions.sort_by_key(|path| std::cmp::Reverse(numbers(name(path))));
    versions
        .into_iter()
        .flat_map(|path| [path.join("site-packages"), path.join("dist-packages")])
        .collect()
}

/// The library in a folder, with the highest version where there are several.
fn library_in(folder: &Path) -> Option<PathBuf> {
    entries(folder)
        .filter(|path| {
            let name = name(path);
            // Not the providers beside it, such as `libonnxruntime_providers_shared.so`.
            name == "libonnxruntime.dylib"
                || name == "onnxruntime.dll"
                || name.starts_with("libonnxruntime.so")
                || name.starts_with("libonnxruntime.1") && name.ends_with(".dylib")
        })
        .max_by_key(|path| numbers(name(path)))
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> {
    std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
}

fn name(path: &Path) -> &str {
    path.file_name()
        .and_then(|name| name.to_str())
        .unwrap_or("")
}

/// The numbers in a name, so that 1.10 comes after 1.9.
fn numbers(name: &str) -> Vec<u64> {
    name.split(|c: char| !c.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_library_of_the_newest_python_is_found() {
        let home = tempfile::tempdir().unwrap();
        let capi = |python: &str| {
            home.path()
                .join(format!("lib/{python}/site-packages/onnxruntime/capi"))
        };
        for (python, library) in [
            ("python3.9", "libonnxruntime.so.1.30.0"),
            ("python3.11", "libonnxruntime.so.1.9.0"),
            ("python3.11", "libonnxruntime.so.1.10.0"),
            ("python3.11", "libonnxruntime_providers_shared.so"),
        ] {
            std::fs::create_dir_all(capi(python)).unwrap();
            std::fs::write(capi(python).join(library), "").unwrap();
        }
        let first = packages(home.path())
            .into_iter()
            .find_map(|packages| library_in(&packages.join("onnxruntime/capi")));
        assert_eq!(
            first,
            Some(capi("python3.11").join("libonnxruntime.so.1.10.0"))
        );
        assert_eq!(library_in(home.path()), None);
    }
}
