//! A stage: drafts, verifies and corrects one chain of tokens.

use std::cell::Cell;
use std::num::NonZeroUsize;
use std::rc::Rc;

use kad_core::decode::{Emitted, Origin, Round};
use kad_core::{ChoiceSource, DecodeError, Distribution, TokenId};

use crate::draft::{Draft, DraftRequest, Drafter};
use crate::level::Level;
use crate::target::{DraftedToken, Target};
use crate::verify::{BlockVerification, Verifier, lenient_acceptance};

/// The settings of a stage.
///
/// ```
/// use kad_polybasic::DraftSettings;
/// let settings = DraftSettings::of(5)?;
/// assert!(settings.bonus);
/// // Disable the bonus token after a fully accepted draft.
/// let settings = DraftSettings { bonus: false, ..settings };
/// assert!(DraftSettings::of(0).is_err());
/// # Ok::<(), kad_polybasic::ZeroDraftLength>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DraftSettings {
    /// Tokens wanted from below before this level verifies, ≥ 1: the draft length of the lowest
    /// stage, the threshold of any other.
    pub length: NonZeroUsize,
    /// True if a bonus token follows a fully accepted draft, from the pass that verified it.
    /// Default: true. (The code published with arXiv 2510.27017 draws none.)
    pub bonus: bool,
}

/// The error for a draft length of 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the draft length is 0: draft at least one token, or decode without a drafter")]
pub struct ZeroDraftLength;

impl DraftSettings {
    /// A draft length of `length` ≥ 1 tokens, with bonus tokens.
    ///
    /// # Errors
    /// If `length` is 0.
    pub fn of(length: usize) -> Result<Self, ZeroDraftLength> {
        let length = NonZeroUsize::new(length).ok_or(ZeroDraftLength)?;
        Ok(Self { length, bonus: true })
    }
}

/// The length of a stage, shared so that it can be changed between rounds. With 0 nothing is
/// drafted and the target decodes each token.
///
/// The text keeps its distribution if the choice of the length is independent of tokens that are
/// drawn but not emitted. If every level below flushes its surplus, the length may depend on
/// everything so far, the rounds of all levels included. Above a level that keeps its surplus
/// ([`Surplus::Keep`](crate::Surplus::Keep)) tokens wait that are already drawn, and the rounds
/// below reveal something about them. There the length may depend on the emitted text and on a
/// fixed schedule, but not on the rounds.
pub type SharedLength = Rc<Cell<usize>>;

/// A drafter and the target that verifies its drafts, each draft a chain of tokens.
///
/// ```
/// use kad_core::{ModelPredictor, Sampling, SampledChoices, decode::{Limits, generate}};
/// use kad_core::oracle::TableModel;
/// use kad_polybasic::{
///     DraftSettings, PredictorDrafter, PredictorTarget, Speculative, Stage, Verifier,
/// };
/// let [large, small] = [1, 2].map(|seed| TableModel::random("table", 9, 2, seed));
/// let sampling = Sampling::at_temperature(1.0)?;
/// let model = |model| ModelPredictor::new(model, sampling);
/// let drafter = PredictorDrafter::new(model(&small)?);
/// let stage = Stage::new(drafter, PredictorTarget::new(model(&large)?), DraftSettings::of(3)?)
///     .verified_by(Verifier::Block);
/// let length = stage.length();
/// let mut decoder = Speculative::new(stage, &[]);
/// let limits = Limits { max_new_tokens: 20, eos: vec![] };
/// // Drafts of 3 tokens first, of 1 token after the first step.
/// let go_on = &mut |_: &_| {
///     length.set(1);
///     std::ops::ControlFlow::Continue(())
/// };
/// let made = generate(&mut decoder, &[0], &limits, &mut SampledChoices::seeded(7), go_on)?;
/// assert_eq!((made.rounds[0].drafted, made.rounds[1].drafted), (3, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Stage<D, T> {
    drafter: D,
    target: T,
    length: SharedLength,
    bonus: bool,
    verifier: Verifier,
    prompt: usize,
    draft: Draft,
    text: Vec<TokenId>,
    residual: Distribution,
    /// Block verification only: the target's distributions along the draft.
    targets: Vec<Distribution>,
    /// Block verification only: the deferral mass of each of them.
    masses: Vec<Option<f64>>,
}

/// The outcome of verifying one drafted token.
enum TokenVerdict {
    Accepted,
    Replaced(TokenId),
}

