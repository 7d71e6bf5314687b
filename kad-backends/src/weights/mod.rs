//! Named tensors in memory-mapped files.

pub(crate) mod dequant;
mod quant;

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::path::Path;

use self::quant::QuantError;
use crate::error::LoadError;
use crate::stored_type::StoredType;
use crate::unknown_name::nearest;

/// All tensors of one model under their Hugging Face names
/// (`model.layers.0.self_attn.q_proj.weight`). Files are memory-mapped; nothing is copied.
///
/// ```
/// use kad_backends::{StoredType, Weights};
/// let bytes = [1.0f32, 2.0].iter().flat_map(|x| x.to_le_bytes()).collect();
/// let weights = Weights::from_memory(vec![("w".into(), StoredType::F32, vec![1, 2], bytes)]);
/// let tensor = weights.tensor("w")?;
/// tensor.expect_shape(&[1, 2])?;
/// assert_eq!(tensor.to_f32()?, [1.0, 2.0]);
/// # Ok::<(), kad_backends::LoadError>(())
/// ```
pub struct Weights {
    files: Vec<FileBytes>,
    index: BTreeMap<String, TensorLocation>,
}

pub(crate) enum FileBytes {
    Mapped(memmap2::Mmap),
    Memory(Vec<u8>),
}

/// Position, type and shape of a tensor in its file, checked against the file's length.
pub(crate) struct TensorLocation {
    pub(crate) file: usize,
    pub(crate) bytes: Range<usize>,
    pub(crate) stored: StoredType,
    pub(crate) shape: Vec<usize>,
}

/// One tensor, borrowed from the mapped file. Row-major; a projection has the shape `[out, in]`.
#[derive(Clone, Copy)]
pub struct TensorView<'a> {
    /// Name of the tensor, for messages.
    pub name: &'a str,
    /// Stored number type.
    pub stored: StoredType,
    /// Dimensions, the slowest-varying first.
    pub shape: &'a [usize],
    /// The stored bytes.
    pub bytes: &'a [u8],
}

/// Number of similar names in the error for a missing tensor.
const NEAR_NAMES: usize = 3;

impl Weights {
    /// Combines files with an index; every entry lies inside its file.
    pub(crate) fn assemble(files: Vec<FileBytes>, index: BTreeMap<String, TensorLocation>) -> Self {
        debug_assert!(index.values().all(|e| e.bytes.end <= files[e.file].bytes().len()));
        Self { files, index }
    }

    /// Weights from memory: (name, type, shape, little-endian bytes).
    ///
    /// A wrong number of bytes is reported when the tensor is read.
    pub fn from_memory(tensors: Vec<(String, StoredType, Vec<usize>, Vec<u8>)>) -> Self {
        let mut files = Vec::with_capacity(tensors.len());
        let mut index = BTreeMap::new();
        for (name, stored, shape, bytes) in tensors {
            index.insert(
                name,
                TensorLocation { file: files.len(), bytes: 0..bytes.len(), stored, shape },
            );
            files.push(FileBytes::Memory(bytes));
        }
        Self { files, index }
    }

    /// The tensor `name`.
    ///
    /// # Errors
    /// [`LoadError::MissingTensor`] with similar names.
    pub fn tensor(&self, name: &str) -> Result<TensorView<'_>, LoadError> {
        match self.index.get_key_value(name) {
            Some((name, entry)) => Ok(self.view(name, entry)),
            None => Err(LoadError::MissingTensor {
                name: name.to_owned(),
                near: nearest(name, self.names(), NEAR_NAMES)
                    .into_iter()
                    .map(str::to_owned)
                    .collect(),
            }),
        }
    }

    /// True if there is a tensor of that name.
    pub fn contains(&self, name: &str) -> bool {
        self.index.contains_key(name)
    }

    /// All names, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.index.keys().map(String::as_str)
    }

    /// All tensors, in alphabetical order.
    pub fn tensors(&self) -> impl Iterator<Item = TensorView<'_>> {
        self.index.iter().map(|(name, entry)| self.view(name, entry))
    }

    /// Stored bytes of all tensors.
    pub fn total_bytes(&self) -> u64 {
        self.index.values().map(|entry| entry.bytes.len() as u64).sum()
    }

    /// Number of elements of all tensors.
    pub fn parameters(&self) -> u64 {
        self.tensors().map(|tensor| tensor.elements()).sum()
    }

    /// Number of tensors per stored type.
    pub fn stored_types(&self) -> BTreeMap<StoredType, usize> {
        let mut counts = BTreeMap::new();
        self.index.values().for_each(|entry| *counts.entry(entry.stored).or_default() += 1);
        counts
    }

    fn view<'a>(&'a self, name: &'a str, entry: &'a TensorLocation) -> TensorView<'a> {
        let bytes = &self.files[entry.file].bytes()[entry.bytes.clone()];
        TensorView { name, stored: entry.stored, shape: &entry.shape, bytes }
    }
}

