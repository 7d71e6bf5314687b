//! A minimal reader of protocol buffers for ONNX files.

/// Value of a field.
pub(super) enum FieldValue<'a> {
    /// An integer (varint).
    Number(u64),
    /// A string, packed numbers, or a nested message.
    Bytes(&'a [u8]),
}

/// Iterator over the numbered fields of a message; ends at malformed bytes.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = (u64, FieldValue<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let key = number(&mut self.0)?;
            let field = key >> 3;
            match key & 7 {
                0 => return Some((field, FieldValue::Number(number(&mut self.0)?))),
                2 => {
                    let len = usize::try_from(number(&mut self.0)?).ok()?;
                    return Some((field, FieldValue::Bytes(take(&mut self.0, len)?)));
                }
                // Fixed-size numbers are skipped.
                1 => _ = take(&mut self.0, 8)?,
                5 => _ = take(&mut self.0, 4)?,
                _ => return None,
            }
        }
    }
}

impl<'a> Fields<'a> {
    /// The messages and strings with this field number.
    pub(super) fn all(self, field: u64) -> impl Iterator<Item = &'a [u8]> {
        self.filter_map(move |(found, value)| match value {
            FieldValue::Bytes(bytes) if found == field => Some(bytes),
            _ => None,
        })
    }
}

/// The numbers of a repeated field, packed or unpacked.
pub(super) fn numbers(message: &[u8], field: u64) -> Vec<u64> {
    let mut found = Vec::new();
    for (_, value) in Fields(message).filter(|(at, _)| *at == field) {
        match value {
            FieldValue::Number(number) => found.push(number),
            FieldValue::Bytes(mut packed) => {
                found.extend(std::iter::from_fn(|| number(&mut packed)));
            }
        }
    }
    found
}

/// The last string with this field number; empty if absent.
pub(super) fn text(message: &[u8], field: u64) -> &str {
    let bytes = Fields(message).all(field).last().unwrap_or_default();
    std::str::from_utf8(bytes).unwrap_or_default()
}

/// A varint: seven bits per byte, the lowest first.
fn number(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *take(bytes, 1)?.first()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn take<'a>(bytes: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some(taken)
}
