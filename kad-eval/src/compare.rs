//! Two runs beside each other: what differs in their plans, and in what came out.

mod plans;

use std::collections::BTreeMap;

use serde::Serialize;

pub(crate) use plans::{Change, changes};

use crate::record::Record;
use crate::stats::{Interval, holm, ratio_bootstrap};
use crate::summary::{Arm, Difference, Summary};

/// A decoder on a task in two runs.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Pair<'s> {
    pub(crate) decoder: &'s str,
    pub(crate) task: &'s str,
    /// None where the run has no such decoder or task.
    pub(crate) first: Option<&'s Arm>,
    pub(crate) second: Option<&'s Arm>,
    /// Accuracy of the second run minus that of the first, on the items both finished.
    pub(crate) difference: Option<Difference>,
    /// Tokens per second of the second run over those of the first.
    pub(crate) speed: Option<Ratio>,
}

/// A quotient of two measured numbers.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Ratio {
    pub(crate) value: f64,
    /// Of the items of both runs, resampled apart, 95 %; what differs from one moment of a machine
    /// to the next is not in it.
    pub(crate) interval: Interval,
}

/// Seeds of resampling: a comparison is the same each time.
const SEED: u64 = 1;

/// Every decoder and task of either run, those of the first one first. Records need no texts.
pub(crate) fn pairs<'s>(
    [first, second]: [&'s Summary; 2],
    records: [&[Record]; 2],
) -> Vec<Pair<'s>> {
    let find = |of: &'s Summary, arm: &Arm| {
        of.arms.iter().find(|other| other.decoder == arm.decoder && other.task == arm.task)
    };
    let both = first.arms.iter().map(|arm| (Some(arm), find(second, arm)));
    let new = second.arms.iter().filter(|arm| find(first, arm).is_none());
    let all = both.chain(new.map(|arm| (None, Some(arm))));
    let mut pairs: Vec<Pair> = all.filter_map(|arms| pair(arms, records)).collect();
    adjust(&mut pairs);
    pairs
}

fn pair<'s>(
    (first, second): (Option<&'s Arm>, Option<&'s Arm>),
    records: [&[Record]; 2],
) -> Option<Pair<'s>> {
    let Arm { decoder, task, .. } = first.or(second)?;
    let [one, other] = records.map(|records| {
        let own = |r: &&Record| r.decoder == *decoder && r.task == *task;
        records.iter().filter(own).collect::<Vec<_>>()
    });
    let graded = |arm: &Arm| !arm.accuracy.is_nan();
    let compared = first.is_some_and(graded) && second.is_some_and(graded);
    let difference = compared.then(|| difference(&one, &other)).flatten();
    let speed = first.zip(second).and_then(|(a, b)| speed(&one, &other, a, b));
    Some(Pair { decoder, task, first, second, difference, speed })
}

/// Paired by item and right answer: where a run asked something else, nothing is compared.
fn difference(first: &[&Record], second: &[&Record]) -> Option<Difference> {
    let score = |record: &Record| f64::from(u8::from(record.correct));
    let asked = |record: &'_ &Record| (record.item.clone(), record.gold.clone());
    let before: BTreeMap<_, f64> = first.iter().map(|r| (asked(r), score(r))).collect();
    let after: BTreeMap<_, f64> = second.iter().map(|r| (asked(r), score(r))).collect();
    let differences: Vec<f64> =
        after.iter().filter_map(|(asked, score)| Some(score - before.get(asked)?)).collect();
    (!differences.is_empty()).then(|| Difference::of(&differences, SEED))
}

/// None where no time was taken.
fn speed(first: &[&Record], second: &[&Record], a: &Arm, b: &Arm) -> Option<Ratio> {
    let value = b.tokens_per_second / a.tokens_per_second;
    if !value.is_finite() || value <= 0.0 {
        return None;
    }
    // The logarithms' intervals are added in quadrature: the runs are independent.
    let spread = |records: &[&Record]| {
        let pairs: Vec<(f64, f64)> =
            records.iter().map(|r| (r.new_tokens as f64, r.seconds)).collect();
        let Interval { low, high } = ratio_bootstrap(&pairs, SEED);
        (high / low).ln() / 2.0
    };
    let half = spread(first).hypot(spread(second)).exp();
    Some(Ratio { value, interval: Interval { low: value / half, high: value * half } })
}

/// For all comparisons of a task.
fn adjust(pairs: &mut [Pair<'_>]) {
    let tasks: Vec<String> = pairs.iter().map(|pair| pair.task.to_owned()).collect();
    for task in &tasks {
        let own = pairs.iter_mut().filter(|pair| pair.task == task);
        let mut own: Vec<&mut Difference> = own.filter_map(|it| it.difference.as_mut()).collect();
        let adjusted = holm(&own.iter().map(|it| it.p_value).collect::<Vec<_>>());
        own.iter_mut().zip(adjusted).for_each(|(it, adjusted)| it.p_adjusted = adjusted);
    }
}

#[cfg(test)]
mod tests;
