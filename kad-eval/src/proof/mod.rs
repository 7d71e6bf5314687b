//! Proofs on table models: the distribution of a decoder, by enumeration of every outcome, against
//! the claimed one, by formula.

mod claimed;
mod cost;

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use anyhow::{Context, Result};
use kad_core::decode::{Decoder, Emitted, Limits, generate};
use kad_core::oracle::{TextDistribution, enumerate, text_distribution, total_variation};
use kad_core::{DecodeError, LanguageModel, TokenId};
use serde::Serialize;

use crate::config::{Claim, DecoderKind, DecoderPlan, Proof};
use crate::models;

pub(crate) use cost::check;

/// Largest total variation distance of equal distributions: rounding errors.
const EXACT: f64 = 1e-12;

/// The result for one decoder.
#[derive(Serialize)]
pub(crate) struct Verdict {
    pub(crate) proof: String,
    pub(crate) decoder: String,
    pub(crate) distribution: String,
    /// Texts of positive probability.
    pub(crate) texts: usize,
    pub(crate) total_variation: f64,
    /// True if the two distributions are equal.
    pub(crate) proved: bool,
    /// True if the claim is that they are equal.
    pub(crate) exact: bool,
    /// True if the claim holds.
    pub(crate) holds: bool,
    /// The text whose two probabilities differ most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) worst: Option<Worst>,
}

#[derive(Serialize)]
pub(crate) struct Worst {
    pub(crate) text: Vec<TokenId>,
    pub(crate) enumerated: f64,
    pub(crate) claimed: f64,
}

/// The verdict on every claim of `proof`, in order; `begin` is told the decoder before each
/// enumeration.
pub(crate) fn verdicts(proof: &Proof, begin: impl Fn(&str)) -> Result<Vec<Verdict>> {
    let distribution = |plan: &DecoderPlan| {
        begin(&plan.name);
        enumerated(proof, plan).with_context(|| format!("decoder `{}`", plan.name))
    };
    // Only the distributions that other claims refer to are kept: one may have a million texts.
    let mut kept: BTreeMap<&str, TextDistribution> = BTreeMap::new();
    let referred = |name: &str| proof.claims.iter().any(|claim| claim.of.as_deref() == Some(name));
    for plan in proof.claims.iter().map(|claim| &claim.decoder) {
        if referred(&plan.name) {
            kept.insert(&plan.name, distribution(plan)?);
        }
    }
    let verdict = |claim: &Claim| match kept.get(claim.decoder.name.as_str()) {
        Some(distribution) => verdict(proof, claim, distribution, &kept),
        None => verdict(proof, claim, &distribution(&claim.decoder)?, &kept),
    };
    proof.claims.iter().map(verdict).collect()
}

/// The distribution of the decoder that `kad run` would use.
fn enumerated(proof: &Proof, plan: &DecoderPlan) -> Result<TextDistribution> {
    let model = |name: &str| -> &dyn LanguageModel { &proof.models[name] };
    let (kind, sampling) = (&plan.kind, &plan.sampling);
    let mut decoder = models::decoder::decoder(kind, sampling, &model, &proof.eos)?;
    let limits = limits(proof, plan);
    if plan.kind.carries_tokens() {
        return Ok(whole_texts(&mut *decoder, &proof.prompt, &limits)?);
    }
    Ok(text_distribution(&mut *decoder, &proof.prompt, &limits)?)
}

/// The distribution of a decoder whose steps pass tokens on to the next step. A step's distribution
/// then depends on more than its context, so paths are enumerated from the prompt to the end.
fn whole_texts(
    decoder: &mut dyn Decoder,
    prompt: &[TokenId],
    limits: &Limits,
) -> Result<TextDistribution, DecodeError> {
    enumerate(|choices| {
        let go_on = &mut |_: &Emitted| ControlFlow::Continue(());
        let made = generate(decoder, prompt, limits, choices, go_on)?;
        Ok(made.tokens.iter().map(|made| made.token).collect())
    })
}

/// Texts end at the proof's length, or at the decoder's own limit if that is smaller.
fn limits(proof: &Proof, plan: &DecoderPlan) -> Limits {
    let own = usize::try_from(plan.sampling.max_new_tokens).unwrap_or(usize::MAX);
    Limits { max_new_tokens: proof.length.min(own), eos: proof.eos.clone() }
}

/// Compares the enumerated `distribution` of a decoder with its claim; `others` are the
/// distributions that claims name.
fn verdict(
    proof: &Proof,
    claim: &Claim,
    distribution: &TextDistribution,
    others: &BTreeMap<&str, TextDistribution>,
) -> Result<Verdict> {
    let plan = &claim.decoder;
    let formula;
    let claimed = match &claim.of {
        Some(other) => &others[other.as_str()],
        None => {
            formula = claimed::distribution(proof, plan, &limits(proof, plan))?;
            &formula
        }
    };
    let total_variation = total_variation(distribution, claimed);
    // NaN proves neither a claim nor its opposite.
    let proved = total_variation <= EXACT;
    let apart = total_variation > EXACT;
    let holds = if claim.exact { proved } else { apart };
    Ok(Verdict {
        proof: proof.name.clone(),
        decoder: plan.name.clone(),
        distribution: in_words(claim),
        texts: distribution.len(),
        total_variation,
        proved,
        exact: claim.exact,
        holds,
        worst: if proved { None } else { worst(distribution, claimed) },
    })
}

fn worst(distribution: &TextDistribution, claimed: &TextDistribution) -> Option<Worst> {
    let at = |distribution: &TextDistribution, text: &Vec<TokenId>| {
        distribution.get(text).copied().unwrap_or(0.0)
    };
    let apart = |text: &Vec<TokenId>| (at(distribution, text) - at(claimed, text)).abs();
    let texts = distribution.keys().chain(claimed.keys());
    let text = texts.max_by(|a, b| apart(a).total_cmp(&apart(b)))?;
    Some(Worst {
        text: text.clone(),
        enumerated: at(distribution, text),
        claimed: at(claimed, text),
    })
}

/// The claimed distribution in words.
fn in_words(claim: &Claim) -> String {
    if let Some(other) = &claim.of {
        return format!("`{other}`");
    }
    match claim.decoder.kind.distribution() {
        DecoderKind::Single { model } => model.clone(),
        DecoderKind::Deferral { base, aligned, rule, .. } => {
            format!("{base} deferring to {aligned}: {rule}")
        }
        DecoderKind::ImplicitReward { base, small, aligned, cap_log_ratio, .. } => {
            let cap = cap_log_ratio.map_or(String::new(), |cap| format!(", log ratio ≤ {cap}"));
            format!("{base} × {aligned} / {small}{cap}")
        }
        DecoderKind::Chain(chain) => chain.target.name.clone(),
    }
}
