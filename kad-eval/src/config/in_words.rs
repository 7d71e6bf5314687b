//! The distribution of a decoder's tokens, in words.

use super::{DecoderKind, SamplingPlan};

/// The distribution of a decoder in words: its models, its rule and its settings. A chain has the
/// distribution of its target; a lenient one approximates it.
pub(crate) fn distribution_in_words(kind: &DecoderKind, sampling: &SamplingPlan) -> String {
    let leniency = match kind {
        DecoderKind::Chain(chain) => chain.leniency(),
        _ => None,
    };
    let distribution = target(kind.distribution(), sampling);
    match leniency {
        Some(leniency) => {
            format!("approximate: lenient verification {leniency} towards {distribution}")
        }
        None => format!("exactly {distribution}"),
    }
}

fn target(kind: &DecoderKind, sampling: &SamplingPlan) -> String {
    let drawn = settings(sampling);
    match kind {
        DecoderKind::Single { model } => format!("{model} at {drawn}"),
        DecoderKind::Deferral { base, aligned, rule, .. } => {
            let seen = sampling.decision_temperature;
            format!(
                "the mixture of {base} and {aligned}, {rule}, decided at T = {seen}, drawn at {drawn}"
            )
        }
        DecoderKind::ImplicitReward { base, small, aligned, cap_log_ratio, .. } => {
            let cap = cap_log_ratio.map_or(String::new(), |cap| format!(", log ratio ≤ {cap}"));
            format!("{base} × {aligned} / {small}{cap}, normalised, at {drawn}")
        }
        DecoderKind::Chain(chain) => target(&chain.target.distribution, &chain.target.sampling),
    }
}

/// The settings that shape the distribution; settings without effect are left out.
fn settings(plan: &SamplingPlan) -> String {
    let mut words = vec![format!("T = {}", plan.temperature)];
    words.extend(plan.top_k.map(|k| format!("top-k {k}")));
    words.extend(plan.top_p.map(|p| format!("top-p {p}")));
    words.extend(plan.min_p.map(|p| format!("min-p {p}")));
    if plan.repetition_penalty != 1.0 {
        words.push(format!("repetition penalty {}", plan.repetition_penalty));
    }
    words.join(", ")
}
