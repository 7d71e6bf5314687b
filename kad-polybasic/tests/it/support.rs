//! Shared by the tests of chains: models, chains built from settings, distributions of texts.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use kad_core::decode::{Decoder, Generation, Limits, generate};
use kad_core::deferral::Rule;
use kad_core::oracle::{
    TableModel, TextDistribution, enumerate, joint_distribution, text_distribution, total_variation,
};
use kad_core::{
    ChoiceSource, DecodeError, LanguageModel, Mixture, ModelPredictor, Predictor, SampledChoices,
    Sampling, TokenId,
};
use kad_polybasic::{
    DraftSettings, Drafter, Level, LevelDrafter, PredictorDrafter, PredictorTarget, SharedLength,
    Speculative, Stage, Surplus, Target, Verifier,
};

pub(crate) const PROMPT: [TokenId; 2] = [1, 0];
pub(crate) const EOS: TokenId = 2;
/// Rounding error of exact enumeration in `f64`; the project's bound for a proof.
pub(crate) const EXACT: f64 = 1e-12;
pub(crate) const VERIFIERS: [Verifier; 3] =
    [Verifier::Token, Verifier::Block, Verifier::SameUniform];
pub(crate) const FLAGS: [bool; 2] = [true, false];

pub(crate) fn limits(length: usize) -> Limits {
    Limits { max_new_tokens: length, eos: vec![EOS] }
}

pub(crate) fn at(temperature: f64) -> Sampling {
    Sampling::at_temperature(temperature).unwrap()
}

pub(crate) fn plain() -> Sampling {
    at(1.0)
}

pub(crate) fn predictor(model: &dyn LanguageModel) -> ModelPredictor<'_> {
    ModelPredictor::new(model, plain()).unwrap()
}

/// Models of three tokens, one of which ends the text. Each model looks at the last two or three
/// tokens.
pub(crate) fn tables<const N: usize>() -> [TableModel; N] {
    std::array::from_fn(|i| TableModel::random("table", 3, 2 + i % 2, i as u64 + 1))
}

pub(crate) fn mixture<'m>(
    base: &'m dyn LanguageModel,
    aligned: &'m dyn LanguageModel,
    rule: &'m Rule,
    sampling: Sampling,
) -> Mixture<'m> {
    Mixture::new(base, aligned, rule, sampling, plain()).unwrap()
}

pub(crate) fn drafting(length: usize, bonus: bool) -> DraftSettings {
    DraftSettings { bonus, ..DraftSettings::of(length).unwrap() }
}

/// Two levels, verified token by token.
pub(crate) fn speculative<D: Drafter, T: Target>(
    drafter: D,
    target: T,
    drafting: DraftSettings,
) -> Speculative<Stage<D, T>> {
    Speculative::new(Stage::new(drafter, target, drafting), &[EOS])
}

/// The settings of one verifying level: draft length or threshold, bonus, verifier.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LevelSettings {
    pub(crate) length: usize,
    pub(crate) bonus: bool,
    pub(crate) verifier: Verifier,
}

impl LevelSettings {
    pub(crate) fn new(length: usize, bonus: bool, verifier: Verifier) -> Self {
        Self { length, bonus, verifier }
    }

    /// Levels with these lengths and one verifier. The bits of `bonus` are the levels' bonus flags,
    /// the target's first.
    pub(crate) fn levels(lengths: &[usize], bonus: usize, verifier: Verifier) -> Vec<Self> {
        let plan = |(i, &length)| Self::new(length, bonus >> i & 1 == 1, verifier);
        lengths.iter().enumerate().map(plan).collect()
    }
}

pub(crate) type Top<'m> = Box<dyn Level + 'm>;

/// A chain of `targets`, the highest first, over `drafter`, and the lengths of its stages.
pub(crate) fn chain_over<'m>(
    targets: Vec<Box<dyn Target + 'm>>,
    drafter: Box<dyn Drafter + 'm>,
    levels: &[LevelSettings],
    surplus: Surplus,
) -> (Speculative<Top<'m>>, Vec<SharedLength>) {
    assert_eq!(targets.len(), levels.len());
    let (mut below, mut top, mut lengths) = (Some(drafter), None::<Top<'m>>, Vec::new());
    for (target, plan) in targets.into_iter().zip(levels).rev() {
        let drafter = below.take().unwrap_or_else(|| {
            Box::new(LevelDrafter::new(top.take().unwrap(), surplus).unwrap()) as Box<dyn Drafter>
        });
        let stage = Stage::new(drafter, target, drafting(plan.length, plan.bonus));
        let stage = stage.verified_by(plan.verifier);
        lengths.insert(0, stage.length());
        top = Some(Box::new(stage));
    }
    (Speculative::new(top.unwrap(), &[EOS]), lengths)
}

/// A chain of `models` with one sampling, the target first, the drafter last.
pub(crate) fn chain_at<'m, M: LanguageModel>(
    sampling: Sampling,
    models: &'m [M],
    levels: &[LevelSettings],
    surplus: Surplus,
) -> Speculative<Top<'m>> {
    let (drafts, verify) = models.split_last().unwrap();
    let model = |model: &'m M| ModelPredictor::new(model, sampling).unwrap();
    let by_position = levels.iter().all(|level| level.verifier == Verifier::SameUniform);
    let drafter = PredictorDrafter::new(model(drafts)).by_position(by_position);
    let target = |m: &'m M| Box::new(PredictorTarget::new(model(m))) as Box<dyn Target>;
    chain_over(verify.iter().map(target).collect(), Box::new(drafter), levels, surplus).0
}

