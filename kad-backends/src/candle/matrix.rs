//! Weight matrices of any type in memory, and their products with `f32` rows.

use std::sync::Arc;

use candle_core::{CpuStorage, Device, Storage as CandleStorage, StorageRef, Tensor};
use rayon::prelude::*;

use super::expand::expand;
use super::kernels::{self, ROWS};
use crate::dtype::Dtype;
use crate::error::LoadError;
use crate::stored_type::StoredType;
use crate::weights::{TensorView, Weights};

/// Most tokens in a pass for kad's own kernel; larger passes use candle's matrix product.
///
/// kad's kernel reads every weight once, and its sums do not depend on the number of tokens. With
/// AVX-512 it was faster at every tested number of tokens (up to 512), so it computes all chunks.
/// Without AVX-512, candle's product was faster from about 16 tokens on. Verification passes still
/// use kad's kernel, because equal bits matter more there.
pub const NARROW: usize = if cfg!(target_feature = "avx512f") { super::CHUNK } else { 64 };

/// Multiplications below which a product stays on one thread; `LARGE_PRODUCT` for a matrix with
/// fewer weights than `LARGE_MATRIX`. Waking threads takes 50 to 100 microseconds; a small matrix
/// in the processor's caches is finished by then. Nano's large model, ms per pass over 1, 4 and 8
/// tokens on two threads: 0.28, 0.90 and 1.64 without the second limit, 0.30, 0.46 and 0.69 with
/// it.
const PARALLEL_FROM: usize = 400_000;
const LARGE_MATRIX: usize = 300_000;
const LARGE_PRODUCT: usize = 6_000_000;

/// Tasks per thread: more than one, so that a late thread does not delay the others.
const TASKS_PER_THREAD: usize = 2;

/// Bytes of a cache line.
const CACHE_LINE: usize = 64;

/// Stacked matrices `[out_i, in]` with the same input, applied together: `[Σ out_i, in]`.
pub(super) struct Matrix {
    parts: Vec<MatrixPart>,
    width: usize,
    rows: usize,
}

struct MatrixPart {
    storage: PartStorage,
    rows: usize,
}

/// Numbers of a matrix in memory.
#[derive(Clone)]
enum PartStorage {
    /// A candle tensor of `f32`.
    Float(Tensor),
    /// Stored bytes, memory-mapped or in memory; each row is dequantised when used.
    Stored { weights: Arc<Weights>, name: String },
}