impl FileBytes {
    /// Maps a whole file.
    pub(crate) fn map(path: &Path) -> Result<Self, LoadError> {
        let file = File::open(path).map_err(LoadError::io(path))?;
        // SAFETY: the map is read-only. As with every mapped model file, we cannot defend against a
        // process that truncates or rewrites the file while it is open.
        #[allow(unsafe_code)]
        let map = unsafe { memmap2::Mmap::map(&file) };
        map.map(FileBytes::Mapped).map_err(LoadError::io(path))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            FileBytes::Mapped(map) => map,
            FileBytes::Memory(bytes) => bytes,
        }
    }
}

impl TensorView<'_> {
    /// Number of elements: the product of the dimensions.
    pub fn elements(&self) -> u64 {
        self.shape.iter().fold(1u64, |product, &n| product.saturating_mul(n as u64))
    }

    /// All elements, row-major, widened or dequantised to `f32`.
    ///
    /// # Errors
    /// [`LoadError::WrongSize`] if the number of bytes contradicts the shape; impossible for
    /// tensors read from files.
    pub fn to_f32(&self) -> Result<Vec<f32>, LoadError> {
        self.check_size()?;
        Ok(dequant::to_f32(self.stored, self.bytes))
    }

    /// The tensor's bytes in another type: each number (for Q8_0 and Q4_0, each block of 32) is
    /// dequantised and rounded once. A tensor of this type already is only copied.
    ///
    /// Quantised targets are Q8_0 and Q4_0, rounded as GGML does, so that the bits equal those of
    /// GGML's tools. The error of a number in a block with scale `d` is at most `d / 2` for Q8_0
    /// (`d = max abs / 127`) and at most `d` for Q4_0 (`d = max abs / 8`, where the range ends at
    /// `7 d`), plus the rounding of `d` to half precision.
    ///
    /// ```
    /// use kad_backends::{StoredType, Weights};
    /// let row: Vec<f32> = (0..32).map(|i| i as f32 / 31.0).collect();
    /// let bytes = row.iter().flat_map(|x| x.to_le_bytes()).collect();
    /// let weights = Weights::from_memory(vec![("w".into(), StoredType::F32, vec![1, 32], bytes)]);
    /// let bytes = weights.tensor("w")?.round_to(StoredType::Q8_0)?;
    /// assert_eq!(bytes.len(), 2 + 32);
    /// assert_eq!(bytes[33], 127);
    /// # Ok::<(), kad_backends::LoadError>(())
    /// ```
    ///
    /// # Errors
    /// [`LoadError::WrongSize`] if the number of bytes contradicts the shape.
    /// [`LoadError::Unsupported`] if rows are not whole blocks, for other targets, and for a block
    /// with a number that is not finite or too large for a half-precision scale.
    pub fn round_to(&self, to: StoredType) -> Result<Vec<u8>, LoadError> {
        self.check_size()?;
        if to == self.stored {
            return Ok(self.bytes.to_vec());
        }
        let refused = |why: String| {
            let known: Vec<String> = quant::TARGETS.iter().map(StoredType::to_string).collect();
            let found = format!("tensor `{}` to {to}: {why}", self.name);
            LoadError::Unsupported { what: "rounding of weights", found, known }
        };
        if to.bytes_for(self.shape).is_none() {
            let width = self.shape.last().copied().unwrap_or(1);
            let why = format!("its rows of {width} are not whole blocks of {}", to.block_len());
            return Err(refused(why));
        }
        quant::from_f32(to, &dequant::to_f32(self.stored, self.bytes)).map_err(|why| match why {
            QuantError::Type => refused("the target is not one of the types below".to_owned()),
            QuantError::Value { index, value } => refused(format!(
                "element {index} is {value}, which no scale of that type can hold; \
                 load the model as f32"
            )),
        })
    }

    /// Checks the number of bytes against shape and type.
    ///
    /// # Errors
    /// [`LoadError::WrongSize`].
    pub(crate) fn check_size(&self) -> Result<(), LoadError> {
        let (expected, found) = (self.stored.bytes_for(self.shape), self.bytes.len() as u64);
        if expected == Some(found) {
            return Ok(());
        }
        let expected = expected.unwrap_or(u64::MAX);
        Err(LoadError::WrongSize { name: self.name.to_owned(), expected, found })
    }

    /// Checks the shape.
    ///
    /// # Errors
    /// [`LoadError::WrongShape`].
    pub fn expect_shape(&self, shape: &[usize]) -> Result<(), LoadError> {
        if self.shape == shape {
            return Ok(());
        }
        Err(LoadError::WrongShape {
            name: self.name.to_owned(),
            expected: shape.to_vec(),
            found: self.shape.to_vec(),
        })
    }
}
