//! Replay of chains along the texts of a profile.

use anyhow::{Result, bail};
use kad_polybasic::theory::{
    Chain, Proposer, ReplayResult, ReplaySettings, TextTrace, TheoryError,
};

use super::{RESAMPLES, SEED};
use crate::failure::WrongRequest;
use crate::speed::profile::Profile;

/// Texts replayed for one prediction, all repetitions together: times of chains of the Nano models
/// then have standard errors of 0.05 to 0.2 %.
const REPLAYED: usize = 6000;

/// The part of each text that is predicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReplayRange {
    /// Maximum number of tokens; `None` for all.
    pub(crate) tokens: Option<usize>,
    /// Counts the target's first round, which reads the prompt.
    pub(crate) first_rounds: bool,
}

impl ReplayRange {
    pub(crate) const WHOLE: Self = Self { tokens: None, first_rounds: true };
}

/// The texts of one target.
#[derive(Clone, Debug)]
pub(super) struct ReplayedTexts {
    texts: Vec<TextTrace>,
    first_rounds: bool,
    /// Tokens requested of lookups at each position.
    lookup_length: usize,
}

impl ReplayedTexts {
    /// The texts of `target` in `profile`; there may be none.
    pub(super) fn of(profile: &Profile, target: &str, range: ReplayRange) -> Self {
        let texts = profile.texts.as_ref().filter(|texts| texts.target == target);
        let cut = |text: &TextTrace| text.cut(range.tokens.unwrap_or(usize::MAX));
        let texts = texts.map_or(Vec::new(), |texts| texts.traces.iter().map(cut).collect());
        let lookup_length = profile.settings.lookup_length();
        Self { texts, first_rounds: range.first_rounds, lookup_length }
    }

    pub(super) fn len(&self) -> usize {
        self.texts.len()
    }

    /// `chain` replayed along the texts. `None` if there are none, if they lack data of the chain, or
    /// if every text ends before anything counts: run lengths predict it then. Inconsistent traces
    /// are an error: the profile's file was changed.
    pub(super) fn replay(&self, chain: &Chain) -> Result<Option<ReplayResult>> {
        let covered = self.texts.iter().all(|text| text.covers(chain)) && self.reaches(chain);
        if self.texts.is_empty() || !covered {
            return Ok(None);
        }
        let settings = ReplaySettings {
            repetitions: REPLAYED.div_ceil(self.texts.len()),
            resamples: RESAMPLES,
            seed: SEED,
            first_rounds: self.first_rounds,
        };
        match chain.replay(&self.texts, settings) {
            Err(TheoryError::OnlyFirstRounds) => Ok(None),
            Err(error @ TheoryError::InvalidTrace { .. }) => bail!(WrongRequest(format!(
                "the profile's texts cannot be used: {error}: the file was changed; make it again with \
                 `kad profile`"
            ))),
            found => Ok(Some(found?)),
        }
    }

    /// True if lookups and trees were traced for the chain's draft length and bonus.
    fn reaches(&self, chain: &Chain) -> bool {
        let Some(lowest) = chain.verifiers.last() else { return true };
        match &chain.proposer {
            Proposer::Model { .. } => true,
            Proposer::Lookup { .. } => lowest.length <= self.lookup_length,
            // Without a bonus, replay would add a token after a path that ends early.
            Proposer::Tree { .. } => lowest.bonus,
        }
    }
}
