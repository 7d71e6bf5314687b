//! Laws along a context: asked together or one by one, they are the same.

use kad_core::deferral::{KadDual, Rule};
use kad_core::oracle::TableModel;
use kad_core::{
    Law, Mixture, MixturePredictor, ModelPredictor, Predictor, Sampling, SamplingSettings, TokenId,
};

const CONTEXT: [TokenId; 5] = [0, 3, 1, 1, 2];

/// Settings that look at the context and cut the law.
fn penalised() -> Sampling {
    let settings =
        SamplingSettings { repetition_penalty: 1.3, top_k: Some(3), ..Default::default() };
    Sampling::new(settings).unwrap()
}

fn together(predictor: &mut dyn Predictor) -> Vec<Law> {
    let mut laws = Vec::new();
    predictor.laws(&CONTEXT, 3, &mut laws).unwrap();
    laws
}

fn one_by_one(mut fresh: impl FnMut() -> Box<dyn Predictor>) -> Vec<Law> {
    let law_after = |len: usize| {
        let mut laws = Vec::new();
        fresh().laws(&CONTEXT[..len], 1, &mut laws).unwrap();
        laws.remove(0)
    };
    (3..=5).map(law_after).collect()
}

#[test]
fn laws_of_several_prefixes_are_the_laws_of_each() {
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
    let laws = together(&mut *model());
    assert_eq!(laws, one_by_one(model));
    assert_ne!(laws[0], laws[1]);
    let laws = together(&mut *mixture());
    assert_eq!(laws, one_by_one(mixture));
    assert_ne!(laws[1], laws[2]);
}

/// A penalised token loses against one that never occurs; a token outside the prefix does not.
#[test]
fn the_penalty_sees_the_prefix_of_each_law() {
    let model = TableModel::random("base", 5, 3, 1);
    let laws = |penalty: f64| {
        let settings = SamplingSettings { repetition_penalty: penalty, ..Default::default() };
        let sampling = Sampling::new(settings).unwrap();
        together(&mut ModelPredictor::new(&model, sampling).unwrap())
    };
    for (len, (plain, penalised)) in (3..=5).zip(laws(1.0).iter().zip(&laws(2.0))) {
        let gain = |token: TokenId| (penalised.prob(token) / plain.prob(token)).ln();
        // Token 4 never occurs, 3 occurs in every prefix, 2 is the last of the longest one.
        assert!(gain(3) < gain(4) - 0.01, "prefix of {len}");
        assert_eq!(gain(2) < gain(4) - 0.01, len == 5, "prefix of {len}");
    }
}
