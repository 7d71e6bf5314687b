//! The interpreters against the contract of a session, against each other, and at their edges.

use std::sync::Arc;

use kad_backends::decoder::spec::DecoderSpec;
use kad_backends::{Dtype, LoadError, StoredType, Weights, naive, nano_models};
use kad_core::testing::conformance::{Report, Tolerance, check};
use kad_core::{LanguageModel, LogitRows, TokenId};

use crate::support::tiny::{self, gguf_llama, llama, qwen2};

const SEED: u64 = 3;

fn naive_model(spec: &DecoderSpec, weights: &Arc<Weights>) -> Box<dyn LanguageModel> {
    naive::load("naive", spec, weights, tiny::vocab()).unwrap()
}

fn rows(model: &dyn LanguageModel, tokens: &[TokenId]) -> LogitRows {
    let mut out = LogitRows::new(model.vocab().size());
    model.start().unwrap().extend(tokens, tokens.len(), &mut out).unwrap();
    out
}

fn some_tokens(model: &dyn LanguageModel, count: usize) -> Vec<TokenId> {
    (0..count).map(|i| (i * 7919 % model.vocab().size()) as TokenId).collect()
}

#[test]
fn naive_keeps_the_contract_to_the_bit() {
    for spec in [llama(), gguf_llama(), qwen2()] {
        let model = naive_model(&spec, &tiny::weights(&spec, &[], SEED));
        let report = check(&*model, None, Tolerance::EXACT, SEED);
        println!("naive, {}: {report:?}", spec.family);
        assert!(report.batch_invariant);
    }
}

/// Rows are as wide as the tokenizer, not as the padded embedding, and the rest is the same.
#[test]
fn padding_of_the_embedding_is_cut_off() {
    let spec = qwen2();
    let weights = tiny::weights(&spec, &[], SEED);
    let padded = kad_core::Vocab::new(spec.vocab_rows, tiny::vocab().fingerprint());
    let (narrow, wide) = (
        naive_model(&spec, &weights),
        naive::load("wide", &spec, &weights, padded).unwrap(),
    );
    let (narrow, wide) = (rows(&*narrow, &[1, 2]), rows(&*wide, &[1, 2]));
    for (narrow, wide) in narrow.iter().zip(wide.iter()) {
        assert_eq!(*narrow, wide[..wide.len() - 1]);
    }
}

/// One interpreter, every way a model can fail to fit its specification.
fn refuses_what_does_not_fit(
    load: impl Fn(&DecoderSpec, &Arc<Weights>) -> Result<Box<dyn LanguageModel>, LoadError>,
) {
    let weights = tiny::weights(&llama(), &[], SEED);
    let refusal = |spec: DecoderSpec| load(&spec, &weights).err().map(|error| error.to_string());
    assert_eq!(refusal(llama()), None);
    let cases = [
        (DecoderSpec { layers: 3, ..llama() }, "`model.layers.2.input_layernorm.weight` is missing"),
        (DecoderSpec { tied_head: false, ..llama() }, "`lm_head.weight` is missing"),
        (DecoderSpec { ffn: 55, ..llama() }, "has shape [56, 40]"),
        (DecoderSpec { kv_heads: 3, ..llama() }, "does not divide 4 heads"),
        (DecoderSpec { vocab_rows: 48, ..llama() }, "`vocab_size` is 48, but the tokenizer has 49"),
    ];
    for (spec, expected) in cases {
        let message = refusal(spec).unwrap();
        assert!(message.contains(expected), "{message}");
    }
    let cut = weights.tensors().map(|t| {
        let bytes = &t.bytes[..t.bytes.len() - 4];
        (t.name.to_owned(), t.stored, t.shape.to_vec(), bytes.to_vec())
    });
    let error = load(&llama(), &Arc::new(Weights::from_memory(cut.collect()))).err();
    assert!(matches!(error, Some(LoadError::WrongSize { .. })));
}

#[test]
fn naive_refuses_what_does_not_fit() {
    refuses_what_does_not_fit(|spec, weights| naive::load("m", spec, weights, tiny::vocab()));
}

/// Nano's models are shipped, but not with every copy of this crate.
fn nano_names() -> Vec<String> {
    let names = nano_models();
    if names.is_empty() {
        eprintln!("skipped: no nano models beside this checkout");
    }
    names
}

#[cfg(feature = "candle")]
mod candle {
    use kad_backends::{Backend, LoadedModel, ModelRequest, Source, candle, load};

    use super::*;

    /// Against naive with the same weights, whatever they are stored in: only sums are rounded.
    const TINY: Tolerance = Tolerance { passes: 0.0, reference: 5e-5 };

    fn model(spec: &DecoderSpec, weights: &Arc<Weights>, dtype: Dtype) -> Box<dyn LanguageModel> {
        candle::load("candle", spec, weights, tiny::vocab(), dtype).unwrap()
    }

    fn agrees(spec: &DecoderSpec, types: &[StoredType], dtype: Dtype) -> Report {
        let weights = tiny::weights(spec, types, SEED);
        let reference = naive_model(spec, &weights);
        let report = check(&*model(spec, &weights, dtype), Some(&*reference), TINY, SEED);
        println!("candle {dtype}, {}, {types:?}: {report:?}", spec.family);
        assert!(report.batch_invariant);
        report
    }

    #[test]
    fn f32_agrees_with_naive() {
        for spec in [llama(), gguf_llama(), qwen2()] {
            agrees(&spec, &[], Dtype::F32);
            agrees(&spec, &[], Dtype::Auto);
        }
    }

