//! Adaptive lengths keep the distribution, and speculation ends if it is slower.

use std::ops::ControlFlow;

use kad_core::decode::{Decoder, Limits, generate};
use kad_core::oracle::{TableModel, enumerate, joint_distribution, total_variation};
use kad_core::{DecodeError, ModelPredictor, SampledChoices, Sampling, TokenId};
use kad_polybasic::theory::{
    Acceptance, Chain, PassTimes, Proposer, RunLengths, Surplus, VerifyingLevel,
};
use kad_polybasic::{
    AdaptiveDecoder, AdaptiveSettings, DraftSettings, Level, LevelDrafter, PredictorDrafter,
    PredictorTarget, Speculative, Stage,
};

const EOS: TokenId = 2;

fn plain() -> Sampling {
    Sampling::at_temperature(1.0).unwrap()
}

/// Two levels with passes of 10 ms and 1 ms and a measured acceptance rate of 9/10.
fn measured(length: usize) -> Chain {
    let mut runs = RunLengths::default();
    for _ in 0..10 {
        (0..9).for_each(|_| runs.record(1, 1, 1).unwrap());
        runs.record(1, 1, 0).unwrap();
    }
    let times = |seconds| PassTimes::constant(seconds).unwrap();
    Chain {
        verifiers: vec![VerifyingLevel {
            name: "large".into(),
            times: times(10e-3),
            acceptance: Acceptance::Runs(runs),
            length,
            bonus: true,
            surplus: Surplus::Flush,
            overhead: 0.0,
            token_overhead: 0.0,
        }],
        proposer: Proposer::Model { name: "small".into(), times: times(1e-3), overhead: 0.0 },
        plain_seconds: None,
    }
}

fn adaptive<'m>(
    large: &'m TableModel,
    small: &'m TableModel,
    chain: Chain,
    settings: AdaptiveSettings,
) -> AdaptiveDecoder<impl Level + 'm> {
    let model = |table: &'m TableModel| ModelPredictor::new(table, plain()).unwrap();
    let (drafter, target) =
        (PredictorDrafter::new(model(small)), PredictorTarget::new(model(large)));
    let stage = Stage::new(drafter, target, DraftSettings::of(chain.verifiers[0].length).unwrap());
    let lengths = vec![stage.length()];
    AdaptiveDecoder::new(Speculative::new(stage, &[EOS]), lengths, chain, settings).unwrap()
}

/// Decisions after every round, and one token of plain decoding before the next attempt: whole
/// texts have the target's distribution, and the lengths do change.
#[test]
fn adapting_lengths_keep_the_targets_distribution() {
    let [large, small] = [1, 2].map(|seed| TableModel::random("table", 3, 2, seed));
    let settings = AdaptiveSettings {
        rounds_per_decision: 1,
        plain_tokens: 1,
        prior_rounds: 1,
        min_gain: 0.3,
        ..Default::default()
    };
    let mut chain = measured(2);
    // Slow enough that one rejection changes the decision.
    if let Proposer::Model { times, .. } = &mut chain.proposer {
        *times = PassTimes::constant(5e-3).unwrap();
    }
    let mut decoder = adaptive(&large, &small, chain, settings);
    let prompt = [1, 0];
    let limits = Limits { max_new_tokens: 5, eos: vec![EOS] };
    let mut switched = std::collections::BTreeSet::new();
    let found = enumerate(|choices| {
        let made =
            generate(&mut decoder, &prompt, &limits, choices, &mut |_| ControlFlow::Continue(()))?;
        switched.extend(decoder.changes().iter().map(|switch| switch.lengths.clone()));
        Ok::<_, DecodeError>(made.tokens.iter().map(|t| t.token).collect::<Vec<_>>())
    });
    let mut target = ModelPredictor::new(&large, plain()).unwrap();
    let claimed = joint_distribution(&mut target, &prompt, 5, &[EOS]).unwrap();
    let distance = total_variation(&found.unwrap(), &claimed);
    assert!(distance < 1e-12, "TV = {distance}");
    assert!(switched.contains(&vec![]) && switched.len() > 2, "{switched:?}");
}

fn run(decoder: &mut dyn Decoder, tokens: usize) -> u64 {
    let limits = Limits { max_new_tokens: tokens, eos: vec![] };
    let go_on = &mut |_: &_| ControlFlow::Continue(());
    let made = generate(decoder, &[1, 0], &limits, &mut SampledChoices::seeded(3), go_on).unwrap();
    made.rounds.iter().map(|round| round.drafted as u64).sum()
}

