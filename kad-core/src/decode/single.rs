//! Plain autoregressive decoding.

use super::{Decoder, Emitted, Step};
use crate::choice::ChoiceSource;
use crate::distribution::Distribution;
use crate::error::DecodeError;
use crate::predictor::Predictor;
use crate::vocab::TokenId;

/// Plain autoregressive decoding: samples one token per step from a [`Predictor`].
///
/// ```
/// use std::ops::ControlFlow;
///
/// use kad_core::decode::{Limits, SingleDecoder, generate};
/// use kad_core::{ModelPredictor, SampledChoices, Sampling, oracle::TableModel};
/// // After token 0 always token 1, after token 1 always token 0.
/// let model = TableModel::random("toy", 2, 1, 0)
///     .with_row(&[0], &[f32::NEG_INFINITY, 0.0])
///     .with_row(&[1], &[0.0, f32::NEG_INFINITY]);
/// let predictor = ModelPredictor::new(&model, Sampling::at_temperature(1.0)?)?;
/// let limits = Limits { max_new_tokens: 3, eos: vec![] };
/// let go_on = &mut |_: &_| ControlFlow::Continue(());
/// let mut choices = SampledChoices::seeded(1);
/// let made = generate(&mut SingleDecoder::new(predictor), &[0], &limits, &mut choices, go_on)?;
/// assert_eq!(made.tokens.iter().map(|made| made.token).collect::<Vec<_>>(), [1, 0, 1]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
