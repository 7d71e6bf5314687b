//! Distributions along a context: requested together or one by one, of one model or several.

use kad_core::deferral::{KadDual, Rule};
use kad_core::oracle::TableModel;
use kad_core::{
    Distribution, ImplicitReward, Mixture, MixturePredictor, ModelPredictor, Predictor, Sampling,
    SamplingSettings, TokenId, UndefinedRatio,
};

const CONTEXT: [TokenId; 5] = [0, 3, 1, 1, 2];

/// Settings that depend on the context and truncate the distribution.
fn penalised() -> Sampling {
    let settings =
        SamplingSettings { repetition_penalty: 1.3, top_k: Some(3), ..Default::default() };
    Sampling::new(settings).unwrap()
}

fn together(predictor: &mut dyn Predictor) -> Vec<Distribution> {
    let mut distributions = Vec::new();
    predictor.distributions(&CONTEXT, 3, &mut distributions).unwrap();
    distributions
}

fn one_by_one(mut fresh: impl FnMut() -> Box<dyn Predictor>) -> Vec<Distribution> {
    let distribution_after = |len: usize| {
        let mut distributions = Vec::new();
        fresh().distributions(&CONTEXT[..len], 1, &mut distributions).unwrap();
        distributions.remove(0)
    };
    (3..=5).map(distribution_after).collect()
}

#[test]
fn distributions_of_several_prefixes_are_the_distributions_of_each() {
    // Leaked, so that boxed predictors need no lifetime.
    let base: &'static TableModel = Box::leak(Box::new(TableModel::random("base", 5, 3, 1)));
    let aligned: &'static TableModel = Box::leak(Box::new(TableModel::random("aligned", 5, 3, 2)));
    let rule: &'static Rule = Box::leak(Box::new(Rule::base(KadDual::new(0.25).unwrap())));
    let model = || Box::new(ModelPredictor::new(base, penalised()).unwrap()) as Box<dyn Predictor>;
    let mixture = || {
        let plain = Sampling::at_temperature(1.0).unwrap();
        let made = Mixture::new(base, aligned, rule, penalised(), plain).unwrap();
        Box::new(MixturePredictor::new(made)) as Box<dyn Predictor>
    };
    let distributions = together(&mut *model());
    assert_eq!(distributions, one_by_one(model));
    assert_ne!(distributions[0], distributions[1]);
    let distributions = together(&mut *mixture());
    assert_eq!(distributions, one_by_one(mixture));
    assert_ne!(distributions[1], distributions[2]);
}

/// A penalty lowers tokens of the prefix relative to a token that never occurs, and no others.
#[test]
fn the_penalty_sees_the_prefix_of_each_distribution() {
    let model = TableModel::random("base", 5, 3, 1);
    let distributions = |penalty: f64| {
        let settings = SamplingSettings { repetition_penalty: penalty, ..Default::default() };
        let sampling = Sampling::new(settings).unwrap();
        together(&mut ModelPredictor::new(&model, sampling).unwrap())
    };
    for (len, (plain, penalised)) in (3..=5).zip(distributions(1.0).iter().zip(&distributions(2.0)))
    {
        let gain = |token: TokenId| (penalised.prob(token) / plain.prob(token)).ln();
        // Token 4 never occurs, 3 occurs in every prefix, 2 is the last token of the longest one.
        assert!(gain(3) < gain(4) - 0.01, "prefix of {len}");
        assert_eq!(gain(2) < gain(4) - 0.01, len == 5, "prefix of {len}");
    }
}

fn plain() -> Sampling {
    Sampling::at_temperature(1.0).unwrap()
}

fn table(seed: u64, context_len: usize) -> TableModel {
    TableModel::random("table", 5, 3, seed).with_context_len(context_len)
}

#[test]
fn the_shortest_context_limits_a_predictor() {
    let rule = Rule::base(KadDual::new(0.25).unwrap());
    for lengths in [[7, 9, 9], [9, 7, 9], [9, 9, 7]] {
        let [base, aligned, small] = [1, 2, 3].map(|i| table(i, lengths[i as usize - 1]));
        let mixture = Mixture::new(&base, &aligned, &rule, plain(), plain()).unwrap();
        assert_eq!(MixturePredictor::new(mixture).context_len(), lengths[0].min(lengths[1]));
        let exclude = UndefinedRatio::Exclude;
        let reward = ImplicitReward::new(&base, &small, &aligned, plain(), exclude).unwrap();
        assert_eq!(reward.context_len(), 7);
    }
}

/// A distribution may be requested without a call of `follow`, after any context.
#[test]
fn a_mixture_predicts_after_any_context() {
    let (base, aligned) = (table(1, 20), table(2, 20));
    let rule = Rule::base(KadDual::new(0.25).unwrap());
    let fresh = || {
        let mixture = Mixture::new(&base, &aligned, &rule, plain(), plain()).unwrap();
        MixturePredictor::new(mixture)
    };
    let mut walker = fresh();
    let texts: [&[TokenId]; 6] =
        [&[1, 2, 3, 4], &[1, 2, 3], &[1, 2, 0], &[4, 2, 0, 1, 1], &[4, 2, 1], &[1, 2, 3, 4]];
    for text in texts {
        let (mut found, mut wanted) = (Distribution::default(), Vec::new());
        walker.distribution(text, text.len(), &mut found).unwrap();
        fresh().distributions(text, 1, &mut wanted).unwrap();
        assert_eq!(found, wanted[0], "{text:?}");
    }
}
