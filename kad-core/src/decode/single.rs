//! One token at a time from one law.

use super::{Decoder, Emitted, Origin};
use crate::choice::ChoiceSource;
use crate::error::DecodeError;
use crate::law::Law;
use crate::predictor::Predictor;
use crate::vocab::TokenId;

/// Plain autoregressive decoding of any predictor.
pub struct SingleDecoder<P> {
    predictor: P,
    laws: Vec<Law>,
}

impl<P: Predictor> SingleDecoder<P> {
    /// Decodes `predictor`'s law.
    pub fn new(predictor: P) -> Self {
        Self { predictor, laws: Vec::new() }
    }
}

impl<P: Predictor> Decoder for SingleDecoder<P> {
    fn context_len(&self) -> usize {
        self.predictor.context_len()
    }

    fn step(
        &mut self,
        context: &[TokenId],
        choices: &mut dyn ChoiceSource,
        out: &mut Vec<Emitted>,
    ) -> Result<(), DecodeError> {
        self.predictor.laws(context, 1, &mut self.laws)?;
        let token = choices.token(&self.laws[0]);
        out.push(Emitted { token, origin: Origin::Sampled, deferral_mass: None });
        Ok(())
    }
}
