//! Plain autoregressive decoding.

use super::{Decoder, Emitted, Step};
use crate::choice::ChoiceSource;
use crate::distribution::Distribution;
use crate::error::DecodeError;
use crate::predictor::Predictor;
use crate::vocab::TokenId;

/// Plain autoregressive decoding: samples one token per step from a [`Predictor`].
pub struct SingleDecoder<P> {
    predictor: P,
    distribution: Distribution,
}

impl<P: Predictor> SingleDecoder<P> {
    /// A decoder for the distribution of `predictor`.
    pub fn new(predictor: P) -> Self {
        Self { predictor, distribution: Distribution::default() }
    }
}

impl<P: Predictor> Decoder for SingleDecoder<P> {
    fn begin(&mut self, prompt: usize) {
        self.predictor.begin(prompt);
    }

    fn context_len(&self) -> usize {
        self.predictor.context_len()
    }

    fn step(
        &mut self,
        context: &[TokenId],
        _room: usize,
        choices: &mut dyn ChoiceSource,
        out: &mut Vec<Emitted>,
    ) -> Result<Step, DecodeError> {
        self.predictor.follow(context, 1)?;
        self.predictor.distribution(context, context.len(), &mut self.distribution)?;
        let token = choices.token(&self.distribution);
        let deferral_mass = self.predictor.deferral_mass();
        out.push(Emitted { deferral_mass, ..Emitted::sampled(token) });
        Ok(Step::default())
    }
}
