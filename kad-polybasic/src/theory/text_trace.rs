//! What was noted along a text: the data of [`Chain::replay`](super::Chain::replay).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::chain::{Chain, Proposer};
use super::error::TheoryError;

/// One text that the target wrote by itself, and what others would have made of it, place by place.
///
/// Cut to fewer tokens it is the trace of the text that a smaller limit would have given.
///
/// ```
/// use kad_polybasic::theory::TextTrace;
/// let ended = TextTrace { prompt: 7, limit: 10, tokens: 4, ended: true, ..TextTrace::default() };
/// // A limit of four tokens still lets the text end; one of three does not.
/// assert!(ended.cut(4).ended);
/// assert_eq!((ended.cut(3).tokens, ended.cut(3).limit, ended.cut(3).ended), (3, 3, false));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextTrace {
    /// Tokens before the text.
    pub prompt: usize,
    /// The most tokens that the text could have had, ≥ `tokens`; equal to it unless the text ended.
    pub limit: usize,
    /// Tokens of the text.
    pub tokens: usize,
    /// Whether the last of them ended the text. Otherwise the limit did.
    pub ended: bool,
    /// By the names of distributions: `ln p(y_s | y_<s)` for each place s. A token that a
    /// distribution rules out has any finite number whose exponential is 0, such as −1000.
    pub distributions: BTreeMap<String, Vec<f64>>,
    /// By the names of lookups and of trees whose candidates depend on the context alone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub drafts: BTreeMap<String, TracedDrafts>,
}

/// What something that has no distribution drafts after each beginning of a text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TracedDrafts {
    /// Of a lookup, the tokens it proposes; of a tree, its depth. Shorter drafts are beginnings of
    /// it.
    pub proposed: Vec<usize>,
    /// How many of these the text goes on with; in a tree, on the best path.
    pub agreeing: Vec<usize>,
}

impl TextTrace {
    /// The trace of the same text under a limit of `limit` ≥ 1 tokens, if that is smaller.
    #[must_use]
    pub fn cut(&self, limit: usize) -> Self {
        let mut cut = self.clone();
        if limit >= self.limit {
            return cut;
        }
        let tokens = self.tokens.min(limit);
        cut.ended = self.ended && self.tokens <= limit;
        (cut.limit, cut.tokens) = (limit, tokens);
        cut.distributions.values_mut().for_each(|along| along.truncate(tokens));
        for drafts in cut.drafts.values_mut() {
            drafts.proposed.truncate(tokens);
            drafts.agreeing.truncate(tokens);
            let left = (1..=tokens).rev();
            drafts
                .agreeing
                .iter_mut()
                .zip(left)
                .for_each(|(right, left)| *right = left.min(*right));
        }
        cut
    }

    /// Whether everything that `chain` has is in it: the distributions of its verifiers, and what
    /// its proposer drafts.
    pub fn covers(&self, chain: &Chain) -> bool {
        self.uncovered(chain).is_none()
    }

    /// The first level that is not in it. Plain decoding needs nothing.
    fn uncovered<'c>(&self, chain: &'c Chain) -> Option<&'c str> {
        let verifiers = chain.verifiers.iter().map(|verifier| verifier.name.as_str());
        let mut distributions = verifiers.filter(|name| !self.distributions.contains_key(*name));
        let name = chain.proposer.name();
        let proposer = match &chain.proposer {
            _ if chain.verifiers.is_empty() => true,
            Proposer::Model { .. } => self.distributions.contains_key(name),
            Proposer::Lookup { .. } | Proposer::Tree { .. } => self.drafts.contains_key(name),
        };
        distributions.next().or((!proposer).then_some(name))
    }

    /// Whether its numbers describe a text that `chain` can be replayed along.
    ///
    /// # Errors
    /// If a level of `chain` is missing, there is no token, not one number for each, or a number is
    /// none.
    pub fn check(&self, chain: &Chain) -> Result<(), TheoryError> {
        if let Some(name) = self.uncovered(chain) {
            return Err(TheoryError::Untraced { name: name.to_owned() });
        }
        let wrong = |problem| Err(TheoryError::InvalidTrace { problem });
        if self.tokens == 0 {
            return wrong("no tokens");
        }
        if self.limit < self.tokens || (!self.ended && self.limit > self.tokens) {
            return wrong("a limit that does not fit its tokens");
        }
        for along in self.distributions.values() {
            if along.len() != self.tokens {
                return wrong("not one log-probability for each token");
            }
            // A distribution may be a rounding error above 1.
            if !along.iter().all(|log| log.is_finite() && *log <= 1e-3) {
                return wrong("a log-probability that is none");
            }
        }
        for TracedDrafts { proposed, agreeing } in self.drafts.values() {
            if proposed.len() != self.tokens || agreeing.len() != self.tokens {
                return wrong("not one draft for each token");
            }
            let left = (1..=self.tokens).rev();
            let drafts = proposed.iter().zip(agreeing).zip(left);
            if !drafts.into_iter().all(|((all, right), left)| right <= all && *right <= left) {
                return wrong("a draft of which more agrees than there is");
            }
        }
        Ok(())
    }
}
