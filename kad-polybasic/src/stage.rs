//! One verified level: draft, verify, correct.

use std::cell::Cell;
use std::num::NonZeroUsize;
use std::rc::Rc;

use kad_core::decode::{Emitted, Origin, Round};
use kad_core::{ChoiceSource, DecodeError, Distribution, TokenId};

use crate::draft::{Draft, DraftRequest, Drafter};
use crate::level::Level;
use crate::target::{DraftedToken, Target};
use crate::verify::{BlockVerification, Verifier, lenient_acceptance};

/// How much is drafted before it is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DraftSettings {
    /// Tokens wanted from below before this level verifies them: the draft length `K` of the lowest
    /// level, the threshold `μ` of any other.
    pub length: NonZeroUsize,
    /// Whether a draft that is accepted whole is followed by a token of the level's own, which its
    /// pass has paid for. Default: yes. (The code that accompanies arXiv 2510.27017 does not.)
    pub bonus: bool,
}

/// A draft of no tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the draft length is 0: draft at least one token, or decode without a drafter")]
pub struct ZeroDraftLength;

impl DraftSettings {
    /// `length` ≥ 1 tokens at a time, with bonus tokens.
    ///
    /// # Errors
    /// If `length` is 0.
    pub fn of(length: usize) -> Result<Self, ZeroDraftLength> {
        let length = NonZeroUsize::new(length).ok_or(ZeroDraftLength)?;
        Ok(Self { length, bonus: true })
    }
}

/// The length of a stage, to be changed between its rounds by whoever holds it too; 0 drafts
/// nothing and leaves each token to the target. Changing it does not change the distribution of the
/// text where the choice is independent of tokens drawn but not emitted. So it may follow
/// everything that came before, rounds of all levels included, where no level below keeps its
/// surplus: what is decided then is decided before the tokens of the next round are drawn. Above a
/// level with [`Surplus::Keep`](crate::Surplus::Keep) tokens wait that are drawn already, and the
/// round that made them says whether they were accepted or corrected: there a length may follow the
/// emitted text and a schedule fixed beforehand, and no rounds.
pub type SharedLength = Rc<Cell<usize>>;

/// A drafter and the target that verifies its drafts, one chain of tokens at a time.
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
    /// The target's distributions along the draft, as far as a verifier needs them together.
    targets: Vec<Distribution>,
    /// The deferral mass with each of them.
    masses: Vec<Option<f64>>,
}

/// What verification says about one drafted token.
enum Verdict {
    Accepted,
    Replaced(TokenId),
}

impl<D: Drafter, T: Target> Stage<D, T> {
    /// `drafter` and `target` share their vocabulary (whoever loads the models checks that).
    /// Verifies token by token.
    pub fn new(drafter: D, target: T, drafting: DraftSettings) -> Self {
        Self {
            drafter,
            target,
            length: Rc::new(Cell::new(drafting.length.get())),
            bonus: drafting.bonus,
            verifier: Verifier::Token,
            prompt: 0,
            draft: Draft::default(),
            text: Vec::new(),
            residual: Distribution::default(),
            targets: Vec::new(),
            masses: Vec::new(),
        }
    }

    /// Verifies with `verifier`.
    #[must_use]
    pub fn verified_by(self, verifier: Verifier) -> Self {
        let by_position = verifier == Verifier::SharedUniform;
        let draft = if by_position { Draft::without_distributions() } else { Draft::default() };
        Self { verifier, draft, ..self }
    }

    /// The draft length, to be changed while decoding.
    pub fn length(&self) -> SharedLength {
        Rc::clone(&self.length)
    }

    /// Fills the draft, and the text with it. Returns how many tokens were wanted.
    fn fill(
        &mut self,
        ask: DraftRequest<'_>,
        choices: &mut dyn ChoiceSource,
        rounds: &mut Vec<Round>,
    ) -> Result<usize, DecodeError> {
        self.draft.clear();
        // A bonus token must fit.
        let room = ask.room - usize::from(self.bonus);
        let wanted = self.length.get().min(room);
        if wanted > 0 {
            let below = DraftRequest { wanted, room, level: ask.level + 1, ..ask };
            self.drafter.draft(below, choices, &mut self.draft, rounds)?;
        }
        self.text.clear();
        self.text.extend_from_slice(ask.context);
        self.text.extend(self.draft.tokens().iter().map(|made| made.token));
        Ok(wanted)
    }

