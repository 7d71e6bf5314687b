//! Tiny random models in memory.

use std::sync::Arc;

use half::f16;
use kad_backends::decoder::spec::{
    Activation, DecoderSpec, NormPlace, Norms, Pairing, QueryKeyNorm, Rope, RopeScaling, Scales,
    Window,
};
use kad_backends::decoder::{EMBEDDING, HEAD, tensors};
use kad_backends::{StoredType, Weights};
use kad_core::{Fingerprint, Vocab};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Most layers of these models in tests.
const LAYERS: usize = 4;

/// Embedding rows: one more than the tokenizer's size, as in padded files.
const ROWS: usize = 50;

pub(crate) fn vocab() -> Vocab {
    Vocab::new(ROWS - 1, Fingerprint([7; 32]))
}

/// Llama: tied head, four query heads, two key heads.
pub(crate) fn llama() -> DecoderSpec {
    DecoderSpec {
        family: "llama".into(),
        vocab_rows: ROWS,
        // No multiple of sixteen, so that the kernels' remainders are tested.
        hidden: 40,
        layers: 2,
        heads: 4,
        kv_heads: 2,
        head_dim: 10,
        ffn: 56,
        context_len: 300,
        norm_eps: 1e-5,
        norms: Norms::default(),
        rope: Rope { theta: 1e4, pairing: Pairing::Halves, scaling: RopeScaling::None },
        window: None,
        scales: Scales::default(),
        qkv_bias: false,
        tied_head: true,
        activation: Activation::Silu,
    }
}

/// Llama in the layout of GGUF files, with rows of whole blocks of every type.
pub(crate) fn gguf_llama() -> DecoderSpec {
    let rope = Rope { theta: 1e4, pairing: Pairing::Interleaved, scaling: RopeScaling::None };
    DecoderSpec { rope, ..of_whole_blocks(llama()) }
}

/// Qwen2: biases, an untied head, and the other activation.
pub(crate) fn qwen2() -> DecoderSpec {
    DecoderSpec {
        family: "qwen2".into(),
        rope: Rope { theta: 1e6, pairing: Pairing::Halves, scaling: RopeScaling::None },
        qkv_bias: true,
        tied_head: false,
        activation: Activation::GeluTanh,
        // All heads together are wider than the residual stream.
        head_dim: 12,
        ..llama()
    }
}

/// Mistral: a window in every layer, shorter than most texts.
pub(crate) fn mistral() -> DecoderSpec {
    let window = Window { tokens: 7, layers: vec![true; LAYERS], rope: llama().rope };
    DecoderSpec { family: "mistral".into(), window: Some(window), ..llama() }
}

/// Qwen3: norms per head, and a window in every second layer.
pub(crate) fn qwen3() -> DecoderSpec {
    let layers = (0..LAYERS).map(|layer| layer % 2 == 1).collect();
    let window = Window { tokens: 20, layers, rope: llama().rope };
    let norms = Norms { query_key: QueryKeyNorm::Head, ..Norms::default() };
    DecoderSpec {
        family: "qwen3".into(),
        norms,
        window: Some(window),
        tied_head: false,
        head_dim: 16,
        ..llama()
    }
}

/// OLMo-2: norms after sublayers and over whole projections.
pub(crate) fn olmo2() -> DecoderSpec {
    let norms = Norms { place: NormPlace::After, query_key: QueryKeyNorm::Whole, minus_one: false };
    DecoderSpec { family: "olmo2".into(), norms, tied_head: false, ..llama() }
}

