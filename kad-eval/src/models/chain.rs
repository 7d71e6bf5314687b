//! Builds the decoder of a chain from its plan, with one session for each model.

use std::cell::RefCell;
use std::collections::BTreeMap;

use anyhow::{Result, bail};
use kad_core::decode::{Decoder, DeferralDecoder, SingleDecoder};
use kad_core::{
    CachedSession, ImplicitReward, LanguageModel, Mixture, MixturePredictor, ModelPredictor,
    Predictor, SharedSession, TokenId,
};
use kad_polybasic::{
    AdaptiveDecoder, AdaptiveSettings, DeferralTarget, DraftSettings, Drafter, Level, LevelDrafter,
    LookupDrafter, LookupTree, NgramLookup, PredictorDrafter, PredictorTarget, SampledTree,
    SharedLength, Speculative, Stage, SuffixLookup, TopKTree, TreeDrafter, TreeStage, TreeVerifier,
    Verifier,
};

use super::decoder::undefined_ratio;
use crate::config::{
    ChainPlan, DecoderKind, DraftPlan, LevelPlan, Levels, Lookup, LookupKind, NamedDistribution,
    SamplingPlan, TreePlan,
};
use crate::failure::WrongRequest;

/// A distribution and its sampling settings.
type Part<'p> = (&'p DecoderKind, &'p SamplingPlan);

/// The decoder of `plan`. `model` finds models by name; their sessions are new. Levels that are not
/// planned yet are an error.
pub(super) fn decoder<'m>(
    plan: &'m ChainPlan,
    model: &dyn Fn(&str) -> &'m dyn LanguageModel,
    eos: &[TokenId],
) -> Result<Box<dyn Decoder + 'm>> {
    let (levels, measured) = match &plan.levels {
        Levels::Listed { levels, measured } => (levels, measured),
        Levels::Planned { .. } => bail!(WrongRequest(
            "the levels of this chain are left to a plan: list them, as `kad plan --toml` prints them"
                .to_owned()
        )),
    };
    let settings = AdaptiveSettings::default();
    let longest = if measured.is_some() { settings.max_length } else { 0 };
    let target = part(&plan.target);
    let chain = Chain { levels, longest, ..Chain::of(target, model) };
    if levels.is_empty() {
        // A plan may find plain decoding fastest, as the profile measures it: a deferral mixture
        // runs its aligned model only after a deferred draw.
        return Ok(match target.0 {
            DecoderKind::Deferral { .. } => Box::new(DeferralDecoder::new(chain.mixture(target)?)),
            _ => Box::new(SingleDecoder::new(chain.predictor(target)?)),
        });
    }
    let decoder = Speculative::new(chain.level(0)?, eos);
    let Some(measured) = measured else { return Ok(Box::new(decoder)) };
    let lengths: Vec<SharedLength> = chain.lengths.take().into_iter().rev().collect();
    Ok(Box::new(AdaptiveDecoder::new(decoder, lengths, (**measured).clone(), settings)?))
}

/// The next-token distributions of a decoder along a text, of a chain the target's, with new
/// sessions.
pub(super) fn predictor<'m>(
    kind: &'m DecoderKind,
    sampling: &'m SamplingPlan,
    model: &dyn Fn(&str) -> &'m dyn LanguageModel,
) -> Result<Box<dyn Predictor + 'm>> {
    let target = match kind {
        DecoderKind::Chain(chain) => part(&chain.target),
        other => (other, sampling),
    };
    Chain::of(target, model).predictor(target)
}

fn part(named: &NamedDistribution) -> Part<'_> {
    (&named.distribution, &named.sampling)
}

/// The drafter of a lookup, for a vocabulary of `vocab` tokens.
pub(crate) fn lookup_drafter(lookup: Lookup, vocab: usize) -> Result<Box<dyn Drafter>> {
    let (shortest, longest) = (lookup.shortest.get(), lookup.longest.get());
    Ok(match lookup.kind {
        LookupKind::NGram => {
            Box::new(LookupDrafter::new(NgramLookup::new(shortest, longest)?, vocab))
        }
        LookupKind::SuffixAutomaton => {
            Box::new(LookupDrafter::new(SuffixLookup::new(shortest, longest)?, vocab))
        }
    })
}

