//! ONNX Runtime: compares the graphs of `tests/onnx/make.py` with `naive` on the same weights.
//!
//! Needs the library at run time (`scripts/setup-onnxruntime.sh`). Without it these tests are
//! skipped with a note on stderr; with `KAD_REQUIRE_ORT=1`, as in CI, they fail.

use std::io::Write;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::Command;

use kad_backends::{Backend, Device, Dtype, ModelOptions, ModelRequest, Source, load};
use kad_core::testing::conformance::worst_difference;
use kad_core::{LanguageModel, LogitRows, TokenId, TokenTree};

use crate::support::graphs::{
    FLAT, Graphs, HALF, INT8, PAST, Q4, Q8, WHOLE, folder, library_is_there, naive_model, open,
    open_with,
};

#[test]
fn past_and_flat_graphs_conform_and_agree_with_naive() {
    if !library_is_there() {
        return;
    }
    for graphs in [PAST, FLAT] {
        graphs.families.iter().for_each(|family| _ = graphs.check(family));
    }
}

/// Graphs without a cache, with redundant inputs, and with a limited number of rows of logits.
#[test]
fn graphs_of_other_exporters_conform_and_agree_with_naive() {
    if !library_is_there() {
        return;
    }
    for file in [WHOLE.file, "extra.onnx", "kept.onnx"] {
        Graphs { file, ..WHOLE }.check("llama");
    }
    let whole = open(&folder("llama").join("whole.onnx")).unwrap();
    assert!(whole.remark().unwrap().contains("every pass runs the whole text, which is slow"));
}

#[test]
fn a_cache_and_logits_of_half_precision_are_read() {
    if !library_is_there() {
        return;
    }
    let report = HALF.check("llama");
    assert!(report.reference > 1e-4, "the graph rounds: {report:?}");
}

/// Quantised weights, with activations rounded row by row or, for `int8`, with one scale per pass.
#[test]
fn quantised_graphs_conform_and_int8_depends_on_its_pass() {
    if !library_is_there() {
        return;
    }
    for graphs in [Q8, Q4, INT8] {
        let report = graphs.check("llama");
        assert!(report.reference > 1e-3, "the graph rounds: {report:?}");
        assert_eq!(report.passes > 1e-2, graphs.what == INT8.what, "{report:?}");
    }
}

pub(crate) fn rows(model: &dyn LanguageModel, tokens: &[TokenId], wanted: usize) -> LogitRows {
    let mut out = LogitRows::new(model.vocab().size());
    model.start().unwrap().extend(tokens, wanted, &mut out).unwrap();
    out
}

/// Prompts of several chunks of 256 tokens, with rows that start in one chunk and end in the next.
/// Measured against naive: 1.5e-5.
#[test]
fn long_prompts_run_in_chunks() {
    if !library_is_there() {
        return;
    }
    let tokens: Vec<TokenId> = (0..600).map(|i| i * 7 % 24).collect();
    let expected = rows(&*naive_model(&folder("llama")), &tokens, 300);
    for graph in ["past.onnx", "flat.onnx"] {
        let found = rows(&*open(&folder("llama").join(graph)).unwrap(), &tokens, 300);
        let worst = worst_difference(&found, &expected);
        eprintln!("600 tokens, {graph}: worst difference {worst:.1e}");
        assert_eq!(found.len(), 300);
        assert!(worst <= PAST.tolerance.reference, "{graph}: {worst:e}");
    }
}

