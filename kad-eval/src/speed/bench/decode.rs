//! Decodes what is compared, clock in hand.

use std::collections::BTreeMap;

use anyhow::Result;
use kad_core::TokenId;
use kad_core::decode::Limits;
use rand::SeedableRng;
use rand::seq::SliceRandom;

use super::same_text::{SameTexts, compare};
use super::{BenchDecoder, BenchSettings};
use super::{BenchResult, Text, Texts, result};
use crate::config::distribution_in_words;
use crate::models::{self, Models, Rules, Settings};
use crate::speed::profile::Prompts;
use crate::speed::progress::Progress;
use crate::speed::timed_decoding::{InPasses, StepTime, TimedText, decode, in_passes};

/// What was measured of one decoder: `[prompts][repetitions]`.
pub(super) type Measured = Vec<Vec<Sample>>;

/// One text of one decoder.
pub(super) struct Sample {
    /// None if it ended with a step that read its prompt.
    text: Option<Text>,
    /// In passes of each model, without the steps that read the prompt.
    models: BTreeMap<String, InPasses>,
    pub(super) tokens: Vec<TokenId>,
}

/// The results of all decoders on the same prompts and repetitions; None if the user interrupted.
/// The first decoder is the baseline.
///
/// # Errors
/// If a model fails, or no prompt fits all models.
pub(crate) fn measure(
    settings: BenchSettings,
    decoders: Vec<BenchDecoder>,
    models: &Models,
    prompts: &Prompts,
) -> Result<Option<Vec<BenchResult>>> {
    let measured = texts(settings, &decoders, models, prompts)?;
    Ok(measured.map(|(measured, same)| results(decoders, &measured, same)))
}

/// All texts by decoder, and the comparison with the baseline's.
fn texts(
    settings: BenchSettings,
    decoders: &[BenchDecoder],
    models: &Models,
    prompts: &Prompts,
) -> Result<Option<(Vec<Measured>, SameTexts)>> {
    let rules: Vec<Rules> =
        decoders.iter().map(|one| Rules::of(&one.kind)).collect::<Result<_>>()?;
    let kinds: Vec<_> = decoders.iter().map(|one| &one.kind).collect();
    let prompts = prompts.common(&kinds, models)?;
    let progress = Progress::new("texts", settings.reps * prompts.len() * decoders.len());
    let mut order: Vec<usize> = (0..decoders.len()).collect();
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    let empty = || prompts.iter().map(|_| Vec::new()).collect();
    let mut found: Vec<Measured> = decoders.iter().map(|_| empty()).collect();
    // Decoders take turns by all prompts: text by text, each would find the caches full of
    // another's weights and cores asleep that it needs, as it never does in use.
    for rep in 0..settings.reps {
        order.shuffle(&mut rng);
        for &at in &order {
            let one = &decoders[at];
            let eos = models::eos(&one.kind, models, &one.sampling);
            let limits = Limits { max_new_tokens: settings.tokens, eos };
            for (prompt, (seed, texts)) in prompts.iter().enumerate() {
                // Another draw each time, the same one for every decoder.
                let seed = seed.wrapping_add(1_000_003 * rep as u64);
                let made = text(one, models, &rules[at], &texts[at], &limits, seed)?;
                let Some(made) = made else { return Ok(None) };
                found[at][prompt].push(sample(one, made));
                progress.one();
            }
        }
    }
    let same = compare(decoders, &found, &prompts, models)?;
    Ok(Some((found, same)))
}

/// One text with fresh sessions.
fn text(
    one: &BenchDecoder,
    models: &Models,
    rules: &Rules,
    prompt: &[TokenId],
    limits: &Limits,
    seed: u64,
) -> Result<Option<TimedText>> {
    let (sampling, decision) = (one.sampling.sampling()?, one.sampling.decision()?);
    let settings = Settings { sampling, decision, eos: limits.eos.clone() };
    let mut decoder = models::decoder(&one.kind, models, rules, &settings)?;
    let names = one.kind.models();
    let clock = || in_passes(models, &names);
    Ok(decode(&mut *decoder, prompt, limits, seed, &clock)?)
}

fn sample(one: &BenchDecoder, made: TimedText) -> Sample {
    let later = || made.steps.iter().filter(|step| !step.reads_prompt);
    let own = |index: usize| InPasses {
        passes: later().map(|step| step.passes[index]).sum(),
        seconds: later().map(|step| step.by_model[index]).sum(),
    };
    let names = one.kind.models().into_iter().enumerate();
    let models = names.map(|(index, name)| (name.to_owned(), own(index))).collect();
    Sample { text: timed(&made.steps), models, tokens: made.tokens }
}

