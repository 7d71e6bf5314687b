//! A small profile for tests.

use std::collections::BTreeMap;

use kad_polybasic::theory::{PassTime, PassTimes, RunLengths};

use super::file::{
    CandidateCost, CandidateProfile, PairProfile, Profile, ProfileConditions, ProfileSettings,
    ProfiledModel, RoundOverhead,
};
use crate::config::{Lookup, SamplingPlan};
use crate::machine::Machine;

/// Conditions of the models `large`, `middle` and `small` on a machine that does not exist.
pub(crate) fn conditions() -> ProfileConditions {
    let machine =
        Machine { cpu: "Abacus 1".to_owned(), threads: 2, target: "wood (beads)".to_owned() };
    let identity = |name: &str| ProfiledModel {
        source: format!("nano:{name}"),
        layers: 4,
        digest: format!("{name}-digest"),
        backend: "candle".to_owned(),
        dtype: "f32".to_owned(),
        device: "cpu".to_owned(),
        threads: None,
        library: None,
    };
    let names = ["large", "middle", "small"];
    ProfileConditions {
        kad: env!("CARGO_PKG_VERSION").to_owned(),
        machine,
        sampling: SamplingPlan::default(),
        models: names.map(|name| (name.to_owned(), identity(name))).into_iter().collect(),
    }
}

/// A distribution whose passes take `first` seconds, and `each` more for every further token.
pub(crate) fn distribution(name: &str, first: f64, each: f64) -> CandidateProfile {
    let widths = vec![1, 2, 16];
    let cell = |&width: &usize| PassTime {
        seconds: first + each * (width as f64 - 1.0),
        standard_error: 0.01 * first,
    };
    let cells = vec![widths.iter().map(cell).collect()];
    let cost = CandidateCost::Distribution {
        times: PassTimes::new(widths, vec![64], cells).unwrap(),
        distribution: PassTime { seconds: 0.01 * first, standard_error: 0.0 },
        token_overhead: 0.001 * first,
        plain: None,
    };
    CandidateProfile {
        name: name.to_owned(),
        models: vec![name.to_owned()],
        definition: None,
        cost,
    }
}

/// A lookup of nearly no cost.
pub(crate) fn lookup(name: &str) -> CandidateProfile {
    let [lookup, _] = Lookup::DEFAULTS;
    let cost = CandidateCost::Lookup { lookup, draft_seconds: 1e-6, token_seconds: 1e-7 };
    CandidateProfile { name: name.to_owned(), models: Vec::new(), definition: None, cost }
}

/// 10,000 rounds of 16 drafted tokens, each accepted with probability `rate`, in expected numbers.
pub(crate) fn pair(verifier: &str, drafter: &str, rate: f64) -> PairProfile {
    let mut runs = RunLengths::default();
    for accepted in 0..=16 {
        let stopped = if accepted < 16 { 1.0 - rate } else { 1.0 };
        let rounds = (10_000.0 * rate.powi(accepted) * stopped).round() as usize;
        (0..rounds).for_each(|_| runs.record(16, 16, accepted as usize).unwrap());
    }
    let round_overhead = RoundOverhead { round: 1e-4, token: 2e-5 };
    PairProfile { verifier: verifier.to_owned(), drafter: drafter.to_owned(), runs, round_overhead }
}

/// A profile of these candidates and pairs without texts.
pub(crate) fn profile(candidates: Vec<CandidateProfile>, pairs: Vec<PairProfile>) -> Profile {
    Profile {
        target: None,
        version: Profile::VERSION,
        experiment: "sample".to_owned(),
        conditions: ProfileConditions { models: BTreeMap::new(), ..conditions() },
        settings: ProfileSettings {
            tasks: vec!["toy".to_owned()],
            prompts: 4,
            tokens: 32,
            rounds: 5,
            draft_length: 16,
            seed: 1,
        },
        context: 64,
        candidates,
        pairs,
        texts: None,
    }
}
