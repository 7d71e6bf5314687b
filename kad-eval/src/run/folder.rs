//! Write access to the folder of a run, and its locks.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use super::Shard;
use super::stored::{RECORDS, StoredRun, files_in};
use crate::files;

/// The folder of a run, locked while this lives. A whole run excludes everything else; a shard
/// excludes whole runs and the same shard.
pub(crate) struct RunFolder {
    stored: StoredRun,
    run_id: String,
    shard: Option<Shard>,
    /// Released when dropped, also by the death of the process.
    _locks: Vec<File>,
}

impl RunFolder {
    /// Opens or creates `out/name/run_id` and locks it.
    pub(crate) fn open(out: &Path, name: &str, run_id: &str, shard: Option<Shard>) -> Result<Self> {
        let path = out.join(name).join(run_id);
        fs::create_dir_all(&path)
            .with_context(|| format!("cannot create the results folder {}", path.display()))?;
        let mut locks = vec![lock(&path, ".lock", shard.is_some())?];
        if let Some(shard) = shard {
            locks.push(lock(&path, &format!(".{}.lock", shard.word()), false)?);
        }
        let stored = StoredRun::at(path);
        Ok(Self { stored, run_id: run_id.to_owned(), shard, _locks: locks })
    }

    /// `out/name/run_id`, neither created nor locked: for reading only.
    pub(super) fn unlocked(out: &Path, name: &str, run_id: &str) -> Self {
        let stored = StoredRun::at(out.join(name).join(run_id));
        Self { stored, run_id: run_id.to_owned(), shard: None, _locks: Vec::new() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.stored.path()
    }

    pub(crate) fn stored(&self) -> &StoredRun {
        &self.stored
    }

    /// The shard whose work is done in it; none for the whole run.
    pub(super) fn shard(&self) -> Option<Shard> {
        self.shard
    }

    /// The file of records that this process writes; a shard has its own.
    pub(super) fn records(&self) -> PathBuf {
        self.path().join(self.own(RECORDS))
    }

    /// Removes the file of records if it is empty, because others have done all items.
    pub(crate) fn drop_empty_records(&self) -> Result<()> {
        let path = self.records();
        match fs::metadata(&path) {
            Ok(file) if file.len() == 0 => {
                fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))
            }
            _ => Ok(()),
        }
    }

    /// The name of `file`, or a shard's own name for it: no two processes write one file.
    pub(super) fn own(&self, file: &str) -> String {
        self.shard.map_or(file.to_owned(), |shard| shard.file(file, &self.run_id))
    }

    /// Every file of records, with its shard where it belongs to one.
    pub(super) fn all_records(&self) -> Result<Vec<(PathBuf, Option<Shard>)>> {
        let whole = self.path().join(RECORDS);
        let mut files = if whole.exists() { vec![(whole, None)] } else { Vec::new() };
        for (path, shard, run) in self.all_of_shards(RECORDS)? {
            if run != self.run_id {
                let (path, own) = (path.display(), &self.run_id);
                bail!(
                    "{path} belongs to run {run}, but this is run {own}: plan, models, data or kad \
                     version differ; move it out of this folder and rerun shard {shard} with the \
                     plan of the others"
                );
            }
            files.push((path, Some(shard)));
        }
        Ok(files)
    }

    /// The shards' own files for `file` in this run, in the order of their names.
    pub(super) fn of_shards(&self, file: &str) -> Result<Vec<PathBuf>> {
        let files = self.all_of_shards(file)?.into_iter();
        Ok(files.filter(|(_, _, run)| *run == self.run_id).map(|(path, ..)| path).collect())
    }

    /// The files of all shards, each with its shard and the run that it names.
    fn all_of_shards(&self, file: &str) -> Result<Vec<(PathBuf, Shard, String)>> {
        let files = files_in(self.path())?.into_iter().filter_map(|(name, path)| {
            let (shard, run) = Shard::of_file(&name, file)?;
            Some((path, shard, run.to_owned()))
        });
        Ok(files.collect())
    }

    /// Writes a file atomically.
    pub(crate) fn write(&self, name: impl AsRef<Path>, contents: &str) -> Result<()> {
        let path = self.path().join(name);
        files::write(&path, contents).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Writes `value` as indented JSON, atomically.
    pub(crate) fn write_json(&self, name: impl AsRef<Path>, value: &impl Serialize) -> Result<()> {
        self.write(name, &(serde_json::to_string_pretty(value)? + "\n"))
    }
}

fn lock(folder: &Path, name: &str, shared: bool) -> Result<File> {
    let path = folder.join(name);
    let file =
        File::create(&path).with_context(|| format!("cannot write in {}", folder.display()))?;
    let locked = if shared { file.try_lock_shared() } else { file.try_lock() };
    match locked {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            bail!("another kad is running in {}; wait for it or stop it", folder.display())
        }
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}
