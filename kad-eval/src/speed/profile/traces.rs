//! Plain texts with every candidate's probabilities and drafts: the data of
//! [`Chain::replay`](kad_polybasic::theory::Chain::replay).

use anyhow::Result;
use kad_core::{ChoiceSource, Distribution, LanguageModel, SampledChoices, TokenId};
use kad_polybasic::theory::{TextTrace, TracedDrafts};
use kad_polybasic::{Draft, DraftRequest, DraftTree, TreeLimits};

use super::file::TracedTexts;
use super::pairs::two_levels;
use super::profiler::Profiler;
use super::targets::tree_name;
use crate::config::{DraftPlan, LevelPlan, Lookup, NamedDistribution, TreePlan};
use crate::interrupt;
use crate::models;
use crate::speed::progress::MeasurementProgress;

/// Decimal digits of a log-probability: a probability is known to 0.005 %.
const DIGITS: i32 = 4;

/// The smallest log-probability, also that of probability 0.
const MIN_LOG_PROB: f64 = -1000.0;

/// A text of plain decoding.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PlainText {
    pub(super) prompt: Vec<TokenId>,
    pub(super) tokens: Vec<TokenId>,
}

impl PlainText {
    /// The prompt and the first `at` tokens.
    fn before(&self, at: usize) -> Vec<TokenId> {
        [&self.prompt[..], &self.tokens[..at]].concat()
    }
}

/// A text with the target that wrote it and the tokens that end it.
struct TargetText<'t> {
    target: &'t NamedDistribution,
    text: &'t PlainText,
    eos: &'t [TokenId],
}

impl Profiler<'_> {
    /// Along `texts` of the distribution of index `target`: one pass of every distribution, and a
    /// draft at every position by every lookup and tree. Left out are distributions of another
    /// vocabulary, and trees that are sampled: they depend on more than the context. `None` if the
    /// user interrupted.
    pub(super) fn traces(&self, target: usize, texts: &[PlainText]) -> Result<Option<TracedTexts>> {
        let distributions = &self.targets.distributions;
        let target = &distributions[target];
        let eos = &models::eos(&target.distribution, self.models, &target.sampling);
        let progress = MeasurementProgress::new("texts read again", texts.len());
        let mut traces = Vec::with_capacity(texts.len());
        for text in texts.iter().filter(|text| !text.tokens.is_empty()) {
            let of = TargetText { target, text, eos };
            let mut trace = self.shape(&of);
            for part in distributions {
                let draft = DraftPlan::Distribution(part.clone());
                if part == target || self.shares_vocabulary(target, &draft) {
                    let log_probs = self.log_probs(part, text)?;
                    trace.distributions.extend(log_probs.map(|found| (part.name.clone(), found)));
                }
            }
            for lookup in &self.targets.lookups {
                trace.drafts.insert(lookup.name().to_owned(), self.lookup_drafts(*lookup, &of)?);
            }
            for level in &self.targets.trees {
                let drafts = self.tree_drafts(level, &of)?;
                trace.drafts.extend(drafts.map(|drafts| (tree_name(level), drafts)));
            }
            traces.push(trace);
            progress.advance();
            if interrupt::requested() {
                return Ok(None);
            }
        }
        Ok(Some(TracedTexts { target: target.name.clone(), traces }))
    }

    /// The trace of a text without probabilities and drafts.
    fn shape(&self, &TargetText { target, text, eos }: &TargetText<'_>) -> TextTrace {
        let (prompt, tokens) = (text.prompt.len(), text.tokens.len());
        let ended = text.tokens.last().is_some_and(|last| eos.contains(last));
        let names = target.distribution.models();
        let context = names.iter().map(|name| self.models[*name].counted.context_len()).min();
        let room = context.map_or(tokens, |context| context.saturating_sub(prompt));
        let limit = if ended { self.settings.tokens.min(room).max(tokens) } else { tokens };
        TextTrace { prompt, limit, tokens, ended, ..TextTrace::default() }
    }

    fn shares_vocabulary(&self, target: &NamedDistribution, draft: &DraftPlan) -> bool {
        let level = LevelPlan::of(draft.clone(), std::num::NonZeroUsize::MIN);
        models::check_shared(&two_levels(target, level), self.models).is_ok()
    }

    /// `ln p(y_s | y_<s)` at each position, under the distribution's own sampling settings. `None` if
    /// the text does not fit the distribution's context.
    fn log_probs(&self, part: &NamedDistribution, text: &PlainText) -> Result<Option<Vec<f64>>> {
        let count = text.tokens.len();
        let context = text.before(count - 1);
        let mut predictor = models::predictor(&part.distribution, &part.sampling, self.models)?;
        if predictor.context_len() < context.len() {
            return Ok(None);
        }
        predictor.begin(text.prompt.len());
        predictor.follow(&context, count)?;
        let (mut found, mut one) = (Vec::with_capacity(count), Distribution::default());
        for (token, len) in text.tokens.iter().zip(text.prompt.len()..) {
            predictor.distribution(&context, len, &mut one)?;
            found.push(rounded_ln(one.prob(*token)));
        }
        Ok(Some(found))
    }

    fn lookup_drafts(&self, lookup: Lookup, of: &TargetText<'_>) -> Result<TracedDrafts> {
        let speaker = models::speaker(&of.target.distribution, self.models);
        let mut drafter = models::lookup_drafter(lookup, speaker.details.vocab.size())?;
        let (wanted, mut draft) = (self.settings.lookup_length(), Draft::default());
        let choices: &mut dyn ChoiceSource = &mut SampledChoices::seeded(self.settings.seed);
        drafter.begin(of.text.prompt.len());
        of.drafts(wanted, |request, rest| {
            draft.clear();
            drafter.draft(request, choices, &mut draft, &mut Vec::new())?;
            let proposed = draft.tokens().iter().map(|made| made.token);
            Ok((draft.len(), proposed.zip(rest).take_while(|(a, b)| a == *b).count()))
        })
    }

    /// Drafts of a tree at each position; `None` for sampled trees and trees of another vocabulary.
    fn tree_drafts(&self, level: &LevelPlan, of: &TargetText<'_>) -> Result<Option<TracedDrafts>> {
        let Some(shape) = level.tree.filter(|tree| !matches!(tree, TreePlan::Sampled { .. }))
        else {
            return Ok(None);
        };
        if !self.shares_vocabulary(of.target, &level.draft) {
            return Ok(None);
        }
        let mut drafter = models::tree_drafter(&level.draft, shape, |part| {
            models::predictor(&part.distribution, &part.sampling, self.models)
        })?;
        let (depth, mut tree) = (level.length.get(), DraftTree::default());
        let choices: &mut dyn ChoiceSource = &mut SampledChoices::seeded(self.settings.seed);
        drafter.begin(of.text.prompt.len());
        let drafts = of.drafts(depth, |request, rest| {
            let nodes = drafter.context_len().saturating_sub(request.context.len());
            tree.clear();
            drafter.grow(request, TreeLimits { depth, nodes }, choices, &mut tree)?;
            Ok((depth, matching_depth(&tree, rest).min(depth)))
        });
        drafts.map(Some)
    }
}

