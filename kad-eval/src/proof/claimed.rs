//! The claimed distribution, from the models' logits by formula. It shares no decoder, predictor or
//! sampling code with the enumeration; only the rules' `d` is taken from them. A chain claims the
//! distribution of its target.

use anyhow::{Result, bail};
use kad_core::decode::Limits;
use kad_core::deferral::{Deferral, Rule};
use kad_core::oracle::{TableModel, TextDistribution};
use kad_core::{Distribution, LanguageModel, LogitRows, Number, TokenId};

use crate::config::{DecoderKind, DecoderPlan, Proof, SamplingPlan};

/// The distribution over texts by the formula of `plan`: the product of its next-token
/// distributions.
pub(super) fn distribution(
    proof: &Proof,
    plan: &DecoderPlan,
    limits: &Limits,
) -> Result<TextDistribution> {
    let start = match plan.kind.distribution() {
        DecoderKind::Deferral { rule, .. } => match rule.rule() {
            Rule::History(rule) => rule.start(),
            _ => 0.0,
        },
        _ => 0.0,
    };
    let mut texts = TextDistribution::new();
    let mut open = vec![(proof.prompt.clone(), start, 1.0)];
    while let Some((text, state, probability)) = open.pop() {
        let new = &text[proof.prompt.len()..];
        let ended = new.last().is_some_and(|last| limits.eos.contains(last));
        if ended || new.len() == limits.max_new_tokens {
            texts.insert(new.to_vec(), probability);
            continue;
        }
        let (next, state) = next_distribution(proof, plan, &text, state)?;
        for (token, p) in (0..).zip(next).filter(|(_, p)| *p > 0.0) {
            open.push(([&text[..], &[token]].concat(), state, probability * p));
        }
    }
    Ok(texts)
}

/// The next-token distribution after `text`, and the new state of a rule with a history.
fn next_distribution(
    proof: &Proof,
    plan: &DecoderPlan,
    text: &[TokenId],
    state: f64,
) -> Result<(Vec<f64>, f64)> {
    let scores = |name: &str| scores(&proof.models[name], text);
    let drawn = |scores: &[f64]| sampled(scores, text, &plan.sampling);
    match plan.kind.distribution() {
        DecoderKind::Single { model } => Ok((drawn(&scores(model)?)?, state)),
        DecoderKind::ImplicitReward { base, small, aligned, cap_log_ratio, .. } => {
            let parts = [scores(base)?, scores(small)?, scores(aligned)?];
            let composed = match cap_log_ratio {
                None => excluding(&parts),
                Some(cap) => capped(&parts, *cap)?,
            };
            Ok((drawn(&composed)?, state))
        }
        DecoderKind::Deferral { base, aligned, rule, .. } => {
            let rule = rule.rule();
            let (p_scores, q_scores) = (scores(base)?, scores(aligned)?);
            let seen = |scores: &[f64]| -> Result<Distribution> {
                let distribution = softmax(scores, plan.sampling.decision_temperature)?;
                Ok(Distribution::from_probs(distribution)?)
            };
            let mut d = Deferral::default();
            match rule {
                Rule::Base(rule) => rule.decide(&seen(&p_scores)?, &mut d),
                Rule::Pair(rule) => rule.decide(&seen(&p_scores)?, &seen(&q_scores)?, &mut d),
                Rule::History(rule) => rule.decide(state, &seen(&p_scores)?, &mut d),
            }
            let (p, q) = (drawn(&p_scores)?, drawn(&q_scores)?);
            let mass = sum(d.weights().iter().zip(&p).map(|(d, p)| d * p));
            let position = text.len() - proof.prompt.len();
            let state = match rule {
                Rule::History(rule) => rule.next(state, mass, position),
                _ => state,
            };
            let mixed = (0..p.len()).map(|y| (1.0 - d.weights()[y]) * p[y] + q[y] * mass);
            Ok((mixed.collect(), state))
        }
        DecoderKind::Chain(_) => bail!("the target of a chain is no chain"),
    }
}

/// `ln p + ln q* − ln q` up to a constant; −∞ where one of them is.
fn excluding([p, q, q_star]: &[Vec<f64>; 3]) -> Vec<f64> {
    let never = f64::NEG_INFINITY;
    let composed = |y: usize| match [p[y], q[y], q_star[y]].contains(&never) {
        true => never,
        false => p[y] + (q_star[y] - q[y]),
    };
    (0..p.len()).map(composed).collect()
}

