//! Uses between the folders of the two large crates: a folder uses only folders below it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

/// Folders and files of a crate by storey, the top storey first. Those of one storey do not use each
/// other, except on the last storey.
struct Storeys {
    source: &'static str,
    storeys: &'static [&'static [&'static str]],
}

const KAD_EVAL: Storeys = Storeys {
    source: "kad-eval/src",
    storeys: &[
        &["main"],
        &["lib"],
        &["commands"],
        &["cli"],
        &["pipeline"],
        &["report"],
        &["speed"],
        &["analysis"],
        &["proof", "run"],
        &["forecast"],
        &["models"],
        &["config"],
        &["task"],
        &["toml_table"],
        &["failure", "files", "interrupt", "machine", "numbers", "output"],
    ],
};

const KAD_BACKENDS: Storeys = Storeys {
    source: "kad-backends/src",
    storeys: &[
        &["lib"],
        &["load"],
        &["details"],
        &["dispatch"],
        &["burn", "candle", "naive", "ort", "tch"],
        &["source", "tensor"],
        &["files"],
        &["dtype", "early_exit", "text"],
        &["decoder"],
        &["weights"],
        &["backend", "chunks", "device", "error", "model_options", "stored_type", "unknown_name"],
    ],
};

/// A use of one folder by another.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Arrow {
    from: String,
    to: String,
    file: PathBuf,
}

impl Storeys {
    fn storey(&self, folder: &str) -> Option<usize> {
        self.storeys.iter().position(|folders| folders.contains(&folder))
    }

    /// The error message for a use that is not allowed.
    fn objection(&self, arrow: &Arrow) -> Option<String> {
        let Arrow { from, to, file } = arrow;
        let [above, below] = [from, to].map(|folder| self.storey(folder));
        let (Some(above), Some(below)) = (above, below) else {
            return Some(format!("{}: `{from}` or `{to}` has no storey", file.display()));
        };
        let ground = self.storeys.len() - 1;
        (above >= below && (above, below) != (ground, ground))
            .then(|| format!("{}: `{from}` must not use `{to}`", file.display()))
    }
}

/// The text without its `#[cfg(test)]` modules.
pub(crate) fn without_test_modules(text: &str) -> String {
    let mut kept = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let indent = &line[..line.len() - line.trim_start().len()];
        let module = lines.peek().is_some_and(|next| {
            next.trim_start().starts_with("mod ")
                || next.trim_start().starts_with("pub(crate) mod ")
        });
        if line.trim() != "#[cfg(test)]" || !module {
            kept.push_str(line);
            kept.push('\n');
        } else if lines.next().is_some_and(|opening| opening.ends_with('{')) {
            let end = format!("{indent}}}");
            lines.by_ref().take_while(|inner| *inner != end).for_each(drop);
        }
    }
    kept
}

/// Code of the program, without comments and test modules.
fn production(text: &str) -> String {
    let is_code = |line: &&str| !line.trim_start().starts_with("//");
    without_test_modules(text).lines().filter(is_code).map(|line| format!("{line}\n")).collect()
}

/// First segments of the paths after `crate::`, also within braces.
fn folders_named(text: &str, prefix: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (start, _) in text.match_indices(prefix) {
        let boundary = text[..start].chars().next_back();
        if boundary.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        let rest = &text[start + prefix.len()..];
        match rest.strip_prefix('{') {
            Some(list) => found.extend(heads(list)),
            None => found.extend(word(rest)),
        }
    }
    found
}

/// The lower-case name that a path begins with: a module, not a type or a macro's variable.
fn word(text: &str) -> Option<String> {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    let name = &text[..end];
    name.starts_with(|c: char| c.is_lowercase()).then(|| name.to_owned())
}

/// The first names of the paths in a list, up to the brace that closes it.
fn heads(list: &str) -> Vec<String> {
    let (mut depth, mut found, mut at_head) = (0_usize, Vec::new(), true);
    for (place, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => at_head = true,
            c if c.is_whitespace() => {}
            _ if at_head => {
                found.extend(word(&list[place..]));
                at_head = false;
            }
            _ => {}
        }
    }
    found
}