/// A text without the steps that read its prompt; None if there was no other.
fn timed(steps: &[StepTime]) -> Option<Text> {
    let (first, later): (Vec<&StepTime>, Vec<&StepTime>) =
        steps.iter().partition(|step| step.reads_prompt);
    let sum = |of: fn(&StepTime) -> f64| later.iter().map(|step| of(step)).sum();
    let tokens: f64 = sum(|step| step.emitted as f64);
    (tokens > 0.0).then(|| Text {
        seconds: sum(|step| step.seconds),
        passing: sum(StepTime::passing),
        tokens,
        first: first.iter().map(|step| step.seconds).sum(),
    })
}

/// The texts of each decoder, and what its models did. A repetition of a prompt on which
/// some decoder ended at once is left out for all, so that what is compared is of the same draws.
fn matched(measured: &[Measured]) -> Vec<(Texts, BTreeMap<String, InPasses>)> {
    let mut found: Vec<(Texts, BTreeMap<String, InPasses>)> =
        vec![Default::default(); measured.len()];
    let (prompts, first) = (measured.first().map_or(0, Vec::len), measured.first());
    for prompt in 0..prompts {
        let reps = first.map_or(0, |result| result[prompt].len());
        let complete =
            |rep: &usize| measured.iter().all(|result| result[prompt][*rep].text.is_some());
        let kept: Vec<usize> = (0..reps).filter(complete).collect();
        if kept.is_empty() {
            continue;
        }
        for (result, (texts, models)) in measured.iter().zip(&mut found) {
            texts.push(kept.iter().filter_map(|&rep| result[prompt][rep].text).collect());
            for (model, own) in kept.iter().flat_map(|&rep| &result[prompt][rep].models) {
                let sum: &mut InPasses = models.entry(model.clone()).or_default();
                sum.passes += own.passes;
                sum.seconds += own.seconds;
            }
        }
    }
    found
}

/// The first one is the baseline.
fn results(
    decoders: Vec<BenchDecoder>,
    measured: &[Measured],
    same_texts: SameTexts,
) -> Vec<BenchResult> {
    let matched = matched(measured);
    let same: Vec<bool> = decoders.iter().map(|one| one.same_distribution(&decoders[0])).collect();
    let baseline = matched.first().map(|(texts, _)| texts.clone()).unwrap_or_default();
    let numbered = decoders.into_iter().zip(matched).zip(same_texts).enumerate();
    let made = numbered.map(|(index, ((one, (texts, models)), same_text))| {
        let distribution = distribution_in_words(&one.kind, &one.sampling);
        let baseline = (index > 0).then_some(&baseline);
        let result = result(one.name, one.predicted, texts, baseline).with(
            distribution,
            same[index],
            &models,
        );
        BenchResult { same_text, ..result }
    });
    made.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(seconds: Option<f64>, of_large: f64) -> Sample {
        let text = seconds.map(|seconds| Text { seconds, tokens: 1.0, ..Text::default() });
        let own = InPasses { passes: 2, seconds: of_large };
        let models = BTreeMap::from([("large".to_owned(), own)]);
        Sample { text, models, tokens: Vec::new() }
    }

    /// The second repetition of one decoder is missing: the third of both stays with the third.
    #[test]
    fn repetitions_stay_beside_each_other() {
        let a = vec![
            vec![one(Some(1.0), 0.5), one(None, 64.0), one(Some(3.0), 0.25)],
            vec![one(None, 64.0)],
        ];
        let b = vec![
            vec![one(Some(10.0), 5.0), one(Some(20.0), 64.0), one(Some(30.0), 2.0)],
            vec![one(Some(40.0), 64.0)],
        ];
        let found = matched(&[a, b]);
        let seconds = |result: usize| -> Vec<Vec<f64>> {
            let texts = found[result].0.iter();
            texts.map(|reps| reps.iter().map(|text| text.seconds).collect()).collect()
        };
        assert_eq!((seconds(0), seconds(1)), (vec![vec![1.0, 3.0]], vec![vec![10.0, 30.0]]));
        let own =
            |result: usize| (found[result].1["large"].passes, found[result].1["large"].seconds);
        assert_eq!((own(0), own(1)), ((4, 0.75), (4, 7.0)));
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
        let found = timed(&[step(8.0, true), step(1.0, false), step(4.0, true), step(2.0, false)]);
        let wanted = Text { seconds: 3.0, passing: 1.5, tokens: 2.0, first: 12.0 };
        assert_eq!(found, Some(wanted));
        assert_eq!(timed(&[step(8.0, true), step(4.0, true)]), None);
    }
}
