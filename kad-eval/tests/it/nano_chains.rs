//! Chains of real models: texts equal to those of plain decoding at temperature 0 and with shared
//! uniforms, and with the same distribution otherwise.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use kad_backends::{Backend, Dtype, LoadedModel, ModelRequest, Tokenizer};
use kad_core::decode::{Decoder, Limits, SingleDecoder, generate};
use kad_core::{LanguageModel, ModelPredictor, SampledChoices, Sampling, TokenId};
use kad_polybasic::{
    DraftSettings, Drafter, Level, LevelDrafter, PredictorDrafter, PredictorTarget, Speculative,
    Stage, Surplus, Verifier,
};

/// The shipped models, the target first.
const CHAIN: [&str; 4] = ["large-aligned", "small-aligned", "small-base", "draft"];

fn load(name: &str, backend: Backend) -> LoadedModel {
    let source = format!("nano:{name}").parse().unwrap();
    let request = ModelRequest { name: name.into(), source, backend, dtype: Dtype::Auto };
    kad_backends::load(&request, &|_| ()).unwrap()
}

/// A chain of the first `levels` models: drafts of 4 tokens, thresholds 6 and 8 above.
fn chain<'m>(
    models: &'m [LoadedModel],
    levels: usize,
    sampling: Sampling,
    verifier: Verifier,
) -> Speculative<Box<dyn Level + 'm>> {
    let model = |i: usize| ModelPredictor::new(&*models[i].model, sampling).unwrap();
    let by_position = verifier == Verifier::SameUniform;
    let mut drafter: Box<dyn Drafter + 'm> =
        Box::new(PredictorDrafter::new(model(levels - 1)).by_position(by_position));
    for (index, length) in (0..levels - 1).rev().zip([4, 6, 8]) {
        let target = PredictorTarget::new(model(index));
        let stage = Stage::new(drafter, target, DraftSettings::of(length).unwrap());
        let level: Box<dyn Level + 'm> = Box::new(stage.verified_by(verifier));
        if index == 0 {
            return Speculative::new(level, &[]);
        }
        drafter = Box::new(LevelDrafter::new(level, Surplus::Flush).unwrap());
    }
    unreachable!("a chain has two levels at least")
}

/// Questions of the validation set in the models' own prompt format.
fn prompts(tokenizer: &Tokenizer, count: usize) -> Vec<Vec<TokenId>> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../experiments/nano/data/validation.jsonl");
    let lines = std::fs::read_to_string(file).unwrap();
    let question = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        format!("Question: {}\nAnswer:", line["question"].as_str().unwrap())
    };
    let encode = |line| tokenizer.encode(&question(line), false).unwrap();
    lines.lines().take(count).map(encode).collect()
}

fn text(
    decoder: &mut dyn Decoder,
    prompt: &[TokenId],
    tokens: usize,
    choices: &mut SampledChoices<impl rand::Rng>,
) -> Vec<TokenId> {
    let limits = Limits { max_new_tokens: tokens, eos: vec![] };
    let go_on = &mut |_: &_| ControlFlow::Continue(());
    let made = generate(decoder, prompt, &limits, choices, go_on).unwrap();
    made.tokens.iter().map(|made| made.token).collect()
}

fn plain<'m>(model: &'m dyn LanguageModel, sampling: Sampling) -> impl Decoder + 'm {
    SingleDecoder::new(ModelPredictor::new(model, sampling).unwrap())
}

/// `count` prompts × `tokens` tokens, past the end of the answer: identical texts for two, three and
/// four levels.
fn identical(backend: Backend, count: usize, tokens: usize, temperature: f64, verifier: Verifier) {
    let models = CHAIN.map(|name| load(name, backend));
    let sampling = Sampling::at_temperature(temperature).unwrap();
    let prompts = prompts(&models[0].tokenizer, count);
    assert_eq!(prompts.len(), count);
    let mut alone = plain(&*models[0].model, sampling);
    for levels in 2..=4 {
        let mut decoder = chain(&models, levels, sampling, verifier);
        for (seed, prompt) in (0..).zip(&prompts) {
            let wanted = text(&mut alone, prompt, tokens, &mut SampledChoices::seeded(seed));
            let found = text(&mut decoder, prompt, tokens, &mut SampledChoices::seeded(seed));
            assert_eq!(found, wanted, "{levels} levels, prompt {seed}");
        }
    }
}

/// S4. In `candle`, passes of up to 64 tokens give the same bits as passes over one token.
#[test]
fn greedy_texts_are_those_of_plain_decoding() {
    identical(Backend::Candle, 50, 128, 0.0, Verifier::Token);
}

#[test]
fn greedy_texts_of_naive_are_those_of_plain_decoding() {
    identical(Backend::Naive, 2, 24, 0.0, Verifier::Block);
}

/// The same seed gives the same text at T = 0.8.
#[test]
fn sampled_texts_by_same_uniforms_are_those_of_plain_decoding() {
    identical(Backend::Candle, 50, 128, 0.8, Verifier::SameUniform);
    identical(Backend::Naive, 2, 24, 0.8, Verifier::SameUniform);
}

/// Texts of four tokens, plainly and by a chain of three levels with rejection verification: a
/// two-sample χ² on joint outcomes.
///
/// n = 6,000 each; outcomes seen fewer than 20 times are one cell; α = 0.001 by the Wilson–Hilferty
/// approximation. A chain that put 5 % of the mass elsewhere, spread evenly over 20 likely cells,
/// would be caught with a power above 0.99. Fixed seeds.
#[test]
fn sampled_texts_by_rejection_are_distributed_as_those_of_plain_decoding() {
    let models = ["large-base", "small-base", "draft"].map(|name| load(name, Backend::Candle));
    let sampling = Sampling::at_temperature(1.0).unwrap();
    let prompt = &prompts(&models[0].tokenizer, 1)[0];
    let n = 6000;
    let count = |decoder: &mut dyn Decoder, seed| {
        let mut choices = SampledChoices::seeded(seed);
        let mut counts = BTreeMap::<Vec<TokenId>, f64>::new();
        for _ in 0..n {
            *counts.entry(text(decoder, prompt, 4, &mut choices)).or_default() += 1.0;
        }
        counts
    };
    let alone = count(&mut plain(&*models[0].model, sampling), 1);
    let chained = count(&mut chain(&models, 3, sampling, Verifier::Token), 2);
    let mut cells = Vec::new();
    let mut rest = (0.0, 0.0);
    let texts: std::collections::BTreeSet<_> = alone.keys().chain(chained.keys()).collect();
    for text in texts {
        let of = |counts: &BTreeMap<_, f64>| counts.get(text).copied().unwrap_or(0.0);
        let pair = (of(&alone), of(&chained));
        if pair.0 + pair.1 >= 20.0 {
            cells.push(pair);
        } else {
            rest = (rest.0 + pair.0, rest.1 + pair.1);
        }
    }
    cells.push(rest);
    let chi2: f64 = cells.iter().map(|(a, b)| (a - b).powi(2) / (a + b).max(1.0)).sum();
    let freedom = (cells.len() - 1) as f64;
    let wilson_hilferty = 2.0 / (9.0 * freedom);
    let critical = freedom * (1.0 - wilson_hilferty + 3.0902 * wilson_hilferty.sqrt()).powi(3);
    assert!(cells.len() > 20 && chi2 < critical, "χ² = {chi2} of {freedom}, critical {critical}");
}
