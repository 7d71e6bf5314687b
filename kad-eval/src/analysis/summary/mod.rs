//! Summary of a run: the numbers of tables and reports, computed from its records.

mod difference;
mod levels;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::analysis::model_comparison::ModelComparison;
use crate::config::{DecoderKind, DecoderPlan, Experiment, distribution_in_words};
use crate::run::record::{Acceptance, OriginCount, Record};
pub use difference::{Difference, Method};
pub(crate) use difference::{adjust, explained, methods};
pub use levels::{LevelResult, Time};
use levels::{levels, origins, time};

use crate::analysis::stats::{Interval, ratio_bootstrap, wilson};
use crate::analysis::unique;
use crate::numbers::{null_is_infinite, null_is_nan};

/// The summary of a run, `summary.json`. Shares are in [0, 1].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Summary {
    /// Name of the experiment.
    pub name: String,
    /// The question that it asks, if the file states one.
    pub question: Option<String>,
    /// The run ID, a digest of everything that decides the numbers.
    pub run_id: String,
    /// The decoder that `difference` compares with.
    pub baseline: String,
    /// False while items are missing.
    pub complete: bool,
    /// Numbers of items decoded at a time, one per setting of its sessions.
    pub jobs: Vec<u64>,
    /// Sentences about optional models that are missing, with the decoders that need them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
    /// Sentences about the validity of the numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The comparison of models, where the experiment measures passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) model_comparison: Option<ModelComparison>,
    /// One result for each decoder and task with finished items, in the order of the file.
    pub results: Vec<DecoderResult>,
}

/// One decoder on one task.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct DecoderResult {
    /// Name of the decoder, with the parameter of its sweep.
    pub decoder: String,
    /// The decoder's name without the parameter of its sweep.
    pub family: String,
    /// The sweep's parameter, for rules that have one.
    pub parameter: Option<f64>,
    /// The distribution of the tokens, in words.
    pub distribution: String,
    /// Name of the task.
    pub task: String,
    /// Number of finished items.
    pub items: u64,
    /// Number of items answered right.
    pub correct: u64,
    /// NaN, null in JSON, where the task is not graded; likewise `accuracy_interval` and `answered`.
    #[serde(deserialize_with = "null_is_nan")]
    pub accuracy: f64,
    /// 95 % interval: Wilson's, or for points a bootstrap over items.
    pub accuracy_interval: Interval,
    /// Share of items whose text contains an answer.
    #[serde(deserialize_with = "null_is_nan")]
    pub answered: f64,
    /// Results by subject, category or level of the items.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Group>,
    /// Likelihood of the texts, for tasks that score given texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub likelihood: Option<Likelihood>,
    /// Difference from the baseline on the items that both finished; `None` for the baseline
    /// itself.
    pub difference: Option<Difference>,
    /// Mean over tokens of the probability of deferring to the aligned model.
    pub deferral_mass: Option<f64>,
    /// Share of tokens drawn from the aligned model.
    pub deferral_rate: Option<f64>,
    /// Forward passes per new token, by model; the prompt's pass counts as one.
    pub passes_per_token: BTreeMap<String, f64>,
    /// Number of new tokens.
    pub new_tokens: u64,
    /// Mean number of new tokens per item.
    pub tokens_per_item: f64,
    /// New tokens per second of wall-clock time, prompts included.
    pub tokens_per_second: f64,
    /// Bootstrap over items, at 95 %.
    pub tokens_per_second_interval: Interval,
    /// The execution of a composed distribution; it does not change the distribution.
    pub execution: Option<String>,
    /// Acceptance of drafts, where tokens are drafted.
    pub drafting: Option<Drafting>,
    /// The verifying levels of a chain, the target first.
    pub levels: Vec<LevelResult>,
    /// New tokens by origin and level.
    pub origins: Vec<OriginCount>,
    /// Time per new token; none if a record lacks it.
    pub time: Option<Time>,
    /// True if the tokens have the stated distribution exactly (lossless).
    pub exact: bool,
    /// Number of texts by the reason they ended.
    pub stops: BTreeMap<String, u64>,
}

/// The items of one subject, category or level.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// The subject, category or level.
    pub name: String,
    /// Number of finished items.
    pub items: u64,
    /// NaN, null in JSON, where the task is not graded.
    #[serde(deserialize_with = "null_is_nan")]
    pub accuracy: f64,
    /// New tokens per second of wall-clock time, prompts included.
    pub tokens_per_second: f64,
}

/// Likelihood of the texts of a task under a decoder's distribution π.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Likelihood {
    /// Number of tokens scored.
    pub tokens: u64,
    /// exp(−Σ ln π / tokens); infinite, null in JSON, if π is 0 for a text.
    #[serde(deserialize_with = "null_is_infinite")]
    pub perplexity: f64,
    /// −Σ log₂ π / bytes of text; independent of the vocabulary.
    #[serde(deserialize_with = "null_is_infinite")]
    pub bits_per_byte: f64,
}