/// The rotary tables of the graphs end at 600 tokens, regardless of the configuration: the third
/// chunk fails after two that succeed.
#[test]
fn a_failed_pass_leaves_the_session_unchanged() {
    if !library_is_there() {
        return;
    }
    let temporary = with_config(|config| config["max_position_embeddings"] = 700.into());
    let tokens: Vec<TokenId> = (0..650).map(|i| i % 24).collect();
    for graph in ["past.onnx", "flat.onnx"] {
        let model = open(&temporary.path().join(graph)).unwrap();
        let mut session = model.start().unwrap();
        let mut out = LogitRows::new(24);
        session.extend(&tokens[..50], 1, &mut out).unwrap();
        let error = session.extend(&tokens[50..], 590, &mut out).unwrap_err().to_string();
        assert!(error.starts_with("backend ort:"), "{error}");
        assert_eq!((session.tokens(), out.len()), (&tokens[..50], 1), "as before the failure");
        // The session continues as before.
        session.extend(&tokens[50..60], 1, &mut out).unwrap();
        assert_eq!(out.row(1), rows_after(&*model, &tokens[..50], &tokens[50..60]).row(0));
    }
}

pub(crate) fn rows_after(
    model: &dyn LanguageModel,
    before: &[TokenId],
    tokens: &[TokenId],
) -> LogitRows {
    let mut session = model.start().unwrap();
    let mut out = LogitRows::new(model.vocab().size());
    session.extend(before, 0, &mut out).unwrap();
    session.extend(tokens, 1, &mut out).unwrap();
    out
}

/// A copy of the Llama folder with its configuration changed.
pub(crate) fn with_config(change: impl FnOnce(&mut serde_json::Value)) -> tempfile::TempDir {
    let temporary = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(folder("llama")).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, temporary.path().join(path.file_name().unwrap())).unwrap();
    }
    let path = temporary.path().join("config.json");
    let mut config = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut config);
    std::fs::write(path, config.to_string()).unwrap();
    temporary
}

fn refusal(graph: &Path) -> String {
    open(graph).map(drop).expect_err("a refusal").to_string()
}

#[test]
fn graphs_that_contradict_their_configuration_are_refused() {
    if !library_is_there() {
        return;
    }
    let larger = with_config(|config| config["vocab_size"] = 30.into());
    let error = refusal(&larger.path().join("past.onnx"));
    assert!(error.contains("`logits` has 24 columns, but"), "{error}");
    assert!(error.contains("have 30 tokens"), "{error}");
    let error = refusal(&larger.path().join("flat.onnx"));
    assert!(error.contains("`logits` has 24 columns"), "{error}");
    let smaller = with_config(|config| config["vocab_size"] = 20.into());
    let error = refusal(&smaller.path().join("past.onnx"));
    assert!(error.contains("`vocab_size` is 20, but the tokenizer has 24 tokens"), "{error}");
    let deeper = with_config(|config| config["num_hidden_layers"] = 5.into());
    let error = refusal(&deeper.path().join("past.onnx"));
    assert!(error.contains("`num_hidden_layers` is 5, but") && error.contains("different models"));
    let error = refusal(&folder("llama").join("unknown.onnx"));
    assert!(error.contains("not supported: `pixel_values`; supported: input_ids"), "{error}");
}

/// Graphs that quantise activations per pass are detected by a test run, for any exporter; other
/// rounding is not mistaken for it.
#[test]
fn graphs_that_quantise_per_pass_are_detected() {
    if !library_is_there() {
        return;
    }
    let by_pass = |path: &Path| {
        let model = open(path).unwrap();
        let said = model.remark().unwrap().contains("depends on its pass");
        assert_eq!(model.distribution_depends_on_pass(), said);
        said
    };
    let temporary = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(folder("int8")).unwrap() {
        let from = file.unwrap().path();
        let to = temporary.path().join(from.file_name().unwrap());
        let mut bytes = std::fs::read(&from).unwrap();
        // The metadata key of kad's export script.
        let marks: Vec<usize> = (0..bytes.len().saturating_sub(8))
            .filter(|&at| &bytes[at..at + 8] == b"kad.type")
            .collect();
        assert_eq!(marks.len(), usize::from(from.extension().unwrap() == "onnx"), "{from:?}");
        marks.iter().for_each(|&at| bytes[at] = b'x');
        std::fs::write(to, bytes).unwrap();
    }
    assert!(by_pass(&temporary.path().join("past.onnx")));
    for (family, graph) in [("llama", "past"), ("llama", "half"), ("q4", "past"), ("q8", "past")] {
        assert!(!by_pass(&folder(family).join(graph).with_extension("onnx")), "{family}/{graph}");
    }
}

