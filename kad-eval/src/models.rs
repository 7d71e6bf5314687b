//! The models of a request: loaded, counted, checked against each other, and made into decoders.

pub(crate) mod decoder;
mod digest;

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use indicatif::ProgressBar;
use kad_backends::{LoadedModel, Message, ModelRequest};
use kad_core::decode::Decoder;
use kad_core::deferral::Rule;
use kad_core::{Counted, LanguageModel, TokenId};

pub(crate) use decoder::Settings;

use crate::config::{DecoderKind, ModelPlan};
use crate::failure::WrongRequest;
use crate::output;

/// A model with everything that comes with it, its passes counted.
pub(crate) struct Model {
    pub(crate) counted: Counted<Box<dyn LanguageModel>>,
    pub(crate) tokenizer: std::sync::Arc<kad_backends::Tokenizer>,
    pub(crate) chat_template: Option<kad_backends::ChatTemplate>,
    pub(crate) eos: Vec<TokenId>,
    pub(crate) details: kad_backends::ModelDetails,
    /// Of its files: changes when they do.
    pub(crate) digest: String,
}

/// Models by the names the request gives them.
pub(crate) type Models = BTreeMap<String, Model>;

/// Loads one model, showing on a terminal what is going on.
///
/// # Errors
/// With the model's name and source, and the backend's own words.
pub(crate) fn load(name: &str, plan: &ModelPlan) -> Result<Model> {
    let bar = if std::io::stderr().is_terminal() {
        ProgressBar::new_spinner().with_message(format!("loading {name}"))
    } else {
        ProgressBar::hidden()
    };
    bar.enable_steady_tick(Duration::from_millis(100));
    let request = ModelRequest {
        name: name.to_owned(),
        source: plan.source.parse()?,
        backend: plan.backend,
        dtype: plan.dtype,
    };
    let loaded = kad_backends::load(&request, &|step| bar.set_message(format!("{name}: {step}")));
    bar.finish_and_clear();
    let LoadedModel { model, tokenizer, chat_template, eos, details } =
        loaded.with_context(|| format!("cannot load model `{name}` from {}", plan.source))?;
    let digest = digest::of(&details.path)
        .with_context(|| format!("cannot read {} again", details.path.display()))?;
    Ok(Model { counted: Counted::new(model), tokenizer, chat_template, eos, details, digest })
}

/// Loads the models that `kinds` use.
///
/// # Errors
/// The first model that does not load.
pub(crate) fn load_all<'p>(
    plans: &BTreeMap<String, ModelPlan>,
    kinds: impl Iterator<Item = &'p DecoderKind>,
) -> Result<Models> {
    let mut models = Models::new();
    for name in kinds.flat_map(DecoderKind::models) {
        if !models.contains_key(name) {
            models.insert(name.to_owned(), load(name, &plans[name])?);
        }
    }
    for unused in plans.keys().filter(|name| !models.contains_key(*name)) {
        output::note(&format!("note: model `{unused}` is used by no decoder and was not loaded"));
    }
    Ok(models)
}

/// Refuses a decoder whose models do not share a vocabulary.
///
/// # Errors
/// Both names, both vocabularies, and the first token that differs.
pub(crate) fn check_shared(kind: &DecoderKind, models: &Models) -> Result<()> {
    let names = kind.models();
    for pair in names.windows(2) {
        let (one, other) = (&models[pair[0]], &models[pair[1]]);
        let (vocab, other_vocab) = (one.counted.vocab(), other.counted.vocab());
        if let Err(mismatch) = vocab.ensure_same(pair[0], other_vocab, pair[1]) {
            bail!(WrongRequest(format!("{mismatch}{}", first_difference(one, other))));
        }
    }
    Ok(())
}

fn first_difference(one: &Model, other: &Model) -> String {
    let smaller = one.counted.vocab().size().min(other.counted.vocab().size());
    let text = |model: &Model, id| model.tokenizer.token_text(id);
    let id = (0..smaller as TokenId).find(|&id| text(one, id) != text(other, id));
    id.map_or_else(String::new, |id| {
        format!(
            "; first difference: token {id} is {:?} against {:?}",
            text(one, id),
            text(other, id)
        )
    })
}

/// The core's rule of a decoder, if it has one. It must outlive the decoder.
///
/// # Errors
/// If a parameter is out of range.
pub(crate) fn rule(kind: &DecoderKind) -> Result<Option<Rule>> {
    match kind {
        DecoderKind::Deferral { rule, .. } => Ok(Some(rule.build()?)),
        DecoderKind::Single { .. } | DecoderKind::ImplicitReward { .. } => Ok(None),
    }
}

/// A decoder of these models with fresh sessions.
///
/// # Errors
/// If a backend cannot start a session, or a deferral decoder comes without its rule.
pub(crate) fn decoder<'m>(
    kind: &DecoderKind,
    models: &'m Models,
    rule: Option<&'m Rule>,
    settings: &Settings,
) -> Result<Box<dyn Decoder + 'm>> {
    decoder::decoder(kind, |name| &models[name].counted, rule, settings)
}

/// The model whose tokenizer, chat template and end tokens speak for a decoder: the aligned one.
pub(crate) fn speaker<'m>(kind: &DecoderKind, models: &'m Models) -> &'m Model {
    let names = kind.models();
    &models[names[names.len() - 1]]
}

/// Tokens that end a text: those of any of the decoder's models.
pub(crate) fn eos(kind: &DecoderKind, models: &Models) -> Vec<TokenId> {
    let mut eos: Vec<TokenId> =
        kind.models().iter().flat_map(|name| models[*name].eos.iter().copied()).collect();
    eos.sort_unstable();
    eos.dedup();
    eos
}

/// The prompt of a conversation, in tokens.
///
/// The speaker's chat template; a model without one borrows any other model's of the request that
/// speaks the same vocabulary, as the KAD experiments do for base models.
///
/// # Errors
/// If there is no template at all, or it refuses the conversation.
pub(crate) fn chat_prompt(
    kind: &DecoderKind,
    models: &Models,
    messages: &[Message],
) -> Result<Vec<TokenId>> {
    let speaker = speaker(kind, models);
    let lenders = models.values().filter(|m| m.counted.vocab() == speaker.counted.vocab());
    let template = std::iter::once(speaker).chain(lenders).find_map(|m| m.chat_template.as_ref());
    let Some(template) = template else {
        let names = kind.models().join("`, `");
        bail!("no chat template: neither `{names}` nor another model of this vocabulary has one");
    };
    let text = template.render(messages, true).context("the chat template failed")?;
    // The template writes the special tokens itself.
    Ok(speaker.tokenizer.encode(&text, false)?)
}
