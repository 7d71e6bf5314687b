//! Warnings of a run about its own results.

use std::collections::BTreeMap;

use kad_core::decode::Stop;
use kad_polybasic::LengthChange;

use crate::config::Experiment;
use crate::forecast;
use crate::models::Models;
use crate::run::record::Record;
use crate::run::{Finished, PROMPT_TOO_LONG};
use crate::task::{Grading, Task};

/// All warnings except failed items, the most far-reaching first.
pub(super) fn warnings(
    experiment: &Experiment,
    (models, left_out): (&Models, &[String]),
    tasks: &[Task],
    records: &[Record],
) -> Vec<String> {
    let mut said = left_out.to_vec();
    said.extend(models.values().filter(|it| it.details.distribution_depends_on_pass).map(|model| {
        format!(
            "{} rounds activations pass by pass: a chain that verifies with it writes texts of nearly, \
             not exactly, its distribution (as a draft it is fine)",
            model.details.source
        )
    }));
    for task in tasks {
        said.extend(of_task(task, experiment, records));
    }
    said.extend(experiment.decoders.iter().filter_map(|plan| adapted(&plan.name, records)));
    said
}

/// Warns of prompts longer than the context length, before anything is decoded.
pub(crate) fn too_long(experiment: &Experiment, models: &Models, tasks: &[Task]) -> Vec<String> {
    let of_task = |task: &Task| {
        let counts = forecast::too_long(experiment, models, task);
        let affected = experiment.decoders.iter().zip(counts).filter(|(_, count)| *count > 0);
        let affected = affected.map(|(plan, count)| (plan.name.as_str(), count, task.items.len()));
        let affected: Vec<_> = affected.collect();
        (!affected.is_empty()).then(|| sentence(task, Defect::TooLong, &affected))
    };
    tasks.iter().filter_map(of_task).collect()
}

/// Warns of items that failed, which are missing in the results.
pub(super) fn failed(finished: &Finished) -> Option<String> {
    let first = finished.failures.first()?;
    let failed = finished.failures.len();
    Some(format!(
        "{failed} items × decoders failed and are left out of all results; the same command tries \
         them again. The first failure: {first:#}"
    ))
}

/// A reason to distrust the results of a decoder on a task.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Defect {
    TooLong,
    CutOff,
    NoAnswer,
}

/// Warns of prompts that do not fit, texts that are cut off, and extractors that find no answer at
/// all. Decoders with the same cause share a sentence.
fn of_task(task: &Task, experiment: &Experiment, records: &[Record]) -> Vec<String> {
    let mut groups: BTreeMap<Defect, Vec<Affected<'_>>> = BTreeMap::new();
    for plan in &experiment.decoders {
        let own = |r: &&Record| r.task == task.name && r.decoder == plan.name;
        let own: Vec<&Record> = records.iter().filter(own).collect();
        for (cause, count, of) in causes(task, &own) {
            groups.entry(cause).or_default().push((&plan.name, count, of));
        }
    }
    groups.into_iter().map(|(cause, group)| sentence(task, cause, &group)).collect()
}

/// Each cause with its number of items and the number of all items.
fn causes(task: &Task, own: &[&Record]) -> Vec<(Defect, usize, usize)> {
    let mut found = Vec::new();
    let all = own.len();
    let long = own.iter().filter(|record| record.stop == PROMPT_TOO_LONG).count();
    if long > 0 {
        found.push((Defect::TooLong, long, all));
    }
    if !matches!(task.grading, Grading::Answer(_)) {
        return found;
    }
    let texts = all - long;
    let at_limit = Stop::MaxTokens.to_string();
    let cut = own.iter().filter(|record| record.stop == at_limit).count();
    if 2 * cut > texts {
        found.push((Defect::CutOff, cut, texts));
    }
    if texts > 0 && own.iter().all(|record| record.answer.is_none()) {
        found.push((Defect::NoAnswer, texts, texts));
    }
    found
}

/// A decoder, the number of its items with one cause, and of how many.
type Affected<'p> = (&'p str, usize, usize);

