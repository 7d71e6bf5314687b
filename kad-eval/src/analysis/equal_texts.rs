//! Counts of equal texts.

use serde::{Deserialize, Serialize};

/// Number of texts that are equal token for token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EqualTexts {
    pub(crate) equal: u64,
    /// All texts that are compared.
    pub(crate) of: u64,
}

impl EqualTexts {
    /// Counts one more text.
    pub(crate) fn add(&mut self, equal: bool) {
        self.of += 1;
        self.equal += u64::from(equal);
    }
}

impl std::fmt::Display for EqualTexts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {}", self.equal, self.of)
    }
}