/// Acceptance of drafted tokens, over all drafts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Drafting {
    /// Accepted ÷ drafted tokens; tokens after a rejection count as not accepted.
    pub acceptance_rate: f64,
    /// Mean number of accepted tokens per draft.
    pub acceptance_length: f64,
    /// The counts behind them.
    pub counts: Acceptance,
}

impl Summary {
    /// Sentences to read before the numbers, each once.
    pub(crate) fn remarks(&self) -> impl Iterator<Item = &String> {
        let new = |line: &&String| !self.left_out.contains(*line);
        self.left_out.iter().chain(self.warnings.iter().filter(new))
    }

    /// The meaning of times where several items were decoded at a time.
    pub(crate) fn at_a_time(&self) -> Option<String> {
        let each: Vec<String> = self.jobs.iter().map(u64::to_string).collect();
        self.jobs.iter().any(|jobs| *jobs > 1).then(|| {
            format!(
                "times are of {} items at a time: tokens/s is the rate of one item while others share the \
                 machine, not the total rate",
                each.join(" or ")
            )
        })
    }

    /// The tasks, in the order of the file.
    pub fn tasks(&self) -> Vec<&str> {
        unique(self.results.iter().map(|result| result.task.as_str()))
    }

    /// The result of `decoder` on `task`.
    pub fn result(&self, task: &str, decoder: &str) -> Option<&DecoderResult> {
        self.results.iter().find(|result| result.task == task && result.decoder == decoder)
    }

    /// The results of all decoders on `task`.
    pub fn on(&self, task: &str) -> Vec<&DecoderResult> {
        self.results.iter().filter(|result| result.task == task).collect()
    }
}

/// The summary of a run's records: tasks and decoders in the order of the file, differences from
/// the baseline paired by item.
pub(crate) fn summarise(
    experiment: &Experiment,
    run_id: &str,
    records: &[Record],
    complete: bool,
) -> Summary {
    let mut results = Vec::new();
    for task in &experiment.tasks {
        let (task, graded) = (task.name(), task.grading().is_graded());
        let of = |decoder: &str| -> Vec<&Record> {
            records.iter().filter(|r| r.task == task && r.decoder == decoder).collect()
        };
        let baseline = of(&experiment.baseline);
        let plans = experiment.decoders.iter().map(|plan| (plan, of(&plan.name)));
        let result = |(plan, own): (&DecoderPlan, Vec<&Record>)| {
            let compared = graded && plan.name != experiment.baseline;
            let difference = || difference(&own, &baseline, experiment.seed);
            DecoderResult {
                difference: compared.then(difference).flatten(),
                ..measure(plan, (&task, graded), &own, experiment.seed)
            }
        };
        let mut own: Vec<DecoderResult> =
            plans.filter(|(_, own)| !own.is_empty()).map(result).collect();
        let differences = own.iter_mut().filter_map(|result| result.difference.as_mut());
        adjust(&mut differences.collect::<Vec<_>>());
        results.extend(own);
    }
    Summary {
        name: experiment.name.clone(),
        question: experiment.question.clone(),
        run_id: run_id.to_owned(),
        baseline: experiment.baseline.clone(),
        complete,
        results,
        ..Summary::default()
    }
}