impl<D: Drafter, T: Target> Stage<D, T> {
    /// A stage that verifies token by token. `drafter` and `target` must share their vocabulary;
    /// the caller checks that.
    pub fn new(drafter: D, target: T, settings: DraftSettings) -> Self {
        Self {
            drafter,
            target,
            length: Rc::new(Cell::new(settings.length.get())),
            bonus: settings.bonus,
            verifier: Verifier::Token,
            prompt: 0,
            draft: Draft::default(),
            text: Vec::new(),
            residual: Distribution::default(),
            targets: Vec::new(),
            masses: Vec::new(),
        }
    }

    /// Verifies with `verifier` instead. Default: [`Verifier::Token`].
    #[must_use]
    pub fn verified_by(self, verifier: Verifier) -> Self {
        let by_position = verifier == Verifier::SameUniform;
        let draft = if by_position { Draft::without_distributions() } else { Draft::default() };
        Self { verifier, draft, ..self }
    }

    /// The draft length, which may be changed between rounds: see [`SharedLength`].
    pub fn length(&self) -> SharedLength {
        Rc::clone(&self.length)
    }

    /// Requests a draft and appends it to the text. Returns the number of tokens requested.
    fn fill(
        &mut self,
        request: DraftRequest<'_>,
        choices: &mut dyn ChoiceSource,
        rounds: &mut Vec<Round>,
    ) -> Result<usize, DecodeError> {
        self.draft.clear();
        // A bonus token must fit.
        let room = request.room - usize::from(self.bonus);
        let wanted = self.length.get().min(room);
        if wanted > 0 {
            let below = DraftRequest { wanted, room, level: request.level + 1, ..request };
            self.drafter.draft(below, choices, &mut self.draft, rounds)?;
        }
        self.text.clear();
        self.text.extend_from_slice(request.context);
        self.text.extend(self.draft.tokens().iter().map(|made| made.token));
        Ok(wanted)
    }

    /// Appends the accepted tokens of the draft and the replacement of the first rejected one.
    /// Returns the number of accepted tokens.
    fn verify(
        &mut self,
        request: DraftRequest<'_>,
        choices: &mut dyn ChoiceSource,
        out: &mut Draft,
    ) -> Result<usize, DecodeError> {
        if self.verifier == Verifier::Block {
            return self.verify_block(request, choices, out);
        }
        let drafted = self.draft.len();
        for index in 0..drafted {
            let len = request.context.len() + index;
            let verdict = self.verify_token(index, len, choices)?;
            let deferral_mass = self.target.deferral_mass();
            let (emitted, accepted) = match verdict {
                TokenVerdict::Accepted => (self.draft.tokens()[index], true),
                TokenVerdict::Replaced(token) => (corrected(token, request.level), false),
            };
            let emitted = Emitted { deferral_mass, ..emitted };
            out.push(emitted, |distribution| {
                self.target.take_distribution(&self.text, len, distribution)
            })?;
            if !accepted {
                return Ok(index);
            }
        }
        Ok(drafted)
    }

    /// Verifies token `index` of the draft, which follows the first `len` tokens of the text.
    fn verify_token(
        &mut self,
        index: usize,
        len: usize,
        choices: &mut dyn ChoiceSource,
    ) -> Result<TokenVerdict, DecodeError> {
        let drafted = self.text[len];
        if self.verifier == Verifier::SameUniform {
            self.target.distribution(&self.text, len, &mut self.residual)?;
            let own = choices.token_at(len - self.prompt.min(len), &self.residual);
            return Ok(if own == drafted {
                TokenVerdict::Accepted
            } else {
                TokenVerdict::Replaced(own)
            });
        }
        let at = DraftedToken {
            text: &self.text,
            prefix_len: len,
            draft: &self.draft.distributions()[index],
        };
        let mut probability = self.target.acceptance(at)?;
        if let Verifier::Lenient { leniency } = self.verifier {
            probability = lenient_acceptance(probability, leniency);
        }
        if choices.accept(probability) {
            return Ok(TokenVerdict::Accepted);
        }
        self.target.residual(at, &mut self.residual)?;
        Ok(TokenVerdict::Replaced(choices.token(&self.residual)))
    }