#[test]
fn a_corrupt_graph_is_an_error_with_its_name() {
    if !library_is_there() {
        return;
    }
    let temporary = with_config(|_| ());
    let path = temporary.path().join("past.onnx");
    let bytes = std::fs::read(&path).unwrap();
    for damaged in [&bytes[..bytes.len() / 2], b"not an ONNX graph", b""] {
        std::fs::write(&path, damaged).unwrap();
        let error = refusal(&path);
        assert!(error.contains("past.onnx is corrupt"), "{error}");
    }
}

#[test]
fn a_graph_of_an_unknown_family_runs() {
    if !library_is_there() {
        return;
    }
    let temporary = with_config(|config| {
        *config = serde_json::json!({"model_type": "gpt2", "vocab_size": 24, "n_positions": 64});
    });
    for graph in ["past.onnx", "flat.onnx"] {
        let model = open(&temporary.path().join(graph)).unwrap();
        assert_eq!((model.context_len(), model.spec().layers), (64, 2));
        assert_eq!((model.spec().kv_heads, model.spec().head_dim), (2, 4));
        let known = open(&folder("llama").join(graph)).unwrap();
        assert!(rows(&*model, &[3, 1, 4], 3) == rows(&*known, &[3, 1, 4], 3));
    }
}

#[test]
fn options_are_applied_or_refused() {
    if !library_is_there() {
        return;
    }
    let graph = folder("llama").join("past.onnx");
    let threads = NonZeroUsize::new(1);
    let options = ModelOptions { threads, device: Device::Cpu };
    let (one, all) = (open_with(&graph, &options).unwrap(), open(&graph).unwrap());
    assert!(rows(&*one, &[3, 1, 4], 3) == rows(&*all, &[3, 1, 4], 3));
    let refusal = |device| {
        let options = ModelOptions { device, ..ModelOptions::default() };
        open_with(&graph, &options).map(drop).unwrap_err().to_string()
    };
    let error = refusal(Device::Cuda(99));
    assert!(error.starts_with("model `ort` cannot run on cuda:99 with the ort backend"), "{error}");
    assert!(error.contains("set ORT_DYLIB_PATH to one of its GPU builds"), "{error}");
    let error = refusal(Device::Metal);
    assert!(error.contains("on the CPU and on CUDA only; use the tch or burn"), "{error}");
}

#[test]
fn an_early_exit_is_refused_with_the_reason() {
    if !library_is_there() {
        return;
    }
    let model = open(&folder("llama").join("flat.onnx")).unwrap();
    let error = model.early_exit("exit", 1).map(drop).unwrap_err().to_string();
    assert!(error.contains("of `ort`: an ONNX graph runs as a whole"), "{error}");
}

