//! Checks that the models of a decoder share a vocabulary.

use anyhow::{Result, bail};
use kad_core::{LanguageModel, TokenId};

use super::{Model, Models};
use crate::config::{ChainPlan, DecoderKind};
use crate::failure::WrongRequest;

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
