//! `kad prove`: the distribution that decoders really have against the one they claim.

mod claimed;
mod cost;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use comfy_table::ColumnConstraint;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use indicatif::ProgressBar;
use kad_core::decode::{Decoder, Emitted, Limits, generate};
use kad_core::oracle::{TextDistribution, enumerate, text_distribution, total_variation};
use kad_core::{DecodeError, LanguageModel, TokenId};
use serde::Serialize;

use crate::cli::ProveArgs;
use crate::config::{self, Claim, DecoderKind, DecoderPlan, Proof};
use crate::failure::Failure;
use crate::models::{self, Rules, Settings};
use crate::output;

/// The total variation distance up to which two enumerated distributions are one: what rounding may
/// cost.
const EXACT: f64 = 1e-12;

/// What came out for one decoder.
#[derive(Serialize)]
struct Verdict {
    proof: String,
    decoder: String,
    distribution: String,
    /// Texts of positive probability.
    texts: usize,
    total_variation: f64,
    /// Whether the two distributions are one.
    proved: bool,
    /// Whether they were said to be.
    exact: bool,
    /// Whether what was said holds.
    holds: bool,
    /// The text on which both distributions differ most.
    #[serde(skip_serializing_if = "Option::is_none")]
    worst: Option<Worst>,
}

#[derive(Serialize)]
struct Worst {
    text: Vec<TokenId>,
    enumerated: f64,
    claimed: f64,
}

pub(super) fn run(args: &ProveArgs) -> Result<(), Failure> {
    // All files first: a mistake in the last one should not cost the work on the others.
    let proofs: Vec<Proof> = args
        .files
        .iter()
        .map(|file| read(file))
        .collect::<Result<_>>()
        .map_err(Failure::Request)?;
    let mut refuted = Vec::new();
    for proof in &proofs {
        let verdicts = verdicts(proof)?;
        print(args, proof, &verdicts)?;
        refuted.extend(verdicts.into_iter().filter(|verdict| !verdict.holds));
    }
    match refuted.first() {
        None => Ok(()),
        Some(first) => Err(Failure::Work(anyhow!("{}", complaint(first, refuted.len())))),
    }
}

fn read(file: &Path) -> Result<Proof> {
    let name = file.display().to_string();
    let text =
        std::fs::read_to_string(file).with_context(|| format!("cannot read the proof {name}"))?;
    let proof = config::read_proof(&name, &text)?;
    cost::check(&proof).with_context(|| name)?;
    Ok(proof)
}

fn verdicts(proof: &Proof) -> Result<Vec<Verdict>> {
    let terminal = output::shows_progress();
    let bar = if terminal { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
    bar.enable_steady_tick(Duration::from_secs(1));
    let distribution = |plan: &DecoderPlan| {
        bar.set_message(format!("{}: {}", proof.name, plan.name));
        enumerated(proof, plan).with_context(|| format!("decoder `{}`", plan.name))
    };
    // Only distributions that others are held to are kept: a distribution may have a million texts.
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
    let verdicts = proof.claims.iter().map(verdict).collect();
    bar.finish_and_clear();
    verdicts
}

/// The distribution that the decoder has: the one that `kad run` would decode with.
fn enumerated(proof: &Proof, plan: &DecoderPlan) -> Result<TextDistribution> {
    let rules = Rules::of(&plan.kind)?;
    let (sampling, decision) = (plan.sampling.sampling()?, plan.sampling.decision()?);
    let settings = Settings { sampling, decision, eos: proof.eos.clone() };
    let model = |name: &str| -> &dyn LanguageModel { &proof.models[name] };
    let mut decoder = models::decoder::decoder(&plan.kind, model, &rules, &settings)?;
    let limits = limits(proof, plan);
    if plan.kind.carries_tokens() {
        return Ok(whole_texts(&mut *decoder, &proof.prompt, &limits)?);
    }
    Ok(text_distribution(&mut *decoder, &proof.prompt, &limits)?)
}

/// The distribution of a decoder whose steps hand tokens on to the next: a step's distribution
/// depends on more than its context, so paths are enumerated from the prompt to the end of the
/// text.
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

/// A text ends at the proof's length, or earlier if the decoder's own settings say so.
fn limits(proof: &Proof, plan: &DecoderPlan) -> Limits {
    let own = usize::try_from(plan.sampling.max_new_tokens).unwrap_or(usize::MAX);
    Limits { max_new_tokens: proof.length.min(own), eos: proof.eos.clone() }
}

/// Holds the enumerated `distribution` of a decoder to its claim; `others` are the distributions
/// claimed by name.
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
    // Written so that NaN proves nothing.
    let proved = total_variation <= EXACT;
    // And NaN is no proof of the opposite.
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

/// Whose distribution is claimed.
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

fn print(args: &ProveArgs, proof: &Proof, verdicts: &[Verdict]) -> Result<()> {
    if args.json {
        for verdict in verdicts {
            output::line(&serde_json::to_string(verdict)?)?;
        }
        return Ok(());
    }
    let mut table = crate::report::table::empty(UTF8_FULL_CONDENSED);
    table.set_header(["decoder", "claims the distribution of", "texts", "TV", ""]);
    for verdict in verdicts {
        table.add_row([
            verdict.decoder.clone(),
            verdict.distribution.clone(),
            verdict.texts.to_string(),
            format!("{:.1e}", verdict.total_variation),
            in_short(verdict).to_owned(),
        ]);
    }
    // Only words are broken where a terminal is narrow.
    for column in table.column_iter_mut().skip(2) {
        column.set_constraint(ColumnConstraint::ContentWidth);
    }
    let Proof { name, length, vocab, .. } = proof;
    output::line(&format!("{name}: texts of up to {length} of {vocab} tokens\n{table}"))?;
    Ok(())
}

fn in_short(verdict: &Verdict) -> &'static str {
    match (verdict.exact, verdict.holds) {
        (true, true) => "proved",
        (true, false) => "NOT PROVED",
        (false, true) => "another distribution, as said",
        (false, false) => "NOT ANOTHER DISTRIBUTION",
    }
}

fn complaint(first: &Verdict, refuted: usize) -> String {
    let Verdict { proof, decoder, distribution, total_variation, .. } = first;
    let others = if refuted > 1 { format!(" (and {} more)", refuted - 1) } else { String::new() };
    if !first.exact {
        return format!(
            "NOT ANOTHER DISTRIBUTION: `{decoder}` of {proof} is said not to be exact, but has the distribution of \
             {distribution}{others}: total variation {total_variation:e}; leave out `exact = false`"
        );
    }
    let at = first.worst.as_ref().map_or(String::new(), |worst| {
        let Worst { text, enumerated, claimed } = worst;
        format!("; most at the text {text:?}: probability {enumerated}, claimed {claimed}")
    });
    format!(
        "NOT PROVED: `{decoder}` of {proof} does not have the distribution of {distribution}{others}: total variation \
         {total_variation:e}{at}"
    )
}
