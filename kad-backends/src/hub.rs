//! Models of the Hugging Face hub, through the hub's own cache.

use std::path::{Path, PathBuf};

use hf_hub::api::Progress;
use hf_hub::api::sync::{ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, Repo, RepoType};

use crate::error::LoadError;
use crate::safetensors;

/// Fetched if the repository has them.
const OPTIONAL: [&str; 3] =
    ["tokenizer_config.json", "generation_config.json", "chat_template.jinja"];
/// Fetched always.
const REQUIRED: [&str; 2] = ["config.json", "tokenizer.json"];

/// The named file, or the folder with a whole model.
///
/// A complete copy in the cache is used without asking the hub, also when the branch has moved on:
/// runs stay as they were until the cached copy is deleted.
pub(crate) fn fetch(
    repo: &str,
    revision: Option<&str>,
    file: Option<&str>,
    progress: &dyn Fn(&str),
) -> Result<PathBuf, LoadError> {
    let hub = Hub { repo, revision: revision.unwrap_or("main"), cache: cache()? };
    match file {
        Some(file) => hub.file(file, progress),
        None => hub.model(progress),
    }
}

fn cache() -> Result<Cache, LoadError> {
    if std::env::var_os("HF_HOME").is_none() && dirs::home_dir().is_none() {
        return Err(LoadError::NotFound {
            what: "the hub's cache".to_owned(),
            path: PathBuf::from("~/.cache/huggingface"),
            advice: "set HF_HOME to a folder".to_owned(),
        });
    }
    Ok(Cache::from_env())
}

struct Hub<'a> {
    repo: &'a str,
    revision: &'a str,
    cache: Cache,
}

impl Hub<'_> {
    fn repo_at(&self, revision: &str) -> Repo {
        Repo::with_revision(self.repo.to_owned(), RepoType::Model, revision.to_owned())
    }

    /// Where the revision's files lie if any is cached; a commit needs no entry among the branches.
    fn cached_folder(&self) -> Option<PathBuf> {
        let repo = self.cache.repo(self.repo_at(self.revision));
        let branch = self.cache.path().join(self.repo_at(self.revision).folder_name());
        let commit = std::fs::read_to_string(branch.join("refs").join(self.revision));
        let folder = repo.pointer_path(commit.as_deref().unwrap_or(self.revision).trim());
        folder.is_dir().then_some(folder)
    }

    fn file(&self, file: &str, progress: &dyn Fn(&str)) -> Result<PathBuf, LoadError> {
        let cached = self.cached_folder().map(|folder| folder.join(file));
        if let Some(path) = cached.filter(|path| path.is_file()) {
            return Ok(path);
        }
        download(&self.api(self.revision)?, file, progress)
            .map_err(|error| self.error(file, &error))
    }

    fn model(&self, progress: &dyn Fn(&str)) -> Result<PathBuf, LoadError> {
        if let Some(folder) = self.cached_folder().filter(|folder| is_complete(folder)) {
            return Ok(folder);
        }
        progress(&format!("hf:{}: asking the hub for its files", self.repo));
        let error = |error| self.error("its list of files", &error);
        let info = self.api(self.revision)?.info().map_err(error)?;
        // One commit for all files, even if the branch moves meanwhile.
        let api = self.api(&info.sha)?;
        let names: Vec<&str> = info.siblings.iter().map(|file| file.rfilename.as_str()).collect();
        let get =
            |file: &str| download(&api, file, progress).map_err(|error| self.error(file, &error));
        // The weights come last: whoever finds them in the cache finds the rest too.
        for file in OPTIONAL.iter().filter(|file| names.contains(file)).chain(&REQUIRED) {
            get(file)?;
        }
        let folder = if names.contains(&safetensors::INDEX) {
            let index = get(safetensors::INDEX)?;
            for shard in safetensors::shards_of(&index)? {
                get(&shard)?;
            }
            index
        } else {
            get(safetensors::SINGLE)?
        };
        let made = self.cache.repo(self.repo_at(self.revision)).create_ref(&info.sha);
        made.map_err(LoadError::io(self.cache.path()))?;
        Ok(folder.parent().map_or_else(|| folder.clone(), Path::to_owned))
    }

    fn api(&self, revision: &str) -> Result<ApiRepo, LoadError> {
        if std::env::var("HF_HUB_OFFLINE").is_ok_and(|value| value != "0" && !value.is_empty()) {
            return Err(LoadError::Network {
                asked: format!("hf:{}@{}", self.repo, self.revision),
                message: "it is not in the cache, and HF_HUB_OFFLINE is set".to_owned(),
                advice: "unset HF_HUB_OFFLINE to fetch it".to_owned(),
            });
        }
        let mut builder = ApiBuilder::from_env().with_progress(false).with_retries(2);
        if let Ok(token) = std::env::var("HF_TOKEN") {
            builder = builder.with_token(Some(token.trim().to_owned()).filter(|t| !t.is_empty()));
        }
        let api = builder.build().map_err(|error| self.error("a connection", &error))?;
        Ok(api.repo(self.repo_at(revision)))
    }

    fn error(&self, what: &str, error: &ApiError) -> LoadError {
        let message = error.to_string();
        let advice = if ["401", "403"].iter().any(|code| message.contains(code)) {
            "set HF_TOKEN to a token that may read it, and accept the model's terms on its page"
        } else if message.contains("404") {
            "check the name, the revision and the file; a model without safetensors must be \
             converted, a .gguf file is asked for as hf:ORG/REPO/FILE.gguf"
        } else {
            "check the network; without one, copy the model into the hub's cache (HF_HOME) or give \
             its folder's path instead of hf:"
        };
        LoadError::Network {
            asked: format!("hf:{}@{} ({what})", self.repo, self.revision),
            message,
            advice: advice.to_owned(),
        }
    }
}

