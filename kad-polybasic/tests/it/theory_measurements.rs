//! Measurements as data: pass times, run lengths, and the confidence intervals of predictions made
//! from them.

use kad_core::{ChoiceSource, SampledChoices};
use kad_polybasic::theory::{
    Acceptance, Chain, PassTime, PassTimes, RunLengths, TheoryError, VerifyingLevel,
};
use proptest::prelude::*;

use crate::theory_support::{chain, chains, close, constant, level, model, runs};

fn cell(seconds: f64) -> PassTime {
    PassTime { seconds, standard_error: 0.0 }
}

proptest! {
    /// Bilinear interpolation reproduces the bilinear function `a + b w + c x + d w x` on the grid,
    /// between grid points and outside.
    #[test]
    fn pass_times_are_bilinear(
        [a, b, c, d] in proptest::array::uniform4(0.0..2.0f64),
        widths in proptest::collection::btree_set(1..40usize, 2..5),
        contexts in proptest::collection::btree_set(0..40usize, 2..5),
        (width, context) in (1..60usize, 0..60usize),
    ) {
        let value = |w: usize, x: usize| a + b * w as f64 + c * x as f64 + d * (w * x) as f64;
        let row = |&x: &usize| widths.iter().map(|&w| cell(value(w, x))).collect();
        let cells = contexts.iter().map(row).collect();
        let axes = (widths.iter().copied().collect(), contexts.iter().copied().collect());
        let times = PassTimes::new(axes.0, axes.1, cells).unwrap();
        let (found, wanted) = (times.seconds(width, context), value(width, context));
        prop_assert!((found - wanted).abs() < 1e-9 * wanted.max(1.0), "{found} {wanted}");
    }

    /// The survival of uncensored rounds is the share of runs of that length.
    #[test]
    fn runs_of_equal_drafts_survive_as_counted(accepted in proptest::collection::vec(0..=6usize, 1..40)) {
        let mut runs = RunLengths::default();
        accepted.iter().for_each(|&accepted| runs.record(6, 6, accepted).unwrap());
        for k in 0..=6 {
            let long = accepted.iter().filter(|&&run| run >= k).count() as f64;
            close(runs.survival(k), long / accepted.len() as f64, "survival");
            prop_assert_eq!(runs.proposed(k), 1.0);
        }
        let mean = accepted.iter().sum::<usize>() as f64 / accepted.len() as f64;
        close(runs.mean_accepted().unwrap(), mean, "mean");
        let verified: usize = accepted.iter().map(|run| (run + 1).min(6)).sum();
        close(runs.rate().unwrap(), mean * accepted.len() as f64 / verified as f64, "rate");
    }

    /// Merging two counts equals counting all rounds; counts survive serialisation.
    #[test]
    fn runs_merge_and_are_stored((some, others) in (runs(5), runs(5))) {
        let mut both = some.clone();
        both.merge(&others);
        prop_assert_eq!(both.rounds(), some.rounds() + others.rounds());
        let mut reverse = others.clone();
        reverse.merge(&some);
        for k in 0..8 {
            close(both.survival(k), reverse.survival(k), "either way");
            close(both.proposed(k), reverse.proposed(k), "either way");
        }
        let text = serde_json::to_string(&both).unwrap();
        prop_assert_eq!(serde_json::from_str::<RunLengths>(&text).unwrap(), both);
    }

    /// Chains survive serialisation.
    #[test]
    fn chains_are_stored(chain in chains(0..=3, 4)) {
        let text = serde_json::to_string(&chain).unwrap();
        prop_assert_eq!(serde_json::from_str::<Chain>(&text).unwrap(), chain);
    }
}

/// Extrapolated times are cut off at 0; a grid of one cell is constant; malformed grids are
/// refused, also by deserialisation.
#[test]
fn pass_times_have_limits() {
    let falling = PassTimes::new(vec![1, 2], vec![0], vec![vec![cell(2.0), cell(1.0)]]).unwrap();
    assert_eq!(
        (falling.seconds(2, 9), falling.seconds(3, 0), falling.seconds(9, 0)),
        (1.0, 0.0, 0.0)
    );
    assert_eq!(constant(0.5).seconds(7, 1000), 0.5);
    assert_eq!(PassTimes::linear(3.0, 0.5).unwrap().seconds(5, 77), 5.0);
    let bad = |widths: &[usize], contexts: &[usize], seconds: f64| {
        PassTimes::new(widths.to_vec(), contexts.to_vec(), vec![vec![cell(seconds)]]).unwrap_err()
    };
    assert!(matches!(bad(&[0], &[0], 1.0), TheoryError::GridAxis { axis: "widths", .. }));
    assert!(matches!(bad(&[1, 1], &[0], 1.0), TheoryError::GridAxis { axis: "widths", .. }));
    assert!(matches!(bad(&[1], &[], 1.0), TheoryError::GridAxis { axis: "contexts", .. }));
    assert!(matches!(bad(&[1, 2], &[0], 1.0), TheoryError::GridShape { rows: 1, columns: 2 }));
    assert!(matches!(bad(&[1], &[0], f64::NAN), TheoryError::Seconds { .. }));
    assert!(matches!(bad(&[1], &[0], -1.0), TheoryError::Seconds { .. }));
    let read = r#"{"widths": [2, 1], "contexts": [0], "cells": [[]]}"#;
    assert!(serde_json::from_str::<PassTimes>(read).unwrap_err().to_string().contains("rising"));
}

