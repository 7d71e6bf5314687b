//! From records to the numbers that tables and reports show.

mod difference;
mod levels;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::analysis::model_comparison::ModelComparison;
use crate::config::{DecoderKind, Experiment, distribution_in_words};
use crate::run::record::{Acceptance, OriginCount, Record};
pub(crate) use difference::{Difference, adjust, explained, methods};
pub(crate) use levels::{Level, Time};
use levels::{levels, origins, time};

use crate::analysis::stats::{Interval, null_is_infinite, null_is_nan, ratio_bootstrap, wilson};

/// A run in numbers. Shares are in [0, 1].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Summary {
    pub(crate) name: String,
    pub(crate) question: Option<String>,
    pub(crate) run_id: String,
    /// The decoder that `difference` compares with.
    pub(crate) baseline: String,
    /// False while items are missing.
    pub(crate) complete: bool,
    /// How many items were decoded at a time, by any of its sessions; empty where it is not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) jobs: Vec<u64>,
    /// Optional models that were not there, and the decoders that needed them: a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) left_out: Vec<String>,
    /// What the run has to say about its numbers: a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) warnings: Vec<String>,
    /// Models side by side, where the experiment measures passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) side_by_side: Option<ModelComparison>,
    pub(crate) results: Vec<DecoderResult>,
}

/// One decoder on one task.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct DecoderResult {
    pub(crate) decoder: String,
    /// The decoder's name without the parameter of its sweep.
    pub(crate) family: String,
    /// The sweep's parameter, for rules that have one.
    pub(crate) parameter: Option<f64>,
    /// What the tokens are distributed as.
    pub(crate) distribution: String,
    pub(crate) task: String,
    pub(crate) items: u64,
    pub(crate) correct: u64,
    /// NaN, null in JSON, where the task is not graded; so are the two that follow.
    #[serde(deserialize_with = "null_is_nan")]
    pub(crate) accuracy: f64,
    /// 95 %: Wilson, or a bootstrap over items where they give points that differ.
    pub(crate) accuracy_interval: Interval,
    /// Share of items whose text gives an answer at all.
    #[serde(deserialize_with = "null_is_nan")]
    pub(crate) answered: f64,
    /// Where items have subjects, categories or levels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) groups: Vec<Group>,
    /// Where texts were read and nothing was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) likelihood: Option<Likelihood>,
    /// Against the baseline on the items both finished; none for the baseline itself.
    pub(crate) difference: Option<Difference>,
    /// Mean over tokens of the probability that the base draw is handed over.
    pub(crate) deferral_mass: Option<f64>,
    /// Share of tokens that the aligned model drew.
    pub(crate) deferral_rate: Option<f64>,
    /// Passes of each model per new token; the prompt's pass counts as one.
    pub(crate) passes_per_token: BTreeMap<String, f64>,
    pub(crate) new_tokens: u64,
    pub(crate) tokens_per_item: f64,
    /// New tokens per second of wall clock, prompts included.
    pub(crate) tokens_per_second: f64,
    /// Bootstrap over items, 95 %: how much it depends on which items were decoded.
    pub(crate) tokens_per_second_interval: Interval,
    /// How a composed distribution is decoded; it has the same distribution either way.
    pub(crate) execution: Option<String>,
    pub(crate) drafting: Option<Drafting>,
    /// What every level that verifies did, the target first.
    #[serde(default)]
    pub(crate) levels: Vec<Level>,
    /// How many of the new tokens came from where.
    #[serde(default)]
    pub(crate) origins: Vec<OriginCount>,
    /// Where the time went; none if it was not taken.
    #[serde(default)]
    pub(crate) time: Option<Time>,
    /// Whether the tokens have exactly the distribution stated.
    #[serde(default = "yes")]
    pub(crate) exact: bool,
    /// How often texts ended for which reason.
    pub(crate) stops: BTreeMap<String, u64>,
}

fn yes() -> bool {
    true
}

/// The items of one subject, category or level.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) items: u64,
    /// NaN, null in JSON, where the task is not graded.
    #[serde(deserialize_with = "null_is_nan")]
    pub(crate) accuracy: f64,
    pub(crate) tokens_per_second: f64,
}

/// How likely a decoder's distribution holds the texts of a task together.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Likelihood {
    pub(crate) tokens: u64,
    /// exp of the mean of −ln π per token; infinite, null in JSON, if the distribution excludes a
    /// text.
    #[serde(deserialize_with = "null_is_infinite")]
    pub(crate) perplexity: f64,
    /// The same in bits per byte of text, which does not depend on the vocabulary.
    #[serde(deserialize_with = "null_is_infinite")]
    pub(crate) bits_per_byte: f64,
}

