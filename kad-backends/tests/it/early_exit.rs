//! Compares early exits with models loaded with fewer layers.

use std::sync::Arc;

use kad_backends::decoder::spec::DecoderSpec;
use kad_backends::{
    Backend, Dtype, LayeredModel, LoadError, LoadedModel, ModelRequest, StoredType, Weights, load,
    naive,
};
use kad_core::testing::conformance::{Tolerance, check};
use kad_core::{LanguageModel, LogitRows, TokenId};

use crate::support::tiny::{self, llama};
use crate::support::{gguf, hf};

const SEED: u64 = 3;
const LAYERS: usize = 4;
const TOKENS: [TokenId; 9] = [3, 1, 4, 1, 5, 9, 2, 6, 5];

type Load = dyn Fn(&DecoderSpec, &Arc<Weights>) -> Result<Box<dyn LayeredModel>, LoadError>;

fn rows(model: &dyn LanguageModel) -> LogitRows {
    let mut out = LogitRows::new(model.vocab().size());
    model.start().unwrap().extend(&TOKENS, TOKENS.len(), &mut out).unwrap();
    out
}

/// For every family: the exit after `k` layers has the bits of a model with `k` layers, and those
/// of no other.
fn equals_the_model_with_fewer_layers(load: &Load, types: &[StoredType]) {
    for spec in tiny::all() {
        // Only the GGUF model has rows of whole blocks.
        let types = if spec.hidden == 256 { types } else { &[] };
        let whole = DecoderSpec { layers: LAYERS, ..spec };
        let weights = tiny::weights(&whole, types, SEED);
        let model = load(&whole, &weights).unwrap();
        let mut earlier = rows(&*model);
        for layers in (1..LAYERS).rev() {
            let exit = model.early_exit("exit", layers).unwrap();
            let short = load(&DecoderSpec { layers, ..whole.clone() }, &weights).unwrap();
            assert_eq!((exit.name(), exit.spec()), ("exit", short.spec()));
            let found = rows(&*exit);
            assert!(found == rows(&*short), "{layers} layers of {}", whole.family);
            assert!(found != earlier, "block {layers} does nothing, so the test sees nothing");
            earlier = found;
        }
        // The exit of an exit is an exit, and may outlive its source.
        let exit = model.early_exit("exit", LAYERS - 1).unwrap();
        drop(model);
        let again = exit.early_exit("again", 1).unwrap();
        drop(exit);
        assert!(rows(&*again) == earlier);
        let report = check(&*again, None, Tolerance::EXACT, SEED);
        assert!(report.batch_invariant);
    }
}

#[test]
fn naive_exits_equal_models_with_fewer_layers() {
    equals_the_model_with_fewer_layers(
        &|spec, weights| naive::load("m", spec, weights, tiny::vocab()),
        &[],
    );
}

#[cfg(feature = "candle")]
#[test]
fn candle_exits_equal_models_with_fewer_layers() {
    use kad_backends::candle;
    for dtype in [Dtype::F32, Dtype::F16] {
        let load = move |spec: &DecoderSpec, weights: &Arc<Weights>| {
            candle::load("m", spec, weights, tiny::vocab(), dtype)
        };
        equals_the_model_with_fewer_layers(&load, &[]);
    }
    let stored = |spec: &DecoderSpec, weights: &Arc<Weights>| {
        candle::load("m", spec, weights, tiny::vocab(), Dtype::Auto)
    };
    equals_the_model_with_fewer_layers(&stored, &[StoredType::Q4K, StoredType::Q8_0]);
}

/// Each session has its own cache.
#[test]
fn sessions_of_a_model_and_its_exit_are_independent() {
    let spec = DecoderSpec { layers: LAYERS, ..llama() };
    let model = naive::load("m", &spec, &tiny::weights(&spec, &[], SEED), tiny::vocab()).unwrap();
    let exit = model.early_exit("exit", 2).unwrap();
    let (mut one, mut other) = (model.start().unwrap(), exit.start().unwrap());
    let size = model.vocab().size();
    let (mut found, mut found_exit) = (LogitRows::new(size), LogitRows::new(size));
    for (i, token) in TOKENS.iter().enumerate() {
        one.extend(&[*token], 1, &mut found).unwrap();
        // Extend, then roll back.
        other.extend(&TOKENS[i..], 0, &mut found_exit).unwrap();
        other.truncate(i).unwrap();
        other.extend(&[*token], 1, &mut found_exit).unwrap();
    }
    assert!(found == rows(&*model));
    assert!(found_exit == rows(&*exit));
}

