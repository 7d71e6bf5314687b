//! The decoding loop and the decoders without drafts.

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

/// The source of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Origin {
    /// Sampled from the only model, or from a composed distribution as a whole.
    Sampled,
    /// Sampled from the base model and kept by the deferral rule.
    Base,
    /// Sampled from the aligned model after the rule deferred the base model's token.
    Deferred,
    /// Drafted and accepted by the target.
    Drafted,
    /// Sampled from the residual distribution after a rejected draft token.
    Corrected,
    /// Bonus token: sampled from the target after a fully accepted draft.
    Bonus,
}

/// One generated token with its origin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Emitted {
    /// The token.
    pub token: TokenId,
    /// The source of the token.
    pub origin: Origin,
    /// The level of the chain that produced the token: 1 is the target, and the only level without
    /// a chain.
    pub level: usize,
    /// Deferral mass `D` ∈ [0, 1] at this position, if a deferral rule decided.
    pub deferral_mass: Option<f64>,
}

impl Emitted {
    /// A token sampled from the target, without further information.
    pub fn sampled(token: TokenId) -> Self {
        Self { token, origin: Origin::Sampled, level: 1, deferral_mass: None }
    }
}

/// A decoding algorithm. It may cache contexts but has no other state: steps may follow any
/// context, in any order, and the distribution of a step's tokens depends only on the context and
/// on the length of its prompt.
///
/// ```
/// use kad_core::decode::{Decoder, SingleDecoder};
/// use kad_core::{ModelPredictor, SampledChoices, Sampling, oracle::TableModel};
/// let model = TableModel::random("toy", 5, 3, 11);
/// let plain = Sampling::at_temperature(1.0)?;
/// let mut decoder = SingleDecoder::new(ModelPredictor::new(&model, plain)?);
/// let (mut choices, mut tokens) = (SampledChoices::seeded(1), Vec::new());
/// decoder.begin(2);
/// decoder.step(&[1, 2], 8, &mut choices, &mut tokens)?;
/// assert_eq!(tokens.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Decoder {
    /// Starts a new text with a prompt of `prompt` tokens. [`generate()`] calls this.
    fn begin(&mut self, _prompt: usize) {}

    /// The longest context accepted, in tokens.
    fn context_len(&self) -> usize;

    /// Appends at least one and at most `room` ≥ 1 tokens to `out`, with this decoder's
    /// distribution after `context`. `room` affects the number of tokens, never their distribution.
    ///
    /// # Errors
    /// If a model fails or its logits do not form a distribution.
    fn step(
        &mut self,
        context: &[TokenId],
        room: usize,
        choices: &mut dyn ChoiceSource,
        out: &mut Vec<Emitted>,
    ) -> Result<Step, DecodeError>;

    /// The verification rounds of the last step at every level, in time order; the target's is the
    /// last. Empty without verification.
    fn rounds(&self) -> &[Round] {
        &[]
    }

    /// Notes on how the last text was decoded, for its reader: changed draft lengths, speculation
    /// switched off. Empty if there are none.
    fn remarks(&self) -> Vec<String> {
        Vec::new()
    }
}

/// One verification round at one level of a chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Round {
    /// The verifying level: 1 is the target.
    pub level: usize,
    /// Draft tokens to verify; in a tree, nodes.
    pub drafted: usize,
    /// The most tokens that could have been accepted: `drafted`, or the depth of a tree.
    pub depth: usize,
    /// Accepted tokens.
    pub accepted: usize,
    /// Tokens passed on: the accepted ones and the verifier's own.
    pub emitted: usize,
    /// True if the drafter ended its draft early, before the requested length.
    pub stopped: bool,
}

/// Draft statistics of one step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Tokens drafted and verified; 0 without drafts.
    pub drafted: usize,
    /// Accepted tokens.
    pub accepted: usize,
}
