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

    fn digest(files: &[(&str, &[u8])]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let write = |(name, bytes): &(&str, &[u8])| {
            let path = folder.path().join(name);
            fs::write(&path, bytes).unwrap();
            path
        };
        of(&files.iter().map(write).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn name_size_and_both_ends_change_the_digest() {
        let one = |name, bytes: &[u8]| digest(&[(name, bytes)]);
        let zeros = vec![0; SIZE];
        let known = one("model.safetensors", &zeros);
        // Pinned: a change here changes every run ID.
        assert_eq!(known, "958b5df3403299a7");
        assert_eq!(one("model.safetensors", &zeros), known);
        for place in [0, SIZE - 1] {
            let mut bytes = zeros.clone();
            bytes[place] = 1;
            assert_ne!(one("model.safetensors", &bytes), known);
        }
        assert_ne!(one("model.safetensors", &vec![0; SIZE + 1]), known);
        assert_ne!(one("model2.safetensors", &zeros), known);
    }

    /// Names and contents of neighbouring files cannot be confused.
    #[test]
    fn files_are_told_apart() {
        let names = |a, b| digest(&[(a, b"x"), (b, b"x")]);
        assert_ne!(names("a", "bc"), names("ab", "c"));
        let texts = |a, b| digest(&[("a", a), ("b", b)]);
        assert_ne!(texts(b"x", b"y"), texts(b"y", b"x"));
    }
}
