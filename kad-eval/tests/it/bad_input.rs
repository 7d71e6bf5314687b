//! Bad input: message and exit code of each kind.

use std::fs;
use std::path::{Path, PathBuf};

use crate::kad::{Lab, Refusals, SMALL, kad, kad_with_input};

fn broken(from: &str, to: &str) -> Lab {
    Lab::changed(SMALL, from, to)
}

fn nano(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../experiments/nano/models").join(name)
}

/// A copy of a nano model whose files a test may spoil.
fn copy_of(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(nano(name)).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    folder
}

fn generate_with(folder: &Path, extra: &[&str]) -> crate::kad::Ran {
    kad(&[&["generate", "--model", folder.to_str().unwrap(), "--chat"], extra, &["Hi"]].concat())
}

#[test]
fn an_unknown_key_is_shown_with_the_nearest_valid_one() {
    let refusals = Refusals::new();
    let lab = broken("max_new_tokens", "max_new_token");
    lab.run(&[]).refused(2, &refusals);
    broken("threshold =", "treshold =").run(&[]).refused(2, &refusals);
    broken("seed =", "sed =").run(&[]).refused(2, &refusals);
    insta::assert_snapshot!(refusals);
}

#[test]
fn options_of_a_model_are_checked_in_the_file_and_by_the_backend() {
    let refusals = Refusals::new();
    let with = |line: &str| {
        let base = "source = \"nano:small-base\"";
        broken(base, &format!("{base}\n{line}"))
    };
    for line in [
        "device = \"gpu\"",
        "device = 0",
        "devise = \"cpu\"",
        "thread = 2",
        "threads = 0",
        "provider = \"cuda\"",
        "backend = \"naive\"\ndevice = \"cuda:99\"",
    ] {
        with(line).run(&[]).refused(2, &refusals);
    }
    let line = "backend = \"naive\"\nthreads = 2";
    with(line).run(&[]).refused(2, &refusals);
    with("device = \"cpu\"").run(&["--limit", "1"]).succeeds();
    kad(&[
        "score",
        "--model",
        "nano:small-base",
        "--text",
        "34",
        "--backend",
        "naive",
        "--device",
        "metal",
    ])
    .refused(2, &refusals);
    insta::assert_snapshot!(refusals);
}

#[test]
fn a_value_of_the_wrong_type_is_refused_with_both_types() {
    let refusals = Refusals::new();
    let lab = broken("temperature = 0.7", "temperature = \"warm\"");
    lab.run(&[]).refused(2, &refusals);
    broken("items = 6", "items = -6").run(&[]).refused(2, &refusals);
    broken("items = 6", "items = 0").run(&[]).refused(2, &refusals);
    insta::assert_snapshot!(refusals);
}

#[test]
fn unknown_names_are_shown_with_the_known_ones() {
    let refusals = Refusals::new();
    broken("\"kad-dual\"", "\"kad-daul\"").run(&[]).refused(2, &refusals);
    broken("model = \"aligned\"", "model = \"alined\"").run(&[]).refused(2, &refusals);
    broken("kind = \"nano\"", "kind = \"nanno\"").run(&[]).refused(2, &refusals);
    broken("nano:small-base", "nano:smal-base").run(&[]).refused(2, &refusals);
    insta::assert_snapshot!(refusals);
}

#[test]
fn broken_toml_is_shown_at_its_line() {
    let refusals = Refusals::new();
    broken("seed = 3", "seed = = 3").run(&[]).refused(2, &refusals);
    kad(&["run", "no-such-file.toml"]).refused(2, &refusals);
    insta::assert_snapshot!(refusals);
}

#[test]
fn missing_keys_are_named() {
    let refusals = Refusals::new();
    broken("name = \"small\"", "").run(&[]).refused(2, &refusals);
    broken("kind = \"single\"\n", "").run(&[]).refused(2, &refusals);
    broken(", threshold = [0.2, 0.5]", "").run(&[]).refused(2, &refusals);
    let (without, _) = SMALL.split_once("[[tasks]]").unwrap();
    Lab::new(without).run(&[]).about("without [[tasks]]").refused(2, &refusals);
    broken("[[tasks]]", "[tasks]").run(&[]).refused(2, &refusals);
    insta::assert_snapshot!(refusals);
}

