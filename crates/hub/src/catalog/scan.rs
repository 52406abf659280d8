//! The models of a folder.

use std::path::{Path, PathBuf};

use super::{CatalogError, network};

/// Names and paths of the models in `dir`, sorted by path: GGUF files by their stems, folders with `config.json` or a
/// network, or versions of one, by their names. Hidden ones are passed over, as are all but the first part of a split file.
pub(super) fn models(dir: &Path) -> Result<Vec<(String, PathBuf)>, CatalogError> {
    let io = |source| CatalogError::Io {
        path: dir.to_owned(),
        source,
    };
    let mut found = Vec::new();
    for item in std::fs::read_dir(dir).map_err(io)? {
        let path = item.map_err(io)?.path();
        let file_name = path.file_name().unwrap_or_default().to_string_lossy();
        if file_name.starts_with('.') {
            continue;
        }
        let name = if path.is_dir() {
            let is_model = path.join("config.json").is_file() || network::is_model(&path);
            is_model.then(|| file_name.into_owned())
        } else {
            gguf_name(&file_name)
        };
        if let Some(name) = name {
            found.push((name, path));
        }
    }
    found.sort_by(|a, b| a.1.cmp(&b.1));
    Ok(found)
}

/// The paths of the model at `path`: of a split file all parts that are there, of others the one.
pub(super) fn parts(path: &Path) -> Result<Vec<PathBuf>, CatalogError> {
    let model_of = |path: &Path| {
        let name = path.file_name()?.to_str()?;
        let stem = name.strip_suffix(".gguf")?;
        let (_, total) = stem.rsplit_once("-of-")?;
        let (model, _) = split_part(stem)?;
        Some((model.to_owned(), total.to_owned()))
    };
    let (Some(model), Some(dir)) = (model_of(path), path.parent()) else {
        return Ok(vec![path.to_owned()]);
    };
    let io = |source| CatalogError::Io {
        path: dir.to_owned(),
        source,
    };
    let mut parts = Vec::new();
    for item in std::fs::read_dir(dir).map_err(io)? {
        let path = item.map_err(io)?.path();
        if model_of(&path).as_ref() == Some(&model) {
            parts.push(path);
        }
    }
    Ok(parts)
}

/// The name of the model in a GGUF file; `None` for other files and for later parts of a split one.
fn gguf_name(file_name: &str) -> Option<String> {
    let stem = file_name.strip_suffix(".gguf")?;
    match split_part(stem) {
        Some((model, 1)) => Some(model.to_owned()),
        Some(_) => None,
        None => Some(stem.to_owned()),
    }
}

/// The model and the number of the part that a stem such as `llama-00001-of-00003` names.
fn split_part(stem: &str) -> Option<(&str, u32)> {
    let digits = |s: &str| s.len() == 5 && s.bytes().all(|b| b.is_ascii_digit());
    let (rest, total) = stem.rsplit_once("-of-")?;
    let (model, part) = rest.rsplit_once('-')?;
    if !digits(total) || !digits(part) || model.is_empty() {
        return None;
    }
    Some((model, part.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn split_files_have_one_name() {
        assert_eq!(gguf_name("a.gguf").as_deref(), Some("a"));
        assert_eq!(gguf_name("a-00001-of-00002.gguf").as_deref(), Some("a"));
        assert_eq!(gguf_name("a-00002-of-00002.gguf"), None);
        assert_eq!(gguf_name("a-1-of-2.gguf").as_deref(), Some("a-1-of-2"));
        assert_eq!(gguf_name("a.bin"), None);
    }
}
