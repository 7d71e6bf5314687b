//! What speculation costs: no model is asked twice for the same prefix.

use std::ops::ControlFlow;

use kad_core::decode::{Decoder, Generation, Limits, Origin, generate};
use kad_core::deferral::{KadDual, Rule};
use kad_core::oracle::TableModel;
use kad_core::{
    Counted, ImplicitReward, ImpossibleInSmall, Mixture, ModelPredictor, RewardDrafter,
    SampledChoices, Sampling,
};
use kad_polybasic::{
    DeferralTarget, Drafting, PredictorDrafter, PredictorTarget, Speculative, Stage,
};

fn run(decoder: &mut dyn Decoder, tokens: usize) -> Generation {
    let limits = Limits { max_new_tokens: tokens, eos: vec![] };
    let go_on = &mut |_: &_| ControlFlow::Continue(());
    generate(decoder, &[1, 0, 3], &limits, &mut SampledChoices::seeded(3), go_on).unwrap()
}

/// One pass of the base model per round. The aligned model makes one pass per drafted token, and
/// one more only for a bonus token that is deferred.
#[test]
fn each_round_is_one_base_pass_and_the_bonus_is_lazy() {
    let base = Counted::new(TableModel::random("base", 6, 2, 1));
    let aligned = Counted::new(TableModel::random("aligned", 6, 2, 2));
    let rule = Rule::base(KadDual::new(0.15).unwrap());
    let plain = Sampling::at_temperature(1.0).unwrap();
    let mixture = Mixture::new(&base, &aligned, &rule, plain, plain).unwrap();
    let (drafter, target) = DeferralTarget::drafted_by_aligned(mixture, 3);
    let mut decoder = Speculative::new(Stage::new(drafter, target, Drafting::of(3).unwrap()), &[]);
    let made = run(&mut decoder, 300);
    let rounds = made.steps.len() as u64;
    let drafted: usize = made.steps.iter().map(|s| s.drafted).sum();
    let whole = made.steps.iter().filter(|s| s.drafted > 0 && s.accepted == s.drafted).count();
    let bonus = made.tokens.iter().filter(|t| t.origin == Origin::Bonus).count();
    assert_eq!(whole, bonus);
    assert_eq!(base.counts().passes, rounds);
    let extra = aligned.counts().passes - drafted as u64;
    assert!(0 < extra && extra < whole as u64, "{extra} of {whole} bonus tokens asked for q*");
    // Every token of the text is computed once, and each rejected or corrected one once more.
    assert!(rounds < 290, "{rounds} rounds for 300 tokens");
}

/// Acceptance as it is counted agrees with the tokens' provenance.
#[test]
fn steps_and_provenance_agree() {
    let (base, aligned) =
        (TableModel::random("base", 6, 2, 1), TableModel::random("aligned", 6, 2, 2));
    let rule = Rule::base(KadDual::new(0.3).unwrap());
    let plain = Sampling::at_temperature(1.0).unwrap();
    let mixture = Mixture::new(&base, &aligned, &rule, plain, plain).unwrap();
    let (drafter, target) = DeferralTarget::drafted_by_aligned(mixture, 4);
    let made =
        run(&mut Speculative::new(Stage::new(drafter, target, Drafting::of(4).unwrap()), &[]), 101);
    let count = |origin| made.tokens.iter().filter(|t| t.origin == origin).count();
    let accepted: usize = made.steps.iter().map(|s| s.accepted).sum();
    assert_eq!(count(Origin::Drafted), accepted);
    let rejected = made.steps.iter().filter(|s| s.accepted < s.drafted).count();
    assert_eq!(count(Origin::Corrected), rejected);
    assert_eq!(made.tokens.len(), 101);
}

/// Implicit reward drafted by one of its own parts: long drafts, in which the drafter's rows are
/// remembered, and one pass of the other models per round.
#[test]
fn a_drafting_part_of_implicit_reward_makes_no_pass_of_its_own() {
    let models = ["base", "small", "aligned"]
        .map(|name| Counted::new(TableModel::random(name, 6, 2, name.len() as u64)));
    let [base, small, aligned] = &models;
    let plain = Sampling::at_temperature(1.0).unwrap();
    let mut reward =
        ImplicitReward::new(base, small, aligned, plain, ImpossibleInSmall::Exclude).unwrap();
    let drafter = ModelPredictor::sharing(reward.drafted_by(RewardDrafter::Aligned, 12), plain);
    let (drafter, target) = (PredictorDrafter::new(drafter), PredictorTarget::new(reward));
    let made = run(
        &mut Speculative::new(Stage::new(drafter, target, Drafting::of(12).unwrap()), &[]),
        200,
    );
    let rounds = made.steps.len() as u64;
    let drafted: usize = made.steps.iter().map(|s| s.drafted).sum();
    let whole = made.steps.iter().filter(|s| s.accepted == s.drafted).count() as u64;
    assert_eq!((base.counts().passes, small.counts().passes), (rounds, rounds));
    // A bonus token needs the law after the last drafted token, which drafting did not ask for.
    assert_eq!(aligned.counts().passes, drafted as u64 + whole);
    assert!(made.steps[0].drafted == 12, "{:?}", made.steps[0]);
}
