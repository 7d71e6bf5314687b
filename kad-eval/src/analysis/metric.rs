//! The numbers of a decoder on a task: what each is called, its unit, which way is better, how it
//! is aggregated over items, and where it stands in a summary.
//!
//! The table of the terminal, Markdown, CSV, the pages and their part *How the numbers are
//! computed* are made from this one list.

use std::collections::BTreeMap;

use crate::analysis::stats::Interval;
use crate::analysis::summary::DecoderResult;
use crate::numbers::{NONE, fixed, interval, percent, points, significant};

/// One number.
#[derive(Debug)]
pub(crate) struct Metric {
    /// The column in CSV.
    pub(crate) name: &'static str,
    /// The column's head in tables; the unit stands beside it.
    pub(crate) title: &'static str,
    pub(crate) unit: Unit,
    pub(crate) better: Better,
    pub(crate) shown: Shown,
    pub(crate) value: Value,
    /// How it comes about from the items, in a sentence or some.
    pub(crate) explained: &'static str,
}

/// What a number is of, which decides how it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Count,
    /// A share in [0, 1], written as a percentage.
    Percent,
    /// A difference of such shares.
    Points,
    /// A share, a probability or a mean that needs three decimals.
    Plain,
    /// Needs four.
    Fine,
    /// A p-value: never 0.
    Chance,
    /// Three or four digits.
    Digits,
}

impl Unit {
    /// What stands beside the title.
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
            // The perplexity of a text that the distribution excludes.
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

/// Which way one would like it to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    Higher,
    Lower,
    /// It says how a decoder works, not how well.
    Neither,
}

impl Better {
    /// RoundOverhead a title.
    pub(crate) fn arrow(self) -> &'static str {
        match self {
            Self::Higher => "↑",
            Self::Lower => "↓",
            Self::Neither => "",
        }
    }

    /// In a sentence.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Higher => "higher is better",
            Self::Lower => "lower is better",
            Self::Neither => "",
        }
    }
}

/// Where tables have it; CSV and JSON have all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// On pages, in Markdown, and on terminals: of small numbers first, as far as there is room.
    Terminal(usize),
    /// On pages only.
    OnPages,
    /// In CSV only.
    Nowhere,
}

/// Where it is found.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value {
    One(fn(&DecoderResult) -> Option<f64>),
    /// With its interval at [`CONFIDENCE`](crate::analysis::stats::CONFIDENCE).
    Ranged(fn(&DecoderResult) -> Option<(f64, Interval)>),
    /// One for each model.
    PerModel(fn(&DecoderResult) -> &BTreeMap<String, f64>),
}

impl Metric {
    /// The number and its interval; none where the result has no such number.
    pub(crate) fn of(&self, result: &DecoderResult) -> Option<(f64, Option<Interval>)> {
        let found = match self.value {
            Value::One(value) => value(result).map(|value| (value, None)),
            Value::Ranged(value) => value(result).map(|(value, interval)| (value, Some(interval))),
            Value::PerModel(_) => None,
        };
        found.filter(|(value, _)| !value.is_nan())
    }

    /// Whether a table of `results` has anything to say under this head.
    pub(crate) fn is_in(&self, results: &[&DecoderResult]) -> bool {
        let has = |result: &&DecoderResult| match self.value {
            Value::PerModel(values) => !values(result).is_empty(),
            _ => self.of(result).is_some(),
        };
        results.iter().any(has)
    }

    /// The head of its column.
    pub(crate) fn head(&self) -> String {
        [self.title, self.unit.name()].join(" ").trim_end().to_owned()
    }

