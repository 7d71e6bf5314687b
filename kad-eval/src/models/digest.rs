//! Digest of a model's files: shows whether a run continues with the same model.

use std::fs::File;
use std::io::{Read, Result, Seek, SeekFrom};
use std::path::PathBuf;

use sha2::{Digest, Sha256};

use crate::numbers::hex;

/// Bytes hashed at either end of a file: hashing seventy gigabytes whole would take minutes.
const END: u64 = 1 << 20;

/// Digest of a model's files: SHA-256, cut to 8 bytes, in hexadecimal.
///
/// Hashed for each file, in the given order: the length of its name in bytes, its name (UTF-8,
/// without folders), its size in bytes, its first MiB and its last MiB; lengths and sizes as u64,
/// little-endian. Files of less than a MiB are hashed twice. A change in the middle of a large file
/// that keeps its size is not seen.
pub(super) fn of(files: &[PathBuf]) -> Result<String> {
    let mut hasher = Sha256::new();
    for path in files {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let mut file = File::open(path)?;
        let size = file.metadata()?.len();
        hasher.update((name.len() as u64).to_le_bytes());
        hasher.update(name.as_bytes());
        hasher.update(size.to_le_bytes());
        let mut ends = Vec::new();
        (&mut file).take(END).read_to_end(&mut ends)?;
        file.seek(SeekFrom::Start(size.saturating_sub(END)))?;
        file.take(END).read_to_end(&mut ends)?;
        hasher.update(&ends);
    }
    Ok(hex(&hasher.finalize()[..8]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const SIZE: usize = 3 << 20;

    #[test]
    fn name_size_and_both_ends_change_the_digest() {
        let folder = tempfile::tempdir().unwrap();
        let digest = |name: &str, bytes: &[u8]| {
            let file = folder.path().join(name);
            fs::write(&file, bytes).unwrap();
            of(&[file]).unwrap()
        };
        let zeros = vec![0; SIZE];
        let known = digest("model.safetensors", &zeros);
        // Pinned: a change here makes every run another run.
        assert_eq!(known, "958b5df3403299a7");
        assert_eq!(digest("model.safetensors", &zeros), known);
        for place in [0, SIZE - 1] {
            let mut bytes = zeros.clone();
            bytes[place] = 1;
            assert_ne!(digest("model.safetensors", &bytes), known);
        }
        assert_ne!(digest("model.safetensors", &vec![0; SIZE + 1]), known);
        assert_ne!(digest("model2.safetensors", &zeros), known);
    }

    /// What one file ends with does not begin the next.
    #[test]
    fn files_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let digest = |files: [(&str, &str); 2]| {
            let paths = files.map(|(name, text)| {
                let path = folder.path().join(name);
                fs::write(&path, text).unwrap();
                path
            });
            of(&paths).unwrap()
        };
        assert_ne!(digest([("a", "x"), ("bc", "x")]), digest([("ab", "x"), ("c", "x")]));
        assert_ne!(digest([("a", "x"), ("b", "y")]), digest([("a", "y"), ("b", "x")]));
    }
}
