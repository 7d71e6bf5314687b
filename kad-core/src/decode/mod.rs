//! The decoding loop, and the decoders it drives.

mod deferral;
mod generate;
mod single;

pub use deferral::DeferralDecoder;
pub(crate) use generate::Continuation;
pub use generate::{Generation, Limits, Stop, generate};
pub use single::SingleDecoder;

use crate::choice::ChoiceSource;
use crate::error::DecodeError;
use crate::vocab::TokenId;

/// Who made a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Origin {
    /// The only model, or the composed distribution as a whole.
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
    /// The level of the chain that made it: 1 is the target, and the only one without a chain.
    pub level: usize,
    /// Probability `D` that the base draw would be handed over here, where a rule decided.
    pub deferral_mass: Option<f64>,
}

impl Emitted {
    /// A token of the target's own, of which nothing more is known.
    pub fn sampled(token: TokenId) -> Self {
        Self { token, origin: Origin::Sampled, level: 1, deferral_mass: None }
    }
}

/// Continues contexts. Its only state is what it remembers of them: a step may be asked after any
/// context, in any order, and the distribution of its tokens depends on that context (and on where
/// the prompt in it ends) alone.
pub trait Decoder {
    /// Says that a new text begins after `prompt` tokens. [`generate()`] does.
    fn begin(&mut self, _prompt: usize) {}

    /// The longest context there can be.
    fn context_len(&self) -> usize;

    /// Appends at least one token to `out`, distributed as this decoder's distribution after
    /// `context`.
    ///
    /// `room` ≥ 1 is how many tokens are wanted at most; a step never appends more. It changes how
    /// many tokens a step yields, never their distribution.
    ///
    /// # Errors
    /// If a model fails or its logits are no distribution.
    fn step(
        &mut self,
        context: &[TokenId],
        room: usize,
        choices: &mut dyn ChoiceSource,
        out: &mut Vec<Emitted>,
    ) -> Result<Step, DecodeError>;

    /// The verifications of the last step at every level, in the order they were made; the last one
    /// is the target's. Empty where nothing is verified.
    fn rounds(&self) -> &[Round] {
        &[]
    }

    /// What a reader of the last text should know about how it was decoded: that lengths were
    /// changed on the way, that speculation was given up. Empty where nothing happened.
    fn remarks(&self) -> Vec<String> {
        Vec::new()
    }
}

/// One verification in a chain of levels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Round {
    /// The level that verified: 1 is the target.
    pub level: usize,
    /// Tokens it was given; in a tree, nodes.
    pub drafted: usize,
    /// The longest draft it could have accepted: `drafted`, or the depth of a tree.
    pub depth: usize,
    /// How many tokens it accepted.
    pub accepted: usize,
    /// How many it handed on: those, and its own.
    pub emitted: usize,
    /// Whether the drafter ended the draft of its own accord, shorter than it was asked for.
    pub stopped: bool,
}

/// What one step did beside its tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Tokens drafted and verified; 0 where nothing was drafted.
    pub drafted: usize,
    /// How many of them were accepted.
    pub accepted: usize,
}
