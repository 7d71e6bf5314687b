//! Reads GGUF files, versions 2 and 3: metadata and tensors of a model.
//!
//! Layout, little-endian: magic `GGUF`, version, number of tensors, number of metadata pairs,
//! metadata pairs, tensor descriptions, padding to the alignment, tensor bytes. The file lists the
//! fastest-varying dimension first; this module reverses the order. Tensors get their Hugging Face
//! names.

mod metadata;
mod names;
mod reader;
pub(crate) mod tokenizer;

use std::collections::BTreeMap;
use std::path::Path;

pub use metadata::Metadata;
pub(crate) use names::ARCHITECTURES;
pub use reader::Value;

use crate::error::LoadError;
use crate::stored_type::StoredType;
use crate::weights::{FileBytes, TensorLocation, Weights};
use reader::Reader;

/// An opened GGUF file.
///
/// ```no_run
/// use kad_backends::gguf::Gguf;
/// let file = Gguf::open("model.gguf".as_ref())?;
/// println!("{:?}: {} weights", file.metadata.text("general.name")?, file.weights.parameters());
/// # Ok::<(), kad_backends::LoadError>(())
/// ```
pub struct Gguf {
    /// Key-value pairs.
    pub metadata: Metadata,
    /// Tensors under Hugging Face names.
    pub weights: Weights,
}

/// Most dimensions of a tensor.
const MAX_DIMS: u32 = 4;

impl Gguf {
    /// Maps the file and reads metadata and tensor descriptions.
    ///
    /// # Errors
    /// [`LoadError::Io`]; [`LoadError::Corrupt`] for a file that is no GGUF, is truncated or
    /// contradicts itself; [`LoadError::Unsupported`] for an unknown version or tensor type.
    pub fn open(path: &Path) -> Result<Self, LoadError> {
        let storage = FileBytes::map(path)?;
        let mut reader = Reader::new(storage.bytes(), path);
        let (tensor_count, pair_count) = header(&mut reader)?;
        let metadata = Metadata::read(&mut reader, pair_count, path)?;
        let infos = infos(&mut reader, tensor_count)?;
        let alignment = metadata.alignment()?;
        let norms = names::norms_of(metadata.text("general.architecture")?.unwrap_or_default());
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

/// Number of tensors and number of metadata pairs.
fn header(reader: &mut Reader<'_>) -> Result<(usize, usize), LoadError> {
    let magic = reader.magic()?;
    if &magic != b"GGUF" {
        return Err(reader.corrupt(format!("it begins with {magic:?}, not with \"GGUF\"")));
    }
    let version = reader.u32("the version")?;
    if !(2..=3).contains(&version) {
        let endianness = if version.swap_bytes() <= 3 { " (a big-endian file)" } else { "" };
        let found = format!("{version}{endianness}");
        return Err(LoadError::unsupported("GGUF version", found, &["2", "3"]));
    }
    // Smallest sizes. A tensor: name length, number of dimensions, one dimension, type, offset. A
    // pair: key length, type, one byte.
    let tensors = reader.count(8 + 4 + 8 + 4 + 8, "the number of tensors")?;
    let pairs = reader.count(8 + 4 + 1, "the number of metadata pairs")?;
    Ok((tensors, pairs))
}

/// Description of a tensor in the file.
struct TensorInfo {
    name: String,
    /// Slowest-varying dimension first.
    shape: Vec<usize>,
    stored: StoredType,
    /// Offset from the start of the tensor bytes.
    offset: u64,
}

fn infos(reader: &mut Reader<'_>, count: usize) -> Result<Vec<TensorInfo>, LoadError> {
    (0..count).map(|i| info(reader, i)).collect()
}

fn info(reader: &mut Reader<'_>, i: usize) -> Result<TensorInfo, LoadError> {
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
    Ok(TensorInfo { name, shape, stored, offset: reader.u64(&what)? })
}

impl TensorInfo {
    fn locate(
        &self,
        start: u64,
        alignment: u64,
        file_len: u64,
        path: &Path,
    ) -> Result<TensorLocation, LoadError> {
        let TensorInfo { name, shape, stored, offset } = self;
        let corrupt = |what: String| LoadError::corrupt(path, format!("tensor `{name}` {what}"));
        let len = stored.bytes_for(shape).ok_or_else(|| {
            corrupt(format!("has shape {shape:?}, which is not made of whole {stored} blocks"))
        })?;
        if offset % alignment != 0 {
            return Err(corrupt(format!("begins at {offset}, not a multiple of {alignment}")));
        }
        let begin = start.checked_add(*offset);
        match begin.and_then(|begin| Some((begin, begin.checked_add(len)?))) {
            Some((begin, end)) if end <= file_len => Ok(TensorLocation {
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

/// Supported tensor types by their number in the file.
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
