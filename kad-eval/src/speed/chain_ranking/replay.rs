//! The texts of a profile that chains are replayed along.

use anyhow::{Result, bail};
use kad_polybasic::theory::{
    Chain, Proposer, ReplayResult, ReplaySettings, TextTrace, TheoryError,
};

use super::{RESAMPLES, SEED};
use crate::failure::WrongRequest;
use crate::speed::profile::Profile;

/// Texts played for one prediction, all repetitions together: times of chains of the Nano models
/// have standard errors of 0.05 to 0.2 % then.
const PLAYED: usize = 6000;

/// What part of texts is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReplayRange {
    /// Up to so many tokens, if the profile's texts have more.
    pub(crate) tokens: Option<usize>,
    /// Whether the target's first round counts, which reads the prompt.
    pub(crate) first_rounds: bool,
}

impl ReplayRange {
    /// All of them.
    pub(crate) const WHOLE: Self = Self { tokens: None, first_rounds: true };
}

/// The texts of one target.
#[derive(Clone, Debug)]
pub(super) struct ReplayedTexts {
    texts: Vec<TextTrace>,
    first_rounds: bool,
    /// Tokens that lookups were asked for at each place.
    looked_up: usize,
}

impl ReplayedTexts {
    /// Those of `target` that `profile` has; they may be none.
    pub(super) fn of(profile: &Profile, target: &str, stretch: ReplayRange) -> Self {
        let texts = profile.texts.as_ref().filter(|texts| texts.target == target);
        let cut = |text: &TextTrace| text.cut(stretch.tokens.unwrap_or(usize::MAX));
        let texts = texts.map_or(Vec::new(), |texts| texts.traces.iter().map(cut).collect());
        let looked_up = profile.effort.looked_up();
        Self { texts, first_rounds: stretch.first_rounds, looked_up }
    }

    /// How many.
    pub(super) fn len(&self) -> usize {
        self.texts.len()
    }

    /// What `chain` does along them. None if there are none, they do not say all of it, or every
    /// text is over when anything counts: then there are still the run lengths.
    ///
    /// # Errors
    /// If the traces are of no texts: the profile's file was changed.
    pub(super) fn replay(&self, chain: &Chain) -> Result<Option<ReplayResult>> {
        let covered = self.texts.iter().all(|text| text.covers(chain)) && self.reaches(chain);
        if self.texts.is_empty() || !covered {
            return Ok(None);
        }
        let how = ReplaySettings {
            repetitions: PLAYED.div_ceil(self.texts.len()),
            resamples: RESAMPLES,
            seed: SEED,
            first_rounds: self.first_rounds,
        };
        match chain.replay(&self.texts, how) {
            Err(TheoryError::OnlyFirstRounds) => Ok(None),
            Err(error @ TheoryError::InvalidTrace { .. }) => bail!(WrongRequest(format!(
                "the profile's texts cannot be used: {error}: the file was changed; make it again with \
                 `kad profile`"
            ))),
            found => Ok(Some(found?)),
        }
    }

    /// Whether drafts of no distribution were traced as far as the chain asks for them, in the way
    /// it does.
    fn reaches(&self, chain: &Chain) -> bool {
        let Some(lowest) = chain.verifiers.last() else { return true };
        match &chain.proposer {
            Proposer::Model { .. } => true,
            Proposer::Lookup { .. } => lowest.length <= self.looked_up,
            // Replay would correct a token behind a path that ends early, where no bonus is drawn.
            Proposer::Tree { .. } => lowest.bonus,
        }
    }
}
