//! Every kind of bad input: the message says what to do, the exit code says whose fault it is.

use std::fs;
use std::path::{Path, PathBuf};

use crate::kad::{Lab, SMALL, kad, kad_with_input};

fn broken(from: &str, to: &str) -> Lab {
    assert!(SMALL.contains(from), "{from} is not in the small experiment");
    Lab::new(&SMALL.replace(from, to))
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
    let lab = broken("max_new_tokens", "max_new_token");
    lab.run(&[]).fails(
        2,
        &[
            "unknown key `max_new_token` in [sampling]",
            "experiment.toml:13:1",
            "^^^^",
            "did you mean `max_new_tokens`?",
        ],
    );
    broken("threshold =", "treshold =").run(&[]).fails(2, &["did you mean `threshold`?"]);
    broken("seed =", "sed =").run(&[]).fails(2, &["unknown key `sed`", "did you mean `seed`?"]);
}

#[test]
fn how_a_model_runs_is_checked_with_the_file_and_with_the_backend() {
    let with = |line: &str| {
        let base = "source = \"nano:small-base\"";
        broken(base, &format!("{base}\n{line}"))
    };
    for (line, expected) in [
        (
            "device = \"gpu\"",
            &["unknown device `gpu`; known: cpu, cuda, cuda:N, metal", ":7:10"][..],
        ),
        ("device = 0", &["`device` must be a string, but this is an integer"]),
        ("devise = \"cpu\"", &["unknown key `devise` in [models.base]", "did you mean `device`?"]),
        ("thread = 2", &["unknown key `thread`", "did you mean `threads`?"]),
        ("threads = 0", &["`threads = 0`: must be 1 or more", "leave it out"]),
        ("provider = \"cuda\"", &["unknown key `provider`"]),
        (
            "backend = \"naive\"\ndevice = \"cuda:99\"",
            &["model `base` cannot run on cuda:99 with the naive backend", "use the tch or ort"],
        ),
    ] {
        with(line).run(&[]).fails(2, expected);
    }
    let line = "backend = \"naive\"\nthreads = 2";
    with(line)
        .run(&[])
        .fails(2, &["`threads` for `base`", "RAYON_NUM_THREADS=2 before kad starts"]);
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
    .fails(2, &["cannot run on metal with the naive backend"]);
}

#[test]
fn a_key_of_the_wrong_type_says_both_types() {
    let lab = broken("temperature = 0.7", "temperature = \"warm\"");
    lab.run(&[]).fails(2, &["`temperature` must be a number, but this is a string", "^^^^^^"]);
    broken("items = 6", "items = -6").run(&[]).fails(2, &["`items` must be 0 or more"]);
    broken("items = 6", "items = 0").run(&[]).fails(2, &["asks for nothing"]);
}

#[test]
fn names_that_do_not_exist_are_shown_with_those_that_do() {
    broken("\"kad-dual\"", "\"kad-daul\"")
        .run(&[])
        .fails(2, &["unknown rule `kad-daul`", "did you mean `kad-dual`?"]);
    broken("model = \"aligned\"", "model = \"alined\"")
        .run(&[])
        .fails(2, &["unknown model `alined`", "did you mean `aligned`?"]);
    broken("kind = \"nano\"", "kind = \"nanno\"").run(&[]).fails(2, &["unknown task `nanno`"]);
    broken("nano:small-base", "nano:smal-base")
        .run(&[])
        .fails(2, &["smal-base", "small-base", "experiment.toml:6:"]);
}

#[test]
fn broken_toml_is_shown_at_its_line() {
    broken("seed = 3", "seed = = 3").run(&[]).fails(2, &["experiment.toml:3:"]);
    kad(&["run", "no-such-file.toml"]).fails(2, &["cannot read the experiment no-such-file.toml"]);
}

#[test]
fn a_missing_part_is_named() {
    broken("name = \"small\"", "").run(&[]).fails(2, &["the experiment lacks `name`"]);
    broken("kind = \"single\"\n", "").run(&[]).fails(2, &["[[decoders]] lacks `kind`"]);
    broken(", threshold = [0.2, 0.5]", "").run(&[]).fails(2, &["rule lacks `threshold`"]);
    let (without, _) = SMALL.split_once("[[tasks]]").unwrap();
    let words = ["lacks `tasks`", "add `[[tasks]]` with a `kind`"];
    Lab::new(without).run(&[]).fails(2, &words);
    let single = SMALL.replace("[[tasks]]", "[tasks]");
    let words = ["`tasks` must be a list, but this is one table", "double brackets: [[tasks]]"];
    Lab::new(&single).run(&[]).fails(2, &words);
}

