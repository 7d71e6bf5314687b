//! Datasets: a few files of one folder of a repository.

use std::path::{Path, PathBuf};

use hf_hub::RepoType;

use super::repository::{Hub, MAIN};
use crate::error::LoadError;

/// Of the names in a folder of a repository, those that are wanted; or which one is missing.
type Wanted<'a> = &'a dyn Fn(&[&str]) -> Result<Vec<String>, String>;

/// Files of the hub's dataset `repo` (`ORG/NAME`), fetched if need be: of the names in its `folder`
/// (empty for the top), those that `wanted` gives, in that order; `progress` gets a line now and
/// then.
///
/// As with models, files in the hub's cache (`HF_HOME`) are used without asking the hub, also when
/// the branch has moved on, and what is missing comes from the commit that the cache has.
///
/// # Errors
/// [`LoadError::NotFound`] if the repository has other files, [`LoadError::Network`] or
/// [`LoadError::Io`] for what cannot be fetched.
pub fn dataset(
    repo: &str,
    folder: &str,
    wanted: Wanted<'_>,
    progress: &dyn Fn(&str),
) -> Result<Vec<PathBuf>, LoadError> {
    Hub::new(repo, RepoType::Dataset, MAIN)?.files(folder, wanted, progress)
}

impl Hub<'_> {
    fn files(
        &self,
        folder: &str,
        wanted: Wanted<'_>,
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

/// Names of the files in a folder of the cache; a link whose file is gone is none.
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
        let hub = |endpoint: &Option<String>| Hub {
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

        // The second time nothing is asked for; what is gone is, and nobody answers.
        let offline = Some("http://127.0.0.1:1".to_owned());
        assert_eq!(hub(&offline).files("main", &wanted, &|_| ()).unwrap(), paths);
        std::fs::remove_file(&paths[1]).unwrap();
        let error = hub(&offline).files("main", &wanted, &|_| ()).unwrap_err().to_string();
        assert!(error.contains("copy the dataset into the hub's cache (HF_HOME)"), "{error}");
    }
}