/// Everything but the difference from the baseline.
fn measure(
    plan: &DecoderPlan,
    (task, graded): (&str, bool),
    records: &[&Record],
    seed: u64,
) -> DecoderResult {
    let items = records.len() as u64;
    let count = |test: fn(&Record) -> bool| records.iter().filter(|r| test(r)).count() as u64;
    let correct = count(|r| r.correct);
    let earned: Vec<(f64, f64)> = records.iter().map(|r| (r.earned(), 1.0)).collect();
    let new_tokens: u64 = records.iter().map(|r| r.new_tokens).sum();
    let per_token = |total: f64| total / (new_tokens.max(1) as f64);
    let deferred: Option<u64> = records.iter().map(|r| r.deferred_tokens).sum();
    let mass: Option<f64> = records.iter().map(|r| r.deferral_mass).sum();
    let mut passes: BTreeMap<String, f64> = BTreeMap::new();
    let mut stops: BTreeMap<String, u64> = BTreeMap::new();
    for record in records {
        *stops.entry(record.stop.clone()).or_default() += 1;
        for (model, done) in &record.passes {
            *passes.entry(model.clone()).or_default() += done.passes as f64;
        }
    }
    passes.values_mut().for_each(|total| *total = per_token(*total));
    let share = |count: u64| count as f64 / items.max(1) as f64;
    let judged = |value: f64| if graded { value } else { f64::NAN };
    let timed = records.iter().map(|r| (r.new_tokens as f64, r.seconds)).collect::<Vec<_>>();
    DecoderResult {
        decoder: plan.name.clone(),
        family: plan.family.clone(),
        parameter: match plan.kind.distribution() {
            DecoderKind::Deferral { rule, .. } => rule.parameter(),
            _ => None,
        },
        distribution: distribution_in_words(&plan.kind, &plan.sampling),
        task: task.to_owned(),
        items,
        correct,
        accuracy: judged(mean(&earned)),
        accuracy_interval: match records.iter().any(|r| r.points.is_some()) {
            true if graded && earned.iter().any(|points| *points != earned[0]) => {
                ratio_bootstrap(&earned, seed)
            }
            false if graded => wilson(correct, items),
            // Not graded, or equal points: resampling these says nothing.
            _ => Interval { low: f64::NAN, high: f64::NAN },
        },
        answered: judged(share(count(|r| r.answer.is_some()))),
        groups: groups(records, graded),
        likelihood: likelihood(records),
        difference: None,
        deferral_mass: mass.map(per_token),
        deferral_rate: deferred.map(|d| per_token(d as f64)),
        passes_per_token: passes,
        new_tokens,
        tokens_per_item: share(new_tokens),
        tokens_per_second: per_second(new_tokens, records.iter().map(|r| r.seconds).sum()),
        tokens_per_second_interval: ratio_bootstrap(&timed, seed),
        execution: plan.kind.execution_in_words(),
        drafting: drafting(records),
        levels: levels(records, &plan.kind, new_tokens),
        origins: origins(records),
        time: time(records),
        exact: plan.kind.is_exact(),
        stops,
    }
}

fn mean(pairs: &[(f64, f64)]) -> f64 {
    pairs.iter().map(|(points, _)| points).sum::<f64>() / pairs.len().max(1) as f64
}

/// The groups, by name.
fn groups(records: &[&Record], graded: bool) -> Vec<Group> {
    let mut groups: BTreeMap<&str, Vec<&Record>> = BTreeMap::new();
    for record in records {
        if let Some(name) = &record.group {
            groups.entry(name).or_default().push(record);
        }
    }
    let group = |(name, own): (&str, Vec<&Record>)| {
        let earned: Vec<(f64, f64)> = own.iter().map(|r| (r.earned(), 1.0)).collect();
        let tokens = own.iter().map(|r| r.new_tokens).sum();
        Group {
            name: name.to_owned(),
            items: own.len() as u64,
            accuracy: if graded { mean(&earned) } else { f64::NAN },
            tokens_per_second: per_second(tokens, own.iter().map(|r| r.seconds).sum()),
        }
    };
    groups.into_iter().map(group).collect()
}

/// Likelihood of scored texts; `None` for options and generated texts.
fn likelihood(records: &[&Record]) -> Option<Likelihood> {
    let texts = || records.iter().filter_map(|r| r.scored.as_ref()).filter(|s| s.bytes > 0);
    let (tokens, bytes) = texts().fold((0, 0), |sum, s| (sum.0 + s.tokens, sum.1 + s.bytes));
    let nats = |nats: &Option<f64>| -nats.unwrap_or(f64::NEG_INFINITY);
    let total: f64 = texts().flat_map(|s| s.log_probs.iter().map(nats)).sum();
    (tokens > 0).then(|| Likelihood {
        tokens,
        perplexity: (total / tokens as f64).exp(),
        bits_per_byte: total / std::f64::consts::LN_2 / bytes as f64,
    })
}

/// Acceptance over all items; `None` without drafts.
fn drafting(records: &[&Record]) -> Option<Drafting> {
    let mut counts: Option<Acceptance> = None;
    for acceptance in records.iter().filter_map(|r| r.acceptance.as_ref()) {
        counts.get_or_insert_default().add(acceptance);
    }
    let counts = counts?;
    let share = |of: u64| counts.accepted as f64 / of.max(1) as f64;
    let (acceptance_rate, acceptance_length) = (share(counts.drafted), share(counts.drafts()));
    Some(Drafting { acceptance_rate, acceptance_length, counts })
}

/// 0 where no time has passed, because JSON has no infinity.
fn per_second(tokens: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { tokens as f64 / seconds } else { 0.0 }
}

/// Paired by item; items that only one side has are left out.
fn difference(own: &[&Record], baseline: &[&Record], seed: u64) -> Option<Difference> {
    let [own, theirs] =
        [own, baseline].map(|side| side.iter().map(|r| (r.item.as_str(), r.earned())));
    Difference::paired(own, theirs, seed)
}

#[cfg(test)]
mod tests;