/// A graph is found in the places of common exporters, or by its path.
#[test]
fn a_request_finds_graph_configuration_and_tokenizer() {
    if !library_is_there() {
        return;
    }
    let temporary = with_config(|_| ());
    let root = temporary.path();
    let request = |path: &Path, dtype| ModelRequest {
        name: "m".to_owned(),
        source: Source::Path(path.to_owned()),
        backend: Backend::Ort,
        dtype,
    };
    let refused = |path: &Path, dtype| {
        load(&request(path, dtype), &|_| ()).map(drop).expect_err("a refusal").to_string()
    };
    let error = refused(root, Dtype::Auto);
    assert!(error.contains("no model.onnx or onnx/model.onnx, but extra.onnx, "), "{error}");
    assert!(error.contains("choose one with dtype (f32, f16, int8, q8, q4) or by"), "{error}");
    std::fs::create_dir(root.join("onnx")).unwrap();
    std::fs::rename(root.join("flat.onnx"), root.join("onnx/model.onnx")).unwrap();
    let loaded = load(&request(root, Dtype::Auto), &|_| ()).unwrap();
    assert_eq!(loaded.eos, [0]);
    let (details, ids) = (loaded.details, loaded.tokenizer.encode("abc", true).unwrap());
    assert_eq!((details.layers, &ids[..]), (2, &[1, 2, 3][..]));
    let shown = details.to_string();
    assert!(shown.contains("format       ONNX, 0.0 MB"), "{shown}");
    assert!(shown.contains("backend      ort, auto"), "{shown}");
    assert!(shown.contains("the KV cache stays in place; token trees"), "{shown}");
    assert_eq!(details.parameters, Some(1576), "as many as the safetensors have");
    assert!(shown.contains("parameters   1576"), "{shown}");
    let error = refused(root, Dtype::BF16);
    assert!(error.contains("bf16 with the ort backend"), "{error}");
    // A dtype selects a graph; nothing is rounded at load.
    let error = refused(root, Dtype::F16);
    assert!(error.contains("no model_fp16.onnx or onnx/model_fp16.onnx, but "), "{error}");
    assert!(error.contains("onnx/model.onnx: choose one with dtype"), "{error}");
    let error = refused(&root.join("onnx/model.onnx"), Dtype::F16);
    assert!(error.contains("model.onnx, which is one graph; supported: auto"), "{error}");
    std::fs::rename(root.join("half.onnx"), root.join("model_fp16.onnx")).unwrap();
    let half = load(&request(root, Dtype::F16), &|_| ()).unwrap();
    assert_eq!((half.details.dtype, half.details.parameters), (Dtype::F16, Some(1576)));
    assert!(half.details.path.ends_with("model_fp16.onnx"));

    std::fs::remove_dir_all(root.join("onnx")).unwrap();
    for entry in std::fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "onnx") {
            std::fs::remove_file(path).unwrap();
        }
    }
    let error = refused(root, Dtype::Auto);
    assert!(error.contains("an ONNX graph not found"), "{error}");
    assert!(error.contains("export one with scripts/export_onnx.py"), "{error}");
}

/// A tree in the flat layout costs one pass, whatever its shape; the suite compares the
/// distributions.
#[test]
fn a_failed_tree_leaves_the_session_unchanged() {
    if !library_is_there() {
        return;
    }
    let temporary = with_config(|config| config["max_position_embeddings"] = 700.into());
    let model = open(&temporary.path().join("flat.onnx")).unwrap();
    let mut session = model.start().unwrap();
    let mut out = LogitRows::new(24);
    session.extend(&[1; 594], 1, &mut out).unwrap();
    let mut tree = TokenTree::new();
    // A path of nine nodes ends after the last position of the graph's rotary tables.
    for node in 0..9usize {
        tree.push(node.checked_sub(1), 2);
    }
    let trees = session.trees().unwrap();
    assert!(trees.extend_tree(&tree, &mut out).is_err());
    assert_eq!((session.tokens().len(), out.len()), (594, 1));
    session.extend(&[5], 1, &mut out).unwrap();
    assert_eq!(out.row(1), rows_after(&*model, &[1; 594], &[5]).row(0));
}

/// The error of another process with these variables. The library is loaded once per process, by
/// the environment.
fn in_another_process(variables: &[(&str, &Path)]) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "ort::prints_the_error_of_loading", "--nocapture"]);
    command.env_remove("ORT_DISABLE_TELEMETRY");
    variables.iter().for_each(|(name, value)| _ = command.env(name, value));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
#[ignore = "run by the tests below, in a process of its own"]
fn prints_the_error_of_loading() {
    match open(&folder("llama").join("past.onnx")) {
        Ok(_) => println!("it loads"),
        Err(error) => println!("{error}"),
    }
}

