//! Both interpreters against numbers that transformers computed: `tests/golden/make.py`.

use std::path::Path;
use std::sync::Arc;

use kad_backends::decoder::families::{from_gguf, from_hf_config};
use kad_backends::decoder::spec::{
    Activation, DecoderSpec, NormPlace, Norms, QueryKeyNorm, RopeScaling, Scales, Window,
};
use kad_backends::gguf::Gguf;
use kad_backends::{StoredType, Weights, naive};
use kad_core::{Fingerprint, LanguageModel, LogitRows, TokenId, Vocab};
use safetensors::{Dtype, SafeTensors};

/// Folders of `tests/golden`.
const ALL: [&str; 8] =
    ["llama", "qwen2", "mistral", "qwen3", "qwen3-plain", "olmo2", "gemma3", "gemma3-plain"];

/// Those that are there as GGUF too.
const GGUF: [&str; 3] = ["qwen3-plain", "olmo2", "gemma3-plain"];

pub(crate) struct Golden {
    pub(crate) spec: DecoderSpec,
    pub(crate) weights: Arc<Weights>,
    tokens: Vec<TokenId>,
    logits: Vec<f64>,
}

impl Golden {
    pub(crate) fn read(name: &str) -> Golden {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
        let json = |file: &str| -> serde_json::Value {
            serde_json::from_str(&std::fs::read_to_string(folder.join(file)).unwrap()).unwrap()
        };
        let file = std::fs::read(folder.join("model.safetensors")).unwrap();
        let tensors = SafeTensors::deserialize(&file).unwrap();
        let tensors = tensors.iter().map(|(name, view)| {
            let (shape, bytes) = (view.shape().to_vec(), view.data().to_vec());
            let stored = match view.dtype() {
                Dtype::BF16 => StoredType::BF16,
                other => {
                    assert_eq!(other, Dtype::F32);
                    StoredType::F32
                }
            };
            (name.to_owned(), stored, shape, bytes)
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

    /// The same model from GGUF.
    fn read_gguf(name: &str) -> Golden {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
        let gguf = Gguf::open(&folder.join("model.gguf")).unwrap();
        let spec = from_gguf(&gguf.metadata, &gguf.weights).unwrap();
        Golden { spec, weights: Arc::new(gguf.weights), ..Golden::read(name) }
    }

    /// Every file, and what to call it.
    pub(crate) fn all() -> impl Iterator<Item = (String, Golden)> {
        let folders = ALL.map(|name| (name.to_owned(), Golden::read(name)));
        let files = GGUF.map(|name| (format!("{name}, GGUF"), Golden::read_gguf(name)));
        folders.into_iter().chain(files)
    }

    pub(crate) fn vocab(&self) -> Vocab {
        Vocab::new(self.spec.vocab_rows, Fingerprint([1; 32]))
    }

    /// Worst absolute difference to the expected logits.
    pub(crate) fn worst(&self, model: &dyn LanguageModel) -> f64 {
        let mut rows = LogitRows::new(self.vocab().size());
        let mut session = model.start().unwrap();
        session.extend(&self.tokens, self.tokens.len(), &mut rows).unwrap();
        assert_eq!(rows.iter().flatten().count(), self.logits.len());
        let pairs = rows.iter().flatten().zip(&self.logits);
        pairs.map(|(found, expected)| (f64::from(*found) - expected).abs()).fold(0.0, f64::max)
    }
}

/// Half the distance between neighbouring `f32` around the largest logit, 7.3: what rounding a
/// right answer costs. Measured: at most 2.38e-7.
const ROUNDED: f64 = 2.4e-7;

/// Naive computes in `f64` and rounds its logits once, so it has to give the nearest `f32` of the
/// expected number, every time.
#[test]
fn naive_gives_the_numbers_of_transformers_rounded_once() {
    for (name, golden) in Golden::all() {
        let model = naive::load(&name, &golden.spec, &golden.weights, golden.vocab()).unwrap();
        let mut rows = LogitRows::new(golden.vocab().size());
        let mut session = model.start().unwrap();
        session.extend(&golden.tokens, golden.tokens.len(), &mut rows).unwrap();
        let worst = golden.worst(&*model);
        println!("naive, {name}: worst difference {worst:.3e}");
        for (found, expected) in rows.iter().flatten().zip(&golden.logits) {
            assert_eq!(*found, *expected as f32, "{name}: expected {expected}");
        }
        assert!(worst <= ROUNDED);
    }
}

/// The files cover what the names promise.
#[test]
fn the_golden_models_have_what_their_families_have() {
    let spec = |name: &str| Golden::read(name).spec;
    let window = |name: &str| spec(name).window.unwrap();
    let (llama, qwen2, mistral) = (spec("llama"), spec("qwen2"), spec("mistral"));
    assert!(matches!(llama.rope.scaling, RopeScaling::Llama3 { .. }));
    assert!(llama.tied_head && llama.heads > llama.kv_heads);
    assert!(qwen2.qkv_bias && !qwen2.tied_head);
    assert!(matches!(mistral.rope.scaling, RopeScaling::Linear { .. }));
    assert!(mistral.query_width() > mistral.hidden);
    assert_eq!((window("mistral").tokens, &window("mistral").layers[..]), (5, &[true, true][..]));

    let norms = |place, query_key, minus_one| Norms { place, query_key, minus_one };
    assert_eq!(spec("qwen3").norms, norms(NormPlace::Before, QueryKeyNorm::Head, false));
    assert_eq!((window("qwen3").tokens, &window("qwen3").layers[..]), (4, &[false, true][..]));
    assert_eq!(spec("olmo2").norms, norms(NormPlace::After, QueryKeyNorm::Whole, false));
    assert!(spec("olmo2").heads > spec("olmo2").kv_heads && !spec("olmo2").tied_head);
    let gemma3 = spec("gemma3");
    assert_eq!(gemma3.norms, norms(NormPlace::Both, QueryKeyNorm::Head, true));
    // √24 = 4.898979…, and the bfloat16 next to it.
    assert_eq!(gemma3.scales, Scales { embedding: 4.90625, attention: Some(1.0 / 12f64.sqrt()) });
    let local = window("gemma3");
    assert_eq!((local.tokens, &local.layers[..]), (4, &[true, false, true][..]));
    assert_eq!((local.rope.theta, &local.rope.scaling), (100.0, &RopeScaling::None));
    assert_eq!(gemma3.rope.scaling, RopeScaling::Linear { factor: 2.5 });
    for name in GGUF {
        let (file, mut folder) = (Golden::read_gguf(name).spec, spec(name));
        // In the file the 1 is added, and 1 / √8 is what is not said.
        folder.norms.minus_one = false;
        folder.scales.attention = None;
        folder.family.clone_from(&file.family);
        assert_eq!(file, folder, "{name}");
    }
}

/// `spec` with one switch after the other set otherwise, as far as it has them.
fn otherwise(spec: &DecoderSpec) -> Vec<DecoderSpec> {
    let with = |change: &dyn Fn(&mut DecoderSpec)| {
        let mut other = spec.clone();
        change(&mut other);
        other
    };
    let window =
        |change: &dyn Fn(&mut Window)| with(&|other| other.window.iter_mut().for_each(change));
    let mut all = vec![
        with(&|other| {
            other.rope.scaling = RopeScaling::None;
            other.window.iter_mut().for_each(|window| window.rope.scaling = RopeScaling::None);
        }),
        with(&|other| other.window = None),
        window(&|window| window.tokens -= 1),
        window(&|window| window.tokens += 1),
        window(&|window| window.layers = vec![true; spec.layers]),
        window(&|window| window.rope = spec.rope.clone()),
        with(&|other| other.norms.minus_one = false),
        with(&|other| other.norms.query_key = QueryKeyNorm::None),
        with(&|other| other.scales.embedding = 1.0),
        with(&|other| other.qkv_bias = false),
        with(&|other| other.activation = Activation::Silu),
    ];
    if spec.norms.place == NormPlace::Both {
        all.push(with(&|other| other.norms.place = NormPlace::Before));
    }
    // Rounding to float32 is not to be seen, rounding to bfloat16 is.
    let root = (spec.hidden as f64).sqrt();
    if spec.norms.minus_one && (spec.scales.embedding / root - 1.0).abs() > 1e-4 {
        all.push(with(&|other| other.scales.embedding = root));
    }
    let unsaid = with(&|other| other.scales.attention = None);
    if unsaid.attention_scale() != spec.attention_scale() {
        all.push(unsaid);
    }
    all.retain(|other| other != spec);
    all
}

/// Each switch of each family changes the golden logits: leaving it out could not go unseen.
#[test]
fn a_switch_that_is_left_out_would_be_seen() {
    /// Thousands of times what rounding costs. Least measured: 8.5e-3, for the rounding of Gemma's
    /// scale of embeddings to bfloat16.
    const SEEN: f64 = 1e-3;
    for name in ALL {
        let golden = Golden::read(name);
        let wrong = otherwise(&golden.spec);
        let worst = wrong.iter().map(|wrong| {
            let model = naive::load(name, wrong, &golden.weights, golden.vocab()).unwrap();
            let worst = golden.worst(&*model);
            assert!(worst > SEEN, "{name}: {worst:e} with {wrong:?}");
            worst
        });
        let least = worst.fold(f64::INFINITY, f64::min);
        println!("{name}: {} switches, the least changes a logit by {least:.2e}", wrong.len());
    }
}

#[cfg(feature = "candle")]
#[test]
fn candle_agrees_with_transformers() {
    use kad_backends::{Dtype, candle};
    /// Measured: 3.4e-6 (Qwen2) and less.
    const CANDLE_F32: f64 = 1e-5;
    for (name, golden) in Golden::all() {
        let vocab = golden.vocab();
        let model = candle::load(&name, &golden.spec, &golden.weights, vocab, Dtype::F32).unwrap();
        let worst = golden.worst(&*model);
        println!("candle f32, {name}: worst difference {worst:.3e}");
        assert!(worst <= CANDLE_F32, "{name}: {worst:e}");
    }
}
