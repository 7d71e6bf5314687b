//! Reads the bytes of a GGUF file and checks every length first.

use std::path::Path;

use crate::error::LoadError;

/// Deepest nesting of arrays, against stack overflow; real files do not nest arrays.
const MAX_DEPTH: usize = 4;
/// Most elements of an array, far above any vocabulary: one element takes more memory than its byte
/// in the file.
const MAX_ELEMENTS: usize = 1 << 22;

/// A metadata value; integers and floats are widened to 64 bits.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `u8`, `u16`, `u32`, `u64`.
    Unsigned(u64),
    /// `i8`, `i16`, `i32`, `i64`.
    Signed(i64),
    /// `f32`, `f64`.
    Float(f64),
    /// A byte 0 or 1.
    Bool(bool),
    /// A UTF-8 string.
    Text(String),
    /// An array of elements of one type.
    Array(Vec<Value>),
}

/// A cursor in the file. Every read names its subject for the error message.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    path: &'a Path,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], path: &'a Path) -> Self {
        Self { bytes, at: 0, path }
    }

    pub(super) fn position(&self) -> usize {
        self.at
    }

    pub(super) fn corrupt(&self, what: impl std::fmt::Display) -> LoadError {
        LoadError::corrupt(self.path, format!("{what} (at byte {})", self.at))
    }

    fn take(&mut self, len: u64, what: &str) -> Result<&'a [u8], LoadError> {
        let left = (self.bytes.len() - self.at) as u64;
        if len > left {
            let message = format!("{what} needs {len} bytes, {left} are left of the file");
            return Err(self.corrupt(message));
        }
        let taken = &self.bytes[self.at..][..len as usize];
        self.at += taken.len();
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], LoadError> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N as u64, what)?);
        Ok(out)
    }

    pub(super) fn magic(&mut self) -> Result<[u8; 4], LoadError> {
        self.array("the magic number")
    }

    pub(super) fn u32(&mut self, what: &str) -> Result<u32, LoadError> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, what: &str) -> Result<u64, LoadError> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// A count of elements of at least `least` bytes each; an error if they do not fit into the
    /// file.
    pub(super) fn count(&mut self, least: usize, what: &str) -> Result<usize, LoadError> {
        let count = self.u64(what)?;
        let left = self.bytes.len() - self.at;
        if count > (left / least) as u64 {
            return Err(self.corrupt(format!("{what} is {count}, more than the file can hold")));
        }
        Ok(count as usize)
    }

    pub(super) fn text(&mut self, what: &str) -> Result<String, LoadError> {
        let len = self.u64(what)?;
        let bytes = self.take(len, what)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(error) => Err(self.corrupt(format!("{what} is not UTF-8: {error}"))),
        }
    }

    /// A type tag and the value after it.
    pub(super) fn value(&mut self, what: &str) -> Result<Value, LoadError> {
        let tag = self.u32(what)?;
        self.tagged(tag, what, 0)
    }

    fn tagged(&mut self, tag: u32, what: &str, depth: usize) -> Result<Value, LoadError> {
        Ok(match tag {
            0 => Value::Unsigned(self.array::<1>(what)?[0].into()),
            1 => Value::Signed(i8::from_le_bytes(self.array(what)?).into()),
            2 => Value::Unsigned(u16::from_le_bytes(self.array(what)?).into()),
            3 => Value::Signed(i16::from_le_bytes(self.array(what)?).into()),
            4 => Value::Unsigned(self.u32(what)?.into()),
            5 => Value::Signed(i32::from_le_bytes(self.array(what)?).into()),
            6 => Value::Float(f32::from_le_bytes(self.array(what)?).into()),
            7 => Value::Bool(self.bool(what)?),
            8 => Value::Text(self.text(what)?),
            9 if depth < MAX_DEPTH => self.elements(what, depth)?,
            9 => return Err(self.corrupt(format!("{what} nests arrays too deeply"))),
            10 => Value::Unsigned(self.u64(what)?),
            11 => Value::Signed(i64::from_le_bytes(self.array(what)?)),
            12 => Value::Float(f64::from_le_bytes(self.array(what)?)),
            other => return Err(self.corrupt(format!("{what} has unknown type {other}"))),
        })
    }

    fn bool(&mut self, what: &str) -> Result<bool, LoadError> {
        match self.array::<1>(what)?[0] {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(self.corrupt(format!("{what} is a bool with value {other}"))),
        }
    }

    fn elements(&mut self, what: &str, depth: usize) -> Result<Value, LoadError> {
        let tag = self.u32(what)?;
        // The smallest encoding of one element, so that a false count does not allocate memory.
        let least = match tag {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            8 | 10..=12 => 8,
            9 => 12,
            other => return Err(self.corrupt(format!("{what} has unknown element type {other}"))),
        };
        let count = self.count(least, &format!("the length of {what}"))?;
        if count > MAX_ELEMENTS {
            return Err(self.corrupt(format!("{what} has {count} elements, an absurd number")));
        }
        let elements = (0..count).map(|_| self.tagged(tag, what, depth + 1));
        elements.collect::<Result<_, _>>().map(Value::Array)
    }
}