    /// The number with its interval, or those of all models, in one line.
    pub(crate) fn line(&self, result: &DecoderResult) -> String {
        let write = |value: f64| self.unit.write(value);
        if let Value::PerModel(values) = self.value {
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

    /// The heads of its columns in CSV, for the `models` there are.
    pub(crate) fn csv_heads(&self, models: &[&str]) -> Vec<String> {
        let name = self.name;
        match self.value {
            Value::One(_) => vec![name.to_owned()],
            Value::Ranged(_) => ["", "_low", "_high"].map(|end| format!("{name}{end}")).into(),
            Value::PerModel(_) => models.iter().map(|model| format!("{name}:{model}")).collect(),
        }
    }

    /// What stands under them, unrounded; what is not there or not finite is empty.
    pub(crate) fn csv_cells(&self, result: &DecoderResult, models: &[&str]) -> Vec<String> {
        let cell = |value: Option<f64>| {
            let finite = value.filter(|value| value.is_finite());
            finite.map_or(String::new(), |value| value.to_string())
        };
        let of_model = |values: fn(&DecoderResult) -> &BTreeMap<String, f64>| {
            models.iter().map(|model| cell(values(result).get(*model).copied())).collect()
        };
        match self.value {
            Value::One(value) => vec![cell(value(result))],
            Value::Ranged(value) => {
                let found = value(result);
                let end = |pick: fn(Interval) -> f64| cell(found.map(|(_, range)| pick(range)));
                vec![cell(found.map(|(value, _)| value)), end(|i| i.low), end(|i| i.high)]
            }
            Value::PerModel(values) => of_model(values),
        }
    }
}

/// All of them, in the order of the tables.
pub(crate) const METRICS: &[Metric] = &[
    Metric {
        name: "items",
        title: "items",
        unit: Unit::Count,
        better: Better::Neither,
        shown: Shown::OnPages,
        value: Value::One(|result| Some(result.items as f64)),
        explained: "Finished items.",
    },
    Metric {
        name: "correct",
        title: "correct",
        unit: Unit::Count,
        better: Better::Higher,
        shown: Shown::Nowhere,
        value: Value::One(|result| Some(result.correct as f64)),
        explained: "Items whose answer is the right one.",
    },
    Metric {
        name: "accuracy",
        title: "correct",
        unit: Unit::Percent,
        better: Better::Higher,
        shown: Shown::Terminal(0),
        value: Value::Ranged(|result| Some((result.accuracy, result.accuracy_interval))),
        explained: "Correct items over finished items, or the mean of their points where an item can \
            be partly right. A text without an answer counts as wrong. The interval is Wilson's score \
            interval; of points, a bootstrap over items (none if all are the same).",
    },
    Metric {
        name: "difference",
        title: "difference",
        unit: Unit::Points,
        better: Better::Higher,
        shown: Shown::Terminal(1),
        value: Value::Ranged(|result| result.difference.map(|it| (it.mean, it.interval))),
        explained: "Mean over items of own points minus the baseline's, on the items that both \
            finished. The interval is Tango's score interval for paired shares; where items give \
            points, a seeded percentile bootstrap over items, each paired with itself (none if all \
            differ by the same).",
    },
    Metric {
        name: "p_value",
        title: "p, unadjusted",
        unit: Unit::Plain,
        better: Better::Neither,
        shown: Shown::Nowhere,
        value: Value::One(|result| result.difference.map(|it| it.p_value)),
        explained: "Of no difference, two-sided: the exact McNemar test; of points, a sign-flip \
            permutation test of the mean.",
    },
    Metric {
        name: "p_adjusted",
        title: "p",
        unit: Unit::Chance,
        better: Better::Neither,
        shown: Shown::Terminal(2),
        value: Value::One(|result| result.difference.map(|it| it.p_adjusted)),
        explained: "Exact McNemar test of no difference (of points, a sign-flip permutation test of \
            the mean: 10,000 seeded draws, or all signs where at most 12 items differ), two-sided, \
            adjusted by Holm's method for all decoders that are compared with the baseline on the \
            task. With few items it finds nothing, whatever the interval says.",
    },
    Metric {
        name: "answered",
        title: "answered",
        unit: Unit::Percent,
        better: Better::Higher,
        shown: Shown::Terminal(7),
        value: Value::One(|result| Some(result.answered)),
        explained: "Share of the items whose text gives an answer at all.",
    },
    Metric {
        name: "perplexity",
        title: "perplexity",
        unit: Unit::Plain,
        better: Better::Lower,
        shown: Shown::Terminal(0),
        value: Value::One(|result| result.likelihood.map(|it| it.perplexity)),
        explained: "exp of the mean of −ln π over all tokens of the texts, π the decoder's distribution. \
            Depends on the vocabulary.",
    },
    Metric {
        name: "bits_per_byte",
        title: "bits per byte",
        unit: Unit::Fine,
        better: Better::Lower,
        shown: Shown::Terminal(1),
        value: Value::One(|result| result.likelihood.map(|it| it.bits_per_byte)),
        explained: "Sum of −log₂ π over all tokens of the texts, over their bytes. Does not depend on \
            the vocabulary.",
    },
    Metric {
        name: "deferral_mass",
        title: "deferral mass",
        unit: Unit::Plain,
        better: Better::Neither,
        shown: Shown::Terminal(3),
        value: Value::One(|result| result.deferral_mass),
        explained: "Mean over new tokens of the probability, before anything is drawn, that the base \
            model's draw is handed over to the aligned model.",
    },
    Metric {
        name: "deferral_rate",
        title: "deferral rate",
        unit: Unit::Plain,
        better: Better::Neither,
        shown: Shown::Terminal(9),
        value: Value::One(|result| result.deferral_rate),
        explained: "Share of the new tokens that the aligned model did draw; its expected value is \
            the mass.",
    },
    Metric {
        name: "acceptance_rate",
        title: "accepted",
        unit: Unit::Plain,
        better: Better::Higher,
        shown: Shown::Terminal(6),
        value: Value::One(|result| result.drafting.as_ref().map(|it| it.acceptance_rate)),
        explained: "Share of the drafted tokens that were accepted; what follows a rejection counts as \
            rejected.",
    },
    Metric {
        name: "acceptance_length",
        title: "per draft",
        unit: Unit::Plain,
        better: Better::Higher,
        shown: Shown::Terminal(5),
        value: Value::One(|result| result.drafting.as_ref().map(|it| it.acceptance_length)),
        explained: "Mean number of accepted tokens over all drafts.",
    },
    Metric {
        name: "new_tokens",
        title: "tokens",
        unit: Unit::Count,
        better: Better::Neither,
        shown: Shown::Nowhere,
        value: Value::One(|result| Some(result.new_tokens as f64)),
        explained: "Tokens written, or read where texts are only read.",
    },
    Metric {
        name: "tokens_per_item",
        title: "tokens/item",
        unit: Unit::Digits,
        better: Better::Neither,
        shown: Shown::OnPages,
        value: Value::One(|result| Some(result.tokens_per_item)),
        explained: "New tokens over items.",
    },
    Metric {
        name: "tokens_per_second",
        title: "tokens/s",
        unit: Unit::Digits,
        better: Better::Higher,
        shown: Shown::Terminal(4),
        value: Value::Ranged(|result| {
            Some((result.tokens_per_second, result.tokens_per_second_interval))
        }),
        explained: "New tokens of all items over their wall-clock time, prompts included. The \
            interval is a bootstrap over items: how much it depends on which items were decoded, and \
            not what another run would give. Where several items are decoded at a time (`--jobs`), it \
            is the rate of one of them, which share the machine. It holds for the machine and the load of this run alone.",
    },
    Metric {
        name: "passes_per_token",
        title: "passes/token",
        unit: Unit::Plain,
        better: Better::Lower,
        shown: Shown::Terminal(8),
        value: Value::PerModel(|result| &result.passes_per_token),
        explained: "Forward passes of each model over all new tokens, with the pass over the prompt \
            counted as one. They do not depend on the machine.",
    },
];

/// The metric of this name in CSV.
pub(crate) fn metric(name: &str) -> Option<&'static Metric> {
    METRICS.iter().find(|metric| metric.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixtures;

    /// Names are columns of files that others read, and every sentence ends.
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
        let summary = fixtures::summary();
        let (plain, swept) = (&summary.results[0], &summary.results[3]);
        let line = |name: &str, result| metric(name).unwrap().line(result);
        assert_eq!(line("accuracy", plain), "12.5 [8.6, 17.8]");
        assert_eq!(line("difference", plain), "–");
        assert_eq!(line("passes_per_token", swept), "aligned 0.020 base 1.000");
        let accuracy = metric("accuracy").unwrap();
        assert_eq!(accuracy.csv_heads(&[]), ["accuracy", "accuracy_low", "accuracy_high"]);
        assert_eq!(accuracy.csv_cells(plain, &[])[0], "0.125");
        let passes = metric("passes_per_token").unwrap();
        assert_eq!(passes.csv_heads(&["x", "base"])[1], "passes_per_token:base");
        assert_eq!(passes.csv_cells(plain, &["x", "base"]), ["", "1"]);
        assert!(!metric("deferral_mass").unwrap().is_in(&[plain]));
        assert!(metric("deferral_mass").unwrap().is_in(&[plain, swept]));
    }
}
