//! The interpreters in each dtype, with their measured tolerances.

use std::sync::Arc;

use kad_backends::decoder::spec::DecoderSpec;
use kad_backends::{Dtype, LayeredModel, LoadError, StoredType, Weights, naive};
use kad_core::Vocab;
use kad_core::testing::conformance::{Report, Tolerance, check};

use super::golden::Golden;
use super::tiny;

pub(crate) const SEED: u64 = 3;

/// A backend's `load`.
pub(crate) type Load =
    fn(&str, &DecoderSpec, &Arc<Weights>, Vocab, Dtype) -> Result<Box<dyn LayeredModel>, LoadError>;

/// One backend in one dtype.
#[derive(Clone, Copy)]
pub(crate) struct BackendCase {
    pub(crate) name: &'static str,
    pub(crate) load: Load,
    pub(crate) dtype: Dtype,
    /// Stored type of the weights of model and reference, so that both have the same numbers.
    pub(crate) stored: &'static [StoredType],
    pub(crate) tolerance: Tolerance,
    /// Tolerance to naive for quantised files, whose numbers are rounded again at load.
    pub(crate) dequantised: f64,
    /// Tolerance to transformers in `f64` with the weights of `tests/golden`; `None` for quantised
    /// types, since their rows are not whole blocks.
    pub(crate) transformers: Option<f64>,
}

impl BackendCase {
    pub(crate) fn model(
        &self,
        spec: &DecoderSpec,
        weights: &Arc<Weights>,
    ) -> Box<dyn LayeredModel> {
        (self.load)(self.name, spec, weights, tiny::vocab(), self.dtype).unwrap()
    }

    /// Runs the conformance suite on a random model of `spec`, and compares with naive.
    ///
    /// # Panics
    /// If it fails.
    pub(crate) fn check(&self, spec: &DecoderSpec) -> Report {
        let weights = tiny::weights(spec, self.stored, SEED);
        let reference = naive::load("naive", spec, &weights, tiny::vocab()).unwrap();
        check(&*self.model(spec, &weights), Some(&*reference), self.tolerance, SEED)
    }

    /// Largest difference from the logits of transformers over the models of `tests/golden`.
    ///
    /// # Panics
    /// If it exceeds the tolerance.
    pub(crate) fn difference_from_transformers(&self) -> Option<f64> {
        let allowed = self.transformers?;
        let worst = Golden::all().map(|(name, golden)| {
            let (load, vocab) = (self.load, golden.vocab());
            let model = load(&name, &golden.spec, &golden.weights, vocab, self.dtype).unwrap();
            let worst = golden.worst(&*model);
            assert!(worst <= allowed, "{name}: logits differ by {worst:e}, allowed {allowed:e}");
            worst
        });
        Some(worst.fold(0.0, f64::max))
    }

    /// Every backend of this build in every dtype.
    pub(crate) fn all() -> Vec<BackendCase> {
        let all: &[&[BackendCase]] = &[
            #[cfg(feature = "candle")]
            &CANDLE,
            #[cfg(feature = "burn")]
            &BURN,
            #[cfg(feature = "tch")]
            &TCH,
            &[NAIVE],
        ];
        all.concat()
    }
}

/// Half the spacing of `f32` at the largest golden logit, 7.3: the rounding error of an exact
/// result. Measured: at most 2.38e-7.
pub(crate) const NAIVE_ROUNDING: f64 = 2.4e-7;

/// Batch invariant.
pub(crate) const NAIVE: BackendCase = BackendCase {
    name: "naive",
    load: |name, spec, weights, vocab, _| naive::load(name, spec, weights, vocab),
    dtype: Dtype::F32,
    stored: &[StoredType::F32],
    tolerance: Tolerance::EXACT,
    dequantised: 0.0,
    transformers: Some(NAIVE_ROUNDING),
};

/// To naive with the same weights in any stored type: only sums are rounded.
/// Largest measured: 3.8e-6 (f32), 4.2e-6 (f16, bf16), 1.7e-5 (K types, whose logits go to 150).
#[cfg(feature = "candle")]
pub(crate) const CANDLE_TOLERANCE: Tolerance = Tolerance { passes: 0.0, reference: 5e-5 };

#[cfg(feature = "candle")]
const CANDLE_F32: BackendCase = BackendCase {
    name: "candle",
    load: kad_backends::candle::load,
    dtype: Dtype::F32,
    stored: &[StoredType::F32],
    tolerance: CANDLE_TOLERANCE,
    dequantised: CANDLE_TOLERANCE.reference,
    // Measured: at most 3.4e-6 (Qwen2).
    transformers: Some(1e-5),
};

