//! The difference of two decoders on the same items.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::DecoderResult;
use crate::analysis::stats::{
    CONFIDENCE, Interval, detectable, detectable_mean, holm, mcnemar, null_is_nan,
    paired_bootstrap, sign_flip, tango,
};

/// Accuracy minus another's on the same items.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Difference {
    pub(crate) items: u64,
    /// Items that earned more, and less.
    #[serde(default)]
    pub(crate) wins: u64,
    #[serde(default)]
    pub(crate) losses: u64,
    pub(crate) mean: f64,
    /// Standard deviation of the items' differences; none of fewer than two items.
    #[serde(default)]
    pub(crate) deviation: Option<f64>,
    /// How `interval` and `p_value` came about.
    #[serde(default)]
    pub(crate) method: Method,
    /// 95 %; NaN, null in JSON, where points give none.
    pub(crate) interval: Interval,
    /// Of no difference, two-sided.
    pub(crate) p_value: f64,
    /// The same, adjusted for all decoders that are compared on this task (Holm). NaN where an
    /// earlier version did not keep it.
    #[serde(default = "unknown", deserialize_with = "null_is_nan")]
    pub(crate) p_adjusted: f64,
    /// The smallest difference that so many items would show with a chance of 80 % or more,
    /// adjusted likewise, if decoders disagreed as often as these do; none if there is no such
    /// difference.
    #[serde(default)]
    pub(crate) detectable: Option<f64>,
}

fn unknown() -> f64 {
    f64::NAN
}

/// How differences are judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Method {
    /// By versions that did not say which.
    #[default]
    Earlier,
    /// Items are right or wrong.
    Grades,
    /// Items can be partly right.
    Points,
}

impl Method {
    /// What is judged so.
    fn of(self) -> &'static str {
        match self {
            Self::Earlier => "of an earlier version",
            Self::Grades => "where items are right or wrong",
            Self::Points => "where they give points",
        }
    }

    /// Interval and test, in words.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Earlier => {
                "[95 %, paired bootstrap]; p: exact McNemar test (of points, the sign test; both as an \
                 earlier version of kad had them)"
            }
            Self::Grades => "[95 %, Tango's score interval]; p: exact McNemar test",
            Self::Points => {
                "[95 %, bootstrap over items]; p: sign-flip permutation test of the mean"
            }
        }
    }
}

impl Difference {
    /// Of what one decoder earned on each item and what another did.
    pub(crate) fn of(earned: &[(f64, f64)], seed: u64) -> Self {
        let differences: Vec<f64> = earned.iter().map(|(own, other)| own - other).collect();
        let count = |test: fn(&f64) -> bool| differences.iter().filter(|d| test(d)).count() as u64;
        let (items, wins, losses) =
            (differences.len() as u64, count(|d| *d > 0.0), count(|d| *d < 0.0));
        let is_grade = |points: f64| [0.0, 1.0].contains(&points);
        let graded = earned.iter().all(|(own, other)| is_grade(*own) && is_grade(*other));
        let (method, interval, p_value) = match graded {
            true => (Method::Grades, tango(wins, losses, items), mcnemar(wins, losses)),
            false => (Method::Points, bootstrap(&differences, seed), sign_flip(&differences, seed)),
        };
        let mean = differences.iter().sum::<f64>() / items.max(1) as f64;
        let mut found = Self {
            items,
            wins,
            losses,
            mean,
            deviation: deviation(&differences, mean),
            method,
            interval,
            p_value,
            p_adjusted: p_value,
            detectable: None,
        };
        found.detectable = found.detectable_among(1);
        found
    }

    /// Of items that both sides have, by `key`; in the order of the keys, so that an interval does
    /// not depend on that of the items. None if there is no such item.
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

    /// What could be seen as one of so many comparisons. Each is found if its own p is at most
    /// α / comparisons, whatever Holm's method makes of the others.
    fn detectable_among(&self, comparisons: usize) -> Option<f64> {
        let level = (1.0 - CONFIDENCE) / comparisons as f64;
        match self.method {
            Method::Earlier => self.detectable,
            Method::Grades => {
                let differ = (self.wins + self.losses) as f64;
                detectable(self.items, differ / self.items.max(1) as f64, level)
            }
            Method::Points => detectable_mean(self.items, self.deviation?, level),
        }
    }
}

/// Where all are the same, resampling says nothing.
fn bootstrap(differences: &[f64], seed: u64) -> Interval {
    match differences.windows(2).any(|pair| pair[0] != pair[1]) {
        true => paired_bootstrap(differences, seed),
        false => Interval { low: f64::NAN, high: f64::NAN },
    }
}

fn deviation(differences: &[f64], mean: f64) -> Option<f64> {
    let squares: f64 = differences.iter().map(|it| (it - mean).powi(2)).sum();
    (differences.len() > 1).then(|| (squares / (differences.len() - 1) as f64).sqrt())
}

/// Adjusts the differences of one task for there being several.
pub(crate) fn adjust(compared: &mut [&mut Difference]) {
    let comparisons = compared.len();
    let adjusted = holm(&compared.iter().map(|it| it.p_value).collect::<Vec<_>>());
    for (it, adjusted) in compared.iter_mut().zip(adjusted) {
        it.p_adjusted = adjusted;
        it.detectable = it.detectable_among(comparisons);
    }
}

/// What intervals and p of `results`, all of one task, are, and what could be seen; none where nothing
/// is compared.
pub(crate) fn explained(results: &[&DecoderResult]) -> Option<String> {
    let compared: Vec<&Difference> =
        results.iter().filter_map(|result| result.difference.as_ref()).collect();
    let methods = methods(&compared)?;
    let seen = seen(&compared).map_or(String::new(), |points| {
        let points = 100.0 * points;
        format!("; so many items show a difference of {points:.1} points with a chance of 80 %, whichever decoder has it")
    });
    Some(format!(
        "difference: {methods}, adjusted for all decoders of the task (Holm), which intervals are not{seen}"
    ))
}

/// How these were judged, each method once, and where there are several, what by which; none where
/// nothing was.
pub(crate) fn methods(compared: &[&Difference]) -> Option<String> {
    let mut methods: Vec<Method> = Vec::new();
    for it in compared {
        if !methods.contains(&it.method) {
            methods.push(it.method);
        }
    }
    match methods.as_slice() {
        [] => None,
        [one] => Some(one.words().to_owned()),
        several => {
            let each = several.iter().map(|it| format!("{}: {}", it.of(), it.words()));
            Some(each.collect::<Vec<_>>().join("; "))
        }
    }
}

/// What each comparison in which anything differs would show; none if some would show nothing. What
/// earlier versions kept was not adjusted.
fn seen(compared: &[&Difference]) -> Option<f64> {
    if compared.iter().any(|it| it.method == Method::Earlier) {
        return None;
    }
    let differ = compared.iter().filter(|it| it.wins + it.losses > 0);
    let seen = differ.map(|it| it.detectable).reduce(|a, b| Some(a?.max(b?))).flatten();
    // Less is written as no difference at all.
    seen.filter(|share| *share >= 0.0005)
}