/// Gemma 3: norms before and after sublayers and per head, windows with another rotary base,
/// scales.
pub(crate) fn gemma3() -> DecoderSpec {
    let norms = Norms { place: NormPlace::Both, query_key: QueryKeyNorm::Head, minus_one: true };
    let rope = Rope { theta: 100.0, pairing: Pairing::Halves, scaling: RopeScaling::None };
    let layers = (0..LAYERS).map(|layer| layer % 2 == 0).collect();
    DecoderSpec {
        family: "gemma3_text".into(),
        norms,
        rope: Rope { scaling: RopeScaling::Linear { factor: 2.0 }, ..llama().rope },
        window: Some(Window { tokens: 9, layers, rope }),
        scales: Scales { embedding: 40f64.sqrt(), attention: Some(0.25) },
        activation: Activation::GeluTanh,
        head_dim: 14,
        ..llama()
    }
}

/// One model of every family; only the GGUF model has rows of whole blocks.
pub(crate) fn all() -> [DecoderSpec; 7] {
    [llama(), gguf_llama(), qwen2(), mistral(), qwen3(), olmo2(), gemma3()]
}

/// `spec` with rows of whole blocks of every type.
pub(crate) fn of_whole_blocks(spec: DecoderSpec) -> DecoderSpec {
    DecoderSpec { hidden: 256, heads: 8, kv_heads: 2, head_dim: 32, ffn: 256, ..spec }
}

/// Weights for `spec`: `f32`, or matrices in `types` in turn.
pub(crate) fn weights(spec: &DecoderSpec, types: &[StoredType], seed: u64) -> Arc<Weights> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut turns = types.iter().cycle();
    let tensors = tensors(spec).into_iter().map(|(name, shape)| {
        let stored = match shape.len() {
            2 => *turns.next().unwrap_or(&StoredType::F32),
            _ => StoredType::F32,
        };
        let width = shape[shape.len() - 1];
        // Logits of a few units; gates and attention outside their linear range.
        let size = match name.as_str() {
            EMBEDDING | HEAD => 0.5,
            _ if shape.len() == 1 => 1.0,
            _ => 3.0 / (width as f32).sqrt(),
        };
        let bytes = random(&mut rng, stored, shape.iter().product(), size);
        (name, stored, shape, bytes)
    });
    Arc::new(Weights::from_memory(tensors.collect()))
}

fn random(rng: &mut impl Rng, stored: StoredType, count: usize, size: f32) -> Vec<u8> {
    let mut uniform = || (rng.next_u32() as f32 / u32::MAX as f32 * 2.0 - 1.0) * size;
    match stored {
        StoredType::F32 => (0..count).flat_map(|_| uniform().to_le_bytes()).collect(),
        StoredType::F16 => {
            (0..count).flat_map(|_| f16::from_f32(uniform()).to_le_bytes()).collect()
        }
        StoredType::BF16 => {
            (0..count).flat_map(|_| half::bf16::from_f32(uniform()).to_le_bytes()).collect()
        }
        blocks => {
            let count = count / blocks.block_len();
            (0..count).flat_map(|_| random_block(rng, blocks, size)).collect()
        }
    }
}

/// A block of random bits with scales that bound its elements by about `size`.
fn random_block(rng: &mut impl Rng, stored: StoredType, size: f32) -> Vec<u8> {
    let mut block = vec![0; stored.block_bytes()];
    rng.fill_bytes(&mut block);
    let mut put = |at: usize, value: f32| {
        block[at..at + 2].copy_from_slice(&f16::from_f32(value).to_le_bytes());
    };
    match stored {
        StoredType::Q4_0 => put(0, size / 8.0),
        StoredType::Q5_0 => put(0, size / 16.0),
        StoredType::Q8_0 => put(0, size / 128.0),
        StoredType::Q4_1 => (put(0, size / 8.0), put(2, -size)).0,
        // Scale and minimum have the mean 32, nibbles 7.5 or 15.5.
        StoredType::Q4K => (put(0, size / 250.0), put(2, size / 32.0)).0,
        StoredType::Q5K => (put(0, size / 500.0), put(2, size / 32.0)).0,
        StoredType::Q6K => put(208, size / 2000.0),
        plain => unreachable!("{plain} has no blocks"),
    }
    block
}
