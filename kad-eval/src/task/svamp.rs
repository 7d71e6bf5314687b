//! SVAMP (Patel et al., arXiv 2103.07191): word problems that differ in the question asked.

use anyhow::{Context, Result};
use serde::Deserialize;

use super::gsm8k::step_by_step;
use super::{
    Extractor, Grading, HubFiles, Item, LoadOptions, LoadedItems, SolvedItem, TaskKind, TaskSet,
};

pub(super) static KIND: TaskKind = TaskKind {
    name: "svamp",
    measures: "word problems that differ only in the question",
    metric: "accuracy",
    items: 1000,
    file: Some("SVAMP.json"),
    examples: None,
    hub: Some(HubFiles { path: "ChilleD/SVAMP/data", splits: &["train", "test"] }),
    licence: "MIT",
    source: "github.com/arkilpatel/SVAMP",
    keys: "",
    sets: |_| Ok(vec![TaskSet::new((), Grading::Answer(Extractor::Number), load)]),
};

/// The 1,000 items in the order of their numbers, which is that of the authors' file. The hub has
/// 700 of them in a train split and 300 in a test split.
fn load((): &(), options: LoadOptions<'_>) -> Result<LoadedItems> {
    let mut loaded = KIND.load(options, item)?;
    loaded.items.sort_by_key(|solved| {
        // `chal-17`
        let number = solved.item.id.rsplit('-').next().and_then(|number| number.parse().ok());
        number.unwrap_or(u64::MAX)
    });
    Ok(loaded)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SvampRow {
    #[serde(rename = "ID")]
    id: String,
    body: String,
    question: String,
    equation: String,
    answer: SvampAnswer,
    #[serde(rename = "Type")]
    kind: String,
}

/// A number in the authors' file, its text on the hub.
#[derive(Deserialize)]
#[serde(untagged, expecting = "`Answer` is neither a number nor a text")]
enum SvampAnswer {
    Number(f64),
    Text(String),
}

fn item(_: &str, _: usize, row: SvampRow) -> Result<SolvedItem> {
    let answer = match row.answer {
        SvampAnswer::Number(number) => number.to_string(),
        SvampAnswer::Text(text) => text,
    };
    let gold = Extractor::Number.gold(&answer);
    let gold = gold.with_context(|| format!("the answer {answer:?} is not a number"))?;
    let reply = format!("{} = {gold}. The answer is {gold}.", sum(&row.equation));
    let item = Item {
        id: row.id,
        turns: vec![format!("{} {}", row.body.trim(), row.question.trim())],
        gold,
        group: Some(row.kind),
        opening: step_by_step(),
        ..Item::default()
    };
    Ok(SolvedItem { item, reply })
}

/// `( 3.0 - 0.5 )` as `3 - 0.5`: canonical numbers, without parentheses around the whole.
fn sum(equation: &str) -> String {
    let number = |text: &str| Extractor::Number.gold(text).unwrap_or_default();
    let words = equation.split_whitespace();
    let words =
        words.map(|word| if word.parse::<f64>().is_ok() { number(word) } else { word.to_owned() });
    let sum = words.collect::<Vec<String>>().join(" ");
    let bare = sum.strip_prefix("( ").and_then(|rest| rest.strip_suffix(" )"));
    bare.filter(|inside| !inside.contains(['(', ')'])).unwrap_or(&sum).to_owned()
}
