//! Probabilities and drafts along a given text: the input of
//! [`Chain::replay`](super::Chain::replay).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::chain::{Chain, Proposer};
use super::error::TheoryError;

/// A text written by the target alone, with the probability that each model gives each of its
/// tokens.
///
/// Cut to fewer tokens it is the trace under a smaller limit.
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
    /// Tokens of the prompt.
    pub prompt: usize,
    /// The limit on new tokens, ≥ `tokens`; equal to `tokens` unless the text ended.
    pub limit: usize,
    /// Tokens of the text, without the prompt.
    pub tokens: usize,
    /// True if the last token ended the text; otherwise the limit did.
    pub ended: bool,
    /// By name of the distribution: `ln p(y_s | y_<s)` for each position s, `[tokens]`. For an
    /// impossible token, any finite number whose exponential is 0, such as −1000.
    pub distributions: BTreeMap<String, Vec<f64>>,
    /// By name of the lookup, or of the tree whose candidates depend on the context alone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub drafts: BTreeMap<String, TracedDrafts>,
}

/// The drafts of a lookup or a tree after each prefix of a text, `[tokens]` each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TracedDrafts {
    /// For a lookup, the number of tokens it proposes; for a tree, its depth. Shorter drafts are
    /// prefixes.
    pub proposed: Vec<usize>,
    /// The number of proposed tokens that agree with the text; for a tree, on the best path.
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

    /// True if the trace covers `chain`: the distributions of its verifiers and the drafts of its
    /// proposer.
    pub fn covers(&self, chain: &Chain) -> bool {
        self.uncovered(chain).is_none()
    }

    /// The first level that the trace does not cover. Plain decoding needs nothing.
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

    /// Checks that the trace describes a text and covers `chain`.
    ///
    /// # Errors
    /// If a level of `chain` is missing; if there is no token, or not one number per token; if a
    /// number is no log-probability.
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
            // A distribution may exceed 1 by a rounding error.
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
