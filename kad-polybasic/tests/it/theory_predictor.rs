//! P7 and P9: the predictor against every path of the simulated chain, against long simulations and
//! against closed forms.

use kad_polybasic::theory::{
    Acceptance, Candidate, CandidatePair, Candidates, Chain, PassTime, PassTimes, PlanLimits,
    Proposer, RunLengths, Surplus, TheoryError, VerifyingLevel, expected_tokens,
};
use proptest::prelude::*;

use crate::theory_support::{EXACT, chain, chains, close, constant, level, model, second_round};

/// Compares predicted and exact means of a typical round. False if there are too many paths.
fn check_by_enumeration(chain: &Chain) -> bool {
    let Some(exact) = second_round(chain) else { return false };
    let found = chain.predict(0).unwrap();
    let mut sum = 0.0;
    for (level, [passes, handed_on, seconds]) in found.levels.iter().zip(exact.levels) {
        close(level.passes_per_token, passes / exact.tokens, "passes");
        close(level.waste, handed_on / exact.tokens, "tokens handed on");
        close(level.seconds_per_token, seconds / exact.tokens, "seconds of a level");
        sum += seconds;
    }
    close(found.seconds_per_token, sum / exact.tokens, "seconds");
    true
}

/// A surplus kept at the top has a memory longer than one round; long simulations cover it below.
fn flush_at_the_top(mut chain: Chain) -> Chain {
    if let Some(target) = chain.verifiers.first_mut() {
        target.surplus = Surplus::Flush;
    }
    chain
}

proptest! {
    #![proptest_config(ProptestConfig { max_global_rejects: 4000, ..ProptestConfig::with_cases(60) })]

    /// P7: models, lookups and trees; counted and independent acceptance; widths, overheads,
    /// bonuses.
    #[test]
    fn p7_prediction_is_the_mean_over_all_paths(chain in chains(1..=2, 3)) {
        prop_assume!(check_by_enumeration(&flush_at_the_top(chain)));
    }

    /// P7: four levels; the second may keep a surplus.
    #[test]
    fn p7_prediction_is_the_mean_over_all_paths_of_four_levels(chain in chains(3..=3, 2)) {
        prop_assume!(check_by_enumeration(&flush_at_the_top(chain)));
    }

    /// P7: distributions sum to 1, seconds add up, and nothing is wasted at the top. Of the tokens
    /// that a level hands on, all but one per round came from below, and all of them without bonus
    /// (then `ω ≥ 1`). Plain decoding included.
    #[test]
    fn p7_predictions_are_consistent(chain in chains(0..=3, 6)) {
        prop_assume!(chain.check().is_ok());
        let found = chain.predict(0).unwrap();
        let seconds: f64 = found.levels.iter().map(|level| level.seconds_per_token).sum();
        close(found.seconds_per_token, seconds, "seconds add up");
        close(found.levels[0].waste, 1.0, "waste of the target");
        let models = chain.verifiers.len() + usize::from(matches!(chain.proposer, Proposer::Model { .. }));
        for (index, level) in found.levels.iter().enumerate() {
            close(level.emitted.iter().sum(), 1.0, "emitted tokens");
            let verifies = index < chain.verifiers.len();
            close(level.accepted.iter().sum(), f64::from(u8::from(verifies)), "accepted tokens");
            if let Some(above) = index.checked_sub(1).map(|above| &found.levels[above]) {
                let own = match chain.verifiers[index - 1].bonus || index == chain.verifiers.len() {
                    true => above.rounds_per_token,
                    false => 0.0,
                };
                let least = above.waste - own;
                prop_assert!(level.waste >= least - EXACT, "waste {} < {least}", level.waste);
            }
            if index < models {
                let passes = level.passes_per_token * level.seconds_per_pass;
                close(level.seconds_per_token - level.overhead_per_token, passes, "passes");
            }
        }
    }
}

