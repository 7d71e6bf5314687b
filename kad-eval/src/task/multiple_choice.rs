//! Multiple-choice questions, asked in two ways: the decoder writes an answer, or the options are
//! scored under its distribution.

use std::sync::Arc;

use anyhow::{Result, bail};
use serde::Serialize;

use super::gsm8k::step_by_step;
use super::shuffle::shuffled;
use super::{
    Choice, Extractor, Grading, Item, LoadOptions, LoadedItems, Opening, PlainFormat, SolvedItem,
    TaskSet, letter,
};
use crate::toml_table::{ConfigError, Table, Value};

/// Documentation of the keys of [`AnswerMode`].
pub(super) const KEYS: &str = "by = \"answer\" | \"likelihood\"; shuffle = true";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum AnswerBy {
    /// The decoder writes its reasons and a letter.
    Answer,
    /// The options are scored under the decoder's distribution.
    Likelihood,
}

impl AnswerBy {
    pub(super) fn read(table: &Table<'_>) -> Result<Option<Self>, ConfigError> {
        let words = [("answer", AnswerBy::Answer), ("likelihood", AnswerBy::Likelihood)];
        table.get("by", |value| value.one_of("way of answering", &words))
    }
}

/// The keys of multiple-choice tasks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct AnswerMode {
    pub(super) by: AnswerBy,
    /// Do options change places, by the experiment's seed?
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) shuffle: bool,
}

impl AnswerMode {
    pub(super) fn read(table: &Table<'_>) -> Result<Self, ConfigError> {
        let by = AnswerBy::read(table)?.unwrap_or(AnswerBy::Answer);
        let shuffle = table.get("shuffle", Value::bool)?.unwrap_or(false);
        Ok(Self { by, shuffle })
    }

    /// The set that `load` loads with `keys`, asked in this way.
    pub(super) fn set<K: Serialize + Send + Sync + 'static>(
        self,
        keys: K,
        load: impl Fn(&K, LoadOptions<'_>) -> Result<LoadedItems> + Send + Sync + 'static,
    ) -> TaskSet {
        // The prompts have their own heads.
        let written = PlainFormat { before: "", after: "Answer:", stop: "Question:" };
        let (grading, plain) = match self.by {
            AnswerBy::Answer => (Grading::Answer(Extractor::Option), written),
            AnswerBy::Likelihood => (Grading::Options, PlainFormat::NONE),
        };
        let mut variant = Vec::new();
        variant.extend((self.by == AnswerBy::Likelihood).then_some("by likelihood"));
        variant.extend(self.shuffle.then_some("shuffled"));
        TaskSet { variant, plain, ..TaskSet::new(keys, grading, load) }
    }
}

const MOST_OPTIONS: usize = 26;

/// A question with options, as a file has it.
pub(super) struct Question {
    pub(super) id: String,
    pub(super) text: String,
    pub(super) options: Vec<String>,
    /// Index of the right one.
    pub(super) right: usize,
    pub(super) group: Option<String>,
}

impl Question {
    /// Refuses questions that cannot be asked.
    pub(super) fn check(&self) -> Result<()> {
        let count = self.options.len();
        if !(2..=MOST_OPTIONS).contains(&count) {
            bail!("{count} options: there must be 2 to {MOST_OPTIONS}");
        }
        if self.right >= count {
            bail!("the right option is number {}, of {count}", self.right + 1);
        }
        match self.options.iter().position(|option| option.trim().is_empty()) {
            Some(empty) => bail!("option {} is empty", letter(empty)),
            None => Ok(()),
        }
    }

    /// The item in this mode; `about` is the subject of the questions.
    pub(super) fn solved(mut self, mode: AnswerMode, seed: u64, about: &str) -> Result<SolvedItem> {
        self.check()?;
        if mode.shuffle {
            self.shuffle(seed);
        }
        Ok(match mode.by {
            AnswerBy::Answer => self.written(),
            AnswerBy::Likelihood => self.scored(about),
        })
    }

    /// Puts the options into the order that the seed decides for this item.
    pub(super) fn shuffle(&mut self, seed: u64) {
        let order = shuffled(self.options.len(), seed, &["options", &self.id]);
        self.right = order.iter().position(|index| *index == self.right).unwrap_or(0);
        self.options =
            order.iter().map(|index| std::mem::take(&mut self.options[*index])).collect();
    }

    /// The prompt of the KAD experiments (Hammal et al., `src/task`), word for word.
    pub(super) fn written(self) -> SolvedItem {
        let prompt = format!(
            "Choose the correct answer to the following multiple-choice question.\n\n\
             Question: {}\n\n{}\n\n\
             Provide your reasoning about the answer and finish your answer with the letter \
             corresponding to the correct option (e.g., A, B, C, or D).\n\n",
            self.text,
            self.listed("). ")
        );
        let reply = format!("The answer is {}.", letter(self.right));
        self.item(prompt, step_by_step(), reply)
    }

    /// The published prompt of MMLU; the letters are scored.
    fn scored(self, about: &str) -> SolvedItem {
        let prompt = format!("{}\n{}\nAnswer:", self.text.trim(), self.listed(". "));
        let system =
            format!("The following are multiple choice questions (with answers) about {about}.");
        let opening = Opening { system: Some(system), shots: Vec::new() };
        let gold = letter(self.right);
        let mut solved = self.item(prompt, Arc::new(opening), gold);
        for (index, choice) in solved.item.options.iter_mut().enumerate() {
            choice.text = letter(index);
        }
        solved
    }

    /// A line per option: its letter, `mark` and its text.
    fn listed(&self, mark: &str) -> String {
        let lines = self.options.iter().enumerate();
        let lines = lines.map(|(index, text)| format!("{}{mark}{}", letter(index), text.trim()));
        lines.collect::<Vec<_>>().join("\n")
    }

    fn item(self, prompt: String, opening: Arc<Opening>, reply: String) -> SolvedItem {
        let right = self.right;
        let options = self.options.into_iter().enumerate();
        let item = Item {
            id: self.id,
            turns: vec![prompt],
            gold: letter(right),
            options: options.map(|(i, text)| Choice { text, right: i == right }).collect(),
            group: self.group,
            opening,
        };
        SolvedItem { item, reply }
    }
}
