//! The cheap end of a law, without sorting it.
//!
//! The tokens by rising probability, the higher id first among equals, are cut where their mass
//! exceeds a budget. A deferral budget, top-p and (counting instead of adding) top-k are this cut.
//!
//! **How.** A sample of the probabilities, spread evenly over the ids, estimates where the boundary
//! is; a *band* of two standard deviations around it holds it almost always. One pass over the row
//! adds up what is below the band and inside it and writes down the ids inside: if the boundary is
//! there, the same is done with those few ids, until less than a hundred are left. If it is not, the
//! two sums say on which side it is. Where a sample is mostly one value, the band is that value
//! alone, and its ids are divided by counting (half-precision logits have few values). This is
//! the selection of Floyd and Rivest (Commun. ACM 18, 1975) with mass for rank. Should samples
//! mislead twelve times in a row, medians halve what is left: linear time in every case.
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
//! | this | 33 / 50 / 144 | 25 / 35 / 110 | 25 / 30 / 102 |
//! | quickselect on the mass over all ids | 181 / 275 / 903 | 184 / 313 / 990 | 188 / 311 / 991 |
//! | full sort | 1431 / 2027 / 5254 | 923 / 1567 / 5462 | 953 / 1576 / 5601 |
//!
//! Of these, writing `d` takes 5 / 7 / 24. Bands of 2.5 deviations, and samples of half or twice
//! the size, are slower on the flat law and within 5 microseconds on the others.

use std::cmp::Ordering;

use wide::f64x8;

use crate::sum::{BLOCK, LANES, Total, vector};
use crate::vocab::TokenId;

/// Relative room at a budget: probabilities that sum to it in the reals fit, although their `f64`
/// sum may end just above. A budget of 0 has no room: only impossible tokens fit.
pub const BUDGET_SLACK: f64 = 1e-12;

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
    pub fn has_before(&self, token: TokenId, prob: f64) -> bool {
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
/// `probs` are non-negative and finite, `[vocab]`; `budget` ≥ 0. `room` is scratch memory: it
/// grows to `2 vocab + 8` ids once and is not allocated again for the same vocabulary. `None` if all
/// tokens fit.
///
/// ```
/// use kad_core::select::cheapest;
/// // 0.1 and one of the 0.2 fit; among equals the higher id goes first.
/// let boundary = cheapest(&[0.5, 0.2, 0.2, 0.1], 0.3, &mut Vec::new()).expect("not all fit");
/// assert_eq!((boundary.critical, boundary.threshold), (1, 0.2));
/// assert!(boundary.has_before(2, 0.2) && !boundary.has_before(1, 0.2));
/// ```
pub fn cheapest(probs: &[f64], budget: f64, room: &mut Vec<TokenId>) -> Option<Boundary> {
    boundary::<Mass>(probs, budget * (1.0 + BUDGET_SLACK), room)
}

/// Up to this many candidates are looked at one by one.
const FEW: usize = 96;

/// Bands tried before the median takes over. One leaves a fifth of the candidates or fewer unless
/// the sample misled, and six are enough for any vocabulary there is.
const BANDS: usize = 12;

/// The boundary of the longest prefix whose cost is at most `limit` ≥ 0; `None` if all tokens fit.
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
    let mut spent = Total::default();
    let mut open = None;
    for _ in 0..BANDS {
        let len = open.unwrap_or(probs.len());
        if len <= FEW {
            break;
        }
        let from = Candidates { probs, ids: open.map(|len| &room[..len]) };
        let rest = limit - spent.value();
        let band = from.estimate::<C>(rest);
        let (chosen, out) = match open {
            Some(len) => room.split_at_mut(len),
            None => (&mut [][..], &mut room[..]),
        };
        let from = Candidates { probs, ids: open.map(|_| &*chosen) };
        let (band, split) = from.narrow::<C>(band, rest, out);
        if split.found == 0 {
            // Everything fits; or did not a moment ago, and the sums differ in their last digit.
            match open {
                None => return None,
                Some(_) => break,
            }
        }
        spent.add(split.below);
        if band.low == band.high {
            return Some(among_equals::<C>(band.low, &out[..split.found], spent.value(), limit));
        }
        if let Some(len) = open {
            room.copy_within(len..len + split.found, 0);
        }
        open = Some(split.found);
    }
    let all = open.is_none();
    let room = &mut room[..open.unwrap_or(probs.len())];
    if all {
        room.iter_mut().zip(0..).for_each(|(id, token)| *id = token);
    }
    one_by_one::<C>(probs, room, spent, limit).or_else(|| {
        // A sum in another order said that the candidates do not fit.
        let last = room.iter().copied().max_by(|&a, &b| cheaper_first(probs, a, b));
        last.filter(|_| !all).map(|critical| Boundary {
            critical,
            threshold: probs[critical as usize],
            spent: limit,
        })
    })
}

/// Probabilities between two others, ends included.
#[derive(Clone, Copy, Debug)]
struct Band {
    low: f64,
    high: f64,
}

