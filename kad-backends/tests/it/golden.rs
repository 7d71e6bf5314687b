//! Compares all backends with logits computed by transformers (`tests/golden/make.py`).

use kad_backends::decoder::spec::{
    Activation, DecoderSpec, NormPlace, Norms, QueryKeyNorm, RopeScaling, Scales, Window,
};
use kad_backends::naive;
use kad_core::LogitRows;

use crate::support::backends::{BackendCase, NAIVE_ROUNDING};
use crate::support::golden::{ALL, GGUF, Golden};

/// `naive` computes in `f64` and rounds its logits once, so each logit must be the `f32` nearest to
/// the expected number.
#[test]
fn naive_returns_the_logits_of_transformers_rounded_once() {
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
        assert!(worst <= NAIVE_ROUNDING);
    }
}

/// The golden models have the options of their families.
#[test]
fn the_golden_models_have_the_options_of_their_families() {
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
    // √24 = 4.898979…, rounded to bfloat16.
    assert_eq!(gemma3.scales, Scales { embedding: 4.90625, attention: Some(1.0 / 12f64.sqrt()) });
    let local = window("gemma3");
    assert_eq!((local.tokens, &local.layers[..]), (4, &[true, false, true][..]));
    assert_eq!((local.rope.theta, &local.rope.scaling), (100.0, &RopeScaling::None));
    assert_eq!(gemma3.rope.scaling, RopeScaling::Linear { factor: 2.5 });
    for name in GGUF {
        let (file, mut folder) = (Golden::read_gguf(name).spec, spec(name));
        // The file stores the norms with 1 added, and leaves out the scale 1 / √8.
        folder.norms.minus_one = false;
        folder.scales.attention = None;
        folder.family.clone_from(&file.family);
        assert_eq!(file, folder, "{name}");
    }
}

/// Variants of `spec`, each with one option changed.
fn variants(spec: &DecoderSpec) -> Vec<DecoderSpec> {
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
    // Rounding to float32 is below the tolerance, rounding to bfloat16 is not.
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

/// Each option of each family changes the golden logits, so a missing option would be detected.
#[test]
fn a_missing_option_would_be_detected() {
    /// Thousands of times the rounding error. Smallest measured: 8.5e-3, for the rounding of
    /// Gemma's embedding scale to bfloat16.
    const SEEN: f64 = 1e-3;
    for name in ALL {
        let golden = Golden::read(name);
        let wrong = variants(&golden.spec);
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

#[test]
fn every_backend_and_dtype_agrees_with_transformers() {
    for library in BackendCase::all() {
        let worst = library.difference_from_transformers();
        println!("{} {}: worst difference {worst:?}", library.name, library.dtype);
    }
}
