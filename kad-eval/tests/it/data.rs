//! Data from the hub, against a local hub with the tables of `tests/tables`.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::kad::{Lab, SMALL, command};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// Set, repository and folder on the hub of each set of `tests/tables/tables`, from their pages.
const PLACES: [(&str, &str, &str); 7] = [
    ("gsm8k", "openai/gsm8k", "main/"),
    ("svamp", "ChilleD/SVAMP", "data/"),
    ("arc_challenge", "allenai/ai2_arc", "ARC-Challenge/"),
    ("truthfulqa", "truthfulqa/truthful_qa", "multiple_choice/"),
    ("mmlu", "cais/mmlu", "all/"),
    ("mt_bench", "HuggingFaceH4/mt_bench_prompts", "data/"),
    ("humaneval", "openai/openai_humaneval", "openai_humaneval/"),
];

/// The split of worked examples, in the sets that have one. ARC's is a copy of `ARC_PART` here.
const EXAMPLES: &str = "train-00000-of-00001.parquet";
const ARC_PART: &str = "test-00001-of-00002-0123456789abcdef.parquet";

fn tables(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tables").join(kind)
}

/// A local hub: its address and the requested paths.
struct Hub {
    endpoint: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Hub {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                answer(stream, &log);
            }
        });
        Self { endpoint, asked }
    }

    /// The tables downloaded since the last call.
    fn downloaded(&self) -> BTreeSet<String> {
        let asked = std::mem::take(&mut *self.asked.lock().unwrap());
        let files = asked.iter().filter_map(|path| path.split_once(&format!("/resolve/{COMMIT}/")));
        files.map(|(_, file)| file.to_owned()).collect()
    }

    fn kad(&self, home: &Path, args: &[&str]) -> std::process::Output {
        let mut command = command();
        for name in ["HF_TOKEN", "HF_HUB_OFFLINE", "HF_HUB_CACHE"] {
            command.env_remove(name);
        }
        command.env("HF_HOME", home).env("HF_ENDPOINT", &self.endpoint).args(args);
        command.output().unwrap()
    }
}

/// Lists of files and their contents, as the hub's interface gives them.
fn answer(mut stream: TcpStream, log: &Mutex<Vec<String>>) {
    let mut request = vec![0; 8192];
    let len = stream.read(&mut request).unwrap_or(0);
    let request = String::from_utf8_lossy(&request[..len]).into_owned();
    let path = request.split(' ').nth(1).unwrap_or("").to_owned();
    let (status, headers, body) = respond(&path, request.to_lowercase().contains("bytes=0-0"));
    log.lock().unwrap().push(path);
    let head = format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n", body.len());
    let _ = stream.write_all(format!("{head}connection: close\r\n\r\n").as_bytes());
    let _ = stream.write_all(&body);
}

fn respond(path: &str, first_byte: bool) -> (&'static str, String, Vec<u8>) {
    let nothing = || ("404 Not Found", String::new(), Vec::new());
    let Some((set, repo, folder)) = PLACES.iter().find(|(_, repo, _)| path.contains(repo)) else {
        return nothing();
    };
    let own = tables("tables").join(set);
    if path.starts_with(&format!("/api/datasets/{repo}/revision/")) {
        let names = fs::read_dir(&own).unwrap().map(|entry| entry.unwrap().file_name());
        let file = |name: String| serde_json::json!({ "rfilename": format!("{folder}{name}") });
        let mut files: Vec<_> = names.map(|name| file(name.into_string().unwrap())).collect();
        if *set == "arc_challenge" {
            files.push(file(EXAMPLES.to_owned()));
        }
        let info = serde_json::json!({ "sha": COMMIT, "siblings": files });
        return ("200 OK", String::new(), info.to_string().into_bytes());
    }
    let prefix = format!("/datasets/{repo}/resolve/{COMMIT}/{folder}");
    let read = |name| match name {
        EXAMPLES => fs::read(own.join(ARC_PART)).or_else(|_| fs::read(own.join(EXAMPLES))),
        name => fs::read(own.join(name)),
    };
    let Some(Ok(content)) = path.strip_prefix(&prefix).map(read) else {
        return nothing();
    };
    let len = content.len();
    let body = if first_byte { content[..1].to_vec() } else { content };
    let (end, etag) = (body.len() - 1, path.replace('/', "-"));
    let headers = format!(
        "x-repo-commit: {COMMIT}\r\netag: {etag}\r\ncontent-range: bytes 0-{end}/{len}\r\n"
    );
    ("206 Partial Content", headers, body)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn every_set_of_the_hub_equals_its_file() {
    let (hub, home) = (Hub::start(), tempfile::tempdir().unwrap());
    let lines = tables("lines").display().to_string();
    for (set, _, folder) in PLACES {
        let shown = |data: &str| {
            let output = hub.kad(home.path(), &["tasks", "show", set, "--data", data]);
            assert!(output.status.success(), "{set}: {}", text(&output.stderr));
            (text(&output.stdout), text(&output.stderr))
        };
        let (from_hub, notes) = shown("hf:");
        assert_eq!(from_hub, shown(&lines).0, "{set}");
        assert!(notes.contains("asking the hub for its files"), "{notes}");
        let files = hub.downloaded();
        assert!(
            !files.is_empty() && files.iter().all(|file| file.starts_with(folder)),
            "{files:?}"
        );
        // The second time nothing is requested.
        assert_eq!(shown("hf:"), (from_hub, String::new()), "{set}");
        assert!(hub.asked.lock().unwrap().is_empty(), "{set}");
    }
}

#[test]
fn a_run_from_the_hub_has_the_id_of_a_run_from_files() {
    let (hub, home) = (Hub::start(), tempfile::tempdir().unwrap());
    let lab = Lab::new(&SMALL.replace("kind = \"nano\"\nitems = 6", "kind = \"gsm8k\"\nitems = 2"));
    let run = |data: &str| {
        let args = [&lab.args()[..], &["--data", data]].concat();
        let output = hub.kad(home.path(), &args);
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stderr)
    };
    run("hf:");
    assert!(run(&tables("lines").display().to_string()).contains("already complete"));
    lab.results();
}

#[test]
fn a_silent_hub_and_a_missing_set_are_errors_with_a_remedy() {
    let home = tempfile::tempdir().unwrap();
    let nobody = Hub { endpoint: "http://127.0.0.1:1".to_owned(), asked: Arc::default() };
    let output = nobody.kad(home.path(), &["tasks", "show", "gsm8k", "--data", "hf:"]);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    for word in [
        "cannot get gsm8k from the hub",
        "hf:datasets/openai/gsm8k@main",
        "docs/TASKS.md",
        "HF_HOME",
    ] {
        assert!(stderr.contains(word), "{word}: {stderr}");
    }
    // The local hub has no table of this set.
    let hub = Hub::start();
    let output = hub.kad(home.path(), &["tasks", "show", "commonsense_qa", "--data", "hf:"]);
    let stderr = text(&output.stderr);
    assert!(!output.status.success() && stderr.contains("the hub has no such dataset"), "{stderr}");
}