/// What became of drafted tokens.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Drafting {
    /// Share of the drafted tokens that were accepted; what follows a rejection counts as rejected.
    pub(crate) acceptance_rate: f64,
    /// Mean number of accepted tokens per draft.
    pub(crate) acceptance_length: f64,
    pub(crate) counts: Acceptance,
}

impl Summary {
    /// What a reader should know before the numbers: each once.
    pub(crate) fn remarks(&self) -> impl Iterator<Item = &String> {
        let new = |line: &&String| !self.left_out.contains(*line);
        self.left_out.iter().chain(self.warnings.iter().filter(new))
    }

    /// What a time is of, where several items were decoded at once.
    pub(crate) fn at_a_time(&self) -> Option<String> {
        let each: Vec<String> = self.jobs.iter().map(u64::to_string).collect();
        self.jobs.iter().any(|jobs| *jobs > 1).then(|| {
            format!(
                "times are of {} items at a time: tokens/s is the rate of one of those that shared the \
                 machine, not of all together",
                each.join(" or ")
            )
        })
    }

    /// Its tasks, in the order of the file.
    pub(crate) fn tasks(&self) -> Vec<&str> {
        let mut tasks: Vec<&str> = Vec::new();
        for result in &self.results {
            if !tasks.contains(&result.task.as_str()) {
                tasks.push(&result.task);
            }
        }
        tasks
    }

    /// The decoders on `task`.
    pub(crate) fn on(&self, task: &str) -> Vec<&DecoderResult> {
        self.results.iter().filter(|result| result.task == task).collect()
    }
}

/// Summarises the records of one run, decoders in the order of the file. Items that several
/// decoders share are paired.
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
        let first = results.len();
        for plan in &experiment.decoders {
            let own = of(&plan.name);
            if own.is_empty() {
                continue;
            }
            let is_baseline = plan.name == experiment.baseline;
            let compared = graded && !is_baseline;
            let difference =
                compared.then(|| difference(&own, &baseline, experiment.seed)).flatten();
            let parameter = match plan.kind.distribution() {
                DecoderKind::Deferral { rule, .. } => rule.parameter(),
                _ => None,
            };
            let distribution = distribution_in_words(&plan.kind, &plan.sampling);
            let (decoder, family) = (plan.name.clone(), plan.family.clone());
            let measured = measure(&own, graded, experiment.seed);
            let execution = plan.kind.execution_in_words();
            let levels = levels(&own, &plan.kind, measured.new_tokens);
            results.push(DecoderResult {
                decoder,
                family,
                parameter,
                distribution,
                task: task.clone(),
                difference,
                execution,
                levels,
                exact: plan.kind.is_exact(),
                ..measured
            });
        }
        let own = results[first..]
            .iter_mut()
            .filter_map(|result: &mut DecoderResult| result.difference.as_mut());
        adjust(&mut own.collect::<Vec<_>>());
    }
    Summary {
        name: experiment.name.clone(),
        question: experiment.question.clone(),
        run_id: run_id.to_owned(),
        baseline: experiment.baseline.clone(),
        complete,
        jobs: Vec::new(),
        left_out: Vec::new(),
        warnings: Vec::new(),
        side_by_side: None,
        results,
    }
}

/// What the records alone say; the rest is filled in by the caller.
fn measure(records: &[&Record], graded: bool, seed: u64) -> DecoderResult {
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
    let no_interval = Interval { low: f64::NAN, high: f64::NAN };
    DecoderResult {
        decoder: String::new(),
        family: String::new(),
        parameter: None,
        distribution: String::new(),
        task: String::new(),
        items,
        correct,
        accuracy: judged(mean(&earned)),
        accuracy_interval: match records.iter().any(|r| r.points.is_some()) {
            _ if !graded => no_interval,
            // Where all are the same, resampling says nothing.
            true if earned.iter().all(|points| *points == earned[0]) => no_interval,
            true => ratio_bootstrap(&earned, seed),
            false => wilson(correct, items),
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
        tokens_per_second_interval: {
            let pairs = records.iter().map(|r| (r.new_tokens as f64, r.seconds));
            ratio_bootstrap(&pairs.collect::<Vec<_>>(), seed)
        },
        execution: None,
        drafting: drafting(records),
        levels: Vec::new(),
        origins: origins(records),
        time: time(records),
        exact: true,
        stops,
    }
}

fn mean(pairs: &[(f64, f64)]) -> f64 {
    pairs.iter().map(|(points, _)| points).sum::<f64>() / pairs.len().max(1) as f64
}

/// The groups by name.
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

/// Of the texts that were read; none where there are options, or nothing was read.
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

/// What became of all drafts together, where there were any.
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

/// 0 where no time has passed: JSON has no infinity.
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
