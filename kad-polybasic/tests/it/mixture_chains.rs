//! P1 for targets made of several models: deferral mixtures of every rule and implicit reward as
//! the target of a chain, and mixtures as its middle level.

use kad_core::deferral::{ConfidenceBet, KadDual, KadPrimal, PooledBudget, Rule, catalogue};
use kad_core::oracle::TableModel;
use kad_core::{
    ImplicitReward, LanguageModel, MixturePredictor, ModelPredictor, Predictor, UndefinedRatio,
};
use kad_polybasic::{
    DeferralTarget, Drafter, PredictorDrafter, PredictorTarget, Surplus, Target, Verifier,
};

use crate::support::*;

fn target<'m>(predictor: impl Predictor + 'm) -> Box<dyn Target + 'm> {
    Box::new(PredictorTarget::new(predictor))
}

fn drafter<'m>(model: &'m dyn LanguageModel) -> Box<dyn Drafter + 'm> {
    Box::new(PredictorDrafter::new(predictor(model)))
}

/// Every rule of the catalogue, and a pool that is emptied and refilled within a text.
fn rules() -> Vec<(&'static str, Rule)> {
    let known = catalogue().iter().map(|info| (info.kind, info.with(0.35).unwrap()));
    let pool = Rule::history(PooledBudget::new(0.3, 2.0, 0.9).unwrap());
    known.chain([("kad-pool, window 2", pool)]).collect()
}

/// A mixture above a chain of two other models.
#[test]
fn p1_a_mixture_of_every_rule_above_two_levels() {
    let [base, aligned, middle, small] = tables();
    for (kind, rule) in rules() {
        let mixture = || MixturePredictor::new(mixture(&base, &aligned, &rule, at(0.8)));
        let goal = claimed(mixture(), 4);
        for (bonus, verifier) in [(3, Verifier::Token), (0, Verifier::Token), (1, Verifier::Block)]
        {
            let levels = LevelSettings::levels(&[3, 2], bonus, verifier);
            let targets = vec![target(mixture()), target(predictor(&middle))];
            let (mut decoder, _) = chain_over(targets, drafter(&small), &levels, Surplus::Flush);
            assert_same_distribution(&distribution(&mut decoder, 4), &goal, (kind, &levels));
        }
    }
}

/// The target is the mixture `π` of `p` and `q*`; the middle level is the mixture `π̃` of a
/// cheaper `p̃` and the same `q*`, which also drafts. A mixture drafted by its own aligned model
/// hands up its distribution as any other level does.
#[test]
fn p1_a_mixture_verifies_a_cheaper_mixture() {
    let [base, aligned, cheaper] = tables();
    for (kind, rule) in rules() {
        let mixture = |base| mixture(base, &aligned, &rule, plain());
        let goal = claimed(MixturePredictor::new(mixture(&base)), 4);
        for (mu, k, bonus) in [(2, 2, 3), (3, 1, 2), (2, 3, 1), (1, 2, 0)] {
            for (verifier, surplus) in
                [(Verifier::Token, Surplus::Flush), (Verifier::Block, Surplus::Flush)]
            {
                let levels = LevelSettings::levels(&[mu, k], bonus, verifier);
                let (lowest, middle) = DeferralTarget::drafted_by_aligned(mixture(&cheaper), k);
                let top = target(MixturePredictor::new(mixture(&base)));
                let targets = vec![top, Box::new(middle) as Box<dyn Target>];
                let (mut decoder, _) = chain_over(targets, Box::new(lowest), &levels, surplus);
                assert_same_distribution(&distribution(&mut decoder, 4), &goal, (kind, &levels));
            }
        }
    }
}

