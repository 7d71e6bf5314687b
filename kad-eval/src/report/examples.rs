//! The items that a report shows as examples: the first of each task, and the best and worst ones.

use std::collections::BTreeMap;

use crate::analysis::summary::Summary;
use crate::numbers::{fixed, significant};
use crate::run::record::Record;

/// Items at either end, per task; with more than [`MANY_TASKS`] tasks, one.
const EACH: usize = 2;
const MANY_TASKS: usize = 6;
/// Decoders that a reason names.
const NAMED: usize = 3;

/// An item to show.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pick {
    pub(crate) task: String,
    pub(crate) item: String,
    /// The reason, in words.
    pub(crate) why: String,
    /// The decoders that it is shown for, without the baseline.
    pub(crate) about: Vec<String>,
}

/// The items to show, task by task in the order of the file. `records` need no texts; their order
/// breaks ties.
pub(crate) fn picks(summary: &Summary, records: &[Record]) -> Vec<Pick> {
    let tasks = summary.tasks();
    let each = if tasks.len() > MANY_TASKS { 1 } else { EACH };
    tasks.into_iter().flat_map(|task| of_task(task, summary, records, each)).collect()
}

fn of_task(task: &str, summary: &Summary, records: &[Record], each: usize) -> Vec<Pick> {
    let items = items(task, records);
    let results = summary.on(task);
    let graded = results.iter().any(|result| !result.accuracy.is_nan());
    let compared = results.iter().any(|result| result.difference.is_some());
    let read = results.iter().any(|result| result.likelihood.is_some());
    let first = items.first().map(|item| reason(item, "the first item", &[]));
    let changed = |sign, words| by_change(&items, (&summary.baseline, sign), words, each);
    let graded_as = |right: bool, why: &str| {
        let own = items.iter().filter(|item| (points(item) > 0.5) == right).take(each);
        own.map(|item| reason(item, why, &[])).collect()
    };
    let ends: [Vec<Pick>; 2] = match (graded, compared, read) {
        (true, true, _) => [changed(1.0, ("gain", "ahead of")), changed(-1.0, ("loss", "behind"))],
        (true, false, _) => [graded_as(true, "right"), graded_as(false, "wrong")],
        (false, _, true) => {
            let words = |nats| format!("{} nats per token", fixed(nats, 3));
            by_end(&items, nats_per_token, ["the most likely text", "the least likely text"], words)
        }
        (false, _, false) => {
            let words = |speed| format!("{} tokens/s over all decoders", significant(speed));
            by_end(&items, speed, ["the fastest item", "the slowest item"], words)
        }
    };
    let mut picks: Vec<Pick> = Vec::new();
    for pick in first.into_iter().chain(ends.into_iter().flatten()) {
        match picks.iter_mut().find(|shown| shown.item == pick.item) {
            Some(shown) => {
                shown.why = format!("{}; {}", shown.why, pick.why);
                shown.about.extend(pick.about);
            }
            None => picks.push(pick),
        }
    }
    picks
}

/// The records of an item, one per decoder.
type ItemRecords<'r> = Vec<&'r Record>;

/// The items of a task, in order of first appearance.
fn items<'r>(task: &str, records: &'r [Record]) -> Vec<ItemRecords<'r>> {
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    let mut items: Vec<ItemRecords<'r>> = Vec::new();
    for record in records.iter().filter(|record| record.task == task) {
        let place = *places.entry(&record.item).or_insert(items.len());
        if place == items.len() {
            items.push(Vec::new());
        }
        items[place].push(record);
    }
    items
}

/// Mean over decoders.
fn points(item: &ItemRecords<'_>) -> f64 {
    item.iter().map(|record| record.earned()).sum::<f64>() / item.len() as f64
}

/// The decoders ahead of the baseline (`sign` 1) or behind it (−1) with their distance, the furthest
/// first.
fn changes<'r>(item: &ItemRecords<'r>, baseline: &str, sign: f64) -> Vec<(f64, &'r str)> {
    let Some(base) = item.iter().find(|record| record.decoder == baseline) else {
        return Vec::new();
    };
    let change =
        |record: &&'r Record| (sign * (record.earned() - base.earned()), record.decoder.as_str());
    let mut changes: Vec<(f64, &str)> =
        item.iter().map(change).filter(|(change, _)| *change > 0.0).collect();
    changes.sort_by(|a, b| b.0.total_cmp(&a.0));
    changes
}

