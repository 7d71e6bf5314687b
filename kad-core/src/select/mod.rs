//! Selection of the low-probability tail of a distribution, without sorting.
//!
//! Tokens are ordered by rising probability, the higher id first among equals, and cut where their
//! total probability exceeds a budget. A deferral budget, top-p and top-k (counting tokens instead
//! of adding probabilities) are this cut.
//!
//! **Method.** A sample of the probabilities, spread evenly over the ids, gives an estimate of the
//! boundary. A *band* of two standard deviations around the estimate almost always contains the
//! boundary. One pass over the row sums the tokens below the band and inside it, and collects the
//! ids inside. If the boundary is inside, the search repeats on those ids until fewer than a
//! hundred are left; otherwise the two sums tell its side. If most of a sample is one value, the
//! band is that value alone and its ids are split by counting (half-precision logits have few
//! distinct values). This is the selection algorithm of Floyd and Rivest (Commun. ACM 18, 1975)
//! with mass in place of rank. After twelve misleading samples, medians halve the candidates, so
//! the time is linear in every case.
//!
//! The result equals that of a full sort with exact sums, unless the sum of a prefix is within a
//! relative 1e-14 of the budget with its slack: the sums are compensated (`sum.rs`), and estimates
//! only direct the search.
//!
//! **Measured** (2-core Xeon with AVX-512, one row at V = 32,000 / 50,257 / 151,936, budget 0.4,
//! microseconds for a complete decision of the primal rule):
//!
//! | | flat | Zipf | one token at 0.9 |
//! |---|---|---|---|
//! | this | 27 / 40 / 124 | 22 / 31 / 102 | 24 / 28 / 101 |
//! | quickselect on the mass over all ids | 181 / 275 / 903 | 184 / 313 / 990 | 188 / 311 / 991 |
//! | full sort | 1431 / 2027 / 5254 | 923 / 1567 / 5462 | 953 / 1576 / 5601 |
//!
//! Filling `d` with a constant takes 5 / 7 / 24 of these. Alternatives measured: bands of 2.5
//! deviations and samples of half the size were slower on the flat distribution and within 6
//! microseconds on the others; samples of twice the size were 3 to 9 microseconds slower on the
//! others, and a band that missed the boundary doubled the time of the flat distribution at
//! V = 151,936. `cargo bench -p kad-core --bench ratios` repeats the measurement.

use std::cmp::Ordering;

use wide::f64x8;

use self::partition::{Band, Candidates};
use crate::knapsack::BUDGET_SLACK;
use crate::sum::{CompensatedSum, LANES};
use crate::vocab::TokenId;

mod partition;

/// The end of the tail: of the longest prefix, by rising probability, that fits a budget.
///
/// Among equals the higher id comes first. A token is in the tail iff its probability is below
/// `threshold`, or equal to it with an id above `critical`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Boundary {
    /// The first token that does not fit.
    pub critical: TokenId,
    /// Probability of the critical token.
    pub threshold: f64,
    /// Total probability of the tail, ≤ budget.
    pub spent: f64,
}

impl Boundary {
    /// True if `token`, with probability `prob`, is in the tail.
    pub fn contains(&self, token: TokenId, prob: f64) -> bool {
        // No short circuit, so that a loop over all tokens compiles to vector code.
        (prob < self.threshold) | ((prob == self.threshold) & (token > self.critical))
    }
}

/// Cost of a token against the limit.
pub(crate) trait Cost {
    /// The cost of a token of this probability.
    fn of(prob: f64) -> f64;
    /// The costs of eight tokens.
    fn of_each(probs: f64x8) -> f64x8;
}

/// Cost = probability: top-p and deferral budgets.
pub(crate) struct Mass;

/// Cost = 1: top-k.
pub(crate) struct Count;

impl Cost for Mass {
    fn of(prob: f64) -> f64 {
        prob
    }

    #[inline]
    fn of_each(probs: f64x8) -> f64x8 {
        probs
    }
}

impl Cost for Count {
    fn of(_: f64) -> f64 {
        1.0
    }

    #[inline]
    fn of_each(_: f64x8) -> f64x8 {
        f64x8::ONE
    }
}

