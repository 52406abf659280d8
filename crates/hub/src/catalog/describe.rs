//! What a model is, from the headers of its files.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use hearth_formats::Checkpoint;

use super::network::{self, Layout};
use super::{Entry, Kind, Location, NetworkConfig, NetworkPlace, scan, version_name};

/// Why a folder's network can't be told.
const AMBIGUOUS: &str =
    "it has a network of its own beside folders of versions; keep one or the other";
/// The architectures that continue text. They are those of `hearth-llm`, which stands above this crate.
const TEXT: [&str; 4] = ["gpt2", "llama", "qwen2", "qwen3"];
/// The architectures that only make vectors.
const ENCODERS: [&str; 1] = ["bert"];

/// Size and time of a model's files: what was made from them holds as long as they stay the same.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stamp {
    files: Vec<(PathBuf, Option<(u64, SystemTime)>)>,
}

/// Whether a file in a model's folder may be a part of the model: others are hidden, still being written, or for people.
fn is_part(name: &OsStr) -> bool {
    const PROSE: [&str; 5] = ["readme", "license", "licence", "notice", "changelog"];
    const BESIDE: [&str; 7] = ["md", "rst", "html", "pdf", "sha256", "part", "tmp"];
    let name = name.to_string_lossy().to_lowercase();
    let (stem, ending) = name.rsplit_once('.').unwrap_or((&name, ""));
    !name.starts_with('.')
        && !name.ends_with('~')
        && !PROSE.contains(&stem)
        && !BESIDE.contains(&ending)
}

impl Stamp {
    /// The stamp of a model: of the files directly in a folder and in the folders of versions there that may be parts of it; of a
    /// file by itself, of that, of the other parts of a split one, and of what lies beside a network in a folder of its own.
    pub(super) fn of(path: &Path) -> Stamp {
        let mut paths = Vec::new();
        let own = match path.is_file() {
            true => network::own_folder(path),
            false => Some(path),
        };
        let Some(path) = own else {
            let parts = scan::parts(path);
            return Stamp::of_files(parts.unwrap_or_else(|_| vec![path.to_owned()]));
        };
        let mut folders = vec![path.to_owned()];
        while let Some(folder) = folders.pop() {
            let is_outer = folder == path;
            let Ok(items) = std::fs::read_dir(&folder) else {
                paths.push(folder);
                continue;
            };
            for item in items.flatten() {
                let name = item.file_name();
                match is_outer && network::version(&name).is_some() {
                    true => folders.push(item.path()),
                    false if is_part(&name) => paths.push(item.path()),
                    false => {}
                }
            }
        }
        Stamp::of_files(paths)
    }

    fn of_files(mut paths: Vec<PathBuf>) -> Stamp {
        paths.sort();
        let files = paths.into_iter().filter_map(|path| {
            let meta = std::fs::metadata(&path).ok();
            if meta.as_ref().is_some_and(std::fs::Metadata::is_dir) {
                return None;
            }
            let stamp = meta.and_then(|meta| Some((meta.len(), meta.modified().ok()?)));
            Some((path, stamp))
        });
        Stamp {
            files: files.collect(),
        }
    }

    /// That of the files directly in `folders`.
    fn within(&self, folders: &[PathBuf]) -> Stamp {
        let is_in = |path: &Path| {
            path.parent()
                .is_some_and(|parent| folders.iter().any(|f| f == parent))
        };
        let files = self.files.iter().filter(|(path, _)| is_in(path));
        Stamp {
            files: files.cloned().collect(),
        }
    }

    /// The latest change in seconds of Unix time; 0 where it is not known.
    fn created(&self) -> u64 {
        let times = self.files.iter().filter_map(|(_, stamp)| *stamp);
        let seconds = times.filter_map(|(_, time)| {
            let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
            Some(since.as_secs())
        });
        seconds.max().unwrap_or(0)
    }
}

/// The entry of the model at `path`. Where its files are unsound the entry says so.
pub(super) fn entry(name: &str, path: &Path, stamp: &Stamp) -> Entry {
    match (Layout::of(path), Layout::missing(path)) {
        (Some(layout), _) => of_network(name, path, stamp, layout),
        (None, Some(problem)) => Entry {
            kind: Kind::Unknown(problem),
            place: Some(NetworkPlace::expected(path)),
            ..blank(name, path, stamp)
        },
        (None, None) => of_checkpoint(name, path, stamp),
    }
}

