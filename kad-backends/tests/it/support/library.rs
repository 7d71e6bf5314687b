//! Backends that interpret a `DecoderSpec`, in each dtype, with what they were measured to do.

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
pub(crate) struct Library {
    pub(crate) name: &'static str,
    pub(crate) load: Load,
    pub(crate) dtype: Dtype,
    /// What the reference's weights are stored in, so that both have the same numbers.
    pub(crate) stored: &'static [StoredType],
    pub(crate) tolerance: Tolerance,
    /// Against naive where the file holds blocks, whose numbers are rounded once more at load.
    pub(crate) dequantised: f64,
    /// Against transformers in `f64` with the weights of `tests/golden`; none for blocks, which
    /// those do not fill.
    pub(crate) transformers: Option<f64>,
}

impl Library {
    pub(crate) fn model(
        &self,
        spec: &DecoderSpec,
        weights: &Arc<Weights>,
    ) -> Box<dyn LayeredModel> {
        (self.load)(self.name, spec, weights, tiny::vocab(), self.dtype).unwrap()
    }

    /// The conformance suite on a random model of `spec`, and agreement with naive.
    ///
    /// # Panics
    /// If it fails.
    pub(crate) fn check(&self, spec: &DecoderSpec) -> Report {
        let weights = tiny::weights(spec, self.stored, SEED);
        let reference = naive::load("naive", spec, &weights, tiny::vocab()).unwrap();
        check(&*self.model(spec, &weights), Some(&*reference), self.tolerance, SEED)
    }

