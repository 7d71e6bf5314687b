//! Time of a plan with five candidates, up to four levels and lengths up to 16; and of the best
//! lengths of one chain, as a running decoder computes them.

use criterion::{Criterion, criterion_group, criterion_main};
use kad_polybasic::theory::{
    Acceptance, Candidate, CandidatePair, Candidates, PassTimes, PlanLimits, Proposer, RunLengths,
};

/// Seconds of one pass of each model.
const SECONDS: [f64; 5] = [22e-3, 9e-3, 6e-3, 1.5e-3, 0.4e-3];

/// Rounds of 16 tokens that accept each token with `rate`, and more deep in a run.
fn runs(rate: f64) -> RunLengths {
    let mut runs = RunLengths::default();
    let mut left = 1000.0;
    for accepted in 0..=16 {
        let hazard = if accepted < 16 { rate + (1.0 - rate) * 0.02 * accepted as f64 } else { 0.0 };
        let ending = left * (1.0 - hazard);
        for _ in 0..ending as usize {
            runs.record(16, 16, accepted).expect("16 is enough");
        }
        left -= ending;
    }
    runs
}

/// Five models. The more their speed differs, the lower their acceptance.
fn candidates() -> Candidates {
    let candidates = SECONDS.iter().enumerate().map(|(index, &seconds)| Candidate {
        proposer: Proposer::Model {
            name: format!("model {index}"),
            times: PassTimes::linear(seconds, seconds * 0.05).expect("times"),
            overhead: 1e-5,
        },
        round_overhead: 5e-5,
    });
    let pairs = (0..25).filter(|at| at / 5 < at % 5).map(|at| {
        let (verifier, drafter) = (at / 5, at % 5);
        let rate = 1.0 - 0.06 * (drafter - verifier + 1) as f64;
        CandidatePair::new(verifier, drafter, runs(rate))
    });
    let backwards = (0..25).filter(|at| at / 5 > at % 5).map(|at| {
        let acceptance = Acceptance::Runs(runs(0.8));
        CandidatePair::new(at / 5, at % 5, acceptance)
    });
    let pairs = pairs.chain(backwards).collect();
    Candidates { candidates: candidates.collect(), target: 0, pairs }
}

fn plans(c: &mut Criterion) {
    let candidates = candidates();
    let limits = PlanLimits::default();
    let mut group = c.benchmark_group("plan");
    group.sample_size(10);
    group.bench_function("5 candidates, 4 levels, lengths to 16", |b| {
        b.iter(|| candidates.plan(&limits).expect("a plan"));
    });
    for members in [vec![0, 3], vec![0, 2, 4], vec![0, 1, 3, 4]] {
        let lengths = vec![4; members.len() - 1];
        let chain = candidates.chain(&members, &lengths, true).expect("a chain");
        group.bench_function(format!("best lengths of {} levels", members.len()), |b| {
            b.iter(|| chain.best_lengths(256, 16).expect("lengths"));
        });
        group.bench_function(format!("prediction of {} levels", members.len()), |b| {
            b.iter(|| chain.predict(256).expect("a prediction"));
        });
    }
    group.finish();
}

criterion_group!(benches, plans);
criterion_main!(benches);
