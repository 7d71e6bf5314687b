//! The ONNX graphs of `tests/onnx` as models.

use std::io::Write;
use std::path::{Path, PathBuf};

use kad_backends::{LayeredModel, LoadError, ModelFiles, ModelOptions, naive, ort};
use kad_core::Vocab;
use kad_core::testing::conformance::{Report, Tolerance, check};

pub(crate) const SEED: u64 = 5;

/// Largest measured, at logits up to 6.6: 1.4e-5 between passes, 2.4e-5 (Gemma 3) to naive.
const F32: Tolerance = Tolerance { passes: 4e-5, reference: 7e-5 };

/// Folders of `tests/onnx`: one family each.
pub(crate) const FAMILIES: [&str; 6] = ["llama", "qwen2", "mistral", "qwen3", "olmo2", "gemma3"];

/// Graphs of one kind with their tolerance.
#[derive(Clone, Copy)]
pub(crate) struct Graphs {
    pub(crate) file: &'static str,
    /// Description for reports.
    pub(crate) what: &'static str,
    /// Families with such a graph, by their folders in `tests/onnx`.
    pub(crate) families: &'static [&'static str],
    /// The folder, if it has another name than the family.
    pub(crate) folder: Option<&'static str>,
    /// True if sessions support token trees.
    pub(crate) trees: bool,
    pub(crate) tolerance: Tolerance,
}

pub(crate) const PAST: Graphs = Graphs {
    file: "past.onnx",
    what: "f32, past",
    families: &FAMILIES,
    folder: None,
    trees: false,
    tolerance: F32,
};
pub(crate) const FLAT: Graphs =
    Graphs { file: "flat.onnx", what: "f32, flat", trees: true, ..PAST };
pub(crate) const WHOLE: Graphs =
    Graphs { file: "whole.onnx", what: "f32, whole", families: &["llama"], ..PAST };
pub(crate) const HALF: Graphs =
    Graphs { file: "half.onnx", what: "f16 cache, past", tolerance: F16, ..WHOLE };
pub(crate) const Q8: Graphs =
    Graphs { file: "past.onnx", what: "q8, past", folder: Some("q8"), tolerance: ROUNDED, ..WHOLE };
pub(crate) const Q4: Graphs = Graphs { what: "q4, past", folder: Some("q4"), ..Q8 };
pub(crate) const INT8: Graphs =
    Graphs { what: "int8, past", folder: Some("int8"), tolerance: ROUNDED_INT8, ..Q8 };

/// All kinds of the conformance matrix.
#[allow(dead_code, reason = "the tests name them one by one")]
pub(crate) const ALL: [Graphs; 7] = [PAST, FLAT, WHOLE, HALF, Q8, Q4, INT8];

impl Graphs {
    /// Runs the conformance suite and compares with naive on the same (rounded) weights.
    ///
    /// # Panics
    /// If it fails.
    pub(crate) fn check(&self, family: &str) -> Report {
        let folder = folder(self.folder.unwrap_or(family));
        let model = open(&folder.join(self.file)).unwrap();
        let reference = naive_model(&folder);
        let report = check(&*model, Some(&*reference), self.tolerance, SEED);
        eprintln!("ort, {family}, {}: {report:?}", self.what);
        assert_eq!(report.trees, self.trees, "{family}/{}: trees", self.file);
        report
    }
}

pub(crate) fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/onnx").join(name)
}

fn files_of(graph: &Path) -> ModelFiles {
    ModelFiles::open_onnx(graph).unwrap_or_else(|error| panic!("{}: {error}", graph.display()))
}

fn vocab_of(files: &ModelFiles) -> Vocab {
    files.tokenizer.vocab()
}

pub(crate) fn open_with(
    graph: &Path,
    options: &ModelOptions,
) -> Result<Box<dyn LayeredModel>, LoadError> {
    let files = files_of(graph);
    ort::load("ort", &files, vocab_of(&files), options)
}

pub(crate) fn open(graph: &Path) -> Result<Box<dyn LayeredModel>, LoadError> {
    open_with(graph, &ModelOptions::default())
}

/// True if ONNX Runtime is available; otherwise notes it on stderr.
pub(crate) fn library_is_there() -> bool {
    let Err(error) = open(&folder("llama").join("past.onnx")) else { return true };
    let absent = matches!(&error, LoadError::NotFound { what, .. } if what == "libonnxruntime");
    assert!(absent, "{error}");
    assert!(std::env::var_os("KAD_REQUIRE_ORT").is_none(), "KAD_REQUIRE_ORT is set, but {error}");
    // The macros' output is captured when a test passes.
    _ = writeln!(std::io::stderr(), "SKIPPED a test of the ort backend: {error}");
    false
}

pub(crate) fn naive_model(folder: &Path) -> Box<dyn LayeredModel> {
    let files = ModelFiles::open(folder).unwrap();
    naive::load("naive", &files.spec, &files.weights, vocab_of(&files)).unwrap()
}

/// Half precision has 11 bits: rounding moves a logit near 6 by up to 2e-3, and the cache of
/// earlier passes is rounded too. Measured: 1.9e-3 to naive, 2.0e-2 between passes.
const F16: Tolerance = Tolerance { passes: 6e-2, reference: 6e-3 };

/// The reference has the same rounded weights; activations are rounded to 8 bits row by row.
/// Measured, at logits up to 5.5: 4.3e-6 between passes, 0.32 (q8) and 0.23 (q4) to naive; 5.2 to a
/// reference with unrounded weights.
const ROUNDED: Tolerance = Tolerance { passes: 2e-5, reference: 0.7 };

/// Activations are rounded with one scale per pass. Measured, at logits up to 5.6: 1.2 between
/// passes, 0.74 to naive.
const ROUNDED_INT8: Tolerance = Tolerance { passes: 2.5, reference: 1.5 };
