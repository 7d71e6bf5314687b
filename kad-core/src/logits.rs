//! Rows of logits, as a backend hands them to the decoders.

/// A growable matrix of logits, `[rows, vocab]`, `f32` in host memory.
///
/// [`clear`](Self::clear) keeps the memory, so a decoding loop does not allocate per token.
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
    /// An empty matrix with rows of `vocab` logits.
    pub fn new(vocab: usize) -> Self {
        Self { vocab, data: Vec::new() }
    }

    /// Logits per row, `vocab`.
    pub fn vocab(&self) -> usize {
        self.vocab
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.data.len().checked_div(self.vocab).unwrap_or(0)
    }

    /// True if there are no rows.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// Row `index`, `[vocab]`.
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

    /// Appends `count` rows of zeros and returns them, `[count, vocab]`, for the caller to fill.
    pub fn grow(&mut self, count: usize) -> &mut [f32] {
        let start = self.data.len();
        self.data.resize(start + count * self.vocab, 0.0);
        &mut self.data[start..]
    }

    /// Drops all rows from index `len` on.
    pub fn truncate(&mut self, len: usize) {
        self.data.truncate(len * self.vocab);
    }

    /// Drops the first `count` rows.
    ///
    /// # Panics
    /// If `count > self.len()`.
    pub fn drop_front(&mut self, count: usize) {
        self.data.drain(..count * self.vocab);
    }

    /// Drops all rows and keeps the memory.
    pub fn clear(&mut self) {
        self.data.clear();
    }
}