#[test]
fn a_number_of_none_and_a_file_that_is_not_named_are_refused_in_words() {
    let lab = Lab::new(SMALL);
    lab.run(&["--jobs", "0"]).fails(2, &["at least 1 is needed"]);
    lab.run(&["--limit", "0"]).fails(2, &["at least 1 is needed"]);
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
    assert!(said.contains("no data folder"), "an empty variable names none: {said}");
}

#[test]
fn numbers_out_of_range_say_the_range() {
    for (bad, shown) in [("-1", "-1"), ("nan", "NaN"), ("inf", "inf")] {
        broken("temperature = 0.7", &format!("temperature = {bad}"))
            .run(&[])
            .fails(2, &[&format!("temperature = {shown} is out of range: 0 (greedy) or above")]);
    }
    broken("max_new_tokens = 40", "max_new_tokens = 0").run(&[]).fails(2, &["max_new_tokens is 0"]);
    broken("[0.2, 0.5]", "1.5").run(&[]).fails(2, &["threshold = 1.5 of kad-dual is out of range"]);
    let generate = |flag, value| kad(&["generate", "--model", "nano:draft", flag, value, "Hi"]);
    generate("--temperature", "-1").fails(2, &["temperature = -1 is out of range"]);
    generate("--temperature", "nan").fails(2, &["temperature = NaN is out of range"]);
    generate("--max-new-tokens", "0").fails(2, &["max_new_tokens is 0"]);
    generate("--top-p", "0").fails(2, &["top_p = 0 is out of range"]);
}

#[test]
fn a_missing_model_says_where_it_was_looked_for() {
    let lab = broken("nano:small-base", "no/such/model");
    lab.run(&[]).fails(2, &["no/such/model", "experiment.toml:6:", "config.json"]);
    kad(&["generate", "--model", "no/such/model", "Hi"])
        .fails(2, &["cannot load model `model` from no/such/model"]);
    kad(&["generate", "--model", "what:ever", "Hi"]).fails(2, &["what:ever"]);
}

#[test]
fn truncated_safetensors_are_refused() {
    let folder = copy_of("draft");
    let file = folder.path().join("model.safetensors");
    let bytes = fs::read(&file).unwrap();
    for len in [0, 4, 100, bytes.len() / 2, bytes.len() - 1] {
        fs::write(&file, &bytes[..len]).unwrap();
        generate_with(folder.path(), &[]).fails(1, &["model.safetensors"]);
    }
}

#[test]
fn corrupt_gguf_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.gguf");
    let headers: [&[u8]; 4] = [b"", b"GGUX", b"GGUF\x03\0\0\0", &[0xff; 64]];
    for bytes in headers {
        fs::write(&file, bytes).unwrap();
        generate_with(&file, &[]).fails(1, &["model.gguf"]);
    }
}

#[test]
fn models_of_different_vocabularies_are_refused_with_both_named() {
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
    broken("nano:small-aligned", aligned).run(&[]).fails(
        2,
        &[
            "decoder `KAD dual, threshold 0.2`",
            "`base` and `aligned` do not share a vocabulary",
            "first difference: token",
        ],
    );
}

#[test]
fn an_empty_prompt_is_refused() {
    kad(&["generate", "--model", "nano:draft", ""]).fails(2, &["the prompt is empty"]);
    kad_with_input(&["generate", "--model", "nano:draft"], "").fails(2, &["the prompt is empty"]);
    kad_with_input(&["generate", "--model", "nano:draft", "--chat"], "")
        .fails(2, &["prompt is empty"]);
    kad(&["score", "--model", "nano:draft", "--text", ""]).fails(2, &["the text has no tokens"]);
}

#[test]
fn a_prompt_longer_than_the_context_is_refused() {
    let long = "one two three ".repeat(2000);
    kad(&["generate", "--model", "nano:draft", &long])
        .fails(2, &["the prompt has", "the context holds", "shorten the prompt"]);
    kad(&["score", "--model", "nano:draft", "--text", &long]).fails(2, &["context", "full"]);
}

#[test]
fn logits_with_nan_name_the_model_and_the_place() {
    let folder = copy_of("draft");
    let file = folder.path().join("model.safetensors");
    let mut bytes = fs::read(&file).unwrap();
    // The last tensor's numbers become f16 NaN (0x7e00).
    let len = bytes.len();
    bytes[len - 64..].chunks_exact_mut(2).for_each(|pair| pair.copy_from_slice(&[0, 0x7e]));
    fs::write(&file, bytes).unwrap();
    generate_with(folder.path(), &[])
        .fails(1, &["model `model` gave unusable logits after", "NaN"]);
}

