//! P10: the planner against exhaustive search.

use kad_polybasic::theory::{
    Acceptance, Candidate, CandidatePair, Candidates, Chain, PlanLimits, Proposer, TheoryError,
};
use proptest::prelude::*;

use crate::theory_support::{acceptance, chain, chains, close, constant, model, proposer, times};

/// All choices of `verifiers` lengths from 1 to `cap`.
fn all_lengths(verifiers: usize, cap: usize) -> Vec<Vec<usize>> {
    (0..verifiers).fold(vec![vec![]], |shorter, _| {
        let longer = |lengths: &Vec<usize>| {
            (1..=cap).map(|length| [&lengths[..], &[length]].concat()).collect::<Vec<_>>()
        };
        shorter.iter().flat_map(longer).collect()
    })
}

/// All ordered choices of candidates that start with the target, up to `levels` long.
fn all_members(candidates: &Candidates, levels: usize) -> Vec<Vec<usize>> {
    let mut found = vec![vec![candidates.target]];
    for at in 0.. {
        let Some(members) = found.get(at).cloned() else { return found };
        if members.len() < levels {
            let next = (0..candidates.candidates.len()).filter(|next| !members.contains(next));
            found.extend(next.map(|next| [&members[..], &[next]].concat()));
        }
    }
    found
}

/// Every possible chain with the seconds per token of its best lengths, the fastest first.
fn exhaustive(candidates: &Candidates, limits: &PlanLimits) -> Vec<(f64, Vec<usize>)> {
    let mut ranked = Vec::new();
    for members in all_members(candidates, limits.max_levels) {
        let seconds = |lengths: &Vec<usize>| {
            let chain = candidates.chain(&members, lengths, limits.bonus).ok()?;
            Some(chain.predict(limits.context).unwrap().seconds_per_token)
        };
        let lengths = all_lengths(members.len() - 1, limits.max_length);
        let best = lengths.iter().filter_map(seconds).min_by(f64::total_cmp);
        ranked.extend(best.map(|seconds| (seconds, members)));
    }
    ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
    ranked
}

fn check(candidates: &Candidates, limits: &PlanLimits) {
    let found = candidates.plan(limits).unwrap();
    let wanted = exhaustive(candidates, limits);
    assert_eq!(found.ranked.len(), wanted.len().min(limits.chains));
    for (place, (planned, (seconds, _))) in found.ranked.iter().zip(&wanted).enumerate() {
        close(planned.prediction.seconds_per_token, *seconds, &format!("place {place}"));
        // The same chain unless another is as fast, and with its best lengths.
        let (own, _) = wanted.iter().find(|(_, members)| *members == planned.members).unwrap();
        close(*own, *seconds, "the chain at this place");
        let chain = candidates.chain(&planned.members, &planned.lengths, limits.bonus).unwrap();
        let again = chain.predict(limits.context).unwrap();
        close(again.seconds_per_token, *seconds, "its lengths");
        close(planned.speedup, found.plain_seconds_per_token / seconds, "speedup");
    }
    let different: std::collections::BTreeSet<_> =
        found.ranked.iter().map(|planned| &planned.members).collect();
    assert_eq!(different.len(), found.ranked.len(), "each chain once");
}