/// Impossible rounds are refused, also by deserialisation.
#[test]
fn impossible_rounds_are_refused() {
    let mut runs = RunLengths::default();
    for (requested, proposed, accepted) in [(4, 3, 4), (2, 3, 1)] {
        let refused = TheoryError::ImpossibleRound { requested, proposed, accepted };
        assert_eq!(runs.record(requested, proposed, accepted), Err(refused));
    }
    assert_eq!(runs, RunLengths::default());
    for table in [r#"{"counts": [[1, 1]]}"#, r#"{"counts": [[1]], "stopped": [2]}"#] {
        assert!(serde_json::from_str::<RunLengths>(table).is_err(), "{table}");
    }
}

/// Positions without trials take the rate of the deepest positions with at least 30 trials
/// together. Without any trial nothing is accepted and drafters never stop.
#[test]
fn untried_positions_take_the_rate_of_the_deepest_ones() {
    let mut runs = RunLengths::default();
    assert_eq!((runs.survival(0), runs.survival(1), runs.proposed(5)), (1.0, 0.0, 1.0));
    assert_eq!((runs.rounds(), runs.mean_accepted(), runs.rate()), (0, None, None));
    (0..60).for_each(|_| runs.record(2, 2, 0).unwrap());
    (0..30).for_each(|_| runs.record(2, 2, 1).unwrap());
    (0..10).for_each(|_| runs.record(2, 2, 2).unwrap());
    // 40 of 100, then 10 of 40, which are more than 30 trials.
    close(runs.survival(2), 0.4 * 0.25, "counted");
    close(runs.survival(4), 0.4 * 0.25f64.powi(3), "beyond");
    let mut deeper = runs.clone();
    (2..=3).for_each(|accepted| deeper.record(3, 3, accepted).unwrap());
    // 42 of 102, 12 of 42, 1 of 2: the last two together have more than 30 trials.
    let counted = 42.0 / 102.0 * 12.0 / 42.0 * 0.5;
    close(deeper.survival(3), counted, "counted, three deep");
    close(deeper.survival(5), counted * (13.0f64 / 44.0).powi(2), "beyond three");
    // 5 rounds with 4 tokens requested stopped at 1. Of 105 rounds, 100 went on beyond it, and all
    // of those to 2.
    (0..5).for_each(|_| runs.record(4, 1, 1).unwrap());
    close(runs.proposed(1), 1.0, "first");
    close(runs.proposed(2), 100.0 / 105.0, "second");
    close(runs.proposed(3), 100.0 / 105.0 * 100.0 / 105.0, "beyond");
}

/// Randomly censored rounds recover the hazards: drafts of 1 to 8 tokens, a drafter that stops with
/// probability 0.1 at each token, acceptance that rises along the run. n = 200,000 rounds; each of
/// the 15 comparisons allows 4 standard errors (α = 6e-5), at most 0.005. Without censoring the
/// error would be at least 0.1.
#[test]
fn censored_rounds_recover_the_hazards() {
    let hazard = |position: usize| 0.5 + 0.05 * position as f64;
    let mut choices = SampledChoices::seeded(3);
    let mut runs = RunLengths::default();
    for round in 0..200_000 {
        let requested = 1 + round % 8;
        let mut proposed = 0;
        while proposed < requested && !choices.accept(0.1) {
            proposed += 1;
        }
        let mut accepted = 0;
        while accepted < proposed && choices.accept(hazard(accepted)) {
            accepted += 1;
        }
        runs.record(requested, proposed, accepted).unwrap();
    }
    let (mut survival, mut goes_on) = (1.0, 1.0);
    for k in 1..=8 {
        survival *= hazard(k - 1);
        goes_on *= 0.9;
        let off = (runs.survival(k) - survival).abs();
        assert!(off < 0.005, "accepted {k}: off by {off}");
        let off = (runs.proposed(k) - goes_on).abs();
        assert!(off < 0.005, "proposed {k}: off by {off}");
    }
}

