//! Time of verifying one drafted token of a deferral mixture.
//!
//! `cargo bench -p kad-polybasic --bench verify [-- FILTER]`; a benchmark's ID is `shape/size`.
//! `general` computes the mixture and from it the acceptance (and the residual). `closed` uses the
//! closed forms, which need no mixture and, for an accepted token, no pass over the vocabulary.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use kad_core::deferral::{BaseRule, Deferral, KadPrimal};
use kad_core::{Distribution, mixture};
use kad_polybasic::verify::{acceptance, deferred_acceptance, deferred_residual, residual};

const SIZES: [usize; 3] = [32_000, 50_257, 151_936];

/// Two distributions with different token orders, and the decision of a rule.
struct Case {
    base: Distribution,
    aligned: Distribution,
    deferral: Deferral,
    mass: f64,
}

/// Distributions `∝ rank^(−exponent)`, the ranks scattered over the IDs: 0.01 is nearly flat, 1 is
/// Zipf's, 3 has most of its mass on one token.
fn case(vocab: usize, exponent: f64) -> Case {
    let ranked = |factor: usize| {
        let weights = (0..vocab).map(|id| ((id * factor % vocab + 1) as f64).powf(-exponent));
        Distribution::proportional(weights).expect("positive weights")
    };
    // Primes that divide none of the sizes.
    let (base, aligned) = (ranked(7919), ranked(104_729));
    let mut deferral = Deferral::default();
    KadPrimal::new(0.4).expect("in range").decide(&base, &mut deferral);
    let mass = deferral.mass(&base);
    Case { base, aligned, deferral, mass }
}

fn verification(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("verify");
    for (shape, exponent) in [("flat", 0.01), ("zipf", 1.0), ("peaked", 3.0)] {
        for vocab in SIZES {
            let id = |name: &str| BenchmarkId::new(name, format!("{shape}/{vocab}"));
            let Case { base, aligned, deferral, mass } = case(vocab, exponent);
            let (mut pi, mut out) = (Distribution::default(), Distribution::default());
            let (token, weights) = (vocab as u32 / 2, deferral.weights());
            group.bench_function(id("general, accepted"), |b| {
                b.iter(|| {
                    mixture::mix(black_box(&base), &aligned, &deferral, &mut pi);
                    acceptance(&pi, &aligned, token)
                });
            });
            group.bench_function(id("general, rejected"), |b| {
                b.iter(|| {
                    mixture::mix(black_box(&base), &aligned, &deferral, &mut pi);
                    residual(&pi, &aligned, &mut out);
                });
            });
            group.bench_function(id("closed, accepted"), |b| {
                let at = |distribution: &Distribution| distribution.prob(token);
                b.iter(|| {
                    let weight = black_box(weights)[token as usize];
                    deferred_acceptance(weight, mass, at(&base), at(&aligned))
                });
            });
            group.bench_function(id("closed, rejected"), |b| {
                b.iter(|| deferred_residual(black_box(&base), &aligned, weights, mass, &mut out));
            });
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600))
        .sample_size(20);
    targets = verification
}
criterion_main!(benches);