fn is_complete(folder: &Path) -> bool {
    let index = folder.join(safetensors::INDEX);
    let weights = match safetensors::shards_of(&index) {
        Ok(shards) => shards.iter().all(|shard| folder.join(shard).is_file()),
        Err(_) => folder.join(safetensors::SINGLE).is_file(),
    };
    weights && REQUIRED.iter().all(|file| folder.join(file).is_file())
}

fn download(api: &ApiRepo, file: &str, progress: &dyn Fn(&str)) -> Result<PathBuf, ApiError> {
    let report = Report { file, progress, size: 0, done: 0, told: 0 };
    api.download_with_progress(file, report)
}

/// Says how far a download is, in steps of five percent.
struct Report<'a> {
    file: &'a str,
    progress: &'a dyn Fn(&str),
    size: usize,
    done: usize,
    told: usize,
}

/// Smaller files come without words.
const WORTH_REPORTING: usize = 10_000_000;

impl Progress for Report<'_> {
    fn init(&mut self, size: usize, _file: &str) {
        self.size = size;
    }

    fn update(&mut self, bytes: usize) {
        self.done += bytes;
        let step = self.done * 20 / self.size.max(1);
        if self.size >= WORTH_REPORTING && step > self.told {
            self.told = step;
            let megabytes = self.size / 1_000_000;
            (self.progress)(&format!("{}: {} % of {megabytes} MB", self.file, step * 5));
        }
    }

    fn finish(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    /// A hub cache as the hub's clients write it, holding these files.
    fn cache_with(files: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let repo = root.path().join("models--org--repo");
        let folder = repo.join("snapshots").join(COMMIT);
        fs::create_dir_all(&folder).unwrap();
        fs::create_dir_all(repo.join("refs")).unwrap();
        fs::write(repo.join("refs/main"), COMMIT).unwrap();
        files.iter().for_each(|(file, text)| fs::write(folder.join(file), text).unwrap());
        (root, folder)
    }

    fn hub<'a>(root: &Path, revision: &'a str) -> Hub<'a> {
        Hub { repo: "org/repo", revision, cache: Cache::new(root.to_owned()) }
    }

    #[test]
    fn a_complete_cached_model_needs_no_network() {
        let (root, folder) = cache_with(&[
            ("config.json", "{}"),
            ("tokenizer.json", "{}"),
            ("model.safetensors", ""),
            ("model.Q4_0.gguf", ""),
        ]);
        for revision in ["main", COMMIT] {
            let hub = hub(root.path(), revision);
            assert_eq!(hub.model(&|_| ()).unwrap(), folder);
            let file = hub.file("model.Q4_0.gguf", &|_| ()).unwrap();
            assert_eq!(file, folder.join("model.Q4_0.gguf"));
        }
        assert_eq!(hub(root.path(), "other").cached_folder(), None);
    }

    #[test]
    fn a_cached_model_without_a_shard_is_incomplete() {
        let index = r#"{"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}"#;
        let (_root, folder) = cache_with(&[
            ("config.json", "{}"),
            ("tokenizer.json", "{}"),
            ("model.safetensors.index.json", index),
            ("1.safetensors", ""),
        ]);
        assert!(!is_complete(&folder));
        fs::write(folder.join("2.safetensors"), "").unwrap();
        assert!(is_complete(&folder));
        fs::remove_file(folder.join("tokenizer.json")).unwrap();
        assert!(!is_complete(&folder));
    }
}
