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
}

impl Frame {
    /// The usual one.
    pub(crate) const QUESTION: Self = Self { before: "Question: ", after: "\nAnswer:" };
    /// None: the text as it is.
    pub(crate) const NONE: Self = Self { before: "", after: "" };

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
    /// The part of a reply that is one: without a chat template a model may go on with a question of
    /// its own, whose answer is not asked for.
    pub(crate) fn cut(self, reply: &str) -> &str {
        match self {
            Form::Plain(frame) if !frame.before.is_empty() => {
                let next = format!("\n{}", frame.before.trim_end());
                reply.split_once(&next).map_or(reply, |(own, _)| own)
            }
            _ => reply,
        }
    }
}
