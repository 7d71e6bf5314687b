//! GGUF, versions 2 and 3: metadata and tensors of a model in one file.
//!
//! Layout, little-endian: magic `GGUF`, version, number of tensors, number of metadata pairs, the
//! pairs, the tensors' descriptions, padding to the alignment, the tensors' bytes. Dimensions are
//! stored fastest first and turned round here. Tensors get their Hugging Face names, so everything
//! after this module sees one naming scheme.

mod names;
mod reader;
pub(crate) mod tokenizer;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use reader::Value;

use crate::decoder::families::norms_of;
use crate::error::LoadError;
use crate::weights::{Entry, Storage, StoredType, Weights};
use reader::Reader;

/// The key-value pairs at the head of a GGUF file.
#[derive(Debug)]
pub struct Metadata {
    path: PathBuf,
    pairs: BTreeMap<String, Value>,
}

/// An opened GGUF file.
pub struct Gguf {
    /// Its key-value pairs.
    pub metadata: Metadata,
    /// Its tensors, under Hugging Face names.
    pub weights: Weights,
}

/// Alignment of the tensors' bytes when `general.alignment` is absent.
const DEFAULT_ALIGNMENT: u64 = 32;
/// No architecture has tensors of more dimensions.
const MAX_DIMS: u32 = 4;

impl Gguf {
    /// Maps the file and reads everything but the tensors' bytes.
    ///
    /// # Errors
    /// [`LoadError::Io`], [`LoadError::Corrupt`] for a file that is no GGUF, is truncated or
    /// contradicts itself, [`LoadError::Unsupported`] for a version or a tensor type kad cannot
    /// read.
    pub fn open(path: &Path) -> Result<Self, LoadError> {
        let storage = Storage::map(path)?;
        let mut reader = Reader::new(storage.bytes(), path);
        let (tensor_count, pair_count) = header(&mut reader)?;
        let metadata = Metadata { path: path.to_owned(), pairs: pairs(&mut reader, pair_count)? };
        let infos = infos(&mut reader, tensor_count)?;
        let alignment = metadata.alignment()?;
        let norms = norms_of(metadata.text("general.architecture")?.unwrap_or_default());
        let start = (reader.position() as u64).next_multiple_of(alignment);
        let mut index = BTreeMap::new();
        for info in infos {
            let name =
                names::to_hugging_face(&info.name, norms).unwrap_or_else(|| info.name.clone());
            let entry = info.locate(start, alignment, storage.bytes().len() as u64, path)?;
            if index.insert(name, entry).is_some() {
                return Err(LoadError::corrupt(path, format!("two tensors named {}", info.name)));
            }
        }
        Ok(Self { metadata, weights: Weights::assemble(vec![storage], index) })
    }
}

/// Number of tensors, number of pairs.
fn header(reader: &mut Reader<'_>) -> Result<(usize, usize), LoadError> {
    let magic = reader.magic()?;
    if &magic != b"GGUF" {
        return Err(reader.corrupt(format!("it begins with {magic:?}, a GGUF file with \"GGUF\"")));
    }
    let version = reader.u32("the version")?;
    if !(2..=3).contains(&version) {
        let endianness = if version.swap_bytes() <= 3 { " (a big-endian file)" } else { "" };
        let found = format!("{version}{endianness}");
        return Err(LoadError::unsupported("GGUF version", found, &["2", "3"]));
    }
    // A tensor: name length, number of dimensions, one of them, type, offset. A pair: key length,
    // type, a byte.
    let tensors = reader.count(8 + 4 + 8 + 4 + 8, "the number of tensors")?;
    let pairs = reader.count(8 + 4 + 1, "the number of metadata pairs")?;
    Ok((tensors, pairs))
}

fn pairs(reader: &mut Reader<'_>, count: usize) -> Result<BTreeMap<String, Value>, LoadError> {
    let mut pairs = BTreeMap::new();
    for i in 0..count {
        let key = reader.text(&format!("metadata key {i}"))?;
        let value = reader.value(&format!("metadata `{key}`"))?;
        if pairs.insert(key.clone(), value).is_some() {
            return Err(reader.corrupt(format!("metadata `{key}` is there twice")));
        }
    }
    Ok(pairs)
}

/// A tensor's description as it stands in the file.
struct Info {
    name: String,
    /// Slowest first.
    shape: Vec<usize>,
    stored: StoredType,
    /// From the start of the tensors' bytes.
    offset: u64,
}

fn infos(reader: &mut Reader<'_>, count: usize) -> Result<Vec<Info>, LoadError> {
    (0..count).map(|i| info(reader, i)).collect()
}

fn info(reader: &mut Reader<'_>, i: usize) -> Result<Info, LoadError> {
    let name = reader.text(&format!("the name of tensor {i}"))?;
    let what = format!("the description of tensor `{name}`");
    let dims = reader.u32(&what)?;
    if dims == 0 || dims > MAX_DIMS {
        return Err(reader.corrupt(format!("{what} has {dims} dimensions")));
    }
    let mut shape = Vec::with_capacity(dims as usize);
    for _ in 0..dims {
        let dim = reader.u64(&what)?;
        shape.push(usize::try_from(dim).map_err(|_| reader.corrupt(&what))?);
    }
    shape.reverse();
    let stored = stored_type(reader.u32(&what)?, &name)?;
    Ok(Info { name, shape, stored, offset: reader.u64(&what)? })
}

