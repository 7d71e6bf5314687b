//! Difference of two decoders on the same items.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::DecoderResult;
use crate::analysis::stats::{
    CONFIDENCE, Interval, POWER, detectable, detectable_mean, holm, mcnemar, paired_bootstrap,
    sign_flip, tango,
};

/// Accuracy minus the accuracy of another decoder on the same items.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Difference {
    /// Number of items that both finished.
    pub items: u64,
    /// Items with more points than the other decoder.
    pub wins: u64,
    /// Items with fewer points than the other decoder.
    pub losses: u64,
    /// Mean difference.
    pub mean: f64,
    /// Standard deviation of the items' differences; none for fewer than two items.
    pub deviation: Option<f64>,
    /// The methods behind `interval` and `p_value`.
    pub method: Method,
    /// 95 % interval; NaN, null in JSON, if all differences of points are equal.
    pub interval: Interval,
    /// Two-sided test of no difference.
    pub p_value: f64,
    /// `p_value`, Holm-adjusted over the decoders compared on this task.
    pub p_adjusted: f64,
    /// Minimum detectable difference at 80 % power, Bonferroni-adjusted over the decoders compared,
    /// at the disagreement found; none if there is none.
    pub detectable: Option<f64>,
}

/// Interval and test of a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Items are right or wrong.
    Grades,
    /// Items can be partly right.
    Points,
}

impl Method {
    /// The items that it is for.
    fn items(self) -> &'static str {
        match self {
            Self::Grades => "items right or wrong",
            Self::Points => "items with points",
        }
    }

    /// Interval and test, in words.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Grades => "[95 % Tango score interval], p of the exact McNemar test",
            Self::Points => {
                "[95 % bootstrap interval over items], p of the sign-flip permutation test of the mean"
            }
        }
    }
}

impl Difference {
    /// The difference of two decoders, from their points on each item: (own, other).
    pub(crate) fn of(earned: &[(f64, f64)], seed: u64) -> Self {
        let differences: Vec<f64> = earned.iter().map(|(own, other)| own - other).collect();
        let count = |test: fn(&f64) -> bool| differences.iter().filter(|d| test(d)).count() as u64;
        let (items, wins, losses) =
            (differences.len() as u64, count(|d| *d > 0.0), count(|d| *d < 0.0));
        let is_grade = |points: f64| [0.0, 1.0].contains(&points);
        let graded = earned.iter().all(|(own, other)| is_grade(*own) && is_grade(*other));
        // Where all differences are equal, resampling says nothing.
        let interval = || match differences.windows(2).any(|pair| pair[0] != pair[1]) {
            true => paired_bootstrap(&differences, seed),
            false => Interval { low: f64::NAN, high: f64::NAN },
        };
        let (method, interval, p_value) = match graded {
            true => (Method::Grades, tango(wins, losses, items), mcnemar(wins, losses)),
            false => (Method::Points, interval(), sign_flip(&differences, seed)),
        };
        let mean = differences.iter().sum::<f64>() / items.max(1) as f64;
        let squares: f64 = differences.iter().map(|it| (it - mean).powi(2)).sum();
        let mut found = Self {
            items,
            wins,
            losses,
            mean,
            deviation: (items > 1).then(|| (squares / (items - 1) as f64).sqrt()),
            method,
            interval,
            p_value,
            p_adjusted: p_value,
            detectable: None,
        };
        found.detectable = found.detectable_among(1);
        found
    }

    /// The difference on the items that both sides have, by key; `None` without such an item. Items
    /// are taken in the order of the keys, so that the interval does not depend on the order of the
    /// records.
    pub(crate) fn paired<K: Ord>(
        own: impl Iterator<Item = (K, f64)>,
        other: impl Iterator<Item = (K, f64)>,
        seed: u64,
    ) -> Option<Self> {
        let (own, other): (BTreeMap<K, f64>, BTreeMap<K, f64>) = (own.collect(), other.collect());
        let both = own.iter().filter_map(|(key, points)| Some((*points, *other.get(key)?)));
        let both: Vec<(f64, f64)> = both.collect();
        (!both.is_empty()).then(|| Self::of(&both, seed))
    }

    /// Minimum detectable difference as one of several comparisons, at Bonferroni's level α /
    /// comparisons, which is sufficient under Holm.
    fn detectable_among(&self, comparisons: usize) -> Option<f64> {
        let level = (1.0 - CONFIDENCE) / comparisons as f64;
        match self.method {
            Method::Grades => {
                let differ = (self.wins + self.losses) as f64;
                detectable(self.items, differ / self.items.max(1) as f64, level)
            }
            Method::Points => detectable_mean(self.items, self.deviation?, level),
        }
    }
}

/// Adjusts the differences of one task for multiple comparisons.
pub(crate) fn adjust(compared: &mut [&mut Difference]) {
    let comparisons = compared.len();
    let adjusted = holm(&compared.iter().map(|it| it.p_value).collect::<Vec<_>>());
    for (it, adjusted) in compared.iter_mut().zip(adjusted) {
        it.p_adjusted = adjusted;
        it.detectable = it.detectable_among(comparisons);
    }
}

/// The note below a table of `results`, all of one task: methods and minimum detectable difference;
/// none without a comparison.
pub(crate) fn explained(results: &[&DecoderResult]) -> Option<String> {
    let compared: Vec<&Difference> =
        results.iter().filter_map(|result| result.difference.as_ref()).collect();
    let methods = methods(&compared)?;
    let detectable = largest_detectable(&compared).map_or(String::new(), |share| {
        format!(
            "; minimum detectable difference: {:.1} points ({:.0} % power)",
            100.0 * share,
            100.0 * POWER
        )
    });
    Some(format!(
        "difference: {methods}; p is Holm-adjusted over the decoders of the task, intervals are \
         not{detectable}"
    ))
}

/// The methods of `compared`, each once; none without a comparison.
pub(crate) fn methods(compared: &[&Difference]) -> Option<String> {
    let has = |method: &Method| compared.iter().any(|it| it.method == *method);
    let found: Vec<Method> = [Method::Grades, Method::Points].into_iter().filter(has).collect();
    match found.as_slice() {
        [] => None,
        [one] => Some(one.words().to_owned()),
        several => {
            let each = several.iter().map(|it| format!("{}: {}", it.items(), it.words()));
            Some(each.collect::<Vec<_>>().join("; "))
        }
    }
}

/// The largest minimum detectable difference of the comparisons with disagreements; `None` if one
/// of them has none.
fn largest_detectable(compared: &[&Difference]) -> Option<f64> {
    let differ = compared.iter().filter(|it| it.wins + it.losses > 0);
    let found = differ.map(|it| it.detectable).reduce(|a, b| Some(a?.max(b?))).flatten();
    // Less is written as no difference at all.
    found.filter(|share| *share >= 0.0005)
}
