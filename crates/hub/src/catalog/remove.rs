//! Removing models: only those that lie in the folder of models.

use std::path::{Path, PathBuf};

use super::{BUILT_IN, Catalog, CatalogError, scan, verify};

/// Why a model is not removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoveError {
    /// It is a part of the program.
    #[error("model '{model}' is a part of the program and cannot be deleted")]
    BuiltIn {
        /// The model.
        model: String,
    },
    /// Its files lie elsewhere.
    #[error("the files of model '{model}' do not lie in the folder of models, so they are not deleted: {}", path.display())]
    Outside {
        /// The model.
        model: String,
        /// Where they lie.
        path: PathBuf,
    },
    /// There is none of that name.
    #[error("there is no model '{model}'")]
    NotFound {
        /// The name.
        model: String,
    },
    /// The models can't be listed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A file can't be deleted.
    #[error("cannot delete {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// The files of a model in the folder of models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removable(Vec<PathBuf>);

impl Catalog {
    /// The files of the model `model`, if they may be removed: it lies in the folder of models. All parts of a split file
    /// belong to it, and so do hashes beside its files.
    ///
    /// # Errors
    /// Why they may not.
    pub fn removable(&self, model: &str) -> Result<Removable, RemoveError> {
        let named = || model.to_owned();
        if BUILT_IN.iter().any(|own| own.name == model) {
            return Err(RemoveError::BuiltIn { model: named() });
        }
        let found = match &self.config.models_dir {
            Some(dir) => scan::models(dir)?,
            None => Vec::new(),
        };
        if let Some((_, path)) = found.into_iter().find(|(name, _)| name == model) {
            return Ok(Removable(scan::parts(&path)?));
        }
        let mut elsewhere = self.config.named.iter();
        Err(match elsewhere.find(|(name, _)| name == model) {
            Some((_, path)) => RemoveError::Outside {
                model: named(),
                path: path.clone(),
            },
            None => RemoveError::NotFound { model: named() },
        })
    }
}

impl Removable {
    /// Removes the files. Of a link only the link goes, not what it leads to. Blocks.
    ///
    /// # Errors
    /// [`RemoveError::Io`] for the first that can't be removed; those before it are gone.
    pub fn remove(self) -> Result<(), RemoveError> {
        for path in self.0 {
            let removed = match std::fs::symlink_metadata(&path) {
                Ok(meta) if meta.is_dir() => std::fs::remove_dir_all(&path),
                Ok(_) => std::fs::remove_file(&path).and_then(|()| remove_hash(&path)),
                Err(error) => Err(error),
            };
            removed.map_err(|source| RemoveError::Io { path, source })?;
        }
        Ok(())
    }
}

fn remove_hash(file: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(verify::hash_file(file)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
