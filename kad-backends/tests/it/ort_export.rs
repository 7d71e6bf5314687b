//! `scripts/export_onnx.py`: its graphs agree with `naive`, and it refuses unsupported models.
//!
//! Needs a Python with numpy, onnx and gguf (`KAD_PYTHON`, or `python3`) and ONNX Runtime; with
//! `KAD_REQUIRE_ORT=1`, as in CI, both are required.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use kad_backends::{Backend, Dtype, ModelDetails, ModelFiles, ModelRequest, Source, load, naive};
use kad_core::TokenId;
use kad_core::testing::conformance::{self, Tolerance, check};

use crate::ort::{rows, rows_after, with_config};
use crate::support::gguf::{Meta, small_model};
use crate::support::golden::{self, Golden};
use crate::support::graphs::{FAMILIES, SEED, folder, library_is_there, naive_model, open};

/// A Python with the export script's packages: `KAD_PYTHON`, or `python3`.
fn python() -> Option<String> {
    let python = std::env::var("KAD_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let output = Command::new(&python).args(["-c", "import numpy, onnx, gguf"]).output();
    if output.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    let advice = format!(
        "{python} has not numpy, onnx and gguf; install scripts/export_onnx.requirements.txt and set \
         KAD_PYTHON"
    );
    assert!(std::env::var_os("KAD_REQUIRE_ORT").is_none(), "KAD_REQUIRE_ORT is set, but {advice}");
    _ = writeln!(std::io::stderr(), "SKIPPED a test of the ort backend: {advice}");
    None
}

/// Runs the export script; returns its output, or its error message.
fn export(python: &str, arguments: &[&OsStr]) -> Result<String, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/export_onnx.py");
    // Do not write into the checkout.
    let mut command = Command::new(python);
    command.arg("-B").arg(script).args(arguments);
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    match output.status.success() {
        true => Ok(text(output.stdout)),
        false => Err(text(output.stderr)),
    }
}