/// Borrowed numbers of a matrix for one product.
enum PartValues<'a> {
    Float(StorageRef<'a>),
    Stored(StoredType, &'a [u8]),
}

impl Matrix {
    /// Stacks matrices of the same width.
    pub(super) fn stack(parts: Vec<Matrix>) -> Matrix {
        let width = parts.first().map_or(0, |part| part.width);
        let rows = parts.iter().map(|part| part.rows).sum();
        Matrix { parts: parts.into_iter().flat_map(|part| part.parts).collect(), width, rows }
    }

    /// The first `rows` rows of the tensor `name` in the type of `dtype`. A tensor stored in this
    /// type is not copied.
    pub(super) fn load(
        weights: &Arc<Weights>,
        name: &str,
        rows: usize,
        dtype: Dtype,
    ) -> Result<Matrix, LoadError> {
        let view = weights.tensor(name)?;
        view.check_size()?;
        let storage = match dtype.kept(name, view.stored, view.shape) {
            StoredType::F32 => float(&view)?,
            kept if kept == view.stored => {
                PartStorage::Stored { weights: weights.clone(), name: name.to_owned() }
            }
            kept => rounded(&view, kept)?,
        };
        let width = view.shape.last().copied().unwrap_or(0);
        Ok(Matrix { parts: vec![MatrixPart { storage, rows }], width, rows })
    }

    /// The first `rows` rows, sharing the numbers.
    pub(super) fn share(&self, rows: usize) -> Matrix {
        let parts =
            self.parts.iter().map(|p| MatrixPart { storage: p.storage.clone(), rows }).collect();
        Matrix { parts, width: self.width, rows }
    }

    /// Number of rows, the width of a product.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Appends row `index` to `out`; for a matrix of one part.
    pub(super) fn row(&self, index: usize, out: &mut Vec<f32>) -> candle_core::Result<()> {
        let (from, mut scratch) = (out.len(), Vec::new());
        out.resize(from + self.width, 0.0);
        let numbers = self.parts[0].storage.numbers()?;
        out[from..].copy_from_slice(numbers.rows(index, 1, self.width, &mut scratch)?);
        Ok(())
    }

    /// `out = inputs · matrixᵀ`: `inputs` is `[tokens, in]`, `out` is `[tokens, Σ out_i]`.
    pub(super) fn apply(&self, inputs: &[f32], out: &mut [f32]) -> candle_core::Result<()> {
        let tokens = inputs.len() / self.width;
        if tokens == 1 {
            return self.narrow(inputs, 1, out);
        }
        let mut columns = vec![0.0; out.len()];
        if tokens <= NARROW {
            self.narrow(inputs, tokens, &mut columns)?;
        } else {
            self.wide(inputs, tokens, &mut columns)?;
        }
        transpose(&columns, tokens, out);
        Ok(())
    }

    /// The product by kad's kernel; `out` is `[Σ out_i, tokens]`.
    fn narrow(&self, inputs: &[f32], tokens: usize, out: &mut [f32]) -> candle_core::Result<()> {
        let threads = rayon::current_num_threads();
        let large = self.rows * self.width >= LARGE_MATRIX;
        let from = if large { PARALLEL_FROM } else { LARGE_PRODUCT };
        let serial = threads == 1 || out.len() * self.width < from;
        let tasks = if serial { 1 } else { threads * TASKS_PER_THREAD };
        let step = self.rows.div_ceil(tasks).next_multiple_of(ROWS);
        let numbers: Vec<PartValues> =
            self.parts.iter().map(|part| part.storage.numbers()).collect::<Result<_, _>>()?;
        let (mut pieces, mut rest) = (Vec::new(), out);
        for (part, numbers) in self.parts.iter().zip(&numbers) {
            let (here, after) = rest.split_at_mut(part.rows * tokens);
            rest = after;
            let cut = here.chunks_mut(step * tokens).enumerate();
            pieces.extend(cut.map(|(i, out)| (numbers, i * step, out)));
        }
        let run = |(numbers, first, out): (&PartValues, usize, &mut [f32])| {
            numbers.times(first, inputs, self.width, tokens, out)
        };
        if serial {
            pieces.into_iter().try_for_each(run)
        } else {
            pieces.into_par_iter().with_max_len(1).try_for_each(run)
        }
    }

    /// The product by candle; `out` is `[Σ out_i, tokens]`.
    ///
    /// The weight is the left operand, because candle repacks the right operand in every call.
    fn wide(&self, inputs: &[f32], tokens: usize, out: &mut [f32]) -> candle_core::Result<()> {
        let inputs = Tensor::from_slice(inputs, (tokens, self.width), &Device::Cpu)?.t()?;
        let mut rest = out;
        for part in &self.parts {
            let (here, after) = rest.split_at_mut(part.rows * tokens);
            rest = after;
            let product =
                part.storage.tensor(self.width)?.narrow(0, 0, part.rows)?.matmul(&inputs)?;
            here.copy_from_slice(&product.flatten_all()?.to_vec1::<f32>()?);
        }
        Ok(())
    }
}

fn float(view: &TensorView<'_>) -> Result<PartStorage, LoadError> {
    let tensor = Tensor::from_vec(view.to_f32()?, view.shape, &Device::Cpu);
    Ok(PartStorage::Float(tensor.map_err(super::load_error)?))
}

/// A copy in another type; each number or block is rounded once.
fn rounded(view: &TensorView<'_>, kept: StoredType) -> Result<PartStorage, LoadError> {
    let name = view.name.to_owned();
    let tensor = (name.clone(), kept, view.shape.to_vec(), view.round_to(kept)?);
    Ok(PartStorage::Stored { weights: Arc::new(Weights::from_memory(vec![tensor])), name })
}

impl PartStorage {
    fn numbers(&self) -> candle_core::Result<PartValues<'_>> {
        match self {
            PartStorage::Float(tensor) => Ok(PartValues::Float(tensor.storage_and_layout().0)),
            PartStorage::Stored { weights, name } => {
                let view = weights.tensor(name).map_err(candle_core::Error::wrap)?;
                Ok(PartValues::Stored(view.stored, view.bytes))
            }
        }
    }

    /// The matrix as a candle tensor of `f32`; stored bytes are widened for one product only.
    fn tensor(&self, width: usize) -> candle_core::Result<Tensor> {
        match self {
            PartStorage::Float(tensor) => Ok(tensor.clone()),
            PartStorage::Stored { weights, name } => {
                let view = weights.tensor(name).map_err(candle_core::Error::wrap)?;
                let values = view.to_f32().map_err(candle_core::Error::wrap)?;
                let rows = values.len() / width;
                Tensor::from_vec(values, (rows, width), &Device::Cpu)
            }
        }
    }
}

