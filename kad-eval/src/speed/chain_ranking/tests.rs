//! Ranked chains against exhaustive search, and the criteria of their insertions.

use kad_polybasic::theory::{PassTime, PassTimes, Proposer};

use super::*;
use crate::speed::profile::CandidateCost;
use crate::speed::profile::sample_profile::{distribution, lookup, pair, profile};

fn request() -> RankingRequest {
    RankingRequest { target: None, drafters: None, max_levels: 4, max_length: 6, chains: 3 }
}

/// A profile in which a chain of three levels is the fastest.
fn three_levels() -> Profile {
    let distributions = [
        distribution("large", 1e-1, 2e-3),
        distribution("middle", 1e-2, 5e-4),
        distribution("small", 5e-4, 1e-4),
    ];
    let pairs = [
        pair("large", "middle", 0.95),
        pair("large", "small", 0.5),
        pair("middle", "small", 0.7),
        pair("large", "n-gram", 0.2),
    ];
    let candidates = distributions.into_iter().chain([lookup("n-gram")]).collect();
    profile(candidates, pairs.to_vec())
}

/// A chain with the numbers of the profile, built without the planner.
fn chain(profile: &Profile, members: &[&str], lengths: &[usize]) -> Chain {
    use kad_polybasic::theory::{Surplus, VerifyingLevel};
    let proposer = |name: &str, overhead: f64| match &profile.candidate(name).unwrap().cost {
        CandidateCost::Distribution { times, token_overhead, .. } => Proposer::Model {
            name: name.into(),
            times: times.clone(),
            overhead: token_overhead + overhead,
        },
        CandidateCost::Tree { .. } => unreachable!("no tree is in the sample"),
        CandidateCost::Lookup { draft_seconds, token_seconds, .. } => Proposer::Lookup {
            name: name.into(),
            draft_seconds: *draft_seconds,
            token_seconds: token_seconds + overhead,
        },
    };
    let verifier = |(names, &length): (&[&str], &usize)| {
        let CandidateCost::Distribution { times, token_overhead, .. } =
            &profile.candidate(names[0]).unwrap().cost
        else {
            panic!("{} verifies nothing", names[0]);
        };
        let pair = profile.pair(names[0], names[1]).unwrap();
        VerifyingLevel {
            name: names[0].to_owned(),
            times: times.clone(),
            acceptance: pair.runs.clone().into(),
            length,
            bonus: true,
            surplus: Surplus::Flush,
            overhead: pair.round_overhead.round,
            token_overhead: *token_overhead,
        }
    };
    let verifiers = members.windows(2).zip(lengths).map(verifier).collect();
    let last = members.windows(2).last().and_then(|pair| profile.pair(pair[0], pair[1]));
    let overhead = last.map_or(0.0, |pair| pair.round_overhead.token);
    let proposer = proposer(members[members.len() - 1], overhead);
    Chain { verifiers, proposer, plain_seconds: None }
}

/// Compared with an exhaustive search over all chains and lengths.
#[test]
fn the_best_chain_is_the_best_of_all() {
    let profile = three_levels();
    let orders: [&[&str]; 5] = [
        &["large"],
        &["large", "middle"],
        &["large", "small"],
        &["large", "n-gram"],
        &["large", "middle", "small"],
    ];
    let mut all = Vec::new();
    for members in orders {
        let verifiers = members.len() as u32 - 1;
        for code in 0..6usize.pow(verifiers) {
            let lengths: Vec<usize> =
                (0..verifiers).map(|i| code / 6usize.pow(i) % 6 + 1).collect();
            let seconds = chain(&profile, members, &lengths).predict(64).unwrap().seconds_per_token;
            all.push((seconds, members, lengths));
        }
    }
    let (seconds, members, lengths) = all.into_iter().min_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
    let found = ChainRanking::of(&profile, &request()).unwrap();
    assert_eq!((found.recommendation, found.target.as_str()), (Recommendation::Speculate, "large"));
    let best = found.best();
    assert!(best.members.iter().eq(members), "{:?}", best.members);
    assert_eq!(best.lengths, lengths);
    assert_eq!(best.members.len(), 3, "three levels are what this is about");
    assert!((best.milliseconds_per_token - 1e3 * seconds).abs() < 1e-9);
    assert!(best.interval.low < best.milliseconds_per_token);
    assert!(best.interval.high > best.milliseconds_per_token);
    let shares: f64 = best.levels.iter().map(|level| level.milliseconds_per_token).sum();
    assert!((shares - best.milliseconds_per_token).abs() < 1e-9);
    // The target's pass with its distribution, and the overhead of a token.
    assert!((found.plain.milliseconds_per_token - 100.1).abs() < 1e-9);
    assert!((best.speedup - 100.1 / best.milliseconds_per_token).abs() < 1e-9);
}

/// A drafter that is nearly as slow as the target and rarely accepted.
#[test]
fn plain_decoding_wins_where_nothing_helps() {
    let distributions = vec![distribution("large", 1e-2, 9e-3), distribution("small", 9e-3, 9e-3)];
    let profile = profile(distributions, vec![pair("large", "small", 0.2)]);
    let found = ChainRanking::of(&profile, &request()).unwrap();
    assert_eq!(found.recommendation, Recommendation::Plain);
    assert_eq!((&found.best().members, found.best().speedup), (&vec!["large".to_owned()], 1.0));
    assert!(found.chains.iter().all(|chain| chain.speedup < 1.0));
    // The only possible insertion; both criteria reject it.
    let [inserted] = &found.insertions[..] else { panic!("{:?}", found.insertions) };
    assert_eq!((inserted.candidate.as_str(), inserted.level), ("small", 2));
    assert!(!inserted.exact.holds() && !inserted.published.holds());
}

