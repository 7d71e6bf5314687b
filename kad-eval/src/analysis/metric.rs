//! Metrics of a decoder on a task: name, unit, direction, aggregation over items, and place in a
//! summary.
//!
//! Terminal tables, Markdown, CSV, HTML pages and their section *How the numbers are computed* are
//! all made from this list.

use std::collections::BTreeMap;

use Better::{Higher, Lower, Neither};
use MetricValue::{One, PerModel, Ranged};
use Shown::{Nowhere, OnPages, Terminal};
use Unit::{Chance, Count, Digits, Fine, Percent, Plain, Points};

use crate::analysis::stats::Interval;
use crate::analysis::summary::DecoderResult;
use crate::numbers::{NONE, fixed, interval, percent, points, significant};

/// One metric.
#[derive(Debug)]
pub(crate) struct Metric {
    /// The column in CSV.
    pub(crate) name: &'static str,
    /// The column's head in tables, without the unit.
    pub(crate) title: &'static str,
    pub(crate) unit: Unit,
    pub(crate) better: Better,
    pub(crate) shown: Shown,
    pub(crate) value: MetricValue,
    /// How it is computed from the items, in sentences.
    pub(crate) explained: &'static str,
}

/// Unit and format of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Count,
    /// A share in [0, 1], written as a percentage.
    Percent,
    /// A difference of such shares.
    Points,
    /// A share, a probability or a mean, with three decimals.
    Plain,
    /// Four decimals.
    Fine,
    /// A p-value: never 0.
    Chance,
    /// Three or four digits.
    Digits,
}

impl Unit {
    /// The unit beside the title.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Percent => "%",
            Self::Points => "points",
            Self::Count | Self::Plain | Self::Fine | Self::Chance | Self::Digits => "",
        }
    }

    /// `value` without its unit.
    pub(crate) fn write(self, value: f64) -> String {
        match self {
            // Perplexity of a text to which the distribution gives probability 0.
            _ if value == f64::INFINITY => "∞".to_owned(),
            Self::Count => fixed(value, 0),
            Self::Percent => percent(value),
            Self::Points => points(value),
            Self::Plain => fixed(value, 3),
            Self::Fine => fixed(value, 4),
            Self::Chance if value < 0.0005 => "<0.001".to_owned(),
            Self::Chance => fixed(value, 3),
            Self::Digits => significant(value),
        }
    }
}

/// `p = 0.013`, `p < 0.001`.
pub(crate) fn p_value(value: f64) -> String {
    let written = Unit::Chance.write(value);
    match written.strip_prefix('<') {
        Some(bound) => format!("p < {bound}"),
        None => format!("p = {written}"),
    }
}

/// The direction of improvement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    Higher,
    Lower,
    /// The metric describes a decoder and does not rate it.
    Neither,
}

impl Better {
    /// The sign beside a title, and the direction in words.
    pub(crate) fn arrow_and_words(self) -> [&'static str; 2] {
        match self {
            Self::Higher => ["↑", "higher is better"],
            Self::Lower => ["↓", "lower is better"],
            Self::Neither => ["", ""],
        }
    }
}

/// The tables that show a metric; CSV and JSON have all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// Pages, Markdown and terminals; terminals keep small ranks first, as far as there is room.
    Terminal(usize),
    /// Pages only.
    OnPages,
    /// CSV only.
    Nowhere,
}

/// The field of a result that holds it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum MetricValue {
    One(fn(&DecoderResult) -> Option<f64>),
    /// Value and its interval at [`CONFIDENCE`](crate::analysis::stats::CONFIDENCE).
    Ranged(fn(&DecoderResult) -> Option<(f64, Interval)>),
    /// One value for each model.
    PerModel(fn(&DecoderResult) -> &BTreeMap<String, f64>),
}

impl Metric {
    const fn new(
        name: &'static str,
        title: &'static str,
        unit: Unit,
        better: Better,
        shown: Shown,
    ) -> Self {
        Self { name, title, unit, better, shown, value: One(|_| None), explained: "" }
    }

    const fn value(self, value: MetricValue) -> Self {
        Self { value, ..self }
    }

    const fn explained(self, explained: &'static str) -> Self {
        Self { explained, ..self }
    }

    /// The number and its interval; none if the result lacks it.
    pub(crate) fn of(&self, result: &DecoderResult) -> Option<(f64, Option<Interval>)> {
        let found = match self.value {
            One(value) => value(result).map(|value| (value, None)),
            Ranged(value) => value(result).map(|(value, interval)| (value, Some(interval))),
            PerModel(_) => None,
        };
        found.filter(|(value, _)| !value.is_nan())
    }