/// A copy of a Nano model, so that nothing is written into the checkout.
fn nano_copy(name: &str) -> Option<tempfile::TempDir> {
    let from = Source::Nano(name.to_owned()).resolve(&|_| ()).ok()?;
    let temporary = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            std::fs::copy(&path, temporary.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    Some(temporary)
}

/// Largest measured, at logits up to 13.3: 1.3e-5 between passes, 1.1e-5 to naive.
const NANO: Tolerance = Tolerance { passes: 4e-5, reference: 4e-5 };

/// Limits of the mean and the largest difference of a quantised Nano from naive, twice the measured
/// ones (q8 0.043 and 0.38, int8 0.14 and 0.91, q4 0.50 and 4.2; logits up to 13); and true if a
/// token's logits depend on the other tokens of its pass (measured: 0.27 for int8, else 3.2e-6).
const ROUNDED: [(&str, f64, f64, bool); 3] =
    [("q8", 0.09, 0.8, false), ("int8", 0.28, 1.9, true), ("q4", 1.0, 8.4, false)];

fn details(folder: &Path, backend: Backend, dtype: Dtype) -> ModelDetails {
    let source = Source::Path(folder.to_owned());
    let request = ModelRequest { name: "m".to_owned(), source, backend, dtype };
    load(&request, &|_| ()).unwrap().details
}

#[test]
fn exported_nano_agrees_with_naive() {
    let (true, Some(python)) = (library_is_there(), python()) else { return };
    let Some(temporary) = nano_copy("small-aligned") else { return };
    let slow = naive_model(temporary.path());
    for layout in ["past", "flat"] {
        let path = temporary.path().join(format!("{layout}.onnx"));
        let layout = layout.as_ref();
        let out = path.as_os_str();
        export(
            &python,
            &[temporary.path().as_ref(), "--layout".as_ref(), layout, "--out".as_ref(), out],
        )
        .unwrap();
        let model = open(&path).unwrap();
        println!("nano, {}: {:?}", path.display(), check(&*model, Some(&*slow), NANO, SEED));
    }
    let tokens: Vec<TokenId> = (0..40).map(|i| i * 97 % 512).collect();
    let expected = rows(&*slow, &tokens, 40);
    let both = ROUNDED.into_iter().flat_map(|row| [("past", "", row), ("flat", "_flat", row)]);
    for (layout, suffix, (kind, mean, worst, by_pass)) in both {
        let folder = temporary.path().as_os_str();
        let arguments = ["--layout".as_ref(), layout.as_ref(), "--type".as_ref(), kind.as_ref()];
        export(&python, &[&[folder], &arguments[..]].concat()).unwrap();
        let path = temporary.path().join(format!("onnx/model{suffix}_{kind}.onnx"));
        let model = open(&path).unwrap();
        let found = rows(&*model, &tokens, 40);
        let pairs = found.iter().flatten().zip(expected.iter().flatten());
        let off: Vec<f64> = pairs.map(|(a, b)| f64::from((a - b).abs())).collect();
        let found_mean = off.iter().sum::<f64>() / off.len() as f64;
        let found_worst = conformance::worst(off.iter().copied());
        let one = rows_after(&*model, &tokens[..39], &tokens[39..]);
        let pass =
            conformance::worst(one.row(0).iter().zip(found.row(39)).map(|(a, b)| f64::from(a - b)));
        println!(
            "nano {kind}, {layout}: mean {found_mean:.3}, worst {found_worst:.2}; by pass {pass:.1e}"
        );
        assert!(found_mean <= mean && found_worst <= worst && found_mean > 1e-3, "{kind}");
        assert_eq!(pass > 1e-2, by_pass, "{kind}: {pass:e}");
        assert_eq!(model.remark().unwrap().contains("depends on its pass"), by_pass, "{kind}");
        let chosen = details(temporary.path(), Backend::Ort, kind.parse().unwrap());
        assert!(chosen.path.ends_with(format!("onnx/model_{kind}.onnx")), "{chosen}");
        let plain = details(temporary.path(), Backend::Naive, Dtype::Auto);
        // Packed weights are counted unpacked. A quantised tied head is a copy and counts again.
        let expected = plain.parameters.map(|count| count + 512 * slow.spec().hidden as u64);
        assert_eq!(chosen.parameters, expected, "{kind}");
    }
}

#[test]
fn the_script_refuses_unsupported_settings() {
    let Some(python) = python() else { return };
    let changes: [(&str, serde_json::Value, &str); 7] = [
        ("model_type", "gpt2".into(), "model type `gpt2`; llama, mistral, qwen2, qwen3,"),
        ("attention_bias", true.into(), "`attention_bias` = True is not exported"),
        ("sliding_window", 8.into(), "`sliding_window` = 8 is not exported for llama"),
        ("rope_scaling", serde_json::json!({"rope_type": "yarn"}), "rope scaling `yarn`"),
        ("hidden_act", "relu".into(), "`hidden_act` = relu is not exported"),
        ("partial_rotary_factor", 0.5.into(), "`partial_rotary_factor` = 0.5 is not exported"),
        (
            "layer_types",
            serde_json::json!(["sliding_attention", "full_attention"]),
            "not agree with",
        ),
    ];
    for (key, value, expected) in changes {
        let temporary = with_config(|config| config[key] = value);
        let said = export(&python, &[temporary.path().as_ref()]).unwrap_err();
        assert!(said.starts_with("export_onnx: ") && said.contains(expected), "{said}");
    }
    let said = export(&python, &["nowhere.bin".as_ref()]).unwrap_err();
    assert!(said.contains("neither a folder with config.json nor a .gguf file"), "{said}");
}

/// The committed graphs equal the output of the script.
#[test]
fn committed_graphs_equal_the_output_of_the_script() {
    let (true, Some(python)) = (library_is_there(), python()) else { return };
    for family in FAMILIES {
        for layout in ["past", "flat"] {
            let temporary = tempfile::tempdir().unwrap();
            let path = temporary.path().join("new.onnx");
            let (model, layout_name) = (folder(family), layout.as_ref());
            let arguments = ["--layout".as_ref(), layout_name, "--out".as_ref(), path.as_os_str()];
            export(&python, &[&[model.as_os_str()], &arguments[..]].concat()).unwrap();
            let committed = std::fs::read(model.join(format!("{layout}.onnx"))).unwrap();
            assert!(std::fs::read(&path).unwrap() == committed, "{family}/{layout}");
        }
    }
}

/// A model of `tests/golden` with a tokenizer in a temporary folder.
fn golden_folder(name: &str, tokens: usize) -> tempfile::TempDir {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    let temporary = tempfile::tempdir().unwrap();
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(from.join(file), temporary.path().join(file)).unwrap();
    }
    let vocab: serde_json::Map<_, _> =
        (0..tokens).map(|id| (format!("t{id}"), id.into())).collect();
    let tokenizer = serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": null, "pre_tokenizer": null, "post_processor": null, "decoder": null,
        "model": {"type": "BPE", "vocab": vocab, "merges": []},
    });
    std::fs::write(temporary.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
    temporary
}

/// Compared with transformers, for every family and both file formats.
/// Largest measured: 4.7e-6 (Qwen2), at logits up to 7.3.
#[test]
fn every_family_from_either_format_agrees_with_transformers() {
    const WORST: f64 = 1.5e-5;
    let (true, Some(python)) = (library_is_there(), python()) else { return };
    let folders = golden::ALL.map(|name| (name, None));
    let files = golden::GGUF.map(|name| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
        (name, Some(root.join(name).join("model.gguf")))
    });
    for (name, file) in folders.into_iter().chain(files) {
        let golden = Golden::read(name);
        let temporary = golden_folder(name, golden.spec.vocab_rows);
        let source = file.clone().unwrap_or_else(|| temporary.path().to_owned());
        for layout in ["past", "flat"] {
            let out = temporary.path().join(format!("{layout}.onnx"));
            let arguments = ["--layout".as_ref(), layout.as_ref(), "--out".as_ref(), out.as_ref()];
            export(&python, &[&[source.as_os_str()], &arguments[..]].concat()).unwrap();
            let worst = golden.worst(&*open(&out).unwrap());
            let kind = if file.is_some() { "GGUF" } else { "safetensors" };
            println!("{name}, {kind}, {layout}: worst difference {worst:.1e}");
            assert!(worst <= WORST, "{name}, {kind}, {layout}: {worst:e}");
        }
    }
}

