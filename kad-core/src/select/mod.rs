//! The cheap end of a distribution, without sorting it.
//!
//! The tokens by rising probability, the higher id first among equals, are cut where their mass
//! exceeds a budget. A deferral budget, top-p and (counting instead of adding) top-k are this cut.
//!
//! **How.** A sample of the probabilities, spread evenly over the ids, estimates where the boundary
//! is; a *band* of two standard deviations around it holds it almost always. One pass over the row
//! adds up what is below the band and inside it and writes down the ids inside: if the boundary is
//! there, the same is done with those few ids, until less than a hundred are left. If it is not,
//! the two sums say on which side it is. Where a sample is mostly one value, the band is that value
//! alone, and its ids are divided by counting (half-precision logits have few values). This is the
//! selection of Floyd and Rivest (Commun. ACM 18, 1975) with mass for rank. Should samples mislead
//! twelve times in a row, medians halve what is left: linear time in every case.
//!
//! The result is that of a full sort with exact sums, unless a prefix is within 1e-14 of the budget
//! and its slack: the sums are compensated (`sum.rs`), and an estimate decides only where to
//! look.
//!
//! **Measured** (2-core Xeon with AVX-512, one row at V = 32,000 / 50,257 / 151,936, budget 0.4,
//! microseconds for the whole decision of the primal rule):
//!
//! | | flat | Zipf | one token at 0.9 |
//! |---|---|---|---|
//! | this | 27 / 40 / 124 | 22 / 31 / 102 | 24 / 28 / 101 |
//! | quickselect on the mass over all ids | 181 / 275 / 903 | 184 / 313 / 990 | 188 / 311 / 991 |
//! | full sort | 1431 / 2027 / 5254 | 923 / 1567 / 5462 | 953 / 1576 / 5601 |
//!
//! Of these, filling `d` with a constant would take 5 / 7 / 24. Tried and left: bands of 2.5
//! deviations and samples of half the size (slower on the flat distribution, within 6 microseconds
//! on the others), samples of twice the size (3 to 9 microseconds slower on the others, and a band
//! that missed the boundary doubled the time of the flat distribution at V = 151,936). `cargo bench
//! -p kad-core --bench ratios` measures again.

use std::cmp::Ordering;

use wide::f64x8;

use self::partition::{Band, Candidates};
use crate::knapsack::BUDGET_SLACK;
use crate::sum::{CompensatedSum, LANES};
use crate::vocab::TokenId;

mod partition;

/// Where the longest prefix by rising probability ends that fits a budget.
///
/// Among equals the higher id comes first. A token is in the prefix iff its probability is below
/// `threshold`, or equal to it and its id above `critical`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Boundary {
    /// The first token that does not fit.
    pub critical: TokenId,
    /// The critical token's probability.
    pub threshold: f64,
    /// What the prefix spends of the budget.
    pub spent: f64,
}

impl Boundary {
    /// Whether this token, of this probability, is in the prefix.
    pub fn contains(&self, token: TokenId, prob: f64) -> bool {
        // No short circuit: a loop over all tokens becomes vector code.
        (prob < self.threshold) | ((prob == self.threshold) & (token > self.critical))
    }
}

/// What a token costs.
pub(crate) trait Cost {
    /// The cost of one token of this probability.
    fn of(prob: f64) -> f64;
    /// The same for eight tokens.
    fn of_each(probs: f64x8) -> f64x8;
}

/// A token costs its probability.
pub(crate) struct Mass;

/// Every token costs 1.
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

/// Finds the longest prefix whose mass fits `budget`: `Σ p ≤ budget (1 + BUDGET_SLACK)`.
///
/// `probs` are non-negative and finite, `[vocab]`; `budget` ≥ 0. `room` is scratch memory: it grows
/// to `2 vocab + 8` ids once and is not allocated again for the same vocabulary. `None` if all
/// tokens fit.
///
/// ```
/// use kad_core::select::tail_boundary;
/// // 0.1 and one of the 0.2 fit; among equals the higher id goes first.
/// let boundary = tail_boundary(&[0.5, 0.2, 0.2, 0.1], 0.3, &mut Vec::new()).expect("not all fit");
/// assert_eq!((boundary.critical, boundary.threshold), (1, 0.2));
/// assert!(boundary.contains(2, 0.2) && !boundary.contains(1, 0.2));
/// ```
pub fn tail_boundary(probs: &[f64], budget: f64, room: &mut Vec<TokenId>) -> Option<Boundary> {
    boundary::<Mass>(probs, budget * (1.0 + BUDGET_SLACK), room)
}

