//! From a `[[tasks]]` entry to the tasks that it describes.

use std::collections::HashMap;

use super::{
    By, Choosing, DecoderKind, DecoderPlan, Format, JsonlPlan, MmluPlan, TaskPlan, TaskSet,
    TextPlan, Truth, UserFile,
};
use crate::config::ConfigError;
use crate::config::read::{known, visible};
use crate::config::table::{Source, Table, Value};
use crate::task::{CATALOGUE, Extractor, MT_BENCH_CATEGORIES, SPEC_BENCH_PARTS, SUBJECTS};

type Result<T> = std::result::Result<T, ConfigError>;

/// The tasks of an experiment; a list of parts or subjects makes several.
pub(in crate::config) fn tasks(
    value: &Value<'_>,
    decoders: &[DecoderPlan],
) -> Result<Vec<TaskPlan>> {
    let mut tasks: Vec<TaskPlan> = Vec::new();
    let entries = value.list()?;
    let entries = entries.iter().map(|entry| entry.table("[[tasks]]"));
    let entries = entries.map(|table| table.and_then(|it| Ok((it.required("kind")?, it))));
    let entries = entries.collect::<Result<Vec<_>>>()?;
    let mut called: HashMap<String, &Value<'_>> = HashMap::new();
    for (kind, table) in &entries {
        for task in task(table, kind)? {
            if let Some(first) = called.insert(task.name(), kind) {
                let help = "give one of them another `name`";
                let message = format!("the task {} stands twice", task.name());
                return Err(kind.twice(first, &message, help));
            }
            if task.scores_distribution() {
                check_distributions(kind, &task, decoders)?;
            }
            tasks.push(task);
        }
    }
    if tasks.is_empty() {
        return Err(value.error("no tasks", Some("add a `[[tasks]]` entry".into())));
    }
    Ok(tasks)
}

/// The task of this kind without any other key.
///
/// # Errors
/// If the kind is unknown, or cannot do without.
pub(crate) fn default_task(kind: &str) -> Result<TaskPlan> {
    let text = format!("kind = \"{kind}\"");
    let source = Source { file: "the command line".to_owned(), text };
    let parsed = toml::de::DeTable::parse(&source.text)
        .map_err(|error| source.error(error.span().unwrap_or(0..0), error.message(), None))?;
    let table = Table::new(&source, "[[tasks]]", parsed.get_ref(), 0..source.text.len());
    let found = task(&table, &table.required("kind")?)?;
    found.into_iter().next().ok_or_else(|| table.error("no task", None))
}

/// At temperature 0 a distribution gives all of its mass to one token, and options have none.
fn check_distributions(kind: &Value<'_>, task: &TaskPlan, decoders: &[DecoderPlan]) -> Result<()> {
    let greedy = |plan: &&DecoderPlan| match &plan.kind {
        DecoderKind::Chain(chain) => chain.target.sampling.temperature == 0.0,
        _ => plan.sampling.temperature == 0.0,
    };
    let Some(plan) = decoders.iter().find(greedy) else {
        return Ok(());
    };
    let message = format!(
        "{} asks for probabilities, and at temperature 0 the distribution of `{}` has only 0 and 1",
        task.name(),
        plan.name
    );
    let help = "set a `temperature` above 0 in [sampling] or for that decoder; 1 is usual";
    Err(kind.error(&message, Some(help.into())))
}

fn task(table: &Table<'_>, kind: &Value<'_>) -> Result<Vec<TaskPlan>> {
    let items = table.optional("items").map(|v| v.count()).transpose()?;
    if items == Some(0) {
        return Err(table.error("`items = 0` asks for nothing", None));
    }
    let shots_value = table.optional("shots");
    let shots = shots_value.as_ref().map_or(Ok(0), Value::count)?;
    let formats = [("chat", Format::Chat), ("plain", Format::Plain)];
    let format = word(table.optional("format"), "format", &formats)?.unwrap_or_default();
    let name = table.optional("name");
    let name = name.map(|value| visible(&value, "a task's name").map(str::to_owned)).transpose()?;
    let names = CATALOGUE.iter().map(|entry| entry.name);
    let sets = sets(known(kind, "task", names)?, table)?;
    table.finish()?;
    if let (Some(value), true) = (&shots_value, shots > 0 && !sets[0].takes_shots()) {
        let message = format!("{} takes no shots", sets[0].name());
        let help = "its items have no worked answers: leave `shots` out";
        return Err(value.error(&message, Some(help.into())));
    }
    if let (Some(name), true) = (&name, sets.len() > 1) {
        let message = format!("one name, `{name}`, for {} tasks", sets.len());
        return Err(table.error(&message, Some("leave `name` out: parts have names".into())));
    }
    let plan = |set| TaskPlan { set, name: name.clone(), items, shots, format };
    Ok(sets.into_iter().map(plan).collect())
}

