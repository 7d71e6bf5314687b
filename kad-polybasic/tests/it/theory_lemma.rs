//! P6 and P8: Lemma 3.1 and Theorem 3.2 of arXiv 2510.26527, as published and exact.

use kad_polybasic::theory::{
    Acceptance, Candidate, CandidatePair, Candidates, Chain, InsertionTerms, LemmaLevel,
    PlanLimits, Prediction, exact_insertion, lemma_time, measured_insertion, published_insertion,
    waste,
};
use proptest::prelude::*;

use crate::theory_support::{chain, close, constant, level, model};

/// A chain of models with constant times: (seconds, rate, length) per verifier.
fn chains() -> impl Strategy<Value = Chain> {
    let verifier = (0.5..30.0f64, 0.05..1.0f64, 1..12usize, any::<bool>())
        .prop_map(|(seconds, rate, length, bonus)| level(seconds, rate, length, bonus));
    (proptest::collection::vec(verifier, 1..=3), 0.1..5.0f64).prop_map(|(verifiers, seconds)| {
        Chain { verifiers, proposer: model("drafter", constant(seconds)), plain_seconds: None }
    })
}

/// The lemma's seconds per token of a predicted chain, with `tokens` for `L_i`.
fn lemma(chain: &Chain, seconds: &[f64], tokens: &[f64]) -> f64 {
    let levels = seconds.iter().zip(tokens).take(chain.verifiers.len());
    let levels = levels.map(|(&seconds, &tokens_per_pass)| LemmaLevel { seconds, tokens_per_pass });
    // A model that drafts K tokens makes K passes per verification.
    let beta = chain.verifiers.last().unwrap().length as f64;
    lemma_time(&levels.collect::<Vec<_>>(), beta, *seconds.last().unwrap())
}

proptest! {
    /// P6: with `L_i := N / F_i` the lemma is an identity, for simulated counts of passes …
    #[test]
    fn p6_the_lemma_is_an_identity_for_final_tokens(chain in chains(), seed: u64) {
        let played = chain.simulate(0, 40, seed).unwrap();
        let tokens: Vec<f64> =
            played.levels.iter().map(|level| played.tokens as f64 / level.passes as f64).collect();
        let seconds: Vec<f64> =
            played.levels.iter().map(|level| level.seconds / level.passes as f64).collect();
        close(lemma(&chain, &seconds, &tokens), played.seconds_per_token, "played");
        // … and for predicted ones. With tokens *handed on* per pass it ignores the waste of each
        // level.
        let found = chain.predict(0).unwrap();
        let seconds: Vec<f64> = found.levels.iter().map(|level| level.seconds_per_pass).collect();
        let last: Vec<f64> = found.levels.iter().map(|level| 1.0 / level.passes_per_token).collect();
        let raw: Vec<f64> = found.levels.iter().map(|level| level.tokens_per_round).collect();
        close(lemma(&chain, &seconds, &last), found.seconds_per_token, "predicted");
        let mut missed = found.seconds_per_token - lemma(&chain, &seconds, &raw);
        for (index, level) in found.levels.iter().enumerate() {
            let verifies = index < chain.verifiers.len();
            let lowest = &found.levels[index.min(chain.verifiers.len() - 1)];
            let factor = waste(lowest.tokens_per_round, 1.0 / lowest.passes_per_token);
            close(factor, lowest.waste, "waste");
            let beta = if verifies { 1.0 } else { chain.verifiers[index - 1].length as f64 };
            missed -= level.seconds_per_pass * beta * (factor - 1.0) / lowest.tokens_per_round;
        }
        prop_assert!(missed.abs() < 1e-9, "the waste explains the difference up to {missed}");
    }

    /// P8: for constant times and a new level just above the drafter of two levels, the exact
    /// criterion decides whether the chain of three levels is faster.
    #[test]
    fn p8_the_exact_criterion_decides(
        (large, new, small) in (5.0..30.0f64, 0.5..15.0f64, 0.1..3.0f64),
        (direct, upper, lower) in (0.1..0.99f64, 0.3..1.0f64, 0.1..0.99f64),
        (draft, threshold, inner) in (1..10usize, 1..14usize, 1..10usize),
    ) {
        let before = chain(&[(large, direct, draft)], small).predict(0).unwrap();
        let after = chain(&[(large, upper, threshold), (new, lower, inner)], small);
        let after = after.predict(0).unwrap();
        let gain = before.seconds_per_token - after.seconds_per_token;
        prop_assume!(gain.abs() > 1e-9);
        let terms = terms(&before, &after, 1);
        let exact = exact_insertion(&terms);
        prop_assert_eq!(exact.holds(), gain > 0.0);
        close(exact.right - exact.left, gain, "the sides differ by the gain");
        let measured = measured_insertion(&seconds(&before), &seconds(&after), 1);
        close(measured.right - measured.left, gain, "measured");
        // The published criterion is sufficient if drafting does not increase.
        if published_insertion(&terms).holds() && terms.below_after <= terms.below_before {
            prop_assert!(gain > 0.0);
        }
    }

    /// P8: at every level of a longer chain, the criterion over all levels decides, with widths and
    /// overheads.
    #[test]
    fn p8_the_measured_criterion_decides_everywhere(
        rates in proptest::array::uniform16(0.2..1.0f64),
        seconds_ in proptest::array::uniform4(0.2..20.0f64),
        overhead in 0.0..1.0f64,
    ) {
        let candidates = seconds_.iter().map(|&seconds| Candidate {
            proposer: model("m", kad_polybasic::theory::PassTimes::linear(seconds, 0.3).unwrap()),
            round_overhead: overhead,
        });
        let pair = |at: usize| CandidatePair {
            round_overhead: 0.1 * rates[at],
            token_overhead: 0.01 * rates[at],
            ..CandidatePair::new(at / 4, at % 4, Acceptance::Rate(rates[at]))
        };
        let all = Candidates {
            candidates: candidates.collect(),
            target: 0,
            pairs: (0..16).map(pair).collect(),
        };
        let limits = PlanLimits { max_length: 3, ..PlanLimits::default() };
        let before = all.chain(&[0, 1, 2], &[3, 2], true).unwrap().predict(256).unwrap();
        let found = all.insertions(&[0, 1, 2], &[3, 2], &limits).unwrap();
        prop_assert_eq!(found.len(), 3);
        for insertion in found {
            let after = &insertion.after.prediction;
            let gain = before.seconds_per_token - after.seconds_per_token;
            close(insertion.measured.right - insertion.measured.left, gain, "measured");
            prop_assert_eq!(insertion.after.members[insertion.level - 1], 3);
            prop_assert_eq!(insertion.terms, terms(&before, after, insertion.level - 1));
        }
    }
}

