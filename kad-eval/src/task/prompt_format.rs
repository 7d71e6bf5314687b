//! Conversations, and the text that they become.

use kad_backends::Message;

/// A conversation and how it becomes text.
#[derive(Clone, Debug)]
pub(crate) struct Conversation {
    pub(crate) messages: Vec<Message>,
    pub(crate) form: Form,
}

/// How a conversation becomes text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Form {
    /// By the chat template of whoever speaks.
    Chat,
    /// Without one: what the user says stands in a frame.
    Plain(Frame),
}

/// What stands around a question in plain text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Frame {
    pub(crate) before: &'static str,
    pub(crate) after: &'static str,
    /// What a line begins with by which a model asks a next question of its own; empty for none.
    pub(crate) stop: &'static str,
}

impl Frame {
    /// The usual one.
    pub(crate) const QUESTION: Self =
        Self { before: "Question: ", after: "\nAnswer:", stop: "Question:" };
    /// None: the text as it is.
    pub(crate) const NONE: Self = Self { before: "", after: "", stop: "" };

    /// The conversation in plain text, up to where the reply begins.
    pub(crate) fn text(self, messages: &[Message]) -> String {
        let part = |message: &Message| match message.role.as_str() {
            "user" => format!("{}{}{}", self.before, message.content, self.after),
            "assistant" => format!(" {}\n\n", message.content.trim()),
            _ => format!("{}\n\n", message.content),
        };
        messages.iter().map(part).collect()
    }
}

impl Form {
    /// The part of a reply that is one: without a chat template a model may go on with a question
    /// of its own, whose answer is not asked for. Nothing is left of a reply that begins with one.
    pub(crate) fn cut(self, reply: &str) -> &str {
        let stop = match self {
            Form::Plain(frame) if !frame.stop.is_empty() => frame.stop,
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
