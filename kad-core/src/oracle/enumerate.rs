//! Exact distributions of random procedures, by enumeration of all paths.

use std::collections::BTreeMap;

use num_rational::BigRational;

use crate::choice::ChoiceSource;
use crate::distribution::Distribution;
use crate::number::Number;
use crate::vocab::TokenId;

/// The exact distribution of `run`'s result: every sequence of choices is tried once and weighted
/// with its probability, in `f64` with compensated sums.
///
/// `run` must make all of its choices through the given source and must not depend on anything else
/// that varies. It is called once per path of positive probability.
///
/// # Errors
/// The first error of `run`.
///
/// ```
/// use kad_core::{ChoiceSource, Distribution, oracle::enumerate};
/// let coin = Distribution::from_probs(vec![0.5, 0.5])?;
/// let two_coins = |choices: &mut dyn ChoiceSource| {
///     Ok::<_, ()>(choices.token(&coin) + choices.token(&coin))
/// };
/// let distribution = enumerate(two_coins).unwrap();
/// assert_eq!(distribution[&1], 0.5);
/// # Ok::<(), kad_core::DistributionError>(())
/// ```
pub fn enumerate<T: Ord, E>(
    run: impl FnMut(&mut dyn ChoiceSource) -> Result<T, E>,
) -> Result<BTreeMap<T, f64>, E> {
    walk(run)
}

/// [`enumerate`] without rounding, for procedures with rational probabilities.
///
/// # Errors
/// The first error of `run`.
///
/// ```
/// use kad_core::{ChoiceSource, Distribution, oracle::{enumerate_exact, ratio}};
/// let die = Distribution::proportional(vec![ratio(1, 1); 3]).unwrap();
/// let distribution = enumerate_exact(|choices| Ok::<_, ()>(choices.token(&die) == 2)).unwrap();
/// assert_eq!(distribution[&true], ratio(1, 3));
/// ```
pub fn enumerate_exact<T: Ord, E>(
    run: impl FnMut(&mut dyn ChoiceSource<BigRational>) -> Result<T, E>,
) -> Result<BTreeMap<T, BigRational>, E> {
    walk(run)
}

/// The rational `numerator / denominator`.
///
/// # Panics
/// If the denominator is 0.
pub fn ratio(numerator: i64, denominator: i64) -> BigRational {
    BigRational::new(numerator.into(), denominator.into())
}

/// Total variation distance `½ Σ |P − Q|` between two distributions over outcomes.
pub fn total_variation<T: Ord, N: Number>(p: &BTreeMap<T, N>, q: &BTreeMap<T, N>) -> N {
    let zero = || N::zero();
    let apart = |a: &N, b: &N| if a > b { a.clone() - b.clone() } else { b.clone() - a.clone() };
    let mut sum = N::Sum::default();
    for (outcome, p) in p {
        N::add_to(&mut sum, apart(p, q.get(outcome).unwrap_or(&zero())));
    }
    for (_, q) in q.iter().filter(|(outcome, _)| !p.contains_key(outcome)) {
        N::add_to(&mut sum, q.clone());
    }
    N::total(sum) / (N::one() + N::one())
}

fn walk<T: Ord, E, N: Number>(
    mut run: impl FnMut(&mut dyn ChoiceSource<N>) -> Result<T, E>,
) -> Result<BTreeMap<T, N>, E> {
    let mut sums = BTreeMap::<T, N::Sum>::new();
    let mut paths = PathEnumerator {
        path: Vec::new(),
        position: 0,
        probability: N::one(),
        known: BTreeMap::new(),
    };
    loop {
        paths.restart();
        let outcome = run(&mut paths)?;
        N::add_to(sums.entry(outcome).or_default(), paths.probability.clone());
        if !paths.next_path() {
            return Ok(sums.into_iter().map(|(outcome, sum)| (outcome, N::total(sum))).collect());
        }
    }
}

/// A path through the tree of choices: replayed from the start, then extended by first branches.
struct PathEnumerator<N> {
    /// For each choice on the path: the branch taken and the branches not yet tried.
    path: Vec<Branch<N>>,
    position: usize,
    probability: N,
    /// For each place used on this path: the interval that contains its uniform.
    known: BTreeMap<usize, (N, N)>,
}

struct Branch<N> {
    /// (answer, its probability); the last one is being tried.
    untried: Vec<(TokenId, N)>,
}

impl<N: Number> PathEnumerator<N> {
    fn restart(&mut self) {
        self.position = 0;
        self.probability = N::one();
        self.known.clear();
    }

    /// Moves to the next untried path; false if none is left.
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

    fn choose(&mut self, answers: impl FnOnce() -> Vec<(TokenId, N)>) -> TokenId {
        if self.position == self.path.len() {
            self.path.push(Branch { untried: answers() });
        }
        let current = self.path[self.position].untried.last();
        let (answer, probability) = current.expect("a branch on the path has an answer left");
        self.position += 1;
        self.probability = self.probability.clone() * probability.clone();
        *answer
    }
}

