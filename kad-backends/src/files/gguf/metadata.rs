//! Key-value pairs of a GGUF file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::reader::{Reader, Value};
use crate::error::LoadError;

/// Key-value pairs of a GGUF file, with typed access.
#[derive(Debug)]
pub struct Metadata {
    path: PathBuf,
    pairs: BTreeMap<String, Value>,
}

/// Alignment of the tensor bytes if `general.alignment` is absent.
const DEFAULT_ALIGNMENT: u64 = 32;

impl Metadata {
    /// Reads `count` pairs.
    pub(super) fn read(
        reader: &mut Reader<'_>,
        count: usize,
        path: &Path,
    ) -> Result<Self, LoadError> {
        Ok(Self { path: path.to_owned(), pairs: pairs(reader, count)? })
    }

    /// The value of `key`; `None` if absent.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.pairs.get(key)
    }

    /// All pairs in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.pairs.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// The string of `key`; `None` if absent.
    ///
    /// # Errors
    /// [`LoadError::Config`] for a value of another type.
    pub fn text(&self, key: &str) -> Result<Option<&str>, LoadError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(key, "is not a string")),
        }
    }

    /// The non-negative integer of `key`; `None` if absent.
    ///
    /// # Errors
    /// [`LoadError::Config`] for a value of another type and for a negative number.
    pub fn natural(&self, key: &str) -> Result<Option<u64>, LoadError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Unsigned(n)) => Ok(Some(*n)),
            Some(Value::Signed(n)) if *n >= 0 => Ok(Some(*n as u64)),
            Some(_) => Err(self.wrong(key, "is not a natural number")),
        }
    }

    /// The number of `key`; `None` if absent.
    ///
    /// # Errors
    /// [`LoadError::Config`] for a value of another type and for a number that is not finite.
    pub fn number(&self, key: &str) -> Result<Option<f64>, LoadError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Float(x)) if x.is_finite() => Ok(Some(*x)),
            Some(Value::Unsigned(n)) => Ok(Some(*n as f64)),
            Some(Value::Signed(n)) => Ok(Some(*n as f64)),
            Some(_) => Err(self.wrong(key, "is not a finite number")),
        }
    }

    /// The boolean of `key`; `None` if absent.
    ///
    /// # Errors
    /// [`LoadError::Config`] for a value of another type.
    pub fn flag(&self, key: &str) -> Result<Option<bool>, LoadError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(self.wrong(key, "is not a bool")),
        }
    }

    /// The array of `key`; `None` if absent.
    ///
    /// # Errors
    /// [`LoadError::Config`] for a value of another type.
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

    pub(super) fn alignment(&self) -> Result<u64, LoadError> {
        let key = "general.alignment";
        let alignment = self.natural(key)?.unwrap_or(DEFAULT_ALIGNMENT);
        // The bound prevents an overflow of the padded start of the data.
        if !alignment.is_power_of_two() || alignment > 1 << 20 {
            return Err(self.wrong(key, format!("is {alignment}, not a small power of two")));
        }
        Ok(alignment)
    }
}

fn pairs(reader: &mut Reader<'_>, count: usize) -> Result<BTreeMap<String, Value>, LoadError> {
    let mut pairs = BTreeMap::new();
    for i in 0..count {
        let key = reader.text(&format!("metadata key {i}"))?;
        let value = reader.value(&format!("metadata `{key}`"))?;
        if pairs.insert(key.clone(), value).is_some() {
            return Err(reader.corrupt(format!("metadata `{key}` occurs twice")));
        }
    }
    Ok(pairs)
}
