//! The conformance suite for all backends.
//!
//! A backend implements the contract of [`LanguageModel`] and [`Session`]: a session answers like a
//! fresh session with the same tokens, whatever calls led to them, and so do the nodes of a token
//! tree. [`check`] tests a model against this contract, and against a reference model with the same
//! weights if there is one.
//!
//! ```
//! use kad_core::oracle::TableModel;
//! use kad_core::testing::conformance::{Tolerance, check};
//! let model = TableModel::random("toy", 5, 3, 11);
//! let report = check(&model, Some(&model), Tolerance::EXACT, 1);
//! assert!(report.batch_invariant);
//! ```

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::error::ModelError;
use crate::logits::LogitRows;
use crate::model::{LanguageModel, Session};
use crate::vocab::TokenId;

mod trees;

/// Length of the test sequences; shorter for a model with a shorter context.
const LENGTH: usize = 48;
/// Longest sequence of the random walk: backends compute it in one piece.
const LONGEST: usize = 64;
/// Steps of the random walk over `extend` and `truncate`.
const STEPS: usize = 60;
/// Most tokens that the walk appends at once: the size of verification passes.
const PIECE: usize = 12;

/// Largest accepted differences between two logits, absolute.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// Between rows of one model computed in different forward passes.
    pub passes: f64,
    /// Between the model and the reference.
    pub reference: f64,
}

impl Tolerance {
    /// No difference, up to the sign of zero.
    pub const EXACT: Tolerance = Tolerance { passes: 0.0, reference: 0.0 };
}

/// Results of a [`check`] that passed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Report {
    /// Largest difference between rows of the same tokens in different passes, trees included.
    pub passes: f64,
    /// Largest difference between a tree node and its path in a fresh session, and between rows
    /// after a kept path and a fresh session; 0 without trees.
    pub in_trees: f64,
    /// Largest difference to the reference; 0 without one.
    pub reference: f64,
    /// Largest absolute logit, the scale of the differences.
    pub largest: f64,
    /// True if a pass over many tokens always gave the same bits as passes over one token.
    pub batch_invariant: bool,
    /// Number of rows compared.
    pub rows: usize,
    /// True if sessions have [tree attention](crate::TreeSession), which is then tested too.
    pub trees: bool,
}

/// Tests `model` against the contract of [`Session`], with tokens drawn from `seed`.
///
/// # Panics
/// If the model breaks the contract; the message names the check.
pub fn check(
    model: &dyn LanguageModel,
    reference: Option<&dyn LanguageModel>,
    tolerance: Tolerance,
    seed: u64,
) -> Report {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let tokens = random_tokens(model, &mut rng, LENGTH.min(model.context_len()));
    let mut suite = Suite {
        model,
        tolerance,
        report: Report {
            passes: 0.0,
            in_trees: 0.0,
            reference: 0.0,
            largest: 0.0,
            batch_invariant: true,
            rows: 0,
            trees: false,
        },
    };
    suite.refusals(&tokens);
    suite.repeats(&tokens);
    suite.wanted(&tokens);
    suite.one_by_one(&tokens);
    suite.rolled_back(&tokens);
    suite.independent(&tokens, &mut rng);
    suite.walk(&mut rng);
    suite.trees(&tokens, &mut rng);
    if let Some(reference) = reference {
        suite.agrees(reference, &tokens);
    }
    suite.report
}

fn random_tokens(model: &dyn LanguageModel, rng: &mut impl Rng, count: usize) -> Vec<TokenId> {
    (0..count).map(|_| rng.random_range(0..model.vocab().size()) as TokenId).collect()
}

struct Suite<'m> {
    model: &'m dyn LanguageModel,
    tolerance: Tolerance,
    report: Report,
}

