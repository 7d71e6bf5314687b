//! A revision of a repository: cached files, requests and downloads.

use std::path::PathBuf;

use hf_hub::api::RepoInfo;
use hf_hub::api::sync::{ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, Repo, RepoType};

use super::download::download;
use crate::error::LoadError;

/// Attempts for a file locked by another process. The client waits five seconds per attempt, one
/// hour in all. The lock of a dead process is released.
const LOCK_ATTEMPTS: usize = 720;

/// Default branch.
pub(super) const MAIN: &str = "main";

/// The hub's cache, in `HF_HOME` or the user's home folder.
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

/// A revision of a model or dataset repository of the hub.
pub(super) struct Repository<'a> {
    pub(super) repo: &'a str,
    pub(super) kind: RepoType,
    pub(super) revision: &'a str,
    pub(super) cache: Cache,
    /// Address of the hub in tests; `None` for the one of the environment.
    pub(super) endpoint: Option<String>,
}

impl<'a> Repository<'a> {
    pub(super) fn new(repo: &'a str, kind: RepoType, revision: &'a str) -> Result<Self, LoadError> {
        Ok(Self { repo, kind, revision, cache: cache()?, endpoint: None })
    }

    /// The source as users write it.
    pub(super) fn name(&self) -> String {
        let kind = if self.is_dataset() { "datasets/" } else { "" };
        format!("hf:{kind}{}@{}", self.repo, self.revision)
    }

    pub(super) fn is_dataset(&self) -> bool {
        matches!(self.kind, RepoType::Dataset)
    }

    pub(super) fn repo_at(&self, revision: &str) -> Repo {
        Repo::with_revision(self.repo.to_owned(), self.kind, revision.to_owned())
    }

    /// Cache folder of the revision, if any file is cached. A commit needs no reference.
    pub(super) fn cached_folder(&self) -> Option<PathBuf> {
        let repo = self.cache.repo(self.repo_at(self.revision));
        let branch = self.cache.path().join(self.repo_at(self.revision).folder_name());
        let commit = std::fs::read_to_string(branch.join("refs").join(self.revision));
        let commit = commit.as_deref().unwrap_or(self.revision).trim();
        // An empty name would mean the folder of all snapshots.
        let folder = (!commit.is_empty()).then(|| repo.pointer_path(commit))?;
        folder.is_dir().then_some(folder)
    }

    /// The cached commit of the revision.
    pub(super) fn cached_commit(&self) -> Option<String> {
        Some(self.cached_folder()?.file_name()?.to_str()?.to_owned())
    }

    /// Commit and file list: of the cached commit, else of the newest commit of the revision.
    pub(super) fn info(&self) -> Result<RepoInfo, LoadError> {
        let commit = self.cached_commit();
        let api = self.api(commit.as_deref().unwrap_or(self.revision))?;
        api.info().map_err(|error| self.error("its list of files", &error))
    }

    /// Stores the commit as the cached commit of the revision.
    pub(super) fn remember(&self, commit: &str) -> Result<(), LoadError> {
        if self.cached_commit().as_deref() == Some(commit) {
            return Ok(());
        }
        let made = self.cache.repo(self.repo_at(self.revision)).create_ref(commit);
        made.map_err(LoadError::io(self.cache.path()))
    }

    pub(super) fn file(&self, file: &str, progress: &dyn Fn(&str)) -> Result<PathBuf, LoadError> {
        let cached = self.cached_folder().map(|folder| folder.join(file));
        if let Some(path) = cached.filter(|path| path.is_file()) {
            return Ok(path);
        }
        let commit = match self.cached_commit() {
            Some(commit) => commit,
            None => self.info()?.sha,
        };
        let path = self.get(&self.api(&commit)?, &commit, file, progress)?;
        self.remember(&commit)?;
        Ok(path)
    }

    /// One file of a commit from the cache or the hub.
    pub(super) fn get(
        &self,
        api: &ApiRepo,
        commit: &str,
        file: &str,
        progress: &dyn Fn(&str),
    ) -> Result<PathBuf, LoadError> {
        let cached = self.cache.repo(self.repo_at(commit)).pointer_path(commit).join(file);
        let mut attempt = 1;
        loop {
            // Checked in every attempt: the other process may have finished its download.
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

    pub(super) fn not_found(&self, what: &str, advice: String) -> LoadError {
        let path = PathBuf::from(self.name());
        LoadError::NotFound { what: what.to_owned(), path, advice }
    }

    pub(super) fn api(&self, revision: &str) -> Result<ApiRepo, LoadError> {
        if std::env::var("HF_HUB_OFFLINE").is_ok_and(|value| value != "0" && !value.is_empty()) {
            return Err(LoadError::Network {
                asked: self.name(),
                message: "it is not in the cache, and HF_HUB_OFFLINE is set".to_owned(),
                advice: "unset HF_HUB_OFFLINE to fetch it".to_owned(),
            });
        }
        let mut builder = ApiBuilder::from_env().with_progress(false).with_retries(2);
        if let Some(endpoint) = &self.endpoint {
            builder = ApiBuilder::from_cache(self.cache.clone()).with_endpoint(endpoint.clone());
        }
        if let Ok(token) = std::env::var("HF_TOKEN") {
            builder = builder.with_token(Some(token.trim().to_owned()).filter(|t| !t.is_empty()));
        }
        let api = builder.build().map_err(|error| self.error("a connection", &error))?;
        Ok(api.repo(self.repo_at(revision)))
    }
}
