//! The files of a run that are functions of its records, and the page of a run from its folder.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::examples::{Pick, picks};
use super::repeat::Repeat;
use super::{Example, Expected, Report, html};
use crate::analysis::summary::Summary;
use crate::report::table;
use crate::run::record::Record;
use crate::run::{RunFile, RunFolder, StoredRun};

/// The file [`RunFile::ReportData`]: what no other file of the folder says.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// Of the items that are shown.
    prompts: Vec<Prompt>,
    /// What the profiles of planned chains said.
    expected: Expected,
}

/// What an item asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Prompt {
    task: String,
    item: String,
    text: String,
}

/// Writes everything that is made of a run's records beside them. `prompt` says what an item of a
/// task asked.
///
/// # Errors
/// If the records cannot be read again (a run does not keep their texts), or the disk is full.
pub(crate) fn write(
    folder: &RunFolder,
    (summary, records): (&Summary, &[Record]),
    prompt: &dyn Fn(&str, &str) -> Option<String>,
    expected: Expected,
) -> Result<()> {
    let of = |pick: Pick| {
        let text = prompt(&pick.task, &pick.item)?;
        Some(Prompt { task: pick.task, item: pick.item, text })
    };
    let prompts = picks(summary, records).into_iter().filter_map(of).collect();
    folder.write_json(RunFile::Summary, summary)?;
    folder.write(RunFile::SummaryMarkdown, &(table::markdown(summary) + "\n"))?;
    folder.write(RunFile::SummaryCsv, &table::csv(&[("", summary)])?)?;
    folder.write_json(RunFile::ReportData, &Kept { prompts, expected })?;
    folder.write(RunFile::ReportPage, &page(folder.stored(), summary, records)?)
}

/// The page of a run; `records` need no texts.
///
/// # Errors
/// If a file of the folder cannot be read, or a chart cannot be drawn.
pub(crate) fn page(run: &StoredRun, summary: &Summary, records: &[Record]) -> Result<String> {
    // An interrupted run may not have written it yet.
    let kept: Kept = run.read(RunFile::ReportData)?.unwrap_or_default();
    let examples = examples(run, picks(summary, records), &kept)?;
    let repeat = Repeat::of(run)?;
    html(&Report { summary, examples: &examples, expected: &kept.expected, repeat: &repeat })
}

/// The texts of the picks, read again.
fn examples(run: &StoredRun, picks: Vec<Pick>, kept: &Kept) -> Result<Vec<Example>> {
    let mut examples: Vec<Example> = picks.into_iter().map(Example::without_texts).collect();
    for example in &mut examples {
        let own = |it: &&Prompt| (&it.task, &it.item) == (&example.task, &example.item);
        example.prompt = kept.prompts.iter().find(own).map(|prompt| prompt.text.clone());
    }
    let place = |r: &Record| examples.iter().position(|it| it.task == r.task && it.item == r.item);
    let mut found = Vec::new();
    run.each_record(&|record| place(record).is_some(), &mut |record| {
        found.extend(place(&record).map(|place| (place, record)));
        Ok(())
    })?;
    found.into_iter().for_each(|(place, record)| examples[place].records.push(record));
    Ok(examples)
}