impl<'m> Suite<'m> {
    fn start(&self) -> Box<dyn Session + 'm> {
        self.model.start().unwrap_or_else(|error| panic!("{}: start: {error}", self.model.name()))
    }

    /// Extends `session` by `tokens` and returns the rows of the last `wanted`.
    fn extend(&self, session: &mut dyn Session, tokens: &[TokenId], wanted: usize) -> LogitRows {
        let held = session.tokens().to_vec();
        let mut out = LogitRows::new(self.model.vocab().size());
        let name = self.model.name();
        session.extend(tokens, wanted, &mut out).unwrap_or_else(|error| {
            panic!("{name}: extending {} tokens by {}: {error}", held.len(), tokens.len())
        });
        assert_eq!(out.len(), wanted, "{name}: rows of logits for {} tokens", tokens.len());
        assert_eq!(session.tokens(), [&held, tokens].concat(), "{name}: tokens held");
        out
    }

    /// All rows of a fresh session that gets `tokens` in one pass.
    fn fresh(&self, tokens: &[TokenId]) -> LogitRows {
        self.extend(&mut *self.start(), tokens, tokens.len())
    }

    /// Compares rows that must agree within the tolerance but may come from different passes.
    fn alike(&mut self, found: &LogitRows, expected: &LogitRows, what: &str) {
        let worst = worst_difference(found, expected);
        self.report.rows += found.len();
        self.report.passes = self.report.passes.max(worst);
        self.report.batch_invariant &= found == expected;
        let (name, allowed) = (self.model.name(), self.tolerance.passes);
        // Written so that NaN fails.
        assert!(
            worst <= allowed,
            "{name}: {what}: logits differ by {worst:e}, allowed {allowed:e}"
        );
    }

    fn refusals(&self, tokens: &[TokenId]) {
        let (name, vocab) = (self.model.name(), self.model.vocab().size());
        let mut session = self.start();
        let held = &tokens[..2.min(tokens.len())];
        self.extend(&mut *session, held, 0);
        let mut out = LogitRows::new(vocab);
        let mut refused = |tokens: &[TokenId], wanted: usize| {
            let result = session.extend(tokens, wanted, &mut out);
            let error = result.expect_err(&format!("{name}: an invalid request was accepted"));
            assert!(out.is_empty(), "{name}: a refused call wrote rows");
            assert_eq!(session.tokens(), held, "{name}: a refused call changed the session");
            error
        };
        let error = refused(&[], 0);
        assert!(matches!(error, ModelError::InvalidRowCount { .. }), "{name}: no tokens: {error}");
        let error = refused(&[0], 2);
        assert!(
            matches!(error, ModelError::InvalidRowCount { .. }),
            "{name}: 2 rows of 1: {error}"
        );
        let error = refused(&[0, vocab as TokenId], 1);
        let right =
            matches!(error, ModelError::TokenOutOfRange { id, .. } if id == vocab as TokenId);
        assert!(right, "{name}: token {vocab}: {error}");
        let error = refused(&vec![0; self.model.context_len() + 1 - held.len()], 1);
        let right = matches!(error, ModelError::ContextFull { held: h, .. } if h == held.len());
        assert!(right, "{name}: one token more than the context: {error}");
        let len = held.len() + 1;
        let error = session.truncate(len).expect_err(name);
        let right = matches!(error, ModelError::TruncatePastEnd { len: l, .. } if l == len);
        assert!(right, "{name}: truncate to {len}: {error}");
        assert_eq!(session.tokens(), held, "{name}: a refused call changed the session");
    }

    fn repeats(&mut self, tokens: &[TokenId]) {
        let (once, again) = (self.fresh(tokens), self.fresh(tokens));
        let name = self.model.name();
        for logit in once.iter().flatten() {
            assert!(logit.is_finite(), "{name}: a logit is {logit}");
            self.report.largest = self.report.largest.max(f64::from(logit.abs()));
        }
        assert!(once == again, "{name}: a repeated call gave different bits");
    }

    fn wanted(&mut self, tokens: &[TokenId]) {
        let all = self.fresh(tokens);
        for wanted in [0, 1, tokens.len() / 2] {
            let some = self.extend(&mut *self.start(), tokens, wanted);
            self.alike(&some, &tail(&all, wanted), "the last rows only");
        }
    }

    fn one_by_one(&mut self, tokens: &[TokenId]) {
        let whole = self.fresh(tokens);
        let mut session = self.start();
        for (at, token) in tokens.iter().enumerate() {
            let row = self.extend(&mut *session, &[*token], 1);
            let mut expected = LogitRows::new(whole.vocab());
            expected.push_row(whole.row(at));
            self.alike(&row, &expected, "one token at a time");
        }
    }

    /// A rollback removes wrong tokens without a trace.
    fn rolled_back(&mut self, tokens: &[TokenId]) {
        let expected = self.fresh(tokens);
        let vocab = self.model.vocab().size() as TokenId;
        for keep in [0, 1, tokens.len() / 2, tokens.len() - 1] {
            let mut session = self.start();
            let wrong: Vec<_> = tokens[keep..].iter().map(|token| (token + 1) % vocab).collect();
            if keep > 0 {
                self.extend(&mut *session, &tokens[..keep], 0);
            }
            self.extend(&mut *session, &wrong, 1);
            session.truncate(keep).unwrap_or_else(|error| panic!("truncate to {keep}: {error}"));
            let wanted = tokens.len() - keep;
            let found = self.extend(&mut *session, &tokens[keep..], wanted);
            self.alike(&found, &tail(&expected, wanted), "after a rollback");
        }
    }

    /// Two interleaved sessions give the same bits as each alone.
    fn independent(&mut self, tokens: &[TokenId], rng: &mut impl Rng) {
        let others = random_tokens(self.model, rng, tokens.len());
        let half = tokens.len() / 2;
        let alone = |tokens: &[TokenId]| {
            let mut session = self.start();
            self.extend(&mut *session, &tokens[..half], 0);
            self.extend(&mut *session, &tokens[half..], tokens.len() - half)
        };
        let expected = [alone(tokens), alone(&others)];
        let (mut first, mut second) = (self.start(), self.start());
        self.extend(&mut *first, &tokens[..half], 0);
        self.extend(&mut *second, &others[..half], 0);
        let wanted = tokens.len() - half;
        let first = self.extend(&mut *first, &tokens[half..], wanted);
        let second = self.extend(&mut *second, &others[half..], wanted);
        let name = self.model.name();
        assert!([first, second] == expected, "{name}: one session affects another");
    }

    /// A long random sequence of calls; every row is compared with a fresh session.
    fn walk(&mut self, rng: &mut impl Rng) {
        let limit = LONGEST.min(self.model.context_len());
        let mut session = self.start();
        for step in 0..STEPS {
            let held = session.tokens().len();
            if held == limit || held > 0 && rng.random_range(0..3) == 0 {
                let keep = rng.random_range(0..held);
                session.truncate(keep).unwrap_or_else(|error| panic!("truncate: {error}"));
                continue;
            }
            let count = rng.random_range(1..=PIECE.min(limit - held));
            let tokens = random_tokens(self.model, rng, count);
            let found = self.extend(&mut *session, &tokens, count);
            let expected = tail(&self.fresh(session.tokens()), count);
            self.alike(&found, &expected, &format!("step {step} of a random walk"));
        }
    }

    fn agrees(&mut self, reference: &dyn LanguageModel, tokens: &[TokenId]) {
        let (name, other) = (self.model.name(), reference.name());
        let same = self.model.vocab().ensure_same(name, reference.vocab(), other);
        same.unwrap_or_else(|error| panic!("{error}"));
        let mut expected = LogitRows::new(reference.vocab().size());
        let mut session = reference.start().unwrap_or_else(|error| panic!("{other}: {error}"));
        session
            .extend(tokens, tokens.len(), &mut expected)
            .unwrap_or_else(|error| panic!("{other}: {error}"));
        let worst = worst_difference(&self.fresh(tokens), &expected);
        self.report.rows += tokens.len();
        self.report.reference = worst;
        let allowed = self.tolerance.reference;
        assert!(
            worst <= allowed,
            "{name} against {other}: logits differ by {worst:e}, allowed {allowed:e}"
        );
    }
}