/// A drafter that is always rejected, measured at an acceptance rate of 9/10. Drafts shrink, then
/// the target decodes alone and tries again after 64, 128, … tokens. By the measured times, less
/// than 5 % of plain decoding is lost.
#[test]
fn slower_speculation_ends() {
    let never = f32::NEG_INFINITY;
    let large = TableModel::random("large", 3, 0, 0).with_row(&[], &[0.0, never, never]);
    let small = TableModel::random("small", 3, 0, 0).with_row(&[], &[never, 0.0, never]);
    let mut decoder = adaptive(&large, &small, measured(4), AdaptiveSettings::default());
    let drafted = run(&mut decoder, 700);
    let switches = decoder.changes();
    let alone = switches.iter().position(|switch| switch.lengths.is_empty()).unwrap();
    assert!(switches[alone].at < 100 && switches.len() > alone + 1, "{switches:?}");
    assert_eq!(switches[alone].plain_seconds_per_token, 10e-3);
    // A drafted token costs 1 ms, a token of plain decoding 10 ms.
    assert!(drafted as f64 * 1.0 < 0.05 * 700.0 * 10.0, "{drafted} tokens drafted");
}

/// A drafter that is always accepted: drafts grow to the largest length.
#[test]
fn drafts_grow_where_all_is_accepted() {
    let table = TableModel::random("same", 3, 2, 5);
    let mut decoder = adaptive(&table, &table, measured(2), AdaptiveSettings::default());
    run(&mut decoder, 2000);
    let lengths: Vec<usize> = decoder.changes().iter().map(|s| s.lengths[0]).collect();
    assert!(lengths.is_sorted() && lengths.last().is_some_and(|last| *last > 8), "{lengths:?}");
}

#[test]
fn a_description_of_another_chain_is_refused() {
    let table = TableModel::random("same", 3, 2, 5);
    let model = || ModelPredictor::new(&table, plain()).unwrap();
    let refused = |lengths: usize, chain: Chain| {
        let target = PredictorTarget::new(model());
        let stage =
            Stage::new(PredictorDrafter::new(model()), target, DraftSettings::of(2).unwrap());
        let lengths = (0..lengths).map(|_| stage.length()).collect();
        let decoder = Speculative::new(stage, &[]);
        AdaptiveDecoder::new(decoder, lengths, chain, AdaptiveSettings::default())
            .err()
            .map(|e| e.to_string())
    };
    let error = refused(0, measured(2)).unwrap();
    assert!(error.contains("0 verifying levels, its description 1"), "{error}");
    assert_eq!(refused(1, measured(2)), None);
    let with = |change: &dyn Fn(&mut VerifyingLevel)| {
        let mut chain = measured(2);
        change(&mut chain.verifiers[0]);
        refused(1, chain).unwrap()
    };
    let error = with(&|level| level.surplus = Surplus::Keep);
    assert!(error.contains("`large` keeps its surplus"), "{error}");
    let error = with(&|level| level.acceptance = Acceptance::Rate(0.9));
    assert!(error.contains("`large` is a rate"), "{error}");
}

/// A chain of three levels described as two: the text has the target's distribution, and a remark
/// names the difference.
#[test]
fn rounds_of_another_chain_end_the_adaptation() {
    let models = [1, 2, 3].map(|seed| TableModel::random("table", 3, 2, seed));
    let [large, middle, small] = &models;
    let model = |table| ModelPredictor::new(table, plain()).unwrap();
    let drafting = DraftSettings::of(2).unwrap();
    let target = PredictorTarget::new(model(middle));
    let below = Stage::new(PredictorDrafter::new(model(small)), target, drafting);
    let below = LevelDrafter::new(below, kad_polybasic::Surplus::Flush).unwrap();
    let stage = Stage::new(below, PredictorTarget::new(model(large)), drafting);
    let lengths = vec![stage.length()];
    let decoder = Speculative::new(stage, &[EOS]);
    let mut decoder =
        AdaptiveDecoder::new(decoder, lengths, measured(2), AdaptiveSettings::default()).unwrap();
    run(&mut decoder, 20);
    let [remark] = &decoder.remarks()[..] else { panic!("{:?}", decoder.remarks()) };
    assert!(remark.contains("the chain has 2 verifying levels, its description 1"), "{remark}");
    decoder.begin(2);
    assert!(decoder.remarks().is_empty());
}