impl PartValues<'_> {
    /// Rows `from..from + count` as `f32`; borrowed if they are `f32` already.
    fn rows<'s>(
        &'s self,
        from: usize,
        count: usize,
        width: usize,
        scratch: &'s mut Vec<f32>,
    ) -> candle_core::Result<&'s [f32]> {
        match self {
            PartValues::Float(storage) => {
                Ok(&floats(storage)?[from * width..(from + count) * width])
            }
            PartValues::Stored(stored, bytes) => {
                let row_bytes = width / stored.block_len() * stored.block_bytes();
                scratch.resize(count * width, 0.0);
                let bytes = &bytes[from * row_bytes..(from + count) * row_bytes];
                expand(*stored, bytes, scratch);
                Ok(scratch)
            }
        }
    }

    /// Prefetches the next rows while the current ones are computed.
    ///
    /// Stored rows are read in parts of a few kilobytes with arithmetic in between; the processor's
    /// own prefetcher does not bridge the gap.
    fn fetch(&self, from: usize, width: usize) {
        if let PartValues::Stored(stored, bytes) = self {
            let row_bytes = width / stored.block_len() * stored.block_bytes();
            let next = bytes.get(from * row_bytes..).unwrap_or_default();
            next.iter()
                .step_by(CACHE_LINE)
                .take((ROWS * row_bytes).div_ceil(CACHE_LINE))
                .for_each(prefetch);
        }
    }

    /// `out = rows · inputsᵀ`, `[n, tokens]`, for the `n` rows from `first` on.
    fn times(
        &self,
        first: usize,
        inputs: &[f32],
        width: usize,
        tokens: usize,
        out: &mut [f32],
    ) -> candle_core::Result<()> {
        let mut scratch = Vec::new();
        for (i, out) in out.chunks_mut(ROWS * tokens).enumerate() {
            let count = out.len() / tokens;
            let at = first + i * ROWS;
            self.fetch(at + ROWS, width);
            let rows = self.rows(at, count, width, &mut scratch)?;
            kernels::rows_times_inputs(rows, inputs, width, out);
        }
        Ok(())
    }
}

fn floats<'s>(storage: &'s StorageRef<'_>) -> candle_core::Result<&'s [f32]> {
    match &**storage {
        CandleStorage::Cpu(CpuStorage::F32(values)) => Ok(values),
        _ => candle_core::bail!("a weight is not f32 on the CPU"),
    }
}

