//! Compares the interpreter on the test library with `naive`, for every kind of layer.

use std::sync::Arc;

use kad_core::testing::conformance::{Report, Tolerance, check};
use kad_core::{Fingerprint, Vocab};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::host::HostTensor;
use crate::decoder::spec::{
    Activation, DecoderSpec, NormPlace, Norms, Pairing, QueryKeyNorm, Rope, RopeScaling, Scales,
    Window,
};
use crate::decoder::tensors;
use crate::dtype::Dtype;
use crate::naive;
use crate::stored_type::StoredType;
use crate::weights::Weights;

const SEED: u64 = 5;

fn rope(theta: f64, pairing: Pairing) -> Rope {
    Rope { theta, pairing, scaling: RopeScaling::None }
}

fn llama() -> DecoderSpec {
    DecoderSpec {
        family: "llama".into(),
        vocab_rows: 20,
        hidden: 16,
        layers: 2,
        heads: 4,
        kv_heads: 2,
        head_dim: 6,
        ffn: 24,
        context_len: 80,
        norm_eps: 1e-5,
        norms: Norms::default(),
        rope: rope(1e3, Pairing::Halves),
        window: None,
        scales: Scales::default(),
        qkv_bias: false,
        tied_head: true,
        activation: Activation::Silu,
    }
}

/// Specifications that combine the options of all families.
fn specs() -> Vec<DecoderSpec> {
    let norms = |place, query_key, minus_one| Norms { place, query_key, minus_one };
    let window =
        |pairing| Window { tokens: 7, layers: vec![true, false], rope: rope(50.0, pairing) };
    vec![
        llama(),
        DecoderSpec {
            rope: rope(1e3, Pairing::Interleaved),
            qkv_bias: true,
            tied_head: false,
            norms: norms(NormPlace::Before, QueryKeyNorm::Head, false),
            ..llama()
        },
        DecoderSpec {
            norms: norms(NormPlace::After, QueryKeyNorm::Whole, false),
            rope: rope(1e3, Pairing::Interleaved),
            window: Some(window(Pairing::Interleaved)),
            ..llama()
        },
        DecoderSpec {
            norms: norms(NormPlace::Both, QueryKeyNorm::Head, true),
            window: Some(window(Pairing::Halves)),
            scales: Scales { embedding: 4.0, attention: Some(0.3) },
            activation: Activation::GeluTanh,
            ..llama()
        },
    ]
}

fn weights(spec: &DecoderSpec, stored: StoredType) -> Arc<Weights> {
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    let mut random = |(name, shape): (String, Vec<usize>)| {
        let mut number = || (rng.next_u32() as f32 / u32::MAX as f32 - 0.5).to_le_bytes();
        let bytes = (0..shape.iter().product()).flat_map(|_| number()).collect();
        let plain = vec![(name.clone(), StoredType::F32, shape.clone(), bytes)];
        let bytes = Weights::from_memory(plain).tensor(&name).unwrap().round_to(stored).unwrap();
        (name, stored, shape, bytes)
    };
    Arc::new(Weights::from_memory(tensors(spec).into_iter().map(&mut random).collect()))
}

fn agreement(dtype: Dtype, stored: StoredType, tolerance: Tolerance) -> Vec<Report> {
    let one = |spec: DecoderSpec| {
        // One row fewer than the embedding.
        let vocab = Vocab::new(spec.vocab_rows - 1, Fingerprint([7; 32]));
        let weights = weights(&spec, stored);
        let reference = naive::load("naive", &spec, &weights, vocab).unwrap();
        let model = super::load::<HostTensor>("host", &spec, &weights, vocab, (dtype, ())).unwrap();
        let report = check(&*model, Some(&*reference), tolerance, SEED);
        println!("{dtype}: {report:?}");
        report
    };
    specs().into_iter().map(one).collect()
}

/// The test library is batch invariant, so passes of any size and trees have the same bits.
#[test]
fn every_kind_of_layer_agrees_with_naive() {
    /// Measured: 2.1e-6, logits up to 4.2.
    const F32: Tolerance = Tolerance { passes: 0.0, reference: 5e-6 };
    for report in agreement(Dtype::F32, StoredType::F32, F32) {
        assert!(report.trees && report.batch_invariant);
    }
}

/// Activations are rounded to the type before each product, which bounds the agreement.
#[test]
fn f16_and_bf16_agree_with_naive_on_the_same_weights() {
    /// Measured: 3.9e-3.
    const F16: Tolerance = Tolerance { passes: 0.0, reference: 1e-2 };
    /// Measured: 4.3e-2.
    const BF16: Tolerance = Tolerance { passes: 0.0, reference: 0.1 };
    agreement(Dtype::F16, StoredType::F16, F16);
    agreement(Dtype::BF16, StoredType::BF16, BF16);
}