    /// Appends the tokens of the draft that are accepted, and the one that replaces the first
    /// rejected one. Returns how many were accepted.
    fn verify(
        &mut self,
        ask: DraftRequest<'_>,
        choices: &mut dyn ChoiceSource,
        out: &mut Draft,
    ) -> Result<usize, DecodeError> {
        if self.verifier == Verifier::Block {
            return self.verify_block(ask, choices, out);
        }
        let drafted = self.draft.len();
        for index in 0..drafted {
            let len = ask.context.len() + index;
            let verdict = self.judge(index, len, choices)?;
            let deferral_mass = self.target.deferral_mass();
            let (emitted, accepted) = match verdict {
                Verdict::Accepted => (self.draft.tokens()[index], true),
                Verdict::Replaced(token) => (corrected(token, ask.level), false),
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

    /// Decides about token `index` of the draft, which follows the first `len` of the text.
    fn judge(
        &mut self,
        index: usize,
        len: usize,
        choices: &mut dyn ChoiceSource,
    ) -> Result<Verdict, DecodeError> {
        let drafted = self.text[len];
        if self.verifier == Verifier::SharedUniform {
            self.target.distribution(&self.text, len, &mut self.residual)?;
            let own = choices.token_at(len - self.prompt.min(len), &self.residual);
            return Ok(if own == drafted { Verdict::Accepted } else { Verdict::Replaced(own) });
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
            return Ok(Verdict::Accepted);
        }
        self.target.residual(at, &mut self.residual)?;
        Ok(Verdict::Replaced(choices.token(&self.residual)))
    }

    fn verify_block(
        &mut self,
        ask: DraftRequest<'_>,
        choices: &mut dyn ChoiceSource,
        out: &mut Draft,
    ) -> Result<usize, DecodeError> {
        let (context, drafted) = (ask.context.len(), self.draft.len());
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
            corrected(choices.token(residual), ask.level)
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

/// A token of the target's own after a text that was verified to its end.
pub(crate) struct Own<'a> {
    pub(crate) text: &'a [TokenId],
    /// The level it is of.
    pub(crate) level: usize,
    /// Whether the text ends with a draft, which the token is a bonus of.
    pub(crate) after_draft: bool,
    /// Where tokens are drawn at the uniforms of their places: the length of the prompt.
    pub(crate) by_position: Option<usize>,
}

impl Own<'_> {
    /// Appends it to `out`. `distribution` is scratch memory.
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
        let shared = self.verifier == Verifier::SharedUniform;
        self.verifier.is_exact() && (shared || !self.drafter.draws_by_position())
    }

    fn draws_by_position(&self) -> bool {
        self.verifier == Verifier::SharedUniform || self.drafter.draws_by_position()
    }

    fn round(
        &mut self,
        ask: DraftRequest<'_>,
        choices: &mut dyn ChoiceSource,
        out: &mut Draft,
        rounds: &mut Vec<Round>,
    ) -> Result<(), DecodeError> {
        let before = out.len();
        let wanted = self.fill(ask, choices, rounds)?;
        let (drafted, ended) = (self.draft.len(), self.draft.has_ended(ask.eos));
        // A drafter that proposes nothing leaves the token to the target.
        let bonus = (self.bonus || drafted == 0) && !ended;
        // One pass: the distribution after each prefix that a drafted token follows, and after the
        // last one.
        let verified = if bonus { self.text.len() } else { self.text.len() - 1 };
        self.target.follow(&self.text[..verified], verified - ask.context.len() + 1)?;

        let accepted = self.verify(ask, choices, out)?;
        if bonus && accepted == drafted {
            let Self { target, text, residual, .. } = self;
            let by_position = (self.verifier == Verifier::SharedUniform).then_some(self.prompt);
            let own = Own { text, level: ask.level, after_draft: drafted > 0, by_position };
            own.append(target, choices, residual, out)?;
        }
        let emitted = out.len() - before;
        rounds.push(Round {
            level: ask.level,
            drafted,
            depth: drafted,
            accepted,
            emitted,
            stopped: drafted < wanted && !ended,
        });
        Ok(())
    }
}
