//! Where a network's files lie: in the model's folder, or, for each version, in a folder within that.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use hearth_formats::NetworkCheckpoint;

use super::NetworkConfig;
use super::triton::TritonConfig;

/// The names that a network's file has in its folder, the first that is there.
const FILES: [&str; 3] = ["model.pt2", "model.pt", "model.onnx"];
/// Those of a checkpoint's that has no `config.json` beside it.
const STATE_DICTS: [&str; 2] = ["model.pth", "model.safetensors"];
/// The endings of files that are exported networks.
const ENDINGS: [&str; 3] = ["pt2", "pt", "onnx"];

/// A network's file, and where what belongs to it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkPlace {
    /// Its version: the number that its folder is named by; 1 where there are no folders of versions.
    pub version: u64,
    /// Its file; of a checkpoint with a `config.json` the folder.
    pub file: PathBuf,
    /// The folders with files that belong to it: the version's, then the model's. None for a file that lies among others.
    folders: Vec<PathBuf>,
}

impl NetworkPlace {
    /// The network at `path`: a file, a folder with one, or a folder of versions, of which it is the newest. `None` where there
    /// is something else, or nothing.
    pub fn find(path: &Path) -> Option<NetworkPlace> {
        Layout::of(path)?.places.into_iter().next()
    }

    /// Where the network of a model in a repository of Triton would be.
    pub(in crate::catalog) fn expected(model: &Path) -> NetworkPlace {
        let name = file_names(model).into_iter().next().unwrap_or_default();
        NetworkPlace {
            version: 1,
            file: model.join("1").join(name),
            folders: vec![model.to_owned()],
        }
    }

    /// The file called `name` that belongs to the network: in its version's folder, else in the model's.
    pub fn beside(&self, name: &str) -> Option<PathBuf> {
        let files = self.folders.iter().map(|folder| folder.join(name));
        { files }.find(|file| file.is_file())
    }

    /// The folders with files that belong to it, those that go first before.
    pub fn folders(&self) -> &[PathBuf] {
        &self.folders
    }
}

/// The networks of a model.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::catalog) struct Layout {
    /// One at least; of versions the newest first.
    pub places: Vec<NetworkPlace>,
    /// Each lies in a folder of its version.
    pub is_versioned: bool,
    /// There is a file beside the folders of versions, so that it can't be told what is meant.
    pub is_ambiguous: bool,
}

impl Layout {
    /// Why there is no network at `path` although a repository of Triton has a model there; `None` where it has none, or where
    /// there is a network.
    pub fn missing(path: &Path) -> Option<String> {
        if !TritonConfig::is_there(path) || Layout::of(path).is_some() {
            return None;
        }
        let problem = TritonConfig::of(path).err();
        Some(problem.unwrap_or_else(|| {
            let names = file_names(path).join(" or ");
            format!(
                "{}: no folder of a version has a file {names}",
                path.display()
            )
        }))
    }

    /// What lies at `path`; `None` where that is no network.
    pub fn of(path: &Path) -> Option<Layout> {
        let one = |place| Layout {
            places: vec![place],
            is_versioned: false,
            is_ambiguous: false,
        };
        if path.is_file() {
            let is_one = is_exported(path) || NetworkCheckpoint::at(path, None).is_some();
            return is_one.then(|| one(loose(path)));
        }
        let names = file_names(path);
        let own = own_file(path, &names);
        let versions = versions(path, &names);
        match (own, versions.is_empty()) {
            (Some(file), is_alone) => Some(Layout {
                is_ambiguous: !is_alone,
                ..one(NetworkPlace {
                    version: 1,
                    file,
                    folders: vec![path.to_owned()],
                })
            }),
            (None, false) => Some(Layout {
                places: versions,
                is_versioned: true,
                is_ambiguous: false,
            }),
            (None, true) => {
                let file = NetworkCheckpoint::at(path, asked(path).as_deref())?;
                Some(one(NetworkPlace {
                    version: 1,
                    file,
                    folders: vec![path.to_owned()],
                }))
            }
        }
    }
}

