//! Shared by the tests of the theory: random chains and their exact means by enumeration.

use kad_core::oracle::enumerate;
use kad_polybasic::theory::{
    Acceptance, Chain, ChainSimulator, PassTime, PassTimes, Proposer, RunLengths, Surplus,
    VerifyingLevel,
};
use proptest::prelude::*;
use proptest::strategy::Union;

/// Rounding error of sums of products of probabilities.
pub(crate) const EXACT: f64 = 1e-12;

#[track_caller]
pub(crate) fn close(found: f64, wanted: f64, what: &str) {
    // Written so that NaN fails.
    let within = (found - wanted).abs() <= EXACT * wanted.abs().max(1.0);
    assert!(within, "{what}: found {found}, wanted {wanted}");
}

pub(crate) fn constant(seconds: f64) -> PassTimes {
    PassTimes::constant(seconds).unwrap()
}

pub(crate) fn model(name: &str, times: PassTimes) -> Proposer {
    Proposer::Model { name: name.into(), times, overhead: 0.0 }
}

/// A verifier with constant times and independent acceptance.
pub(crate) fn level(seconds: f64, rate: f64, length: usize, bonus: bool) -> VerifyingLevel {
    VerifyingLevel {
        name: format!("level of {seconds} s"),
        times: constant(seconds),
        acceptance: Acceptance::Rate(rate),
        length,
        bonus,
        surplus: Surplus::Flush,
        overhead: 0.0,
        token_overhead: 0.0,
    }
}

/// A chain of verifiers (seconds, rate, length) with bonus tokens over a drafter.
pub(crate) fn chain(verifiers: &[(f64, f64, usize)], drafter: f64) -> Chain {
    let level = |&(seconds, rate, length): &(f64, f64, usize)| level(seconds, rate, length, true);
    let verifiers = verifiers.iter().map(level).collect();
    Chain { verifiers, proposer: model("drafter", constant(drafter)), plain_seconds: None }
}

/// Counted rounds, each from (requested − proposed, proposed, accepted).
pub(crate) fn runs(longest: usize) -> impl Strategy<Value = RunLengths> {
    let round = (0..=1usize, 0..=longest, 0..=longest);
    proptest::collection::vec(round, 0..30).prop_map(|rounds| {
        let mut runs = RunLengths::default();
        for (more, proposed, accepted) in rounds {
            runs.record(proposed + more, proposed, accepted.min(proposed)).unwrap();
        }
        runs
    })
}

pub(crate) fn acceptance(longest: usize) -> impl Strategy<Value = Acceptance> {
    let known = [0.0, 1.0].map(|rate| Just(Acceptance::Rate(rate)).boxed());
    let rates = (0.0..1.0f64).prop_map(Acceptance::Rate).boxed();
    let counted = runs(longest).prop_map(Acceptance::Runs).boxed();
    let [never, always] = known;
    Union::new_weighted(vec![(1, never), (1, always), (6, rates), (6, counted)])
}

/// Random times at widths 1, 3, 6, so that wider passes may be cheaper.
pub(crate) fn times() -> impl Strategy<Value = PassTimes> {
    proptest::array::uniform3(0.1..9.0f64).prop_map(|seconds| {
        let cell = |seconds| PassTime { seconds, standard_error: 0.0 };
        PassTimes::new(vec![1, 3, 6], vec![0], vec![seconds.map(cell).to_vec()]).unwrap()
    })
}

pub(crate) fn proposer() -> impl Strategy<Value = Proposer> {
    let model = (times(), 0.0..0.5f64).prop_map(|(times, overhead)| Proposer::Model {
        name: "drafter".into(),
        times,
        overhead,
    });
    let lookup = (0.0..1.0f64, 0.0..0.5f64).prop_map(|(draft_seconds, token_seconds)| {
        Proposer::Lookup { name: "lookup".into(), draft_seconds, token_seconds }
    });
    let tree = (0.0..3.0f64, 1..3usize, 0..4usize).prop_map(|(draft_seconds, depth, more)| {
        Proposer::Tree { name: "tree".into(), draft_seconds, nodes: depth + more, depth }
    });
    Union::new(vec![model.boxed(), lookup.boxed(), tree.boxed()])
}

fn verifier(longest: usize) -> impl Strategy<Value = VerifyingLevel> {
    let surplus = prop_oneof![Just(Surplus::Flush), Just(Surplus::Keep)];
    let flags = (any::<bool>(), surplus, 0.0..0.5f64);
    (times(), acceptance(4), 1..=longest, flags).prop_map(
        |(times, acceptance, length, (bonus, surplus, overhead))| VerifyingLevel {
            name: "verifier".into(),
            times,
            acceptance,
            length,
            bonus,
            surplus,
            overhead,
            token_overhead: 0.0,
        },
    )
}

/// Chains with every kind of level and proposer, with lengths up to `longest`.
pub(crate) fn chains(
    verifiers: std::ops::RangeInclusive<usize>,
    longest: usize,
) -> impl Strategy<Value = Chain> {
    (proptest::collection::vec(verifier(longest), verifiers), proposer())
        .prop_map(|(verifiers, proposer)| Chain { verifiers, proposer, plain_seconds: None })
}

/// Means over the first rounds of a chain: tokens, and per level (passes, tokens handed on,
/// seconds).
#[derive(Debug)]
pub(crate) struct Means {
    pub(crate) tokens: f64,
    pub(crate) levels: Vec<[f64; 3]>,
}

/// The exact means over the first `rounds` rounds of the target, by simulating every path. `None`
/// if there are too many paths for a test.
pub(crate) fn enumerated(chain: &Chain, rounds: usize) -> Option<Means> {
    let mut paths = 0;
    let distribution = enumerate(|choices| {
        paths += 1;
        if paths > 60_000 {
            return Err(());
        }
        let mut player = ChainSimulator::new(chain, 0).unwrap();
        let mut tokens = 0;
        for _ in 0..rounds {
            tokens += player.round(choices).unwrap();
        }
        // Seconds are not negative, so their bits have their order.
        let levels = player.levels().iter();
        let levels = levels.map(|l| (l.passes, l.handed_on, l.seconds.to_bits()));
        Ok((tokens, levels.collect::<Vec<_>>()))
    });
    let mut means = Means { tokens: 0.0, levels: vec![[0.0; 3]; chain.levels()] };
    for ((tokens, levels), p) in distribution.ok()? {
        means.tokens += p * tokens as f64;
        for (sum, (passes, handed_on, seconds)) in means.levels.iter_mut().zip(levels) {
            let one = [passes as f64, handed_on as f64, f64::from_bits(seconds)];
            sum.iter_mut().zip(one).for_each(|(sum, value)| *sum += p * value);
        }
    }
    Some(means)
}

/// Means of the second round. It pays for catching up with the bonus token of the first round, so
/// it is typical of all later rounds.
pub(crate) fn second_round(chain: &Chain) -> Option<Means> {
    let (one, mut two) = (enumerated(chain, 1)?, enumerated(chain, 2)?);
    two.tokens -= one.tokens;
    for (sum, before) in two.levels.iter_mut().zip(one.levels) {
        sum.iter_mut().zip(before).for_each(|(sum, before)| *sum -= before);
    }
    Some(two)
}
