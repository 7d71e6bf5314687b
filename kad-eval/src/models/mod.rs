//! Loads the models of a request, checks them against each other and makes decoders of them.

mod chain;
mod continuations;
pub(crate) mod decoder;
mod digest;
mod divergence;
mod left_out;
mod load;
mod timed;

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use kad_backends::Message;
use kad_core::decode::Decoder;
use kad_core::{LanguageModel, Predictor, TokenId};

pub(crate) use chain::{lookup_drafter, tree_drafter};
pub(crate) use continuations::{Continuations, continuations};
pub(crate) use divergence::{first_difference_at, top_two_gap};
pub(crate) use left_out::{check_baseline, load_for};
pub(crate) use load::{load, load_all};
use timed::TimedModel;

use crate::config::{ChainPlan, DecoderKind, SamplingPlan};
use crate::failure::WrongRequest;
use crate::task::{Conversation, PromptFormat};

/// A model with its tokenizer and metadata. Its forward passes are counted and timed.
pub(crate) struct Model {
    pub(crate) counted: TimedModel<Box<dyn LanguageModel>>,
    pub(crate) tokenizer: std::sync::Arc<kad_backends::Tokenizer>,
    pub(crate) chat_template: Option<kad_backends::ChatTemplate>,
    pub(crate) eos: Vec<TokenId>,
    pub(crate) details: kad_backends::ModelDetails,
    /// Digest of its files.
    pub(crate) digest: String,
    /// Cost of loading; none for an early exit, which shares the weights of another model.
    pub(crate) loading: Option<LoadCost>,
}

/// Cost of loading a model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct LoadCost {
    /// Wall clock, fetching included.
    pub(crate) seconds: f64,
    /// Growth of the process in memory; none where the system does not report it. Memory that an
    /// earlier load returned to the allocator is reused and not counted.
    pub(crate) resident_bytes: Option<u64>,
}

/// Models by the names the request gives them.
pub(crate) type Models = BTreeMap<String, Model>;

/// Refuses a decoder whose models do not share a vocabulary, or whose token trees have more nodes
/// than their context length. The error names both models, both vocabularies and the first token that
/// differs; for a level of a chain also its place in the file.
pub(crate) fn check_shared(kind: &DecoderKind, models: &Models) -> Result<()> {
    if let DecoderKind::Chain(chain) = kind {
        return check_chain(chain, models);
    }
    let names = kind.models();
    let found = names.windows(2).find_map(|pair| mismatch([pair[0], pair[1]], models));
    found.map_or(Ok(()), |mismatch| bail!(WrongRequest(mismatch)))
}

/// Compares every model of every level with the target's.
fn check_chain(chain: &ChainPlan, models: &Models) -> Result<()> {
    check_shared(&chain.target.distribution, models)?;
    let target = chain.target.distribution.models().pop().unwrap_or_default();
    // Candidates of a plan have no levels yet.
    let levels = chain.listed().iter().map(Some).chain(std::iter::repeat(None));
    for (draft, level) in chain.drafts().into_iter().zip(levels) {
        let names = draft.distribution().map_or(Vec::new(), |part| part.distribution.models());
        let mistake = |message: String, help: &str| match level.and_then(|l| l.place.as_ref()) {
            Some(place) => WrongRequest(place.error(message).help(help).to_string()),
            None => WrongRequest(message),
        };
        if let Some(found) = names.iter().find_map(|name| mismatch([target, name], models)) {
            bail!(mistake(found, "draft with a model that has the target's tokenizer"));
        }
        let nodes = level.and_then(|level| level.tree).map_or(0, |tree| tree.nodes().get());
        let limits = names.into_iter().chain([target]);
        let limits = limits.map(|name| (name, models[name].counted.context_len()));
        let smallest = limits.min_by_key(|(_, limit)| *limit);
        if let Some((name, limit)) = smallest.filter(|(_, limit)| nodes > *limit) {
            let message = format!(
                "a tree of {nodes} nodes is wider than the context of `{name}`, {limit} tokens"
            );
            bail!(mistake(message, "every node takes a position of the context: lower `nodes`"));
        }
    }
    Ok(())
}

/// The reason why two models cannot be combined; none if they can.
fn mismatch(names: [&str; 2], models: &Models) -> Option<String> {
    let [one, other] = names.map(|name| &models[name]);
    let (vocab, other_vocab) = (one.counted.vocab(), other.counted.vocab());
    let mismatch = vocab.ensure_same(names[0], other_vocab, names[1]).err()?;
    Some(format!("{mismatch}{}", first_difference(one, other)))
}

fn first_difference(one: &Model, other: &Model) -> String {
    let smaller = one.counted.vocab().size().min(other.counted.vocab().size());
    let text = |model: &Model, id| model.tokenizer.token_text(id);
    let id = (0..smaller as TokenId).find(|&id| text(one, id) != text(other, id));
    id.map_or_else(String::new, |id| {
        let (one, other) = (text(one, id), text(other, id));
        format!("; first difference: token {id} is {one:?} against {other:?}")
    })
}

/// The decoder `kind` of these models, with new sessions.
pub(crate) fn decoder<'m>(
    kind: &'m DecoderKind,
    sampling: &SamplingPlan,
    models: &'m Models,
) -> Result<Box<dyn Decoder + 'm>> {
    let eos = eos(kind, models, sampling);
    decoder::decoder(kind, sampling, &|name| &models[name].counted, &eos)
}

/// The next-token distributions of a decoder along a text, of a chain the target's, with new sessions
/// of these models.
pub(crate) fn predictor<'m>(
    kind: &'m DecoderKind,
    sampling: &'m SamplingPlan,
    models: &'m Models,
) -> Result<Box<dyn Predictor + 'm>> {
    chain::predictor(kind, sampling, &|name| &models[name].counted)
}

/// The model whose tokenizer, chat template and end tokens a decoder uses: its aligned model; for a
/// chain, that of its target.
pub(crate) fn speaker<'m>(kind: &DecoderKind, models: &'m Models) -> &'m Model {
    let names = kind.models();
    &models[names[names.len() - 1]]
}

/// Tokens that end a text: the end tokens of all models of the decoder; for a chain, those of its
/// target. Empty if `sampling` turns them off.
pub(crate) fn eos(kind: &DecoderKind, models: &Models, sampling: &SamplingPlan) -> Vec<TokenId> {
    if !sampling.stop_at_end {
        return Vec::new();
    }
    let names = kind.distribution().models();
    let mut eos: Vec<TokenId> =
        names.iter().flat_map(|name| models[*name].eos.iter().copied()).collect();
    eos.sort_unstable();
    eos.dedup();
    eos
}

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