/// `ln p + min(ln q*/q, cap)` up to a constant, with `q*/0 = ∞`; −∞ where `p` or `q*` is zero.
fn capped([p, q, q_star]: &[Vec<f64>; 3], cap: f64) -> Result<Vec<f64>> {
    let (q, q_star) = (softmax(q, 1.0)?, softmax(q_star, 1.0)?);
    let composed = |y: usize| match q_star[y] > 0.0 {
        true => p[y] + (q_star[y] / q[y]).ln().min(cap),
        false => f64::NEG_INFINITY,
    };
    Ok((0..p.len()).map(composed).collect())
}

/// The model's logits after `text`.
fn scores(model: &TableModel, text: &[TokenId]) -> Result<Vec<f64>> {
    let mut rows = LogitRows::new(model.vocab().size());
    model.start()?.extend(text, 1, &mut rows)?;
    Ok(rows.row(0).iter().map(|&logit| f64::from(logit)).collect())
}

/// Repetition penalty, temperature, top-k, top-p and min-p in this order; each cut renormalises.
fn sampled(scores: &[f64], text: &[TokenId], plan: &SamplingPlan) -> Result<Vec<f64>> {
    let penalty = plan.repetition_penalty;
    let mut seen = vec![false; scores.len()];
    text.iter().for_each(|&token| seen[token as usize] = true);
    let penalised = |(&score, seen): (&f64, &bool)| match seen {
        true if score > 0.0 => score / penalty,
        true => score * penalty,
        false => score,
    };
    let scores: Vec<f64> = scores.iter().zip(&seen).map(penalised).collect();
    let mut distribution = softmax(&scores, plan.temperature)?;
    // By falling probability; the sort is stable, so lower IDs come first among equals.
    let mut ranked: Vec<usize> = (0..distribution.len()).collect();
    ranked.sort_by(|&a, &b| distribution[b].total_cmp(&distribution[a]));
    if let Some(k) = plan.top_k {
        let kept = ranked.iter().take(usize::try_from(k).unwrap_or(usize::MAX));
        distribution = keep(&distribution, &kept.copied().collect::<Vec<_>>());
    }
    if let Some(top_p) = plan.top_p.filter(|top_p| *top_p < 1.0) {
        // Tokens whose predecessors sum to less than top-p.
        let mut before = Default::default();
        let kept = ranked.iter().copied().take_while(|&y| {
            let short = f64::total(before) < top_p;
            f64::add_to(&mut before, distribution[y]);
            short
        });
        let kept: Vec<usize> = kept.collect();
        distribution = keep(&distribution, &kept);
    }
    if let Some(min_p) = plan.min_p {
        let floor = min_p * distribution.iter().copied().fold(0.0, f64::max);
        let kept: Vec<usize> =
            (0..distribution.len()).filter(|&y| distribution[y] >= floor).collect();
        distribution = keep(&distribution, &kept);
    }
    Ok(distribution)
}

fn keep(distribution: &[f64], kept: &[usize]) -> Vec<f64> {
    let total = sum(kept.iter().map(|&y| distribution[y]));
    let mut cut = vec![0.0; distribution.len()];
    kept.iter().for_each(|&y| cut[y] = distribution[y] / total);
    cut
}

/// `softmax(scores / temperature)`; at temperature 0 the lowest ID among the largest scores.
fn softmax(scores: &[f64], temperature: f64) -> Result<Vec<f64>> {
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let Some(best) = scores.iter().position(|&score| score == largest && score.is_finite()) else {
        bail!("the formula leaves no token possible");
    };
    if temperature == 0.0 {
        return Ok((0..scores.len()).map(|y| f64::from(u8::from(y == best))).collect());
    }
    let weights: Vec<f64> =
        scores.iter().map(|score| ((score - largest) / temperature).exp()).collect();
    let total = sum(weights.iter().copied());
    Ok(weights.iter().map(|weight| weight / total).collect())
}

/// A compensated sum.
fn sum(terms: impl Iterator<Item = f64>) -> f64 {
    let mut sum = Default::default();
    terms.for_each(|term| f64::add_to(&mut sum, term));
    f64::total(sum)
}