/// The standard error of a median, against the spread of 2,000 medians of 101 normal samples (sums
/// of 12 uniforms). The spread is known to 1.6 %, the mean of the standard errors more precisely,
/// and the normal formula holds for large samples; the tolerance is 6 %.
#[test]
fn standard_errors_of_medians_match_their_spread() {
    let mut choices = SampledChoices::seeded(8);
    let distribution = kad_core::Distribution::from_probs(vec![1.0 / 1024.0; 1024]).unwrap();
    let mut normal = || {
        let uniforms = (0..12).map(|_| f64::from(choices.token(&distribution)) / 1024.0);
        uniforms.sum::<f64>()
    };
    let (mut medians, mut errors) = (Vec::new(), 0.0);
    for _ in 0..2000 {
        let samples: Vec<f64> = (0..101).map(|_| normal()).collect();
        let cell = PassTime::of_samples(&samples).unwrap();
        medians.push(cell.seconds);
        errors += cell.standard_error / 2000.0;
    }
    let mean = medians.iter().sum::<f64>() / 2000.0;
    let variance = medians.iter().map(|median| (median - mean).powi(2)).sum::<f64>() / 2000.0;
    assert!((errors / variance.sqrt() - 1.0).abs() < 0.06, "{errors} {}", variance.sqrt());
}

/// Noise in the target's pass time alone: seconds per token are linear in it, so the interval is ±
/// 1.96 standard errors over the tokens of a round. 4,000 resamples leave 3 % of its width as
/// noise; the tolerance is 8 %. The speed-up uses the same draw.
#[test]
fn noise_of_a_pass_time_gives_the_normal_interval() {
    let noisy = PassTime { seconds: 20.0, standard_error: 0.5 };
    let times = PassTimes::new(vec![1], vec![0], vec![vec![noisy]]).unwrap();
    let target = VerifyingLevel { times, ..level(1.0, 0.7, 4, true) };
    let chain = Chain {
        verifiers: vec![target],
        proposer: model("small", constant(2.0)),
        plain_seconds: None,
    };
    let found = chain.uncertainty(0, 4000, 1).unwrap();
    let tokens = (1.0 - 0.7f64.powi(5)) / 0.3;
    for (end, sign) in [(found.seconds_per_token.low, -1.0), (found.seconds_per_token.high, 1.0)] {
        let wanted = 1.96 * 0.5 / tokens;
        assert!(((end - 28.0 / tokens) * sign / wanted - 1.0).abs() < 0.08, "{end}");
    }
    // T / ((T + 8) / tokens) rises with T.
    let speedup = |t: f64| t * tokens / (t + 8.0);
    for (end, t) in [(found.speedup.low, 20.0 - 0.98), (found.speedup.high, 20.0 + 0.98)] {
        assert!((end - speedup(t)).abs() < 0.08 * (speedup(20.98) - speedup(20.0)), "{end}");
    }
    assert_eq!(chain.uncertainty(0, 4000, 1).unwrap(), found, "seeded");
    assert!(chain.uncertainty(0, 0, 1).is_err());
}

/// Coverage: run lengths of 200 rounds each are drawn 400 times from a known chain of three levels.
/// The interval contains the true seconds per token in 95 % of the cases. Fewer than 91 % or more
/// than 98.5 % of 400 trials happen by chance with α < 0.001. An interval that is 20 % too narrow
/// (coverage 88 %) is detected with probability 0.95.
#[test]
fn intervals_cover_the_true_value() {
    let truth = chain(&[(22.0, 0.9, 8), (7.0, 0.7, 5)], 1.5);
    let seconds = truth.predict(0).unwrap().seconds_per_token;
    let mut choices = SampledChoices::seeded(12);
    let mut measured = |rate: f64, length: usize| {
        let mut runs = RunLengths::default();
        for _ in 0..200 {
            let accepted = (0..length).take_while(|_| choices.accept(rate)).count();
            runs.record(length, length, accepted).unwrap();
        }
        Acceptance::Runs(runs)
    };
    let mut covered = 0;
    for trial in 0..400 {
        let mut chain = truth.clone();
        // As deep as the deepest buffer, so that nothing is extrapolated.
        chain.verifiers[0].acceptance = measured(0.9, 13);
        chain.verifiers[1].acceptance = measured(0.7, 5);
        let interval = chain.uncertainty(0, 300, trial).unwrap().seconds_per_token;
        covered += usize::from((interval.low..=interval.high).contains(&seconds));
    }
    assert!((364..=394).contains(&covered), "{covered} of 400");
}
