//! Scores given texts (options, or a whole file) by a decoder's distribution.
//!
//! A text t₁ … tₙ after a prompt has the log-probability `Σ log π(tᵢ | prompt, t₁ … tᵢ₋₁)`, where π
//! is the decoder's next-token distribution: of a deferral mixture the mixture's, of a chain its
//! target's, with the decoder's temperature and truncation.

use anyhow::{Context, Result};
use kad_backends::Tokenizer;
use kad_core::{Distribution, Predictor, TokenId};

use crate::interrupt;
use crate::models::Continuations;
use crate::run::record::Scored;
use crate::task::{Grading, Item, Task, letter};

/// Most tokens scored in one forward pass: bounds the memory of logits for long texts.
const CHUNK: usize = 64;

/// Log-probabilities in nats; minus infinity where the distribution excludes a text.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Score {
    log_probs: Vec<f64>,
    pub(super) tokens: u64,
    bytes: u64,
    /// Sum of the deferral mass over the tokens; only of deferral mixtures.
    pub(super) deferral_mass: Option<f64>,
}

impl Score {
    /// The score of an item without scored tokens. Its mass is `Some(0)`, so that sums over items
    /// stay defined.
    pub(super) fn nothing() -> Self {
        Self { deferral_mass: Some(0.0), ..Self::default() }
    }

    /// The letter of the likeliest option, the first among equals; none if all are impossible.
    pub(super) fn likeliest(&self) -> Option<String> {
        let possible = self.log_probs.iter().enumerate().filter(|(_, nats)| nats.is_finite());
        let best = possible.max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0)))?;
        Some(letter(best.0))
    }

    /// Probability of the right options divided by that of all options, 0 if all are impossible; none
    /// for tasks of another grading.
    pub(super) fn points(&self, task: &Task, item: &Item) -> Option<f64> {
        if task.grading != Grading::RightMass {
            return None;
        }
        let most = self.log_probs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if most == f64::NEG_INFINITY {
            return Some(0.0);
        }
        let weights = || self.log_probs.iter().map(|nats| (nats - most).exp());
        let right = weights().zip(&item.options).filter(|(_, option)| option.right);
        let right: f64 = right.map(|(weight, _)| weight).sum();
        Some(right / weights().sum::<f64>())
    }

    pub(super) fn record(self) -> Scored {
        let finite = |nats: &f64| Some(*nats).filter(|nats| nats.is_finite());
        let log_probs = self.log_probs.iter().map(finite).collect();
        Scored { log_probs, tokens: self.tokens, bytes: self.bytes }
    }

    fn add(&mut self, other: &Self) {
        self.log_probs.extend(&other.log_probs);
        self.tokens += other.tokens;
        self.deferral_mass = match (self.deferral_mass, other.deferral_mass) {
            (Some(sum), Some(more)) => Some(sum + more),
            (sum, more) => sum.or(more),
        };
    }
}

/// Log-probability of each option; none if an option does not fit the context.
pub(super) fn options(
    predictor: &mut dyn Predictor,
    texts: &Continuations,
) -> Result<Option<Score>> {
    let longest = texts.texts.iter().map(Vec::len).max().unwrap_or(0);
    // The distribution after the last token is not needed.
    if longest.saturating_sub(1) > predictor.context_len() {
        return Ok(None);
    }
    let mut total = Score::default();
    for text in &texts.texts {
        total.add(&along(predictor, text, texts.shared)?);
    }
    Ok(Some(total))
}

/// Log-probability and bytes of the tokens of `text`, without the first token.
pub(super) fn text(
    predictor: &mut dyn Predictor,
    text: &str,
    tokenizer: &Tokenizer,
) -> Result<Score> {
    let tokens = tokenizer.encode(text, true)?;
    let bytes = scored_bytes(text, &tokens, tokenizer)?;
    Ok(Score { bytes, ..in_windows(predictor, &tokens)? })
}

/// Bytes of `text` after its first token, which is not scored: all bytes if the tokenizer puts a
/// special token first. A space that the tokenizer (SentencePiece) puts before the text does not
/// count.
fn scored_bytes(text: &str, tokens: &[TokenId], tokenizer: &Tokenizer) -> Result<u64> {
    let own = tokenizer.encode(text, false)?;
    let Some(&first) = own.first() else { return Ok(0) };
    if tokens.len() > own.len() && !tokens.starts_with(&own) {
        return Ok(text.len() as u64);
    }
    let first = tokenizer.bytes(first);
    let all: usize = own.iter().map(|id| tokenizer.bytes(*id).len()).sum();
    let space = usize::from(first.starts_with(b" ") && all > text.len());
    Ok(text.len().saturating_sub(first.len() - space) as u64)
}

/// Scores a text in windows of the context length. Each window begins with the last token of the one
/// before.
fn in_windows(predictor: &mut dyn Predictor, tokens: &[TokenId]) -> Result<Score> {
    let mut total = Score::nothing();
    let (mut nats, window) = (0.0, predictor.context_len().max(2));
    let mut from = 0;
    while from + 1 < tokens.len() {
        let end = tokens.len().min(from + window);
        let part = along(predictor, &tokens[from..end], 1)?;
        nats += part.log_probs.iter().sum::<f64>();
        total.add(&Score { log_probs: Vec::new(), ..part });
        from = end - 1;
    }
    total.log_probs = vec![nats];
    Ok(total)
}

/// `Σ log π(tᵢ | t₁ … tᵢ₋₁)` over the tokens after the first `from`, the prompt.
fn along(predictor: &mut dyn Predictor, text: &[TokenId], from: usize) -> Result<Score> {
    predictor.begin(from);
    let mut distribution = Distribution::default();
    let (mut nats, mut mass) = (0.0, None);
    for start in (from..text.len()).step_by(CHUNK) {
        if interrupt::requested() {
            // The item is given up, so the partial sum is not used.
            break;
        }
        let end = text.len().min(start + CHUNK);
        let context = &text[..end - 1];
        predictor.follow(context, end - start).context("cannot score the text")?;
        for (len, &token) in (start..end).zip(&text[start..]) {
            predictor.distribution(context, len, &mut distribution)?;
            nats += distribution.prob(token).ln();
            if let Some(deferred) = predictor.deferral_mass() {
                *mass.get_or_insert(0.0) += deferred;
            }
        }
    }
    let tokens = (text.len() - from) as u64;
    Ok(Score { log_probs: vec![nats], tokens, bytes: 0, deferral_mass: mass })
}

#[cfg(test)]
mod tests;
