//! Tells whether a model's files are the ones an earlier run used.

use std::fs::File;
use std::io::{Read, Result, Seek, SeekFrom};
use std::path::PathBuf;

use sha2::{Digest, Sha256};

/// Large files are read at both ends only: hashing seventy gigabytes would take minutes.
const END: u64 = 1 << 20;

/// A digest of the names, sizes and ends of a model's files.
///
/// # Errors
/// If they cannot be read.
pub(super) fn of(files: &[PathBuf]) -> Result<String> {
    let mut hasher = Sha256::new();
    for path in files {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let mut file = File::open(path)?;
        let len = file.metadata()?.len();
        hasher.update(name.as_bytes());
        hasher.update(len.to_le_bytes());
        let mut bytes = Vec::new();
        (&mut file).take(END).read_to_end(&mut bytes)?;
        file.seek(SeekFrom::Start(len.saturating_sub(END)))?;
        file.take(END).read_to_end(&mut bytes)?;
        hasher.update(&bytes);
    }
    Ok(crate::numbers::hex(&hasher.finalize()[..8]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_changed_file_changes_the_digest() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("model.safetensors");
        fs::write(&file, vec![0; 3 << 20]).unwrap();
        let of = || of(std::slice::from_ref(&file)).unwrap();
        let before = of();
        assert_eq!(of(), before);
        for place in [0, (3 << 20) - 1] {
            let mut bytes = vec![0; 3 << 20];
            bytes[place] = 1;
            fs::write(&file, bytes).unwrap();
            assert_ne!(of(), before);
        }
        fs::write(&file, vec![0; (3 << 20) + 1]).unwrap();
        assert_ne!(of(), before);
    }
}
