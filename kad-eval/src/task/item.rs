//! A loaded task: its items, their prompts, and the grading of answers.

use std::fmt;
use std::sync::Arc;

use kad_backends::Message;
use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};

use super::{Conversation, Extractor, PromptFormat, letter};

/// One problem of a task.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Item {
    /// Unique within the task, the same in every run.
    pub id: String,
    /// The user's messages: one, or several of a conversation.
    pub turns: Vec<String>,
    /// The right answer in the extractor's canonical form; empty where the task is not graded.
    pub gold: String,
    /// The options of a multiple-choice question; empty for other items.
    pub options: Vec<Choice>,
    /// The subject, category or level that results are also reported by.
    pub group: Option<String>,
    /// The messages before the first turn.
    #[serde(serialize_with = "opening")]
    pub opening: Arc<Opening>,
}

fn opening<S: Serializer>(opening: &Arc<Opening>, to: S) -> Result<S::Ok, S::Error> {
    opening.as_ref().serialize(to)
}

impl Item {
    /// All turns as one text.
    pub fn prompt(&self) -> String {
        self.turns.join("\n\n")
    }
}

/// An option of a multiple-choice question.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Choice {
    /// The text that is scored or shown for it.
    pub text: String,
    /// Is it a right answer?
    pub right: bool,
}

/// The messages before an item's first turn.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Opening {
    /// The system message.
    pub system: Option<String>,
    /// Worked examples: question and reply.
    pub shots: Vec<[String; 2]>,
}

/// An item, and the reply that shows it as a worked example.
#[derive(Clone, Debug, Default)]
pub(super) struct SolvedItem {
    pub(super) item: Item,
    /// Empty for tasks without worked examples.
    pub(super) reply: String,
}

impl From<Item> for SolvedItem {
    fn from(item: Item) -> Self {
        Self { item, reply: String::new() }
    }
}

/// The way items are graded.
#[derive(Clone, Debug, PartialEq)]
pub enum Grading {
    /// Not graded: decoders write text, and only their speed is measured.
    Speed,
    /// Decoders write text. The answer that the extractor reads in it is compared with the gold
    /// answer.
    Answer(Extractor),
    /// Nothing is written. The answer is the option with the highest probability under the
    /// decoder's distribution.
    Options,
    /// Nothing is written. The points are the probability of the right options over the
    /// probability of all options.
    RightMass,
    /// Nothing is written. The item's text is scored under the decoder's distribution.
    Text,
}

/// The way in which decoders handle the items of a task. Times of items of different modes are
/// unrelated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TaskMode {
    /// Replies are generated.
    Generate,
    /// Options are scored behind a prompt.
    Options,
    /// A whole text is scored.
    Text,
}

/// The grading in words.
impl fmt::Display for Grading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Grading::Speed => "not graded, measures speed only",
            Grading::Answer(extractor) => {
                return write!(f, "extracted from the reply by `{extractor}`");
            }
            Grading::Options => "the most probable option under the decoder's distribution",
            Grading::RightMass => "probability of the correct options, as a share of all options",
            Grading::Text => "likelihood of the text under the decoder's distribution",
        })
    }
}

impl Grading {
    /// Do items have right answers?
    pub fn is_graded(&self) -> bool {
        !matches!(self, Grading::Speed | Grading::Text)
    }

    /// True if probabilities are taken from the decoder's distribution and no text is generated.
    pub fn scores_distribution(&self) -> bool {
        self.mode() != TaskMode::Generate
    }

    pub(crate) fn mode(&self) -> TaskMode {
        match self {
            Grading::Speed | Grading::Answer(_) => TaskMode::Generate,
            Grading::Options | Grading::RightMass => TaskMode::Options,
            Grading::Text => TaskMode::Text,
        }
    }
}

/// A loaded task.
#[derive(Clone, Debug)]
pub struct Task {
    /// Its name in tables and records.
    pub name: String,
    /// The items, in the order of decoding.
    pub items: Vec<Item>,
    /// Grading of all items.
    pub grading: Grading,
    /// Prompt format of all items.
    pub format: PromptFormat,
}

impl Task {
    /// The conversation that asks for the reply after `replies`: the opening, the turns so far with
    /// these replies, and the next turn.
    pub fn conversation(&self, item: &Item, replies: &[String]) -> Conversation {
        let system = item.opening.system.iter().map(Message::system);
        let pair =
            |[question, reply]: &[String; 2]| [Message::user(question), Message::assistant(reply)];
        let shots = item.opening.shots.iter().flat_map(pair);
        let replies = replies.iter().map(Some).chain(std::iter::once(None));
        let turns = item.turns.iter().zip(replies).flat_map(|(turn, reply)| {
            [Some(Message::user(turn)), reply.map(Message::assistant)].into_iter().flatten()
        });
        Conversation { messages: system.chain(shots).chain(turns).collect(), format: self.format }
    }

    /// The answer that the extractor reads in a reply. `None` if it finds none, or if no text is
    /// graded.
    pub fn answer(&self, item: &Item, reply: &str) -> Option<String> {
        let Grading::Answer(extractor) = &self.grading else { return None };
        // If the options are not listed, every letter may name one.
        let options = if item.options.is_empty() { LETTERS } else { item.options.len() };
        extractor.read(self.format.cut(reply), options)
    }

    /// Is `answer` right? No answer never is.
    pub fn is_right(&self, item: &Item, answer: Option<&str>) -> bool {
        let Some(answer) = answer else { return false };
        match self.grading {
            Grading::Speed | Grading::Text => false,
            Grading::Answer(_) => !item.gold.is_empty() && answer == item.gold,
            Grading::Options | Grading::RightMass => {
                item.options.iter().enumerate().any(|(i, o)| o.right && letter(i) == answer)
            }
        }
    }

    /// Identity of the items, in 16 hexadecimal digits: the first 8 bytes of the SHA-256 of one
    /// line per item, each compact JSON with the fields `id`, `turns`, `gold`, `options` (`text`,
    /// `right`), `group` and `opening` (`system`, `shots`) in this order, and a line break.
    pub fn digest(&self) -> String {
        let mut hasher = Sha256::new();
        for item in &self.items {
            let line = serde_json::to_vec(item).expect("strings and booleans serialise");
            hasher.update(line);
            hasher.update(b"\n");
        }
        crate::numbers::hex(&hasher.finalize()[..8])
    }
}

/// Number of letters, A to Z.
const LETTERS: usize = 26;
