//! Tests the interpreters with the conformance suite, against each other, and at their limits.

use std::sync::Arc;

use kad_backends::decoder::spec::{DecoderSpec, Pairing, Rope};
use kad_backends::{LayeredModel, LoadError, Weights, naive};
use kad_core::testing::conformance::worst_difference;
use kad_core::{LanguageModel, LogitRows, TokenId};

use crate::support::backends::{NAIVE, SEED};
use crate::support::tiny::{self, llama, qwen2};

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
fn naive_conforms_and_is_batch_invariant() {
    for spec in tiny::all() {
        let report = NAIVE.check(&spec);
        println!("naive, {}: {report:?}", spec.family);
        assert!(report.batch_invariant && report.trees);
    }
}

/// The same model with query and key rows in GGUF's order: pair `i` of a head moves from rows
/// `(i, i + half)` to `(2i, 2i + 1)`.
fn interleaved(spec: &DecoderSpec, weights: &Weights) -> (DecoderSpec, Arc<Weights>) {
    let (half, row_bytes) = (spec.head_dim / 2, spec.hidden * 4);
    let tensors = weights.tensors().map(|t| {
        let mut bytes = t.bytes.to_vec();
        if t.name.contains("q_proj") || t.name.contains("k_proj") {
            for (to, row) in bytes.chunks_exact_mut(row_bytes).enumerate() {
                let (head, place) = (to / spec.head_dim, to % spec.head_dim);
                let from = head * spec.head_dim + place / 2 + place % 2 * half;
                row.copy_from_slice(&t.bytes[from * row_bytes..][..row_bytes]);
            }
        }
        (t.name.to_owned(), t.stored, t.shape.to_vec(), bytes)
    });
    let weights = Arc::new(Weights::from_memory(tensors.collect()));
    let rope = Rope { pairing: Pairing::Interleaved, ..spec.rope.clone() };
    (DecoderSpec { rope, ..spec.clone() }, weights)
}

/// The golden files have one order only; this test covers the other.
#[test]
fn both_orders_of_rotary_pairs_agree() {
    let weights = tiny::weights(&llama(), &[], SEED);
    let (spec, permuted) = interleaved(&llama(), &weights);
    let (model, other) = (naive_model(&llama(), &weights), naive_model(&spec, &permuted));
    let tokens = some_tokens(&*model, 20);
    let (found, expected) = (rows(&*other, &tokens), rows(&*model, &tokens));
    let wrong = rows(&*naive_model(&spec, &weights), &tokens);
    // The last bit of an f32 may differ: logits are below 4.
    let worst = |a: &LogitRows| worst_difference(a, &expected);
    assert!(worst(&found) <= 2.4e-7, "{:e}", worst(&found));
    assert!(worst(&wrong) > 0.1, "the test would see nothing");
}

/// Logits have the width of the tokenizer instead of the padded embedding, and the same values.
#[test]
fn padding_of_the_embedding_is_cut_off() {
    let spec = qwen2();
    let weights = tiny::weights(&spec, &[], SEED);
    let padded = kad_core::Vocab::new(spec.vocab_rows, tiny::vocab().fingerprint());
    let (narrow, wide) =
        (naive_model(&spec, &weights), naive::load("wide", &spec, &weights, padded).unwrap());
    let (narrow, wide) = (rows(&*narrow, &[1, 2]), rows(&*wide, &[1, 2]));
    for (narrow, wide) in narrow.iter().zip(wide.iter()) {
        assert_eq!(*narrow, wide[..wide.len() - 1]);
    }
}

