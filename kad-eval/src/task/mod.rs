//! Sets of problems: items, the prompt made of one, and how an answer is read and judged.
//!
//! A task is data. Adding one is a file here with a function that gives its problems, an entry in
//! the [catalogue](CATALOGUE), a variant of [`TaskSet`] with its keys, and an arm in [`set`].

mod arc;
mod catalogue;
mod choice;
mod extract;
mod files;
mod gsm8k;
mod humaneval;
mod jsonl;
mod math500;
mod mmlu;
mod nano;
mod order;
mod perplexity;
mod prompt_format;
mod svamp;
mod truthfulqa;
mod turns;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, bail};
use kad_backends::Message;
use sha2::{Digest, Sha256};

use crate::config::{Format, TaskPlan, TaskSet};
use crate::failure::WrongRequest;

pub(crate) use catalogue::{CATALOGUE, Entry, Published};
pub(crate) use extract::{Extractor, letter};
pub(crate) use files::{Found, found};
pub(crate) use mmlu::SUBJECTS;
pub(crate) use prompt_format::{Conversation, Form, Frame};
pub(crate) use turns::{MT_BENCH_CATEGORIES, SPEC_BENCH_PARTS};

/// One problem.
#[derive(Clone, Debug, Default)]
pub(crate) struct Item {
    /// Unique within the task, the same in every run.
    pub(crate) id: String,
    /// What the user says: one turn, or several of a conversation.
    pub(crate) turns: Vec<String>,
    /// The right answer; empty where the task is not graded.
    pub(crate) gold: String,
    /// What can be chosen, if that is the question.
    pub(crate) options: Vec<Choice>,
    /// The subject, category or level that it belongs to.
    pub(crate) group: Option<String>,
    /// What stands before it.
    pub(crate) opening: Arc<Opening>,
}

impl Item {
    /// What the user says, as one text.
    pub(crate) fn prompt(&self) -> String {
        self.turns.join("\n\n")
    }
}

/// An option: the text that a decoder would write for it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Choice {
    pub(crate) text: String,
    pub(crate) right: bool,
}

/// What stands before the question.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Opening {
    pub(crate) system: Option<String>,
    /// Worked examples: question and reply.
    pub(crate) shots: Vec<[String; 2]>,
}

/// How an item is judged.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Grading {
    /// Not at all: for speed.
    Speed,
    /// The text gives the gold answer.
    Answer(Extractor),
    /// Nothing is written. The option that the decoder's distribution holds for likeliest is right.
    Options,
    /// Nothing is written. Points are the share of the right options in the probability of all.
    RightMass,
    /// Nothing is written. The text of the item is read, and how likely the decoder's distribution
    /// holds it.
    Text,
}

/// A loaded task.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) name: String,
    pub(crate) items: Vec<Item>,
    pub(crate) grading: Grading,
    pub(crate) form: Form,
}

impl Task {
    /// The conversation that asks `item`, up to the turn behind the given replies.
    pub(crate) fn conversation(&self, item: &Item, replies: &[String]) -> Conversation {
        let system = item.opening.system.iter().map(Message::system);
        let pair =
            |[question, reply]: &[String; 2]| [Message::user(question), Message::assistant(reply)];
        let shots = item.opening.shots.iter().flat_map(pair);
        let replies = replies.iter().map(Some).chain(std::iter::once(None));
        let turns = item.turns.iter().zip(replies).flat_map(|(turn, reply)| {
            [Some(Message::user(turn)), reply.map(Message::assistant)].into_iter().flatten()
        });
        Conversation { messages: system.chain(shots).chain(turns).collect(), form: self.form }
    }

    /// The answer that a reply gives, if it gives one.
    pub(crate) fn answer(&self, item: &Item, reply: &str) -> Option<String> {
        match &self.grading {
            Grading::Answer(extractor) => {
                // Where options are not listed, any letter may be one.
                let options = if item.options.is_empty() { LETTERS } else { item.options.len() };
                extractor.read(self.form.cut(reply), options)
            }
            _ => None,
        }
    }

    /// Whether `answer` is right. No answer never is.
    pub(crate) fn is_right(&self, item: &Item, answer: Option<&str>) -> bool {
        let Some(answer) = answer else {
            return false;
        };
        match self.grading {
            Grading::Speed | Grading::Text => false,
            Grading::Answer(_) => !item.gold.is_empty() && answer == item.gold,
            Grading::Options | Grading::RightMass => {
                item.options.iter().enumerate().any(|(i, o)| o.right && letter(i) == answer)
            }
        }
    }