/// The drafter of a token tree. `predictor` makes the predictor of a distribution that drafts. A
/// shape that does not fit the draft is an error.
pub(crate) fn tree_drafter<'m>(
    draft: &'m DraftPlan,
    tree: TreePlan,
    predictor: impl FnOnce(&'m NamedDistribution) -> Result<Box<dyn Predictor + 'm>>,
) -> Result<Box<dyn TreeDrafter + 'm>> {
    let nodes = tree.nodes().get();
    Ok(match (draft, tree) {
        (DraftPlan::Distribution(part), TreePlan::TopK { top_k, .. }) => {
            Box::new(TopKTree::new(predictor(part)?, top_k.get(), nodes)?)
        }
        (DraftPlan::Distribution(part), TreePlan::Sampled { width, .. }) => {
            Box::new(SampledTree::new(predictor(part)?, width.get(), nodes)?)
        }
        (DraftPlan::Distribution(part), TreePlan::Lookup { .. }) => {
            bail!("`{}` is no lookup", part.name)
        }
        (DraftPlan::Lookup(lookup), _) => {
            let (shortest, longest) = (lookup.shortest.get(), lookup.longest.get());
            match lookup.kind {
                LookupKind::NGram => {
                    Box::new(LookupTree::new(NgramLookup::new(shortest, longest)?, nodes)?)
                }
                LookupKind::SuffixAutomaton => {
                    Box::new(LookupTree::new(SuffixLookup::new(shortest, longest)?, nodes)?)
                }
            }
        }
    })
}

/// Everything that the levels of one chain share.
struct Chain<'p, 'm> {
    target: Part<'m>,
    levels: &'m [LevelPlan],
    /// The most that a draft length may grow to; 0 if lengths are fixed.
    longest: usize,
    model: &'p dyn Fn(&str) -> &'m dyn LanguageModel,
    /// Sessions so far. A model that drafts and is part of a mixture runs once for each prefix.
    open: RefCell<BTreeMap<String, SharedSession<'m>>>,
    /// Draft lengths of the stages made so far, the lowest level first.
    lengths: RefCell<Vec<SharedLength>>,
}

impl<'p, 'm> Chain<'p, 'm> {
    /// Without levels.
    fn of(target: Part<'m>, model: &'p dyn Fn(&str) -> &'m dyn LanguageModel) -> Self {
        let (open, lengths) = (RefCell::default(), RefCell::default());
        Self { target, levels: &[], longest: 0, model, open, lengths }
    }

