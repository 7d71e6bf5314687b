//! Verification by the same uniforms: the text equals that of plain decoding, token for token.

use kad_core::decode::SingleDecoder;
use kad_core::deferral::{KadDual, Rule};
use kad_core::oracle::{TableModel, total_variation};
use kad_core::{MixturePredictor, ModelPredictor};
use kad_polybasic::{
    DeferralTarget, Level, LevelDrafter, PredictorTarget, Speculative, Stage, Surplus, Target,
    TopKTree, TreeStage, TreeVerifier, Verifier,
};

use crate::support::*;

/// Two to four levels over ten tokens, at temperature 0.8, for 60 seeds.
#[test]
fn a_seed_gives_the_text_of_plain_decoding() {
    let models: Vec<_> =
        (1..5).map(|seed| TableModel::random("table", 10, 1 + seed as usize % 3, seed)).collect();
    let plain = || ModelPredictor::new(&models[0], at(0.8)).unwrap();
    for lengths in [&[4][..], &[5, 2], &[2, 5], &[4, 3, 2]] {
        for (surplus, bonus) in
            [Surplus::Flush, Surplus::Keep].into_iter().flat_map(|s| [0, 7].map(|b| (s, b)))
        {
            let levels = LevelSettings::levels(lengths, bonus, Verifier::SameUniform);
            let mut decoder = chain_at(at(0.8), &models[..=lengths.len()], &levels, surplus);
            for seed in 0..60 {
                let text = sampled(&mut SingleDecoder::new(plain()), 50, seed);
                assert_eq!(sampled(&mut decoder, 50, seed), text, "{levels:?}, seed {seed}");
            }
        }
    }
}

/// The same with a mixture as the target, drafted by the mixture of a cheaper base model.
#[test]
fn a_seed_gives_the_text_of_the_mixture() {
    let [base, aligned, cheaper] = [1, 2, 3].map(|seed| TableModel::random("table", 10, 2, seed));
    let rule = Rule::base(KadDual::new(0.1).unwrap());
    let mixture = |base| mixture(base, &aligned, &rule, at(0.8));
    for bonus in 0..4 {
        let levels = LevelSettings::levels(&[4, 3], bonus, Verifier::SameUniform);
        let (lowest, middle) = DeferralTarget::drafted_by_aligned(mixture(&cheaper), 3);
        let top = PredictorTarget::new(MixturePredictor::new(mixture(&base)));
        let targets: Vec<Box<dyn Target>> = vec![Box::new(top), Box::new(middle)];
        let lowest = Box::new(lowest.by_position(true));
        let (mut decoder, _) = chain_over(targets, lowest, &levels, Surplus::Flush);
        for seed in 0..60 {
            let mut plain = SingleDecoder::new(MixturePredictor::new(mixture(&base)));
            let text = sampled(&mut plain, 50, seed);
            assert_eq!(sampled(&mut decoder, 50, seed), text, "{levels:?}, seed {seed}");
        }
    }
}

/// With close distributions most drafts are accepted: there are fewer rounds than tokens.
#[test]
fn close_distributions_agree_at_most_positions() {
    let model = TableModel::random("table", 10, 2, 1);
    let levels = [LevelSettings::new(4, true, Verifier::SameUniform)];
    let targets: Vec<Box<dyn Target>> =
        vec![Box::new(PredictorTarget::new(ModelPredictor::new(&model, at(0.8)).unwrap()))];
    let drafter = kad_polybasic::PredictorDrafter::new(predictor(&model)).by_position(true);
    let (mut decoder, _) = chain_over(targets, Box::new(drafter), &levels, Surplus::Flush);
    let mut choices = kad_core::SampledChoices::seeded(5);
    let made = run(&mut decoder, &PROMPT, 200, &mut choices);
    assert!(made.steps.len() < 100, "{} rounds for 200 tokens", made.steps.len());
}

/// A tree verified by the same uniforms hands up tokens drawn by position. Below another verifier the
/// chain is not exact, reports so, and is refused below a further level.
#[test]
fn a_tree_drawn_by_position_is_exact_only_below_same_uniforms() {
    let [large, middle, small] = tables();
    let stage = |verifier| {
        let tree = TopKTree::new(predictor(&small), 2, 5).unwrap();
        let target = PredictorTarget::new(predictor(&middle));
        let level = TreeStage::new(tree, target, drafting(1, false));
        let level = level.verified_by(TreeVerifier::SameUniform);
        let drafter = LevelDrafter::new(level, Surplus::Flush).unwrap();
        let target = PredictorTarget::new(predictor(&large));
        Stage::new(drafter, target, drafting(3, false)).verified_by(verifier)
    };
    assert!(LevelDrafter::new(stage(Verifier::SameUniform), Surplus::Flush).is_ok());
    for verifier in [Verifier::Token, Verifier::Block] {
        assert!(!stage(verifier).is_exact(), "{verifier:?}");
        assert!(LevelDrafter::new(stage(verifier), Surplus::Flush).is_err(), "{verifier:?}");
    }
    let goal = claimed(predictor(&large), 3);
    let mut decoder = Speculative::new(stage(Verifier::Block), &[EOS]);
    let distance = total_variation(&whole_text_distribution(&mut decoder, 3), &goal);
    assert!(distance > 0.005, "TV = {distance}");
}
