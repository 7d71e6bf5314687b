//! Token ids and the identity of a vocabulary.

use std::fmt;

/// Index of a token in its vocabulary.
pub type TokenId = u32;

/// Digest of all (id, token string) pairs of a tokenizer.
///
/// The loader of the tokenizer computes it; this crate only compares fingerprints.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..6].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

/// Identity of a vocabulary: the number of ids and the fingerprint of their strings.
///
/// Two models can be combined token by token only if both agree.
///
/// ```
/// use kad_core::{Fingerprint, Vocab};
/// let ours = Vocab::new(4, Fingerprint([1; 32]));
/// let theirs = Vocab::new(4, Fingerprint([2; 32]));
/// let error = ours.ensure_same("base", &theirs, "aligned").unwrap_err();
/// assert!(error.to_string().contains("`base` and `aligned` do not share a vocabulary"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vocab {
    size: usize,
    fingerprint: Fingerprint,
}

impl Vocab {
    /// A vocabulary of `size` ids, `0..size`.
    pub fn new(size: usize, fingerprint: Fingerprint) -> Self {
        Self { size, fingerprint }
    }

    /// Number of ids: the width of a row of logits and of a distribution.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Digest of the token strings.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Checks that two models share a vocabulary. `name` and `other_name` appear in the error.
    ///
    /// # Errors
    /// [`VocabMismatch`] if the sizes or the fingerprints differ.
    pub fn ensure_same(
        &self,
        name: &str,
        other: &Vocab,
        other_name: &str,
    ) -> Result<(), Box<VocabMismatch>> {
        if self == other {
            return Ok(());
        }
        let names = [name.to_owned(), other_name.to_owned()];
        Err(Box::new(VocabMismatch { names, vocabs: [*self, *other] }))
    }
}

/// Two models with different vocabularies cannot be combined.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{}` and `{}` do not share a vocabulary: {} tokens (fingerprint {}) against {} tokens \
     (fingerprint {}); token-level decoding needs models with the same tokenizer",
    names[0], names[1], vocabs[0].size, vocabs[0].fingerprint, vocabs[1].size, vocabs[1].fingerprint
)]
pub struct VocabMismatch {
    /// Names of the two models.
    pub names: [String; 2],
    /// Their vocabularies, in the same order.
    pub vocabs: [Vocab; 2],
}
