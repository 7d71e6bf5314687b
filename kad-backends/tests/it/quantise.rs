//! Weights quantised to GGML's blocks: compares the bytes with GGML's own tools and a slow
//! reference, and the models with `naive`.

use std::path::Path;

use half::f16;
use kad_backends::{LoadError, StoredType, Weights};

use crate::support::{f32_bytes, random};

const BLOCKS: [StoredType; 2] = [StoredType::Q8_0, StoredType::Q4_0];
const BLOCK: usize = 32;

fn tensor(values: &[f32]) -> Weights {
    let shape = vec![values.len() / BLOCK, BLOCK];
    Weights::from_memory(vec![("w".into(), StoredType::F32, shape, f32_bytes(values))])
}

fn rounded(values: &[f32], to: StoredType) -> Vec<u8> {
    tensor(values).tensor("w").unwrap().round_to(to).unwrap()
}

/// Blocks of magnitudes from 2⁻²⁰ to 2¹³.
fn blocks(seed: u64, count: usize) -> Vec<f32> {
    let mut values = random(seed, count * BLOCK, 1.0);
    for (i, block) in values.chunks_mut(BLOCK).enumerate() {
        let size = ((i % 34) as f32 - 20.0).exp2();
        block.iter_mut().for_each(|value| *value *= size);
    }
    values
}

/// The blocks of `tests/golden/blocks/make.py`: zeros, ties of magnitude with either sign first,
/// numbers next to halves, scales that are subnormal or zero in half precision.
#[test]
fn bytes_equal_those_of_ggmls_python_package() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/blocks");
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let values: Vec<f32> =
        read("values.f32").as_chunks().0.iter().map(|x| f32::from_le_bytes(*x)).collect();
    assert_eq!(values.len() % BLOCK, 0);
    for (name, to) in [("q8_0.bin", StoredType::Q8_0), ("q4_0.bin", StoredType::Q4_0)] {
        let (found, expected) = (rounded(&values, to), read(name));
        assert_eq!(found.len(), expected.len(), "{to}");
        let pairs = found.chunks(to.block_bytes()).zip(expected.chunks(to.block_bytes()));
        for (block, (found, expected)) in pairs.enumerate() {
            assert_eq!(
                found,
                expected,
                "{to}, block {block}: {:?}",
                &values[block * BLOCK..][..32]
            );
        }
    }
}

#[cfg(feature = "candle")]
#[test]
fn bytes_equal_those_of_candles_quantiser() {
    use candle_core::quantized::{GgmlDType, QTensor};
    use candle_core::{Device, Tensor};
    // More than one parallel task.
    let values = blocks(11, 5000);
    let theirs = Tensor::from_slice(&values, (5000, BLOCK), &Device::Cpu).unwrap();
    for (kind, to) in [(GgmlDType::Q8_0, StoredType::Q8_0), (GgmlDType::Q4_0, StoredType::Q4_0)] {
        let expected = QTensor::quantize(&theirs, kind).unwrap();
        assert!(rounded(&values, to) == *expected.data().unwrap(), "{to}");
    }
}

/// In `f64`, by trying every integer of the format: each number is stored as the nearest
/// representable one.
#[test]
fn every_number_is_rounded_to_the_nearest_of_its_block() {
    let values = blocks(5, 340);
    for to in BLOCKS {
        let bytes = rounded(&values, to);
        for (values, bytes) in values.chunks(BLOCK).zip(bytes.chunks(to.block_bytes())) {
            let (d, range) = exact_scale(values, to);
            let stored = f16::from_le_bytes([bytes[0], bytes[1]]).to_f64();
            // Half a unit of the eleventh bit or of the smallest subnormal.
            let allowed = (d.abs() / 2048.0).max(f64::powi(2.0, -25)) * (1.0 + 1e-6);
            assert!((stored - d).abs() <= allowed, "{to}: scale {stored} for {d}");
            for (i, &value) in values.iter().enumerate() {
                let distance = |q: i32| (f64::from(value) - f64::from(q) * d).abs();
                let nearest = range.clone().map(distance).fold(f64::INFINITY, f64::min);
                let found = distance(integer(bytes, i, to));
                // The product with 1 / d is rounded twice, in 24 bits.
                assert!(found <= nearest + 1e-4 * d.abs(), "{to}: {value} at {found} of {nearest}");
            }
        }
    }
}

