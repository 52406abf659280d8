//! A file that appears under its name only when it is complete.

use std::fs::{File, OpenOptions};
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use hearth_formats::Error;

use super::ConvertError;

/// A file being written beside its target; removed when dropped before it was published.
#[derive(Debug)]
pub struct PendingFile {
    target: PathBuf,
    path: PathBuf,
    overwrite: bool,
    published: bool,
    file: File,
}

impl PendingFile {
    /// Begins a file that is to be called `target`.
    ///
    /// # Errors
    /// [`ConvertError::Exists`] where it is there already and `overwrite` is not set; where it can't be created.
    pub fn create(target: &Path, overwrite: bool) -> Result<PendingFile, ConvertError> {
        if target.exists() && !overwrite {
            return Err(ConvertError::Exists(target.to_owned()));
        }
        let no_name = || Error::io(target, std::io::Error::other("the path names no file"));
        let mut name = std::ffi::OsString::from(".");
        name.push(target.file_name().ok_or_else(no_name)?);
        name.push(format!(".{}.part", std::process::id()));
        let path = target.with_file_name(name);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(|e| Error::io(&path, e))?;
        Ok(PendingFile {
            target: target.to_owned(),
            path,
            overwrite,
            published: false,
            file,
        })
    }

    /// A writer to it.
    ///
    /// # Errors
    /// The system refuses another handle.
    pub fn writer(&self) -> Result<BufWriter<File>, ConvertError> {
        let file = self.file.try_clone().map_err(|e| self.failed(e))?;
        Ok(BufWriter::with_capacity(1 << 20, file))
    }

    /// Makes the file durable and gives it its name. `written` is the writer that [`PendingFile::writer`] gave, flushed.
    /// Returns the file's size in bytes.
    ///
    /// # Errors
    /// As of [`PendingFile::create`]; the disk is full or fails.
    pub fn publish(mut self, written: BufWriter<File>) -> Result<u64, ConvertError> {
        drop(written);
        self.file.sync_all().map_err(|e| self.failed(e))?;
        let len = self.file.metadata().map_err(|e| self.failed(e))?.len();
        // Somebody may have made the file meanwhile.
        if self.target.exists() && !self.overwrite {
            return Err(ConvertError::Exists(self.target.clone()));
        }
        std::fs::rename(&self.path, &self.target).map_err(|e| Error::io(&self.target, e))?;
        self.published = true;
        Ok(len)
    }

    /// What went wrong while it was written, as an error that names the file.
    pub fn failed(&self, e: std::io::Error) -> ConvertError {
        Error::io(&self.path, e).into()
    }
}

impl Drop for PendingFile {
    fn drop(&mut self) {
        if !self.published {
            // Nothing better can be done where even this fails.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
