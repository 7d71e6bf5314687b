//! Word problems of the small world that the nano models are trained on (`experiments/nano`).

use std::path::PathBuf;

use anyhow::{Result, bail};
use kad_backends::Source;
use serde::Deserialize;
use serde_json::json;

use super::data::{self, Author};
use super::{Extractor, Grading, Item, LoadedItems, SolvedItem, TaskKind, TaskSet, kind};

pub(super) static KIND: TaskKind = TaskKind {
    name: "nano",
    measures: "word problems of the shipped small world",
    metric: "accuracy",
    items: 2100,
    file: None,
    examples: None,
    hub: None,
    licence: "MIT or Apache-2.0",
    source: "kad itself (experiments/nano/data)",
    keys: "split = \"validation\" | \"test\"",
    sets: |table| {
        let splits = [("validation", "validation"), ("test", "test")];
        let split = table.get("split", |value| value.one_of("split", &splits))?;
        let split = split.unwrap_or("validation");
        let grading = Grading::Answer(Extractor::StatedNumber);
        let set = TaskSet::new(json!({ "split": split }), grading, move |_, _| load(split));
        Ok(vec![TaskSet { part: Some(split.to_owned()), ..set }])
    },
};

#[derive(Deserialize)]
struct NanoRow {
    id: String,
    question: String,
    answer: String,
}

fn load(split: &str) -> Result<LoadedItems> {
    let path = file(split)?;
    let rows = data::lines(&path, &data::text(&path)?, Author::Publisher)?;
    let items = kind::solved(rows, |_, row: NanoRow| {
        let reply = format!("The answer is {}.", row.answer);
        let (id, turns, gold) = (row.id, vec![row.question], row.answer);
        Ok(SolvedItem { item: Item { id, turns, gold, ..Item::default() }, reply })
    })?;
    Ok(LoadedItems { items, examples: None })
}

/// The file of a split: the folder `data` lies beside the folder of the nano models.
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