    /// The distribution that verifies the drafts of level `index`.
    fn above(&self, index: usize) -> Result<Part<'m>> {
        match index.checked_sub(1).map(|above| &self.levels[above].draft) {
            None => Ok(self.target),
            Some(DraftPlan::Distribution(named)) => Ok(part(named)),
            Some(lookup) => bail!("`{}` has no distribution to verify towards", lookup.name()),
        }
    }

    /// The stage that verifies the drafts of level `index`.
    fn level(&self, index: usize) -> Result<Box<dyn Level + 'm>> {
        let plan = &self.levels[index];
        let above = self.above(index)?;
        let drafting = DraftSettings { length: plan.length, bonus: plan.bonus };
        let lowest = index + 1 == self.levels.len();
        if let (Some(tree), true) = (plan.tree, lowest) {
            let target = PredictorTarget::new(self.predictor(above)?);
            let by_position = plan.verifier == Verifier::SameUniform;
            let verifier =
                if by_position { TreeVerifier::SameUniform } else { TreeVerifier::Siblings };
            let drafter = tree_drafter(&plan.draft, tree, |named| self.predictor(part(named)))?;
            let stage = TreeStage::new(drafter, target, drafting);
            return Ok(self.with_length(stage.length(), stage.verified_by(verifier)));
        }
        if lowest && let Some(mixture) = self.drafted_by_aligned(plan, above)? {
            let (drafter, target) = DeferralTarget::drafted_by_aligned(mixture, self.memory());
            let drafter = drafter.stopping_below(plan.stop_below.unwrap_or(0.0));
            let stage = Stage::new(drafter, target, drafting);
            return Ok(self.with_length(stage.length(), stage));
        }
        let drafter: Box<dyn Drafter + 'm> = if lowest {
            self.drafter(plan)?
        } else {
            Box::new(LevelDrafter::new(self.level(index + 1)?, plan.surplus)?)
        };
        let target = PredictorTarget::new(self.predictor(above)?);
        let stage = Stage::new(drafter, target, drafting).verified_by(plan.verifier);
        Ok(self.with_length(stage.length(), stage))
    }

    /// Notes the length of a stage.
    fn with_length(&self, length: SharedLength, level: impl Level + 'm) -> Box<dyn Level + 'm> {
        self.lengths.borrow_mut().push(length);
        Box::new(level)
    }

    /// The mixture `above`, if its own aligned model drafts for it and the closed form of
    /// verification applies.
    fn drafted_by_aligned(&self, plan: &LevelPlan, above: Part<'m>) -> Result<Option<Mixture<'m>>> {
        let DecoderKind::Deferral { aligned, .. } = above.0 else { return Ok(None) };
        let own = DecoderKind::Single { model: aligned.clone() };
        let draft = plan.draft.distribution().filter(|draft| *draft.distribution == own);
        let Some(draft) = draft.filter(|_| plan.verifier == Verifier::Token) else {
            return Ok(None);
        };
        let same = draft.sampling.sampling()? == above.1.sampling()?;
        if same { self.mixture(above).map(Some) } else { Ok(None) }
    }

    fn drafter(&self, plan: &'m LevelPlan) -> Result<Box<dyn Drafter + 'm>> {
        Ok(match &plan.draft {
            DraftPlan::Distribution(named) => {
                let drafter = PredictorDrafter::new(self.predictor(part(named))?)
                    .stopping_below(plan.stop_below.unwrap_or(0.0))
                    .by_position(plan.verifier == Verifier::SameUniform);
                Box::new(drafter)
            }
            DraftPlan::Lookup(lookup) => lookup_drafter(*lookup, self.vocab())?,
        })
    }

    fn predictor(&self, part: Part<'m>) -> Result<Box<dyn Predictor + 'm>> {
        let sampling = part.1.sampling()?;
        Ok(match part.0 {
            DecoderKind::Single { model } => {
                Box::new(ModelPredictor::sharing(self.session(model)?, sampling))
            }
            DecoderKind::Deferral { .. } => Box::new(MixturePredictor::new(self.mixture(part)?)),
            DecoderKind::ImplicitReward { base, small, aligned, cap_log_ratio, .. } => {
                let parts = [self.session(base)?, self.session(small)?, self.session(aligned)?];
                let undefined = undefined_ratio(*cap_log_ratio);
                Box::new(ImplicitReward::sharing(parts, sampling, undefined))
            }
            DecoderKind::Chain(_) => bail!("a chain is no part of a chain"),
        })
    }

    fn mixture(&self, (kind, sampling): Part<'m>) -> Result<Mixture<'m>> {
        let DecoderKind::Deferral { base, aligned, rule, .. } = kind else {
            bail!("only a deferral is a mixture");
        };
        let (base, aligned) = (self.session(base)?, self.session(aligned)?);
        let (sampling, decision) = (sampling.sampling()?, sampling.decision()?);
        Ok(Mixture::sharing(base, aligned, rule.rule(), sampling, decision))
    }

    /// The one session of a model.
    fn session(&self, name: &str) -> Result<SharedSession<'m>> {
        let mut open = self.open.borrow_mut();
        if let Some(session) = open.get(name) {
            // Several parts ask for prefixes of one text: keep the rows of the whole draft.
            session.borrow_mut().keep_rows(self.memory());
            return Ok(session.clone());
        }
        let session = CachedSession::shared((self.model)(name))?;
        open.insert(name.to_owned(), session.clone());
        Ok(session)
    }

    /// An upper bound of the tokens drafted and not yet verified by the target: each level exceeds
    /// its draft length by less than one round of the level below it.
    fn memory(&self) -> usize {
        let length = |level: &LevelPlan| level.length.get().max(self.longest);
        let with_bonus = self.levels.iter().map(|level| length(level).saturating_add(1));
        with_bonus.fold(2, usize::saturating_add)
    }

    fn vocab(&self) -> usize {
        let speaker = self.target.0.models().pop();
        speaker.map_or(0, |name| (self.model)(name).vocab().size())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Execution, RulePlan};
    use kad_core::decode::{Limits, Origin, generate};
    use kad_core::oracle::TableModel;
    use kad_core::{Counted, SampledChoices};
    use std::ops::ControlFlow;

    /// The aligned model runs once per deferred token, as in lazy decoding, not once per token.
    #[test]
    fn a_chain_without_levels_is_decoded_lazily() {
        let distribution = Box::new(DecoderKind::Deferral {
            base: "base".to_owned(),
            aligned: "aligned".to_owned(),
            rule: RulePlan::parse("kad-dual=0.2").unwrap(),
            execution: Execution::Autoregressive,
        });
        let (name, sampling) = ("mixture".to_owned(), SamplingPlan::default());
        let target = NamedDistribution { name, distribution, sampling };
        let plan = ChainPlan { target, levels: Levels::listed(Vec::new()) };
        assert_eq!(plan.in_words(), "plain decoding (no chain is faster)");
        let base = Counted::new(TableModel::random("base", 8, 2, 1));
        let aligned = Counted::new(TableModel::random("aligned", 8, 2, 2));
        let model =
            |name: &str| -> &dyn LanguageModel { if name == "base" { &base } else { &aligned } };
        let mut decoder = decoder(&plan, &model, &[]).unwrap();
        let limits = Limits { max_new_tokens: 60, eos: Vec::new() };
        let (mut choices, mut go_on) =
            (SampledChoices::seeded(1), |_: &_| ControlFlow::Continue(()));
        let made = generate(&mut *decoder, &[0], &limits, &mut choices, &mut go_on);
        let made = made.unwrap().tokens;
        let deferred = made.iter().filter(|token| token.origin == Origin::Deferred).count();
        assert!(0 < deferred && deferred < 60, "{deferred}");
        assert_eq!((base.counts().passes, aligned.counts().passes), (60, deferred as u64));
    }
}
