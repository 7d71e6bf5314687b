//! Prompts of conversations, as text and in tokens.

use anyhow::{Context, Result, bail};
use kad_backends::Message;
use kad_core::{LanguageModel, TokenId};

use super::{Model, Models, speaker};
use crate::config::DecoderKind;
use crate::failure::WrongRequest;
use crate::task::{Conversation, PromptFormat};

/// The prompt of a conversation, in tokens.
///
/// Uses the speaker's chat template. A model without one borrows the template of another model of
/// the request with the same vocabulary, as the KAD experiments do for base models. It is an error if
/// there is no template, or if it refuses the conversation.
pub(crate) fn chat_prompt(
    kind: &DecoderKind,
    models: &Models,
    messages: &[Message],
) -> Result<Vec<TokenId>> {
    let text = chat_text(kind, models, messages)?;
    // The template writes the special tokens itself.
    Ok(speaker(kind, models).tokenizer.encode(&text, false)?)
}

/// The prompt as text.
pub(crate) struct Prompt {
    pub(crate) text: String,
    /// True if the tokenizer adds its special tokens. A chat template writes them itself.
    add_special: bool,
}

impl Prompt {
    /// The tokens of the prompt followed by `more`.
    pub(crate) fn tokens(&self, speaker: &Model, more: &str) -> Result<Vec<TokenId>> {
        let text = [&self.text, more].concat();
        Ok(speaker.tokenizer.encode(&text, self.add_special)?)
    }
}

/// The prompt of a conversation as text: by a chat template, as in [`chat_prompt`], or plain.
///
/// If the template refuses a system message, that message goes to the head of the first user
/// message.
pub(crate) fn prompt(
    kind: &DecoderKind,
    models: &Models,
    conversation: &Conversation,
) -> Result<Prompt> {
    let messages = &conversation.messages;
    match conversation.format {
        PromptFormat::Plain(format) => {
            Ok(Prompt { text: format.text(messages), add_special: true })
        }
        PromptFormat::Chat => {
            let text = chat_text(kind, models, messages).or_else(|refusal| {
                let merged = without_system(messages).ok_or(refusal)?;
                chat_text(kind, models, &merged)
            });
            Ok(Prompt { text: text?, add_special: false })
        }
    }
}

/// The tokens of [`prompt`].
pub(crate) fn prompt_tokens(
    kind: &DecoderKind,
    models: &Models,
    conversation: &Conversation,
) -> Result<Vec<TokenId>> {
    prompt(kind, models, conversation)?.tokens(speaker(kind, models), "")
}

/// The messages with the system message at the head of the user's; none without a system message.
fn without_system(messages: &[Message]) -> Option<Vec<Message>> {
    let [system, user, rest @ ..] = messages else {
        return None;
    };
    let first = Message::user(format!("{}\n\n{}", system.content, user.content));
    let both = system.role == "system" && user.role == "user";
    both.then(|| std::iter::once(first).chain(rest.iter().cloned()).collect())
}

fn chat_text(kind: &DecoderKind, models: &Models, messages: &[Message]) -> Result<String> {
    let speaker = speaker(kind, models);
    let lenders = models.values().filter(|m| m.counted.vocab() == speaker.counted.vocab());
    let template = std::iter::once(speaker).chain(lenders).find_map(|m| m.chat_template.as_ref());
    let Some(template) = template else {
        let names = kind.models().join("`, `");
        bail!(WrongRequest(format!(
            "no chat template: neither `{names}` nor another model of this vocabulary has one; add \
             an aligned model of the same family to the request, which lends its own, or give a task \
             `format = \"plain\"`"
        )));
    };
    template.render(messages, true).context("the chat template failed")
}