/// The target, two models, and one candidate of any kind. Pairs have random acceptance; a fifth of
/// them is not measured. The target is as slow as all others together, so that chains are worth
/// while.
fn candidates() -> impl Strategy<Value = Candidates> {
    let pair = (acceptance(5), 0..5u8, 0.0..0.6f64, 0.0..0.2f64);
    let middle = proptest::collection::vec((times(), 0.0..0.4f64), 2);
    let last = (proposer(), 0.0..0.4f64);
    let pairs = proptest::collection::vec(pair, 16);
    (middle, last, pairs).prop_map(|(middle, (last, round_overhead), pairs)| {
        let target = model("target", constant(27.0));
        let middle = middle.into_iter().map(|(times, round_overhead)| Candidate {
            proposer: model("middle", times),
            round_overhead,
        });
        let last = Candidate { proposer: last, round_overhead };
        let target = Candidate { proposer: target, round_overhead: 0.1 };
        let pairs = pairs.into_iter().enumerate().filter(|(_, pair)| pair.1 > 0);
        Candidates {
            candidates: middle.chain([target, last]).collect(),
            target: 2,
            pairs: pairs
                .map(|(at, (acceptance, _, round_overhead, token_overhead))| CandidatePair {
                    round_overhead,
                    token_overhead,
                    ..CandidatePair::new(at / 4, at % 4, acceptance)
                })
                .collect(),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// P10: all chains of up to four levels with lengths up to 3, all ranked or the best few.
    #[test]
    fn p10_the_best_chains_are_those_of_exhaustive_search(
        candidates in candidates(),
        bonus: bool,
        chains in prop_oneof![Just(1usize), Just(3), Just(99)],
    ) {
        check(&candidates, &PlanLimits { context: 0, max_length: 3, max_levels: 4, bonus, chains });
    }

    /// P10: the best lengths of one chain or plain decoding, with surplus kept or flushed.
    #[test]
    fn p10_the_best_lengths_are_those_of_exhaustive_search(chain in chains(1..=3, 1), slow in 1.0..40.0f64) {
        let mut chain = chain;
        chain.verifiers[0].times = constant(slow);
        let found = chain.best_lengths(0, 3).unwrap();
        let fixed = match chain.proposer {
            Proposer::Tree { depth, .. } => Some(depth),
            _ => None,
        };
        let seconds = |lengths: &Vec<usize>| with_lengths(&chain, lengths);
        let plain = chain.plain().predict(0).unwrap().seconds_per_token;
        let best = all_lengths(chain.verifiers.len(), 3).iter().map(seconds).fold(plain, f64::min);
        close(found.seconds_per_token, best, "seconds");
        if found.lengths.is_empty() {
            close(plain, best, "plain");
        } else {
            close(with_lengths(&chain, &found.lengths), best, "lengths");
            prop_assert!(fixed.is_none_or(|depth| found.lengths.last() == Some(&depth)));
        }
    }
}

fn with_lengths(chain: &Chain, lengths: &[usize]) -> f64 {
    let mut chain = chain.clone();
    chain
        .verifiers
        .iter_mut()
        .zip(lengths)
        .for_each(|(verifier, &length)| verifier.length = length);
    chain.predict(0).unwrap().seconds_per_token
}

/// P10 on a plausible model family with lengths up to 8: a chain of three levels wins, and bounds
/// exclude most of the others.
#[test]
fn p10_a_model_family_is_planned_as_by_exhaustive_search() {
    let family = family(&[22.0, 7.0, 1.5, 0.3], &[0.0, 0.25, 0.5, 0.75]);
    let limits = PlanLimits { max_length: 8, max_levels: 3, ..PlanLimits::default() };
    check(&family, &limits);
    let best = &family.plan(&limits).unwrap().ranked[0];
    assert!(best.members.len() == 3 && best.speedup > 2.0, "{best:?}");
}

/// Models with these seconds per pass. The closer two models are in `places`, the higher their
/// acceptance.
fn family(seconds: &[f64], places: &[f64]) -> Candidates {
    let candidate = |&seconds: &f64| Candidate {
        proposer: model(&format!("{seconds} s"), constant(seconds)),
        round_overhead: 0.0,
    };
    let indices = 0..seconds.len();
    let pairs = indices.clone().flat_map(|verifier| {
        indices.clone().map(move |drafter| {
            let rate = 1.0 - 0.4 * (places[verifier] - places[drafter]).abs();
            CandidatePair::new(verifier, drafter, Acceptance::Rate(rate))
        })
    });
    Candidates {
        candidates: seconds.iter().map(candidate).collect(),
        target: 0,
        pairs: pairs.collect(),
    }
}

/// P10 for lookups and trees that cost much per draft and little per token. A bound that charged
/// their drafts by the token would exclude them.
#[test]
fn p10_costs_of_a_draft_are_not_those_of_a_token() {
    let lookup = Proposer::Lookup { name: "n".into(), draft_seconds: 5.0, token_seconds: 0.01 };
    let tree = Proposer::Tree { name: "t".into(), draft_seconds: 5.0, nodes: 9, depth: 8 };
    for drafter in [lookup, tree] {
        let proposers = [model("target", constant(27.0)), model("small", constant(1.0)), drafter];
        let candidate = |proposer| Candidate { proposer, round_overhead: 0.0 };
        let pair = |drafter| CandidatePair::new(0, drafter, Acceptance::Rate(0.9));
        let candidates = Candidates {
            candidates: proposers.map(candidate).to_vec(),
            target: 0,
            pairs: vec![pair(1), pair(2)],
        };
        for chains in [1, 2, 3] {
            check(&candidates, &PlanLimits { max_length: 8, chains, ..PlanLimits::default() });
        }
        let best = candidates.plan(&PlanLimits { max_length: 8, ..PlanLimits::default() });
        assert_eq!(best.unwrap().ranked[0].members, [0, 2]);
    }
}

/// If drafting does not pay, the plan is plain decoding.
#[test]
fn p10_plain_decoding_is_a_plan() {
    let slow = family(&[5.0, 5.0, 6.0], &[0.0, 0.5, 1.0]);
    let plan = slow.plan(&PlanLimits::default()).unwrap();
    assert_eq!((&plan.ranked[0].members, &plan.ranked[0].lengths), (&vec![0], &vec![]));
    assert_eq!(plan.ranked[0].speedup, 1.0);
    let lengths = chain(&[(5.0, 0.6, 4)], 5.0).best_lengths(0, 16).unwrap();
    assert_eq!((lengths.lengths, lengths.seconds_per_token), (vec![], 5.0));
}

/// Impossible input is refused with the reason.
#[test]
fn impossible_plans_are_refused() {
    let good = family(&[5.0, 1.0], &[0.0, 0.5]);
    let limits = PlanLimits::default();
    let nothing = good.plan(&PlanLimits { max_length: 0, ..limits }).unwrap_err();
    assert_eq!(nothing, TheoryError::Zero { what: "longest length" });
    let mut bad = good.clone();
    bad.pairs[1].drafter = 7;
    assert_eq!(bad.plan(&limits), Err(TheoryError::UnknownCandidate { index: 7, candidates: 2 }));
    let mut bad = good.clone();
    bad.candidates[0].proposer =
        Proposer::Lookup { name: "n".into(), draft_seconds: 0.0, token_seconds: 0.0 };
    assert_eq!(bad.plan(&limits), Err(TheoryError::NoModel { name: "n".into() }));
    let mut unmeasured = good.clone();
    unmeasured.pairs.clear();
    assert_eq!(unmeasured.plan(&limits).unwrap().ranked.len(), 1);
    let missing = unmeasured.chain(&[0, 1], &[3], true).unwrap_err();
    assert_eq!(missing, TheoryError::UnmeasuredPair { verifier: 0, drafter: 1 });
    let count = good.chain(&[0, 1], &[], true).unwrap_err();
    assert_eq!(count, TheoryError::LengthCount { verifiers: 1, lengths: 0 });
    assert!(
        good.chain(&[], &[], true).is_err() && good.insertions(&[0, 9], &[1], &limits).is_err()
    );
}
