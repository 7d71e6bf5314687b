//! Conversations, and the text that they become.

use kad_backends::Message;

/// A conversation, and the format of its prompt.
#[derive(Clone, Debug)]
pub struct Conversation {
    /// The messages in order, up to the one that a decoder replies to.
    pub messages: Vec<Message>,
    /// Format of the whole conversation.
    pub format: PromptFormat,
}

/// The way a conversation becomes the text of a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PromptFormat {
    /// The chat template of the decoder's leading model.
    Chat,
    /// Without a chat template.
    Plain(PlainFormat),
}

/// Plain text around the user's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlainFormat {
    /// Before a user's message.
    pub before: &'static str,
    /// After a user's message; the reply follows.
    pub after: &'static str,
    /// Beginning of a line with which a model starts another question by itself; empty for none.
    pub stop: &'static str,
}

impl Conversation {
    /// The prompt without a chat template: up to the beginning of the reply. `None` if the format is
    /// [`PromptFormat::Chat`], which takes a model's template.
    pub fn plain(&self) -> Option<String> {
        match self.format {
            PromptFormat::Plain(format) => Some(format.text(&self.messages)),
            PromptFormat::Chat => None,
        }
    }
}

impl PlainFormat {
    /// `Question: …`, line break, `Answer:`.
    pub const QUESTION: Self = Self { before: "Question: ", after: "\nAnswer:", stop: "Question:" };
    /// Nothing around the text.
    pub const NONE: Self = Self { before: "", after: "", stop: "" };

    /// The conversation as plain text, up to the beginning of the reply.
    pub fn text(self, messages: &[Message]) -> String {
        let part = |message: &Message| match message.role.as_str() {
            "user" => format!("{}{}{}", self.before, message.content, self.after),
            "assistant" => format!(" {}\n\n", message.content.trim()),
            _ => format!("{}\n\n", message.content),
        };
        messages.iter().map(part).collect()
    }
}

impl PromptFormat {
    /// The reply up to a further question that the model asks itself: without a chat template,
    /// models may go on so. Nothing is left of a reply that begins with one.
    pub fn cut(self, reply: &str) -> &str {
        let stop = match self {
            PromptFormat::Plain(format) if !format.stop.is_empty() => format.stop,
            _ => return reply,
        };
        let mut end = 0;
        for line in reply.split_inclusive('\n') {
            if line.trim_start().starts_with(stop) {
                return reply[..end].trim_end_matches('\n');
            }
            end += line.len();
        }
        reply
    }
}
