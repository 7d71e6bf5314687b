//! Rules about the source tree: uses between crates, sizes of files, snapshots, and the links, paths
//! and names in documents.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const CRATES: [&str; 4] = ["kad-core", "kad-backends", "kad-polybasic", "kad-eval"];

/// The crates of the workspace that each crate may use.
const ARROWS: [(&str, &[&str]); 4] = [
    ("kad-core", &[]),
    ("kad-backends", &["kad-core"]),
    ("kad-polybasic", &["kad-core"]),
    ("kad-eval", &["kad-core", "kad-backends", "kad-polybasic"]),
];

/// Lines of a file without its test modules.
const LONGEST_FILE: usize = 500;

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Files below `folder` with this ending.
pub(crate) fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            let hidden =
                path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            match path.is_dir() {
                _ if hidden || path.ends_with("target") || path.ends_with("results") => {}
                true => open.push(path),
                false if path.to_string_lossy().ends_with(ending) => found.push(path),
                false => {}
            }
        }
    }
    found.sort();
    found
}

#[test]
fn arrows_between_crates_point_one_way() {
    for (name, allowed) in ARROWS {
        let manifest: toml::Table = read(&root().join(name).join("Cargo.toml")).parse().unwrap();
        let targets = manifest.get("target").and_then(|t| t.as_table()).into_iter().flatten();
        let tables = targets.filter_map(|(_, table)| table.as_table()).chain([&manifest]);
        for (section, used) in tables.flatten().filter(|(s, _)| s.ends_with("dependencies")) {
            for (key, spec) in used.as_table().into_iter().flatten() {
                // `alias = { package = "kad-…" }` is an arrow too.
                let package = spec.get("package").and_then(|p| p.as_str()).unwrap_or(key);
                assert!(
                    !package.starts_with("kad-") || allowed.contains(&package),
                    "{name} must not use {package} ({section}): allowed are {allowed:?}"
                );
            }
        }
    }
}

#[test]
fn kad_core_uses_no_tensors_no_files_and_no_clock() {
    let manifest = read(&root().join("kad-core/Cargo.toml"));
    for library in ["candle", "tch", "ort", "burn", "serde", "toml", "tokenizers"] {
        assert!(!manifest.contains(library), "kad-core must not depend on {library}");
    }
    for file in files(&root().join("kad-core/src"), ".rs") {
        let text = read(&file);
        for effect in ["std::fs", "std::time", "std::net", "println!"] {
            assert!(!text.contains(effect), "{} uses {effect}", file.display());
        }
    }
}

#[test]
fn files_stay_readable() {
    for name in CRATES {
        for file in files(&root().join(name).join("src"), ".rs") {
            let lines = super::storeys::without_test_modules(&read(&file)).lines().count();
            assert!(lines <= LONGEST_FILE, "{} has {lines} lines", file.display());
        }
    }
}

/// `it__MODULE__TEST.snap`; a renamed test leaves its snapshot behind otherwise.
#[test]
fn every_snapshot_belongs_to_a_test() {
    for name in ["kad-eval", "kad-backends"] {
        let tests = root().join(name).join("tests/it");
        let snapshots = files(&tests.join("snapshots"), ".snap");
        assert!(snapshots.len() > 4, "{snapshots:?}");
        for snapshot in snapshots {
            let name = snapshot.file_stem().unwrap().to_str().unwrap();
            let (module, test) = name.strip_prefix("it__").unwrap().split_once("__").unwrap();
            let source = read(&tests.join(module).with_extension("rs"));
            assert!(source.contains(&format!("\nfn {test}() {{")), "no test has {name}");
        }
    }
}

#[test]
fn every_backend_feature_is_in_the_table_of_the_crate() {
    let manifest: toml::Table = read(&root().join("kad-backends/Cargo.toml")).parse().unwrap();
    let table = read(&root().join("kad-backends/src/lib.rs"));
    for feature in manifest["features"].as_table().unwrap().keys().filter(|f| *f != "default") {
        assert!(table.contains(&format!("`{feature}`")), "{feature} lacks its row in lib.rs");
    }
}

