//! `[[tasks]]`: which items, how many, and in what form they are asked.

use std::path::PathBuf;

use serde::Serialize;

use super::ConfigError;
use super::experiment::{DecoderKind, DecoderPlan};
use super::read::{known, visible};
use super::table::{Source, Table, Value};
use crate::task::{CATALOGUE, Extractor, MT_BENCH_CATEGORIES, SPEC_BENCH_PARTS, SUBJECTS};

type Result<T> = std::result::Result<T, ConfigError>;

/// A set of items, and how they are asked.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct TaskPlan {
    #[serde(flatten)]
    pub(crate) set: TaskSet,
    /// As files and records name it, where the file says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// How many items at most; `None` for all.
    pub(crate) items: Option<u64>,
    /// Worked examples before each item.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) shots: u64,
    #[serde(skip_serializing_if = "Format::is_chat")]
    pub(crate) format: Format,
}

/// Where items come from.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum TaskSet {
    Nano { split: String },
    Gsm8k,
    Math500,
    Svamp,
    ArcChallenge(Choosing),
    CommonsenseQa(Choosing),
    Truthfulqa { metric: Truth, by: By },
    Mmlu(MmluPlan),
    SpecBench { part: Option<String> },
    MtBench { category: Option<String> },
    Humaneval,
    Perplexity(TextPlan),
    Jsonl(JsonlPlan),
}

/// How a multiple-choice answer is found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Choosing {
    pub(crate) by: By,
    /// Whether options change places, by the experiment's seed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) shuffle: bool,
}

/// Whether the decoder writes an answer, or its law is asked for the options' probabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum By {
    Answer,
    Likelihood,
}

/// Which of TruthfulQA's two scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Truth {
    /// One option is true: is it chosen?
    Mc1,
    /// Several are: how much probability have they together?
    Mc2,
}

/// MMLU: one of its subjects, or all of them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct MmluPlan {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) subject: Option<String>,
    #[serde(flatten)]
    pub(crate) choosing: Choosing,
}

/// A text whose perplexity is measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct TextPlan {
    pub(crate) file: UserFile,
    /// Bytes of a piece, at most; it ends at a line break where there is one.
    pub(crate) piece_bytes: u64,
}

/// A user's own items.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct JsonlPlan {
    pub(crate) file: UserFile,
    /// Templates over the fields of a line.
    pub(crate) prompt: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) system: Option<String>,
    /// None: nothing is judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) answer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) extractor: Option<Extractor>,
}

/// A file that an experiment names: what it wrote, and where that is.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub(crate) struct UserFile {
    pub(crate) written: String,
    /// Taken from the folder of the experiment file.
    #[serde(skip)]
    pub(crate) path: PathBuf,
}

/// How a question becomes the text before the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// The model's chat template, or one lent by another model of the experiment.
    #[default]
    Chat,
    /// `Question: …`, line break, `Answer:`, or what the set says instead.
    Plain,
}

impl Format {
    fn is_chat(&self) -> bool {
        *self == Format::Chat
    }
}

/// What a task says about a decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Metric {
    /// Nothing but speed.
    Speed,
    /// The share of items that are right.
    Accuracy,
    /// The mean of points between 0 and 1.
    Mean,
    /// exp of the mean negative log-likelihood per token.
    Perplexity,
}

impl TaskPlan {
    /// The first `items` of a set (all without), asked through the chat template, without examples.
    #[cfg(test)]
    pub(crate) fn new(set: TaskSet, items: Option<u64>) -> Self {
        Self { set, name: None, items, shots: 0, format: Format::Chat }
    }

    /// As files and records name it.
    pub(crate) fn name(&self) -> String {
        if let Some(name) = &self.name {
            return name.clone();
        }
        let mut words = vec![self.set.name()];
        words.extend(self.set.manner());
        if self.shots > 0 {
            words.push(format!("{} shots", self.shots));
        }
        if self.format == Format::Plain {
            words.push("plain".to_owned());
        }
        words.join(", ")
    }

    /// As `kind` in a file.
    pub(crate) fn kind(&self) -> &'static str {
        match self.set {
            TaskSet::Nano { .. } => "nano",
            TaskSet::Gsm8k => "gsm8k",
            TaskSet::Math500 => "math500",
            TaskSet::Svamp => "svamp",
            TaskSet::ArcChallenge(_) => "arc_challenge",
            TaskSet::CommonsenseQa(_) => "commonsense_qa",
            TaskSet::Truthfulqa { .. } => "truthfulqa",
            TaskSet::Mmlu(_) => "mmlu",
            TaskSet::SpecBench { .. } => "spec_bench",
            TaskSet::MtBench { .. } => "mt_bench",
            TaskSet::Humaneval => "humaneval",
            TaskSet::Perplexity(_) => "perplexity",
            TaskSet::Jsonl(_) => "jsonl",
        }
    }

    /// How many items at most; `None` for all.
    pub(crate) fn items(&self) -> Option<u64> {
        self.items
    }

    /// What it measures.
    pub(crate) fn metric(&self) -> Metric {
        match &self.set {
            TaskSet::SpecBench { .. } | TaskSet::MtBench { .. } | TaskSet::Humaneval => {
                Metric::Speed
            }
            TaskSet::Jsonl(plan) if plan.answer.is_none() => Metric::Speed,
            TaskSet::Truthfulqa { metric: Truth::Mc2, .. } => Metric::Mean,
            TaskSet::Perplexity(_) => Metric::Perplexity,
            _ => Metric::Accuracy,
        }
    }

    /// Whether there are right answers.
    pub(crate) fn is_graded(&self) -> bool {
        matches!(self.metric(), Metric::Accuracy | Metric::Mean)
    }

    /// Whether nothing is written: the decoder's law is asked for probabilities.
    pub(crate) fn scores_law(&self) -> bool {
        match &self.set {
            TaskSet::ArcChallenge(choosing) | TaskSet::CommonsenseQa(choosing) => {
                choosing.by == By::Likelihood
            }
            TaskSet::Mmlu(plan) => plan.choosing.by == By::Likelihood,
            TaskSet::Truthfulqa { by, .. } => *by == By::Likelihood,
            TaskSet::Perplexity(_) => true,
            _ => false,
        }
    }
}