impl TargetText<'_> {
    /// Drafts of `wanted` tokens at each position: `draft` gets the request and the tokens after the
    /// position, and returns how many tokens it proposes and how many of them agree with the text.
    fn drafts(
        &self,
        wanted: usize,
        mut draft: impl FnMut(DraftRequest<'_>, &[TokenId]) -> Result<(usize, usize)>,
    ) -> Result<TracedDrafts> {
        let mut found = TracedDrafts::default();
        for at in 0..self.text.tokens.len() {
            let (context, eos) = (&self.text.before(at)[..], self.eos);
            let request = DraftRequest { context, wanted, room: wanted, level: 2, eos };
            let (proposed, agreeing) = draft(request, &self.text.tokens[at..])?;
            found.proposed.push(proposed);
            found.agreeing.push(agreeing);
        }
        Ok(found)
    }
}

/// `ln probability` with a few digits, at least [`MIN_LOG_PROB`].
fn rounded_ln(probability: f64) -> f64 {
    let scale = 10f64.powi(DIGITS);
    // Adding 0 makes −0 a 0.
    (probability.ln().clamp(MIN_LOG_PROB, 0.0) * scale).round() / scale + 0.0
}

/// Number of tokens of `text` on a path of `tree` from its root.
fn matching_depth(tree: &DraftTree, text: &[TokenId]) -> usize {
    let (mut node, mut depth) = (None, 0);
    for token in text {
        match tree.tokens().child_with(node, *token) {
            Some(next) => (node, depth) = (Some(next), depth + 1),
            None => break,
        }
    }
    depth
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithms_have_few_digits_and_are_finite() {
        assert_eq!(rounded_ln(0.0), MIN_LOG_PROB);
        assert_eq!(rounded_ln(f64::MIN_POSITIVE), -708.3964);
        assert_eq!(rounded_ln(1.0 + 1e-12).to_bits(), 0f64.to_bits());
        assert_eq!(rounded_ln(0.25), -1.3863);
    }

    /// Off the first path, but on the second.
    #[test]
    fn a_text_is_followed_into_a_tree() {
        let mut tree = DraftTree::default();
        let first = tree.list(None, 7);
        let second = tree.list(None, 4);
        tree.list(Some(first), 5);
        tree.list(Some(second), 6);
        assert_eq!(matching_depth(&tree, &[4, 6, 1]), 2);
        assert_eq!(matching_depth(&tree, &[4, 5]), 1);
        assert_eq!(matching_depth(&tree, &[3]), 0);
        assert_eq!(matching_depth(&tree, &[7]), 1);
    }
}
