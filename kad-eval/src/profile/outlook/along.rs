//! The texts of a profile that chains are replayed along.

use anyhow::Result;
use kad_polybasic::theory::{Chain, Replay, Replayed, TheoryError, Trace};

use super::{RESAMPLES, SEED};
use crate::profile::format::Profile;

/// Texts played for one prediction, all repetitions together: times of chains of the Nano models have
/// standard errors of 0.05 to 0.2 % then.
const PLAYED: usize = 6000;

/// What part of texts is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    /// Up to so many tokens, if the profile's texts have more.
    pub(crate) tokens: Option<usize>,
    /// Whether the target's first round counts, which reads the prompt.
    pub(crate) first_rounds: bool,
}

impl Stretch {
    /// All of them.
    pub(crate) const WHOLE: Self = Self { tokens: None, first_rounds: true };
}

/// The texts of one target.
#[derive(Clone, Debug)]
pub(super) struct Along {
    texts: Vec<Trace>,
    first_rounds: bool,
}

impl Along {
    /// Those of `target` that `profile` has; they may be none.
    pub(super) fn of(profile: &Profile, target: &str, stretch: Stretch) -> Self {
        let texts = profile.texts.as_ref().filter(|texts| texts.target == target);
        let cut = |text: &Trace| text.cut(stretch.tokens.unwrap_or(usize::MAX));
        let texts = texts.map_or(Vec::new(), |texts| texts.traces.iter().map(cut).collect());
        Self { texts, first_rounds: stretch.first_rounds }
    }

    /// How many.
    pub(super) fn len(&self) -> usize {
        self.texts.len()
    }

    /// What `chain` does along them. None if there are none, some level was not traced, or every text is
    /// over when anything counts: then there are still the run lengths.
    ///
    /// # Errors
    /// If the traces are of no texts.
    pub(super) fn replay(&self, chain: &Chain) -> Result<Option<Replayed>> {
        if self.texts.is_empty() || !self.texts.iter().all(|text| text.covers(chain)) {
            return Ok(None);
        }
        let how = Replay {
            repetitions: PLAYED.div_ceil(self.texts.len()),
            resamples: RESAMPLES,
            seed: SEED,
            first_rounds: self.first_rounds,
        };
        match chain.replay(&self.texts, how) {
            Err(TheoryError::OneRound) => Ok(None),
            found => Ok(Some(found?)),
        }
    }
}