fn sentence(task: &Task, cause: Defect, affected: &[Affected<'_>]) -> String {
    let names: Vec<&str> = affected.iter().map(|(name, ..)| *name).collect();
    let (name, decoders) = (&task.name, named(&names));
    let count = range(affected.iter().map(|(_, count, _)| *count));
    let of = range(affected.iter().map(|(.., of)| *of));
    match (cause, &task.grading) {
        (Defect::TooLong, _) => format!(
            "{name}: prompts too long for the context: {count} of {of} ({decoders}); these items have \
             no answer"
        ),
        (Defect::NoAnswer, Grading::Answer(extractor)) => format!(
            "{name}: texts without an answer that `{extractor}` can read: {of} of {of} ({decoders}); \
             read some in report.html; if they contain answers, the extractor reads another form \
             than the prompt asks for; if they are cut off, raise `max_new_tokens`"
        ),
        (Defect::CutOff | Defect::NoAnswer, _) => format!(
            "{name}: texts cut off at `max_new_tokens`: {count} of {of} ({decoders}); in a \
             truncated text without a stated answer, the extractor reads the last number or letter"
        ),
    }
}

fn range(counts: impl Iterator<Item = usize> + Clone) -> String {
    let (least, most) = (counts.clone().min().unwrap_or(0), counts.max().unwrap_or(0));
    if least == most { most.to_string() } else { format!("{least} to {most}") }
}

/// Number of decoders that are named; the others are counted.
const NAMED: usize = 4;

fn named(decoders: &[&str]) -> String {
    let names = decoders[..decoders.len().min(NAMED)].join(", ");
    match decoders.len().saturating_sub(NAMED) {
        0 => names,
        more => format!("{names} … and {more} more"),
    }
}

/// The number of items in which an adaptive decoder changed its lengths.
fn adapted(decoder: &str, records: &[Record]) -> Option<String> {
    let own = || records.iter().filter(|record| record.decoder == decoder);
    let changed = own().filter(|record| !record.remarks.is_empty()).count();
    let plain =
        |record: &&Record| record.remarks.iter().any(|r| r.contains(LengthChange::TO_PLAIN));
    let plainly = own().filter(plain).count();
    (changed > 0).then(|| {
        format!(
            "`{decoder}` adapted its lengths in {changed} of {} items and gave up speculation for a \
             while in {plainly}: see `remarks` in records.jsonl",
            own().count()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::record::sample;
    use crate::task::PromptFormat;

    #[test]
    fn adapted_items_are_counted_with_those_decoded_plainly() {
        let change = |lengths: &[usize]| {
            let (seconds_per_token, plain_seconds_per_token) = (0.001, 0.002);
            let lengths = lengths.to_vec();
            LengthChange { at: 3, lengths, seconds_per_token, plain_seconds_per_token }.to_string()
        };
        let record = |remarks| Record { remarks, ..sample("d", "item", true) };
        let mut records = vec![
            record(vec![]),
            record(vec![change(&[4, 2])]),
            record(vec![change(&[4]), change(&[])]),
        ];
        records.push(Record { decoder: "other".to_owned(), ..records[2].clone() });
        let said = adapted("d", &records).unwrap();
        assert!(said.contains("in 2 of 3 items") && said.contains("in 1:"), "{said}");
        assert_eq!(adapted("d", &records[..1]), None);
    }

    fn experiment(decoders: usize) -> Experiment {
        let decoder = |place| {
            format!("[[decoders]]\nname = \"d{place}\"\nkind = \"single\"\nmodel = \"m\"\n")
        };
        let text = format!(
            "name = \"x\"\n[models.m]\nsource = \"nano:draft\"\n{}[[tasks]]\nkind = \"nano\"\n",
            (0..decoders).map(decoder).collect::<String>()
        );
        crate::config::read("x.toml", &text).unwrap()
    }

    /// Three decoders with three or four of four prompts too long share one warning; decoders
    /// without long prompts have none.
    #[test]
    fn decoders_with_one_cause_share_a_line() {
        let (name, grading) = ("arc".to_owned(), Grading::Options);
        let task = Task { name, items: Vec::new(), grading, format: PromptFormat::Chat };
        let record = |decoder: &str, item: usize, long: bool| {
            let stop = if long { PROMPT_TOO_LONG } else { "end" };
            let (task, stop) = ("arc".to_owned(), stop.to_owned());
            Record { task, stop, ..sample(decoder, &item.to_string(), true) }
        };
        let mut records: Vec<Record> = Vec::new();
        for (decoder, long) in [("d0", 4), ("d1", 3), ("d2", 4), ("d3", 0)] {
            records.extend((0..4).map(|item| record(decoder, item, item < long)));
        }
        let said = of_task(&task, &experiment(4), &records);
        let wanted = "arc: prompts too long for the context: 3 to 4 of 4 (d0, d1, d2); these items \
                      have no answer";
        assert_eq!(said, [wanted]);
    }

    #[test]
    fn a_handful_of_decoders_is_named_and_the_others_are_counted() {
        assert_eq!(named(&["a"]), "a");
        assert_eq!(named(&["a", "b", "c", "d"]), "a, b, c, d");
        let many: Vec<String> = (0..41).map(|place| format!("d{place}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(named(&many), "d0, d1, d2, d3 … and 37 more");
    }
}
