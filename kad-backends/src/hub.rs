//! Models of the Hugging Face hub, through the hub's own cache.

use std::path::{Path, PathBuf};

use hf_hub::api::sync::{ApiBuilder, ApiError, ApiRepo};
use hf_hub::api::{Progress, RepoInfo};
use hf_hub::{Cache, Repo, RepoType};

use crate::error::LoadError;
use crate::safetensors;

/// Fetched if the repository has them.
const OPTIONAL: [&str; 3] =
    ["tokenizer_config.json", "generation_config.json", "chat_template.jinja"];
/// Fetched always.
const REQUIRED: [&str; 2] = ["config.json", "tokenizer.json"];

/// How often a file that another process downloads is asked for; the client waits five seconds
/// each time.
const LOCK_ATTEMPTS: usize = 12;

/// The named file, or the folder with a whole model.
///
/// A complete copy in the cache is used without asking the hub, also when the branch has moved on.
/// What is missing comes from the commit the cache has for the branch, so that runs stay as they
/// were until the cached copy is deleted, or another program updates it.
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
        let commit = commit.as_deref().unwrap_or(self.revision).trim();
        // An empty name would be the folder of all snapshots.
        let folder = (!commit.is_empty()).then(|| repo.pointer_path(commit))?;
        folder.is_dir().then_some(folder)
    }

    /// The commit of which the cache has something.
    fn cached_commit(&self) -> Option<String> {
        Some(self.cached_folder()?.file_name()?.to_str()?.to_owned())
    }

    /// The commit to fetch from, and its files: the cached one, or else the revision's newest.
    fn info(&self) -> Result<RepoInfo, LoadError> {
        let commit = self.cached_commit();
        let api = self.api(commit.as_deref().unwrap_or(self.revision))?;
        api.info().map_err(|error| self.error("its list of files", &error))
    }

    /// From now on the revision means this commit here.
    fn remember(&self, commit: &str) -> Result<(), LoadError> {
        if self.cached_commit().as_deref() == Some(commit) {
            return Ok(());
        }
        let made = self.cache.repo(self.repo_at(self.revision)).create_ref(commit);
        made.map_err(LoadError::io(self.cache.path()))
    }

    fn file(&self, file: &str, progress: &dyn Fn(&str)) -> Result<PathBuf, LoadError> {
        let cached = self.cached_folder().map(|folder| folder.join(file));
        if let Some(path) = cached.filter(|path| path.is_file()) {
            return Ok(path);
        }
        let commit = self.cached_commit().map_or_else(|| Ok(self.info()?.sha), Ok)?;
        let path = self.get(&self.api(&commit)?, &commit, file, progress)?;
        self.remember(&commit)?;
        Ok(path)
    }

    /// One file of a commit, from the cache or from the hub.
    fn get(
        &self,
        api: &ApiRepo,
        commit: &str,
        file: &str,
        progress: &dyn Fn(&str),
    ) -> Result<PathBuf, LoadError> {
        let cached = self.cache.repo(self.repo_at(commit)).pointer_path(commit).join(file);
        let mut attempt = 1;
        loop {
            // Asked again each time: the process that held the lock may have fetched it.
            if cached.is_file() {
                return Ok(cached);
            }
            match download(api, file, progress) {
                Err(ApiError::LockAcquisition(_)) if attempt < LOCK_ATTEMPTS => {
                    progress(&format!("{file}: waiting for another process that downloads it"));
                }
                result => return result.map_err(|error| self.error(file, &error)),
            }
            attempt += 1;
        }
    }

    fn model(&self, progress: &dyn Fn(&str)) -> Result<PathBuf, LoadError> {
        if let Some(folder) = self.cached_folder().filter(|folder| is_complete(folder)) {
            return Ok(folder);
        }
        progress(&format!("hf:{}: asking the hub for its files", self.repo));
        let info = self.info()?;
        // One commit for all files, even if the branch moves meanwhile.
        let api = self.api(&info.sha)?;
        let names: Vec<&str> = info.siblings.iter().map(|file| file.rfilename.as_str()).collect();
        let get = |file: &str| self.get(&api, &info.sha, file, progress);
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
        self.remember(&info.sha)?;
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
        LoadError::Network {
            asked: format!("hf:{}@{} ({what})", self.repo, self.revision),
            message: error.to_string(),
            advice: self.advice(error),
        }
    }

    fn advice(&self, error: &ApiError) -> String {
        if matches!(error, ApiError::LockAcquisition(_)) {
            return "another process is downloading it: wait until it has ended and try again; if \
                    there is none, set HF_HOME to a folder on a file system that has locks"
                .to_owned();
        }
        let advice = match status(error) {
            Some(401 | 403) => {
                "set HF_TOKEN to a token that may read it, and accept the model's terms on its page"
            }
            Some(404) => return self.advice_if_absent(),
            _ => {
                "check the network; without one, copy the model into the hub's cache (HF_HOME) or \
                 give its folder's path instead of hf:"
            }
        };
        advice.to_owned()
    }

    fn advice_if_absent(&self) -> String {
        let advice = "check the name, the revision and the file; a model without safetensors must \
                      be converted, a .gguf file is asked for as hf:ORG/REPO/FILE.gguf";
        match self.cached_folder() {
            Some(folder) => format!(
                "{advice}; the cache has an earlier copy and only that commit was asked: for a \
                 newer one name its @REVISION, or delete {}",
                folder.display()
            ),
            None => advice.to_owned(),
        }
    }
}

