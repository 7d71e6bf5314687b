//! A model that fails in the middle of a round: the error is handed out, and the decoder can be asked
//! again as if it had not been asked.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

use kad_core::decode::Decoder;
use kad_core::oracle::{TableModel, TextLaw, enumerate, total_variation};
use kad_core::{
    DecodeError, LanguageModel, LogitRows, ModelError, SampledChoices, Session, TokenId, Vocab,
};
use kad_polybasic::{Surplus, Verifier};

use crate::support::*;

/// Fails once, when the countdown (which its sessions share) reaches 0.
struct Failing {
    inner: TableModel,
    left: AtomicUsize,
}

/// Of the texts enumerated.
const LENGTH: usize = 2;
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

/// The law of a text of up to two tokens whose first step fails in pass `passes` of model `which`, and
/// is asked again; only the texts in which it did fail. `None` if it never does.
fn after_failure(
    models: &[Failing; 3],
    levels: &[Plan],
    surplus: Surplus,
    (which, passes): (usize, usize),
) -> Option<TextLaw> {
    let law = enumerate(|choices| {
        // Fresh sessions: the passes of a path must not depend on the path before it.
        let mut decoder = chain_at(plain(), models, levels, surplus);
        decoder.begin(PROMPT.len());
        let (mut context, mut out, mut failed) = (PROMPT.to_vec(), Vec::new(), false);
        models[which].fail_after(passes);
        while context.len() < PROMPT.len() + LENGTH && context.last() != Some(&EOS) {
            out.clear();
            let room = PROMPT.len() + LENGTH - context.len();
            match decoder.step(&context, room, choices, &mut out) {
                Ok(_) => context.extend(out.iter().map(|made| made.token)),
                Err(_) => {
                    assert!(out.is_empty() && !failed);
                    // What was made before it is not compared: it is conditioned on the failure.
                    context.truncate(PROMPT.len());
                    failed = true;
                }
            }
        }
        models[which].fail_after(NEVER);
        Ok::<_, DecodeError>((failed, context[PROMPT.len()..].to_vec()))
    });
    let mut texts: TextLaw = law
        .unwrap()
        .into_iter()
        .filter(|((failed, _), _)| *failed)
        .map(|((_, t), p)| (t, p))
        .collect();
    let total: f64 = texts.values().sum();
    texts.values_mut().for_each(|p| *p /= total);
    (total > 0.0).then_some(texts)
}

#[test]
fn a_step_asked_again_after_a_failure_has_the_right_law() {
    let models = tables::<3>().map(Failing::new);
    let goal = claimed(predictor(&models[0]), LENGTH);
    let seen = Cell::new(0);
    for surplus in [Surplus::Flush, Surplus::Keep] {
        for (mu, k, bonus) in [(2, 1, 0), (2, 2, 0), (1, 2, 0), (2, 1, 3)] {
            let levels = Plan::levels(&[mu, k], bonus, Verifier::Token);
            for which in 0..3 {
                for passes in 0..3 {
                    let at = (which, passes);
                    if let Some(law) = after_failure(&models, &levels, surplus, at) {
                        let tv = total_variation(&law, &goal);
                        assert!(tv < EXACT, "{levels:?}, {surplus:?}, {at:?}: {tv}");
                        seen.set(seen.get() + 1);
                    }
                }
            }
        }
    }
    assert!(seen.get() > 20, "{} failures", seen.get());
}

/// Interrupted or not, the text of a seed is the same: shared uniforms belong to places, not to tries.
#[test]
fn a_text_by_shared_uniforms_is_not_changed_by_failures() {
    let models = tables::<3>().map(Failing::new);
    let levels = Plan::levels(&[3, 2], 3, Verifier::SharedUniform);
    let whole = sampled(&mut chain(&models, &levels), 30, 4);
    for which in 0..3 {
        let mut decoder = chain(&models, &levels);
        decoder.begin(PROMPT.len());
        let (mut context, mut out, mut failures) = (PROMPT.to_vec(), Vec::new(), 0);
        let mut choices = SampledChoices::seeded(4);
        // No token ends these texts: the chain would stop drafting at one, not the text.
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