/// P7: three levels with independent acceptance and constant times, with and without bonuses at
/// either level, against another program: the renewal recursion for three levels in Python (double
/// precision, printed in full). Columns: a12, a23, K, μ, bonus at the top, bonus in the middle;
/// time per token, E R, E B, tokens per round of the target.
#[test]
fn p7_three_levels_match_another_program() {
    #[rustfmt::skip]
    let printed = [
        (0.95, 0.7, 5, 6, true, true, [8.40429552200016, 2.5, 7.352925, 6.930979502983604]),
        (0.95, 0.7, 5, 6, false, true, [9.330246373665972, 2.5, 7.352925, 6.2431363189301115]),
        (0.95, 0.7, 5, 6, true, false, [8.70818797131824, 2.66807, 7.398824917, 6.968960155646851]),
        (0.95, 0.7, 5, 10, true, true, [8.342470682638112, 3.9235331, 11.539777847726999, 9.45657862654334]),
        (0.95, 0.7, 5, 10, false, false, [9.242849980516649, 4.069754, 11.285834817399998, 8.764767703767458]),
        (0.9, 0.8, 4, 4, true, true, [8.81221400413007, 1.6, 5.37856, 4.856895211571199]),
        (0.9, 0.8, 4, 4, false, true, [9.987307895852306, 1.6, 5.37856, 4.2854391239680005]),
        (0.98, 0.75, 6, 12, true, true, [6.641414131277459, 4.0169677734375, 13.923069208860397, 12.989926944731257]),
        (0.98, 0.75, 6, 12, true, false, [6.913171612043609, 4.15045166015625, 13.647041738033295, 12.788229704653007]),
    ];
    for (a12, a23, length, threshold, top, middle, [seconds, rounds, buffer, tokens]) in printed {
        let mut chain = chain(&[(22.0, a12, threshold), (7.0, a23, length)], 1.5);
        chain.verifiers[0].bonus = top;
        chain.verifiers[1].bonus = middle;
        let found = chain.predict(0).unwrap();
        let [target, verifier, drafter] = &found.levels[..] else { panic!("three levels") };
        close(found.seconds_per_token, seconds, "seconds per token");
        close(target.tokens_per_round, tokens, "tokens of a round");
        close(verifier.rounds_per_token / target.rounds_per_token, rounds, "rounds below");
        // Wald: E B = E R · E e.
        close(verifier.tokens_per_round * rounds, buffer, "the buffer");
        close(drafter.passes_per_token / verifier.passes_per_token, length as f64, "beta");
    }
}

/// Chains too long to enumerate: three and four levels, with run lengths, kept surplus at the top
/// and below, a lookup, a tree.
fn long_chains() -> Vec<Chain> {
    let cell = |seconds| PassTime { seconds, standard_error: 0.0 };
    let grid = vec![vec![cell(20.0), cell(22.0), cell(31.0)]];
    let times = PassTimes::new(vec![1, 4, 16], vec![0], grid).unwrap();
    let mut runs = RunLengths::default();
    for (requested, proposed, accepted, times) in
        [(6, 6, 6, 30), (6, 6, 0, 20), (6, 6, 2, 9), (6, 3, 3, 8), (6, 3, 1, 6), (6, 0, 0, 5)]
    {
        (0..times).for_each(|_| runs.record(requested, proposed, accepted).unwrap());
    }
    let counted = |length, bonus| VerifyingLevel {
        times: times.clone(),
        acceptance: runs.clone().into(),
        overhead: 0.5,
        ..level(1.0, 0.5, length, bonus)
    };
    let keeping = |length, rate| VerifyingLevel {
        surplus: Surplus::Keep,
        times: times.clone(),
        ..level(1.0, rate, length, false)
    };
    let drafter = || model("drafter", PassTimes::linear(1.0, 0.3).unwrap());
    let lookup = Proposer::Lookup { name: "n".into(), draft_seconds: 0.1, token_seconds: 0.01 };
    let tree = Proposer::Tree { name: "t".into(), draft_seconds: 4.0, nodes: 20, depth: 6 };
    let middle = || level(7.0, 0.8, 5, true);
    vec![
        Chain {
            verifiers: vec![counted(12, true), middle()],
            proposer: drafter(),
            plain_seconds: None,
        },
        Chain {
            verifiers: vec![keeping(8, 0.95), middle()],
            proposer: drafter(),
            plain_seconds: None,
        },
        // Every buffer is accepted and none is dropped: only the surplus matters.
        Chain {
            verifiers: vec![keeping(7, 1.0), middle()],
            proposer: drafter(),
            plain_seconds: None,
        },
        Chain {
            verifiers: vec![keeping(3, 0.9), counted(6, true)],
            proposer: lookup.clone(),
            plain_seconds: None,
        },
        Chain {
            verifiers: vec![counted(16, false), counted(6, true)],
            proposer: tree,
            plain_seconds: None,
        },
        Chain {
            verifiers: vec![counted(14, true), keeping(5, 0.9), level(3.0, 0.7, 4, true)],
            proposer: drafter(),
            plain_seconds: None,
        },
        Chain {
            verifiers: vec![keeping(14, 0.97), keeping(5, 0.9), counted(6, false)],
            proposer: lookup,
            plain_seconds: None,
        },
    ]
}

