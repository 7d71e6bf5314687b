//! Tasks: sets of items, the prompt made of each item, and the way an answer is found and graded.
//!
//! A task is one file of this folder. It holds everything about the task: its name, its
//! documentation, its keys in experiment files, its files of data, its prompts and its grading, all
//! reached from a [`TaskKind`]. [`KINDS`] lists them.
//!
//! ```
//! use kad_eval::task::{LoadOptions, TaskPlan, load};
//!
//! # let folder = tempfile::tempdir()?;
//! # let file = folder.path().join("capitals.jsonl");
//! # let lines = [r#"{"country": "France", "city": "Paris"}"#];
//! # std::fs::write(&file, lines.join("\n"))?;
//! // Each line of the file: {"country": "France", "city": "Paris"}
//! let plan = TaskPlan::from_toml(&format!(
//!     r#"
//!     kind = "jsonl"
//!     file = '{}'
//!     prompt = "What is the capital of {{{{ country }}}}?"
//!     answer = "{{{{ city }}}}"
//!     extractor = {{ regex = '(\w+)\.' }}
//!     format = "plain"
//!     "#,
//!     file.display()
//! ))?;
//! let task = load(&plan, LoadOptions::default())?;
//! assert_eq!(task.name, "jsonl/capitals, plain");
//!
//! let item = &task.items[0];
//! let prompt = task.conversation(item, &[]).plain().expect("without a chat template");
//! assert_eq!(prompt, "Question: What is the capital of France?\nAnswer:");
//!
//! let answer = task.answer(item, "It is Paris.\n\nQuestion: And that of Italy? Rome.");
//! assert_eq!(answer.as_deref(), Some("Paris"));
//! assert!(task.is_right(item, answer.as_deref()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod arc_challenge;
mod commonsense_qa;
mod data;
mod extract;
mod gsm8k;
mod humaneval;
mod item;
mod jsonl;
mod kind;
mod math500;
mod mmlu;
mod mt_bench;
mod multiple_choice;
mod nano;
mod parts;
mod perplexity;
mod plan;
mod prompt_format;
mod shuffle;
mod spec_bench;
mod svamp;
mod truthfulqa;
mod worked_examples;

pub(crate) use data::Found;
pub use extract::Extractor;
pub(crate) use extract::letter;
pub(crate) use item::TaskMode;
pub use item::{Choice, Grading, Item, Opening, Task};
pub use kad_backends::Message;
pub use kind::TaskKind;
pub use plan::{LoadOptions, TaskPlan, load};
pub use prompt_format::{Conversation, PlainFormat, PromptFormat};
pub(crate) use shuffle::seeded;

use data::HubFiles;
use item::SolvedItem;
use kind::{LoadedItems, Shots, TaskSet};

/// Every kind of task, in the order of the documentation.
pub static KINDS: &[&TaskKind] = &[
    &nano::KIND,
    &gsm8k::KIND,
    &math500::KIND,
    &svamp::KIND,
    &arc_challenge::KIND,
    &commonsense_qa::KIND,
    &truthfulqa::KIND,
    &mmlu::KIND,
    &spec_bench::KIND,
    &mt_bench::KIND,
    &humaneval::KIND,
    &perplexity::KIND,
    &jsonl::KIND,
];

#[cfg(test)]
mod tests;