    /// Worst difference to the logits of transformers, over the models of `tests/golden`.
    ///
    /// # Panics
    /// If it is larger than was measured.
    pub(crate) fn apart_from_transformers(&self) -> Option<f64> {
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
    pub(crate) fn all() -> Vec<Library> {
        let all: &[&[Library]] = &[
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

/// Half the distance between neighbouring `f32` around the largest golden logit, 7.3: what rounding
/// a right answer costs. Measured: at most 2.38e-7.
pub(crate) const NAIVE_ROUNDING: f64 = 2.4e-7;

/// A token's numbers are computed by the same sums in any pass.
pub(crate) const NAIVE: Library = Library {
    name: "naive",
    load: |name, spec, weights, vocab, _| naive::load(name, spec, weights, vocab),
    dtype: Dtype::F32,
    stored: &[StoredType::F32],
    tolerance: Tolerance::EXACT,
    dequantised: 0.0,
    transformers: Some(NAIVE_ROUNDING),
};

/// Against naive with the same weights, whatever they are stored in: only sums are rounded.
/// Worst measured: 3.8e-6 (f32), 4.2e-6 (f16, bf16), 1.7e-5 (K types, whose logits go to 150).
#[cfg(feature = "candle")]
pub(crate) const CANDLE_TOLERANCE: Tolerance = Tolerance { passes: 0.0, reference: 5e-5 };

#[cfg(feature = "candle")]
const CANDLE_F32: Library = Library {
    name: "candle",
    load: kad_backends::candle::load,
    dtype: Dtype::F32,
    stored: &[StoredType::F32],
    tolerance: CANDLE_TOLERANCE,
    dequantised: CANDLE_TOLERANCE.reference,
    // Measured: 3.4e-6 (Qwen2) and less.
    transformers: Some(1e-5),
};

/// The candle backend in every dtype; blocks of each kind for `quantized`.
#[cfg(feature = "candle")]
pub(crate) const CANDLE: [Library; 6] = [
    CANDLE_F32,
    Library {
        dtype: Dtype::F16,
        stored: &[StoredType::F16],
        // Weights that are stored in `f32` are rounded. Measured: 9.2e-3 and less.
        transformers: Some(3e-2),
        ..CANDLE_F32
    },
    Library {
        dtype: Dtype::BF16,
        stored: &[StoredType::BF16],
        // Measured: 8.0e-2 and less.
        transformers: Some(0.2),
        ..CANDLE_F32
    },
    Library {
        dtype: Dtype::Quantized,
        stored: &[StoredType::Q8_0],
        transformers: None,
        ..CANDLE_F32
    },
    Library {
        dtype: Dtype::Quantized,
        stored: &[StoredType::Q4_0],
        transformers: None,
        ..CANDLE_F32
    },
    Library {
        dtype: Dtype::Quantized,
        stored: &[StoredType::Q4K, StoredType::Q5K, StoredType::Q6K],
        transformers: None,
        ..CANDLE_F32
    },
];

/// Measured over all families, logits up to 10.8: 1.05e-5 between passes, 1.29e-5 to naive and to
/// transformers; 5.0e-5 where a file holds blocks (logits up to 20).
#[cfg(feature = "burn")]
const BURN_F32: Library = Library {
    name: "burn",
    load: kad_backends::burn::load,
    dtype: Dtype::F32,
    stored: &[StoredType::F32],
    tolerance: Tolerance { passes: 4e-5, reference: 4e-5 },
    dequantised: 1.5e-4,
    transformers: Some(4e-5),
};

/// Measured over all families, logits up to 10.8: 8.2e-3 between passes, 1.2e-2 to naive and to
/// transformers; 4.4e-2 where a file holds blocks (logits up to 20).
#[cfg(feature = "burn")]
const BURN_F16: Library = Library {
    dtype: Dtype::F16,
    stored: &[StoredType::F16],
    tolerance: Tolerance { passes: 2.5e-2, reference: 4e-2 },
    dequantised: 1.5e-1,
    transformers: Some(4e-2),
    ..BURN_F32
};

/// Measured over all families, logits up to 10.8: 3.1e-2 between passes, 1.1e-1 to naive and to
/// transformers; 3.8e-1 where a file holds blocks (logits up to 20).
#[cfg(feature = "burn")]
const BURN_BF16: Library = Library {
    dtype: Dtype::BF16,
    stored: &[StoredType::BF16],
    tolerance: Tolerance { passes: 0.1, reference: 0.3 },
    dequantised: 1.0,
    transformers: Some(0.3),
    ..BURN_F32
};

/// The burn backend in every dtype.
#[cfg(feature = "burn")]
pub(crate) const BURN: [Library; 3] = [BURN_F32, BURN_F16, BURN_BF16];

/// Measured over all families, logits up to 10.8: 1.34e-5 between passes, 1.34e-5 to naive and to
/// transformers; 4.5e-5 where a file holds blocks (logits up to 20).
#[cfg(feature = "tch")]
const TCH_F32: Library = Library {
    name: "tch",
    load: |name, spec, weights, vocab, dtype| {
        // Products this small gain nothing by threads, and libtorch's wait for each other by
        // spinning: minutes where another process has one of the cores.
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
/// transformers; 4.3e-2 where a file holds blocks (logits up to 20).
#[cfg(feature = "tch")]
const TCH_F16: Library = Library {
    dtype: Dtype::F16,
    stored: &[StoredType::F16],
    tolerance: Tolerance { passes: 2.5e-2, reference: 4e-2 },
    dequantised: 1.5e-1,
    transformers: Some(4e-2),
    ..TCH_F32
};

/// Measured over all families, logits up to 10.8: 3.3e-2 between passes, 1.1e-1 to naive and to
/// transformers; 3.7e-1 where a file holds blocks (logits up to 20).
#[cfg(feature = "tch")]
const TCH_BF16: Library = Library {
    dtype: Dtype::BF16,
    stored: &[StoredType::BF16],
    tolerance: Tolerance { passes: 0.1, reference: 0.3 },
    dequantised: 1.0,
    transformers: Some(0.3),
    ..TCH_F32
};

/// The tch backend in every dtype.
#[cfg(feature = "tch")]
pub(crate) const TCH: [Library; 3] = [TCH_F32, TCH_F16, TCH_BF16];
