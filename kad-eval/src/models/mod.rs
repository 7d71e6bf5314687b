//! Loads the models of a request, checks them against each other and makes decoders of them.

mod chain;
mod continuations;
pub(crate) mod decoder;
mod digest;
mod divergence;
mod left_out;
mod load;
mod prompt;
mod timed;
mod vocabulary;

use std::collections::BTreeMap;

use anyhow::Result;
use kad_core::decode::Decoder;
use kad_core::{LanguageModel, Predictor, TokenId};

pub(crate) use chain::{lookup_drafter, tree_drafter};
pub(crate) use continuations::{Continuations, continuations};
pub(crate) use divergence::{first_difference_at, top_two_gap};
pub(crate) use left_out::{check_baseline, load_for};
pub(crate) use load::{load, load_all};
pub(crate) use prompt::{Prompt, chat_prompt, prompt, prompt_tokens};
use timed::TimedModel;
pub(crate) use vocabulary::check_shared;

use crate::config::{DecoderKind, SamplingPlan};

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