/// The boundary of the longest tail with total probability `Σ p ≤ budget (1 + BUDGET_SLACK)`;
/// `None` if all tokens fit.
///
/// `probs` are non-negative and finite, `[vocab]`; `budget` ≥ 0. `scratch` is reused memory: it grows
/// to `2 vocab + 8` ids once and is then reused. Cost: `O(vocab)`.
///
/// ```
/// use kad_core::select::tail_boundary;
/// // 0.1 and one of the 0.2 fit; among equals the higher id goes first.
/// let boundary = tail_boundary(&[0.5, 0.2, 0.2, 0.1], 0.3, &mut Vec::new()).expect("not all fit");
/// assert_eq!((boundary.critical, boundary.threshold), (1, 0.2));
/// assert!(boundary.contains(2, 0.2) && !boundary.contains(1, 0.2));
/// ```
pub fn tail_boundary(probs: &[f64], budget: f64, scratch: &mut Vec<TokenId>) -> Option<Boundary> {
    boundary::<Mass>(probs, budget * (1.0 + BUDGET_SLACK), scratch)
}

/// Up to this many candidates are handled by quickselect.
const FEW: usize = 96;

/// Bands tried before medians take over. A band leaves at most a fifth of the candidates unless the
/// sample misled, and six bands are enough for any real vocabulary.
const BANDS: usize = 12;

/// The boundary of the longest tail with cost at most `limit` ≥ 0; `None` if all tokens fit.
/// `scratch` as in [`tail_boundary`].
pub(crate) fn boundary<C: Cost>(
    probs: &[f64],
    limit: f64,
    scratch: &mut Vec<TokenId>,
) -> Option<Boundary> {
    // Candidates are written behind their source, eight at a time.
    let needed = 2 * probs.len() + LANES;
    if scratch.len() < needed {
        scratch.resize(needed, 0);
    }
    let mut search = Search { probs, limit, spent: CompensatedSum::default(), open: None, scratch };
    for _ in 0..BANDS {
        if search.open.unwrap_or(probs.len()) <= FEW {
            break;
        }
        match search.step::<C>() {
            Step::Narrowed => {}
            Step::Settled(boundary) => return Some(boundary),
            Step::AllFit if search.open.is_none() => return None,
            Step::AllFit => break,
        }
    }
    search.finish::<C>()
}

/// State of a search.
struct Search<'a> {
    probs: &'a [f64],
    limit: f64,
    /// Cost of the tokens known to be in the tail.
    spent: CompensatedSum,
    /// Number of candidate ids at the front of `scratch`; `None`: all tokens.
    open: Option<usize>,
    scratch: &'a mut [TokenId],
}

/// Result of one band.
enum Step {
    /// Fewer candidates are left.
    Narrowed,
    /// The boundary.
    Settled(Boundary),
    /// All candidates fit.
    AllFit,
}

impl Search<'_> {
    fn step<C: Cost>(&mut self) -> Step {
        let rest = self.limit - self.spent.value();
        let start = self.open.unwrap_or(0);
        let (ids, out) = self.scratch.split_at_mut(start);
        let from = Candidates { probs: self.probs, ids: self.open.map(|_| &*ids) };
        let (band, split) = from.narrow::<C>(from.estimate::<C>(rest), rest, out);
        if split.found == 0 {
            return Step::AllFit;
        }
        self.spent.add(split.below);
        if band.low == band.high {
            let equals = &out[..split.found];
            let spent = self.spent.value();
            return Step::Settled(among_equals::<C>(band.low, equals, spent, self.limit));
        }
        self.scratch.copy_within(start..start + split.found, 0);
        self.open = Some(split.found);
        Step::Narrowed
    }

    fn finish<C: Cost>(self) -> Option<Boundary> {
        let Search { probs, limit, spent, open, scratch } = self;
        let Some(open) = open else {
            let ids = &mut scratch[..probs.len()];
            ids.iter_mut().zip(0..).for_each(|(id, token)| *id = token);
            return one_by_one::<C>(probs, ids, spent, limit);
        };
        let ids = &mut scratch[..open];
        one_by_one::<C>(probs, ids, spent, limit).or_else(|| {
            // The candidates do not all fit by the sum that selected them. If this sum differs from
            // it in the last digit, the most expensive candidate is the boundary.
            let critical = ids.iter().copied().max_by(|&a, &b| cheaper_first(probs, a, b))?;
            Some(Boundary { critical, threshold: probs[critical as usize], spent: limit })
        })
    }
}