    /// True if any of `results` has the metric.
    pub(crate) fn is_in(&self, results: &[&DecoderResult]) -> bool {
        let has = |result: &&DecoderResult| match self.value {
            PerModel(values) => !values(result).is_empty(),
            _ => self.of(result).is_some(),
        };
        results.iter().any(has)
    }

    /// The head of its column.
    pub(crate) fn head(&self) -> String {
        [self.title, self.unit.name()].join(" ").trim_end().to_owned()
    }

    /// The number with its interval, or the numbers of all models, in one line.
    pub(crate) fn line(&self, result: &DecoderResult) -> String {
        let write = |value: f64| self.unit.write(value);
        if let PerModel(values) = self.value {
            let each =
                values(result).iter().map(|(name, value)| format!("{name} {}", write(*value)));
            return each.collect::<Vec<_>>().join(" ");
        }
        match self.of(result) {
            Some((value, None)) => write(value),
            Some((value, Some(range))) => format!("{} {}", write(value), interval(range, write)),
            None => NONE.to_owned(),
        }
    }

    /// Heads and cells of its columns in CSV, given all `models`: unrounded, missing and infinite
    /// numbers are empty.
    pub(crate) fn csv(&self, result: &DecoderResult, models: &[&str]) -> Vec<(String, String)> {
        let column = |end: &str, value: Option<f64>| {
            let finite = value.filter(|value| value.is_finite());
            let cell = finite.map_or(String::new(), |value| value.to_string());
            (format!("{}{end}", self.name), cell)
        };
        match self.value {
            One(value) => vec![column("", value(result))],
            Ranged(value) => {
                let (value, range) = value(result).unzip();
                let (low, high) = range.map(|Interval { low, high }| (low, high)).unzip();
                vec![column("", value), column("_low", low), column("_high", high)]
            }
            PerModel(values) => {
                let value = |model: &str| values(result).get(model).copied();
                models.iter().map(|it| column(&format!(":{it}"), value(it))).collect()
            }
        }
    }
}

/// All metrics, in the order of the tables.
pub(crate) const METRICS: &[Metric] = &[
    Metric::new("items", "items", Count, Neither, OnPages)
        .value(One(|it| Some(it.items as f64)))
        .explained("Finished items."),
    Metric::new("correct", "correct", Count, Higher, Nowhere)
        .value(One(|it| Some(it.correct as f64)))
        .explained("Items answered correctly."),
    Metric::new("accuracy", "correct", Percent, Higher, Terminal(0))
        .value(Ranged(|it| Some((it.accuracy, it.accuracy_interval))))
        .explained("Accuracy: correct items over finished items, or their mean points where an item \
            can be partly right. A text without an answer counts as wrong. The interval is Wilson's \
            score interval; for points, a bootstrap over items (none if all are equal)."),
    Metric::new("difference", "difference", Points, Higher, Terminal(1))
        .value(Ranged(|it| it.difference.map(|it| (it.mean, it.interval))))
        .explained("Mean over items of own points minus the baseline's, on the items that both \
            finished. The interval is Tango's score interval for paired shares; for points, a seeded \
            percentile bootstrap over paired items (none if all differences are equal)."),
    Metric::new("p_value", "p, unadjusted", Plain, Neither, Nowhere)
        .value(One(|it| it.difference.map(|it| it.p_value)))
        .explained("Two-sided test of no difference: the exact McNemar test; for points, a sign-flip \
            permutation test of the mean."),
    Metric::new("p_adjusted", "p", Chance, Neither, Terminal(2))
        .value(One(|it| it.difference.map(|it| it.p_adjusted)))
        .explained("Two-sided exact McNemar test of no difference (for points, a sign-flip \
            permutation test of the mean: 10,000 seeded draws, or all signs if at most 12 items \
            differ), Holm-adjusted over the decoders compared with the baseline on the task. With few \
            items it finds nothing, whatever the interval says."),
    Metric::new("answered", "answered", Percent, Higher, Terminal(7))
        .value(One(|it| Some(it.answered)))
        .explained("Share of the items whose text contains an answer."),
    Metric::new("perplexity", "perplexity", Plain, Lower, Terminal(0))
        .value(One(|it| it.likelihood.map(|it| it.perplexity)))
        .explained("exp of the mean of −ln π over all tokens of the texts, with π the decoder's \
            next-token distribution. Depends on the vocabulary."),
    Metric::new("bits_per_byte", "bits per byte", Fine, Lower, Terminal(1))
        .value(One(|it| it.likelihood.map(|it| it.bits_per_byte)))
        .explained("Sum of −log₂ π over all tokens of the texts, divided by their bytes. Does not \
            depend on the vocabulary."),
    Metric::new("deferral_mass", "deferral mass", Plain, Neither, Terminal(3))
        .value(One(|it| it.deferral_mass))
        .explained("Mean over new tokens of the probability, before sampling, of deferring to the \
            aligned model."),
    Metric::new("deferral_rate", "deferral rate", Plain, Neither, Terminal(9))
        .value(One(|it| it.deferral_rate))
        .explained("Share of the new tokens drawn from the aligned model; its expected value is the \
            deferral mass."),
    Metric::new("acceptance_rate", "acceptance rate", Plain, Higher, Terminal(6))
        .value(One(|it| it.drafting.as_ref().map(|it| it.acceptance_rate)))
        .explained("Accepted over drafted tokens; tokens after a rejection count as not accepted."),
    Metric::new("acceptance_length", "acceptance length", Plain, Higher, Terminal(5))
        .value(One(|it| it.drafting.as_ref().map(|it| it.acceptance_length)))
        .explained("Mean number of accepted tokens per draft, bonus tokens not counted."),
    Metric::new("new_tokens", "tokens", Count, Neither, Nowhere)
        .value(One(|it| Some(it.new_tokens as f64)))
        .explained("Tokens generated; for tasks that score given texts, tokens scored."),
    Metric::new("tokens_per_item", "tokens/item", Digits, Neither, OnPages)
        .value(One(|it| Some(it.tokens_per_item)))
        .explained("New tokens per item."),
    Metric::new("tokens_per_second", "tokens/s", Digits, Higher, Terminal(4))
        .value(Ranged(|it| Some((it.tokens_per_second, it.tokens_per_second_interval))))
        .explained("New tokens of all items over their wall-clock time, prompts included. The \
            interval is a bootstrap over items: it covers the choice of items, not the spread of \
            repeated runs. Where several items are decoded at a time (`--jobs`), it is the rate of \
            one item while others share the machine. Valid for this machine and its load only."),
    Metric::new("passes_per_token", "passes/token", Plain, Lower, Terminal(8))
        .value(PerModel(|it| &it.passes_per_token))
        .explained("Forward passes of each model per new token; the pass over the prompt counts as \
            one. Independent of the machine."),
];

