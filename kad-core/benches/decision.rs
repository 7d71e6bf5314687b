//! Cost of one decoding step without the models: softmax, decision, mixture, truncation.
//!
//! `cargo bench -p kad-core --bench decision [-- FILTER]`; groups are operations, and a benchmark's
//! id is `shape/size`. `--bench ratios` prints ratios to the softmax.

mod cases;

use cases::{SHAPES, SIZES, rules};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use kad_core::deferral::Deferral;
use kad_core::{Distribution, Sampling, SamplingSettings, mixture};
use std::hint::black_box;
use std::time::Duration;

/// Calls `bench` with the id, the logits and the distribution of each case.
fn for_each_case(mut bench: impl FnMut(BenchmarkId, &[f32], &Distribution)) {
    let plain = Sampling::at_temperature(1.0).expect("in range");
    for (shape, logits) in SHAPES {
        for vocab in SIZES {
            let (logits, mut distribution) = (logits(vocab), Distribution::default());
            plain.distribution(&logits, &[], &mut distribution).expect("finite logits");
            bench(BenchmarkId::new(shape, vocab), &logits, &distribution);
        }
    }
}

fn distributions(criterion: &mut Criterion) {
    let default = SamplingSettings::default();
    let settings = [
        ("softmax", default),
        ("softmax, temperature 0.7", SamplingSettings { temperature: 0.7, ..default }),
        ("top-p 0.9", SamplingSettings { top_p: Some(0.9), ..default }),
        ("top-k 50", SamplingSettings { top_k: Some(50), ..default }),
    ];
    for (name, settings) in settings {
        let sampling = Sampling::new(settings).expect("in range");
        let mut group = criterion.benchmark_group(name);
        let mut out = Distribution::default();
        for_each_case(|id, logits, _| {
            group.bench_function(id, |b| {
                b.iter(|| sampling.distribution(black_box(logits), &[], &mut out));
            });
        });
        group.finish();
    }
}

fn decisions(criterion: &mut Criterion) {
    for (name, rule) in rules().expect("in range") {
        let mut group = criterion.benchmark_group(name);
        let mut out = Deferral::default();
        for_each_case(|id, _, distribution| {
            group.bench_function(id, |b| {
                b.iter(|| rule.decide(black_box(distribution), distribution, &mut out))
            });
        });
        group.finish();
    }
}

fn mixtures(criterion: &mut Criterion) {
    let rules = rules().expect("in range");
    let (_, rule) =
        rules.iter().find(|(name, _)| *name == "kad-primal").expect("a rule of the catalogue");
    let mut group = criterion.benchmark_group("mix");
    let (mut deferral, mut out) = (Deferral::default(), Distribution::default());
    for_each_case(|id, _, distribution| {
        rule.decide(distribution, distribution, &mut deferral);
        group.bench_function(id, |b| {
            b.iter(|| mixture::mix(black_box(distribution), distribution, &deferral, &mut out));
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    // There are more than two hundred benchmarks.
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600))
        .sample_size(20);
    targets = distributions, decisions, mixtures
}
criterion_main!(benches);