/// The same with kept surplus and with the same uniforms, over whole texts.
#[test]
fn p1_a_mixture_verifies_a_cheaper_mixture_in_whole_texts() {
    let [base, aligned, cheaper] = tables();
    let rules = [
        Rule::base(KadDual::new(0.35).unwrap()),
        Rule::pair(ConfidenceBet::new(0.1).unwrap()),
        Rule::history(PooledBudget::new(0.3, 2.0, 0.9).unwrap()),
    ];
    for rule in &rules {
        let mixture = |base| mixture(base, &aligned, rule, plain());
        let goal = claimed(MixturePredictor::new(mixture(&base)), 3);
        for verifier in [Verifier::Token, Verifier::SameUniform] {
            for bonus in 0..4 {
                let levels = LevelSettings::levels(&[1, 2], bonus, verifier);
                let (lowest, middle) = DeferralTarget::drafted_by_aligned(mixture(&cheaper), 2);
                let lowest = lowest.by_position(verifier == Verifier::SameUniform);
                let top = target(MixturePredictor::new(mixture(&base)));
                let targets = vec![top, Box::new(middle) as Box<dyn Target>];
                let (mut decoder, _) =
                    chain_over(targets, Box::new(lowest), &levels, Surplus::Keep);
                assert_same_distribution(&whole_text_distribution(&mut decoder, 3), &goal, &levels);
            }
        }
    }
}

/// Four levels: a mixture above a model above another mixture.
#[test]
fn p1_mixtures_at_two_of_four_levels() {
    let [base, aligned, middle, cheaper] = tables();
    let rule = Rule::base(KadPrimal::new(0.4).unwrap());
    let mixture = |base| mixture(base, &aligned, &rule, plain());
    let goal = claimed(MixturePredictor::new(mixture(&base)), 3);
    for bonus in 0..8 {
        let levels = LevelSettings::levels(&[2, 2, 2], bonus, Verifier::Token);
        let (lowest, lower) = DeferralTarget::drafted_by_aligned(mixture(&cheaper), 2);
        let top = target(MixturePredictor::new(mixture(&base)));
        let targets: Vec<Box<dyn Target>> = vec![top, target(predictor(&middle)), Box::new(lower)];
        let (mut decoder, _) = chain_over(targets, Box::new(lowest), &levels, Surplus::Flush);
        assert_same_distribution(&distribution(&mut decoder, 3), &goal, &levels);
    }
}

/// Implicit reward as the target and as the middle level.
#[test]
fn p1_implicit_reward_at_either_level() {
    let [base, aligned, small] = tables::<3>();
    let reward =
        || ImplicitReward::new(&base, &small, &aligned, at(0.7), UndefinedRatio::Exclude).unwrap();
    for (bonus, verifier) in (0..4).flat_map(|b| [(b, Verifier::Token), (b, Verifier::Block)]) {
        let levels = LevelSettings::levels(&[2, 2], bonus, verifier);
        let above = vec![target(reward()), target(predictor(&aligned))];
        let (mut decoder, _) = chain_over(above, drafter(&small), &levels, Surplus::Flush);
        assert_same_distribution(&distribution(&mut decoder, 4), &claimed(reward(), 4), &levels);
        let between = vec![target(predictor(&base)), target(reward())];
        let (mut decoder, _) = chain_over(between, drafter(&small), &levels, Surplus::Flush);
        assert_same_distribution(
            &distribution(&mut decoder, 4),
            &claimed(predictor(&base), 4),
            &levels,
        );
    }
}

/// Sampling settings that differ from level to level: only the target's determine the distribution.
#[test]
fn p1_each_level_has_its_own_sampling() {
    let models: [TableModel; 3] = tables();
    let model = |i: usize, t| ModelPredictor::new(&models[i], at(t)).unwrap();
    let goal = claimed(model(0, 0.7), 4);
    for temperature in [0.0, 0.5, 1.6] {
        let levels = LevelSettings::levels(&[2, 2], 3, Verifier::Token);
        let targets = vec![target(model(0, 0.7)), target(model(1, temperature))];
        let lowest = PredictorDrafter::new(model(2, 1.6 - temperature));
        let (mut decoder, _) = chain_over(targets, Box::new(lowest), &levels, Surplus::Flush);
        assert_same_distribution(&distribution(&mut decoder, 4), &goal, temperature);
    }
}
