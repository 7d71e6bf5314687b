//! Models of the hub, from its cache and from a local server of one repository.

use std::fs;
use std::path::{Path, PathBuf};

use hf_hub::api::sync::{ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, RepoType};

use super::errors::status;
use super::model::is_complete;
use super::repository::Repository;
use crate::dtype::Dtype;
use crate::files::onnx;

pub(super) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A hub cache with these files.
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

fn hub<'a>(root: &Path, revision: &'a str) -> Repository<'a> {
    let cache = Cache::new(root.to_owned());
    Repository { repo: "org/repo", kind: RepoType::Model, revision, cache, endpoint: None }
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

/// A client of a hub that answers every request with this status.
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

/// Starts a hub with one repository; returns its address. Requested files are sent to `asked`.
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
            let siblings: Vec<_> =
                files.iter().map(|(name, _)| serde_json::json!({ "rfilename": name })).collect();
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

/// An ONNX graph with these weight files.
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
fn a_graph_is_fetched_by_dtype_with_all_of_its_files() {
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
    let hub = || Repository { endpoint: endpoint.clone(), ..hub(root.path(), "main") };
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
        // The second time there is no request.
        let offline = Repository { endpoint: Some("http://127.0.0.1:1".to_owned()), ..hub() };
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
fn the_error_for_a_repository_without_graphs_lists_its_files() {
    for (files, what) in [
        (&["config.json", "tokenizer.json", "model.safetensors"][..], "has no .onnx file"),
        (&["config.json", "model.onnx"], "has config.json, model.onnx"),
    ] {
        let files: Vec<(&str, Vec<u8>)> = files.iter().map(|&name| (name, graph(&[]))).collect();
        let root = tempfile::tempdir().unwrap();
        let endpoint = Some(hub_with(&files, std::sync::mpsc::channel().0));
        let hub = Repository { endpoint, ..hub(root.path(), "main") };
        let found = hub.graph(&|files| onnx::choose(files, Dtype::Auto), &|_| ());
        let error = found.unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    }
}

#[test]
fn a_cached_file_is_not_requested_and_a_refusal_has_advice_by_status() {
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
        // The digits of the name are no status.
        let error = hub.get(&api, COMMIT, "404-403.gguf", &|_| ()).unwrap_err().to_string();
        assert!(error.contains(advice), "{says}: {error}");
    }
    let again = ApiError::TooManyRetries(Box::new(ApiError::InvalidResume));
    assert_eq!(status(&again), None);
}

#[test]
fn the_error_for_a_lock_does_not_mention_the_network() {
    let root = tempfile::tempdir().unwrap();
    let error = ApiError::LockAcquisition(PathBuf::from("blobs/404.lock"));
    let error = hub(root.path(), "main").error("a.gguf", &error).to_string();
    assert!(error.contains("another process is downloading it: wait"), "{error}");
    assert!(!error.contains("network") && !error.contains("check"), "{error}");
}

#[test]
fn missing_files_come_from_the_cached_commit() {
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