/// Estimates of the boundary from a sample.
impl Candidates<'_> {
    fn len(self) -> usize {
        self.ids.map_or(self.probs.len(), <[TokenId]>::len)
    }

    /// A band that very probably contains the boundary, from the order statistics of a sample.
    fn estimate<C: Cost>(self, rest: f64) -> Band {
        let mut sample = [0.0; LARGEST_SAMPLE];
        let size = sample_size(self.len());
        for (i, value) in sample[..size].iter_mut().enumerate() {
            let position = i * self.len() / size;
            *value = match self.ids {
                None => self.probs[position],
                Some(ids) => self.probs[ids[position] as usize],
            };
        }
        let sample = &mut sample[..size];
        sample.sort_unstable_by(f64::total_cmp);
        band_of_sample::<C>(sample, self.len() as f64 / size as f64, rest)
    }
}

/// Largest sample; sorted on the stack at every step.
const LARGEST_SAMPLE: usize = 512;

fn sample_size(len: usize) -> usize {
    match len {
        ..4_096 => 64,
        4_096..16_384 => 128,
        16_384..65_536 => 256,
        _ => LARGEST_SAMPLE,
    }
}

/// Half-width of a band, in standard deviations of the estimated cost.
const MARGIN: f64 = 2.0;

/// The band around the point where the sorted sample reaches the cost `rest`. Each value of the
/// sample stands for `weight` candidates.
fn band_of_sample<C: Cost>(sample: &[f64], weight: f64, rest: f64) -> Band {
    let (mut cost, mut variance) = (0.0, 0.0);
    // The first places where the budget may be, is, and must be spent.
    let (mut first, mut middle, mut last) = (sample.len(), sample.len(), sample.len());
    for (place, &value) in sample.iter().enumerate() {
        let step = weight * C::of(value);
        cost += step;
        variance += step * step;
        let margin = MARGIN * f64::sqrt(variance);
        if cost + margin > rest {
            first = first.min(place);
        }
        if cost > rest {
            middle = middle.min(place);
        }
        if cost - margin > rest {
            last = place;
            break;
        }
    }
    // If one value is most of the band, that value alone settles it.
    if let Some(&value) = sample.get(middle) {
        let equals = sample.iter().filter(|&&other| other == value).count();
        let within = (last + 1).min(sample.len()) - first;
        if equals >= 3 && 2 * equals >= within {
            return Band { low: value, high: value };
        }
    }
    let start = sample.get(first);
    let under = sample[..first].iter().rev().find(|&value| Some(value) != start);
    Band {
        low: under.map_or(0.0, |value| value.next_up()),
        high: sample.get(last).copied().unwrap_or(f64::INFINITY),
    }
}

/// The boundary among tokens of one probability, with rising ids, of which not all fit.
fn among_equals<C: Cost>(prob: f64, ids: &[TokenId], spent: f64, limit: f64) -> Boundary {
    let cost = C::of(prob);
    let mut fit = (((limit - spent) / cost) as usize).min(ids.len() - 1);
    while fit > 0 && spent + fit as f64 * cost > limit {
        fit -= 1;
    }
    while fit + 1 < ids.len() && spent + (fit + 1) as f64 * cost <= limit {
        fit += 1;
    }
    Boundary {
        critical: ids[ids.len() - 1 - fit],
        threshold: prob,
        spent: spent + fit as f64 * cost,
    }
}

/// Quickselect by cost instead of rank: halves the open window, takes the cheaper half if all of it
/// fits, else continues inside it. `None` if all of `ids` fit.
fn one_by_one<C: Cost>(
    probs: &[f64],
    ids: &mut [TokenId],
    mut spent: CompensatedSum,
    limit: f64,
) -> Option<Boundary> {
    let (mut low, mut high) = (0, ids.len());
    while low < high {
        let middle = low + (high - low) / 2;
        ids[low..high].select_nth_unstable_by(middle - low, |&a, &b| cheaper_first(probs, a, b));
        let mut half = spent;
        ids[low..=middle].iter().for_each(|&id| half.add(C::of(probs[id as usize])));
        if half.value() <= limit {
            spent = half;
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    let critical = *ids.get(low)?;
    Some(Boundary { critical, threshold: probs[critical as usize], spent: spent.value() })
}

/// Rising probability; the higher id first among equals.
fn cheaper_first(probs: &[f64], a: TokenId, b: TokenId) -> Ordering {
    probs[a as usize].total_cmp(&probs[b as usize]).then(b.cmp(&a))
}

#[cfg(test)]
mod tests;