/// Up to this many candidates are looked at one by one.
const FEW: usize = 96;

/// Bands tried before the medians take over. One leaves a fifth of the candidates or fewer unless
/// the sample misled, and six are enough for any vocabulary there is.
const BANDS: usize = 12;

/// The boundary of the longest prefix whose cost is at most `limit` ≥ 0; `None` if all tokens fit.
/// `room` as in [`tail_boundary`].
pub(crate) fn boundary<C: Cost>(
    probs: &[f64],
    limit: f64,
    room: &mut Vec<TokenId>,
) -> Option<Boundary> {
    // Candidates are written behind those they are chosen from, eight at a time.
    let needed = 2 * probs.len() + LANES;
    if room.len() < needed {
        room.resize(needed, 0);
    }
    let mut search = Search { probs, limit, spent: CompensatedSum::default(), open: None, room };
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

/// The state of a search.
struct Search<'a> {
    probs: &'a [f64],
    limit: f64,
    /// Cost of the tokens that are known to be in the prefix.
    spent: CompensatedSum,
    /// How many ids at the front of `room` are still in question; `None`: all tokens.
    open: Option<usize>,
    room: &'a mut [TokenId],
}

/// What came of a band.
enum Step {
    /// Fewer tokens are in question.
    Narrowed,
    /// The boundary is found.
    Settled(Boundary),
    /// There is no boundary among the tokens in question.
    AllFit,
}

impl Search<'_> {
    fn step<C: Cost>(&mut self) -> Step {
        let rest = self.limit - self.spent.value();
        let start = self.open.unwrap_or(0);
        let (ids, out) = self.room.split_at_mut(start);
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
        self.room.copy_within(start..start + split.found, 0);
        self.open = Some(split.found);
        Step::Narrowed
    }

    fn finish<C: Cost>(self) -> Option<Boundary> {
        let Search { probs, limit, spent, open, room } = self;
        let Some(open) = open else {
            let ids = &mut room[..probs.len()];
            ids.iter_mut().zip(0..).for_each(|(id, token)| *id = token);
            return one_by_one::<C>(probs, ids, spent, limit);
        };
        let ids = &mut room[..open];
        one_by_one::<C>(probs, ids, spent, limit).or_else(|| {
            // The candidates do not all fit by the sum that chose them. Where this sum differs from
            // it in the last digit, the dearest of them is the boundary.
            let critical = ids.iter().copied().max_by(|&a, &b| cheaper_first(probs, a, b))?;
            Some(Boundary { critical, threshold: probs[critical as usize], spent: limit })
        })
    }
}

/// Where to look.
impl Candidates<'_> {
    fn len(self) -> usize {
        self.ids.map_or(self.probs.len(), <[TokenId]>::len)
    }

    /// A band that holds the boundary very probably, from the order statistics of a sample.
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

/// Sorted on the stack at every step.
const LARGEST_SAMPLE: usize = 512;

fn sample_size(len: usize) -> usize {
    match len {
        ..4_096 => 64,
        4_096..16_384 => 128,
        16_384..65_536 => 256,
        _ => LARGEST_SAMPLE,
    }
}

/// Standard deviations of the estimated cost between the boundary and either end of its band.
const MARGIN: f64 = 2.0;

/// The band around the place where the sorted sample, each value standing for `weight`
/// candidates, has cost `rest`.
fn band_of_sample<C: Cost>(sample: &[f64], weight: f64, rest: f64) -> Band {
    let (mut cost, mut variance) = (0.0, 0.0);
    // The first places where the budget may be spent, is spent, and must be spent.
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
    // Where one value is most of the band, that value alone settles it.
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

/// The boundary among tokens of one probability, ids rising, of which not all fit.
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

/// Quickselect by cost instead of rank: halve the open window, keep the cheap half if all of it
/// fits, else look inside it. `None` if all of `ids` fit.
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

/// Rising probability; among equals the higher id first.
fn cheaper_first(probs: &[f64], a: TokenId, b: TokenId) -> Ordering {
    probs[a as usize].total_cmp(&probs[b as usize]).then(b.cmp(&a))
}

#[cfg(test)]
mod tests;
