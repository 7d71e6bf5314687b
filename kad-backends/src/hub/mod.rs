//! Models and datasets of the Hugging Face hub, through the hub's own cache.

mod dataset;

use std::path::{Path, PathBuf};

use hf_hub::api::sync::{ApiBuilder, ApiError, ApiRepo};
use hf_hub::api::{Progress, RepoInfo};
use hf_hub::{Cache, Repo, RepoType};

use crate::dtype::Dtype;
use crate::error::LoadError;
use crate::{onnx, safetensors};

pub use dataset::dataset;

/// Fetched if the repository has them.
const OPTIONAL: [&str; 3] =
    ["tokenizer_config.json", "generation_config.json", "chat_template.jinja"];
/// Fetched always.
const REQUIRED: [&str; 2] = ["config.json", "tokenizer.json"];

/// The branch that is meant where none is named.
const MAIN: &str = "main";

/// How often a file that another process downloads is asked for; the client waits five seconds
/// each time: an hour. A process that dies gives up its lock.
const LOCK_ATTEMPTS: usize = 720;

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
    let hub = Hub::new(repo, RepoType::Model, revision.unwrap_or(MAIN))?;
    match file {
        Some(file) => hub.file(file, progress),
        None => hub.model(progress),
    }
}

/// [`fetch`] of an ONNX graph with the configuration, the tokenizer and the weights that it keeps
/// in files of their own: the named one, or that of this dtype. No safetensors are fetched.
pub(crate) fn fetch_graph(
    repo: &str,
    revision: Option<&str>,
    (file, dtype): (Option<&str>, Dtype),
    progress: &dyn Fn(&str),
) -> Result<PathBuf, LoadError> {
    onnx::places(dtype)?;
    let hub = Hub::new(repo, RepoType::Model, revision.unwrap_or(MAIN))?;
    match file {
        Some(file) => {
            onnx::check_named(Path::new(file), dtype)?;
            hub.graph(&|_| Ok(Ok(file.to_owned())), progress)
        }
        None => hub.graph(&|files| onnx::choose(files, dtype), progress),
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
    kind: RepoType,
    revision: &'a str,
    cache: Cache,
    /// Instead of the one that the environment names; for tests.
    endpoint: Option<String>,
}

/// Of a repository's files, its graph; or the words for what graphs it has.
type Choice<'a> = &'a dyn Fn(&[&str]) -> Result<Result<String, String>, LoadError>;

impl<'a> Hub<'a> {
    fn new(repo: &'a str, kind: RepoType, revision: &'a str) -> Result<Self, LoadError> {
        Ok(Self { repo, kind, revision, cache: cache()?, endpoint: None })
    }

    /// As users write it.
    fn name(&self) -> String {
        let kind = if self.is_dataset() { "datasets/" } else { "" };
        format!("hf:{kind}{}@{}", self.repo, self.revision)
    }

    fn is_dataset(&self) -> bool {
        matches!(self.kind, RepoType::Dataset)
    }

    fn repo_at(&self, revision: &str) -> Repo {
        Repo::with_revision(self.repo.to_owned(), self.kind, revision.to_owned())
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

    /// A graph, with all that belongs to it in the same folder or above. The graph itself says
    /// which other files hold its weights.
    fn graph(&self, choose: Choice<'_>, progress: &dyn Fn(&str)) -> Result<PathBuf, LoadError> {
        let cached = self.cached_folder();
        if let Some(graph) = cached.and_then(|folder| complete_graph(&folder, choose)) {
            return Ok(graph);
        }
        progress(&format!("hf:{}: asking the hub for its files", self.repo));
        let info = self.info()?;
        let api = self.api(&info.sha)?;
        let names: Vec<&str> = info.siblings.iter().map(|file| file.rfilename.as_str()).collect();
        let graph = choose(&names)?.map_err(|others| self.no_graph(&others))?;
        let missing = |file: &&str| !names.contains(file);
        if let Some(file) = REQUIRED.iter().chain(&[graph.as_str()]).find(|file| missing(file)) {
            return Err(self.lacks(file, &names));
        }
        let get = |file: &str| self.get(&api, &info.sha, file, progress);
        for file in OPTIONAL.iter().filter(|file| names.contains(file)).chain(&REQUIRED) {
            get(file)?;
        }
        let path = get(&graph)?;
        for file in onnx::read(&path)?.files {
            let file = beside(&graph, &file);
            if missing(&file.as_str()) {
                return Err(self.lacks(&file, &names));
            }
            get(&file)?;
        }
        self.remember(&info.sha)?;
        Ok(path)
    }

    fn no_graph(&self, others: &str) -> LoadError {
        let advice = match others.is_empty() {
            true => {
                "the repository has no .onnx file; run its safetensors on another backend, or \
                     export its folder with scripts/export_onnx.py"
            }
            false => others,
        };
        self.not_found("an ONNX graph", advice.to_owned())
    }

    /// That a file is not among these.
    fn lacks(&self, file: &str, names: &[&str]) -> LoadError {
        let related = |name: &&&str| name.contains(".onnx") || name.ends_with(".json");
        let related: Vec<&str> = names.iter().filter(related).copied().collect();
        let advice = match related.is_empty() {
            true => "the repository has neither graphs nor a configuration".to_owned(),
            false => format!("the repository has {}", related.join(", ")),
        };
        self.not_found(file, advice)
    }

    fn not_found(&self, what: &str, advice: String) -> LoadError {
        let path = PathBuf::from(self.name());
        LoadError::NotFound { what: what.to_owned(), path, advice }
    }

    fn api(&self, revision: &str) -> Result<ApiRepo, LoadError> {
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

    fn error(&self, what: &str, error: &ApiError) -> LoadError {
        LoadError::Network {
            asked: format!("{} ({what})", self.name()),
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
                "set HF_TOKEN to a token that may read it, and accept the terms on its page"
            }
            Some(404) => return self.advice_if_absent(),
            _ if self.is_dataset() => {
                "check the network; without one, copy the dataset into the hub's cache (HF_HOME)"
            }
            _ => {
                "check the network; without one, copy the model into the hub's cache (HF_HOME) or \
                 give its folder's path instead of hf:"
            }
        };
        advice.to_owned()
    }

    fn advice_if_absent(&self) -> String {
        let advice = match self.is_dataset() {
            true => "the hub has no such dataset any more, or not that file",
            false => {
                "check the name, the revision and the file; a model without safetensors must be \
                 converted, or run with backend = \"ort\" if it has ONNX graphs; a .gguf file is \
                 asked for as hf:ORG/REPO/FILE.gguf"
            }
        };
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

/// The graph that would be chosen, if a folder has it with all that belongs to it. One that was
/// chosen for want of others is not taken: the hub may have others.
fn complete_graph(folder: &Path, choose: Choice<'_>) -> Option<PathBuf> {
    let files = onnx::graphs_below(folder).ok()?;
    let mut files: Vec<&str> = files.iter().map(String::as_str).collect();
    files.push("another.onnx");
    let graph = choose(&files).ok()?.ok()?;
    let there = |file: &str| folder.join(file).is_file();
    let path = folder.join(&graph);
    let complete = there(&graph)
        && REQUIRED.iter().all(|file| there(file))
        && onnx::read(&path).ok()?.files.iter().all(|file| there(&beside(&graph, file)));
    complete.then_some(path)
}

/// The path of a file that `graph` calls `file`.
fn beside(graph: &str, file: &str) -> String {
    graph.rsplit_once('/').map_or(file.to_owned(), |(folder, _)| format!("{folder}/{file}"))
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

    pub(super) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

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
        let cache = Cache::new(root.to_owned());
        Hub { repo: "org/repo", kind: RepoType::Model, revision, cache, endpoint: None }
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

    /// A hub with one repository, and its address. Each file it hands out is told to `asked`.
    pub(super) fn hub_with(
        files: &[(&'static str, Vec<u8>)],
        asked: std::sync::mpsc::Sender<String>,
    ) -> String {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let files: Vec<(&str, Vec<u8>)> = files.to_vec();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut request = vec![0; 8192];
                let len = std::io::Read::read(&mut stream, &mut request).unwrap_or(0);
                let request = String::from_utf8_lossy(&request[..len]).to_lowercase();
                let (path, whole) =
                    (request.split(' ').nth(1).unwrap(), !request.contains("bytes=0-0"));
                let answer = answer_of(path, whole, &files);
                if let Some((_, file)) = path.split_once(&format!("{COMMIT}/")).filter(|_| whole) {
                    asked.send(file.to_owned()).unwrap();
                }
                let _ = std::io::Write::write_all(&mut stream, &answer);
            }
        });
        endpoint
    }

    fn answer_of(path: &str, whole: bool, files: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let file = files.iter().find(|(name, _)| path.ends_with(&format!("{COMMIT}/{name}")));
        let (status, headers, body) = match file {
            None if path.contains("/api/") => {
                let siblings: Vec<_> = files
                    .iter()
                    .map(|(name, _)| serde_json::json!({ "rfilename": name }))
                    .collect();
                let info = serde_json::json!({ "sha": COMMIT, "siblings": siblings });
                ("200 OK", String::new(), info.to_string().into_bytes())
            }
            None => ("404 Not Found", String::new(), Vec::new()),
            Some((name, content)) => {
                let body = if whole { content.clone() } else { content[..1].to_vec() };
                let (end, len, etag) = (body.len() - 1, content.len(), name.replace('/', "-"));
                let headers = format!(
                    "x-repo-commit: {COMMIT}\r\netag: {etag}\r\ncontent-range: bytes 0-{end}/{len}\r\n"
                );
                ("206 Partial Content", headers, body)
            }
        };
        let len = body.len();
        let head = format!("HTTP/1.1 {status}\r\n{headers}content-length: {len}\r\n");
        [format!("{head}connection: close\r\n\r\n").as_bytes(), &body].concat()
    }

    /// A graph whose weights are in these files beside it.
    fn graph(files: &[&str]) -> Vec<u8> {
        let field =
            |field: u8, content: &[u8]| [&[field << 3 | 2, content.len() as u8], content].concat();
        let tensor = |file: &&str| {
            let place = [field(1, b"location"), field(2, file.as_bytes())].concat();
            field(5, &field(13, &place))
        };
        field(7, &files.iter().flat_map(tensor).collect::<Vec<_>>())
    }

    #[test]
    fn a_graph_is_fetched_by_dtype_with_all_that_belongs_to_it() {
        let there = || b"{}".to_vec();
        let files = [
            ("config.json", there()),
            ("tokenizer.json", there()),
            ("tokenizer_config.json", there()),
            ("model.safetensors", there()),
            ("onnx/model.onnx", graph(&["model.onnx_data", "model.onnx_data_1"])),
            ("onnx/model.onnx_data", there()),
            ("onnx/model.onnx_data_1", there()),
            ("onnx/model_fp16.onnx", graph(&["absent"])),
            ("onnx/model_quantized.onnx", graph(&[])),
            ("onnx/model_q4.onnx", graph(&[])),
        ];
        let (root, (asked, fetched)) = (tempfile::tempdir().unwrap(), std::sync::mpsc::channel());
        let endpoint = Some(hub_with(&files, asked));
        let hub = || Hub { endpoint: endpoint.clone(), ..hub(root.path(), "main") };
        let get = |dtype| hub().graph(&|files| onnx::choose(files, dtype), &|_| ());
        let shared = ["tokenizer_config.json", "config.json", "tokenizer.json"];
        for (dtype, graph, more) in [
            (Dtype::Int8, "onnx/model_quantized.onnx", &shared[..]),
            (Dtype::Q4, "onnx/model_q4.onnx", &[]),
            (Dtype::Auto, "onnx/model.onnx", &["onnx/model.onnx_data", "onnx/model.onnx_data_1"]),
        ] {
            let path = get(dtype).unwrap();
            assert!(path.ends_with(Path::new(COMMIT).join(graph)), "{}", path.display());
            let mut found: Vec<String> = fetched.try_iter().collect();
            found.sort();
            let mut expected: Vec<&str> = more.iter().copied().chain([graph]).collect();
            expected.sort();
            assert_eq!(found, expected, "{dtype}");
            // The second time nothing is asked for.
            let offline = Hub { endpoint: Some("http://127.0.0.1:1".to_owned()), ..hub() };
            let again = offline.graph(&|files| onnx::choose(files, dtype), &|_| ()).unwrap();
            assert_eq!(again, path);
        }
        let named = |file: &'static str| hub().graph(&|_| Ok(Ok(file.to_owned())), &|_| ());
        assert!(named("onnx/model_q4.onnx").unwrap().ends_with("onnx/model_q4.onnx"));
        for (refused, what) in [
            (get(Dtype::Q8), "no model_q8.onnx or onnx/model_q8.onnx, but onnx/model.onnx, "),
            (get(Dtype::F16), "onnx/absent not found at hf:org/repo@main: the repository has "),
            (named("onnx/model_q2.onnx"), "onnx/model_q2.onnx not found at hf:org/repo@main"),
        ] {
            let error = refused.unwrap_err().to_string();
            assert!(error.contains(what) && error.contains("onnx/model_q4.onnx"), "{error}");
        }
        assert!(get(Dtype::BF16).unwrap_err().to_string().contains("bf16 with the ort backend"));
    }

    #[test]
    fn a_repository_without_graphs_says_so() {
        for (files, what) in [
            (&["config.json", "tokenizer.json", "model.safetensors"][..], "has no .onnx file"),
            (&["config.json", "model.onnx"], "has config.json, model.onnx"),
        ] {
            let files: Vec<(&str, Vec<u8>)> =
                files.iter().map(|&name| (name, graph(&[]))).collect();
            let root = tempfile::tempdir().unwrap();
            let endpoint = Some(hub_with(&files, std::sync::mpsc::channel().0));
            let hub = Hub { endpoint, ..hub(root.path(), "main") };
            let found = hub.graph(&|files| onnx::choose(files, Dtype::Auto), &|_| ());
            let error = found.unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
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
