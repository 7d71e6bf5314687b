//! The folder of one run.

use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use super::Shard;

/// A run's folder, locked while this lives: for a whole run against everything else, for a shard
/// against whole runs and the same shard.
pub(crate) struct RunFolder {
    path: PathBuf,
    run_id: String,
    shard: Option<Shard>,
    /// Dropping them releases the locks; so does the death of the process.
    _locks: Vec<File>,
}

impl RunFolder {
    /// Opens or creates `out/name/run_id` and locks it.
    ///
    /// # Errors
    /// If the folder cannot be written, or another process does the same work in it.
    pub(crate) fn open(out: &Path, name: &str, run_id: &str, shard: Option<Shard>) -> Result<Self> {
        let path = out.join(name).join(run_id);
        fs::create_dir_all(&path)
            .with_context(|| format!("cannot create the results folder {}", path.display()))?;
        let mut locks = vec![lock(&path, ".lock", shard.is_some())?];
        if let Some(shard) = shard {
            locks.push(lock(&path, &format!(".{}.lock", shard.word()), false)?);
        }
        Ok(Self { path, run_id: run_id.to_owned(), shard, _locks: locks })
    }

    /// `out/name/run_id`, to be read only: it is neither made nor locked.
    pub(super) fn unlocked(out: &Path, name: &str, run_id: &str) -> Self {
        let path = out.join(name).join(run_id);
        Self { path, run_id: run_id.to_owned(), shard: None, _locks: Vec::new() }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The part of the run that is done in it; None for all of it.
    pub(super) fn shard(&self) -> Option<Shard> {
        self.shard
    }

    /// The file of finished items; a shard has its own.
    pub(crate) fn records(&self) -> PathBuf {
        self.path.join(self.own("records", "jsonl"))
    }

    /// Removes the file of finished items if it is empty, because others have done all of them.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub(crate) fn drop_empty_records(&self) -> std::io::Result<()> {
        match fs::metadata(self.records()) {
            Ok(file) if file.len() == 0 => fs::remove_file(self.records()),
            _ => Ok(()),
        }
    }

    /// `NAME.EXTENSION`, or what a shard calls it: processes do not write into one file.
    pub(crate) fn own(&self, name: &str, extension: &str) -> String {
        match self.shard {
            Some(shard) => shard.file(name, &self.run_id, extension),
            None => format!("{name}.{extension}"),
        }
    }

    /// Every file of finished items, whoever wrote it, and of which shard it is, if of one.
    ///
    /// # Errors
    /// If the folder cannot be read, or holds files of shards of another run.
    pub(super) fn all_records(&self) -> Result<Vec<(PathBuf, Option<Shard>)>> {
        let whole = self.path.join("records.jsonl");
        let mut files = if whole.exists() { vec![(whole, None)] } else { Vec::new() };
        for OfShard { path, shard, run } in self.all_of_shards("records", "jsonl")? {
            if run.as_deref() != Some(self.run_id.as_str()) {
                bail!(self.strange(&path, shard, run.as_deref()));
            }
            files.push((path, Some(shard)));
        }
        Ok(files)
    }

    /// What to do about a file that shards of another run made.
    fn strange(&self, path: &Path, shard: Shard, run: Option<&str>) -> String {
        let (path, own) = (path.display(), &self.run_id);
        let of = match run {
            Some(run) => format!(
                "is of the run {run}, but this is the run {own}: the plan, the models, the data or the \
                 version of kad were others"
            ),
            None => "does not say of which run it is, as those of this version do".to_owned(),
        };
        format!(
            "{path} {of}; move it out of this folder and run shard {shard} again with the plan of the \
             others"
        )
    }

    /// The files of this name that shards of this run left, in the order of their names.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub(crate) fn of_shards(&self, name: &str, extension: &str) -> Result<Vec<PathBuf>> {
        let files = self.all_of_shards(name, extension)?.into_iter();
        let own = files.filter(|file| file.run.as_deref() == Some(self.run_id.as_str()));
        Ok(own.map(|file| file.path).collect())
    }

    fn all_of_shards(&self, name: &str, extension: &str) -> Result<Vec<OfShard>> {
        let unreadable = || format!("cannot read the results folder {}", self.path.display());
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.path).with_context(unreadable)? {
            let entry = entry.with_context(unreadable)?;
            let file = entry.file_name();
            let known = file.to_str().and_then(|file| Shard::of_file(file, name, extension));
            if let Some((shard, run)) = known {
                files.push(OfShard { path: entry.path(), shard, run: run.map(str::to_owned) });
            }
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    /// Writes a file whole or not at all.
    ///
    /// # Errors
    /// If the disk is full or the folder is gone.
    pub(crate) fn write(&self, name: &str, contents: &str) -> Result<()> {
        // Shards write the same plan at the same time, and on two machines two processes can have
        // one number.
        let who = self.shard.map_or("whole".to_owned(), Shard::word);
        let temporary = self.path.join(format!(".{name}.{who}.{}.new", std::process::id()));
        let path = self.path.join(name);
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

/// A file that a shard made, and of which run it says to be.
struct OfShard {
    path: PathBuf,
    shard: Shard,
    run: Option<String>,
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
