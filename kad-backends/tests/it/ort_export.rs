//! `scripts/export_onnx.py`: what it writes runs and agrees with naive, what it cannot do it says.
//!
//! Needs a Python with numpy and onnx (`KAD_PYTHON`, or `python3`), and the library as `ort.rs` does.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use kad_backends::{Backend, Dtype, ModelDetails, ModelRequest, Source, load};
use kad_core::TokenId;
use kad_core::testing::conformance::{Tolerance, check};

use crate::ort::{
    SEED, folder, library_is_there, naive_model, open, rows, rows_after, with_config,
};

/// A Python that has what the export script needs: `KAD_PYTHON`, or `python3`.
fn python() -> Option<String> {
    let python = std::env::var("KAD_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let output = Command::new(&python).args(["-c", "import numpy, onnx"]).output();
    if output.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    _ = writeln!(
        std::io::stderr(),
        "SKIPPED a test of the ort backend: {python} has no numpy and onnx; install \
         scripts/export_onnx.requirements.txt and set KAD_PYTHON"
    );
    None
}

/// Runs the export script; what it prints, or says on failure.
fn export(python: &str, arguments: &[&std::ffi::OsStr]) -> Result<String, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/export_onnx.py");
    let output = Command::new(python).arg(script).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    match output.status.success() {
        true => Ok(text(output.stdout)),
        false => Err(text(output.stderr)),
    }
}

/// A folder of Nano's, copied so that nothing is written into the checkout.
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

/// Worst measured, at logits up to 13.3: 1.3e-5 between passes, 1.1e-5 to naive.
const NANO: Tolerance = Tolerance { passes: 4e-5, reference: 4e-5 };

/// How far the mean and the worst logit of a rounded Nano may be from naive, twice what was
/// measured (q8 0.043 and 0.38, int8 0.14 and 0.91, q4 0.50 and 4.2; logits up to 13), and whether
/// a token's logits depend on which others share its pass (measured: 0.27 for int8, else 3.2e-6).
const ROUNDED: [(&str, f64, f64, bool); 3] =
    [("q8", 0.09, 0.8, false), ("int8", 0.28, 1.9, true), ("q4", 1.0, 8.4, false)];

fn details(folder: &Path, backend: Backend, dtype: Dtype) -> ModelDetails {
    let source = Source::Path(folder.to_owned());
    let request = ModelRequest { name: "m".to_owned(), source, backend, dtype };
    load(&request, &|_| ()).unwrap().details
}

#[test]
fn nano_as_the_script_exports_it_agrees_with_naive() {
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
    for (kind, mean, worst, by_pass) in ROUNDED {
        let arguments = [temporary.path().as_os_str(), "--type".as_ref(), kind.as_ref()];
        export(&python, &arguments).unwrap();
        let model = open(&temporary.path().join(format!("onnx/model_{kind}.onnx"))).unwrap();
        let found = rows(&*model, &tokens, 40);
        let pairs = found.iter().flatten().zip(expected.iter().flatten());
        let off: Vec<f64> = pairs.map(|(a, b)| f64::from((a - b).abs())).collect();
        let found_mean = off.iter().sum::<f64>() / off.len() as f64;
        let found_worst = off.iter().copied().fold(0.0, f64::max);
        let one = rows_after(&*model, &tokens[..39], &tokens[39..]);
        let pass = one.row(0).iter().zip(found.row(39)).map(|(a, b)| (a - b).abs());
        let pass = pass.fold(0.0, f32::max);
        println!("nano {kind}: mean {found_mean:.3}, worst {found_worst:.2}; by pass {pass:.1e}");
        assert!(found_mean <= mean && found_worst <= worst && found_mean > 1e-3, "{kind}");
        assert_eq!(pass > 1e-2, by_pass, "{kind}: {pass:e}");
        assert_eq!(model.remark().unwrap().contains("depends on its pass"), by_pass, "{kind}");
        let chosen = details(temporary.path(), Backend::Ort, kind.parse().unwrap());
        assert!(chosen.path.ends_with(format!("onnx/model_{kind}.onnx")), "{chosen}");
        let plain = details(temporary.path(), Backend::Naive, Dtype::Auto);
        // Packed numbers count as numbers; the head is the embedding, and rounded a copy of it.
        let expected = plain.parameters.map(|count| count + 512 * slow.spec().hidden as u64);
        assert_eq!(chosen.parameters, expected, "{kind}");
    }
}

#[test]
fn the_script_refuses_what_it_would_compute_wrongly() {
    let Some(python) = python() else { return };
    let changes: [(&str, serde_json::Value, &str); 4] = [
        ("model_type", "gemma3_text".into(), "model type `gemma3_text`; llama, qwen2 are exported"),
        ("attention_bias", true.into(), "`attention_bias` = True is not exported"),
        ("sliding_window", 8.into(), "`sliding_window` = 8 is not exported"),
        ("rope_scaling", serde_json::json!({"rope_type": "yarn"}), "rope scaling `yarn`"),
    ];
    for (key, value, expected) in changes {
        let temporary = with_config(|config| config[key] = value);
        let said = export(&python, &[temporary.path().as_ref()]).unwrap_err();
        assert!(said.starts_with("export_onnx: ") && said.contains(expected), "{said}");
    }
    let said = export(&python, &["nowhere.bin".as_ref()]).unwrap_err();
    assert!(said.contains("neither a folder with config.json nor a .gguf file"), "{said}");
}

/// The committed graphs are what the script writes today.
#[test]
fn committed_graphs_are_those_of_the_script() {
    let (true, Some(python)) = (library_is_there(), python()) else { return };
    for family in ["llama", "qwen2"] {
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
