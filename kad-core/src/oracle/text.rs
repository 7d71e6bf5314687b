//! Distributions over whole continuations: of a decoder, and of a predictor.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::enumerate::enumerate;
use crate::decode::{Continuation, Decoder, Emitted, Limits};
use crate::error::DecodeError;
use crate::number::Number;
use crate::predictor::Predictor;
use crate::vocab::TokenId;

/// A distribution over complete continuations.
pub type TextDistribution = BTreeMap<Vec<TokenId>, f64>;

/// The joint distribution of the continuations of `prompt` that `decoder` makes under `limits`.
///
/// Enumerates every path of every step. The code of [`generate`](crate::decode::generate) handles
/// stopping criteria. A step's distribution depends only on the context and the room left (the
/// contract of [`Decoder`]), so each context is enumerated once, however many paths lead to it.
///
/// # Errors
/// An error of the decoder.
///
/// ```
/// use kad_core::decode::{Limits, SingleDecoder};
/// use kad_core::oracle::{TableModel, joint_distribution, text_distribution, total_variation};
/// use kad_core::{ModelPredictor, Sampling};
/// let model = TableModel::random("toy", 3, 2, 11);
/// let predictor = || ModelPredictor::new(&model, Sampling::at_temperature(1.0).unwrap());
/// let limits = Limits { max_new_tokens: 3, eos: vec![0] };
/// let found = text_distribution(&mut SingleDecoder::new(predictor()?), &[1], &limits)?;
/// let expected = joint_distribution(&mut predictor()?, &[1], 3, &[0])?;
/// assert!(total_variation(&found, &expected) < 1e-12);
/// # Ok::<(), kad_core::DecodeError>(())
/// ```
pub fn text_distribution(
    decoder: &mut dyn Decoder,
    prompt: &[TokenId],
    limits: &Limits,
) -> Result<TextDistribution, DecodeError> {
    decoder.begin(prompt.len());
    let mut finished: BTreeMap<Vec<TokenId>, <f64 as Number>::Sum> = BTreeMap::new();
    // Shorter texts first, so that all paths to a context arrive before it is continued.
    let mut open = BTreeMap::from([((0, Vec::new()), <f64 as Number>::Sum::default())]);
    open.values_mut().for_each(|sum| f64::add_to(sum, 1.0));
    while let Some(((_, text), reached)) = open.pop_first() {
        let reached = f64::total(reached);
        for ((longer, ended), probability) in step_distribution(decoder, prompt, &text, limits)? {
            let place = if ended {
                finished.entry(longer).or_default()
            } else {
                open.entry((longer.len(), longer)).or_default()
            };
            f64::add_to(place, reached * probability);
        }
    }
    Ok(finished.into_iter().map(|(text, sum)| (text, f64::total(sum))).collect())
}

/// The distribution of the text after one more step, with a flag for texts that ended there.
fn step_distribution(
    decoder: &mut dyn Decoder,
    prompt: &[TokenId],
    text: &[TokenId],
    limits: &Limits,
) -> Result<BTreeMap<(Vec<TokenId>, bool), f64>, DecodeError> {
    let before = Continuation::resume(prompt, text);
    let room = before.room(limits, decoder.context_len());
    if room == 0 {
        return Ok(BTreeMap::from([((text.to_vec(), true), 1.0)]));
    }
    let mut made = Vec::new();
    enumerate(|choices| {
        made.clear();
        decoder.step(&before.context, room, choices, &mut made)?;
        let mut after = Continuation::resume(prompt, text);
        let mut observe = |_: &Emitted| ControlFlow::Continue(());
        let stop = after.take(&made, limits, &mut observe);
        Ok((after.context[prompt.len()..].to_vec(), stop.is_some()))
    })
}

/// The joint distribution over continuations that a predictor defines: the product of its
/// next-token distributions, up to `length` tokens or the first token of `eos`.
///
/// # Errors
/// An error of the predictor.
pub fn joint_distribution(
    predictor: &mut dyn Predictor,
    prompt: &[TokenId],
    length: usize,
    eos: &[TokenId],
) -> Result<TextDistribution, DecodeError> {
    predictor.begin(prompt.len());
    let mut finished = BTreeMap::new();
    let mut open = vec![(Vec::new(), 1.0)];
    let mut distributions = Vec::new();
    while let Some((continuation, probability)) = open.pop() {
        let ended = continuation.last().is_some_and(|last| eos.contains(last));
        let context = [prompt, &continuation].concat();
        if ended || continuation.len() == length || context.len() == predictor.context_len() {
            finished.insert(continuation, probability);
            continue;
        }
        predictor.distributions(&context, 1, &mut distributions)?;
        for (token, &p) in (0..).zip(distributions[0].probs()).filter(|(_, p)| **p > 0.0) {
            let longer = [&continuation[..], &[token]].concat();
            open.push((longer, probability * p));
        }
    }
    Ok(finished)
}
