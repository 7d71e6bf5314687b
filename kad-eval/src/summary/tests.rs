//! Hand-made records, and the numbers a reader would compute from them with a pencil.

use super::*;
use crate::record::sample;

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
fn each_number_is_the_one_a_pencil_gives() {
    let summary = summary();
    let names: Vec<(&str, &str)> =
        summary.arms.iter().map(|arm| (arm.decoder.as_str(), arm.task.as_str())).collect();
    assert_eq!(names, [("a", "nano/validation"), ("b", "nano/validation"), ("b", "gsm8k")]);
    let a = &summary.arms[0];
    assert_eq!((a.items, a.correct, a.accuracy, a.answered), (4, 2, 0.5, 0.75));
    assert_eq!(a.accuracy_interval, wilson(2, 4));
    assert_eq!((a.new_tokens, a.tokens_per_item, a.tokens_per_second), (16, 4.0, 4.0));
    assert_eq!((a.deferral_mass, a.deferral_rate), (Some(0.25), Some(0.25)));
    // `sample` has two passes per record.
    assert_eq!(a.passes_per_token["m"], 0.5);
    assert_eq!(a.stops["eos"], 4);
    assert_eq!(a.parameter, Some(0.25));
    let b = &summary.arms[1];
    assert_eq!((b.correct, b.deferral_mass, b.deferral_rate), (1, None, None));
    assert!(b.difference.is_none(), "the baseline is not compared with itself");
}

/// Items 0 and 1 are won, 2 is a draw, 3 is lost; the records of b stand in another order.
#[test]
fn differences_are_paired_by_item_and_own_minus_baseline() {
    let difference = summary().arms[0].difference.unwrap();
    assert_eq!((difference.items, difference.mean), (4, 0.25));
    assert!((difference.p_value - 1.0).abs() < 1e-12, "two wins, one loss");
    assert!(difference.interval.low < 0.0 && difference.interval.high > 0.5);
}

#[test]
fn laws_say_every_setting_that_shapes_them() {
    let laws: Vec<String> = summary().arms.into_iter().map(|arm| arm.law).collect();
    assert_eq!(
        laws[0],
        "exactly the mixture of m and n, KAD dual, threshold 0.25, decided at T = 1, drawn at T = 0.5, top-p 0.9"
    );
    assert_eq!(laws[1], "exactly n at T = 0, top-p 0.9");
}
