//! Sums that lose nothing that matters over a vocabulary of tiny numbers.

/// Terms added up plainly before halves are joined.
const BLOCK: usize = 128;
/// Partial sums within a block, so that additions do not wait for each other.
const LANES: usize = 8;

/// `Σ_{k < n} term(k)`, added pairwise.
///
/// The relative error for terms of one sign is at most about `(BLOCK / LANES + LANES + log₂ n)`
/// roundings, instead of `n`: below 1e-14 for any vocabulary.
pub(crate) fn pairwise(n: usize, term: impl Fn(usize) -> f64) -> f64 {
    halves(0, n, &term)
}

fn halves(start: usize, end: usize, term: &impl Fn(usize) -> f64) -> f64 {
    if end - start <= BLOCK {
        let mut lanes = [0.0; LANES];
        (start..end).for_each(|k| lanes[k % LANES] += term(k));
        return lanes.iter().sum();
    }
    let middle = start + (end - start) / 2;
    halves(start, middle, term) + halves(middle, end, term)
}

/// `[0, t₀, t₀ + t₁, …]`: the sums of every prefix, each to about one rounding (Neumaier 1974).
pub(super) fn prefixes(terms: impl Iterator<Item = f64>) -> Vec<f64> {
    let (mut sum, mut lost) = (0.0f64, 0.0f64);
    let rest = terms.map(|term| {
        let next = sum + term;
        lost += if sum.abs() >= term.abs() { (sum - next) + term } else { (term - next) + sum };
        sum = next;
        sum + lost
    });
    std::iter::once(0.0).chain(rest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2^53 + 1 + 1 + … : a plain loop never leaves 2^53.
    #[test]
    fn small_terms_are_not_lost_behind_a_large_one() {
        let large = (1u64 << 53) as f64;
        let term = |k: usize| if k == 0 { large } else { 1.0 };
        let plain: f64 = (0..4097).map(term).sum();
        assert_eq!(plain, large);
        assert_eq!(prefixes((0..4097).map(term))[4097], large + 4096.0);
        assert!((pairwise(4097, term) - (large + 4096.0)).abs() <= 16.0);
    }

    /// Integers up to 2^53 add without rounding, so every length must come out to the unit.
    #[test]
    fn every_length_is_summed_once() {
        for n in [0, 1, 7, 8, 9, 127, 128, 129, 1000, 4099] {
            assert_eq!(pairwise(n, |k| k as f64), (n * n.saturating_sub(1) / 2) as f64);
        }
        assert_eq!(prefixes([3.0, 4.0].into_iter()), [0.0, 3.0, 7.0]);
    }
}
