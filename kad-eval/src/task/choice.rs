//! Questions with options, asked in two ways: an answer is written, or options are scored.

use std::sync::Arc;

use super::gsm8k::step_by_step;
use super::{Choice, Extractor, Frame, Grading, Item, Opening, Problem, letter, order};
use crate::config::{By, Choosing};

/// As many as there are letters.
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
    /// What is wrong with it.
    pub(super) fn check(&self) -> Result<(), String> {
        let count = self.options.len();
        if !(2..=MOST_OPTIONS).contains(&count) {
            return Err(format!("{count} options: there must be 2 to {MOST_OPTIONS}"));
        }
        if self.right >= count {
            return Err(format!("the right option is number {}, of {count}", self.right + 1));
        }
        match self.options.iter().position(|option| option.trim().is_empty()) {
            Some(empty) => Err(format!("option {} is empty", letter(empty))),
            None => Ok(()),
        }
    }

    /// The problem; `about` says of what kind the questions are.
    pub(super) fn problem(mut self, choosing: Choosing, seed: u64, about: &str) -> Problem {
        if choosing.shuffle {
            self.shuffle(seed);
        }
        match choosing.by {
            By::Answer => self.written(),
            By::Likelihood => self.scored(about),
        }
    }

    /// Puts the options into the order that the seed decides for this item.
    pub(super) fn shuffle(&mut self, seed: u64) {
        let order = order::shuffled(self.options.len(), seed, &["options", &self.id]);
        self.right = order.iter().position(|index| *index == self.right).unwrap_or(0);
        self.options =
            order.iter().map(|index| std::mem::take(&mut self.options[*index])).collect();
    }

    /// The prompt of the KAD experiments (Hammal et al., `src/task`), word for word.
    pub(super) fn written(self) -> Problem {
        let listed: Vec<String> =
            self.lettered().map(|(at, text)| format!("{at}). {text}")).collect();
        let prompt = format!(
            "Choose the correct answer to the following multiple-choice question.\n\n\
             Question: {}\n\n{}\n\n\
             Provide your reasoning about the answer and finish your answer with the letter \
             corresponding to the correct option (e.g., A, B, C, or D).\n\n",
            self.text,
            listed.join("\n")
        );
        let gold = letter(self.right);
        let reply = format!("The answer is {gold}.");
        self.item(prompt, step_by_step(), reply)
    }

    /// The published prompt of MMLU: the decoder's distribution is asked for the letters.
    fn scored(self, about: &str) -> Problem {
        let listed: Vec<String> =
            self.lettered().map(|(at, text)| format!("{at}. {text}")).collect();
        let prompt = format!("{}\n{}\nAnswer:", self.text.trim(), listed.join("\n"));
        let system =
            format!("The following are multiple choice questions (with answers) about {about}.");
        let opening = Opening { system: Some(system), shots: Vec::new() };
        let gold = letter(self.right);
        let options = self.options.len();
        let mut problem = self.item(prompt, Arc::new(opening), gold.clone());
        let choice = |index| Choice { text: letter(index), right: letter(index) == gold };
        problem.item.options = (0..options).map(choice).collect();
        problem
    }

    fn lettered(&self) -> impl Iterator<Item = (String, &str)> {
        self.options.iter().enumerate().map(|(index, text)| (letter(index), text.trim()))
    }

    fn item(self, prompt: String, opening: Arc<Opening>, reply: String) -> Problem {
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
        Problem { item, reply }
    }
}

/// How it is judged.
pub(super) fn grading(by: By) -> Grading {
    match by {
        By::Answer => Grading::Answer(Extractor::Option),
        By::Likelihood => Grading::Options,
    }
}

/// What stands around it in plain text: the prompts hold their own heads.
pub(super) fn frame(by: By) -> Frame {
    match by {
        By::Answer => Frame { before: "", after: "Answer:", stop: "Question:" },
        By::Likelihood => Frame::NONE,
    }
}
