//! Time of a run before anything is decoded: from finished items, from a profile, or from passes
//! that are timed now.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use anyhow::Result;
use kad_core::TokenId;
use serde::Serialize;

use super::decode_times::DecodeTimes;
use super::item_tokens::{ItemTokens, by_speaker, typical};
use super::tally::Tally;
use crate::config::{DecoderPlan, Execution, Experiment};
use crate::models::{self, Models};
use crate::numbers::counted;
use crate::output;
use crate::task::{Task, TaskMode};

/// Source of an estimated time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Basis {
    Items,
    Scored,
    Passes,
    AllModels,
    TargetAlone,
    Profile,
    Unknown,
}

impl Basis {
    /// Its name in the table, and the explanation below it.
    pub(crate) fn words(self) -> [&'static str; 2] {
        match self {
            Basis::Items => ["items done", "mean of this decoder's finished items of this task"],
            Basis::Scored => ["passes, scored", "timed passes over the tokens of a typical item"],
            Basis::Passes => [
                "passes",
                "timed passes for a typical prompt and texts of max_new_tokens: an upper bound",
            ],
            Basis::AllModels => [
                "passes, all models",
                "the same with a pass of every model at every token; the decoder asks the aligned \
                 model only where it defers",
            ],
            Basis::TargetAlone => [
                "passes, target alone",
                "the same as if the target decoded alone: accepted drafts make it faster, rejected \
                 ones slower",
            ],
            Basis::Profile => [
                "profile",
                "time per token predicted by the profile of a planned chain, after a timed prompt, \
                 for texts of max_new_tokens",
            ],
            Basis::Unknown => ["unknown", "no prompt can be made: these items will fail"],
        }
    }
}

/// Estimated time of one decoder on one task.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct TimeEstimate {
    pub(crate) task: String,
    pub(crate) decoder: String,
    pub(crate) items: usize,
    pub(crate) done: usize,
    /// `None` if unknown.
    pub(crate) seconds_per_item: Option<f64>,
    pub(crate) seconds_left: Option<f64>,
    pub(crate) basis: Basis,
}

/// Estimates the time of every decoder on every task, in the order of the file; `None` if the user
/// interrupted.
///
/// `own` counts the items of this run or shard, and `whole` those of all shards, whose mean time is
/// used where there is one. `predicted` gives the seconds per token that a profile predicts for a
/// decoder.
pub(crate) fn estimate(
    (experiment, models, tasks): (&Experiment, &Models, &[Task]),
    (own, whole): (&Tally, &Tally),
    predicted: &dyn Fn(&str) -> Option<f64>,
) -> Result<Option<Vec<TimeEstimate>>> {
    let mut estimates = Vec::new();
    // Items of the estimates that finished items do not give.
    let mut to_time: Vec<(usize, &DecoderPlan, Rc<Option<ItemTokens>>)> = Vec::new();
    for (task, (own, whole)) in tasks.iter().zip(own.iter().zip(whole)) {
        let item =
            by_speaker(experiment, |kind| ItemTokens::of(kind, models, task, typical(task)?));
        for (at, (plan, item)) in experiment.decoders.iter().zip(item).enumerate() {
            let (own, mean) = (own[at], whole[at].mean());
            if mean.is_none() && own.left() > 0 {
                to_time.push((estimates.len(), plan, item));
            }
            estimates.push(TimeEstimate {
                task: task.name.clone(),
                decoder: plan.name.clone(),
                items: own.items,
                done: own.done,
                seconds_per_item: mean,
                seconds_left: (own.left() == 0).then_some(0.0),
                basis: mean.map_or(Basis::Unknown, |_| Basis::Items),
            });
        }
    }
    let known = to_time.iter().filter_map(|(_, plan, item)| Some((*plan, item.as_ref().as_ref()?)));
    let Some(times) = time_passes(models, known)? else { return Ok(None) };
    for &(place, plan, ref item) in &to_time {
        let Some(item) = &**item else { continue };
        let (seconds, basis) = seconds_per_item(plan, item, times[&key(plan, item)], predicted);
        (estimates[place].seconds_per_item, estimates[place].basis) = (Some(seconds), basis);
    }
    for it in &mut estimates {
        let left = (it.items - it.done) as f64;
        it.seconds_left = it.seconds_left.or(it.seconds_per_item.map(|seconds| seconds * left));
    }
    Ok(Some(estimates))
}

/// The models of a distribution, and the mode: equal keys take equal times. The number of models
/// tells the kinds of distributions apart.
type PassesKey<'p> = (Vec<&'p str>, TaskMode);

fn key<'p>(plan: &'p DecoderPlan, item: &ItemTokens) -> PassesKey<'p> {
    (plan.kind.distribution().models(), item.mode)
}

/// Times every distribution once per mode, in the middle of its longest text; `None` if the user
/// interrupted.
fn time_passes<'p>(
    models: &Models,
    to_time: impl Iterator<Item = (&'p DecoderPlan, &'p ItemTokens)>,
) -> Result<Option<BTreeMap<PassesKey<'p>, DecodeTimes>>> {
    let mut requests: BTreeMap<PassesKey<'_>, (&DecoderPlan, &ItemTokens, usize)> = BTreeMap::new();
    for (plan, item) in to_time {
        let own = item.longest(plan.sampling.max_new_tokens as usize).midpoint(item.prompt.len());
        let (.., context) = requests.entry(key(plan, item)).or_insert((plan, item, own));
        *context = own.max(*context);
    }
    if !requests.is_empty() {
        let sets: BTreeSet<_> = requests.keys().map(|(models, _)| models).collect();
        let sets = counted(sets.len(), "set");
        output::note(&format!("timing passes of {sets} of models"));
    }
    let mut times = BTreeMap::new();
    for (key, (plan, item, context)) in requests {
        let mut predictor = models::predictor(&plan.kind, &plan.sampling, models)?;
        // The time of a pass does not depend on the tokens.
        let text = item.prompt.iter().copied().cycle();
        let text: Vec<TokenId> = text.take(context + DecodeTimes::BEYOND).collect();
        match DecodeTimes::measure(&mut *predictor, &text, context, item.mode)? {
            Some(found) => _ = times.insert(key, found),
            None => return Ok(None),
        }
    }
    Ok(Some(times))
}

/// Seconds of a typical item.
fn seconds_per_item(
    plan: &DecoderPlan,
    item: &ItemTokens,
    times: DecodeTimes,
    predicted: &dyn Fn(&str) -> Option<f64>,
) -> (f64, Basis) {
    let seconds = |per_token| times.seconds(item, plan.sampling.max_new_tokens as usize, per_token);
    if item.mode != TaskMode::Generate {
        return (seconds(None), Basis::Scored);
    }
    if let Some(per_token) = predicted(&plan.name).filter(|_| plan.kind.speculates()) {
        return (seconds(Some(per_token)), Basis::Profile);
    }
    let basis = match plan.kind.execution() {
        _ if plan.kind.speculates() => Basis::TargetAlone,
        Some(Execution::Lazy) => Basis::AllModels,
        _ => Basis::Passes,
    };
    (seconds(None), basis)
}
