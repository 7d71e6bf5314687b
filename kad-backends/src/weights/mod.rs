//! Tensors as they lie in a file: mapped, named, typed; nothing is copied until asked for.

pub(crate) mod dequant;
mod quant;

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::path::Path;

use self::quant::Refusal;
use crate::error::LoadError;
use crate::stored_type::StoredType;
use crate::unknown_name::nearest;

/// All tensors of one model, under their Hugging Face names
/// (`model.layers.0.self_attn.q_proj.weight`), whatever file they come from.
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
    files: Vec<Storage>,
    index: BTreeMap<String, Entry>,
}

pub(crate) enum Storage {
    Mapped(memmap2::Mmap),
    Memory(Vec<u8>),
}

/// Where a tensor lies; made only by readers that have checked it against the file.
pub(crate) struct Entry {
    pub(crate) file: usize,
    pub(crate) bytes: Range<usize>,
    pub(crate) stored: StoredType,
    pub(crate) shape: Vec<usize>,
}

/// One tensor, borrowed from the mapped file. Row-major, `[out, in]` for a projection.
#[derive(Clone, Copy)]
pub struct TensorView<'a> {
    /// Name, for messages.
    pub name: &'a str,
    /// Element or block type.
    pub stored: StoredType,
    /// Dimensions, slowest first.
    pub shape: &'a [usize],
    /// The stored bytes.
    pub bytes: &'a [u8],
}

/// How many similar names a missing tensor's error lists.
const NEAR_NAMES: usize = 3;

impl Weights {
    /// Puts what a reader found together; every entry lies inside its file.
    pub(crate) fn assemble(files: Vec<Storage>, index: BTreeMap<String, Entry>) -> Self {
        debug_assert!(index.values().all(|e| e.bytes.end <= files[e.file].bytes().len()));
        Self { files, index }
    }

    /// Weights that were never in a file: (name, type, shape, little-endian bytes).
    ///
    /// A tensor whose bytes do not fit its shape is reported when it is read.
    pub fn from_memory(tensors: Vec<(String, StoredType, Vec<usize>, Vec<u8>)>) -> Self {
        let mut files = Vec::with_capacity(tensors.len());
        let mut index = BTreeMap::new();
        for (name, stored, shape, bytes) in tensors {
            index.insert(name, Entry { file: files.len(), bytes: 0..bytes.len(), stored, shape });
            files.push(Storage::Memory(bytes));
        }
        Self { files, index }
    }

    /// The tensor of that name.
    ///
    /// # Errors
    /// [`LoadError::MissingTensor`], with the names nearest to it.
    pub fn tensor(&self, name: &str) -> Result<TensorView<'_>, LoadError> {
        match self.index.get_key_value(name) {
            Some((name, entry)) => Ok(self.view(name, entry)),
            None => Err(LoadError::MissingTensor {
                name: name.to_owned(),
                near: nearest(name, self.names(), NEAR_NAMES),
            }),
        }
    }

    /// Whether there is a tensor of that name.
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

    /// Bytes of all tensors as stored.
    pub fn total_bytes(&self) -> u64 {
        self.index.values().map(|entry| entry.bytes.len() as u64).sum()
    }

    /// Numbers in all tensors.
    pub fn parameters(&self) -> u64 {
        self.tensors().map(|tensor| tensor.elements()).sum()
    }

    /// How many tensors are stored in which way.
    pub fn stored_types(&self) -> BTreeMap<StoredType, usize> {
        let mut counts = BTreeMap::new();
        self.index.values().for_each(|entry| *counts.entry(entry.stored).or_default() += 1);
        counts
    }

    fn view<'a>(&'a self, name: &'a str, entry: &'a Entry) -> TensorView<'a> {
        let bytes = &self.files[entry.file].bytes()[entry.bytes.clone()];
        TensorView { name, stored: entry.stored, shape: &entry.shape, bytes }
    }
}

impl Storage {
    /// Maps a whole file.
    pub(crate) fn map(path: &Path) -> Result<Self, LoadError> {
        let file = File::open(path).map_err(LoadError::io(path))?;
        // SAFETY: the map is read-only; as with every mapped model file, another process that
        // truncates or rewrites the file while it is open is outside what we can defend against.
        #[allow(unsafe_code)]
        let map = unsafe { memmap2::Mmap::map(&file) };
        map.map(Storage::Mapped).map_err(LoadError::io(path))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Storage::Mapped(map) => map,
            Storage::Memory(bytes) => bytes,
        }
    }
}

impl TensorView<'_> {
    /// Number of elements: the product of the dimensions.
    pub fn elements(&self) -> u64 {
        self.shape.iter().fold(1u64, |product, &n| product.saturating_mul(n as u64))
    }

    /// All elements, row-major, dequantised where needed.
    ///
    /// # Errors
    /// [`LoadError::WrongSize`] if the bytes do not fit the shape; readers of files have excluded
    /// it.
    pub fn to_f32(&self) -> Result<Vec<f32>, LoadError> {
        self.check_size()?;
        Ok(dequant::to_f32(self.stored, self.bytes))
    }

    /// Its bytes in another type: every number (GGML's blocks: every block of 32 of a row) is
    /// dequantised and rounded once. A tensor that is of that type already is only copied.
    ///
    /// Of the quantised types, Q8_0 and Q4_0 can be asked for; their rounding is GGML's own, so
    /// that a model rounded here has the bits of one that its tools wrote. Within a block with
    /// scale `d`, a number moves by at most `d / 2` (Q8_0, `d = max abs / 127`) or, towards the
    /// side where the range ends at `7 d`, by `d` (Q4_0, `d = max abs / 8`), besides the rounding
    /// of `d` to half precision.
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
    /// [`LoadError::WrongSize`] if the bytes do not fit the shape; [`LoadError::Unsupported`] if
    /// rows are not whole blocks, for a type that cannot be rounded to, and for blocks with a
    /// number that is not finite or too large for a half-precision scale.
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
            Refusal::Type => refused("not one of the types below".to_owned()),
            Refusal::Value { index, value } => refused(format!(
                "element {index} is {value}, which no scale of that type can hold; \
                 load the model as f32"
            )),
        })
    }

    /// Checks that there are as many bytes as shape and type need.
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

    /// Checks the dimensions.
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