/// The same at temperature 1 with the surplus flushed.
pub(crate) fn chain<'m, M: LanguageModel>(
    models: &'m [M],
    levels: &[LevelSettings],
) -> Speculative<Top<'m>> {
    chain_at(plain(), models, levels, Surplus::Flush)
}

/// The distribution of texts of up to `length` tokens by a predictor's next-token distributions.
pub(crate) fn claimed(mut predictor: impl Predictor, length: usize) -> TextDistribution {
    joint_distribution(&mut predictor, &PROMPT, length, &[EOS]).unwrap()
}

/// The distribution of texts by a decoder, enumerated step by step.
pub(crate) fn distribution(decoder: &mut dyn Decoder, length: usize) -> TextDistribution {
    text_distribution(decoder, &PROMPT, &limits(length)).unwrap()
}

/// The distribution of texts by a decoder, enumerated text by text: for decoders that keep tokens
/// from step to step.
pub(crate) fn whole_text_distribution(
    decoder: &mut dyn Decoder,
    length: usize,
) -> TextDistribution {
    let distribution = enumerate(|choices| {
        let go_on = &mut |_: &_| ControlFlow::Continue(());
        let made = generate(decoder, &PROMPT, &limits(length), choices, go_on)?;
        Ok::<_, DecodeError>(text(&made))
    });
    distribution.unwrap()
}

pub(crate) fn assert_same_distribution(
    found: &TextDistribution,
    claimed: &TextDistribution,
    what: impl std::fmt::Debug,
) {
    let distance = total_variation(found, claimed);
    assert!(distance < EXACT, "{what:?}: TV = {distance}");
}

pub(crate) fn text(made: &Generation) -> Vec<TokenId> {
    made.tokens.iter().map(|made| made.token).collect()
}

/// A text of `length` tokens after `prompt`, without end tokens.
pub(crate) fn run(
    decoder: &mut dyn Decoder,
    prompt: &[TokenId],
    length: usize,
    choices: &mut dyn ChoiceSource,
) -> Generation {
    let limits = Limits { max_new_tokens: length, eos: vec![] };
    let go_on = &mut |_: &_| ControlFlow::Continue(());
    generate(decoder, prompt, &limits, choices, go_on).unwrap()
}

/// The tokens of one text without end tokens, sampled with `seed`.
pub(crate) fn sampled(decoder: &mut dyn Decoder, length: usize, seed: u64) -> Vec<TokenId> {
    text(&run(decoder, &PROMPT, length, &mut SampledChoices::seeded(seed)))
}

/// Asserts that `n` sampled texts of at most `length` tokens follow `claimed`: χ² over the cells
/// with an expected count of at least 50, α = 0.001 by the approximation of Wilson and Hilferty.
/// Fixed seed.
pub(crate) fn chi_square(
    decoder: &mut dyn Decoder,
    claimed: &TextDistribution,
    length: usize,
    n: u32,
) {
    let mut choices = SampledChoices::seeded(11);
    let mut counts = BTreeMap::<Vec<TokenId>, f64>::new();
    for _ in 0..n {
        let go_on = &mut |_: &_| ControlFlow::Continue(());
        let made = generate(decoder, &PROMPT, &limits(length), &mut choices, go_on).unwrap();
        *counts.entry(text(&made)).or_default() += 1.0;
    }
    let expected = claimed.iter().map(|(text, p)| (text, p * f64::from(n)));
    let cells: Vec<f64> = expected
        .filter(|(_, e)| *e >= 50.0)
        .map(|(text, e)| (counts.get(text).copied().unwrap_or(0.0) - e).powi(2) / e)
        .collect();
    let (chi2, freedom) = (cells.iter().sum::<f64>(), (cells.len() - 1) as f64);
    let wilson_hilferty = 2.0 / (9.0 * freedom);
    let critical = freedom * (1.0 - wilson_hilferty + 3.0902 * wilson_hilferty.sqrt()).powi(3);
    assert!(cells.len() > 8 && chi2 < critical, "χ² = {chi2} of {freedom}, critical {critical}");
}
