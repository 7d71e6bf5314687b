//! What everything that is measured makes of texts that one distribution wrote by itself: the data
//! of [`Chain::replay`](kad_polybasic::theory::Chain::replay).

use anyhow::{Context, Result};
use kad_core::{ChoiceSource, Distribution, LanguageModel, SampledChoices, TokenId};
use kad_polybasic::theory::{TextTrace, TracedDrafts};
use kad_polybasic::{Draft, DraftRequest, DraftTree, Drafter, TopKTree, TreeDrafter, TreeLimits};

use super::file::{Lookup, Texts};
use super::measure::{Measurement, interrupted};
use super::trees::name;
use crate::config::{
    ChainPlan, DecoderKind, DraftPlan, LevelPlan, Levels, NamedDistribution, TreePlan,
};
use crate::models::{self, Rules};
use crate::speed::progress::Progress;

/// Digits behind the point that are kept of a log-probability: a probability is known to 0.005 %.
const DIGITS: i32 = 4;

/// Stands for the logarithm of 0, and of everything too small to matter.
const IMPOSSIBLE: f64 = -1000.0;

/// A text of plain decoding.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Written {
    pub(super) prompt: Vec<TokenId>,
    pub(super) tokens: Vec<TokenId>,
}

impl Written {
    /// What was there before place `at` of the text.
    fn before(&self, at: usize) -> Vec<TokenId> {
        [&self.prompt[..], &self.tokens[..at]].concat()
    }
}

