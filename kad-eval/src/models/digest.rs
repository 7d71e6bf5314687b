//! Tells whether a model's files are the ones an earlier run used.

use std::fs::{self, File};
use std::io::{Read, Result, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// Large files are read at both ends only: hashing seventy gigabytes would take minutes.
const END: u64 = 1 << 20;

/// A digest of the names, sizes and ends of a model's files.
///
/// # Errors
/// If they cannot be read.
pub(super) fn of(path: &Path) -> Result<String> {
    let mut files: Vec<PathBuf> = if path.is_dir() {
        let entries: Vec<_> = fs::read_dir(path)?.collect::<Result<_>>()?;
        entries.into_iter().map(|entry| entry.path()).filter(|path| path.is_file()).collect()
    } else {
        vec![path.to_owned()]
    };
    files.sort();
    let mut hasher = Sha256::new();
    for path in files {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let mut file = File::open(&path)?;
        let len = file.metadata()?.len();
        hasher.update(name.as_bytes());
        hasher.update(len.to_le_bytes());
        let mut bytes = Vec::new();
        (&mut file).take(END).read_to_end(&mut bytes)?;
        file.seek(SeekFrom::Start(len.saturating_sub(END)))?;
        file.take(END).read_to_end(&mut bytes)?;
        hasher.update(&bytes);
    }
    Ok(crate::hex(&hasher.finalize()[..8]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_changes_the_digest() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("model.safetensors");
        fs::write(&file, vec![0; 3 << 20]).unwrap();
        let before = of(folder.path()).unwrap();
        assert_eq!(of(folder.path()).unwrap(), before);
        for place in [0, (3 << 20) - 1] {
            let mut bytes = vec![0; 3 << 20];
            bytes[place] = 1;
            fs::write(&file, bytes).unwrap();
            assert_ne!(of(folder.path()).unwrap(), before);
        }
        fs::write(&file, vec![0; (3 << 20) + 1]).unwrap();
        assert_ne!(of(folder.path()).unwrap(), before);
    }
}