fn seconds(found: &Prediction) -> Vec<f64> {
    found.levels.iter().map(|level| level.seconds_per_token).collect()
}

/// The paper's terms for the level at index `place` of `after`.
fn terms(before: &Prediction, after: &Prediction, place: usize) -> InsertionTerms {
    let passes =
        |found: &Prediction, at: usize| found.levels.get(at).map_or(0.0, |l| l.passes_per_token);
    InsertionTerms {
        above_seconds: before.levels[place - 1].seconds_per_pass,
        above_before: 1.0 / passes(before, place - 1),
        above_after: 1.0 / passes(after, place - 1),
        new_seconds: after.levels[place].seconds_per_pass,
        new_tokens: 1.0 / passes(after, place),
        below_seconds: before.levels.get(place).map_or(0.0, |level| level.seconds_per_pass),
        below_before: passes(before, place),
        below_after: passes(after, place + 1),
    }
}

/// P6, numbers of another program (Python). It simulated 400,000 tokens of T = (22, 7, 1.5), a =
/// (.95, .7), K = 5, μ = 10 and printed 8.3387 seconds per token, 7.2608 for the lemma with `L_2`
/// as handed on, and a waste of 1.218. Equal within 0.2 %, about one standard error of its sample.
#[test]
fn p6_the_lemma_as_published_predicts_too_little() {
    let chain = chain(&[(22.0, 0.95, 10), (7.0, 0.7, 5)], 1.5);
    let found = chain.predict(0).unwrap();
    let raw: Vec<f64> = found.levels.iter().map(|level| level.tokens_per_round).collect();
    let published = lemma(&chain, &[22.0, 7.0, 1.5], &raw);
    for (found, printed) in
        [(found.seconds_per_token, 8.3387), (published, 7.2608), (found.levels[1].waste, 1.218)]
    {
        assert!((found / printed - 1.0).abs() < 0.002, "{found} {printed}");
    }
    assert!(published / found.seconds_per_token < 0.88, "13 % less");
}