/// The metric of this name in CSV.
pub(crate) fn metric(name: &str) -> Option<&'static Metric> {
    METRICS.iter().find(|metric| metric.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::sample_summary;

    /// Names are columns of files that other programs read.
    #[test]
    fn names_are_unique_and_everything_is_explained() {
        for (place, it) in METRICS.iter().enumerate() {
            assert!(METRICS[..place].iter().all(|other| other.name != it.name), "{}", it.name);
            assert!(it.explained.ends_with('.') && !it.explained.contains("  "), "{}", it.name);
        }
        assert!(metric("accuracy").is_some() && metric("no such").is_none());
    }

    #[test]
    fn a_number_is_written_in_its_unit() {
        for (unit, value, wanted) in [
            (Unit::Count, 12.0, "12"),
            (Unit::Percent, 0.125, "12.5"),
            (Unit::Points, 0.125, "+12.5"),
            (Unit::Points, -0.02, "−2.0"),
            (Unit::Plain, 0.12345, "0.123"),
            (Unit::Fine, 0.12345, "0.1235"),
            (Unit::Digits, 812.4, "812"),
            (Unit::Digits, f64::NAN, "–"),
            (Unit::Plain, f64::INFINITY, "∞"),
        ] {
            assert_eq!(unit.write(value), wanted, "{unit:?}");
        }
    }

    #[test]
    fn a_result_in_lines_and_cells() {
        let summary = sample_summary::summary();
        let (plain, swept) = (&summary.results[0], &summary.results[3]);
        let line = |name: &str, result| metric(name).unwrap().line(result);
        assert_eq!(line("accuracy", plain), "12.5 [8.6, 17.8]");
        assert_eq!(line("difference", plain), "–");
        assert_eq!(line("passes_per_token", swept), "aligned 0.020 base 1.000");
        let csv = |name: &str| metric(name).unwrap().csv(plain, &["x", "base"]);
        let (heads, cells): (Vec<_>, Vec<_>) = csv("accuracy").into_iter().unzip();
        assert_eq!(heads, ["accuracy", "accuracy_low", "accuracy_high"]);
        assert_eq!(cells[0], "0.125");
        let (heads, cells): (Vec<_>, Vec<_>) = csv("passes_per_token").into_iter().unzip();
        assert_eq!((&*heads[1], cells), ("passes_per_token:base", vec!["".into(), "1".into()]));
        assert!(!metric("deferral_mass").unwrap().is_in(&[plain]));
        assert!(metric("deferral_mass").unwrap().is_in(&[plain, swept]));
    }
}
