//! Agreement of the answer extractors with labels made by people.
//!
//! ```sh
//! cargo run -p kad-eval --example extractor_agreement -- experiments/holdout/answers.jsonl
//! ```
//!
//! Every line of the file is a text with its label: `{"extractor": "number", "options": 0, "label":
//! "5", "text": "So the answer is 5.", "by": "a model", "item": "gsm8k 3", "cut": false}`. `label` is
//! null if the text has no answer; `cut` is true if the text was cut off. `--each` shows every
//! disagreement.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::error::Error;
use std::fs;
use std::process::ExitCode;

use kad_eval::stats::wilson;
use kad_eval::task::Extractor;
use serde::Deserialize;

#[derive(Deserialize)]
struct Labelled {
    by: String,
    item: String,
    extractor: String,
    /// Options of a multiple-choice question; 0 for other questions.
    options: usize,
    cut: bool,
    label: Option<String>,
    text: String,
}

/// Labels and extracted answers compared, by kind of outcome.
#[derive(Default)]
struct Agreement {
    same: u64,
    both_none: u64,
    missed: u64,
    other: u64,
    /// The extractor reads an answer where the label has none.
    invented: u64,
    /// Those among `invented` whose text was cut off.
    invented_in_cut: u64,
}

impl Agreement {
    fn add(&mut self, item: &Labelled, label: Option<&str>, found: Option<&str>) {
        match (label, found) {
            (Some(label), Some(found)) if label == found => self.same += 1,
            (None, None) => self.both_none += 1,
            (Some(_), None) => self.missed += 1,
            (Some(_), Some(_)) => self.other += 1,
            (None, Some(_)) => {
                self.invented += 1;
                self.invented_in_cut += u64::from(item.cut);
            }
        }
    }

    fn print(&self) {
        let Self { same, both_none, missed, other, invented, invented_in_cut } = self;
        let (agreed, all) = (same + both_none, same + both_none + missed + other + invented);
        let interval = wilson(agreed, all);
        println!("agreement           {agreed} of {all}, 95 % interval of the share");
        println!("                    {:.3} to {:.3}", interval.low, interval.high);
        println!("  same answer       {same}");
        println!("  both without      {both_none}");
        println!("answer missed       {missed}");
        println!("another answer      {other}");
        println!("no answer in label  {invented}, of them in cut-off texts {invented_in_cut}");
    }
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (each, files): (Vec<_>, Vec<_>) = arguments.iter().partition(|word| *word == "--each");
    let [file] = files[..] else {
        eprintln!("usage: extractor_agreement FILE.jsonl [--each]");
        return Ok(ExitCode::from(2));
    };
    let text = fs::read_to_string(file).map_err(|error| format!("cannot read {file}: {error}"))?;
    let mut agreement = Agreement::default();
    for (line, number) in text.lines().zip(1..) {
        let item: Labelled = serde_json::from_str(line)
            .map_err(|error| format!("{file} line {number} is no labelled text: {error}"))?;
        let extractor = Extractor::named(&item.extractor)
            .ok_or_else(|| format!("{file} line {number}: no extractor `{}`", item.extractor))?;
        // A person's spelling is not the canonical one.
        let label = match &item.label {
            None => None,
            Some(label) => Some(extractor.gold(label).ok_or_else(|| {
                format!("{file} line {number}: the label `{label}` is no {} answer", item.extractor)
            })?),
        };
        let found = extractor.read(&item.text, item.options);
        if !each.is_empty() && label != found {
            println!("{}, {}: label {label:?}, extracted {found:?}", item.item, item.by);
        }
        agreement.add(&item, label.as_deref(), found.as_deref());
    }
    agreement.print();
    Ok(ExitCode::SUCCESS)
}