/// The candle backend in every dtype; every quantised type for `quantized`.
#[cfg(feature = "candle")]
pub(crate) const CANDLE: [BackendCase; 6] = [
    CANDLE_F32,
    BackendCase {
        dtype: Dtype::F16,
        stored: &[StoredType::F16],
        // `f32` weights are rounded. Measured: at most 9.2e-3.
        transformers: Some(3e-2),
        ..CANDLE_F32
    },
    BackendCase {
        dtype: Dtype::BF16,
        stored: &[StoredType::BF16],
        // Measured: at most 8.0e-2.
        transformers: Some(0.2),
        ..CANDLE_F32
    },
    BackendCase {
        dtype: Dtype::Quantized,
        stored: &[StoredType::Q8_0],
        transformers: None,
        ..CANDLE_F32
    },
    BackendCase {
        dtype: Dtype::Quantized,
        stored: &[StoredType::Q4_0],
        transformers: None,
        ..CANDLE_F32
    },
    BackendCase {
        dtype: Dtype::Quantized,
        stored: &[StoredType::Q4K, StoredType::Q5K, StoredType::Q6K],
        transformers: None,
        ..CANDLE_F32
    },
];

/// Measured over all families, logits up to 10.8: 1.05e-5 between passes, 1.29e-5 to naive and to
/// transformers; 5.0e-5 for quantised files (logits up to 20).
#[cfg(feature = "burn")]
const BURN_F32: BackendCase = BackendCase {
    name: "burn",
    load: kad_backends::burn::load,
    dtype: Dtype::F32,
    stored: &[StoredType::F32],
    tolerance: Tolerance { passes: 4e-5, reference: 4e-5 },
    dequantised: 1.5e-4,
    transformers: Some(4e-5),
};

/// Measured over all families, logits up to 10.8: 8.2e-3 between passes, 1.2e-2 to naive and to
/// transformers; 4.4e-2 for quantised files (logits up to 20).
#[cfg(feature = "burn")]
const BURN_F16: BackendCase = BackendCase {
    dtype: Dtype::F16,
    stored: &[StoredType::F16],
    tolerance: Tolerance { passes: 2.5e-2, reference: 4e-2 },
    dequantised: 1.5e-1,
    transformers: Some(4e-2),
    ..BURN_F32
};

/// Measured over all families, logits up to 10.8: 3.1e-2 between passes, 1.1e-1 to naive and to
/// transformers; 3.8e-1 for quantised files (logits up to 20).
#[cfg(feature = "burn")]
const BURN_BF16: BackendCase = BackendCase {
    dtype: Dtype::BF16,
    stored: &[StoredType::BF16],
    tolerance: Tolerance { passes: 0.1, reference: 0.3 },
    dequantised: 1.0,
    transformers: Some(0.3),
    ..BURN_F32
};

/// The burn backend in every dtype.
#[cfg(feature = "burn")]
pub(crate) const BURN: [BackendCase; 3] = [BURN_F32, BURN_F16, BURN_BF16];

/// Measured over all families, logits up to 10.8: 1.34e-5 between passes, 1.34e-5 to naive and to
/// transformers; 4.5e-5 for quantised files (logits up to 20).
#[cfg(feature = "tch")]
const TCH_F32: BackendCase = BackendCase {
    name: "tch",
    load: |name, spec, weights, vocab, dtype| {
        // Such small products gain nothing from threads, and libtorch's threads wait by spinning,
        // which takes minutes if another process uses one of the cores.
        ::tch::set_num_threads(1);
        kad_backends::tch::load(name, spec, weights, vocab, dtype)
    },
    dtype: Dtype::F32,
    stored: &[StoredType::F32],
    tolerance: Tolerance { passes: 4e-5, reference: 4e-5 },
    dequantised: 1.5e-4,
    transformers: Some(4e-5),
};

/// Measured over all families, logits up to 10.8: 7.4e-3 between passes, 1.2e-2 to naive and to
/// transformers; 4.3e-2 for quantised files (logits up to 20).
#[cfg(feature = "tch")]
const TCH_F16: BackendCase = BackendCase {
    dtype: Dtype::F16,
    stored: &[StoredType::F16],
    tolerance: Tolerance { passes: 2.5e-2, reference: 4e-2 },
    dequantised: 1.5e-1,
    transformers: Some(4e-2),
    ..TCH_F32
};

/// Measured over all families, logits up to 10.8: 3.3e-2 between passes, 1.1e-1 to naive and to
/// transformers; 3.7e-1 for quantised files (logits up to 20).
#[cfg(feature = "tch")]
const TCH_BF16: BackendCase = BackendCase {
    dtype: Dtype::BF16,
    stored: &[StoredType::BF16],
    tolerance: Tolerance { passes: 0.1, reference: 0.3 },
    dequantised: 1.0,
    transformers: Some(0.3),
    ..TCH_F32
};

/// The tch backend in every dtype.
#[cfg(feature = "tch")]
pub(crate) const TCH: [BackendCase; 3] = [TCH_F32, TCH_F16, TCH_BF16];