/// Prefetches the cache line of `byte`; a no-op on processors other than x86-64.
#[inline(always)]
fn prefetch(byte: &u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch has no visible effect, and the address comes from a reference.
    #[allow(unsafe_code)]
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(byte).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = byte;
}

/// Transposes `[n, tokens]` to `[tokens, n]`.
fn transpose(columns: &[f32], tokens: usize, out: &mut [f32]) {
    let n = columns.len() / tokens;
    for (token, row) in out.chunks_exact_mut(n).enumerate() {
        for (i, value) in row.iter_mut().enumerate() {
            *value = columns[i * tokens + token];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDTH: usize = 72;
    const ROWS_OF_PARTS: [usize; 2] = [33, 18];

    /// Two stacked matrices, one in `f32` and one in `bf16`, and inputs for `tokens` tokens.
    fn example(tokens: usize) -> (Matrix, Vec<f32>) {
        let number = |i: usize| (i * 7919 % 199) as f32 / 100.0 - 1.0;
        let bytes = |rows: usize| (0..rows * WIDTH).flat_map(|i| number(i).to_le_bytes()).collect();
        let tensor =
            |name: &str, rows| (name.to_owned(), StoredType::F32, vec![rows, WIDTH], bytes(rows));
        let [first, second] = ROWS_OF_PARTS;
        let weights = vec![tensor("first", first), tensor("second", second)];
        let weights = Arc::new(Weights::from_memory(weights));
        let load = |name, rows, dtype| Matrix::load(&weights, name, rows, dtype).unwrap();
        let parts = vec![load("first", first, Dtype::F32), load("second", second, Dtype::BF16)];
        (Matrix::stack(parts), (0..tokens * WIDTH).map(|i| number(i + 5)).collect())
    }

    #[test]
    fn blocks_that_do_not_fill_their_rows_are_refused() {
        for (shape, bytes) in [([4, 32], 4 * 34 - 1), ([4, 33], 4 * 34), ([4, 64], 4 * 34)] {
            let tensor = ("w".to_owned(), StoredType::Q8_0, shape.to_vec(), vec![0; bytes]);
            let weights = Arc::new(Weights::from_memory(vec![tensor]));
            for dtype in [Dtype::Auto, Dtype::F32, Dtype::BF16] {
                let refused = Matrix::load(&weights, "w", 4, dtype).err();
                assert!(matches!(refused, Some(LoadError::WrongSize { .. })), "{shape:?}");
            }
        }
    }

    /// Sums of 72 products below 1; largest difference measured: 5.7e-6.
    const ROUNDING: f32 = 2e-5;

    /// Both products are correct, whichever this machine uses for a number of tokens.
    #[test]
    fn own_kernel_and_library_product_agree() {
        for tokens in [1, 3, 64, 100] {
            let (matrix, inputs) = example(tokens);
            let mut own = vec![0.0; matrix.rows() * tokens];
            let mut library = own.clone();
            matrix.narrow(&inputs, tokens, &mut own).unwrap();
            matrix.wide(&inputs, tokens, &mut library).unwrap();
            let pairs = own.iter().zip(&library);
            let worst = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            println!("{tokens} tokens: worst difference {worst:e}");
            assert!(worst <= ROUNDING, "{tokens} tokens: {worst:e}");
        }
    }

    #[test]
    fn products_have_the_bits_of_single_tokens_and_the_layout_of_rows() {
        for tokens in [2, 3, 5, 64] {
            let (matrix, inputs) = example(tokens);
            let mut all = vec![0.0; matrix.rows() * tokens];
            matrix.apply(&inputs, &mut all).unwrap();
            let rows = inputs.chunks_exact(WIDTH).zip(all.chunks_exact(matrix.rows()));
            for (input, expected) in rows {
                let mut one = vec![0.0; matrix.rows()];
                matrix.apply(input, &mut one).unwrap();
                assert!(one == expected);
            }
        }
    }
}