#[test]
fn links_in_documents_resolve() {
    for file in files(&root(), ".md") {
        let text = read(&file);
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|t| !t.starts_with("http") && !t.starts_with('#')) {
            let path = target.split('#').next().unwrap();
            let found = file.parent().unwrap().join(path);
            assert!(found.exists(), "{} links to {target}, which is not there", file.display());
        }
    }
}

/// Paths between backticks, without wildcards and placeholders.
fn paths(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2).filter(|name| {
        !name.contains("NAME")
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c))
    })
}

/// True of a path from the root of the checkout.
fn is_from_root(path: &str) -> bool {
    let first = path.split_once('/').map_or("", |(first, _)| first);
    CRATES.contains(&first) || ["docs", "experiments", "scripts"].contains(&first)
}

#[test]
fn documents_name_files_that_exist() {
    let recorded = root().join("experiments/record");
    for file in files(&root(), ".md").iter().filter(|file| !file.starts_with(&recorded)) {
        for name in paths(&read(file)).filter(|name| is_from_root(name)) {
            assert!(root().join(name).exists(), "{} names {name}", file.display());
        }
    }
}

/// `src/…`, `tests/…`, `stats/paired.rs`, `deferral/`: the last folders of a path in the checkout.
#[test]
fn shortened_paths_in_documents_exist() {
    // A file of another repository; the folder of results, which no checkout has.
    const FOREIGN: [&str; 2] = ["configs/tasks.py", "results/"];
    let known: BTreeSet<String> = files(&root(), "")
        .iter()
        .flat_map(|file| file.ancestors().map(|path| format!("{}/", path.display())))
        .collect();
    let is_path = |name: &&str| {
        let ends = [".rs", ".py", ".sh", "/"].iter().any(|ending| name.ends_with(ending));
        (ends || name.starts_with("src/") || name.starts_with("tests/")) && !is_from_root(name)
    };
    for file in files(&root().join("docs"), ".md") {
        let text = read(&file);
        for name in paths(&text).filter(is_path).filter(|name| !FOREIGN.contains(name)) {
            let end = format!("/{}/", name.trim_end_matches('/'));
            let found = known.iter().any(|path| path.ends_with(&end));
            assert!(found, "{} names {name}", file.display());
        }
    }
}

#[test]
fn recipes_name_identifiers_that_exist() {
    let recipes = read(&root().join("docs/ADDING.md"));
    let sources = files(&root(), ".rs").into_iter().chain(files(&root().join("scripts"), ".py"));
    let mut sources: Vec<String> = sources.map(|file| read(&file)).collect();
    sources.push(read(&root().join(".ci/run")));
    let words =
        sources.iter().flat_map(|text| text.split(|c: char| !c.is_alphanumeric() && c != '_'));
    let words: BTreeSet<&str> = words.collect();
    let is_name = |name: &&str| name.chars().all(|c| c.is_ascii_alphabetic() || "_:".contains(c));
    for name in recipes.split('`').skip(1).step_by(2).filter(is_name) {
        for word in name.split("::") {
            assert!(words.contains(word), "docs/ADDING.md names {name}");
        }
    }
}

#[test]
fn cited_invariants_are_listed() {
    let testing = read(&root().join("docs/TESTING.md"));
    let pattern = regex::Regex::new(r"\b[KSPE][0-9]{1,2}\b").unwrap();
    let check = |name: &str, text: &str| {
        for cited in pattern.find_iter(text).map(|found| found.as_str()) {
            assert!(testing.contains(&format!("| {cited} | ")), "{name} cites {cited}");
        }
    };
    check("docs/TESTING.md", &testing);
    let names = regex::Regex::new(r"\bfn ((?:[kspe][0-9]{1,2}_)+)").unwrap();
    let sources = CRATES.iter().flat_map(|name| files(&root().join(name), ".rs"));
    for file in sources {
        let (text, file) = (read(&file), file.display().to_string());
        let comments = text.lines().filter(|line| line.trim_start().starts_with("//"));
        comments.for_each(|line| check(&file, line));
        for codes in names.captures_iter(&text) {
            check(&file, &codes[1].to_uppercase().replace('_', " "));
        }
    }
}