impl Measurement<'_> {
    /// One pass of every distribution, and a draft at every place of every lookup and every tree,
    /// along `texts` of the distribution of index `target`. Distributions of another vocabulary are
    /// left out, and so are trees that are drawn: what they propose is not for the context to say.
    /// None if the user interrupted.
    ///
    /// # Errors
    /// If a model fails.
    pub(super) fn texts(
        &self,
        target: usize,
        texts: &[Written],
        rules: &[Rules],
    ) -> Result<Option<Texts>> {
        let distributions = &self.targets.distributions;
        let target = &distributions[target];
        let eos = models::eos(&target.distribution, self.models, &target.sampling);
        let progress = Progress::new("texts read again", texts.len());
        let mut traces = Vec::with_capacity(texts.len());
        for text in texts.iter().filter(|text| !text.tokens.is_empty()) {
            let mut trace = self.shape(target, text, &eos);
            for (distribution, rules) in distributions.iter().zip(rules) {
                if distribution == target
                    || self.drafts_for(target, &DraftPlan::Distribution(distribution.clone()))
                {
                    let along = self.distribution_along(distribution, rules, text)?;
                    trace
                        .distributions
                        .extend(along.map(|along| (distribution.name.clone(), along)));
                }
            }
            for lookup in &self.targets.lookups {
                let drafts = self.lookup_along(*lookup, target, text, &eos)?;
                trace.drafts.insert(lookup.draft().name(), drafts);
            }
            for level in &self.targets.trees {
                let drafts = self.tree_along(level, target, text, &eos)?;
                trace.drafts.extend(drafts.map(|drafts| (name(level), drafts)));
            }
            traces.push(trace);
            progress.one();
            if interrupted() {
                return Ok(None);
            }
        }
        Ok(Some(Texts { target: target.name.clone(), traces }))
    }

    /// Everything about a text but what others make of it.
    fn shape(&self, target: &NamedDistribution, text: &Written, eos: &[TokenId]) -> TextTrace {
        let (prompt, tokens) = (text.prompt.len(), text.tokens.len());
        let ended = text.tokens.last().is_some_and(|last| eos.contains(last));
        let names = target.distribution.models();
        let context = names.iter().map(|name| self.models[*name].counted.context_len()).min();
        let room = context.map_or(tokens, |context| context.saturating_sub(prompt));
        let limit = if ended { self.effort.tokens.min(room).max(tokens) } else { tokens };
        TextTrace { prompt, limit, tokens, ended, ..TextTrace::default() }
    }

    /// Whether both have one vocabulary.
    fn drafts_for(&self, target: &NamedDistribution, draft: &DraftPlan) -> bool {
        let level = LevelPlan::of(draft.clone(), std::num::NonZeroUsize::MIN);
        let levels = Levels::Listed(vec![level]);
        let chain = DecoderKind::Chain(ChainPlan { target: target.clone(), levels });
        models::check_shared(&chain, self.models).is_ok()
    }

    /// `ln p(y_s | y_<s)` at each place, under the distribution's own sampling settings. None if
    /// the text does not fit the distribution's context.
    fn distribution_along(
        &self,
        distribution: &NamedDistribution,
        rules: &Rules,
        text: &Written,
    ) -> Result<Option<Vec<f64>>> {
        let count = text.tokens.len();
        let context = text.before(count - 1);
        let mut predictor = models::predictor(distribution, self.models, rules)?;
        if predictor.context_len() < context.len() {
            return Ok(None);
        }
        predictor.begin(text.prompt.len());
        predictor.follow(&context, count)?;
        let (mut found, mut one) = (Vec::with_capacity(count), Distribution::default());
        for (token, len) in text.tokens.iter().zip(text.prompt.len()..) {
            predictor.distribution(&context, len, &mut one)?;
            found.push(rounded(one.prob(*token)));
        }
        Ok(Some(found))
    }

    fn lookup_along(
        &self,
        lookup: Lookup,
        target: &NamedDistribution,
        text: &Written,
        eos: &[TokenId],
    ) -> Result<TracedDrafts> {
        let vocab = models::speaker(&target.distribution, self.models).details.vocab.size();
        let mut drafter = models::lookup(&lookup.draft(), vocab)?.context("a lookup is one")?;
        drafter.begin(text.prompt.len());
        let (mut found, mut draft) = (TracedDrafts::default(), Draft::default());
        let choices: &mut dyn ChoiceSource = &mut SampledChoices::seeded(self.effort.seed);
        for at in 0..text.tokens.len() {
            let (context, wanted) = (&text.before(at), self.effort.looked_up());
            let ask = DraftRequest { context, wanted, room: wanted, level: 2, eos };
            draft.clear();
            drafter.draft(ask, choices, &mut draft, &mut Vec::new())?;
            let proposed = draft.tokens().iter().map(|made| made.token);
            let agreeing = proposed.zip(&text.tokens[at..]).take_while(|(a, b)| a == *b).count();
            found.proposed.push(draft.len());
            found.agreeing.push(agreeing);
        }
        Ok(found)
    }

    fn tree_along(
        &self,
        level: &LevelPlan,
        target: &NamedDistribution,
        text: &Written,
        eos: &[TokenId],
    ) -> Result<Option<TracedDrafts>> {
        if !self.drafts_for(target, &level.draft) {
            return Ok(None);
        }
        let rules = match level.draft.distribution() {
            Some(part) => Rules::of(&part.distribution)?,
            None => Rules::of(&target.distribution)?,
        };
        let Some(mut drafter) = self.listing(level, &rules)? else { return Ok(None) };
        drafter.begin(text.prompt.len());
        let (mut found, mut tree) = (TracedDrafts::default(), DraftTree::default());
        let choices: &mut dyn ChoiceSource = &mut SampledChoices::seeded(self.effort.seed);
        for at in 0..text.tokens.len() {
            let (context, depth) = (&text.before(at), level.length.get());
            let nodes = drafter.context_len().saturating_sub(context.len());
            let ask = DraftRequest { context, wanted: depth, room: depth, level: 2, eos };
            tree.clear();
            drafter.grow(ask, TreeLimits { depth, nodes }, choices, &mut tree)?;
            found.proposed.push(depth);
            found.agreeing.push(depth_of(&tree, &text.tokens[at..]).min(depth));
        }
        Ok(Some(found))
    }

    /// What grows a tree whose candidates depend on the context alone.
    fn listing<'m>(
        &'m self,
        level: &LevelPlan,
        rules: &'m Rules,
    ) -> Result<Option<Box<dyn TreeDrafter + 'm>>> {
        let Some(tree) = level.tree else { return Ok(None) };
        let nodes = tree.nodes().get();
        Ok(match (&level.draft, tree) {
            (DraftPlan::Distribution(part), TreePlan::TopK { top_k, .. }) => {
                let predictor = models::predictor(part, self.models, rules)?;
                Some(Box::new(TopKTree::new(predictor, top_k.get(), nodes)?))
            }
            (DraftPlan::Distribution(_), TreePlan::Sampled { .. } | TreePlan::Lookup { .. }) => {
                None
            }
            (lookup, _) => models::lookup_tree(lookup, nodes)?,
        })
    }
}

/// The logarithm of a probability, with a few digits.
fn rounded(probability: f64) -> f64 {
    let scale = 10f64.powi(DIGITS);
    // Adding 0 makes −0 a 0.
    (probability.ln().clamp(IMPOSSIBLE, 0.0) * scale).round() / scale + 0.0
}

/// How many tokens of `text` lie on a path of `tree` from its root.
fn depth_of(tree: &DraftTree, text: &[TokenId]) -> usize {
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
        assert_eq!(rounded(0.0), IMPOSSIBLE);
        assert_eq!(rounded(f64::MIN_POSITIVE), -708.3964);
        assert_eq!(rounded(1.0 + 1e-12).to_bits(), 0f64.to_bits());
        assert_eq!(rounded(0.25), -1.3863);
    }

    /// Off the first path, but on the second.
    #[test]
    fn a_text_is_followed_into_a_tree() {
        let mut tree = DraftTree::default();
        let first = tree.list(None, 7);
        let second = tree.list(None, 4);
        tree.list(Some(first), 5);
        tree.list(Some(second), 6);
        assert_eq!(depth_of(&tree, &[4, 6, 1]), 2);
        assert_eq!(depth_of(&tree, &[4, 5]), 1);
        assert_eq!(depth_of(&tree, &[3]), 0);
        assert_eq!(depth_of(&tree, &[7]), 1);
    }
}
