//! Distributions along a context: asked together or one by one, they are the same.

use kad_core::deferral::{KadDual, Rule};
use kad_core::oracle::TableModel;
use kad_core::{
    Distribution, Mixture, MixturePredictor, ModelPredictor, Predictor, Sampling, SamplingSettings,
    TokenId,
};

const CONTEXT: [TokenId; 5] = [0, 3, 1, 1, 2];

/// Settings that look at the context and cut the distribution.
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
    // Leaked, so that predictors may be boxed without a lifetime.
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

/// A penalised token loses against one that never occurs; a token outside the prefix does not.
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
        // Token 4 never occurs, 3 occurs in every prefix, 2 is the last of the longest one.
        assert!(gain(3) < gain(4) - 0.01, "prefix of {len}");
        assert_eq!(gain(2) < gain(4) - 0.01, len == 5, "prefix of {len}");
    }
}