/// The unrounded scale, and the integers of the format.
fn exact_scale(values: &[f32], to: StoredType) -> (f64, std::ops::RangeInclusive<i32>) {
    let size = values.iter().map(|x| f64::from(x.abs())).fold(0.0, f64::max);
    if to == StoredType::Q8_0 {
        return (size / 127.0, -127..=127);
    }
    let first = values.iter().find(|x| f64::from(x.abs()) == size).unwrap();
    (f64::from(*first) / -8.0, -8..=7)
}

/// The integer of element `i`, by the definition of the format.
fn integer(block: &[u8], i: usize, stored: StoredType) -> i32 {
    match stored {
        StoredType::Q8_0 => i32::from(block[2 + i] as i8),
        _ => i32::from(block[2 + i % 16] >> (i / 16 * 4) & 15) - 8,
    }
}

#[test]
fn quantised_weights_stay_unchanged() {
    let values = blocks(9, 64);
    for to in BLOCKS {
        let bytes = rounded(&values, to);
        let shape = vec![64, BLOCK];
        let stored = Weights::from_memory(vec![("w".into(), to, shape, bytes.clone())]);
        let tensor = stored.tensor("w").unwrap();
        assert!(tensor.round_to(to).unwrap() == bytes);
        let widened = tensor.round_to(StoredType::F32).unwrap();
        assert!(widened == f32_bytes(&tensor.to_f32().unwrap()));
    }
}

#[test]
fn tensors_without_whole_blocks_are_refused_by_name() {
    let view = |shape: &[usize], value: f32, to| {
        let values = vec![value; shape.iter().product()];
        let tensor = ("w".to_owned(), StoredType::F32, shape.to_vec(), f32_bytes(&values));
        let weights = Weights::from_memory(vec![tensor]);
        weights.tensor("w").unwrap().round_to(to).unwrap_err().to_string()
    };
    let error = view(&[4, 40], 1.0, StoredType::Q8_0);
    assert!(error.contains("tensor `w` to Q8_0: its rows of 40 are not whole blocks"), "{error}");
    let error = view(&[1, 64], f32::NAN, StoredType::Q4_0);
    assert!(error.contains("element 0 is NaN"), "{error}");
    let error = view(&[1, 256], 1.0, StoredType::Q5K);
    assert!(error.contains("supported: F32, F16, BF16, Q8_0, Q4_0"), "{error}");
    let short = ("w".to_owned(), StoredType::F32, vec![1, 64], vec![0; 4]);
    let short = Weights::from_memory(vec![short]);
    let error = short.tensor("w").unwrap().round_to(StoredType::Q8_0);
    assert!(matches!(error, Err(LoadError::WrongSize { .. })));
}

#[cfg(feature = "candle")]
mod models {
    use std::sync::Arc;

    use kad_backends::decoder::spec::DecoderSpec;
    use kad_backends::decoder::{EMBEDDING, HEAD};
    use kad_backends::{Backend, Dtype, LayeredModel, ModelRequest, candle, load, naive};
    use kad_core::testing::conformance::{Tolerance, check};
    use kad_core::{LanguageModel, LogitRows};

    use super::*;
    use crate::support::tiny::{self, gguf_llama, llama, qwen2};
    use crate::support::{gguf, hf};

    const SEED: u64 = 3;

    /// As in `interpreters.rs`, only sums are rounded. Largest measured: 5.0e-6.
    const TINY: Tolerance = Tolerance { passes: 0.0, reference: 5e-5 };

    fn model(spec: &DecoderSpec, weights: &Arc<Weights>, dtype: Dtype) -> Box<dyn LayeredModel> {
        candle::load("candle", spec, weights, tiny::vocab(), dtype).unwrap()
    }

    fn rows(model: &dyn LanguageModel) -> LogitRows {
        let mut out = LogitRows::new(model.vocab().size());
        model.start().unwrap().extend(&[3, 1, 4, 1, 5, 9, 2, 6], 8, &mut out).unwrap();
        out
    }

