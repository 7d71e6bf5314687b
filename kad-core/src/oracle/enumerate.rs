//! Walks every path of a random procedure.

use std::collections::BTreeMap;

use crate::choice::ChoiceSource;
use crate::error::DecodeError;
use crate::law::Law;
use crate::predictor::Predictor;
use crate::vocab::TokenId;

/// The exact law of `run`'s result: every sequence of choices is tried once and weighted with its
/// probability.
///
/// `run` must make all of its choices through the source it is given and depend on nothing else
/// that varies. The number of runs is the number of paths with positive probability.
///
/// # Errors
/// The first error of `run`.
///
/// ```
/// use kad_core::{ChoiceSource, Law, oracle::enumerate};
/// let coin = Law::from_probs(vec![0.5, 0.5])?;
/// let law = enumerate(|choices| Ok::<_, ()>(choices.token(&coin) + choices.token(&coin))).unwrap();
/// assert_eq!(law[&1], 0.5);
/// # Ok::<(), kad_core::LawError>(())
/// ```
pub fn enumerate<T: Ord, E>(
    mut run: impl FnMut(&mut dyn ChoiceSource) -> Result<T, E>,
) -> Result<BTreeMap<T, f64>, E> {
    let mut outcomes = BTreeMap::new();
    let mut script = Script::default();
    loop {
        script.restart();
        let outcome = run(&mut script)?;
        *outcomes.entry(outcome).or_insert(0.0) += script.probability;
        if !script.next_path() {
            return Ok(outcomes);
        }
    }
}

/// Total variation ½ Σ |P − Q| between two laws over outcomes.
pub fn total_variation<T: Ord>(p: &BTreeMap<T, f64>, q: &BTreeMap<T, f64>) -> f64 {
    let common: f64 =
        p.iter().map(|(outcome, p)| (p - q.get(outcome).copied().unwrap_or(0.0)).abs()).sum();
    let only_q: f64 =
        q.iter().filter(|(outcome, _)| !p.contains_key(outcome)).map(|(_, q)| q).sum();
    0.5 * (common + only_q)
}

/// The joint law over continuations that a predictor claims: the product of its next-token laws,
/// up to `length` tokens or to the first of `eos`.
///
/// # Errors
/// The predictor's.
pub fn joint_law(
    predictor: &mut dyn Predictor,
    prompt: &[TokenId],
    length: usize,
    eos: &[TokenId],
) -> Result<BTreeMap<Vec<TokenId>, f64>, DecodeError> {
    let mut finished = BTreeMap::new();
    let mut open = vec![(Vec::new(), 1.0)];
    let mut laws = Vec::new();
    while let Some((continuation, probability)) = open.pop() {
        let ended = continuation.last().is_some_and(|last| eos.contains(last));
        if ended || continuation.len() == length {
            finished.insert(continuation, probability);
            continue;
        }
        let context = [prompt, &continuation].concat();
        predictor.laws(&context, 1, &mut laws)?;
        for (token, &p) in (0..).zip(laws[0].probs()).filter(|(_, p)| **p > 0.0) {
            let longer = [&continuation[..], &[token]].concat();
            open.push((longer, probability * p));
        }
    }
    Ok(finished)
}

/// A path through the tree of choices: replayed from the start, then extended by first branches.
#[derive(Default)]
struct Script {
    /// For each choice on the path: the branch taken, and the branches not yet tried.
    path: Vec<Branch>,
    position: usize,
    probability: f64,
}

struct Branch {
    /// (answer, its probability); the last one is the one being tried.
    untried: Vec<(TokenId, f64)>,
}

impl Script {
    fn restart(&mut self) {
        self.position = 0;
        self.probability = 1.0;
    }

    /// Moves to the next untried path; false if there is none.
    fn next_path(&mut self) -> bool {
        debug_assert_eq!(self.position, self.path.len(), "the run must replay its choices");
        while let Some(branch) = self.path.last_mut() {
            branch.untried.pop();
            if !branch.untried.is_empty() {
                return true;
            }
            self.path.pop();
        }
        false
    }

    fn choose(&mut self, answers: impl FnOnce() -> Vec<(TokenId, f64)>) -> TokenId {
        if self.position == self.path.len() {
            self.path.push(Branch { untried: answers() });
        }
        let current = self.path[self.position].untried.last();
        let &(answer, probability) = current.expect("a branch on the path has an answer left");
        self.position += 1;
        self.probability *= probability;
        answer
    }
}

impl ChoiceSource for Script {
    fn token(&mut self, law: &Law) -> TokenId {
        self.choose(|| {
            let possible = (0..).zip(law.probs()).filter(|(_, p)| **p > 0.0);
            possible.map(|(token, &p)| (token, p)).collect()
        })
    }

    fn accept(&mut self, probability: f64) -> bool {
        match probability {
            p if p >= 1.0 => true,
            p if p > 0.0 => self.choose(|| vec![(0, 1.0 - p), (1, p)]) == 1,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Choices that depend on earlier ones, against the numbers worked out by hand.
    #[test]
    fn dependent_choices_multiply() {
        let first = Law::from_probs(vec![0.25, 0.75]).unwrap();
        let after_one = Law::from_probs(vec![0.5, 0.0, 0.5]).unwrap();
        let law = enumerate(|choices| {
            let a = choices.token(&first);
            let b = if a == 1 { choices.token(&after_one) } else { 9 };
            Ok::<_, ()>((a, b, a == 1 && choices.accept(0.2)))
        });
        let wanted = BTreeMap::from([
            ((0, 9, false), 0.25),
            ((1, 0, false), 0.375 * 0.8),
            ((1, 0, true), 0.375 * 0.2),
            ((1, 2, false), 0.375 * 0.8),
            ((1, 2, true), 0.375 * 0.2),
        ]);
        assert!(total_variation(&law.unwrap(), &wanted) < 1e-15);
    }

    #[test]
    fn total_variation_counts_outcomes_of_either_side() {
        let p = BTreeMap::from([("a", 0.5), ("b", 0.5)]);
        let q = BTreeMap::from([("b", 0.5), ("c", 0.5)]);
        assert_eq!(total_variation(&p, &q), 0.5);
    }
}
