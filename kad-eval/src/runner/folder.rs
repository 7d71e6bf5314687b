//! The folder of one run.

use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Serialize;

/// A run's folder, locked while this lives.
pub(crate) struct RunFolder {
    path: PathBuf,
    /// Dropping it releases the lock; so does the death of the process.
    _lock: File,
}

impl RunFolder {
    /// Opens or creates `out/name/run_id` and locks it.
    ///
    /// # Errors
    /// If the folder cannot be written, or another process runs in it.
    pub(crate) fn open(out: &Path, name: &str, run_id: &str) -> Result<Self> {
        let path = out.join(name).join(run_id);
        fs::create_dir_all(&path)
            .with_context(|| format!("cannot create the results folder {}", path.display()))?;
        let lock_path = path.join(".lock");
        let lock = File::create(&lock_path)
            .with_context(|| format!("cannot write in {}", path.display()))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, _lock: lock }),
            Err(TryLockError::WouldBlock) => {
                bail!("another kad is running in {}; wait for it or stop it", path.display())
            }
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("cannot lock {}", lock_path.display()))
            }
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The file of finished items.
    pub(crate) fn records(&self) -> PathBuf {
        self.path.join("records.jsonl")
    }

    /// Writes a file whole or not at all.
    ///
    /// # Errors
    /// If the disk is full or the folder is gone.
    pub(crate) fn write(&self, name: &str, contents: &str) -> Result<()> {
        let (temporary, path) = (self.path.join(format!(".{name}.new")), self.path.join(name));
        let written = File::create(&temporary)
            .and_then(|mut file| file.write_all(contents.as_bytes()).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&temporary, &path));
        written.with_context(|| format!("cannot write {}", path.display()))
    }

    /// Writes `value` as indented JSON.
    ///
    /// # Errors
    /// As [`RunFolder::write`].
    pub(crate) fn write_json(&self, name: &str, value: &impl Serialize) -> Result<()> {
        self.write(name, &(serde_json::to_string_pretty(value)? + "\n"))
    }
}