    /// Digest of all items: a run on changed data is another run.
    pub(crate) fn digest(&self) -> String {
        let mut hasher = Sha256::new();
        let mut part = |text: &str| {
            hasher.update((text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        };
        for item in &self.items {
            part(&item.id);
            item.turns.iter().for_each(|turn| part(turn));
            part(&item.gold);
            part(item.group.as_deref().unwrap_or_default());
            item.options.iter().for_each(|option| part(&format!("{option:?}")));
            part(&format!("{:?}", item.opening));
        }
        crate::numbers::hex(&hasher.finalize()[..8])
    }
}

/// A to Z.
const LETTERS: usize = 26;

/// Where a task is loaded from, and for whom.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Loading<'a> {
    /// The folder of benchmark files, if the user named one.
    pub(crate) data: Option<&'a Path>,
    /// The experiment's: decides the order of options and which items become examples.
    pub(crate) seed: u64,
    /// At most this many items.
    pub(crate) limit: Option<u64>,
}

/// A problem, and the reply that a worked example of it shows.
#[derive(Clone, Debug, Default)]
struct Problem {
    item: Item,
    reply: String,
}

/// What the file of a set holds.
struct Set {
    problems: Vec<Problem>,
    /// Problems of another split, for examples.
    examples: Option<Vec<Problem>>,
    grading: Grading,
    frame: Frame,
}

/// Loads a task's items.
///
/// # Errors
/// If the file is missing or line k of it is malformed, or it has fewer items than are asked for.
pub(crate) fn load(plan: &TaskPlan, from: Loading<'_>) -> Result<Task> {
    let name = plan.name();
    let Set { mut problems, examples, grading, frame } = set(plan, from)?;
    let shots = usize::try_from(plan.shots).unwrap_or(usize::MAX);
    if shots > 0 {
        order::add_shots(&mut problems, examples, shots, from.seed, &plan.set)?;
    }
    let mut items: Vec<Item> = problems.into_iter().map(|problem| problem.item).collect();
    let mut ids = HashSet::new();
    if let Some(twice) = items.iter().find(|item| !ids.insert(&item.id)) {
        bail!("two items of {name} have the id {}: records could not tell them apart", twice.id);
    }
    if let Some(most) = plan.items() {
        if most > items.len() as u64 {
            let held = items.len();
            bail!(WrongRequest(format!("{name} has {held} items, {most} were asked for")));
        }
        items.truncate(most as usize);
    }
    items.truncate(from.limit.map_or(usize::MAX, |limit| limit as usize));
    let form = match (plan.format, &plan.set) {
        (Format::Plain, _) | (_, TaskSet::Perplexity(_)) => Form::Plain(frame),
        (Format::Chat, _) => Form::Chat,
    };
    Ok(Task { name, items, grading, form })
}

/// The problems of a set in the order in which they are asked.
fn set(plan: &TaskPlan, from: Loading<'_>) -> Result<Set> {
    let data = from.data;
    match &plan.set {
        TaskSet::Nano { split } => nano::load(split),
        TaskSet::Gsm8k => gsm8k::load(data),
        TaskSet::Math500 => math500::load(data),
        TaskSet::Svamp => svamp::load(data),
        TaskSet::ArcChallenge(choosing) => arc::load(&arc::ARC_CHALLENGE, *choosing, from),
        TaskSet::CommonsenseQa(choosing) => arc::load(&arc::COMMONSENSE_QA, *choosing, from),
        TaskSet::Truthfulqa { metric, by } => truthfulqa::load(*metric, *by, from),
        TaskSet::Mmlu(plan) => mmlu::load(plan, from),
        TaskSet::SpecBench { part } => turns::spec_bench(part.as_deref(), data),
        TaskSet::MtBench { category } => turns::mt_bench(category.as_deref(), data),
        TaskSet::Humaneval => humaneval::load(data),
        TaskSet::Perplexity(plan) => perplexity::load(plan),
        TaskSet::Jsonl(plan) => jsonl::load(plan),
    }
}

#[cfg(test)]
mod tests;