impl TaskSet {
    /// The set, and the part of it.
    fn name(&self) -> String {
        let part = |set: &str, part: &Option<String>| match part {
            Some(part) => format!("{set}/{part}"),
            None => set.to_owned(),
        };
        match self {
            TaskSet::Nano { split } => format!("nano/{split}"),
            TaskSet::Gsm8k => "gsm8k".to_owned(),
            TaskSet::Math500 => "math500".to_owned(),
            TaskSet::Svamp => "svamp".to_owned(),
            TaskSet::ArcChallenge(_) => "arc_challenge".to_owned(),
            TaskSet::CommonsenseQa(_) => "commonsense_qa".to_owned(),
            TaskSet::Truthfulqa { metric: Truth::Mc1, .. } => "truthfulqa/mc1".to_owned(),
            TaskSet::Truthfulqa { metric: Truth::Mc2, .. } => "truthfulqa/mc2".to_owned(),
            TaskSet::Mmlu(plan) => part("mmlu", &plan.subject),
            TaskSet::SpecBench { part: name } => part("spec_bench", name),
            TaskSet::MtBench { category } => part("mt_bench", category),
            TaskSet::Humaneval => "humaneval".to_owned(),
            TaskSet::Perplexity(plan) => format!("perplexity/{}", plan.file.stem()),
            TaskSet::Jsonl(plan) => format!("jsonl/{}", plan.file.stem()),
        }
    }

    /// What is unusual about how it is asked.
    fn manner(&self) -> Vec<String> {
        let (by, shuffle) = match self {
            TaskSet::ArcChallenge(choosing) | TaskSet::CommonsenseQa(choosing) => {
                (choosing.by, choosing.shuffle)
            }
            TaskSet::Mmlu(plan) => (plan.choosing.by, plan.choosing.shuffle),
            TaskSet::Truthfulqa { metric: Truth::Mc1, by } => (*by, false),
            _ => return Vec::new(),
        };
        let likelihood = (by == By::Likelihood).then(|| "by likelihood".to_owned());
        likelihood.into_iter().chain(shuffle.then(|| "shuffled".to_owned())).collect()
    }

    /// Whether worked examples can stand before an item.
    fn takes_shots(&self) -> bool {
        !matches!(
            self,
            TaskSet::SpecBench { .. }
                | TaskSet::MtBench { .. }
                | TaskSet::Humaneval
                | TaskSet::Perplexity(_)
                | TaskSet::Jsonl(_)
        )
    }
}

impl UserFile {
    fn read(value: &Value<'_>) -> Result<Self> {
        Ok(Self { written: value.str()?.to_owned(), path: value.path()? })
    }

    fn stem(&self) -> String {
        let stem = self.path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        stem.unwrap_or_else(|| self.written.clone())
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)] // as serde calls it
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// The tasks of an experiment; a list of parts or subjects makes several.
pub(super) fn tasks(value: &Value<'_>, decoders: &[DecoderPlan]) -> Result<Vec<TaskPlan>> {
    let mut tasks: Vec<TaskPlan> = Vec::new();
    for entry in value.list()? {
        let table = entry.table("[[tasks]]")?;
        let kind = table.required("kind")?;
        for task in task(&table, &kind)? {
            if tasks.iter().any(|other| other.name() == task.name()) {
                let help = "give one of them another `name`";
                let message = format!("the task {} stands twice", task.name());
                return Err(kind.error(&message, Some(help.into())));
            }
            if task.scores_law() {
                check_laws(&kind, &task, decoders)?;
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

/// At temperature 0 a law gives all of its mass to one token, and options have none.
fn check_laws(kind: &Value<'_>, task: &TaskPlan, decoders: &[DecoderPlan]) -> Result<()> {
    let greedy = |plan: &&DecoderPlan| match &plan.kind {
        DecoderKind::Chain(chain) => chain.target.sampling.temperature == 0.0,
        _ => plan.sampling.temperature == 0.0,
    };
    let Some(plan) = decoders.iter().find(greedy) else {
        return Ok(());
    };
    let message = format!(
        "{} asks for probabilities, and at temperature 0 the law of `{}` has only 0 and 1",
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
