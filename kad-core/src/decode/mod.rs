//! The decoding loop, and the decoders it drives.

mod deferral;
mod generate;
mod single;

pub use deferral::DeferralDecoder;
pub(crate) use generate::Text;
pub use generate::{Generation, Limits, Stop, generate};
pub use single::SingleDecoder;

use crate::choice::ChoiceSource;
use crate::error::DecodeError;
use crate::vocab::TokenId;

/// Who made a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Origin {
    /// The only model, or the composed law as a whole.
    Sampled,
    /// Drawn from the base model and kept.
    Base,
    /// The base draw was handed over; drawn from the aligned model.
    Deferred,
    /// Drafted and accepted.
    Drafted,
    /// Drawn from the residual in place of a rejected draft.
    Corrected,
    /// Drawn from the target after a draft that was accepted whole.
    Bonus,
}

/// One token with its provenance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Emitted {
    /// The token.
    pub token: TokenId,
    /// Who made it.
    pub origin: Origin,
    /// Probability `D` that the base draw would be handed over here, where a rule decided.
    pub deferral_mass: Option<f64>,
}

/// Continues contexts. Its only state is what it remembers of them: a step may be asked after any
/// context, in any order, and the law of its tokens depends on that context (and on where the prompt
/// in it ends) alone.
pub trait Decoder {
    /// Says that a new text begins after `prompt` tokens. [`generate()`] does.
    fn begin(&mut self, _prompt: usize) {}

    /// The longest context there can be.
    fn context_len(&self) -> usize;

    /// Appends at least one token to `out`, distributed as this decoder's law after `context`.
    ///
    /// `room` ≥ 1 is how many tokens are wanted at most; a step never appends more. It changes how
    /// many tokens a step yields, never their law.
    ///
    /// # Errors
    /// If a model fails or its logits are no law.
    fn step(
        &mut self,
        context: &[TokenId],
        room: usize,
        choices: &mut dyn ChoiceSource,
        out: &mut Vec<Emitted>,
    ) -> Result<Step, DecodeError>;
}

/// What one step did beside its tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Tokens drafted and verified; 0 where nothing was drafted.
    pub drafted: usize,
    /// How many of them were accepted.
    pub accepted: usize,
}
