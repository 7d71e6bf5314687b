//! The files of a run that are computed from its records, and the page of a run from its folder.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::examples::{Pick, picks};
use super::repeat::Repeat;
use super::{Example, Expected, run_page};
use crate::analysis::summary::Summary;
use crate::report::table;
use crate::run::record::Record;
use crate::run::{RunFile, RunFolder, StoredRun};

/// The file [`RunFile::ReportData`]: data of a page that no other file of the folder holds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct PageData {
    /// Prompts of the items shown.
    prompts: Vec<PickedPrompt>,
    /// Predictions for planned chains.
    expected: Expected,
}

/// The prompt of an item.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct PickedPrompt {
    task: String,
    item: String,
    text: String,
}

/// Writes summary, tables, page data and page of a run. `prompt` renders the prompt of an item of a
/// task.
///
/// # Errors
/// Fails if the records cannot be read again (their texts are not in memory), or the disk is full.
pub(crate) fn write(
    folder: &RunFolder,
    (summary, records): (&Summary, &[Record]),
    prompt: &dyn Fn(&str, &str) -> Option<String>,
    expected: Expected,
) -> Result<()> {
    let of = |pick: Pick| {
        let text = prompt(&pick.task, &pick.item)?;
        Some(PickedPrompt { task: pick.task, item: pick.item, text })
    };
    let prompts = picks(summary, records).into_iter().filter_map(of).collect();
    folder.write_json(RunFile::Summary, summary)?;
    folder.write(RunFile::SummaryMarkdown, &(table::markdown(summary) + "\n"))?;
    folder.write(RunFile::SummaryCsv, &table::csv(&[("", summary)])?)?;
    folder.write_json(RunFile::ReportData, &PageData { prompts, expected })?;
    folder.write(RunFile::ReportPage, &page(folder.stored(), summary, records)?)
}

/// The page of a run; `records` need no texts.
///
/// # Errors
/// Fails if a file of the folder cannot be read, or a chart cannot be drawn.
pub(crate) fn page(run: &StoredRun, summary: &Summary, records: &[Record]) -> Result<String> {
    // Without the file, as after a crash, the page has no prompts.
    let data: PageData = run.read(RunFile::ReportData)?.unwrap_or_default();
    let examples = examples(run, picks(summary, records), &data.prompts)?;
    run_page::html(summary, &examples, &data.expected, &Repeat::of(run)?)
}

/// The picks with their prompts and, read again, their records.
fn examples(run: &StoredRun, picks: Vec<Pick>, prompts: &[PickedPrompt]) -> Result<Vec<Example>> {
    let example = |pick: Pick| {
        let own = |it: &&PickedPrompt| (&it.task, &it.item) == (&pick.task, &pick.item);
        let prompt = prompts.iter().find(own).map(|prompt| prompt.text.clone());
        Example { pick, prompt, records: Vec::new() }
    };
    let mut examples: Vec<Example> = picks.into_iter().map(example).collect();
    let place = |r: &Record| {
        let own = |it: &Example| (&it.pick.task, &it.pick.item) == (&r.task, &r.item);
        examples.iter().position(own)
    };
    let mut found = Vec::new();
    run.each_record(&|record| place(record).is_some(), &mut |record| {
        found.extend(place(&record).map(|place| (place, record)));
        Ok(())
    })?;
    found.into_iter().for_each(|(place, record)| examples[place].records.push(record));
    Ok(examples)
}
