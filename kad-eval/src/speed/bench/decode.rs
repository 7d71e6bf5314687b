//! Decoding and timing of a benchmark.

use anyhow::Result;
use kad_core::TokenId;
use rand::SeedableRng;
use rand::seq::SliceRandom;

use super::result::{BenchResult, TextTime, TextTimes};
use super::text_check::compare;
use super::{BenchDecoder, BenchSettings};
use crate::config::distribution_in_words;
use crate::models::Models;
use crate::speed::profile::Prompts;
use crate::speed::progress::MeasurementProgress;
use crate::speed::timed_decoding::{PassTotals, StepTime, TimedDecoder};

/// The texts of one decoder, `[prompts][repetitions]`.
pub(super) type DecoderTexts = Vec<Vec<MeasuredText>>;

/// One text of one decoder.
pub(super) struct MeasuredText {
    /// Time of the text; `None` if it ended with the step that read its prompt.
    time: Option<TextTime>,
    pub(super) tokens: Vec<TokenId>,
}

/// The results of all decoders on the same prompts and repetitions; `None` if the user interrupted.
/// The first decoder is the baseline.
pub(crate) fn measure(
    settings: BenchSettings,
    decoders: Vec<BenchDecoder>,
    models: &Models,
    prompts: &Prompts,
) -> Result<Option<Vec<BenchResult>>> {
    let kinds: Vec<_> = decoders.iter().map(|one| &one.kind).collect();
    let prompts = prompts.common(&kinds, models)?;
    let Some(texts) = decode(settings, &decoders, models, &prompts)? else { return Ok(None) };
    let equal = compare(&decoders, &texts, &prompts, models)?;
    let same: Vec<bool> = decoders.iter().map(|one| one.same_distribution(&decoders[0])).collect();
    let times = matched(&texts);
    let baseline = times.first().cloned().unwrap_or_default();
    let numbered = decoders.into_iter().zip(times).zip(equal).enumerate();
    let results = numbered.map(|(index, ((one, times), same_text))| BenchResult {
        distribution: distribution_in_words(&one.kind, &one.sampling),
        distribution_of_baseline: same[index],
        same_text,
        ..BenchResult::of(one.name, one.predicted, times, (index > 0).then_some(&baseline))
    });
    Ok(Some(results.collect()))
}

/// All texts by decoder; `None` if the user interrupted.
fn decode(
    settings: BenchSettings,
    decoders: &[BenchDecoder],
    models: &Models,
    prompts: &[(u64, Vec<Vec<TokenId>>)],
) -> Result<Option<Vec<DecoderTexts>>> {
    let total = settings.reps * prompts.len() * decoders.len();
    let progress = MeasurementProgress::new("texts", total);
    let mut order: Vec<usize> = (0..decoders.len()).collect();
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    let empty = || prompts.iter().map(|_| Vec::new()).collect();
    let mut found: Vec<DecoderTexts> = decoders.iter().map(|_| empty()).collect();
    // Decoders take turns per set of prompts, not per text: alternating would cool their caches.
    for rep in 0..settings.reps {
        order.shuffle(&mut rng);
        for &at in &order {
            let BenchDecoder { kind, sampling, .. } = &decoders[at];
            let max_new_tokens = settings.tokens;
            let decoder = TimedDecoder { kind, sampling, models, max_new_tokens };
            for (prompt, (seed, texts)) in prompts.iter().enumerate() {
                // Other draws in each repetition, the same ones for every decoder.
                let seed = seed.wrapping_add(1_000_003 * rep as u64);
                let Some(text) = decoder.text(&texts[at], seed)? else { return Ok(None) };
                let time = timed(&kind.models(), &text.steps);
                found[at][prompt].push(MeasuredText { time, tokens: text.tokens });
                progress.advance();
            }
        }
    }
    Ok(Some(found))
}

/// The times of a text without the steps that read its prompt; `None` if there are no others.
/// `models` has the order of the steps' vectors.
fn timed(models: &[&str], steps: &[StepTime]) -> Option<TextTime> {
    let (first, later): (Vec<&StepTime>, Vec<&StepTime>) =
        steps.iter().partition(|step| step.reads_prompt);
    let sum = |of: &dyn Fn(&StepTime) -> f64| later.iter().map(|step| of(step)).sum();
    let own = |index: usize| PassTotals {
        passes: later.iter().map(|step| step.passes[index]).sum(),
        seconds: sum(&|step| step.by_model[index]),
    };
    let tokens: f64 = sum(&|step| step.emitted as f64);
    (tokens > 0.0).then(|| TextTime {
        seconds: sum(&|step| step.seconds),
        passing: sum(&StepTime::passing),
        tokens,
        first: first.iter().map(|step| step.seconds).sum(),
        models: models.iter().enumerate().map(|(at, name)| ((*name).to_owned(), own(at))).collect(),
    })
}

/// The times of each decoder. A repetition of a prompt at which some decoder ended at once is left
/// out for all, so that compared texts have the same seeds.
fn matched(texts: &[DecoderTexts]) -> Vec<TextTimes> {
    let mut found = vec![TextTimes::new(); texts.len()];
    let Some(first) = texts.first() else { return found };
    for (prompt, reps) in first.iter().enumerate() {
        let complete = |rep: &usize| texts.iter().all(|own| own[prompt][*rep].time.is_some());
        let kept: Vec<usize> = (0..reps.len()).filter(complete).collect();
        if !kept.is_empty() {
            for (own, times) in texts.iter().zip(&mut found) {
                times.push(kept.iter().filter_map(|&rep| own[prompt][rep].time.clone()).collect());
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(seconds: Option<f64>) -> MeasuredText {
        let time = seconds.map(|seconds| TextTime { seconds, tokens: 1.0, ..TextTime::default() });
        MeasuredText { time, tokens: Vec::new() }
    }

    /// The second repetition of one decoder is missing: the third of both stays with the third.
    #[test]
    fn repetitions_stay_paired() {
        let a = vec![vec![one(Some(1.0)), one(None), one(Some(3.0))], vec![one(None)]];
        let all = vec![one(Some(10.0)), one(Some(20.0)), one(Some(30.0))];
        let b = vec![all, vec![one(Some(40.0))]];
        let found = matched(&[a, b]);
        let seconds = |decoder: usize| -> Vec<Vec<f64>> {
            let texts = found[decoder].iter();
            texts.map(|reps| reps.iter().map(|text| text.seconds).collect()).collect()
        };
        assert_eq!((seconds(0), seconds(1)), (vec![vec![1.0, 3.0]], vec![vec![10.0, 30.0]]));
    }

    #[test]
    fn steps_that_read_the_prompt_are_not_timed() {
        let step = |seconds, reads_prompt| StepTime {
            seconds,
            by_model: vec![0.5 * seconds],
            passes: vec![1],
            reads_prompt,
            emitted: 1,
            round: None,
        };
        let steps = [step(8.0, true), step(1.0, false), step(4.0, true), step(2.0, false)];
        let models = [("large".to_owned(), PassTotals { passes: 2, seconds: 1.5 })].into();
        let wanted = TextTime { seconds: 3.0, passing: 1.5, tokens: 2.0, first: 12.0, models };
        assert_eq!(timed(&["large"], &steps), Some(wanted));
        assert_eq!(timed(&["large"], &[step(8.0, true), step(4.0, true)]), None);
    }
}