/// P7 for these chains. n = 200,000 rounds of the target each. Per chain the test fails by chance
/// with α = 6e-5 (4 standard errors), and detects errors of 0.8 % in the seconds per token. (The
/// rounds of the third chain and of those that keep a surplus at the top depend negatively on each
/// other: their standard error is overstated, which only lowers α.)
#[test]
fn p7_prediction_agrees_with_simulation() {
    for (seed, chain) in long_chains().iter().enumerate() {
        let found = chain.predict(0).unwrap();
        let played = chain.simulate(0, 200_000, seed as u64).unwrap();
        let error = 4.0 * played.standard_error;
        assert!(error < 0.008 * played.seconds_per_token, "chain {seed} is too noisy: {error}");
        let off = (played.seconds_per_token - found.seconds_per_token).abs();
        assert!(off < error, "chain {seed}: {found:?} against {played:?}");
        let tokens = played.tokens as f64;
        for (predicted, level) in found.levels.iter().zip(&played.levels) {
            // Passes and tokens of each level: within 2 %, at least seven standard errors.
            for (found, played) in [
                (predicted.passes_per_token, level.passes as f64 / tokens),
                (predicted.waste, level.handed_on as f64 / tokens),
                (predicted.seconds_per_token, level.seconds / tokens),
            ] {
                assert!((found / played - 1.0).abs() < 0.02, "chain {seed}: {found} {played}");
            }
        }
    }
}

/// P7: without rejections and bonus tokens, kept tokens are not drafted again: flushed buffers have
/// 6 tokens, kept ones 4.
#[test]
fn p7_kept_tokens_are_not_paid_twice() {
    let mut chain = chain(&[(10.0, 1.0, 4), (5.0, 1.0, 3)], 1.0);
    chain.verifiers.iter_mut().for_each(|verifier| verifier.bonus = false);
    // Rounds of 3 tokens for thresholds of 4: buffers of 6.
    let flushed = chain.predict(0).unwrap();
    close(flushed.seconds_per_token, (10.0 + 2.0 * (5.0 + 3.0)) / 6.0, "flushed");
    chain.verifiers[0].surplus = Surplus::Keep;
    let kept = chain.predict(0).unwrap();
    close(kept.seconds_per_token, 10.0 / 4.0 + (5.0 + 3.0) / 3.0, "kept");
    close(kept.levels[1].waste, 1.0, "nothing is lost");
}

