//! What a model is, from the headers of its files.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use hearth_formats::Checkpoint;

use super::{Entry, Kind, Location, network};

/// The architectures that continue text. They are those of `hearth-llm`, which stands above this crate.
const TEXT: [&str; 4] = ["gpt2", "llama", "qwen2", "qwen3"];
/// The architectures that only make vectors.
const ENCODERS: [&str; 1] = ["bert"];

/// Size and time of the files that an entry was made from; an entry holds as long as they stay the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp {
    files: Vec<(PathBuf, Option<(u64, SystemTime)>)>,
}

impl Stamp {
    /// The stamp of a file, or of all files directly in a folder.
    pub(super) fn of(path: &Path) -> Stamp {
        let mut paths = vec![path.to_owned()];
        if let Ok(items) = std::fs::read_dir(path) {
            paths.extend(items.flatten().map(|i| i.path()));
            paths.sort();
        }
        let files = paths.into_iter().map(|p| {
            let meta = std::fs::metadata(&p).ok();
            let stamp = meta.and_then(|m| Some((m.len(), m.modified().ok()?)));
            (p, stamp)
        });
        Stamp {
            files: files.collect(),
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
    let (kind, architecture, files) = match network::file(path) {
        Some(file) => {
            let kind = network::config(&file).map_or_else(Kind::Unknown, |_| Kind::Network);
            (kind, None, vec![file])
        }
        None => of_checkpoint(path),
    };
    let sizes = files.iter().filter_map(|f| std::fs::metadata(f).ok());
    Entry {
        name: name.to_owned(),
        location: Location::Path(path.to_owned()),
        kind,
        architecture,
        bytes: sizes.filter(|m| m.is_file()).map(|m| m.len()).sum(),
        created: stamp.created(),
        note: None,
    }
}

/// Kind, architecture and files of a checkpoint.
fn of_checkpoint(path: &Path) -> (Kind, Option<String>, Vec<PathBuf>) {
    match Checkpoint::open(path) {
        Ok(checkpoint) => (
            kind(&checkpoint),
            Some(checkpoint.architecture().to_owned()),
            checkpoint.files(),
        ),
        Err(e) => (Kind::Unknown(e.to_string()), None, vec![path.to_owned()]),
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
