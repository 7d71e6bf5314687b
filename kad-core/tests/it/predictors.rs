//! Laws along a context: asked together or one by one, they are the same.

use kad_core::deferral::{KadDual, Rule};
use kad_core::oracle::TableModel;
use kad_core::{Law, MixturePredictor, ModelPredictor, Predictor, Sampling, SamplingSettings, TokenId};

const CONTEXT: [TokenId; 5] = [0, 3, 1, 1, 2];

/// Settings that look at the context and cut the law.
fn penalised() -> Sampling {
    let settings = SamplingSettings { repetition_penalty: 1.3, top_k: Some(3), ..Default::default() };
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
        let made = MixturePredictor::new(base, aligned, rule, penalised(), plain);
        Box::new(made.unwrap()) as Box<dyn Predictor>
    };
    let laws = together(&mut *model());
    assert_eq!(laws, one_by_one(model));
    assert_ne!(laws[0], laws[1]);
    let laws = together(&mut *mixture());
    assert_eq!(laws, one_by_one(mixture));
    assert_ne!(laws[1], laws[2]);
}

/// Written out again: the penalty halves nothing but the logits of tokens in the prefix.
#[test]
fn the_penalty_sees_the_prefix_of_each_law() {
    let model = TableModel::random("base", 5, 3, 1);
    let penalty = |context: &[TokenId]| {
        let plain = Sampling::at_temperature(1.0).unwrap();
        let mut law = Vec::new();
        ModelPredictor::new(&model, plain).unwrap().laws(context, 1, &mut law).unwrap();
        let logits: Vec<f64> = law[0].probs().iter().map(|p| p.ln()).collect();
        logits
    };
    let settings = SamplingSettings { repetition_penalty: 2.0, ..Default::default() };
    let mut laws = Vec::new();
    let mut predictor = ModelPredictor::new(&model, Sampling::new(settings).unwrap()).unwrap();
    predictor.laws(&CONTEXT, 3, &mut laws).unwrap();
    // Token 4 never occurs and token 3 occurs in all three prefixes: only 3 may lose against 4.
    for (law, len) in laws.iter().zip(3..=5) {
        let plain = penalty(&CONTEXT[..len]);
        let change = |token: usize| law.probs()[token].ln() - plain[token];
        assert!(change(3) < change(4), "prefix of {len}");
        // Token 2 is the last of the whole context and in no shorter prefix.
        assert_eq!(change(2) < change(4), len == 5, "prefix of {len}");
    }
}
