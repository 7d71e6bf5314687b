//! Word problems of the shipped small world (`experiments/nano`).

use std::path::PathBuf;

use anyhow::{Result, bail};
use kad_backends::Source;
use serde::Deserialize;

use super::{Extractor, Frame, Grading, Item, Problem, Set, files};

#[derive(Deserialize)]
struct Line {
    id: String,
    question: String,
    answer: String,
}

/// The problems of `split` (`validation` or `test`).
pub(super) fn load(split: &str) -> Result<Set> {
    let path = file(split)?;
    let text = files::text(&path)?;
    let problem = |line: Line| {
        let reply = format!("The answer is {}.", line.answer);
        let (id, turns, gold) = (line.id, vec![line.question], line.answer);
        Problem { item: Item { id, turns, gold, ..Item::default() }, reply }
    };
    let lines = files::lines(&path, &text, files::Maker::Publisher)?;
    Ok(Set {
        problems: lines.into_iter().map(|(_, line)| problem(line)).collect(),
        examples: None,
        grading: Grading::Answer(Extractor::StatedNumber),
        frame: Frame::QUESTION,
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