#[test]
fn a_missing_library_is_an_error_with_the_remedy() {
    let nowhere = Path::new("/no/such/libonnxruntime.so");
    let said = in_another_process(&[("ORT_DYLIB_PATH", nowhere)]);
    assert!(said.contains("libonnxruntime not found at /no/such/libonnxruntime.so: "), "{said}");
    assert!(said.contains("set ORT_DYLIB_PATH or run scripts/setup-onnxruntime.sh"), "{said}");
    let empty = tempfile::tempdir().unwrap();
    let said = in_another_process(&[("ORT_DYLIB_PATH", empty.path())]);
    assert!(said.contains("libonnxruntime not found"), "{said}");
}

/// Compiles a library from `code` in `folder`; without a C compiler, notes it on stderr.
fn compiled(folder: &Path, code: &str) -> Option<PathBuf> {
    let (source, path) = (folder.join("library.c"), folder.join("libonnxruntime.so"));
    std::fs::write(&source, code).unwrap();
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o"]).arg(&path).arg(&source);
    if compiler.status().is_ok_and(|status| status.success()) {
        return Some(path);
    }
    _ = writeln!(std::io::stderr(), "SKIPPED a test of the ort backend: no C compiler");
    None
}

#[test]
fn a_file_that_is_no_library_is_an_error() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("libonnxruntime.so");
    std::fs::write(&path, "no library").unwrap();
    let said = in_another_process(&[("ORT_DYLIB_PATH", &path)]);
    assert!(said.contains("backend ort: failed to load from"), "{said}");
    assert!(said.contains("or run scripts/setup-onnxruntime.sh"), "{said}");
}

/// A library of another kind, such as libtorch or the C library.
#[test]
fn another_library_is_an_error() {
    let temporary = tempfile::tempdir().unwrap();
    let Some(path) = compiled(temporary.path(), "int answer(void) { return 42; }\n") else {
        return;
    };
    let said = in_another_process(&[("ORT_DYLIB_PATH", &path)]);
    assert!(said.contains("backend ort: "), "{said}");
    assert!(said.contains("OrtGetApiBase"), "{said}");
    assert!(said.contains("set ORT_DYLIB_PATH to another library or run scripts/setup"), "{said}");
}

/// The variable disables telemetry; a library without its name has no telemetry.
#[test]
fn a_library_with_telemetry_is_refused_unless_disabled() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("libonnxruntime.so.1.31.1");
    std::fs::write(&path, "\x7fELF \0ORT_DISABLE_TELEMETRY\0").unwrap();
    let said = in_another_process(&[("ORT_DYLIB_PATH", temporary.path())]);
    assert!(said.contains("sends telemetry: set ORT_DISABLE_TELEMETRY=1"), "{said}");
    let off = [("ORT_DYLIB_PATH", temporary.path()), ("ORT_DISABLE_TELEMETRY", Path::new("1"))];
    let said = in_another_process(&off);
    assert!(said.contains("failed to load from"), "{said}");
}

/// A test library that reports version 1.17.
#[test]
fn an_old_library_is_refused_with_its_version() {
    let temporary = tempfile::tempdir().unwrap();
    let code = "static const char *version(void) { return \"1.17.3\"; }\n\
                static const void *api(unsigned n) { (void)n; return 0; }\n\
                static const struct { const void *(*get)(unsigned); const char *(*version)(void); }\n\
                base = { api, version };\n\
                const void *OrtGetApiBase(void) { return &base; }\n";
    let Some(path) = compiled(temporary.path(), code) else { return };
    let said = in_another_process(&[("ORT_DYLIB_PATH", &path)]);
    assert!(said.contains("version of ONNX Runtime is not supported: 1.17.3 at"), "{said}");
    assert!(said.contains("supported: 1.24 and later"), "{said}");
}