/// The class that is asked for in the `config.toml` of a checkpoint's folder, where that can be read.
pub(super) fn asked(folder: &Path) -> Option<String> {
    let place = NetworkPlace {
        version: 1,
        file: folder.to_owned(),
        folders: vec![folder.to_owned()],
    };
    NetworkConfig::of(&place).ok()?.architecture
}

/// Whether a file is an exported network, by its name; other networks are checkpoints.
pub(in crate::catalog) fn is_exported(file: &Path) -> bool {
    let ending = file.extension();
    ending.is_some_and(|ending| ENDINGS.iter().any(|own| ending == *own))
}

/// The network in a file that was named. Files that lie beside each other have nothing around them in common, unless the name
/// says that the folder is the network's own.
fn loose(file: &Path) -> NetworkPlace {
    NetworkPlace {
        version: 1,
        file: file.to_owned(),
        folders: own_folder(file).map(Path::to_owned).into_iter().collect(),
    }
}

/// The folder of a network in a file, where the file's name says that it is the network's own.
pub(in crate::catalog) fn own_folder(file: &Path) -> Option<&Path> {
    let mut names = FILES.iter().chain(&STATE_DICTS);
    let is_own = names.any(|name| file.ends_with(name));
    file.parent().filter(|_| is_own)
}

/// The names that a file of the model in this folder may have: that which a repository of Triton says, or the usual ones. What is
/// wrong with what it says is told where the rest of that is read.
fn file_names(model: &Path) -> Vec<String> {
    let triton = TritonConfig::of(model).ok().flatten();
    match triton.and_then(|config| config.file_name) {
        Some(name) => vec![name],
        None => FILES.iter().map(|name| (*name).to_owned()).collect(),
    }
}

/// The network's file directly in a folder.
fn own_file(folder: &Path, names: &[String]) -> Option<PathBuf> {
    let mut files = names.iter().map(|name| folder.join(name));
    files.find(|file| is_exported(file) && file.is_file())
}

/// The networks in folders of versions, the newest first. A folder without a network is one that somebody is about to fill.
fn versions(model: &Path, names: &[String]) -> Vec<NetworkPlace> {
    let Ok(items) = std::fs::read_dir(model) else {
        return Vec::new();
    };
    let place = |item: std::fs::DirEntry| {
        let version = version(&item.file_name())?;
        let folder = item.path();
        Some(NetworkPlace {
            version,
            file: own_file(&folder, names)?,
            folders: vec![folder, model.to_owned()],
        })
    };
    let mut places: Vec<NetworkPlace> = items.flatten().filter_map(place).collect();
    places.sort_by_key(|place| std::cmp::Reverse(place.version));
    places
}

