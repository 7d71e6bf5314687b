//! Two small runs, and what a pencil finds.

use super::*;
use crate::record::sample;
use crate::report::sample as summaries;

/// Items 0 to 5; the second run wins 4 and 5, loses none, and asks 0 otherwise.
#[test]
fn items_are_paired_by_what_was_asked() {
    let run = |right: &dyn Fn(usize) -> bool, seconds: f64| -> Vec<Record> {
        let record = |i: usize| Record {
            seconds,
            task: "nano/test".to_owned(),
            ..sample("base", &i.to_string(), right(i))
        };
        (0..6).map(record).collect()
    };
    let (first, mut second) = (run(&|i| i < 4, 1.0), run(&|_| true, 0.5));
    second[0].gold = "another".to_owned();
    let mut summary = summaries::summary();
    summary.arms.truncate(1);
    (summary.arms[0].decoder, summary.arms[0].task) = ("base".into(), "nano/test".into());
    let mut faster = summary.clone();
    faster.arms[0].tokens_per_second *= 2.0;
    let mut other = faster.arms[0].clone();
    other.decoder = "new".to_owned();
    faster.arms.push(other);

    let found = pairs([&summary, &faster], [&first, &second]);
    assert_eq!(found.len(), 2);
    let difference = found[0].difference.unwrap();
    assert_eq!((difference.items, difference.mean), (5, 0.4));
    assert!((difference.p_adjusted - 0.5).abs() < 1e-12, "two wins, no loss: 2 · 1/4");
    let speed = found[0].speed.unwrap();
    assert!((speed.value - 2.0).abs() < 1e-12);
    // Every item took as long as every other.
    assert!((speed.interval.low - 2.0).abs() < 1e-9 && (speed.interval.high - 2.0).abs() < 1e-9);
    assert_eq!(found[1].decoder, "new");
    assert!(found[1].first.is_none() && found[1].difference.is_none() && found[1].speed.is_none());
}
