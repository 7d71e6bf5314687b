//! Proxy-based alignment, one token at a time.

use super::{Decoder, Emitted, Origin};
use crate::choice::ChoiceSource;
use crate::deferral::{Deferral, Rule};
use crate::error::DecodeError;
use crate::follower::Follower;
use crate::law::Law;
use crate::model::LanguageModel;
use crate::predictor::law_after;
use crate::sampling::Sampling;
use crate::vocab::TokenId;

/// Draws from the base model, and from the aligned model instead where the rule hands over.
///
/// Its law is the mixture `π` of [`mix`](crate::mixture::mix). For a rule that looks at the base
/// law alone the aligned model runs only after a deferred draw (lazily, catching up on the tokens
/// it missed in one pass): with probability `D` per token, where the published code runs it
/// whenever any token could be deferred. The law is the same.
pub struct DeferralDecoder<'m> {
    base: Follower<'m>,
    aligned: Follower<'m>,
    rule: &'m Rule,
    sampling: Sampling,
    decision: Sampling,
    laws: Buffers,
}

/// Memory for one step, reused.
#[derive(Default)]
struct Buffers {
    base: Law,
    aligned: Law,
    base_seen: Law,
    aligned_seen: Law,
    deferral: Deferral,
}

impl<'m> DeferralDecoder<'m> {
    /// `base` and `aligned` share their vocabulary (whoever loads them checks that). The rule sees
    /// the laws under `decision`; tokens are drawn under `sampling`.
    ///
    /// # Errors
    /// If a model cannot start a session.
    pub fn new(
        base: &'m dyn LanguageModel,
        aligned: &'m dyn LanguageModel,
        rule: &'m Rule,
        sampling: Sampling,
        decision: Sampling,
    ) -> Result<Self, DecodeError> {
        let (base, aligned) = (Follower::new(base)?, Follower::new(aligned)?);
        Ok(Self { base, aligned, rule, sampling, decision, laws: Buffers::default() })
    }

    /// Fills `laws.base` and `laws.deferral`; returns the deferral mass of the base law.
    fn decide(&mut self, context: &[TokenId]) -> Result<f64, DecodeError> {
        let laws = &mut self.laws;
        law_after(&mut self.base, &self.sampling, context, &mut laws.base)?;
        // One law serves both purposes when the settings agree.
        let seen = if self.decision == self.sampling {
            &laws.base
        } else {
            law_after(&mut self.base, &self.decision, context, &mut laws.base_seen)?;
            &laws.base_seen
        };
        match self.rule {
            Rule::Base(rule) => rule.decide(seen, &mut laws.deferral),
            Rule::Pair(rule) => {
                law_after(&mut self.aligned, &self.decision, context, &mut laws.aligned_seen)?;
                rule.decide(seen, &laws.aligned_seen, &mut laws.deferral);
            }
        }
        Ok(laws.deferral.mass(&laws.base))
    }
}

impl Decoder for DeferralDecoder<'_> {
    fn context_len(&self) -> usize {
        self.base.model().context_len().min(self.aligned.model().context_len())
    }

    fn step(
        &mut self,
        context: &[TokenId],
        choices: &mut dyn ChoiceSource,
        out: &mut Vec<Emitted>,
    ) -> Result<(), DecodeError> {
        let deferral_mass = Some(self.decide(context)?);
        let drawn = choices.token(&self.laws.base);
        let hand_over = self.laws.deferral.weights()[drawn as usize];
        if choices.accept(hand_over) {
            law_after(&mut self.aligned, &self.sampling, context, &mut self.laws.aligned)?;
            let token = choices.token(&self.laws.aligned);
            out.push(Emitted { token, origin: Origin::Deferred, deferral_mass });
        } else {
            out.push(Emitted { token: drawn, origin: Origin::Base, deferral_mass });
        }
        Ok(())
    }
}
