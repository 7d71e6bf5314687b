//! Compares kad's dequantisation with candle's on random data quantised by candle.
#![cfg(feature = "candle")]

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use kad_backends::{StoredType, Weights};

use crate::support::random;

#[test]
fn every_block_type_dequantises_to_the_bits_of_candle() {
    let pairs = [
        (GgmlDType::F16, StoredType::F16),
        (GgmlDType::BF16, StoredType::BF16),
        (GgmlDType::F32, StoredType::F32),
        (GgmlDType::Q4_0, StoredType::Q4_0),
        (GgmlDType::Q4_1, StoredType::Q4_1),
        (GgmlDType::Q5_0, StoredType::Q5_0),
        (GgmlDType::Q8_0, StoredType::Q8_0),
        (GgmlDType::Q4K, StoredType::Q4K),
        (GgmlDType::Q5K, StoredType::Q5K),
        (GgmlDType::Q6K, StoredType::Q6K),
    ];
    let (rows, columns) = (65, 512);
    for (seed, (theirs, ours)) in pairs.into_iter().enumerate() {
        // Rows of very different magnitudes, so that scales use their whole range.
        let mut values = random(seed as u64, rows * columns, 1.0);
        for (row, values) in values.chunks_mut(columns).enumerate() {
            values.iter_mut().for_each(|value| *value *= (row as f32 / 4.0 - 8.0).exp2());
        }
        let tensor = Tensor::from_vec(values, (rows, columns), &Device::Cpu).unwrap();
        let quantised = QTensor::quantize(&tensor, theirs).unwrap();
        let bytes = quantised.data().unwrap().to_vec();
        let expected = quantised.dequantize(&Device::Cpu).unwrap();
        let expected: Vec<f32> = expected.flatten_all().unwrap().to_vec1().unwrap();
        let weights = Weights::from_memory(vec![("w".into(), ours, vec![rows, columns], bytes)]);
        let found = weights.tensor("w").unwrap().to_f32().unwrap();
        let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert!(bits(&found) == bits(&expected), "{ours}: not the same bits");
        assert!(found.iter().any(|&value| value != 0.0), "{ours}: nothing to compare");
    }
}
