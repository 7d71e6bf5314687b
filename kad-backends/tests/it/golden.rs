//! Both interpreters against numbers that transformers computed: `tests/golden/make.py`.

use std::path::Path;
use std::sync::Arc;

use kad_backends::decoder::families::from_hf_config;
use kad_backends::decoder::spec::{DecoderSpec, RopeScaling};
use kad_backends::{StoredType, Weights, naive};
use kad_core::{Fingerprint, LanguageModel, LogitRows, TokenId, Vocab};
use safetensors::SafeTensors;

struct Golden {
    spec: DecoderSpec,
    weights: Arc<Weights>,
    tokens: Vec<TokenId>,
    logits: Vec<f64>,
}

impl Golden {
    fn read(name: &str) -> Golden {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
        let json = |file: &str| -> serde_json::Value {
            serde_json::from_str(&std::fs::read_to_string(folder.join(file)).unwrap()).unwrap()
        };
        let file = std::fs::read(folder.join("model.safetensors")).unwrap();
        let tensors = SafeTensors::deserialize(&file).unwrap();
        let tensors = tensors.iter().map(|(name, view)| {
            let (shape, bytes) = (view.shape().to_vec(), view.data().to_vec());
            (name.to_owned(), StoredType::F32, shape, bytes)
        });
        let expected = json("expected.json");
        Golden {
            spec: from_hf_config(&json("config.json")).unwrap(),
            weights: Arc::new(Weights::from_memory(tensors.collect())),
            tokens: serde_json::from_value(expected["tokens"].clone()).unwrap(),
            logits: serde_json::from_value::<Vec<Vec<f64>>>(expected["logits"].clone())
                .unwrap()
                .concat(),
        }
    }

    fn vocab(&self) -> Vocab {
        Vocab::new(self.spec.vocab_rows, Fingerprint([1; 32]))
    }

    /// Worst absolute difference to the expected logits.
    fn worst(&self, model: &dyn LanguageModel) -> f64 {
        let mut rows = LogitRows::new(self.vocab().size());
        let mut session = model.start().unwrap();
        session.extend(&self.tokens, self.tokens.len(), &mut rows).unwrap();
        assert_eq!(rows.iter().flatten().count(), self.logits.len());
        let pairs = rows.iter().flatten().zip(&self.logits);
        pairs.map(|(found, expected)| (f64::from(*found) - expected).abs()).fold(0.0, f64::max)
    }
}

/// Half the distance between neighbouring `f32` around the largest logit, 5.8: what rounding a
/// right answer costs. Measured: 2.23e-7 (Llama), 2.38e-7 (Qwen2).
const ROUNDED: f64 = 2.4e-7;

/// Naive computes in `f64` and rounds its logits once, so it has to give the nearest `f32` of the
/// expected number, every time.
#[test]
fn naive_gives_the_numbers_of_transformers_rounded_once() {
    for name in ["llama", "qwen2"] {
        let golden = Golden::read(name);
        let model = naive::load(name, &golden.spec, &golden.weights, golden.vocab()).unwrap();
        let mut rows = LogitRows::new(golden.vocab().size());
        let mut session = model.start().unwrap();
        session.extend(&golden.tokens, golden.tokens.len(), &mut rows).unwrap();
        for (found, expected) in rows.iter().flatten().zip(&golden.logits) {
            assert_eq!(*found, *expected as f32, "{name}: expected {expected}");
        }
        let worst = golden.worst(&*model);
        println!("naive, {name}: worst difference {worst:.3e}");
        assert!(worst <= ROUNDED);
    }
}

/// The two files cover what the names promise.
#[test]
fn the_golden_models_scale_rotary_frequencies_and_have_biases() {
    let (llama, qwen2) = (Golden::read("llama").spec, Golden::read("qwen2").spec);
    assert!(matches!(llama.rope.scaling, RopeScaling::Llama3 { .. }));
    assert!(llama.tied_head && llama.heads > llama.kv_heads);
    assert!(qwen2.qkv_bias && !qwen2.tied_head);
}

#[cfg(feature = "candle")]
#[test]
fn candle_agrees_with_transformers() {
    use kad_backends::{Dtype, candle};
    /// Measured: 2.7e-6 (Llama), 4.1e-6 (Qwen2).
    const CANDLE_F32: f64 = 1e-5;
    for name in ["llama", "qwen2"] {
        let golden = Golden::read(name);
        let vocab = golden.vocab();
        let model = candle::load(name, &golden.spec, &golden.weights, vocab, Dtype::F32).unwrap();
        let worst = golden.worst(&*model);
        println!("candle f32, {name}: worst difference {worst:.3e}");
        assert!(worst <= CANDLE_F32, "{name}: {worst:e}");
    }
}