impl Info {
    fn locate(
        &self,
        start: u64,
        alignment: u64,
        file_len: u64,
        path: &Path,
    ) -> Result<Entry, LoadError> {
        let Info { name, shape, stored, offset } = self;
        let corrupt = |what: String| LoadError::corrupt(path, format!("tensor `{name}` {what}"));
        let len = stored.bytes_for(shape).ok_or_else(|| {
            corrupt(format!("has shape {shape:?}, which is not made of whole {stored} blocks"))
        })?;
        if offset % alignment != 0 {
            return Err(corrupt(format!("begins at {offset}, not a multiple of {alignment}")));
        }
        let begin = start.checked_add(*offset);
        match begin.and_then(|begin| Some((begin, begin.checked_add(len)?))) {
            Some((begin, end)) if end <= file_len => Ok(Entry {
                file: 0,
                bytes: begin as usize..end as usize,
                stored: *stored,
                shape: shape.clone(),
            }),
            _ => Err(corrupt(format!(
                "needs {len} bytes from byte {start} + {offset} on, the file has {file_len}"
            ))),
        }
    }
}

/// Types kad expands, by their number in the file.
const TYPES: [(u32, StoredType); 10] = [
    (0, StoredType::F32),
    (1, StoredType::F16),
    (2, StoredType::Q4_0),
    (3, StoredType::Q4_1),
    (6, StoredType::Q5_0),
    (8, StoredType::Q8_0),
    (12, StoredType::Q4K),
    (13, StoredType::Q5K),
    (14, StoredType::Q6K),
    (30, StoredType::BF16),
];

fn stored_type(number: u32, tensor: &str) -> Result<StoredType, LoadError> {
    let found = TYPES.iter().find(|(n, _)| *n == number);
    found.map(|(_, stored)| *stored).ok_or_else(|| LoadError::Unsupported {
        what: "GGUF tensor type",
        found: format!("type {number} of tensor `{tensor}`"),
        known: TYPES.iter().map(|(_, stored)| stored.to_string()).collect(),
    })
}

impl Metadata {
    /// The value of `key`, if it is there.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.pairs.get(key)
    }

    /// All pairs, in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.pairs.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// A text, if the key is there.
    ///
    /// # Errors
    /// [`LoadError::Config`] if it is of another type.
    pub fn text(&self, key: &str) -> Result<Option<&str>, LoadError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(key, "is not a text")),
        }
    }

    /// A natural number, if the key is there.
    ///
    /// # Errors
    /// [`LoadError::Config`] if it is of another type or negative.
    pub fn natural(&self, key: &str) -> Result<Option<u64>, LoadError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Unsigned(n)) => Ok(Some(*n)),
            Some(Value::Signed(n)) if *n >= 0 => Ok(Some(*n as u64)),
            Some(_) => Err(self.wrong(key, "is not a natural number")),
        }
    }

    /// A number, if the key is there.
    ///
    /// # Errors
    /// [`LoadError::Config`] if it is of another type or not finite.
    pub fn number(&self, key: &str) -> Result<Option<f64>, LoadError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Float(x)) if x.is_finite() => Ok(Some(*x)),
            Some(Value::Unsigned(n)) => Ok(Some(*n as f64)),
            Some(Value::Signed(n)) => Ok(Some(*n as f64)),
            Some(_) => Err(self.wrong(key, "is not a finite number")),
        }
    }

    /// A truth value, if the key is there.
    ///
    /// # Errors
    /// [`LoadError::Config`] if it is of another type.
    pub fn flag(&self, key: &str) -> Result<Option<bool>, LoadError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(self.wrong(key, "is not a bool")),
        }
    }

    /// An array, if the key is there.
    ///
    /// # Errors
    /// [`LoadError::Config`] if it is of another type.
    pub fn array(&self, key: &str) -> Result<Option<&[Value]>, LoadError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Array(values)) => Ok(Some(values)),
            Some(_) => Err(self.wrong(key, "is not an array")),
        }
    }

    /// An error about `key`.
    pub(crate) fn wrong(&self, key: &str, what: impl Into<String>) -> LoadError {
        let origin = self.path.display().to_string();
        LoadError::Config { origin, key: key.to_owned(), what: what.into() }
    }

    fn alignment(&self) -> Result<u64, LoadError> {
        let key = "general.alignment";
        let alignment = self.natural(key)?.unwrap_or(DEFAULT_ALIGNMENT);
        // A bound keeps the padded start of the data from overflowing.
        if !alignment.is_power_of_two() || alignment > 1 << 20 {
            return Err(self.wrong(key, format!("is {alignment}, not a small power of two")));
        }
        Ok(alignment)
    }
}