/// An entry of which nothing is known yet.
fn blank(name: &str, path: &Path, stamp: &Stamp) -> Entry {
    Entry {
        name: name.to_owned(),
        location: Location::Path(path.to_owned()),
        kind: Kind::Network,
        architecture: None,
        bytes: 0,
        created: stamp.created(),
        note: None,
        place: None,
        versions: Vec::new(),
        version_of: None,
        instances: None,
        stamp: stamp.clone(),
    }
}

/// The entry of a network, or of the versions of one.
fn of_network(name: &str, path: &Path, stamp: &Stamp, mut layout: Layout) -> Entry {
    let newest = layout.places.first();
    let newest = newest.expect("a layout has a place; this is a bug").clone();
    let config = match layout.is_ambiguous {
        true => Err(AMBIGUOUS.to_owned()),
        false => NetworkConfig::of(&newest),
    };
    let mut instances = None;
    let mut architecture = None;
    let kind = match config.and_then(|config| Ok((network::class(&newest)?, config))) {
        Ok((class, config)) => {
            architecture = class.map(str::to_owned);
            instances = config.instances;
            config
                .versions
                .keep(&mut layout.places, |place| place.version);
            match layout.places.is_empty() {
                true => {
                    Kind::Unknown("none of the versions that are to be served is there".to_owned())
                }
                false => Kind::Network,
            }
        }
        Err(problem) => Kind::Unknown(problem),
    };
    let model = Entry {
        kind,
        architecture,
        instances,
        ..blank(name, path, stamp)
    };
    let version = |place: NetworkPlace| {
        let stamp = stamp.within(place.folders());
        Entry {
            name: version_name(name, place.version),
            version_of: Some(name.to_owned()),
            kind: match NetworkConfig::of(&place) {
                Err(problem) if model.kind == Kind::Network => Kind::Unknown(problem),
                _ => model.kind.clone(),
            },
            bytes: network_size(&place.file),
            created: stamp.created(),
            stamp,
            place: Some(place),
            ..model.clone()
        }
    };
    let place = layout.places.first().cloned().unwrap_or(newest);
    let versions: Vec<Entry> = match layout.is_versioned {
        true => layout.places.into_iter().map(version).collect(),
        false => Vec::new(),
    };
    Entry {
        bytes: match layout.is_versioned {
            true => versions.iter().map(|version| version.bytes).sum(),
            false => network_size(&place.file),
        },
        place: Some(place),
        versions,
        ..model
    }
}

/// The size of a network's file, or of all files of a checkpoint.
fn network_size(file: &Path) -> u64 {
    network::files(file).iter().map(|file| size(file)).sum()
}

fn size(file: &Path) -> u64 {
    let meta = std::fs::metadata(file).ok();
    meta.filter(std::fs::Metadata::is_file)
        .map_or(0, |meta| meta.len())
}

/// The entry of a checkpoint.
fn of_checkpoint(name: &str, path: &Path, stamp: &Stamp) -> Entry {
    let (kind, architecture, files) = match Checkpoint::open(path) {
        Ok(checkpoint) => (
            kind(&checkpoint),
            Some(checkpoint.architecture().to_owned()),
            checkpoint.files(),
        ),
        Err(e) => (Kind::Unknown(e.to_string()), None, vec![path.to_owned()]),
    };
    Entry {
        kind,
        architecture,
        bytes: files.iter().map(|file| size(file)).sum(),
        ..blank(name, path, stamp)
    }
}

/// What a model is for. A decoder that says how its states are pooled is an embedding model.
pub(super) fn kind(checkpoint: &Checkpoint) -> Kind {
    let arch = checkpoint.architecture();
    if ENCODERS.contains(&arch) {
        return Kind::Embedding;
    }
    if !TEXT.contains(&arch) {
        let known = [&TEXT[..], &ENCODERS[..]].concat().join(", ");
        return Kind::Unknown(format!(
            "the architecture {arch} is not supported; supported: {known}"
        ));
    }
    match checkpoint
        .metadata()
        .get_u32(&format!("{arch}.pooling_type"))
    {
        Ok(None | Some(0)) => Kind::Text,
        Ok(Some(_)) => Kind::Embedding,
        Err(e) => Kind::Unknown(e.to_string()),
    }
}
