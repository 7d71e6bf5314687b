//! Word problems of the shipped small world (`experiments/nano`).

use std::path::PathBuf;

use anyhow::{Result, bail};
use kad_backends::Source;
use serde::Deserialize;

use super::{Item, Task, extract, read_lines};

#[derive(Deserialize)]
struct Line {
    id: String,
    question: String,
    answer: String,
}

/// The problems of `split` (`validation` or `test`).
pub(super) fn load(split: &str) -> Result<Task> {
    let lines: Vec<(usize, Line)> = read_lines(&file(split)?)?;
    let items = lines.into_iter().map(|(_, line)| Item {
        id: line.id,
        prompt: line.question,
        gold: line.answer,
    });
    Ok(Task {
        name: String::new(),
        system: None,
        items: items.collect(),
        extract: extract::stated_answer,
    })
}

/// The problems lie beside the models: `data` and `models` are neighbours.
fn file(split: &str) -> Result<PathBuf> {
    let Some(name) = kad_backends::nano_models().into_iter().next() else {
        bail!("no nano models are found: run inside a checkout of the project, or set KAD_NANO");
    };
    let model = Source::Nano(name).resolve(&|_| ())?;
    let Some(nano) = model.ancestors().nth(2) else {
        bail!("{} has no folder above it", model.display());
    };
    Ok(nano.join("data").join(format!("{split}.jsonl")))
}
