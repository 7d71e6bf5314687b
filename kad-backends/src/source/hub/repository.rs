//! One revision of one repository: its files in the cache, and those still to fetch.

use std::path::PathBuf;

use hf_hub::api::RepoInfo;
use hf_hub::api::sync::{ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, Repo, RepoType};

use super::download::download;
use crate::error::LoadError;

/// How often a file that another process downloads is asked for; the client waits five seconds
/// each time: an hour. A process that dies gives up its lock.
const LOCK_ATTEMPTS: usize = 720;

/// The branch that is meant where none is named.
pub(super) const MAIN: &str = "main";

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

pub(super) struct Hub<'a> {
    pub(super) repo: &'a str,
    pub(super) kind: RepoType,
    pub(super) revision: &'a str,
    pub(super) cache: Cache,
    /// Instead of the one that the environment names; for tests.
    pub(super) endpoint: Option<String>,
}

impl<'a> Hub<'a> {
    pub(super) fn new(repo: &'a str, kind: RepoType, revision: &'a str) -> Result<Self, LoadError> {
        Ok(Self { repo, kind, revision, cache: cache()?, endpoint: None })
    }

    /// As users write it.
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

    /// Where the revision's files lie if any is cached; a commit needs no entry among the branches.
    pub(super) fn cached_folder(&self) -> Option<PathBuf> {
        let repo = self.cache.repo(self.repo_at(self.revision));
        let branch = self.cache.path().join(self.repo_at(self.revision).folder_name());
        let commit = std::fs::read_to_string(branch.join("refs").join(self.revision));
        let commit = commit.as_deref().unwrap_or(self.revision).trim();
        // An empty name would be the folder of all snapshots.
        let folder = (!commit.is_empty()).then(|| repo.pointer_path(commit))?;
        folder.is_dir().then_some(folder)
    }

    /// The commit of which the cache has something.
    pub(super) fn cached_commit(&self) -> Option<String> {
        Some(self.cached_folder()?.file_name()?.to_str()?.to_owned())
    }

    /// The commit to fetch from, and its files: the cached one, or else the revision's newest.
    pub(super) fn info(&self) -> Result<RepoInfo, LoadError> {
        let commit = self.cached_commit();
        let api = self.api(commit.as_deref().unwrap_or(self.revision))?;
        api.info().map_err(|error| self.error("its list of files", &error))
    }

    /// From now on the revision means this commit here.
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

    /// One file of a commit, from the cache or from the hub.
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