fn tail(rows: &LogitRows, count: usize) -> LogitRows {
    let mut tail = LogitRows::new(rows.vocab());
    rows.iter().skip(rows.len() - count).for_each(|row| tail.push_row(row));
    tail
}

/// Largest absolute difference between two logits; infinite if one is NaN.
///
/// # Panics
/// If the numbers of rows differ.
pub fn worst_difference(found: &LogitRows, expected: &LogitRows) -> f64 {
    assert_eq!(found.len(), expected.len(), "rows");
    let pairs = found.iter().flatten().zip(expected.iter().flatten());
    worst(pairs.map(|(a, b)| f64::from(*a) - f64::from(*b)))
}

/// Largest absolute value of `differences`; infinite if one is NaN, so that no tolerance accepts it
/// (`f64::max` ignores NaN).
///
/// ```
/// use kad_core::testing::conformance::worst;
/// assert_eq!(worst([0.1, -0.3]), 0.3);
/// assert_eq!(worst([f64::NAN, 0.1]), f64::INFINITY);
/// ```
pub fn worst(differences: impl IntoIterator<Item = f64>) -> f64 {
    let larger = |worst: f64, d: f64| if d.is_nan() { f64::INFINITY } else { worst.max(d.abs()) };
    differences.into_iter().fold(0.0, larger)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocab::{Fingerprint, Vocab};

    /// A model whose sessions have a chosen fault. Its logits depend on a running hash of its
    /// tokens.
    struct Faulty(Fault, Vocab);

    #[derive(Clone, Copy, PartialEq)]
    enum Fault {
        None,
        ForgetsToTruncate,
        LooksAtThePass,
        HasNoLimit,
    }

    struct FaultySession {
        fault: Fault,
        tokens: Vec<TokenId>,
        /// Stands for the KV cache.
        sum: Vec<u32>,
    }

    const VOCAB: usize = 5;
    const CONTEXT: usize = 64;

    impl LanguageModel for Faulty {
        fn name(&self) -> &str {
            "faulty"
        }
        fn vocab(&self) -> &Vocab {
            &self.1
        }
        fn context_len(&self) -> usize {
            CONTEXT
        }
        fn start(&self) -> Result<Box<dyn Session + '_>, ModelError> {
            Ok(Box::new(FaultySession { fault: self.0, tokens: vec![], sum: vec![0] }))
        }
    }

    impl Session for FaultySession {
        fn tokens(&self) -> &[TokenId] {
            &self.tokens
        }
        fn extend(
            &mut self,
            tokens: &[TokenId],
            wanted: usize,
            out: &mut LogitRows,
        ) -> Result<(), ModelError> {
            let limit = if self.fault == Fault::HasNoLimit { usize::MAX } else { CONTEXT };
            ModelError::check_extend(self.tokens.len(), tokens, wanted, limit, VOCAB)?;
            for (index, token) in tokens.iter().enumerate() {
                self.tokens.push(*token);
                let sum = self.sum.last().unwrap() * 3 + token + 1;
                self.sum.push(sum % 1000);
                if index + wanted >= tokens.len() {
                    let extra = if self.fault == Fault::LooksAtThePass { tokens.len() } else { 0 };
                    let logit = |id| (self.sum.last().unwrap() * id % 7) as f32 + extra as f32;
                    let row: Vec<f32> = (0..VOCAB as u32).map(logit).collect();
                    out.push_row(&row);
                }
            }
            Ok(())
        }
        fn truncate(&mut self, len: usize) -> Result<(), ModelError> {
            let held = self.tokens.len();
            if len > held {
                return Err(ModelError::TruncatePastEnd { len, held });
            }
            self.tokens.truncate(len);
            if self.fault != Fault::ForgetsToTruncate {
                self.sum.truncate(len + 1);
            }
            Ok(())
        }
    }

    fn faulty(fault: Fault) -> Faulty {
        Faulty(fault, Vocab::new(VOCAB, Fingerprint([0; 32])))
    }

    fn failure(fault: Fault) -> Option<String> {
        let run = || check(&faulty(fault), Some(&faulty(Fault::None)), Tolerance::EXACT, 1);
        let caught = std::panic::catch_unwind(run).err()?;
        caught.downcast_ref::<String>().cloned()
    }

    #[test]
    fn a_correct_model_passes_and_is_reported_as_exact() {
        let model = faulty(Fault::None);
        let report = check(&model, Some(&model), Tolerance::EXACT, 1);
        assert!(report.batch_invariant && report.passes == 0.0 && report.rows > 100, "{report:?}");
    }

    #[test]
    fn each_fault_is_found_and_named() {
        let message = failure(Fault::ForgetsToTruncate).unwrap();
        assert!(message.contains("after a rollback"), "{message}");
        let message = failure(Fault::LooksAtThePass).unwrap();
        assert!(message.contains("the last rows") || message.contains("one token at a time"));
        let message = failure(Fault::HasNoLimit).unwrap();
        assert!(message.contains("an invalid request was accepted"), "{message}");
    }
}
