//! Rows of logits as they cross the boundary between a backend and the rest.

/// A growing stack of logit rows, `[rows, vocab]`, `f32` on the host.
///
/// The buffer is reused: clearing keeps its memory, so a decoding loop allocates no row per token.
///
/// ```
/// let mut rows = kad_core::LogitRows::new(3);
/// rows.push_row(&[0.0, 1.0, 2.0]);
/// assert_eq!((rows.len(), rows.row(0)[2]), (1, 2.0));
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogitRows {
    vocab: usize,
    data: Vec<f32>,
}

impl LogitRows {
    /// No rows yet, each to be `vocab` wide.
    pub fn new(vocab: usize) -> Self {
        Self { vocab, data: Vec::new() }
    }

    /// Width of a row.
    pub fn vocab(&self) -> usize {
        self.vocab
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.data.len().checked_div(self.vocab).unwrap_or(0)
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// Row `index`.
    ///
    /// # Panics
    /// If `index >= self.len()`.
    pub fn row(&self, index: usize) -> &[f32] {
        &self.data[index * self.vocab..(index + 1) * self.vocab]
    }

    /// All rows, oldest first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.data.chunks_exact(self.vocab.max(1))
    }

    /// The last `count` rows, oldest first.
    ///
    /// # Panics
    /// If `count > self.len()`.
    pub fn tail(&self, count: usize) -> impl ExactSizeIterator<Item = &[f32]> {
        let start = (self.len() - count) * self.vocab;
        self.data[start..].chunks_exact(self.vocab.max(1))
    }

    /// Appends a copy of `row`.
    ///
    /// # Panics
    /// If `row` is not `vocab` wide.
    pub fn push_row(&mut self, row: &[f32]) {
        assert_eq!(row.len(), self.vocab, "a row must be as wide as the vocabulary");
        self.data.extend_from_slice(row);
    }

    /// Appends `count` zeroed rows and returns them, `[count, vocab]`, to be filled.
    pub fn grow(&mut self, count: usize) -> &mut [f32] {
        let start = self.data.len();
        self.data.resize(start + count * self.vocab, 0.0);
        &mut self.data[start..]
    }

    /// Forgets all rows from `len` on.
    pub fn truncate(&mut self, len: usize) {
        self.data.truncate(len * self.vocab);
    }

    /// Forgets the first `count` rows.
    ///
    /// # Panics
    /// If `count > self.len()`.
    pub fn drop_front(&mut self, count: usize) {
        self.data.drain(..count * self.vocab);
    }

    /// Forgets all rows, keeps the memory.
    pub fn clear(&mut self) {
        self.data.clear();
    }
}