    /// The weights of a dtype: each matrix in its type.
    fn by_hand(weights: &Weights, dtype: Dtype) -> Arc<Weights> {
        let tensors = weights.tensors().map(|t| {
            let table = t.name == EMBEDDING || t.name == HEAD;
            let to = match dtype {
                _ if t.shape.len() != 2 || t.shape[1] % BLOCK != 0 => t.stored,
                Dtype::Q4_0 if !table => StoredType::Q4_0,
                _ => StoredType::Q8_0,
            };
            (t.name.to_owned(), to, t.shape.to_vec(), t.round_to(to).unwrap())
        });
        Arc::new(Weights::from_memory(tensors.collect()))
    }

    /// An untied head, biases, and a down projection whose rows are not whole blocks.
    fn mixed() -> DecoderSpec {
        DecoderSpec { hidden: 64, head_dim: 16, ffn: 40, ..qwen2() }
    }

    /// Weights quantised at load and quantised weights in a file are the same model, and it agrees
    /// with `naive`.
    #[test]
    fn a_model_quantised_at_load_equals_one_with_quantised_weights() {
        use StoredType::{BF16, F16, F32, Q4_1, Q6K};
        for dtype in [Dtype::Q8_0, Dtype::Q4_0] {
            for (spec, types) in [
                (gguf_llama(), vec![F32]),
                (gguf_llama(), vec![F16, BF16]),
                (gguf_llama(), vec![Q4_1, Q6K]),
                (mixed(), vec![F32]),
            ] {
                let weights = tiny::weights(&spec, &types, SEED);
                let here = model(&spec, &weights, dtype);
                let by_hand = by_hand(&weights, dtype);
                let read = model(&spec, &by_hand, Dtype::Auto);
                assert!(rows(&*here) == rows(&*read), "{dtype}, {types:?}");
                let original = model(&spec, &weights, Dtype::Auto);
                assert!(
                    rows(&*here) != rows(&*original),
                    "{dtype}, {types:?}: nothing was rounded"
                );
                let slow = naive::load("naive", &spec, &by_hand, tiny::vocab()).unwrap();
                let report = check(&*here, Some(&*slow), TINY, SEED);
                println!("{dtype}, {}, {types:?}: {report:?}", spec.family);
                assert!(report.batch_invariant);
            }
        }
    }

    #[test]
    fn a_model_without_whole_blocks_is_refused() {
        for dtype in [Dtype::Q8_0, Dtype::Q4_0] {
            let weights = tiny::weights(&llama(), &[], SEED);
            let error = candle::load("m", &llama(), &weights, tiny::vocab(), dtype).err().unwrap();
            let wanted = format!("dtype is not supported: {dtype} for a model without a matrix");
            assert!(error.to_string().contains(&wanted), "{error}");
        }
    }

    /// Files of either format, and the model details.
    #[test]
    fn files_are_quantised_at_load_and_the_details_show_it() {
        let folder = tempfile::tempdir().unwrap();
        hf::write_single(folder.path());
        let file = folder.path().join("other.gguf");
        std::fs::write(&file, gguf::small_model("qwen2").bytes()).unwrap();
        // Two layers of seven matrices and the embedding; feed-forward width 48.
        let cases = [
            (Dtype::Q8_0, "2 F32, 13 Q8_0"),
            (Dtype::Q4_0, "2 F32, 12 Q4_0, 1 Q8_0"),
            (Dtype::F16, "15 F16"),
        ];
        for path in [folder.path(), &file] {
            for (dtype, kept) in cases {
                let source = path.to_str().unwrap().parse().unwrap();
                let backend = Backend::Candle;
                let request = ModelRequest { name: "m".into(), source, backend, dtype };
                let loaded = load(&request, &|_| ()).unwrap();
                let shown = loaded.details.to_string();
                assert!(shown.contains(&format!("backend      candle, {dtype}\n")), "{shown}");
                assert!(shown.contains(&format!("matrices     {kept}")), "{shown}");
                let odd = shown.contains("(F32: rows are not whole blocks)");
                assert_eq!(odd, dtype != Dtype::F16, "{shown}");
                assert!(rows(&*loaded.model).iter().flatten().all(|x| x.is_finite()));
            }
        }
    }
}
