//! Totals of replays: confidence intervals, first rounds, invalid traces.

use kad_polybasic::theory::{
    Chain, PassTime, PassTimes, Proposer, ReplaySettings, TextTrace, TracedDrafts,
};

use crate::support::LevelSettings;
use crate::theory_replay::{TOKEN, constant, described};
use crate::theory_support::close;

/// Plain decoding by hand. The interval of a time known to 5 % is that of the time (n = 2,000
/// resamples: 5 % of the width is 1.5 standard errors of both ends together). The interval over
/// differing texts is that of their mean.
#[test]
fn intervals_reflect_pass_times_and_texts() {
    let plain = |standard_error| {
        let cell = |seconds| PassTime { seconds, standard_error };
        let times = PassTimes::new(vec![1], vec![0, 10], vec![vec![cell(2.0)], vec![cell(2.0)]]);
        let proposer =
            Proposer::Model { name: "level 0".into(), times: times.unwrap(), overhead: 0.5 };
        Chain { verifiers: vec![], proposer, plain_seconds: None }
    };
    let how = ReplaySettings { repetitions: 1, resamples: 2000, seed: 1, first_rounds: true };
    let found = plain(0.1).replay(&[constant(&[], 10)], how).unwrap();
    close(found.prediction.seconds_per_token, 2.5, "seconds");
    close(found.plain_seconds_per_token, 2.5, "plain");
    // The contexts 4 to 13 average 8.5, which gives the weights of the two times.
    let half = 1.96 * 0.1 * (0.15f64.powi(2) + 0.85f64.powi(2)).sqrt();
    let ends = found.uncertainty.seconds_per_token;
    assert!(((ends.high - ends.low) / (2.0 * half) - 1.0).abs() < 0.08, "{ends:?} {half}");
    close(found.uncertainty.speedup.low, 1.0, "a chain that is plain decoding");
    close(found.uncertainty.speedup.high, 1.0, "a chain that is plain decoding");

    // Half of the texts are fully accepted, half not at all: 4 + 3 · ¼ seconds for four tokens or
    // for one.
    let mut chain = described(&[LevelSettings::new(3, true, TOKEN)], 0.0);
    chain.verifiers[0].times = crate::theory_support::constant(1.0);
    let times = crate::theory_support::constant(0.25);
    chain.proposer = Proposer::Model { name: "level 1".into(), times, overhead: 0.0 };
    let texts: Vec<TextTrace> =
        (0..100).map(|text| constant(&[if text % 2 == 0 { 1.0 } else { 1e-300 }], 40)).collect();
    let found = chain.replay(&texts, how).unwrap();
    let seconds = |text: usize| {
        let one = chain.replay(&texts[text..=text], how).unwrap();
        (one.prediction.seconds_per_token, one.uncertainty.seconds_per_token)
    };
    let ((fast, exactly), (slow, _)) = (seconds(0), seconds(1));
    assert_eq!((exactly.low, exactly.high), (fast, fast), "one text, no other");
    close(found.prediction.seconds_per_token, (fast + slow) / 2.0, "texts of equal length");
    let half = 1.96 * (slow - fast) / 2.0 / 10.0;
    let ends = found.uncertainty.seconds_per_token;
    assert!(((ends.high - ends.low) / (2.0 * half) - 1.0).abs() < 0.08, "{ends:?} {half}");
}

/// Without first rounds, neither their seconds nor their tokens count, at any level. A text that
/// ends with its first round then says nothing.
#[test]
fn first_rounds_can_be_left_out() {
    let chain = described(&[LevelSettings::new(3, true, TOKEN)], 0.0);
    let how = ReplaySettings { repetitions: 2, resamples: 5, seed: 1, first_rounds: false };
    let trace = TextTrace { ended: true, limit: 9, ..constant(&[1.0], 6) };
    let short = trace.cut(4);
    let found = chain.replay(&[trace, short.clone()], how).unwrap();
    // As in `passes_read_the_unread_tokens`: 2 + 3 seconds for the last two tokens.
    close(found.prediction.seconds_per_token, 2.5, "seconds");
    close(found.prediction.levels[0].passes_per_token, 0.5, "passes");
    close(found.prediction.levels[1].passes_per_token, 1.0, "drafted");
    close(found.plain_seconds_per_token, 1.0, "plain");
    let error = chain.replay(&[short], how).unwrap_err();
    assert!(error.to_string().contains("longer"), "{error}");
}

/// A lookup that predicts the next six tokens predicts at most the tokens that are left.
#[test]
fn a_cut_trace_is_valid() {
    let chain = described(&[LevelSettings::new(3, true, TOKEN)], 0.5);
    let drafts = TracedDrafts { proposed: vec![9; 6], agreeing: vec![6, 2, 4, 0, 2, 1] };
    let drafts = [("lookup".to_owned(), drafts)].into();
    let trace = TextTrace { ended: true, limit: 9, drafts, ..constant(&[0.5], 6) };
    for limit in 1..=9 {
        trace.cut(limit).check(&chain).unwrap();
    }
    assert_eq!(trace.cut(4).drafts["lookup"].agreeing, [4, 2, 2, 0]);
}

#[test]
fn invalid_traces_are_refused() {
    let chain = described(&[LevelSettings::new(3, true, TOKEN)], 0.5);
    let how = ReplaySettings { repetitions: 1, resamples: 1, seed: 1, first_rounds: true };
    let refused = |change: fn(&mut TextTrace), words: &str| {
        let mut trace = constant(&[0.5], 4);
        change(&mut trace);
        let error = chain.replay(&[trace], how).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    };
    refused(|trace| drop(trace.distributions.remove("level 1")), "`level 1`");
    refused(|trace| (trace.tokens, trace.limit) = (3, 3), "each token");
    refused(|trace| trace.limit = 5, "limit");
    refused(|trace| trace.limit = 3, "limit");
    refused(
        |trace| trace.distributions.get_mut("level 0").unwrap()[2] = f64::NAN,
        "log-probability",
    );
    refused(|trace| trace.distributions.get_mut("level 0").unwrap()[2] = 0.5, "log-probability");
    refused(
        |trace| {
            let (proposed, agreeing) = (vec![2; 4], vec![0, 0, 0, 2]);
            drop(trace.drafts.insert("x".into(), TracedDrafts { proposed, agreeing }));
        },
        "agrees",
    );
    let nothing = chain.replay(&[], how).unwrap_err().to_string();
    assert!(nothing.contains("texts"), "{nothing}");
    let lookup = Proposer::Lookup { name: "n".into(), draft_seconds: 0.0, token_seconds: 0.0 };
    let looked_up = Chain { proposer: lookup, ..chain.clone() };
    assert!(!constant(&[0.5], 4).covers(&looked_up) && constant(&[0.5], 4).covers(&chain));
    assert!(constant(&[], 4).covers(&chain.plain()));
}