/// The version that a folder's name, or the end of a model's, says: as Triton has them a number from 1 to 2^63 - 1, without
/// zeros before it. `None` for all other names.
pub(in crate::catalog) fn version(name: &OsStr) -> Option<u64> {
    let name = name.to_str()?;
    let is_number = name.bytes().all(|digit| digit.is_ascii_digit()) && !name.starts_with('0');
    let number: u64 = name.parse().ok().filter(|_| is_number)?;
    i64::try_from(number).is_ok().then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_numbers_are_versions() {
        for (name, number) in [
            ("1", Some(1)),
            ("20", Some(20)),
            ("9223372036854775807", Some(i64::MAX as u64)),
            ("9223372036854775808", None),
            ("99999999999999999999999", None),
            ("0", None),
            ("01", None),
            ("-1", None),
            ("+1", None),
            ("1.0", None),
            ("1 ", None),
            ("", None),
            ("v1", None),
            ("१", None),
            ("..", None),
        ] {
            assert_eq!(version(OsStr::new(name)), number, "{name:?}");
        }
    }

    #[test]
    fn a_folder_has_one_network_or_versions_of_it() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        let write = |name: &str| {
            std::fs::create_dir_all(at(name).parent().unwrap()).unwrap();
            std::fs::write(at(name), "").unwrap();
        };
        let find = |name: &str| NetworkPlace::find(&at(name)).map(|place| place.file);
        assert_eq!(find("m"), None);
        write("m/model.onnx");
        assert_eq!(find("m"), Some(at("m/model.onnx")));
        write("m/model.pt2");
        assert_eq!(find("m"), Some(at("m/model.pt2")));
        write("m/other.onnx");
        assert_eq!(find("m/other.onnx"), Some(at("m/other.onnx")));
        assert_eq!(find("m/config.toml"), None);

        // Of the same name, and none of them a version.
        for odd in ["01", "-1", "1.5", "latest", "99999999999999999999"] {
            write(&format!("v/{odd}/model.onnx"));
        }
        std::fs::create_dir_all(at("v/7")).unwrap();
        assert_eq!(find("v"), None);
        for name in ["v/2/model.onnx", "v/10/model.pt2", "v/9/model.onnx"] {
            write(name);
        }
        let layout = Layout::of(&at("v")).unwrap();
        let numbers: Vec<u64> = layout.places.iter().map(|place| place.version).collect();
        assert_eq!((numbers, layout.is_versioned), (vec![10, 9, 2], true));
        assert!(!layout.is_ambiguous);
        write("v/model.onnx");
        assert!(Layout::of(&at("v")).unwrap().is_ambiguous);
    }

    #[test]
    fn what_belongs_to_a_version_lies_with_it_or_with_the_model() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        std::fs::create_dir_all(at("m/1")).unwrap();
        for name in [
            "m/1/model.onnx",
            "m/labels.txt",
            "m/loose.onnx",
            "m/1/vocab.txt",
            "m/vocab.txt",
        ] {
            std::fs::write(at(name), "").unwrap();
        }
        let place = NetworkPlace::find(&at("m")).unwrap();
        assert_eq!(place.beside("labels.txt"), Some(at("m/labels.txt")));
        assert_eq!(place.beside("vocab.txt"), Some(at("m/1/vocab.txt")));
        assert_eq!(place.beside("absent.txt"), None);
        let loose = NetworkPlace::find(&at("m/loose.onnx")).unwrap();
        assert_eq!(loose.beside("labels.txt"), None);
    }

    #[test]
    fn a_repository_of_triton_may_name_the_file() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        std::fs::create_dir_all(at("m/1")).unwrap();
        assert_eq!(Layout::missing(&at("m")), None);
        std::fs::write(at("m/config.pbtxt"), "default_model_filename: \"net.onnx\"").unwrap();
        assert!(
            Layout::missing(&at("m"))
                .unwrap()
                .contains("a file net.onnx")
        );
        std::fs::write(at("m/1/model.onnx"), "").unwrap();
        assert_eq!(NetworkPlace::find(&at("m")), None);
        std::fs::write(at("m/1/net.onnx"), "").unwrap();
        let place = NetworkPlace::find(&at("m")).unwrap();
        assert_eq!(place.file, at("m/1/net.onnx"));
        assert_eq!(Layout::missing(&at("m")), None);
        std::fs::write(at("m/config.pbtxt"), "platform: \"tensorrt_plan\"").unwrap();
        std::fs::remove_file(at("m/1/model.onnx")).unwrap();
        assert!(Layout::missing(&at("m")).unwrap().contains("platform"));
    }

    #[cfg(unix)]
    #[test]
    fn links_in_circles_are_passed_over() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        std::fs::create_dir_all(at("m/3")).unwrap();
        let link = |to: &str, from: &str| std::os::unix::fs::symlink(to, at(from)).unwrap();
        link("2", "m/1");
        link("1", "m/2");
        link(".", "m/4");
        link("model.onnx", "m/3/model.onnx");
        assert_eq!(NetworkPlace::find(&at("m")), None);
        std::fs::remove_file(at("m/3/model.onnx")).unwrap();
        std::fs::write(at("m/3/model.onnx"), "").unwrap();
        link("3", "m/5");
        let layout = Layout::of(&at("m")).unwrap();
        let numbers: Vec<u64> = layout.places.iter().map(|place| place.version).collect();
        assert_eq!(numbers, [5, 3]);
    }
}