impl<N: Number> ChoiceSource<N> for PathEnumerator<N> {
    fn token(&mut self, distribution: &Distribution<N>) -> TokenId {
        self.choose(|| {
            let possible = (0..).zip(distribution.probs()).filter(|(_, p)| **p > N::zero());
            possible.map(|(token, p)| (token, p.clone())).collect()
        })
    }

    /// Narrows the uniform of a place instead of drawing it: a token is possible if its quantiles
    /// meet the interval known so far, with the covered share of the interval as its probability.
    fn token_at(&mut self, place: usize, distribution: &Distribution<N>) -> TokenId {
        let (low, high) = self.known.get(&place).cloned().unwrap_or_else(|| (N::zero(), N::one()));
        let within = quantiles(distribution, &low, &high);
        let width = high - low;
        let answers = || {
            let part = |(token, from, to): &(TokenId, N, N)| {
                (*token, (to.clone() - from.clone()) / width.clone())
            };
            within.iter().map(part).collect()
        };
        let token = self.choose(answers);
        let chosen = within.into_iter().find(|(other, ..)| *other == token);
        let (_, from, to) = chosen.expect("the answer is one of those offered");
        self.known.insert(place, (from, to));
        token
    }

    fn accept(&mut self, probability: N) -> bool {
        if probability >= N::one() {
            true
        } else if probability > N::zero() {
            let answers = || vec![(0, N::one() - probability.clone()), (1, probability.clone())];
            self.choose(answers) == 1
        } else {
            // 0, and NaN.
            false
        }
    }
}

/// The tokens whose quantiles in `distribution` meet the interval from `low` to `high`, each with
/// the overlap. The last possible token reaches up to 1, whatever the sum rounds to.
fn quantiles<N: Number>(distribution: &Distribution<N>, low: &N, high: &N) -> Vec<(TokenId, N, N)> {
    let possible = || (0..).zip(distribution.probs()).filter(|(_, p)| **p > N::zero());
    let last = possible().last().map(|(token, _)| token);
    let (mut below, mut within) = (N::zero(), Vec::new());
    for (token, p) in possible() {
        let end = if Some(token) == last { N::one() } else { below.clone() + p.clone() };
        let from = if below > *low { below } else { low.clone() };
        let to = if end < *high { end.clone() } else { high.clone() };
        if from < to {
            within.push((token, from, to));
        }
        below = end;
    }
    within
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Choices that depend on earlier ones, against numbers computed by hand.
    #[test]
    fn dependent_choices_multiply() {
        let first = Distribution::from_probs(vec![0.25, 0.75]).unwrap();
        let after_one = Distribution::from_probs(vec![0.5, 0.0, 0.5]).unwrap();
        let distribution = enumerate(|choices| {
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
        assert!(total_variation(&distribution.unwrap(), &wanted) < 1e-15);
    }

    /// Two distributions sampled at one place, against the overlaps of their quantiles. Places are
    /// independent.
    #[test]
    fn a_position_has_one_uniform() {
        let distribution = |weights: &[i64]| {
            Distribution::proportional(weights.iter().map(|w| ratio(*w, 1))).unwrap()
        };
        let (thirds, quarters) = (distribution(&[1, 2]), distribution(&[1, 2, 1]));
        let joint = enumerate_exact(|choices| {
            let first = (choices.token_at(4, &thirds), choices.token_at(4, &quarters));
            let again = choices.token_at(4, &thirds);
            Ok::<_, ()>((first, again, choices.token_at(5, &thirds)))
        });
        let wanted = [((0, 0), (1, 4)), ((0, 1), (1, 12)), ((1, 1), (5, 12)), ((1, 2), (1, 4))];
        let wanted = wanted.into_iter().flat_map(|(pair, (top, bottom))| {
            let other = [(0, ratio(1, 3)), (1, ratio(2, 3))];
            other.map(|(token, p)| ((pair, pair.0, token), ratio(top, bottom) * p))
        });
        assert_eq!(joint.unwrap(), wanted.collect());
    }

    /// Thirds and sevenths, which `f64` cannot represent, add up to exactly 1.
    #[test]
    fn rationals_are_not_rounded() {
        let thirds = Distribution::proportional(vec![ratio(1, 1), ratio(2, 1)]).unwrap();
        let distribution = enumerate_exact(|choices| {
            Ok::<_, ()>((choices.token(&thirds), choices.accept(ratio(3, 7))))
        });
        let distribution = distribution.unwrap();
        assert_eq!(distribution[&(1, true)], ratio(2, 7));
        assert_eq!(distribution.values().cloned().sum::<BigRational>(), ratio(1, 1));
    }

    #[test]
    fn total_variation_counts_outcomes_of_either_side() {
        let p = BTreeMap::from([("a", 0.5), ("b", 0.5)]);
        let q = BTreeMap::from([("b", 0.5), ("c", 0.5)]);
        assert_eq!(total_variation(&p, &q), 0.5);
    }
}
