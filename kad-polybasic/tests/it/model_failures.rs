//! A model that fails in the middle of a round: the error is returned, and the decoder can repeat
//! the step.

use std::sync::atomic::{AtomicUsize, Ordering};

use kad_core::decode::Decoder;
use kad_core::oracle::{TableModel, TextDistribution, enumerate};
use kad_core::{
    DecodeError, LanguageModel, LogitRows, ModelError, Predictor, SampledChoices, Session, TokenId,
    Vocab,
};
use kad_polybasic::{Surplus, Verifier};

use crate::support::*;

/// Fails once, when the countdown shared by its sessions reaches 0.
struct Failing {
    inner: TableModel,
    left: AtomicUsize,
}

const NEVER: usize = usize::MAX;

impl Failing {
    fn new(inner: TableModel) -> Self {
        Self { inner, left: AtomicUsize::new(NEVER) }
    }
    fn fail_after(&self, passes: usize) {
        self.left.store(passes, Ordering::Relaxed);
    }
}

impl LanguageModel for Failing {
    fn name(&self) -> &str {
        "failing"
    }
    fn vocab(&self) -> &Vocab {
        self.inner.vocab()
    }
    fn context_len(&self) -> usize {
        self.inner.context_len()
    }
    fn start(&self) -> Result<Box<dyn Session + '_>, ModelError> {
        Ok(Box::new(FailingSession { inner: self.inner.start()?, left: &self.left }))
    }
}

struct FailingSession<'m> {
    inner: Box<dyn Session + 'm>,
    left: &'m AtomicUsize,
}

impl Session for FailingSession<'_> {
    fn tokens(&self) -> &[TokenId] {
        self.inner.tokens()
    }
    fn extend(
        &mut self,
        tokens: &[TokenId],
        wanted: usize,
        out: &mut LogitRows,
    ) -> Result<(), ModelError> {
        match self.left.load(Ordering::Relaxed) {
            NEVER => {}
            0 => {
                self.left.store(NEVER, Ordering::Relaxed);
                let message = "out of memory".to_owned();
                return Err(ModelError::Backend { backend: "test", message });
            }
            left => self.left.store(left - 1, Ordering::Relaxed),
        }
        self.inner.extend(tokens, wanted, out)
    }
    fn truncate(&mut self, len: usize) -> Result<(), ModelError> {
        self.inner.truncate(len)
    }
}

/// Makes a step of one token, then one of two tokens that fails in pass `passes` of model `which`
/// and is repeated. Returns the distribution of the text up to the failure and the first token
/// after it; empty if it never fails.
fn after_failure(
    models: &[Failing; 3],
    levels: &[LevelSettings],
    surplus: Surplus,
    (which, passes): (usize, usize),
) -> TextDistribution {
    let distribution = enumerate(|choices| {
        // Fresh sessions: the passes of one path must not depend on an earlier path.
        let mut decoder = chain_at(plain(), models, levels, surplus);
        decoder.begin(PROMPT.len());
        let (mut context, mut out) = (PROMPT.to_vec(), Vec::new());
        decoder.step(&context, 1, choices, &mut out)?;
        context.push(out[0].token);
        out.clear();
        models[which].fail_after(passes);
        let failed = decoder.step(&context, 2, choices, &mut out).is_err();
        models[which].fail_after(NEVER);
        if failed {
            assert!(out.is_empty());
            decoder.step(&context, 2, choices, &mut out)?;
        }
        Ok::<_, DecodeError>((failed, vec![context[PROMPT.len()], out[0].token]))
    });
    distribution
        .unwrap()
        .into_iter()
        .filter_map(|((failed, text), p)| failed.then_some((text, p)))
        .collect()
}

/// Given the text and the failure, the next token has the target's distribution. Tokens drafted
/// before the failure are discarded, because they influenced when it happened.
#[test]
fn a_repeated_step_after_a_failure_has_the_targets_distribution() {
    let models = tables::<3>().map(Failing::new);
    let mut seen = 0;
    for surplus in [Surplus::Flush, Surplus::Keep] {
        for (mu, k, bonus) in [(2, 1, 0), (2, 2, 0), (1, 2, 0), (2, 1, 1), (2, 1, 2)] {
            let levels = LevelSettings::levels(&[mu, k], bonus, Verifier::Token);
            for at in (0..3).flat_map(|which| (0..3).map(move |passes| (which, passes))) {
                let distribution = after_failure(&models, &levels, surplus, at);
                for first in 0..3 {
                    let found =
                        |token| distribution.get(&vec![first, token]).copied().unwrap_or(0.0);
                    let total: f64 = (0..3).map(found).sum();
                    if total == 0.0 {
                        continue;
                    }
                    let mut claimed = Vec::new();
                    let context = [&PROMPT[..], &[first]].concat();
                    predictor(&models[0]).distributions(&context, 1, &mut claimed).unwrap();
                    let apart = |token| (found(token) / total - claimed[0].prob(token)).abs();
                    let tv: f64 = (0..3).map(apart).sum::<f64>() / 2.0;
                    assert!(tv < EXACT, "{levels:?}, {surplus:?}, {at:?}, after {first}: {tv}");
                    seen += 1;
                }
            }
        }
    }
    assert!(seen > 100, "{seen} failures");
}

/// Failures do not change the text of a seed: same uniforms belong to positions, not to attempts.
#[test]
fn failures_do_not_change_a_text_by_same_uniforms() {
    let models = tables::<3>().map(Failing::new);
    let levels = LevelSettings::levels(&[3, 2], 3, Verifier::SameUniform);
    let whole = sampled(&mut chain(&models, &levels), 30, 4);
    for which in 0..3 {
        let mut decoder = chain(&models, &levels);
        decoder.begin(PROMPT.len());
        let (mut context, mut out, mut failures) = (PROMPT.to_vec(), Vec::new(), 0);
        let mut choices = SampledChoices::seeded(4);
        // These texts have no end token: the chain would stop drafting at one, but the loop below
        // would go on.
        while context.len() < PROMPT.len() + 30 {
            models[which].fail_after(context.len() % 3);
            let room = PROMPT.len() + 30 - context.len();
            while decoder.step(&context, room, &mut choices, &mut out).is_err() {
                failures += 1;
                assert!(out.is_empty());
            }
            context.extend(out.drain(..).map(|made| made.token));
        }
        models[which].fail_after(NEVER);
        assert!(failures > 0);
        assert_eq!(context[PROMPT.len()..], whole);
    }
}