/// P9: two levels are speculative decoding:
/// `(T_1(K + 1) + K T_2 + a^K (T_2(2) − T_2(1))) ÷ (1 − a^{K+1}) / (1 − a)`, and without bonus
/// `(T_1(K) + K T_2) ÷ (1 − a^K) / (1 − a)`. With constant times the improvement is that of arXiv
/// 2211.17192, Theorem 3.8: `(1 − a^{γ+1}) / (1 − a)(γc + 1)`.
#[test]
fn p9_two_levels_are_speculative_decoding() {
    let large = PassTimes::linear(20.0, 1.5).unwrap();
    let small = PassTimes::linear(2.0, 0.25).unwrap();
    for a in [0.0, 0.3, 0.8, 0.99, 1.0] {
        for length in [1, 2, 7, 16] {
            for bonus in [true, false] {
                let target =
                    VerifyingLevel { times: large.clone(), ..level(1.0, a, length, bonus) };
                let proposer = model("small", small.clone());
                let chain = Chain { verifiers: vec![target], proposer, plain_seconds: None };
                let k = length as f64;
                let verify = 20.0 + 1.5 * (k - f64::from(u8::from(!bonus)));
                let behind = if bonus { 0.25 * a.powi(length as i32) } else { 0.0 };
                let tokens =
                    (0..length + usize::from(bonus)).map(|j| a.powi(j as i32)).sum::<f64>();
                let wanted = (verify + 2.0 * k + behind) / tokens;
                let found = chain.predict(0).unwrap();
                close(found.seconds_per_token, wanted, "seconds per token");
                close(found.levels[0].tokens_per_round, tokens, "tokens per round");
                close(expected_tokens(a, length, bonus).unwrap(), tokens, "closed form");
            }
        }
    }
    let (a, length, c) = (0.8f64, 5, 0.05);
    let chain = chain(&[(1.0, a, length)], c);
    let improvement = (1.0 - a.powi(6)) / ((1.0 - a) * (5.0 * c + 1.0));
    close(1.0 / chain.predict(0).unwrap().seconds_per_token, improvement, "Theorem 3.8");
    close(chain.plain().predict(0).unwrap().seconds_per_token, 1.0, "plain");
}

/// Plain decoding costs per token: one pass, one distribution and one draw, or the measured
/// seconds. Planner and adapting chain compare with the same number.
#[test]
fn plain_decoding_costs_the_same_everywhere() {
    let mut costly = chain(&[(1.0, 0.0, 4)], 0.5);
    costly.verifiers[0].overhead = 3.0;
    costly.verifiers[0].token_overhead = 0.25;
    let plain = |chain: &Chain| {
        let seconds = chain.plain().predict(0).unwrap().seconds_per_token;
        // Nothing is accepted, so plain decoding is best.
        let best = chain.best_lengths(0, 3).unwrap();
        assert_eq!((best.lengths, best.seconds_per_token), (vec![], seconds));
        let played = chain.plain().simulate(0, 3, 1).unwrap().seconds_per_token;
        close(played, seconds, "played out");
        let own = chain.predict(0).unwrap().seconds_per_token;
        close(chain.uncertainty(0, 3, 1).unwrap().speedup.low, seconds / own, "speedup");
        seconds
    };
    close(plain(&costly), 1.25, "a pass and the overhead of a token");
    costly.plain_seconds = Some(1.75);
    close(plain(&costly), 1.75, "as measured");
    let levels = costly.plain().predict(0).unwrap().levels;
    close(levels[0].seconds_per_pass, 1.0, "the pass of it");
    close(levels[0].overhead_per_token, 0.75, "the rest");
    costly.plain_seconds = Some(-1.0);
    assert!(costly.check().unwrap_err().to_string().contains("a token of plain decoding"));

    let model = Proposer::Model { name: "m".into(), times: constant(1.0), overhead: 0.25 };
    let candidate = |proposer| Candidate { proposer, round_overhead: 3.0 };
    let pair = CandidatePair::new(0, 1, Acceptance::Rate(0.5));
    let candidates = vec![candidate(model.clone()), candidate(model)];
    let candidates = Candidates { candidates, target: 0, pairs: vec![pair] };
    let planned = candidates.chain(&[0, 1], &[2], true).unwrap();
    let alone = planned.plain().predict(0).unwrap().seconds_per_token;
    let limits = PlanLimits { context: 0, ..Default::default() };
    close(alone, candidates.plan(&limits).unwrap().plain_seconds_per_token, "as the planner");
}