    #[test]
    fn weights_of_two_bytes_agree_with_naive_on_the_same_weights() {
        for spec in [llama(), gguf_llama(), qwen2()] {
            for (stored, dtype) in [(StoredType::F16, Dtype::F16), (StoredType::BF16, Dtype::BF16)] {
                agrees(&spec, &[stored], dtype);
                agrees(&spec, &[stored], Dtype::Auto);
                agrees(&spec, &[stored], Dtype::F32);
            }
        }
    }

    #[test]
    fn quantised_weights_agree_with_naive_on_the_same_weights() {
        use StoredType::{Q4_0, Q4_1, Q4K, Q5_0, Q5K, Q6K, Q8_0};
        for types in [vec![Q4_0, Q4_1, Q5_0, Q8_0], vec![Q4K, Q5K, Q6K], vec![Q8_0, Q6K, Q4_1]] {
            for dtype in [Dtype::Quantized, Dtype::Auto, Dtype::F32] {
                agrees(&gguf_llama(), &types, dtype);
            }
        }
    }

    /// Rounding the weights ourselves or reading rounded ones is the same model.
    #[test]
    fn asking_for_two_bytes_rounds_each_weight_once() {
        for (stored, dtype) in [(StoredType::F16, Dtype::F16), (StoredType::BF16, Dtype::BF16)] {
            let rounded = model(&llama(), &tiny::weights(&llama(), &[], SEED), dtype);
            let read = model(&llama(), &tiny::weights(&llama(), &[stored], SEED), dtype);
            let tokens = some_tokens(&*read, 5);
            assert!(rows(&*rounded, &tokens) == rows(&*read, &tokens));
        }
    }

    /// Passes wider than the own kernel takes, and prompts of several chunks.
    #[test]
    fn long_prompts_agree_with_naive_and_with_one_token_at_a_time() {
        for (spec, types) in [(llama(), vec![]), (gguf_llama(), vec![StoredType::Q4K])] {
            let weights = tiny::weights(&spec, &types, SEED);
            let (fast, slow) = (model(&spec, &weights, Dtype::Auto), naive_model(&spec, &weights));
            for count in [candle::NARROW, candle::NARROW + 1, candle::CHUNK + 5, spec.context_len] {
                let tokens = some_tokens(&*fast, count);
                let (found, expected) = (rows(&*fast, &tokens), rows(&*slow, &tokens));
                let pairs = found.iter().flatten().zip(expected.iter().flatten());
                let worst = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                println!("{count} tokens at once: worst difference {worst:.2e}");
                assert!(f64::from(worst) <= TINY.reference);
            }
            let tokens = some_tokens(&*fast, candle::CHUNK + candle::NARROW);
            let (mut session, mut few) = (fast.start().unwrap(), LogitRows::new(49));
            session.extend(&tokens, candle::NARROW + 3, &mut few).unwrap();
            let all = rows(&*fast, &tokens);
            let expected = all.iter().skip(tokens.len() - candle::NARROW - 3);
            assert!(few.iter().zip(expected).all(|(a, b)| {
                a.iter().zip(b).all(|(a, b)| f64::from((a - b).abs()) <= TINY.reference)
            }));
        }
    }

    #[test]
    fn candle_refuses_what_does_not_fit() {
        for dtype in [Dtype::F32, Dtype::F16] {
            refuses_what_does_not_fit(|spec, weights| {
                candle::load("m", spec, weights, tiny::vocab(), dtype)
            });
        }
        let weights = tiny::weights(&llama(), &[], SEED);
        let error = candle::load("m", &llama(), &weights, tiny::vocab(), Dtype::Quantized);
        assert!(matches!(error.err(), Some(LoadError::Unsupported { what: "dtype", .. })));
    }

    /// Logits of Nano are below 40.
    const NANO: Tolerance = Tolerance { passes: 0.0, reference: 2e-4 };

    fn nano(name: &str, backend: Backend, dtype: Dtype) -> LoadedModel {
        let source = Source::Nano(name.to_owned());
        load(&ModelRequest { name: name.to_owned(), source, backend, dtype }, &|_| ()).unwrap()
    }

    #[test]
    fn nano_models_keep_the_contract_and_agree_with_naive() {
        for name in nano_names() {
            let slow = nano(&name, Backend::Naive, Dtype::Auto).model;
            for dtype in [Dtype::F32, Dtype::F16] {
                let fast = nano(&name, Backend::Candle, dtype).model;
                let report = check(&*fast, Some(&*slow), NANO, SEED);
                println!("{name}, {dtype}: {report:?}");
                assert!(report.batch_invariant);
            }
        }
    }

    fn greedy(model: &dyn LanguageModel, prompt: &[TokenId], count: usize) -> Vec<TokenId> {
        let mut session = model.start().unwrap();
        let mut out = LogitRows::new(model.vocab().size());
        session.extend(prompt, 1, &mut out).unwrap();
        for _ in 1..count {
            let next = argmax(out.row(out.len() - 1));
            session.extend(&[next], 1, &mut out).unwrap();
        }
        out.iter().map(argmax).collect()
    }

    fn argmax(row: &[f32]) -> TokenId {
        let best = row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
        best.unwrap().0 as TokenId
    }

    #[test]
    fn greedy_text_of_nano_models_is_the_same_on_both_backends() {
        for name in nano_names() {
            let slow = nano(&name, Backend::Naive, Dtype::Auto);
            let fast = nano(&name, Backend::Candle, Dtype::F32);
            let prompt = slow.tokenizer.encode("Tom has 3 apples", true).unwrap();
            let found = greedy(&*fast.model, &prompt, 200);
            assert_eq!(found, greedy(&*slow.model, &prompt, 200), "{name}");
        }
    }
}