/// Every use of a folder by another one, without test modules.
fn arrows(source: &Path) -> BTreeSet<Arrow> {
    let mut files = BTreeMap::new();
    for file in super::tidy::files(source, ".rs") {
        files.insert(file.clone(), fs::read_to_string(&file).unwrap());
    }
    let tested = Regex::new(r"#\[cfg\(test\)\]\s*(?:pub(?:\([a-z ]+\))? )?mod (\w+);").unwrap();
    let mut tests = Vec::new();
    for (file, text) in &files {
        let folder = match file.file_name().unwrap().to_str().unwrap() {
            "mod.rs" | "lib.rs" => file.parent().unwrap().to_owned(),
            _ => file.with_extension(""),
        };
        for found in tested.captures_iter(text) {
            tests.push(folder.join(&found[1]));
        }
    }
    let mut found = BTreeSet::new();
    for (file, text) in &files {
        if tests.iter().any(|test| file.starts_with(test) || file.with_extension("") == *test) {
            continue;
        }
        let inside = file.strip_prefix(source).unwrap();
        let mut modules: Vec<_> = inside.with_extension("").iter().map(ToOwned::to_owned).collect();
        let from = modules[0].to_string_lossy().into_owned();
        if modules.last().unwrap() == "mod" {
            modules.pop();
        }
        let text = production(text);
        let climb = "super::".repeat(modules.len());
        let named = folders_named(&text, "crate::").into_iter().chain(folders_named(&text, &climb));
        for to in named.filter(|to| *to != from) {
            found.insert(Arrow { from: from.clone(), to, file: file.clone() });
        }
    }
    found
}

fn objections(tree: &Storeys, root: &Path) -> Vec<String> {
    let found = arrows(&root.join(tree.source));
    found.iter().filter_map(|arrow| tree.objection(arrow)).collect()
}

#[test]
fn folders_of_kad_eval_use_only_folders_below() {
    let found = objections(&KAD_EVAL, &super::tidy::root());
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn folders_of_kad_backends_use_only_folders_below() {
    let found = objections(&KAD_BACKENDS, &super::tidy::root());
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Folders in the order of the table of `docs/ARCHITECTURE.md` after `In `source`:`.
fn documented(tree: &Storeys, text: &str) -> Vec<String> {
    let table = text.split_once(&format!("n `{}`:\n", tree.source)).expect("a table").1;
    let rows = table.trim_start().lines().take_while(|line| line.starts_with('|')).skip(2);
    let cells = rows.map(|row| row.split('|').nth(1).unwrap());
    let names = cells.flat_map(|cell| cell.split(',')).map(|name| name.trim().trim_matches('`'));
    names.map(|name| name.trim_end_matches(".rs").to_owned()).collect()
}

#[test]
fn the_architecture_lists_the_storeys_from_top_to_bottom() {
    let text = fs::read_to_string(super::tidy::root().join("docs/ARCHITECTURE.md")).unwrap();
    for tree in [KAD_EVAL, KAD_BACKENDS] {
        let found = documented(&tree, &text);
        let storeys: Vec<_> = found.iter().map(|folder| tree.storey(folder)).collect();
        assert!(storeys.is_sorted() && storeys[0].is_some(), "{found:?} {storeys:?}");
        let all = tree
            .storeys
            .iter()
            .copied()
            .flatten()
            .filter(|folder| !["main", "lib"].contains(folder));
        let found: BTreeSet<&str> = found.iter().map(String::as_str).collect();
        assert_eq!(found, all.copied().collect(), "{}", tree.source);
    }
}

#[test]
fn a_use_of_a_higher_folder_is_found() {
    let root = tempfile::tempdir().unwrap();
    let source = root.path().join("src");
    let write = |name: &str, text: &str| {
        let path = source.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let tree = Storeys { source: "src", storeys: &[&["lib"], &["top"], &["low"], &["ground"]] };
    write("lib.rs", "mod ground;\nmod low;\nmod top;\n");
    write("ground.rs", "pub struct Number;\n");
    write("top/mod.rs", "use crate::{ground, low::{self, Thing}};\nmod part;\n");
    write("top/part.rs", "use super::super::low::Thing;\n");
    write(
        "low/mod.rs",
        "// crate::top in a comment\n#[cfg(test)]\nmod tests {\n    use crate::top;\n}\n",
    );
    let none: Vec<String> = Vec::new();
    assert_eq!(objections(&tree, root.path()), none);

    for planted in
        ["use crate::top::part;", "use crate::{\n    ground,\n    top,\n};", "use super::top;"]
    {
        write("low/mod.rs", planted);
        let found = objections(&tree, root.path());
        assert_eq!(found.len(), 1, "{planted}: {found:?}");
        assert!(found[0].ends_with("`low` must not use `top`"), "{found:?}");
    }
    write("low/mod.rs", "fn f() { crate::attic::g(); }");
    assert!(objections(&tree, root.path())[0].contains("has no storey"));
}