/// The overhead of a pair is paid by each round of its verifier, and by each token of its drafter
/// at the bottom of the chain; a drafter that itself verifies pays no token overhead.
#[test]
fn p9_pairs_add_their_own_overheads() {
    let model = |seconds| Candidate {
        proposer: Proposer::Model { name: "m".into(), times: constant(seconds), overhead: 0.25 },
        round_overhead: 3.0,
    };
    let pair = |verifier, drafter| CandidatePair {
        round_overhead: 0.5,
        token_overhead: 0.125,
        ..CandidatePair::new(verifier, drafter, Acceptance::Rate(0.5))
    };
    let candidates = vec![model(10.0), model(2.0), model(1.0)];
    let pairs = vec![pair(0, 1), pair(1, 2)];
    let candidates = Candidates { candidates, target: 0, pairs };
    // A draft of one token, a pass, 3 + 0.5 per round; half of the rounds make two tokens, half
    // one.
    let two = candidates.chain(&[0, 1], &[1], true).unwrap().predict(0).unwrap();
    close(two.seconds_per_token, (2.0 + 0.25 + 0.125 + 10.0 + 3.5) / 1.5, "two levels");
    let three = candidates.chain(&[0, 1, 2], &[1, 1], true).unwrap();
    let overheads = three.verifiers.iter().map(|verifier| verifier.overhead);
    assert_eq!(overheads.collect::<Vec<_>>(), [3.5, 3.5]);
    let Proposer::Model { overhead, .. } = three.proposer else { panic!("a model drafts") };
    assert_eq!(overhead, 0.375);
}

/// P9: if nothing is proposed or accepted, the target's passes cost `T_1(1)`, or
/// `T_1(K + 1) + K T_2`, per token.
#[test]
fn p9_rejected_drafts_cost_full_passes() {
    let mut runs = RunLengths::default();
    (0..9).for_each(|_| runs.record(5, 0, 0).unwrap());
    let times = PassTimes::linear(10.0, 1.0).unwrap();
    let target = |acceptance| VerifyingLevel {
        acceptance,
        times: times.clone(),
        ..level(1.0, 0.0, 5, true)
    };
    let lookup = Proposer::Lookup { name: "n".into(), draft_seconds: 0.5, token_seconds: 1.0 };
    let silent =
        Chain { verifiers: vec![target(runs.into())], proposer: lookup, plain_seconds: None };
    close(silent.predict(0).unwrap().seconds_per_token, 10.5, "silent");
    let drafter = model("small", constant(2.0));
    let wrong = Chain {
        verifiers: vec![target(Acceptance::Rate(0.0))],
        proposer: drafter,
        plain_seconds: None,
    };
    close(wrong.predict(0).unwrap().seconds_per_token, 15.0 + 10.0, "wrong");
}

/// Impossible chains are refused with the reason.
#[test]
fn impossible_chains_are_refused() {
    let good = chain(&[(2.0, 0.5, 3)], 1.0);
    let with = |change: &dyn Fn(&mut Chain)| {
        let mut bad = good.clone();
        change(&mut bad);
        bad.predict(0).unwrap_err()
    };
    assert_eq!(with(&|c| c.verifiers[0].length = 0), TheoryError::ZeroLength { level: 1 });
    let rate = with(&|c| c.verifiers[0].acceptance = Acceptance::Rate(f64::NAN));
    assert!(matches!(rate, TheoryError::Rate { rate } if rate.is_nan()));
    assert!(matches!(with(&|c| c.verifiers[0].overhead = -1.0), TheoryError::Seconds { .. }));
    let lookup = Proposer::Lookup { name: "n".into(), draft_seconds: 0.1, token_seconds: 0.0 };
    let alone =
        with(&|c| *c = Chain { verifiers: vec![], proposer: lookup.clone(), plain_seconds: None });
    assert_eq!(alone, TheoryError::NoModel { name: "n".into() });
    let tree = Proposer::Tree { name: "t".into(), draft_seconds: 1.0, nodes: 0, depth: 2 };
    assert_eq!(with(&|c| c.proposer = tree.clone()), TheoryError::NoNodes { name: "t".into() });
}