/// The sets that an entry of this kind describes.
fn sets(kind: &str, table: &Table<'_>) -> Result<Vec<TaskSet>> {
    Ok(vec![match kind {
        "nano" => {
            let splits = ["validation", "test"].into_iter();
            let split = table.optional("split");
            let split = split.map_or(Ok("validation"), |v| known(&v, "split", splits))?;
            TaskSet::Nano { split: split.to_owned() }
        }
        "gsm8k" => TaskSet::Gsm8k,
        "math500" => TaskSet::Math500,
        "svamp" => TaskSet::Svamp,
        "arc_challenge" => TaskSet::ArcChallenge(choosing(table)?),
        "commonsense_qa" => TaskSet::CommonsenseQa(choosing(table)?),
        "truthfulqa" => truthfulqa(table)?,
        "mmlu" => {
            let choosing = choosing(table)?;
            let subjects = parts(table.optional("subject"), "subject", &SUBJECTS)?;
            let plan = |subject| TaskSet::Mmlu(MmluPlan { subject, choosing });
            return Ok(subjects.into_iter().map(plan).collect());
        }
        "spec_bench" => {
            let found = parts(table.optional("part"), "part", &SPEC_BENCH_PARTS)?;
            return Ok(found.into_iter().map(|part| TaskSet::SpecBench { part }).collect());
        }
        "mt_bench" => {
            let found = parts(table.optional("category"), "category", &MT_BENCH_CATEGORIES)?;
            return Ok(found.into_iter().map(|category| TaskSet::MtBench { category }).collect());
        }
        "humaneval" => TaskSet::Humaneval,
        "perplexity" => {
            let piece = table.optional("piece_bytes");
            let piece = piece.map(|v| v.at_least_one("a piece has some text")).transpose()?;
            let piece_bytes = piece.map_or(DEFAULT_PIECE_BYTES, |bytes| bytes.get() as u64);
            TaskSet::Perplexity(TextPlan {
                file: UserFile::read(&table.required("file")?)?,
                piece_bytes,
            })
        }
        _ => TaskSet::Jsonl(jsonl(table)?),
    }])
}

/// About 500 tokens of English.
const DEFAULT_PIECE_BYTES: u64 = 2000;

/// One of the words, by its meaning.
fn word<T: Copy>(value: Option<Value<'_>>, what: &str, words: &[(&str, T)]) -> Result<Option<T>> {
    let Some(value) = value else {
        return Ok(None);
    };
    let found = known(&value, what, words.iter().map(|(word, _)| *word))?;
    Ok(words.iter().find(|(word, _)| *word == found).map(|(_, meaning)| *meaning))
}

const BY: [(&str, By); 2] = [("answer", By::Answer), ("likelihood", By::Likelihood)];

fn choosing(table: &Table<'_>) -> Result<Choosing> {
    let by = word(table.optional("by"), "way to choose", &BY)?.unwrap_or(By::Answer);
    let shuffle = table.optional("shuffle").map_or(Ok(false), |v| v.bool())?;
    Ok(Choosing { by, shuffle })
}

fn truthfulqa(table: &Table<'_>) -> Result<TaskSet> {
    let metrics = [("mc1", Truth::Mc1), ("mc2", Truth::Mc2)];
    let metric = word(table.optional("metric"), "metric", &metrics)?.unwrap_or(Truth::Mc1);
    let by_value = table.optional("by");
    let by = word(table.optional("by"), "way to choose", &BY)?.unwrap_or(By::Likelihood);
    match by_value {
        Some(value) if metric == Truth::Mc2 && by == By::Answer => {
            let message = "mc2 is a share of probability, which a written answer has not";
            Err(value.error(message, Some("use `by = \"likelihood\"`, or `mc1`".into())))
        }
        _ => Ok(TaskSet::Truthfulqa { metric, by }),
    }
}

/// The parts that are named: one, several, or, without, all together.
fn parts(value: Option<Value<'_>>, what: &str, names: &[&str]) -> Result<Vec<Option<String>>> {
    let Some(value) = value else {
        return Ok(vec![None]);
    };
    let named = |value: &Value<'_>| known(value, what, names.iter().copied()).map(str::to_owned);
    value.sweep()?.iter().map(|value| named(value).map(Some)).collect()
}

fn jsonl(table: &Table<'_>) -> Result<JsonlPlan> {
    let file = UserFile::read(&table.required("file")?)?;
    let prompt = template(table.required("prompt")?)?;
    let optional = |key| table.optional(key).map(template).transpose();
    let (answer, id) = (optional("answer")?, optional("id")?);
    let system = table.optional("system").map(|v| v.str().map(str::to_owned)).transpose()?;
    let extractor = table.optional("extractor").map(|value| extractor(&value)).transpose()?;
    let lacks = match (&answer, &extractor) {
        (Some(_), None) => Some(("an `extractor`, which reads the answer in a text", "`answer`")),
        (None, Some(_)) => Some(("an `answer`, a template of the right one", "`extractor`")),
        _ => None,
    };
    if let Some((lacks, has)) = lacks {
        let help = "give both, or neither for a task that is about speed";
        return Err(table.error(&format!("a task with {has} needs {lacks}"), Some(help.into())));
    }
    Ok(JsonlPlan { file, prompt, system, answer, id, extractor })
}

/// A template that compiles.
fn template(value: Value<'_>) -> Result<String> {
    let text = value.str()?;
    match minijinja::Environment::new().template_from_str(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => {
            let help = "fields of a line stand in double braces: {{ question }}";
            Err(value.error(&format!("no template: {error}"), Some(help.into())))
        }
    }
}

fn extractor(value: &Value<'_>) -> Result<Extractor> {
    if value.is_table() {
        let table = value.table("extractor")?;
        let pattern = table.required("regex")?;
        table.finish()?;
        return regex::Regex::new(pattern.str()?).map(Extractor::Pattern).map_err(|error| {
            pattern.error(&error.to_string(), Some("its first group is the answer".into()))
        });
    }
    let name = known(value, "extractor", Extractor::NAMES.into_iter())?;
    Extractor::named(name).ok_or_else(|| value.error("unknown extractor", None))
}