#[test]
fn zero_jobs_zero_items_and_a_missing_file_argument_are_refused() {
    let refusals = Refusals::new();
    let lab = Lab::new(SMALL);
    lab.run(&["--jobs", "0"]).refused(2, &refusals);
    lab.run(&["--limit", "0"]).refused(2, &refusals);
    let bare = |data: &str| {
        let mut command = assert_cmd::Command::cargo_bin("kad").unwrap();
        command.arg("run").env("KAD_DATA", data).assert().code(2).get_output().stderr.clone()
    };
    for data in ["", "some-folder"] {
        let said = String::from_utf8(bare(data)).unwrap();
        assert!(said.contains("<FILE>") && !said.contains("--data"), "{said}");
    }
    let mut list = assert_cmd::Command::cargo_bin("kad").unwrap();
    let said = list.args(["tasks", "list"]).env("KAD_DATA", "").assert().success();
    let said = String::from_utf8(said.get_output().stderr.clone()).unwrap();
    assert!(said.contains("no data folder"), "an empty variable names no folder: {said}");
    insta::assert_snapshot!(refusals);
}

#[test]
fn numbers_out_of_range_are_refused_with_the_range() {
    let refusals = Refusals::new();
    for bad in ["-1", "nan", "inf"] {
        broken("temperature = 0.7", &format!("temperature = {bad}")).run(&[]).refused(2, &refusals);
    }
    broken("max_new_tokens = 40", "max_new_tokens = 0").run(&[]).refused(2, &refusals);
    broken("[0.2, 0.5]", "1.5").run(&[]).refused(2, &refusals);
    let generate = |flag, value| kad(&["generate", "--model", "nano:draft", flag, value, "Hi"]);
    generate("--temperature", "-1").refused(2, &refusals);
    generate("--temperature", "nan").refused(2, &refusals);
    generate("--max-new-tokens", "0").refused(2, &refusals);
    generate("--top-p", "0").refused(2, &refusals);
    insta::assert_snapshot!(refusals);
}

#[test]
fn a_missing_model_is_refused_with_the_place_searched() {
    let refusals = Refusals::new();
    let lab = broken("nano:small-base", "no/such/model");
    lab.run(&[]).refused(2, &refusals);
    kad(&["generate", "--model", "no/such/model", "Hi"]).refused(2, &refusals);
    kad(&["generate", "--model", "what:ever", "Hi"]).refused(2, &refusals);
    insta::assert_snapshot!(refusals);
}

#[test]
fn truncated_safetensors_are_refused() {
    let refusals = Refusals::new();
    let folder = copy_of("draft");
    let file = folder.path().join("model.safetensors");
    let bytes = fs::read(&file).unwrap();
    for len in [0, 4, 100, bytes.len() / 2, bytes.len() - 1] {
        fs::write(&file, &bytes[..len]).unwrap();
        generate_with(folder.path(), &[]).about(&format!("{len} bytes")).refused(1, &refusals);
    }
    insta::assert_snapshot!(refusals);
}

#[test]
fn corrupt_gguf_is_refused() {
    let refusals = Refusals::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.gguf");
    let headers: [&[u8]; 4] = [b"", b"GGUX", b"GGUF\x03\0\0\0", &[0xff; 64]];
    for bytes in headers {
        fs::write(&file, bytes).unwrap();
        generate_with(&file, &[]).about(&format!("{bytes:x?}")).refused(1, &refusals);
    }
    insta::assert_snapshot!(refusals);
}

#[test]
fn models_of_different_vocabularies_are_refused_with_both_named() {
    let refusals = Refusals::new();
    let folder = copy_of("small-aligned");
    let file = folder.path().join("tokenizer.json");
    let text = fs::read_to_string(&file).unwrap();
    // Two tokens change places: the same strings, other ids.
    let mut tokenizer: serde_json::Value = serde_json::from_str(&text).unwrap();
    let vocab = tokenizer["model"]["vocab"].as_object_mut().unwrap();
    let (a, b) = (vocab["a"].clone(), vocab["b"].clone());
    vocab.insert("a".to_owned(), b);
    vocab.insert("b".to_owned(), a);
    fs::write(&file, tokenizer.to_string()).unwrap();
    let aligned = folder.path().to_str().unwrap();
    broken("nano:small-aligned", aligned).run(&[]).refused(2, &refusals);
    insta::assert_snapshot!(refusals);
}

#[test]
fn an_empty_prompt_is_refused() {
    let refusals = Refusals::new();
    kad(&["generate", "--model", "nano:draft", ""]).refused(2, &refusals);
    kad_with_input(&["generate", "--model", "nano:draft"], "").refused(2, &refusals);
    kad_with_input(&["generate", "--model", "nano:draft", "--chat"], "").refused(2, &refusals);
    kad(&["score", "--model", "nano:draft", "--text", ""]).refused(2, &refusals);
    insta::assert_snapshot!(refusals);
}