/// P8 by simulation: for six insertions, the criterion agrees with simulations of both chains. n =
/// 100,000 rounds each. The gain must exceed 4 standard errors, about 1 % of the time per token; a
/// sign is then wrong by chance with α < 1e-4.
#[test]
fn p8_simulated_chains_agree_with_the_criterion() {
    let mut faster = 0;
    for (direct, upper, new, lower, threshold) in [
        (0.6, 0.95, 6.0, 0.7, 8),
        (0.8, 0.95, 6.0, 0.85, 8),
        (0.8, 0.85, 12.0, 0.85, 8),
        (0.5, 0.98, 4.0, 0.6, 12),
        (0.9, 0.9, 3.0, 0.9, 2),
        (0.3, 0.9, 8.0, 0.8, 5),
    ] {
        let before = chain(&[(22.0, direct, 5)], 1.5);
        let after = chain(&[(22.0, upper, threshold), (new, lower, 5)], 1.5);
        let terms = terms(&before.predict(0).unwrap(), &after.predict(0).unwrap(), 1);
        let [before, after] = [before, after].map(|chain| chain.simulate(0, 100_000, 7).unwrap());
        let gain = before.seconds_per_token - after.seconds_per_token;
        let error = before.standard_error.hypot(after.standard_error);
        assert!(gain.abs() > 4.0 * error, "too close to call: {gain} {error}");
        assert_eq!(exact_insertion(&terms).holds(), gain > 0.0, "{gain} {terms:?}");
        faster += usize::from(gain > 0.0);
    }
    assert!(faster > 0 && faster < 6, "both kinds: {faster}");
}

/// P8, both sides of both criteria, by hand. A drafter that lets the target make 4.34 tokens per
/// pass at a speed-up of 2.36 (EAGLE-2 on Vicuna-7B in Spec-Bench) spends 4.34 / 2.36 − 1 = 0.84
/// passes of the target per draft. A level between them that raises 4.34 to 10 must cost less than
/// 4.34 (1/4.34 − 1/10) = 0.566 passes of the target. At 0.35 the chain has a speed-up of 2.67.
#[test]
fn p8_the_criteria_equal_numbers_by_hand() {
    let terms = InsertionTerms {
        above_seconds: 2.0,
        above_before: 4.34,
        above_after: 10.0,
        new_seconds: 0.7,
        new_tokens: 4.34,
        below_seconds: 2.0 * (4.34 / 2.36 - 1.0),
        below_before: 1.0 / 4.34,
        below_after: 1.0 / 4.34,
    };
    let published = published_insertion(&terms);
    close(published.left, 0.35, "published, left");
    close(published.right, 0.566, "published, right");
    let exact = exact_insertion(&terms);
    let before = 2.0 / 2.36;
    assert!((2.0 / (before + exact.left - exact.right) - 2.67).abs() < 0.005, "{exact:?}");
    // A drafter that makes twice as many passes per token costs that much more.
    let more = exact_insertion(&InsertionTerms { below_after: 2.0 / 4.34, ..terms });
    close(exact.right - more.right, terms.below_seconds / 4.34, "below");
}

/// P8: the published inequality is neither necessary nor sufficient.
#[test]
fn p8_the_published_inequality_is_neither_necessary_nor_sufficient() {
    let judge = |before: Chain, after: Chain| {
        let (before, after) = (before.predict(0).unwrap(), after.predict(0).unwrap());
        let gain = before.seconds_per_token - after.seconds_per_token;
        (published_insertion(&terms(&before, &after, 1)).holds(), gain)
    };
    // A new level that needs many more passes of a drafter that is not cheap.
    let (says, gain) =
        judge(chain(&[(22.0, 0.6, 1)], 4.0), chain(&[(22.0, 0.95, 8), (4.0, 0.6, 8)], 4.0));
    assert!(says && gain < 0.0, "{says} {gain}");
    // A new level that saves most passes of a slow drafter.
    let (says, gain) =
        judge(chain(&[(22.0, 0.9, 12)], 9.0), chain(&[(22.0, 0.95, 4), (3.0, 0.95, 1)], 9.0));
    assert!(!says && gain > 0.0, "{says} {gain}");
}
