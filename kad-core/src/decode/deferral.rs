//! Proxy-based alignment, one token at a time.

use super::{Decoder, Emitted, Step};
use crate::choice::ChoiceSource;
use crate::error::DecodeError;
use crate::mixture::Mixture;
use crate::vocab::TokenId;

/// Draws from the base model, and from the aligned model instead where the rule hands over.
///
/// Its distribution is the mixture `π` of [`mix`](crate::mixture::mix). For a rule that looks at
/// the base distribution alone the aligned model runs only after a deferred draw (lazily, catching
/// up on the tokens it missed in one pass): with probability `D` per token, where the published
/// code runs it whenever any token could be deferred. The distribution is the same.
pub struct DeferralDecoder<'m> {
    mixture: Mixture<'m>,
}

impl<'m> DeferralDecoder<'m> {
    /// Decodes `mixture`.
    pub fn new(mixture: Mixture<'m>) -> Self {
        Self { mixture }
    }
}

impl Decoder for DeferralDecoder<'_> {
    fn begin(&mut self, prompt: usize) {
        self.mixture.begin(prompt);
    }

    fn context_len(&self) -> usize {
        self.mixture.context_len()
    }

    fn step(
        &mut self,
        context: &[TokenId],
        _room: usize,
        choices: &mut dyn ChoiceSource,
        out: &mut Vec<Emitted>,
    ) -> Result<Step, DecodeError> {
        self.mixture.follow(context, 1)?;
        out.push(self.mixture.draw(context.len(), choices)?);
        Ok(Step::default())
    }
}