/// Models that contradict their specification in every way.
fn refuses_contradictory_models(
    load: impl Fn(&DecoderSpec, &Arc<Weights>) -> Result<Box<dyn LayeredModel>, LoadError>,
) {
    let weights = tiny::weights(&llama(), &[], SEED);
    let refusal = |spec: DecoderSpec| load(&spec, &weights).err().map(|error| error.to_string());
    assert_eq!(refusal(llama()), None);
    let cases = [
        (
            DecoderSpec { layers: 3, ..llama() },
            "`model.layers.2.input_layernorm.weight` is missing",
        ),
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
fn naive_refuses_contradictory_models() {
    refuses_contradictory_models(|spec, weights| naive::load("m", spec, weights, tiny::vocab()));
}

#[cfg(feature = "candle")]
mod candle {
    use kad_backends::{
        Backend, Dtype, LoadedModel, ModelRequest, Source, StoredType, candle, load,
    };

    use kad_core::testing::conformance::{Report, Tolerance, check, worst};

    use super::*;
    use crate::support::backends::{CANDLE, CANDLE_TOLERANCE};
    use crate::support::tiny::{gemma3, gguf_llama, mistral};
    use crate::support::{nano_names, variable};

    /// The same for hundreds of tokens. Measured: 2.7e-6, with K types 2.7e-5, and with candle's
    /// product 5.4e-5.
    const LONG: f64 = 2e-4;

    fn model(spec: &DecoderSpec, weights: &Arc<Weights>, dtype: Dtype) -> Box<dyn LanguageModel> {
        candle::load("candle", spec, weights, tiny::vocab(), dtype).unwrap()
    }

    fn agrees(spec: &DecoderSpec, types: &[StoredType], dtype: Dtype) -> Report {
        let weights = tiny::weights(spec, types, SEED);
        let reference = naive_model(spec, &weights);
        let report =
            check(&*model(spec, &weights, dtype), Some(&*reference), CANDLE_TOLERANCE, SEED);
        eprintln!("candle {dtype}, {}, {types:?}: {report:?}", spec.family);
        assert!(report.batch_invariant && report.trees);
        report
    }

    #[test]
    fn every_dtype_agrees_with_naive_and_is_batch_invariant() {
        for library in CANDLE {
            let blocks = library.stored.iter().any(|stored| stored.is_quantized());
            for spec in tiny::all() {
                let spec = if blocks { tiny::of_whole_blocks(spec) } else { spec };
                let report = library.check(&spec);
                println!("candle {}, {}: {report:?}", library.dtype, spec.family);
                assert!(report.batch_invariant && report.trees);
            }
        }
    }

    #[test]
    fn auto_agrees_with_naive() {
        tiny::all().iter().for_each(|spec| _ = agrees(spec, &[], Dtype::Auto));
    }

    #[test]
    fn f16_and_bf16_weights_agree_with_naive_on_the_same_weights() {
        for spec in tiny::all() {
            for stored in [StoredType::F16, StoredType::BF16] {
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

    /// Sums run over the same numbers in the same order for any type in memory.
    #[test]
    fn the_type_in_memory_changes_no_bit() {
        use StoredType::{BF16, F16, Q4_1, Q6K, Q8_0};
        for types in [vec![F16], vec![BF16], vec![Q4_1, Q8_0, Q6K]] {
            let weights = tiny::weights(&gguf_llama(), &types, SEED);
            let kept = model(&gguf_llama(), &weights, Dtype::Auto);
            let widened = model(&gguf_llama(), &weights, Dtype::F32);
            let tokens = some_tokens(&*kept, 30);
            assert!(rows(&*kept, &tokens) == rows(&*widened, &tokens), "{types:?}");
        }
    }

    /// Weights rounded at load and rounded weights in a file are the same model.
    #[test]
    fn f16_and_bf16_round_each_weight_once() {
        for (stored, dtype) in [(StoredType::F16, Dtype::F16), (StoredType::BF16, Dtype::BF16)] {
            let rounded = model(&llama(), &tiny::weights(&llama(), &[], SEED), dtype);
            let read = model(&llama(), &tiny::weights(&llama(), &[stored], SEED), dtype);
            let tokens = some_tokens(&*read, 5);
            assert!(rows(&*rounded, &tokens) == rows(&*read, &tokens));
        }
    }

    /// Passes with more tokens than kad's kernel handles, and prompts of several chunks.
    #[test]
    fn prompts_of_any_length_agree_with_naive() {
        let narrow = [llama(), mistral(), gemma3()].map(|spec| (spec, vec![]));
        let wide = (gguf_llama(), vec![StoredType::Q4K]);
        for (spec, types) in narrow.into_iter().chain([wide]) {
            let weights = tiny::weights(&spec, &types, SEED);
            let (fast, slow) = (model(&spec, &weights, Dtype::Auto), naive_model(&spec, &weights));
            for count in [64, 65, candle::CHUNK, candle::CHUNK + 5, spec.context_len] {
                let tokens = some_tokens(&*fast, count);
                let (found, expected) = (rows(&*fast, &tokens), rows(&*slow, &tokens));
                let worst = worst_difference(&found, &expected);
                println!("{count} tokens at once: worst difference {worst:.2e}");
                assert!(worst <= LONG, "{count} tokens: {worst:e}");
            }
            // Requested rows that start in one chunk and end in the next.
            let (tokens, wanted) = (some_tokens(&*fast, candle::CHUNK + 20), 50);
            let mut last = LogitRows::new(fast.vocab().size());
            fast.start().unwrap().extend(&tokens, wanted, &mut last).unwrap();
            let all = rows(&*fast, &tokens);
            assert_eq!(last.len(), wanted);
            for (found, expected) in last.iter().zip(all.iter().skip(tokens.len() - wanted)) {
                let pairs = found.iter().zip(expected);
                assert!(worst(pairs.map(|(a, b)| f64::from(a - b))) <= LONG);
            }
        }
    }

    #[test]
    fn candle_refuses_contradictory_models() {
        for dtype in [Dtype::F32, Dtype::F16] {
            refuses_contradictory_models(|spec, weights| {
                candle::load("m", spec, weights, tiny::vocab(), dtype)
            });
        }
        let weights = tiny::weights(&llama(), &[], SEED);
        let error = candle::load("m", &llama(), &weights, tiny::vocab(), Dtype::Quantized);
        assert!(matches!(error.err(), Some(LoadError::Unsupported { what: "dtype", .. })));
    }

    /// Largest measured: 7.7e-6, logits up to 20.
    const NANO: Tolerance = Tolerance { passes: 0.0, reference: 3e-5 };

    fn nano(name: &str, backend: Backend, dtype: Dtype) -> LoadedModel {
        let source = Source::Nano(name.to_owned());
        load(&ModelRequest { name: name.to_owned(), source, backend, dtype }, &|_| ()).unwrap()
    }

    #[test]
    fn nano_models_conform_and_agree_with_naive() {
        for name in nano_names() {
            let slow = nano(&name, Backend::Naive, Dtype::Auto).model;
            for dtype in [Dtype::F32, Dtype::F16] {
                let fast = nano(&name, Backend::Candle, dtype).model;
                let report = check(&*fast, Some(&*slow), NANO, SEED);
                println!("{name}, {dtype}: {report:?}");
                assert!(report.batch_invariant && report.trees);
            }
        }
    }

    /// Logits of SmolLM2-135M and Qwen2.5-0.5B, stored in Q4_1 to Q8_0.
    /// Measured: 6.5e-5 and 1.7e-5 in eight rows.
    const REAL: f64 = 2e-4;

    #[test]
    #[ignore = "needs KAD_TEST_MODEL=SOURCE: a real model"]
    fn a_real_model_agrees_with_naive() {
        let source = variable("KAD_TEST_MODEL");
        let open = |backend, dtype| {
            let source = source.parse().unwrap();
            load(&ModelRequest { name: "m".to_owned(), source, backend, dtype }, &|_| ()).unwrap()
        };
        let (fast, slow) = (open(Backend::Candle, Dtype::Auto), open(Backend::Naive, Dtype::Auto));
        let tokens = fast.tokenizer.encode("The capital of France is Paris, and", true).unwrap();
        let (found, expected) = (rows(&*fast.model, &tokens), rows(&*slow.model, &tokens));
        let worst = worst_difference(&found, &expected);
        println!("{source}: worst difference {worst:.2e} in {} rows", tokens.len());
        assert!(worst <= REAL);
        let (found, expected) =
            (greedy(&*fast.model, &tokens, 24), greedy(&*slow.model, &tokens, 24));
        println!("{:?}", fast.tokenizer.decode(&found, false).unwrap());
        assert_eq!(found, expected);
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
