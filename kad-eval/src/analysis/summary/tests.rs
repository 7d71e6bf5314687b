//! Summaries of hand-made records, computed by hand.

use kad_core::decode::Round;
use proptest::prelude::*;

use super::*;
use crate::analysis::stats::tango;
use crate::run::record::{LevelRecord, Scored, sample};

const TOML: &str = r#"
name = "toy"
baseline = "b"
[models.m]
source = "pypi:none==1"
[models.n]
source = "pypi:none==1"
[sampling]
temperature = 0.5
top_p = 0.9
[[decoders]]
name = "a"
kind = "deferral"
base = "m"
aligned = "n"
rule = { kind = "kad-dual", threshold = 0.25 }
[[decoders]]
name = "b"
kind = "single"
model = "n"
sampling = { temperature = 0 }
[[tasks]]
kind = "nano"
[[tasks]]
kind = "gsm8k"
"#;

/// (decoder, task, item, correct, answered, new tokens, deferred, mass, seconds)
type Row = (&'static str, &'static str, &'static str, bool, bool, u64, u64, f64, f64);

const ROWS: [Row; 9] = [
    ("a", "nano/validation", "0", true, true, 2, 1, 0.5, 0.5),
    ("a", "nano/validation", "1", true, true, 4, 1, 0.25, 1.0),
    ("a", "nano/validation", "2", false, true, 2, 0, 0.25, 0.5),
    ("a", "nano/validation", "3", false, false, 8, 2, 3.0, 2.0),
    ("b", "nano/validation", "3", true, true, 1, 0, 0.0, 1.0),
    ("b", "nano/validation", "2", false, true, 1, 0, 0.0, 1.0),
    ("b", "nano/validation", "1", false, true, 1, 0, 0.0, 1.0),
    ("b", "nano/validation", "0", false, true, 1, 0, 0.0, 1.0),
    ("b", "gsm8k", "0", true, true, 1, 0, 0.0, 1.0),
];

fn summary() -> Summary {
    let experiment = crate::config::read("toy.toml", TOML).unwrap();
    let record =
        |&(decoder, task, item, correct, answered, tokens, deferred, mass, seconds): &Row| {
            let mut record = sample(decoder, item, correct);
            record.task = task.to_owned();
            record.answer = answered.then(|| "7".to_owned());
            record.new_tokens = tokens;
            let decides = decoder == "a";
            record.deferred_tokens = decides.then_some(deferred);
            record.deferral_mass = decides.then_some(mass);
            record.seconds = seconds;
            record
        };
    let records: Vec<Record> = ROWS.iter().map(record).collect();
    summarise(&experiment, "run", &records, true)
}

#[test]
fn numbers_by_hand() {
    let summary = summary();
    let names: Vec<(&str, &str)> = summary
        .results
        .iter()
        .map(|result| (result.decoder.as_str(), result.task.as_str()))
        .collect();
    assert_eq!(names, [("a", "nano/validation"), ("b", "nano/validation"), ("b", "gsm8k")]);
    let a = &summary.results[0];
    assert_eq!((a.items, a.correct, a.accuracy, a.answered), (4, 2, 0.5, 0.75));
    assert_eq!(a.accuracy_interval, wilson(2, 4));
    assert_eq!((a.new_tokens, a.tokens_per_item, a.tokens_per_second), (16, 4.0, 4.0));
    assert_eq!((a.deferral_mass, a.deferral_rate), (Some(0.25), Some(0.25)));
    // `sample` has two passes per record.
    assert_eq!(a.passes_per_token["m"], 0.5);
    assert_eq!(a.stops["eos"], 4);
    assert_eq!(a.parameter, Some(0.25));
    let b = &summary.results[1];
    assert_eq!((b.correct, b.deferral_mass, b.deferral_rate), (1, None, None));
    assert!(b.difference.is_none(), "the baseline is not compared with itself");
}

/// Items 0 and 1 are won, 2 is a draw, 3 is lost; the records of b stand in another order.
#[test]
fn differences_are_paired_by_item_and_own_minus_baseline() {
    let difference = summary().results[0].difference.unwrap();
    assert_eq!((difference.items, difference.mean), (4, 0.25));
    assert!((difference.p_value - 1.0).abs() < 1e-12, "two wins, one loss");
    assert_eq!(difference.interval, tango(2, 1, 4));
    assert_eq!((difference.wins, difference.losses), (2, 1));
}

/// Records with points, groups and texts that were read.
fn scored(rows: &[(&str, &str, &str, f64)]) -> Vec<Record> {
    let record = |&(decoder, item, group, points): &(&str, &str, &str, f64)| Record {
        task: "nano/validation".to_owned(),
        points: Some(points),
        group: Some(group.to_owned()),
        seconds: 0.5,
        ..sample(decoder, item, false)
    };
    rows.iter().map(record).collect()
}

#[test]
fn points_are_averaged_compared_by_their_mean_and_grouped() {
    let experiment = crate::config::read("toy.toml", TOML).unwrap();
    let rows = [
        ("a", "0", "x", 0.5),
        ("a", "1", "x", 0.25),
        ("a", "2", "y", 0.75),
        ("b", "0", "x", 0.25),
        ("b", "1", "x", 0.125),
        ("b", "2", "y", 0.75),
    ];
    let summary = summarise(&experiment, "run", &scored(&rows), true);
    let a = &summary.results[0];
    assert_eq!((a.accuracy, a.correct, a.likelihood), (0.5, 0, None));
    let Interval { low, high } = a.accuracy_interval;
    assert!((0.25..0.5).contains(&low) && (0.5..=0.75).contains(&high), "{low} {high}");
    let difference = a.difference.unwrap();
    assert_eq!(difference.mean, 0.125);
    assert_eq!(difference.p_value, 0.5, "of four signs of two differences, two are as far");
    // `sample` has two tokens per record.
    let group = |name: &str, items, accuracy| {
        let tokens_per_second = 4.0;
        Group { name: name.to_owned(), items, accuracy, tokens_per_second }
    };
    assert_eq!(a.groups, [group("x", 2, 0.375), group("y", 1, 0.75)]);
    let without = summarise(&experiment, "run", &[sample("a", "0", true)], true);
    assert!(without.results.iter().all(|result| result.groups.is_empty()));
}

#[test]
fn likelihoods_add_up_over_texts() {
    let experiment = crate::config::read("toy.toml", TOML).unwrap();
    let mut records = scored(&[("a", "0", "x", 0.0), ("a", "1", "x", 0.0)]);
    for (record, (nats, tokens)) in records.iter_mut().zip([(-3.0, 2), (-5.0, 6)]) {
        let log_probs = vec![Some(nats)];
        record.scored = Some(Scored { log_probs, tokens, bytes: 16 });
    }
    let read = |records: &[Record]| {
        summarise(&experiment, "run", records, true).results[0].likelihood.unwrap()
    };
    let found = read(&records);
    assert_eq!((found.tokens, found.perplexity), (8, 1f64.exp()));
    assert!((found.bits_per_byte - 8.0 / std::f64::consts::LN_2 / 32.0).abs() < 1e-15);
    records[1].scored.as_mut().unwrap().log_probs = vec![None];
    let excluded = read(&records);
    assert_eq!(excluded.perplexity, f64::INFINITY, "the distribution excludes one of the texts");
    let json = serde_json::to_string(&excluded).unwrap();
    assert!(json.contains("\"perplexity\":null"), "{json}");
    assert_eq!(serde_json::from_str::<Likelihood>(&json).unwrap(), excluded);
}

#[test]
fn distributions_say_every_setting_that_shapes_them() {
    let distributions: Vec<String> =
        summary().results.into_iter().map(|result| result.distribution).collect();
    assert_eq!(
        distributions[0],
        "exactly the mixture of m and n, KAD dual, threshold 0.25, decided at T = 1, drawn at T = 0.5, top-p 0.9"
    );
    assert_eq!(distributions[1], "exactly n at T = 0, top-p 0.9");
}

proptest! {
    /// E1: for any drafts, the shares of the histogram sum to 1 and their mean is the acceptance
    /// length, over all drafts and at each level.
    #[test]
    fn histograms_sum_to_one_and_their_mean_is_the_acceptance_length(
        texts in prop::collection::vec(
            prop::collection::vec((1usize..3, 0usize..9, 0usize..9), 0..20),
            1..6,
        ),
    ) {
        let round = |&(level, drafted, accepted): &(usize, usize, usize)| Round {
            level,
            drafted,
            depth: drafted,
            accepted: accepted.min(drafted),
            emitted: accepted.min(drafted) + 1,
            stopped: false,
        };
        let record = |(place, drafts): (usize, &Vec<(usize, usize, usize)>)| {
            let levels = LevelRecord::of(&drafts.iter().map(round).collect::<Vec<_>>());
            let acceptance = levels.first().map(|level| level.drafts.clone());
            let task = "nano/validation".to_owned();
            Record { task, acceptance, levels, ..sample("a", &place.to_string(), true) }
        };
        let records: Vec<Record> = texts.iter().enumerate().map(record).collect();
        let experiment = crate::config::read("toy.toml", TOML).unwrap();
        let summary = summarise(&experiment, "run", &records, true);
        let result = &summary.results[0];
        let all = result.drafting.iter().map(|it| (&it.counts, it.acceptance_length));
        let levels = result.levels.iter().map(|it| (&it.counts.drafts, it.acceptance_length));
        for (counts, length) in all.chain(levels).filter(|(counts, _)| counts.drafts() > 0) {
            let shares = counts.lengths.iter().map(|n| *n as f64 / counts.drafts() as f64);
            prop_assert!((shares.clone().sum::<f64>() - 1.0).abs() < 1e-12);
            let mean: f64 = (0..).zip(shares).map(|(k, share)| f64::from(k) * share).sum();
            prop_assert!((mean - length).abs() < 1e-12, "{} {}", mean, length);
        }
        // Draft by draft.
        let drafts = || texts.iter().flatten().filter(|(_, drafted, _)| *drafted > 0);
        for level in &result.levels {
            let own: Vec<usize> = drafts()
                .filter(|(number, ..)| *number as u64 == level.level)
                .map(|(_, drafted, accepted)| *accepted.min(drafted))
                .collect();
            let mean = own.iter().sum::<usize>() as f64 / own.len().max(1) as f64;
            prop_assert!((mean - level.acceptance_length).abs() < 1e-12);
        }
    }
}
