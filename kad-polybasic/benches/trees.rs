//! Time of token trees beyond the models' passes.
//!
//! `cargo bench -p kad-polybasic --bench trees [-- FILTER]`; a benchmark's ID is `name/vocabulary`.
//! Distributions are precomputed and only copied. `NAME, N distributions` is the time of the copies
//! that growing the tree needs; the rest of `NAME` is the engine's.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use kad_core::{DecodeError, Distribution, Predictor, SampledChoices, TokenId};
use kad_polybasic::{
    Draft, DraftRequest, DraftSettings, DraftTree, Level, PredictorTarget, SampledTree, TopKTree,
    TreeDrafter, TreeLimits, TreeStage,
};

const SIZES: [usize; 2] = [32_000, 151_936];
const DEPTH: usize = 6;
const TOP_K: usize = 10;
const NODES: usize = 60;

/// A few distributions, chosen by the last token.
struct FixedDistributions(Vec<Distribution>);

impl FixedDistributions {
    /// Zipf's distribution, the ranks scattered over the IDs.
    fn new(vocab: usize) -> Self {
        let distribution = |factor: usize| {
            Distribution::proportional((0..vocab).map(|id| 1.0 / (id * factor % vocab + 1) as f64))
        };
        // Primes that divide none of the sizes.
        Self(
            [7919, 104_729, 1_299_709].map(|f| distribution(f).expect("positive weights")).to_vec(),
        )
    }
}

impl Predictor for FixedDistributions {
    fn context_len(&self) -> usize {
        usize::MAX
    }
    fn follow(&mut self, _: &[TokenId], _: usize) -> Result<(), DecodeError> {
        Ok(())
    }
    fn distribution(
        &mut self,
        context: &[TokenId],
        len: usize,
        out: &mut Distribution,
    ) -> Result<(), DecodeError> {
        out.clone_from(&self.0[context[len - 1] as usize % self.0.len()]);
        Ok(())
    }
}

fn request() -> DraftRequest<'static> {
    DraftRequest { context: &[1, 2, 3], wanted: 1, room: 100, level: 1, eos: &[] }
}

fn trees(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("trees");
    for vocab in SIZES {
        let id = |name: &str| BenchmarkId::new(name, vocab);
        let limits = TreeLimits { depth: DEPTH, nodes: 1000 };
        let choices = &mut SampledChoices::seeded(1);
        // One distribution after the context and one after each expanded node.
        let mut growing = |name: &str, tree: &mut dyn TreeDrafter, distributions: usize| {
            let (mut out, mut distribution, mut ready) =
                (DraftTree::default(), Distribution::default(), FixedDistributions::new(vocab));
            group.bench_function(id(&format!("{name}, {distributions} distributions")), |b| {
                b.iter(|| {
                    (0..distributions).try_for_each(|i| {
                        ready.distribution(black_box(&[i as u32]), 1, &mut distribution)
                    })
                });
            });
            group.bench_function(id(name), |b| {
                b.iter(|| {
                    out.clear();
                    tree.grow(request(), limits, choices, &mut out)
                });
            });
        };
        let mut top_k =
            TopKTree::new(FixedDistributions::new(vocab), TOP_K, NODES).expect("positive");
        growing("top-k", &mut top_k, 1 + (DEPTH - 1) * TOP_K);
        let mut sampled =
            SampledTree::new(FixedDistributions::new(vocab), 2, NODES).expect("positive");
        growing("sampled", &mut sampled, 1 + NODES / 2);
        let tree = TopKTree::new(FixedDistributions::new(vocab), TOP_K, NODES).expect("positive");
        let target = PredictorTarget::new(FixedDistributions::new(vocab));
        let drafting = DraftSettings::of(DEPTH).expect("positive");
        let mut stage = TreeStage::new(tree, target, drafting);
        let (mut made, mut rounds) = (Draft::without_distributions(), vec![]);
        group.bench_function(id("round, top-k"), |b| {
            b.iter(|| {
                made.clear();
                rounds.clear();
                stage.round(request(), choices, &mut made, &mut rounds)
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(1000))
        .sample_size(20);
    targets = trees
}
criterion_main!(benches);