/// A `.gguf` file with a tokenizer: the graph is written beside it and found by its name.
/// Largest measured, at logits up to 2.2: 7.2e-7 between passes, 1.1e-6 to naive.
#[test]
fn a_graph_beside_a_gguf_file_uses_its_tokenizer() {
    const GGUF: Tolerance = Tolerance { passes: 3e-6, reference: 3e-6 };
    let (true, Some(python)) = (library_is_there(), python()) else { return };
    let temporary = tempfile::tempdir().unwrap();
    for architecture in ["llama", "qwen2", "qwen3", "olmo2"] {
        let path = temporary.path().join(format!("{architecture}.gguf"));
        std::fs::write(&path, small_model(architecture).bytes()).unwrap();
        export(&python, &[path.as_os_str()]).unwrap();
        let files = ModelFiles::open(&path).unwrap();
        let vocab = files.tokenizer.vocab();
        let slow = naive::load("naive", &files.spec, &files.weights, vocab).unwrap();
        let model = open(&path.with_extension("onnx")).unwrap();
        let report = check(&*model, Some(&*slow), GGUF, SEED);
        println!("{architecture}.gguf: {report:?}");
    }
}

/// Weights too large for a protobuf go to a file beside the graph; `--external` forces it.
#[test]
fn external_weights_are_the_same_weights() {
    let (true, Some(python)) = (library_is_there(), python()) else { return };
    let Some(temporary) = nano_copy("draft") else { return };
    let tokens: Vec<TokenId> = (0..20).map(|i| i * 97 % 512).collect();
    let path = temporary.path().join("onnx/model.onnx");
    let data = path.with_extension("onnx_data");
    let mut found = Vec::new();
    // Without the option, the file of the earlier call is deleted.
    for external in [true, false] {
        let flag: &[&OsStr] = if external { &["--external".as_ref()] } else { &[] };
        export(&python, &[&[temporary.path().as_os_str()], flag].concat()).unwrap();
        assert_eq!(data.is_file(), external);
        let model = open(&path).unwrap();
        found.push(rows(&*model, &tokens, tokens.len()));
        let bytes = path.metadata().unwrap().len();
        assert_eq!(bytes < 200_000, external, "{bytes} bytes of graph");
    }
    assert!(found[0] == found[1]);
    export(&python, &[temporary.path().as_os_str(), "--external".as_ref()]).unwrap();
    std::fs::remove_file(&data).unwrap();
    let error = open(&path).map(drop).unwrap_err().to_string();
    assert!(error.contains("model.onnx") && error.contains("model.onnx_data"), "{error}");
}

/// Renames the tensor `name` to `other` in `model.safetensors` of the folder `root`.
fn rename_tensor(root: &Path, name: &str, other: &str) {
    let path = root.join("model.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let renamed = tensors.iter().map(|(found, view)| match found == name {
        true => (other, view),
        false => (found, view),
    });
    let changed = safetensors::serialize(renamed, None).unwrap();
    std::fs::write(&path, changed).unwrap();
}

#[test]
fn the_script_names_missing_and_superfluous_tensors() {
    let Some(python) = python() else { return };
    let norm = "model.layers.1.input_layernorm.weight";
    let temporary = with_config(|_| ());
    rename_tensor(temporary.path(), norm, "model.layers.1.other.weight");
    let said = export(&python, &[temporary.path().as_ref()]).unwrap_err();
    assert!(said.contains(&format!("tensor `{norm}` is missing from")), "{said}");
    // A family whose layers have fewer tensors than the file.
    let temporary = with_config(|config| {
        config["num_hidden_layers"] = 1.into();
    });
    let said = export(&python, &[temporary.path().as_ref()]).unwrap_err();
    assert!(said.contains("tensor `model.layers.1."), "{said}");
    assert!(said.contains("has no place in a llama model of 1 layers"), "{said}");
}

#[test]
fn the_script_refuses_unsupported_gguf_settings() {
    let Some(python) = python() else { return };
    let temporary = tempfile::tempdir().unwrap();
    let path: PathBuf = temporary.path().join("model.gguf");
    let cases = [
        ("general.architecture", Meta::text("gpt2"), "architecture `gpt2`; llama, qwen2, qwen3,"),
        ("llama.attention.sliding_window", Meta::U32(8), "sliding_window` = 8 is not exported"),
        ("llama.rope.scaling.type", Meta::text("yarn"), "rope scaling `yarn` is not exported"),
        ("llama.rope.dimension_count", Meta::U32(4), "embedding of a part of each head"),
        ("llama.expert_count", Meta::U32(2), "`llama.expert_count` = 2 is not exported"),
    ];
    for (key, value, expected) in cases {
        let mut writer = small_model("llama");
        writer.pair(key, value);
        std::fs::write(&path, writer.bytes()).unwrap();
        let said = export(&python, &[path.as_os_str()]).unwrap_err();
        assert!(said.starts_with("export_onnx: ") && said.contains(expected), "{said}");
    }
}