#[test]
fn impossible_exits_are_refused_with_the_possible_ones() {
    let message = |all: usize, layers: usize| {
        let spec = DecoderSpec { layers: all, ..llama() };
        let weights = tiny::weights(&spec, &[], SEED);
        let model = naive::load("whole", &spec, &weights, tiny::vocab()).unwrap();
        model.early_exit("exit", layers).err().map(|error| error.to_string())
    };
    assert_eq!(message(4, 3), None);
    for layers in [0, 4, 5, usize::MAX] {
        let wanted = format!(
            "early exit of `whole`: `layers` is {layers}, but the model has 4 layers: \
             an early exit takes from 1 to 3 of them"
        );
        assert_eq!(message(4, layers), Some(wanted));
    }
    assert!(message(1, 1).unwrap().contains("a model with one layer has no early exit"));
}

fn loaded(source: &str, backend: Backend) -> LoadedModel {
    let source = source.parse().unwrap();
    let request = ModelRequest { name: "whole".into(), source, backend, dtype: Dtype::Auto };
    load(&request, &|_| ()).unwrap()
}

/// An exit shares tokenizer and template; its details count its own layers.
#[test]
fn a_loaded_exit_shares_the_tokenizer_and_counts_its_own_weights() {
    let folder = tempfile::tempdir().unwrap();
    hf::write_single(folder.path());
    let file = folder.path().join("other.gguf");
    std::fs::write(&file, gguf::small_model("qwen2").bytes()).unwrap();
    let backends: &[Backend] = match cfg!(feature = "candle") {
        true => &[Backend::Naive, Backend::Candle],
        false => &[Backend::Naive],
    };
    for path in [folder.path(), &file] {
        for &backend in backends {
            let whole = loaded(path.to_str().unwrap(), backend);
            let exit = whole.early_exit("exit", 1).unwrap();
            assert!(Arc::ptr_eq(&whole.tokenizer, &exit.tokenizer));
            assert_eq!(whole.eos, exit.eos);
            assert_eq!(whole.chat_template.is_some(), exit.chat_template.is_some());
            let vocab = exit.model.vocab();
            vocab.ensure_same("exit", whole.model.vocab(), "whole").unwrap();
            let shown = exit.details.to_string();
            let all = whole.details.layers;
            let wanted = format!("layers       first 1 of {all} of whole, weights shared\n");
            assert!(shown.contains(&wanted), "{shown}");
            let numbers: usize = kad_backends::decoder::tensors(exit.model.spec())
                .iter()
                .map(|(_, shape)| shape.iter().product::<usize>())
                .sum();
            assert_eq!(exit.details.parameters, Some(numbers as u64));
            assert!(exit.details.weight_bytes < whole.details.weight_bytes);
        }
    }
}

/// Five layers of Nano in `f16`: an exit has 2 · (embedding + layers + norm) bytes.
#[test]
fn an_exit_of_nano_is_named_after_the_model_that_was_loaded() {
    let whole = loaded("nano:large-base", Backend::Naive);
    let exit = whole.early_exit("exit", 3).unwrap().early_exit("shorter", 1).unwrap();
    let shown = exit.details.to_string();
    assert!(shown.contains("first 1 of 5 of whole"), "{shown}");
    // The model card: width 192, 6 query heads, 2 key heads, feed-forward width 512, 512 tokens.
    let block = 2 * 192 * 192 + 2 * 64 * 192 + 3 * 512 * 192 + 2 * 192;
    let parameters = 512 * 192 + block + 192;
    assert_eq!(exit.details.parameters, Some(parameters));
    assert_eq!(whole.details.parameters, Some(512 * 192 + 5 * block + 192));
    assert_eq!(exit.details.weight_bytes, 2 * parameters);
}