#[cfg(unix)]
#[test]
fn an_unwritable_output_folder_is_an_error() {
    let lab = Lab::new(SMALL);
    // Root may write anywhere, but nobody can make a folder below a file.
    fs::write(lab.path().join("results"), "a file").unwrap();
    lab.run(&[]).fails(1, &["cannot write in the results folder"]);
}

#[test]
fn task_files_that_are_missing_or_malformed_are_named_with_the_line() {
    let toml = SMALL.replace("kind = \"nano\"", "kind = \"gsm8k\"");
    let lab = Lab::new(&toml);
    lab.run(&[]).fails(2, &["--data DIR", "KAD_DATA"]);
    let data = lab.path().join("data");
    let data_arg = data.to_str().unwrap();
    lab.run(&["--data", data_arg]).fails(2, &["there is no task file", "gsm8k/test.jsonl"]);
    fs::create_dir_all(data.join("gsm8k")).unwrap();
    let good = "{\"question\": \"1+1?\", \"answer\": \"two #### 2\"}\n";
    for (line, words) in [
        ("{\"question\": 3}", "line 3 is malformed"),
        (
            "{\"question\": \"x\", \"answer\": \"no number\"}",
            "line 3: the answer has no `#### number`",
        ),
    ] {
        fs::write(data.join("gsm8k/test.jsonl"), format!("{good}\n{line}\n")).unwrap();
        lab.run(&["--data", data_arg]).fails(1, &["test.jsonl", words]);
    }
    fs::write(data.join("gsm8k/test.jsonl"), good).unwrap();
    lab.run(&["--data", data_arg]).fails(2, &["gsm8k has 1 items, 6 were asked for"]);
}

/// Two of one name: both places are shown, whatever has the name.
#[test]
fn two_of_one_name_are_shown_with_both_places() {
    let second =
        "[[decoders]]\nname = \"aligned alone\"\nkind = \"single\"\nmodel = \"base\"\n\n[[tasks]]";
    broken("[[tasks]]", second).run(&[]).fails(
        2,
        &[
            "two decoders are called `aligned alone`",
            "name = \"aligned alone\"",
            "16 │",
            "28 │",
            "the first is here",
        ],
    );
    // A member of a sweep has its name from the sweep.
    let member = "[[decoders]]\nname = \"KAD dual, threshold 0.5\"\nkind = \"single\"\nmodel = \"base\"\n\n[[tasks]]";
    broken("[[tasks]]", member)
        .run(&[])
        .fails(2, &["two decoders are called `KAD dual, threshold 0.5`", "the first is here"]);
    broken("[0.2, 0.5]", "[0.2, 0.20]").run(&[]).fails(
        2,
        &[
            "two decoders are called `KAD dual, threshold 0.2`",
            "a value is given twice in the sweep",
        ],
    );
    let lab = Lab::new(&format!("{SMALL}\n[[tasks]]\nkind = \"nano\"\n"));
    lab.run(&[]).fails(
        2,
        &[
            "two tasks are called nano/validation",
            "28 │",
            "32 │",
            "the first is here",
            "another `name`",
        ],
    );
    let again = "[models.base]\nsource = \"nano:large-base\"\n\n[sampling]";
    broken("[sampling]", again).run(&[]).fails(
        2,
        &["two models are called `base`", "5 │", "11 │", "the first is here", "its own name"],
    );
    broken("max_new_tokens = 40", "max_new_tokens = 40\ntemperature = 1")
        .run(&[])
        .fails(2, &["`temperature` is given twice", "12 │", "14 │"]);
}

#[test]
fn an_empty_sweep_is_refused_wherever_it_stands() {
    let deferral = "rule = { kind = \"kad-dual\", threshold = [0.2, 0.5] }";
    for (from, to) in [
        ("[0.2, 0.5]", "[]".to_owned()),
        (deferral, format!("{deferral}\nexecution = []")),
        (deferral, format!("{deferral}\nexecution = \"speculative\"\ndraft_length = []")),
        ("kind = \"nano\"", "kind = \"mmlu\"\nsubject = []".to_owned()),
    ] {
        broken(from, &to).run(&[]).fails(2, &["an empty sweep", "give at least one value", "│"]);
    }
    broken("items = 6", "items = 0").run(&["--dry-run"]).fails(2, &["asks for nothing"]);
    Lab::new(SMALL).run(&["--limit", "0"]).fails(2, &["--limit"]);
}