/// Mean ln π per token of given texts, over all decoders.
fn nats_per_token(item: &ItemRecords<'_>) -> Option<f64> {
    let read = || item.iter().filter_map(|r| r.scored.as_ref()).filter(|s| s.bytes > 0);
    let tokens: u64 = read().map(|scored| scored.tokens).sum();
    let nats = |it: &Option<f64>| it.unwrap_or(f64::NEG_INFINITY);
    let total: f64 = read().flat_map(|scored| scored.log_probs.iter().map(nats)).sum();
    (tokens > 0).then(|| total / tokens as f64)
}

fn speed(item: &ItemRecords<'_>) -> Option<f64> {
    let tokens: u64 = item.iter().map(|record| record.new_tokens).sum();
    let seconds: f64 = item.iter().map(|record| record.seconds).sum();
    (tokens > 0 && seconds > 0.0).then(|| tokens as f64 / seconds)
}

fn reason(item: &ItemRecords<'_>, why: &str, about: &[&str]) -> Pick {
    let Record { task, item, .. } = item[0];
    let about = about.iter().map(|name| (*name).to_owned()).collect();
    Pick { task: task.clone(), item: item.clone(), why: why.to_owned(), about }
}

/// The items on which a decoder is furthest from the baseline; ties: the item with the most such
/// decoders.
fn by_change(
    items: &[ItemRecords<'_>],
    (baseline, sign): (&str, f64),
    (kind, side): (&str, &str),
    each: usize,
) -> Vec<Pick> {
    let mut found: Vec<(&ItemRecords<'_>, Vec<(f64, &str)>)> = items
        .iter()
        .map(|item| (item, changes(item, baseline, sign)))
        .filter(|(_, it)| !it.is_empty())
        .collect();
    let key = |it: &[(f64, &str)]| (it[0].0, it.iter().map(|(change, _)| change).sum::<f64>());
    // A stable sort: equals stay in the order of the file.
    found.sort_by(|(_, a), (_, b)| {
        let ((a_most, a_sum), (b_most, b_sum)) = (key(a), key(b));
        b_most.total_cmp(&a_most).then(b_sum.total_cmp(&a_sum))
    });
    let pick = |(item, changes): &(&ItemRecords<'_>, Vec<(f64, &str)>)| {
        let names: Vec<&str> = changes.iter().map(|(_, name)| *name).collect();
        let named = names.iter().take(NAMED).map(|name| format!("“{name}”"));
        let mut words = named.collect::<Vec<_>>().join(", ");
        if names.len() > NAMED {
            words += &format!(" and {} more", names.len() - NAMED);
        }
        let are = if names.len() == 1 { "is" } else { "are" };
        let by = match item.iter().any(|record| record.points.is_some()) {
            true => format!(" by up to {} points", fixed(100.0 * changes[0].0, 1)),
            false => String::new(),
        };
        reason(item, &format!("{kind}: {words} {are} {side} the baseline{by}"), &names)
    };
    found.iter().take(each).map(pick).collect()
}

/// The items with the largest and the smallest `value`; none if there are no two.
fn by_end(
    items: &[ItemRecords<'_>],
    value: impl Fn(&ItemRecords<'_>) -> Option<f64>,
    why: [&str; 2],
    words: impl Fn(f64) -> String,
) -> [Vec<Pick>; 2] {
    let mut found: Vec<(&ItemRecords<'_>, f64)> =
        items.iter().filter_map(|item| Some((item, value(item)?))).collect();
    found.sort_by(|a, b| b.1.total_cmp(&a.1));
    let ends = if found.len() > 1 { [found.first(), found.last()] } else { [None, None] };
    let pick = |(end, why): (Option<&(&ItemRecords<'_>, f64)>, &str)| {
        end.map(|(item, value)| reason(item, &format!("{why}: {}", words(*value)), &[]))
    };
    let [most, least] = ends;
    [(most, why[0]), (least, why[1])].map(|end| pick(end).into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::sample_summary as summaries;
    use crate::analysis::summary::{Difference, Likelihood};
    use crate::run::record::{Scored, sample};

    /// A run of the decoders `base`, “x” and “y” on one task.
    fn summary(graded: bool, compared: bool) -> Summary {
        let mut summary = summaries::summary();
        summary.results.truncate(3);
        summary.baseline = "base".to_owned();
        for (result, name) in summary.results.iter_mut().zip(["base", "x", "y"]) {
            (result.decoder, result.task) = (name.to_owned(), "toy".to_owned());
            result.difference = None;
            if !graded {
                result.accuracy = f64::NAN;
            }
        }
        if compared {
            summary.results[1].difference = Some(Difference::of(&[(1.0, 0.0)], 1));
        }
        summary
    }

    /// Records of the decoders base, x and y, which are right where a row says so.
    fn graded(rows: &[[bool; 3]]) -> Vec<Record> {
        let item = |(item, row): (usize, &[bool; 3])| {
            let each = ["base", "x", "y"].into_iter().zip(*row);
            each.map(|(name, right)| sample(name, &item.to_string(), right)).collect::<Vec<_>>()
        };
        rows.iter().enumerate().flat_map(item).collect()
    }

    /// The items shown, with the reasons.
    fn shown(summary: &Summary, records: &[Record]) -> Vec<String> {
        let all = picks(summary, records).into_iter();
        all.map(|pick| format!("{}: {}", pick.item, pick.why)).collect()
    }

    #[test]
    fn gains_and_losses_over_the_baseline_come_after_the_first_item() {
        let (yes, no) = (true, false);
        let rows = [
            [yes, yes, yes],
            [no, yes, no],
            [no, yes, yes],
            [no, no, yes],
            [yes, no, yes],
            [no, no, no],
        ];
        let wanted = [
            "0: the first item",
            "2: gain: “x”, “y” are ahead of the baseline",
            "1: gain: “x” is ahead of the baseline",
            "4: loss: “x” is behind the baseline",
        ];
        assert_eq!(shown(&summary(true, true), &graded(&rows)), wanted);
        assert_eq!(picks(&summary(true, true), &graded(&rows))[1].about, ["x", "y"]);
        let both = ["0: the first item; loss: “x”, “y” are behind the baseline"];
        assert_eq!(shown(&summary(true, true), &graded(&[[yes, no, no]])), both);
    }

    #[test]
    fn points_decide_by_how_much() {
        let mut records = graded(&[[false; 3], [false; 3]]);
        for (record, points) in records.iter_mut().zip([0.2, 0.3, 0.1, 0.2, 0.75, 0.2]) {
            record.points = Some(points);
        }
        let found = shown(&summary(true, true), &records);
        assert_eq!(found[1], "1: gain: “x” is ahead of the baseline by up to 55.0 points");
        assert_eq!(found[0].matches("loss: “y”").count(), 1);
    }

    #[test]
    fn a_single_decoder_shows_right_and_wrong_items() {
        let records = (0..).zip([true, true, true, false]);
        let records = records.map(|(item, right)| sample("base", &format!("{item}"), right));
        let found = shown(&summary(true, false), &records.collect::<Vec<_>>());
        assert_eq!(found, ["0: the first item; right", "1: right", "3: wrong"]);
    }

    #[test]
    fn speed_and_likelihood_show_their_ends() {
        let mut records = graded(&[[false; 3], [false; 3], [false; 3]]);
        for (place, record) in records.iter_mut().enumerate() {
            record.seconds = [0.5, 0.25, 1.0][place / 3];
        }
        let found = shown(&summary(false, false), &records);
        assert_eq!(found[1], "1: the fastest item: 8.0 tokens/s over all decoders");
        assert_eq!(found[2], "2: the slowest item: 2.0 tokens/s over all decoders");

        let mut read = summary(false, false);
        let likelihood = Likelihood { tokens: 1, perplexity: 2.0, bits_per_byte: 1.0 };
        read.results[0].likelihood = Some(likelihood);
        for (place, record) in records.iter_mut().enumerate() {
            let log_probs = vec![Some([-3.0, -1.0, -9.0][place / 3])];
            record.scored = Some(Scored { log_probs, tokens: 2, bytes: 5 });
        }
        let found = shown(&read, &records);
        assert_eq!(found[1], "1: the most likely text: −0.500 nats per token");
        assert_eq!(found[2], "2: the least likely text: −4.500 nats per token");
    }
}
