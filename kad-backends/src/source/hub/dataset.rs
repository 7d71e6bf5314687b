//! Datasets of the hub: files of one folder of a repository.

use std::path::{Path, PathBuf};

use hf_hub::RepoType;

use super::repository::{MAIN, Repository};
use crate::error::LoadError;

/// Selects files among the names in a folder; the error names the missing file.
type ChooseFiles<'a> = &'a dyn Fn(&[&str]) -> Result<Vec<String>, String>;

/// Fetches files of the hub's dataset `repo` (`ORG/NAME`). `wanted` selects them among the file
/// names in `folder` (empty for the top folder); the result has its order. `progress` receives
/// lines of text.
///
/// As with models, files in the hub's cache (`HF_HOME`) are used without a request, even if the
/// branch has moved. Missing files come from the cached commit.
///
/// ```no_run
/// let wanted = |names: &[&str]| match names.contains(&"train.jsonl") {
///     true => Ok(vec!["train.jsonl".to_owned()]),
///     false => Err("train.jsonl".to_owned()),
/// };
/// let paths = kad_backends::dataset("org/dataset", "data", &wanted, &|line| eprintln!("{line}"))?;
/// # Ok::<(), kad_backends::LoadError>(())
/// ```
///
/// # Errors
/// [`LoadError::NotFound`] if the repository lacks a file; [`LoadError::Network`] or
/// [`LoadError::Io`] for a failed download.
pub fn dataset(
    repo: &str,
    folder: &str,
    wanted: ChooseFiles<'_>,
    progress: &dyn Fn(&str),
) -> Result<Vec<PathBuf>, LoadError> {
    Repository::new(repo, RepoType::Dataset, MAIN)?.files(folder, wanted, progress)
}

impl Repository<'_> {
    fn files(
        &self,
        folder: &str,
        wanted: ChooseFiles<'_>,
        progress: &dyn Fn(&str),
    ) -> Result<Vec<PathBuf>, LoadError> {
        if let Some(cached) = self.cached_folder().map(|cached| cached.join(folder)) {
            let names = names_in(&cached);
            if let Ok(files) = wanted(&names.iter().map(String::as_str).collect::<Vec<_>>()) {
                return Ok(files.iter().map(|file| cached.join(file)).collect());
            }
        }
        progress(&format!("{}: asking the hub for its files", self.name()));
        let info = self.info()?;
        let api = self.api(&info.sha)?;
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let in_folder = info.siblings.iter().filter_map(|f| f.rfilename.strip_prefix(&prefix));
        let names: Vec<&str> = in_folder.filter(|name| !name.contains('/')).collect();
        let files = wanted(&names).map_err(|missing| self.other_files(folder, &missing, &names))?;
        let get = |file: &String| self.get(&api, &info.sha, &format!("{prefix}{file}"), progress);
        let paths = files.iter().map(get).collect::<Result<_, _>>()?;
        self.remember(&info.sha)?;
        Ok(paths)
    }

    fn other_files(&self, folder: &str, missing: &str, names: &[&str]) -> LoadError {
        let place =
            if folder.is_empty() { "at its top".to_owned() } else { format!("in {folder}/") };
        let found = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
        self.not_found(missing, format!("the repository has {found} {place}"))
    }
}

/// Names of the files in a cache folder, without dangling links.
fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let files = entries.filter(|entry| entry.path().is_file());
    files.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use hf_hub::Cache;

    use super::super::tests::{COMMIT, hub_with};
    use super::*;

    fn wanted(names: &[&str]) -> Result<Vec<String>, String> {
        let mut parts: Vec<String> =
            names.iter().filter(|n| n.ends_with(".parquet")).map(|n| (*n).to_owned()).collect();
        parts.sort();
        if parts.len() == 2 { Ok(parts) } else { Err("both parts".to_owned()) }
    }

    #[test]
    fn files_of_a_dataset_are_fetched_once_and_from_one_folder() {
        let text = |text: &str| text.as_bytes().to_vec();
        let files = [
            ("main/b.parquet", text("second")),
            ("main/a.parquet", text("first")),
            ("main/deep/c.parquet", text("deeper")),
            ("other/a.parquet", text("other")),
            ("top.parquet", text("top")),
        ];
        let (root, (asked, fetched)) = (tempfile::tempdir().unwrap(), channel());
        let endpoint = Some(hub_with(&files, asked));
        let hub = |endpoint: &Option<String>| Repository {
            repo: "org/set",
            kind: RepoType::Dataset,
            revision: MAIN,
            cache: Cache::new(root.path().to_owned()),
            endpoint: endpoint.clone(),
        };
        let error = hub(&endpoint).files("", &wanted, &|_| ()).unwrap_err().to_string();
        assert!(error.contains("both parts not found at hf:datasets/org/set@main"), "{error}");
        assert!(error.contains("has top.parquet at its top"), "{error}");
        let error = hub(&endpoint).files("none", &wanted, &|_| ()).unwrap_err().to_string();
        assert!(error.contains("has nothing in none/"), "{error}");

        let paths = hub(&endpoint).files("main", &wanted, &|_| ()).unwrap();
        let found: Vec<String> =
            paths.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
        assert_eq!(found, ["first", "second"]);
        let mut names: Vec<String> = fetched.try_iter().collect();
        names.sort();
        assert_eq!(names, ["main/a.parquet", "main/b.parquet"]);
        let place = Path::new("datasets--org--set/snapshots").join(COMMIT).join("main/a.parquet");
        assert!(paths[0].ends_with(place), "{}", paths[0].display());

        // The second time there is no request. For the deleted file there is one, without an
        // answer.
        let offline = Some("http://127.0.0.1:1".to_owned());
        assert_eq!(hub(&offline).files("main", &wanted, &|_| ()).unwrap(), paths);
        std::fs::remove_file(&paths[1]).unwrap();
        let error = hub(&offline).files("main", &wanted, &|_| ()).unwrap_err().to_string();
        assert!(error.contains("copy the dataset into the hub's cache (HF_HOME)"), "{error}");
    }
}