#[test]
fn a_prompt_longer_than_the_context_is_refused() {
    let refusals = Refusals::new();
    let long = "one two three ".repeat(2000);
    kad(&["generate", "--model", "nano:draft", &long]).refused(2, &refusals);
    kad(&["score", "--model", "nano:draft", "--text", &long]).refused(2, &refusals);
    insta::assert_snapshot!(refusals);
}

#[test]
fn logits_with_nan_name_the_model_and_the_place() {
    let refusals = Refusals::new();
    let folder = copy_of("draft");
    let file = folder.path().join("model.safetensors");
    let mut bytes = fs::read(&file).unwrap();
    // The last tensor's numbers become f16 NaN (0x7e00).
    let len = bytes.len();
    bytes[len - 64..].chunks_exact_mut(2).for_each(|pair| pair.copy_from_slice(&[0, 0x7e]));
    fs::write(&file, bytes).unwrap();
    generate_with(folder.path(), &[]).refused(1, &refusals);
    insta::assert_snapshot!(refusals);
}

#[cfg(unix)]
#[test]
fn an_unwritable_output_folder_is_an_error() {
    let refusals = Refusals::new();
    let lab = Lab::new(SMALL);
    // Root may write anywhere, but a file cannot contain a folder.
    fs::write(lab.path().join("results"), "a file").unwrap();
    lab.run(&[]).refused(1, &refusals);
    insta::assert_snapshot!(refusals);
}

#[test]
fn missing_and_malformed_task_files_are_named_with_the_line() {
    let refusals = Refusals::new();
    let toml = SMALL.replace("kind = \"nano\"", "kind = \"gsm8k\"");
    let lab = Lab::new(&toml);
    lab.run(&[]).refused(2, &refusals);
    let data = lab.path().join("data");
    let data_arg = data.to_str().unwrap();
    lab.run(&["--data", data_arg]).refused(2, &refusals);
    fs::create_dir_all(data.join("gsm8k")).unwrap();
    let good = "{\"question\": \"1+1?\", \"answer\": \"two #### 2\"}\n";
    for line in ["{\"question\": 3}", "{\"question\": \"x\", \"answer\": \"no number\"}"] {
        fs::write(data.join("gsm8k/test.jsonl"), format!("{good}\n{line}\n")).unwrap();
        lab.run(&["--data", data_arg]).about(line).refused(1, &refusals);
    }
    fs::write(data.join("gsm8k/test.jsonl"), good).unwrap();
    lab.run(&["--data", data_arg]).refused(2, &refusals);
    insta::assert_snapshot!(refusals);
}

/// For every kind of entry.
#[test]
fn duplicate_names_are_shown_with_both_places() {
    let refusals = Refusals::new();
    let second =
        "[[decoders]]\nname = \"aligned alone\"\nkind = \"single\"\nmodel = \"base\"\n\n[[tasks]]";
    broken("[[tasks]]", second).run(&[]).refused(2, &refusals);
    // A member of a sweep has its name from the sweep.
    let member = "[[decoders]]\nname = \"KAD dual, threshold 0.5\"\nkind = \"single\"\nmodel = \"base\"\n\n[[tasks]]";
    broken("[[tasks]]", member).run(&[]).refused(2, &refusals);
    broken("[0.2, 0.5]", "[0.2, 0.20]").run(&[]).refused(2, &refusals);
    let lab = Lab::new(&format!("{SMALL}\n[[tasks]]\nkind = \"nano\"\n"));
    lab.run(&[]).about("kind = \"nano\" twice").refused(2, &refusals);
    let again = "[models.base]\nsource = \"nano:large-base\"\n\n[sampling]";
    broken("[sampling]", again).run(&[]).refused(2, &refusals);
    broken("max_new_tokens = 40", "max_new_tokens = 40\ntemperature = 1")
        .run(&[])
        .refused(2, &refusals);
    insta::assert_snapshot!(refusals);
}

#[test]
fn empty_sweeps_and_tasks_without_items_are_refused() {
    let refusals = Refusals::new();
    let deferral = "rule = { kind = \"kad-dual\", threshold = [0.2, 0.5] }";
    for (from, to) in [
        ("[0.2, 0.5]", "[]".to_owned()),
        (deferral, format!("{deferral}\nexecution = []")),
        (deferral, format!("{deferral}\nexecution = \"speculative\"\ndraft_length = []")),
        ("kind = \"nano\"", "kind = \"mmlu\"\nsubject = []".to_owned()),
    ] {
        broken(from, &to).run(&[]).refused(2, &refusals);
    }
    broken("items = 6", "items = 0").run(&["--dry-run"]).refused(2, &refusals);
    Lab::new(SMALL).run(&["--limit", "0"]).refused(2, &refusals);
    insta::assert_snapshot!(refusals);
}
