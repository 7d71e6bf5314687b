//! Proxy-based alignment with deferral, one token per step.

use super::{Decoder, Emitted, Step};
use crate::choice::ChoiceSource;
use crate::error::DecodeError;
use crate::mixture::Mixture;
use crate::vocab::TokenId;

/// Samples from the base model and, if the rule defers the token, from the aligned model instead.
///
/// The output has the mixture distribution `π` of [`mix`](crate::mixture::mix) (Hammal et al.,
/// arXiv 2510.27017). For a rule that reads the base distribution alone, the aligned model runs
/// only after a deferred token, with probability `D` per token; one forward pass then covers the
/// tokens it missed. The published code runs it wherever some token could be deferred. The
/// distribution is the same.
///
/// ```
/// use std::ops::ControlFlow;
/// use kad_core::decode::{DeferralDecoder, Limits, generate};
/// use kad_core::deferral::{KadDual, Rule};
/// use kad_core::{Mixture, SampledChoices, Sampling, oracle::TableModel};
/// let base = TableModel::random("base", 5, 3, 1);
/// let aligned = TableModel::random("aligned", 5, 3, 2);
/// let (rule, plain) = (Rule::base(KadDual::new(0.3)?), Sampling::at_temperature(1.0)?);
/// let mut decoder = DeferralDecoder::new(Mixture::new(&base, &aligned, &rule, plain, plain)?);
/// let limits = Limits { max_new_tokens: 8, eos: vec![] };
/// let mut choices = SampledChoices::seeded(1);
/// let mut observe = |_: &_| ControlFlow::Continue(());
/// let made = generate(&mut decoder, &[0, 1], &limits, &mut choices, &mut observe)?;
/// assert_eq!(made.tokens.len(), 8);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct DeferralDecoder<'m> {
    mixture: Mixture<'m>,
}

impl<'m> DeferralDecoder<'m> {
    /// A decoder for the distribution of `mixture`.
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
