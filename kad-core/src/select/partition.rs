//! Partition of the candidates by a band, in one pass: cost below, cost inside, ids inside.

use wide::f64x8;

use super::Cost;
use crate::sum::{BLOCK, CompensatedSum, LANES, load};
use crate::vocab::TokenId;

/// A closed interval of probabilities.
#[derive(Clone, Copy, Debug)]
pub(super) struct Band {
    pub(super) low: f64,
    pub(super) high: f64,
}

/// Candidates split by a band.
#[derive(Clone, Copy, Debug)]
pub(super) struct Split {
    /// Cost of the candidates below the band.
    pub(super) below: f64,
    /// Cost of the candidates inside the band.
    pub(super) inside: f64,
    /// Number of candidates inside the band; their ids are written in rising order.
    pub(super) found: usize,
}

/// The tokens that may be the boundary: all, or those with these ids (rising).
#[derive(Clone, Copy)]
pub(super) struct Candidates<'a> {
    pub(super) probs: &'a [f64],
    pub(super) ids: Option<&'a [TokenId]>,
}

impl Candidates<'_> {
    /// Splits by the band; if the boundary is outside the band, by the side that contains it.
    pub(super) fn narrow<C: Cost>(
        self,
        band: Band,
        rest: f64,
        out: &mut [TokenId],
    ) -> (Band, Split) {
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

    /// Splits by the band, in one pass over the candidates.
    fn split<C: Cost>(self, band: Band, out: &mut [TokenId]) -> Split {
        let mut partition = Partition::new(band, out);
        let Candidates { probs, ids } = self;
        if let Some(ids) = ids {
            for block in ids.chunks(BLOCK) {
                let (full, rest) = block.as_chunks::<LANES>();
                full.iter()
                    .for_each(|ids| partition.take::<C>(gather(probs, ids), |lane| ids[lane]));
                if !rest.is_empty() {
                    // NaN is in no band.
                    let mut values = [f64::NAN; LANES];
                    values.iter_mut().zip(rest).for_each(|(p, &id)| *p = probs[id as usize]);
                    partition.take::<C>(f64x8::from(values), |lane| {
                        rest.get(lane).copied().unwrap_or(0)
                    });
                }
                partition.end_block();
            }
        } else {
            for (block, start) in probs.chunks(BLOCK).zip((0..).step_by(BLOCK)) {
                let (full, rest) = block.as_chunks::<LANES>();
                for (chunk, start) in full.iter().zip((start..).step_by(LANES)) {
                    partition.take::<C>(f64x8::from(*chunk), |lane| start + lane as TokenId);
                }
                let start = start + (block.len() - rest.len()) as TokenId;
                partition.take::<C>(load(rest, f64::NAN), |lane| start + lane as TokenId);
                partition.end_block();
            }
        }
        partition.split()
    }
}

#[inline]
fn gather(probs: &[f64], ids: &[TokenId; LANES]) -> f64x8 {
    let mut values = [0.0; LANES];
    for (value, &id) in values.iter_mut().zip(ids) {
        *value = probs[id as usize];
    }
    f64x8::from(values)
}

/// For each bit set of lanes, its lanes in rising order.
const PACKED: [[TokenId; LANES]; 1 << LANES] = {
    let mut packed = [[0; LANES]; 1 << LANES];
    let mut set = 0;
    while set < 1 << LANES {
        let (mut lane, mut filled) = (0, 0);
        while lane < LANES {
            if set >> lane & 1 == 1 {
                packed[set][filled] = lane as TokenId;
                filled += 1;
            }
            lane += 1;
        }
        set += 1;
    }
    packed
};

/// Accumulates the costs below and inside a band and collects the ids inside.
struct Partition<'a> {
    low: f64x8,
    high: f64x8,
    block_below: f64x8,
    block_inside: f64x8,
    below: CompensatedSum,
    inside: CompensatedSum,
    found: usize,
    out: &'a mut [TokenId],
}

impl<'a> Partition<'a> {
    fn new(band: Band, out: &'a mut [TokenId]) -> Self {
        let (low, high) = (f64x8::splat(band.low), f64x8::splat(band.high));
        let (block_below, block_inside) = (f64x8::ZERO, f64x8::ZERO);
        let (below, inside) = (CompensatedSum::default(), CompensatedSum::default());
        Self { low, high, block_below, block_inside, below, inside, found: 0, out }
    }

    /// Takes eight candidates: their probabilities and, by lane, their ids. NaN is in no band.
    #[inline]
    fn take<C: Cost>(&mut self, values: f64x8, id: impl Fn(usize) -> TokenId) {
        let cost = C::of_each(values);
        self.block_below += values.simd_lt(self.low) & cost;
        let within = values.simd_ge(self.low) & values.simd_le(self.high);
        self.block_inside += within & cost;
        let set = within.to_bitmask() as usize;
        // Always writes eight ids, so that no branch depends on the number inside; the next call
        // overwrites the surplus.
        let packed = &PACKED[set % PACKED.len()];
        for (to, &lane) in self.out[self.found..self.found + LANES].iter_mut().zip(packed) {
            *to = id(lane as usize % LANES);
        }
        self.found += set.count_ones() as usize;
    }

    /// Ends a [`BLOCK`] of candidates: adds its sums to the compensated totals.
    fn end_block(&mut self) {
        self.below.add(std::mem::take(&mut self.block_below).reduce_add());
        self.inside.add(std::mem::take(&mut self.block_inside).reduce_add());
    }

    fn split(self) -> Split {
        Split { below: self.below.value(), inside: self.inside.value(), found: self.found }
    }
}
