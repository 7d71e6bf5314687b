//! Time of one round of block verification, without models: six drafted tokens over a vocabulary of
//! 50,257; every round computes the target's distributions from logits.
//!
//! `cargo bench -p kad-polybasic --bench block [-- FILTER]`. `accepted` drafts from the target's
//! own distributions. `doubtful` drafts from a distribution whose likely tokens are elsewhere, so
//! that weights are small and most lengths are considered. `impossible` drafts tokens that the
//! target, cut at `top_p`, cannot draw.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use kad_core::decode::{Emitted, Round};
use kad_core::{
    ChoiceSource, DecodeError, Distribution, Predictor, SampledChoices, Sampling, SamplingSettings,
    TokenId,
};
use kad_polybasic::{
    Draft, DraftRequest, DraftSettings, Drafter, Level, PredictorTarget, Stage, Verifier,
};

const VOCAB: usize = 50_257;
const LENGTH: usize = 6;

/// The same logits after every text.
struct Fixed {
    logits: Vec<f32>,
    sampling: Sampling,
}

impl Predictor for Fixed {
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
        self.sampling.distribution(&self.logits, &context[..len], out).map_err(|source| {
            DecodeError::Distribution { model: "fixed".to_owned(), position: len, source }
        })
    }
}

/// The same tokens and distribution in every round: a draft costs only the copy of a distribution.
struct Prepared {
    tokens: [TokenId; LENGTH],
    distribution: Distribution,
}

impl Drafter for Prepared {
    fn context_len(&self) -> usize {
        usize::MAX
    }
    fn draft(
        &mut self,
        _: DraftRequest<'_>,
        _: &mut dyn ChoiceSource,
        out: &mut Draft,
        _: &mut Vec<Round>,
    ) -> Result<(), DecodeError> {
        self.tokens.iter().try_for_each(|&token| {
            out.push(Emitted::sampled(token), |distribution| {
                distribution.clone_from(&self.distribution);
                Ok(())
            })
        })
    }
}

/// Zipf's distribution, `p ∝ 1 / rank`, the ranks scattered over the IDs by a prime `factor`.
fn logits(factor: usize) -> Vec<f32> {
    (0..VOCAB).map(|id| -((id * factor % VOCAB + 1) as f32).ln()).collect()
}

/// Zipf's distribution under `settings`.
fn distribution(factor: usize, settings: SamplingSettings) -> Distribution {
    let (sampling, mut distribution) =
        (Sampling::new(settings).expect("in range"), Distribution::default());
    sampling.distribution(&logits(factor), &[], &mut distribution).expect("finite logits");
    distribution
}

fn rounds(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("block");
    let plain = SamplingSettings::default();
    let cut = SamplingSettings { top_p: Some(0.9), ..plain };
    let cases =
        [("accepted", plain, 7919), ("doubtful", plain, 104_729), ("impossible", cut, 104_729)];
    for (name, settings, factor) in cases {
        let (target, draft) = (distribution(7919, settings), distribution(factor, plain));
        let mut choices = SampledChoices::seeded(1);
        let tokens = [(); LENGTH].map(|()| {
            let mut draws = std::iter::repeat_with(|| choices.token(&draft));
            let wanted = |token: &TokenId| (target.prob(*token) > 0.0) != (name == "impossible");
            draws.find(wanted).expect("goes on for ever")
        });
        let sampling = Sampling::new(settings).expect("in range");
        let target = PredictorTarget::new(Fixed { logits: logits(7919), sampling });
        let drafting = DraftSettings::of(LENGTH).expect("not empty");
        let stage = Stage::new(Prepared { tokens, distribution: draft }, target, drafting);
        let mut stage = stage.verified_by(Verifier::Block);
        let (mut out, mut told) = (Draft::without_distributions(), Vec::new());
        let request =
            DraftRequest { context: &[0], wanted: 1, room: LENGTH + 1, level: 1, eos: &[] };
        group.bench_function(name, |b| {
            b.iter(|| {
                out.clear();
                told.clear();
                stage.round(request, &mut choices, &mut out, &mut told).expect("finite logits");
                black_box(out.len())
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
        .sample_size(30);
    targets = rounds
}
criterion_main!(benches);
