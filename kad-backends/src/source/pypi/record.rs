//! Records of cached files: digest, size and time.

use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use sha2::{Digest, Sha256};

use super::wheel::{RECORDS, TEMPORARY, base_name_of};
use crate::error::LoadError;

/// Compares a file of the cache with the digest recorded when it was fetched; reads all of it.
/// kad itself does so when the file's time is not the recorded one.
///
/// # Errors
/// [`LoadError::Io`] without a record, [`LoadError::Checksum`] if the file has changed.
pub fn verify(path: &Path) -> Result<(), LoadError> {
    let expected = Record::read(path)?.digest;
    let mut file = File::open(path).map_err(LoadError::io(path))?;
    let unreadable = |source| LoadError::Io { path: path.to_owned(), source };
    let (found, _) = digest_of(&mut file, |_| Ok(()), unreadable)?;
    if found == expected {
        return Ok(());
    }
    Err(LoadError::Checksum { path: path.to_owned(), expected, found })
}

/// Whether a cached file is the recorded one. It is read only if its time is another: a file
/// that was edited is found out, a copied cache is read once and recorded anew.
pub(super) fn is_intact(path: &Path) -> Result<bool, LoadError> {
    let (Ok(mut record), Ok(found)) = (Record::read(path), fs::metadata(path)) else {
        return Ok(false);
    };
    if found.len() != record.size {
        return Ok(false);
    }
    let modified = modified(&found);
    if modified != record.modified {
        verify(path)?;
        record.modified = modified;
        // A cache that is read-only is read in full each time.
        let _ = record.write(path);
    }
    Ok(true)
}

/// Moves a staged file to its place in the cache and records it.
pub(super) fn keep(staged: &Path, path: &Path, digest: String, size: u64) -> Result<(), LoadError> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).map_err(LoadError::io(folder))?;
    // The record of an earlier file must not vouch for this one.
    match fs::remove_file(Record::path(path)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(LoadError::io(&Record::path(path))(error));
        }
        _ => fs::rename(staged, path).map_err(LoadError::io(path))?,
    }
    let modified = modified(&fs::metadata(path).map_err(LoadError::io(path))?);
    Record { digest, size, modified }.write(path)
}

/// What is known of a cached file.
#[derive(Debug, PartialEq)]
pub(super) struct Record {
    pub(super) digest: String,
    pub(super) size: u64,
    /// Nanoseconds since 1970.
    modified: u128,
}

impl Record {
    fn path(file: &Path) -> PathBuf {
        file.with_file_name(RECORDS).join(base_name_of(file))
    }

    pub(super) fn read(file: &Path) -> Result<Record, LoadError> {
        let path = Record::path(file);
        let text = fs::read_to_string(&path).map_err(LoadError::io(&path))?;
        let parse = || match text.split_whitespace().collect::<Vec<_>>()[..] {
            [digest, size, modified] if digest.len() == 64 => Some(Record {
                digest: digest.to_owned(),
                size: size.parse().ok()?,
                modified: modified.parse().ok()?,
            }),
            _ => None,
        };
        parse().ok_or_else(|| LoadError::corrupt(&path, "it is not a digest, a size and a time"))
    }

    fn write(&self, file: &Path) -> Result<(), LoadError> {
        replace(&Record::path(file), &format!("{} {} {}\n", self.digest, self.size, self.modified))
    }
}

/// Zero where the system keeps no times.
fn modified(metadata: &Metadata) -> u128 {
    let since = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.map_or(0, |since| since.as_nanos())
}

/// Writes a small file such that others see all of it or none.
pub(super) fn replace(path: &Path, text: &str) -> Result<(), LoadError> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).map_err(LoadError::io(folder))?;
    let temporary = tempfile::Builder::new().prefix(TEMPORARY).tempdir_in(folder);
    let temporary = temporary.map_err(LoadError::io(folder))?;
    let staged = temporary.path().join("text");
    let write = || {
        let mut file = File::create(&staged)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&staged, path)
    };
    write().map_err(LoadError::io(path))
}

/// Hands everything on and returns its digest in hexadecimal and its size.
pub(super) fn digest_of(
    source: &mut impl Read,
    mut write: impl FnMut(&[u8]) -> Result<(), LoadError>,
    unreadable: impl Fn(io::Error) -> LoadError,
) -> Result<(String, u64), LoadError> {
    let mut hasher = Sha256::new();
    let mut size = 0;
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = match source.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(unreadable(error)),
        };
        hasher.update(&buffer[..read]);
        write(&buffer[..read])?;
        size += read as u64;
    }
    let digest: Vec<String> = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok((digest.concat(), size))
}
