//! A tensor library for tests: vectors and loops, written after the definition of each operation.

use half::{bf16, f16};

use super::operations::{FloatType, OpResult, Tensor};

/// An array `[a, b, c]`, row-major, always `f32`; numbers of other types are stored rounded.
#[derive(Clone)]
pub(super) struct HostTensor {
    shape: [usize; 3],
    numbers: Vec<f32>,
}

impl HostTensor {
    fn make(shape: [usize; 3], number: impl Fn([usize; 3]) -> f32) -> OpResult<Self> {
        let mut numbers = Vec::new();
        for a in 0..shape[0] {
            for b in 0..shape[1] {
                (0..shape[2]).for_each(|c| numbers.push(number([a, b, c])));
            }
        }
        Ok(Self { shape, numbers })
    }

    fn at(&self, [a, b, c]: [usize; 3]) -> f32 {
        assert!(a < self.shape[0] && b < self.shape[1] && c < self.shape[2]);
        self.numbers[(a * self.shape[1] + b) * self.shape[2] + c]
    }

    fn each(mut self, change: impl Fn(f32) -> f32) -> OpResult<Self> {
        self.numbers.iter_mut().for_each(|x| *x = change(*x));
        Ok(self)
    }

    /// Changes each row of the last dimension.
    fn each_row(mut self, change: impl Fn(&mut [f32])) -> OpResult<Self> {
        let width = self.shape[2];
        self.numbers.chunks_exact_mut(width).for_each(change);
        Ok(self)
    }

    fn with(&self, other: &Self, both: impl Fn(f32, f32) -> f32) -> OpResult<Self> {
        for (one, other) in self.shape.iter().zip(other.shape) {
            assert!(*one == other || other == 1, "{:?} with {other:?}", self.shape);
        }
        let repeated = |at: [usize; 3]| std::array::from_fn(|d| at[d] % other.shape[d]);
        Self::make(self.shape, |at| both(self.at(at), other.at(repeated(at))))
    }
}

impl Tensor for HostTensor {
    const BACKEND: &'static str = "host";
    type Device = ();

    fn from_bytes(bytes: Vec<u8>, float: FloatType, shape: [usize; 3], _: &()) -> OpResult<Self> {
        let pairs = || bytes.as_chunks::<2>().0.iter();
        let numbers: Vec<f32> = match float {
            FloatType::F32 => bytes.as_chunks().0.iter().map(|x| f32::from_le_bytes(*x)).collect(),
            FloatType::F16 => pairs().map(|x| f16::from_le_bytes(*x).to_f32()).collect(),
            FloatType::BF16 => pairs().map(|x| bf16::from_le_bytes(*x).to_f32()).collect(),
        };
        assert_eq!(numbers.len(), shape.iter().product::<usize>());
        Ok(Self { shape, numbers })
    }

    fn zeros(shape: [usize; 3], _: &()) -> OpResult<Self> {
        Self::make(shape, |_| 0.0)
    }

    fn to_f32(self) -> OpResult<Vec<f32>> {
        Ok(self.numbers)
    }

    fn to_float(self, float: FloatType) -> OpResult<Self> {
        self.each(|x| match float {
            FloatType::F32 => x,
            FloatType::F16 => f16::from_f32(x).to_f32(),
            FloatType::BF16 => bf16::from_f32(x).to_f32(),
        })
    }

    fn shape(&self) -> [usize; 3] {
        self.shape
    }

    fn reshape(self, shape: [usize; 3]) -> OpResult<Self> {
        assert_eq!(self.numbers.len(), shape.iter().product::<usize>());
        Ok(Self { shape, ..self })
    }

    fn swap_dims(self, one: usize, other: usize) -> OpResult<Self> {
        let mut shape = self.shape;
        shape.swap(one, other);
        Self::make(shape, |mut at| {
            at.swap(one, other);
            self.at(at)
        })
    }

    fn narrow(&self, dim: usize, from: usize, len: usize) -> OpResult<Self> {
        let mut shape = self.shape;
        shape[dim] = len;
        Self::make(shape, |mut at| {
            at[dim] += from;
            self.at(at)
        })
    }

    fn concat(self, right: Self) -> OpResult<Self> {
        let ([a, b, left], width) = (self.shape, self.shape[2] + right.shape[2]);
        Self::make([a, b, width], |[a, b, c]| match c.checked_sub(left) {
            None => self.at([a, b, c]),
            Some(c) => right.at([a, b, c]),
        })
    }

    fn select_rows(&self, rows: &[usize]) -> OpResult<Self> {
        let [a, _, c] = self.shape;
        Self::make([a, rows.len(), c], |[a, b, c]| self.at([a, rows[b], c]))
    }

    fn set_rows(&mut self, at: usize, rows: Self) -> OpResult<()> {
        let new = at..at + rows.shape[1];
        assert!(new.end <= self.shape[1]);
        *self = Self::make(self.shape, |[a, b, c]| match new.contains(&b) {
            true => rows.at([a, b - at, c]),
            false => self.at([a, b, c]),
        })?;
        Ok(())
    }

    fn add(self, other: &Self) -> OpResult<Self> {
        self.with(other, |x, y| x + y)
    }

    fn mul(self, other: &Self) -> OpResult<Self> {
        self.with(other, |x, y| x * y)
    }

    fn scale(self, factor: f64) -> OpResult<Self> {
        self.each(|x| x * factor as f32)
    }

    fn linear(self, weight: &Self) -> OpResult<Self> {
        self.matmul(weight.clone().swap_dims(1, 2)?)
    }

    fn matmul(self, other: Self) -> OpResult<Self> {
        assert_eq!((self.shape[0], self.shape[2]), (other.shape[0], other.shape[1]));
        let shape = [self.shape[0], self.shape[1], other.shape[2]];
        Self::make(shape, |[a, b, d]| {
            (0..other.shape[1]).map(|c| self.at([a, b, c]) * other.at([a, c, d])).sum()
        })
    }

    fn rms_norm(self, weight: &Self, eps: f64) -> OpResult<Self> {
        assert_eq!(weight.shape, [1, 1, self.shape[2]]);
        self.each_row(|row| {
            let mean = row.iter().map(|x| x * x).sum::<f32>() / row.len() as f32;
            let scale = 1.0 / (mean + eps as f32).sqrt();
            row.iter_mut().zip(&weight.numbers).for_each(|(x, weight)| *x *= scale * weight);
        })
    }

    fn softmax(self) -> OpResult<Self> {
        self.each_row(|row| {
            let highest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            row.iter_mut().for_each(|x| *x = (*x - highest).exp());
            let total: f32 = row.iter().sum();
            row.iter_mut().for_each(|x| *x /= total);
        })
    }

    fn silu(self) -> OpResult<Self> {
        self.each(|x| x / (1.0 + (-x).exp()))
    }

    fn gelu_tanh(self) -> OpResult<Self> {
        let root = (2.0 / std::f32::consts::PI).sqrt();
        self.each(|x| 0.5 * x * (1.0 + (root * (x + 0.044715 * x * x * x)).tanh()))
    }
}