/// The status with which the hub refused.
fn status(error: &ApiError) -> Option<u16> {
    match error {
        // The client's error type has no name here; these are all its words for a status.
        ApiError::RequestError(error) => {
            error.to_string().strip_prefix("http status: ")?.parse().ok()
        }
        ApiError::TooManyRetries(error) => status(error),
        _ => None,
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

    /// A hub that answers every request with this status; and the client that asks it.
    fn hub_that_says(status: &str, cache: &Path) -> ApiRepo {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut request = [0; 4096];
                let _ = std::io::Read::read(&mut stream, &mut request);
                let _ = std::io::Write::write_all(&mut stream, answer.as_bytes());
            }
        });
        let api = ApiBuilder::from_cache(Cache::new(cache.to_owned())).with_endpoint(endpoint);
        api.with_progress(false).build().unwrap().model("org/repo".to_owned())
    }

    #[test]
    fn a_cached_file_is_not_asked_for_and_a_refusal_is_known_by_its_status() {
        let (root, folder) = cache_with(&[("config.json", "{}")]);
        let hub = hub(root.path(), "main");
        for (says, advice) in [
            ("401 Unauthorized", "set HF_TOKEN"),
            ("403 Forbidden", "set HF_TOKEN"),
            ("404 Not Found", "name its @REVISION"),
            ("500 Internal Server Error", "check the network"),
        ] {
            let api = hub_that_says(says, root.path());
            let cached = hub.get(&api, COMMIT, "config.json", &|_| ()).unwrap();
            assert_eq!(cached, folder.join("config.json"));
            // The name must not be taken for a status.
            let error = hub.get(&api, COMMIT, "404-403.gguf", &|_| ()).unwrap_err().to_string();
            assert!(error.contains(advice), "{says}: {error}");
        }
        let again = ApiError::TooManyRetries(Box::new(ApiError::InvalidResume));
        assert_eq!(status(&again), None);
    }

    #[test]
    fn a_held_lock_is_not_blamed_on_the_network() {
        let root = tempfile::tempdir().unwrap();
        let error = ApiError::LockAcquisition(PathBuf::from("blobs/404.lock"));
        let error = hub(root.path(), "main").error("a.gguf", &error).to_string();
        assert!(error.contains("another process is downloading it: wait"), "{error}");
        assert!(!error.contains("network") && !error.contains("check"), "{error}");
    }

    #[test]
    fn what_is_missing_comes_from_the_cached_commit() {
        let (root, _folder) = cache_with(&[("config.json", "{}")]);
        assert_eq!(hub(root.path(), "main").cached_commit().as_deref(), Some(COMMIT));
        assert_eq!(hub(root.path(), "other").cached_commit(), None);
        fs::write(root.path().join("models--org--repo/refs/main"), "").unwrap();
        assert_eq!(hub(root.path(), "main").cached_commit(), None, "a ref that was cut");
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