/// What a band makes of its candidates.
#[derive(Clone, Copy, Debug)]
struct Split {
    /// Cost of the candidates below the band.
    below: f64,
    /// Cost of the candidates in it.
    inside: f64,
    /// How many they are; their ids have been written, rising.
    found: usize,
}

/// The tokens among which the boundary is: all, or those with these ids (rising).
#[derive(Clone, Copy)]
struct Candidates<'a> {
    probs: &'a [f64],
    ids: Option<&'a [TokenId]>,
}

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

    /// Splits by the band; if the boundary is not in it after all, by the side where it is.
    fn narrow<C: Cost>(self, band: Band, rest: f64, out: &mut [TokenId]) -> (Band, Split) {
        let split = self.split::<C>(band, out);
        let side = if split.below > rest {
            Band { low: 0.0, high: band.low.next_down() }
        } else if split.below + split.inside <= rest {
            Band { low: band.high.next_up(), high: f64::INFINITY }
        } else {
            return (band, split);
        };
        (side, self.split::<C>(side, out))
    }

    /// One pass over the candidates.
    fn split<C: Cost>(self, band: Band, out: &mut [TokenId]) -> Split {
        let Candidates { probs, ids } = self;
        let Some(ids) = ids else {
            return split::<C, _>(probs.len(), band, out, |start| {
                let chunk = &probs[start..probs.len().min(start + LANES)];
                (vector(chunk, f64::NAN), move |lane| (start + lane) as TokenId)
            });
        };
        split::<C, _>(ids.len(), band, out, |start| {
            let mut chunk = [0; LANES];
            let mut values = [f64::NAN; LANES];
            if let Some(full) = ids[start..].first_chunk::<LANES>() {
                chunk = *full;
            } else {
                chunk[..ids.len() - start].copy_from_slice(&ids[start..]);
            }
            let present = ids.len() - start;
            for (lane, value) in values.iter_mut().enumerate() {
                if lane < present {
                    *value = probs[chunk[lane] as usize];
                }
            }
            (f64x8::from(values), move |lane| chunk[lane])
        })
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
    let mut band = Band { low: 0.0, high: f64::INFINITY };
    let mut middle = None;
    let mut within = 0;
    let mut before = None;
    for &value in sample {
        if before.is_some_and(|before| before < value) && within == 0 {
            band.low = before.unwrap_or(0.0).next_up();
        }
        before = Some(value);
        let step = weight * C::of(value);
        cost += step;
        variance += step * step;
        let margin = MARGIN * f64::sqrt(variance);
        if cost > rest && middle.is_none() {
            middle = Some(value);
        }
        if cost + margin > rest {
            within += 1;
        }
        if cost - margin > rest {
            band.high = value;
            break;
        }
    }
    if within == 0 {
        band.low = before.unwrap_or(0.0).next_up();
    }
    // Where one value is most of the band, that value alone settles it.
    if let Some(value) = middle {
        let equal = sample.iter().filter(|&&other| other == value).count();
        if equal >= 3 && 2 * equal >= within {
            return Band { low: value, high: value };
        }
    }
    band
}

/// For each set of lanes, those lanes first.
const PACKED: [[u8; LANES]; 1 << LANES] = {
    let mut packed = [[0; LANES]; 1 << LANES];
    let mut set = 0;
    while set < 1 << LANES {
        let (mut lane, mut filled) = (0, 0);
        while lane < LANES {
            if set >> lane & 1 == 1 {
                packed[set][filled] = lane as u8;
                filled += 1;
            }
            lane += 1;
        }
        set += 1;
    }
    packed
};

/// One pass over `len` candidates: `chunk(start)` gives the probabilities of eight from `start`,
/// NaN beyond the last, and their ids.
#[inline]
fn split<C: Cost, F: Fn(usize) -> TokenId>(
    len: usize,
    band: Band,
    out: &mut [TokenId],
    chunk: impl Fn(usize) -> (f64x8, F),
) -> Split {
    let (low, high) = (f64x8::splat(band.low), f64x8::splat(band.high));
    let (mut below, mut inside, mut found) = (Total::default(), Total::default(), 0);
    for block in (0..len).step_by(BLOCK) {
        let (mut cheap, mut open) = (f64x8::ZERO, f64x8::ZERO);
        for start in (block..len.min(block + BLOCK)).step_by(LANES) {
            let (values, id) = chunk(start);
            let cost = C::of_each(values);
            cheap += values.simd_lt(low) & cost;
            let within = values.simd_ge(low) & values.simd_le(high);
            open += within & cost;
            let set = within.to_bitmask() as usize;
            let packed = &PACKED[set % PACKED.len()];
            for (to, &lane) in out[found..found + LANES].iter_mut().zip(packed) {
                *to = id(usize::from(lane) % LANES);
            }
            found += set.count_ones() as usize;
        }
        below.add(cheap.reduce_add());
        inside.add(open.reduce_add());
    }
    Split { below: below.value(), inside: inside.value(), found }
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
    mut spent: Total,
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