    fn verify_block(
        &mut self,
        request: DraftRequest<'_>,
        choices: &mut dyn ChoiceSource,
        out: &mut Draft,
    ) -> Result<usize, DecodeError> {
        let (context, drafted) = (request.context.len(), self.draft.len());
        if drafted == 0 {
            return Ok(0);
        }
        let Self { target, targets, masses, text, draft, residual, .. } = self;
        if targets.len() < drafted {
            targets.resize_with(drafted, Distribution::default);
        }
        masses.clear();
        let mut block = BlockVerification::default();
        for ((distribution, made), len) in
            targets.iter_mut().zip(draft.distributions()).zip(context..)
        {
            target.distribution(text, len, distribution)?;
            masses.push(target.deferral_mass());
            if !block.push(distribution, made, text[len]) {
                break;
            }
        }
        let accepted = block.decide(targets, draft.distributions(), choices);
        let replacement = (accepted < drafted).then(|| {
            block.residual(
                accepted,
                &targets[accepted],
                &draft.distributions()[accepted],
                residual,
            );
            corrected(choices.token(residual), request.level)
        });
        let made = draft.tokens()[..accepted].iter().copied().chain(replacement);
        for (index, emitted) in made.enumerate() {
            let emitted = Emitted { deferral_mass: masses[index], ..emitted };
            out.push(emitted, |distribution| {
                std::mem::swap(distribution, &mut targets[index]);
                Ok::<_, DecodeError>(())
            })?;
        }
        Ok(accepted)
    }
}

/// A token of the target's own after a text that is verified to its end.
pub(crate) struct OwnToken<'a> {
    pub(crate) text: &'a [TokenId],
    /// The level of the token.
    pub(crate) level: usize,
    /// True if the text ends with a draft, so that the token is a bonus token.
    pub(crate) after_draft: bool,
    /// The prompt length, if tokens are drawn by position.
    pub(crate) by_position: Option<usize>,
}

impl OwnToken<'_> {
    /// Draws the token and appends it to `out`. `distribution` is scratch memory.
    pub(crate) fn append<T: Target>(
        self,
        target: &mut T,
        choices: &mut dyn ChoiceSource,
        distribution: &mut Distribution,
        out: &mut Draft,
    ) -> Result<(), DecodeError> {
        let (text, len) = (self.text, self.text.len());
        let drawn = if let Some(prompt) = self.by_position {
            target.distribution(text, len, distribution)?;
            let token = choices.token_at(len - prompt.min(len), distribution);
            Emitted { deferral_mass: target.deferral_mass(), ..Emitted::sampled(token) }
        } else {
            target.draw(text, choices)?
        };
        let origin = if self.after_draft { Origin::Bonus } else { drawn.origin };
        let emitted = Emitted { origin, level: self.level, ..drawn };
        out.push(emitted, |distribution| target.take_distribution(text, len, distribution))
    }
}

fn corrected(token: TokenId, level: usize) -> Emitted {
    Emitted { origin: Origin::Corrected, level, ..Emitted::sampled(token) }
}

impl<D: Drafter, T: Target> Level for Stage<D, T> {
    fn begin(&mut self, prompt: usize) {
        self.prompt = prompt;
        self.drafter.begin(prompt);
        self.target.begin(prompt);
    }

    fn context_len(&self) -> usize {
        self.drafter.context_len().min(self.target.context_len())
    }

    fn is_exact(&self) -> bool {
        let shared = self.verifier == Verifier::SameUniform;
        self.verifier.is_exact() && (shared || !self.drafter.draws_by_position())
    }

    fn draws_by_position(&self) -> bool {
        self.verifier == Verifier::SameUniform || self.drafter.draws_by_position()
    }

    fn round(
        &mut self,
        request: DraftRequest<'_>,
        choices: &mut dyn ChoiceSource,
        out: &mut Draft,
        rounds: &mut Vec<Round>,
    ) -> Result<(), DecodeError> {
        let before = out.len();
        let wanted = self.fill(request, choices, rounds)?;
        let (drafted, ended) = (self.draft.len(), self.draft.has_ended(request.eos));
        // After an empty draft the token is the target's.
        let bonus = (self.bonus || drafted == 0) && !ended;
        // One pass gives the distribution after each prefix that a drafted token follows, and after
        // the whole draft if a bonus token may follow.
        let verified = if bonus { self.text.len() } else { self.text.len() - 1 };
        self.target.follow(&self.text[..verified], verified - request.context.len() + 1)?;

        let accepted = self.verify(request, choices, out)?;
        if bonus && accepted == drafted {
            let Self { target, text, residual, .. } = self;
            let by_position = (self.verifier == Verifier::SameUniform).then_some(self.prompt);
            let own =
                OwnToken { text, level: request.level, after_draft: drafted > 0, by_position };
            own.append(target, choices, residual, out)?;
        }
        let emitted = out.len() - before;
        rounds.push(Round {
            level: request.level,
            drafted,
            depth: drafted,
            accepted,
            emitted,
            stopped: drafted < wanted && !ended,
        });
        Ok(())
    }
}
