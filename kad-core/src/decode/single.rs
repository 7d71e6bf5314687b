//! One token at a time from one law.

use super::{Decoder, Emitted, Step};
use crate::choice::ChoiceSource;
use crate::error::DecodeError;
use crate::law::Law;
use crate::predictor::Predictor;
use crate::vocab::TokenId;

/// Plain autoregressive decoding of any predictor.
pub struct SingleDecoder<P> {
    predictor: P,
    law: Law,
}

impl<P: Predictor> SingleDecoder<P> {
    /// Decodes `predictor`'s law.
    pub fn new(predictor: P) -> Self {
        Self { predictor, law: Law::default() }
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
        self.predictor.law(context, context.len(), &mut self.law)?;
        let token = choices.token(&self.law);
        let deferral_mass = self.predictor.deferral_mass();
        out.push(Emitted { deferral_mass, ..Emitted::sampled(token) });
        Ok(Step::default())
    }
}