/// Nine rounds give an interval that includes a tie.
#[test]
fn few_rounds_are_undecided() {
    let distributions = vec![distribution("large", 1e-2, 1e-3), distribution("small", 4e-3, 1e-3)];
    let mut few = profile(distributions, vec![pair("large", "small", 0.7)]);
    let mut runs = kad_polybasic::theory::RunLengths::default();
    for accepted in [0, 1, 3, 0, 2, 1, 5, 0, 2] {
        runs.record(16, 16, accepted).unwrap();
    }
    few.pairs[0].runs = runs;
    let found = ChainRanking::of(&few, &request()).unwrap();
    assert_eq!(found.recommendation, Recommendation::Undecided, "{:?}", found.chains.first());
}

/// A distribution of two models: if one of them drafts for it, a pass runs the other one alone; if
/// another model drafts, it runs both.
#[test]
fn a_model_that_drafts_for_its_own_distribution_is_run_once() {
    let mut composed = distribution("mixture", 1.2e-2, 1.2e-3);
    composed.models = vec!["large".to_owned(), "small".to_owned()];
    let candidates = vec![
        composed,
        distribution("large", 1e-2, 1e-3),
        distribution("small", 2e-3, 2e-4),
        distribution("other", 2e-3, 2e-4),
    ];
    let pairs = vec![pair("mixture", "small", 0.8), pair("mixture", "other", 0.8)];
    let profile = profile(candidates, pairs);
    // The default target: the only distribution with a drafter.
    assert_eq!(ChainRanking::of(&profile, &request()).unwrap().target, "mixture");
    let target = Some("mixture".to_owned());
    let found = ChainRanking::of(&profile, &RankingRequest { target, ..request() }).unwrap();
    let seconds = |drafter: &str| {
        let chain = found.chains.iter().find(|chain| chain.members[1] == drafter).unwrap();
        (chain.milliseconds_per_token, chain.lengths.clone())
    };
    let ((own, lengths), (other, _)) = (seconds("small"), seconds("other"));
    assert!(own < other, "{own} {other}");
    // By hand: times at each width without the small model's passes, but with its distributions, each
    // 0.01 of its first pass.
    let widths = vec![1, 2, 16];
    let cell = |&width: &usize| {
        let more = width as f64 - 1.0;
        let small = 2e-3 + 2e-4 * more - 0.01 * 2e-3 * width as f64;
        PassTime { seconds: 1.2e-2 + 1.2e-3 * more - small, standard_error: 0.0 }
    };
    let cells = vec![widths.iter().map(cell).collect()];
    let times = PassTimes::new(widths, vec![64], cells).unwrap();
    let mut by_hand = chain(&profile, &["mixture", "small"], &lengths);
    by_hand.verifiers[0].times = times;
    let wanted = 1e3 * by_hand.predict(64).unwrap().seconds_per_token;
    assert!((own - wanted).abs() < 1e-9, "{own} {wanted}");
}

/// Lemma 3.1 by hand, from the run lengths: `(T_1 + K T_2) / E[tokens]`.
#[test]
fn the_published_lemma_by_hand() {
    let distributions = vec![distribution("large", 1e-2, 1e-3), distribution("small", 1e-3, 1e-4)];
    let profile = profile(distributions, vec![pair("large", "small", 0.5)]);
    let found = ChainRanking::of(&profile, &request()).unwrap();
    let best = found.best();
    let length = best.lengths[0];
    let runs = &profile.pair("large", "small").unwrap().runs;
    let tokens: f64 = 1.0 + (1..=length).map(|k| runs.survival(k)).sum::<f64>();
    let wanted = (10.0 + length as f64 * 1.0) / tokens;
    assert!((best.lemma_milliseconds_per_token - wanted).abs() < 1e-9);
    assert!(best.lemma_milliseconds_per_token < best.milliseconds_per_token, "wider passes");
}

#[test]
fn unknown_candidates_are_named() {
    let error = |request: RankingRequest| {
        format!("{:#}", ChainRanking::of(&three_levels(), &request).unwrap_err())
    };
    let target = Some("n-gram".to_owned());
    let found = error(RankingRequest { target, ..request() });
    assert!(found.contains("has no distribution of its own"), "{found}");
    let drafters = Some(vec!["tiny-model".to_owned()]);
    let found = error(RankingRequest { drafters, ..request() });
    assert!(found.contains("`tiny-model` is not in the profile"), "{found}");
}

/// Slower composed distributions and slower models without a drafter are no default target.
#[test]
fn the_default_target_is_the_slowest_model_with_a_drafter() {
    let mut profile = three_levels();
    let mut composed = distribution("mixture", 1.0, 0.1);
    composed.models = vec!["large".to_owned(), "small".to_owned()];
    profile.candidates.extend([composed, distribution("lonely", 2.0, 0.1)]);
    profile.pairs.push(pair("mixture", "small", 0.8));
    let found = ChainRanking::of(&profile, &request()).unwrap();
    assert_eq!(found.target, "large");
    let members = || found.chains.iter().flat_map(|chain| &chain.members);
    assert!(
        !members().any(|name| name == "mixture"),
        "composed distributions draft for composed distributions"
    );
}

#[test]
fn only_requested_drafters_draft() {
    let drafters = Some(vec!["small".to_owned()]);
    let found =
        ChainRanking::of(&three_levels(), &RankingRequest { drafters, ..request() }).unwrap();
    assert!(found.chains.iter().all(|chain| chain.members == ["large", "small"]));
}
