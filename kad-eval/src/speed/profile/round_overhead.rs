//! Per-round overhead beyond the models' forward passes.

use super::file::{CandidateCost, RoundOverhead};

/// Share of the slowest rounds that is left out: the machine did something else meanwhile.
const BUSY: f64 = 0.02;

/// A point of a weighted least-squares fit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct WeightedPoint {
    pub(super) x: f64,
    pub(super) y: f64,
    /// Weight of its squared residual, > 0.
    pub(super) weight: f64,
}

/// A round of `drafted` tokens that took `seconds`; its passes alone take `expected`. Its residual is
/// weighted by `1 / expected²`: a short round is to be predicted as well as a long one.
pub(super) fn round(drafted: usize, seconds: f64, expected: f64) -> WeightedPoint {
    let weight = expected.max(f64::MIN_POSITIVE.sqrt()).powi(-2);
    WeightedPoint { x: drafted as f64, y: seconds - expected, weight }
}

/// Seconds of every round and of every drafted token, by least squares over `rounds`.
pub(super) fn overhead(rounds: Vec<WeightedPoint>) -> RoundOverhead {
    let (round, token) = fit_line(rounds, BUSY);
    RoundOverhead { round, token }
}

/// Seconds of a draft of `tokens` after `context` tokens by a drafter of this cost; `None` for trees.
/// The first pass reads one token more `after_bonus`.
pub(super) fn draft_seconds(
    drafter: &CandidateCost,
    tokens: usize,
    context: usize,
    after_bonus: bool,
) -> Option<f64> {
    match drafter {
        CandidateCost::Distribution { times, token_overhead, .. } => {
            let pass = |at| times.seconds(1 + usize::from(after_bonus && at == 0), context + at);
            let passes = (0..tokens).map(pass).sum::<f64>();
            Some(passes + tokens as f64 * token_overhead)
        }
        CandidateCost::Lookup { draft_seconds, token_seconds, .. } => {
            Some(draft_seconds + tokens as f64 * token_seconds)
        }
        CandidateCost::Tree { .. } => None,
    }
}

/// `y = a + b x` by weighted least squares under `a ≥ 0` and `b ≥ 0`, without the `busy` share of
/// points with the largest weighted `y`. If the free minimum is outside the bounds, the minimum is
/// on one of them: both are tried.
pub(super) fn fit_line(mut points: Vec<WeightedPoint>, busy: f64) -> (f64, f64) {
    points.sort_by(|p, q| (p.y * p.weight.sqrt()).total_cmp(&(q.y * q.weight.sqrt())));
    points.truncate(points.len() - (points.len() as f64 * busy) as usize);
    let all: f64 = points.iter().map(|p| p.weight).sum();
    let mean = |of: &dyn Fn(&WeightedPoint) -> f64| match all > 0.0 {
        true => points.iter().map(|p| p.weight * of(p)).sum::<f64>() / all,
        false => 0.0,
    };
    let (x, y) = (mean(&|p| p.x), mean(&|p| p.y));
    let (xx, xy) = (mean(&|p| (p.x - x).powi(2)), mean(&|p| (p.x - x) * (p.y - y)));
    let free = if xx > 0.0 { (y - xy / xx * x, xy / xx) } else { (y, 0.0) };
    if free.0 >= 0.0 && free.1 >= 0.0 {
        return free;
    }
    let squares = mean(&|p| p.x * p.x);
    let through_origin = if squares > 0.0 { mean(&|p| p.x * p.y) / squares } else { 0.0 };
    let error = |(a, b): &(f64, f64)| mean(&|p| (p.y - a - b * p.x).powi(2));
    let [constant, proportional] = [(y.max(0.0), 0.0), (0.0, through_origin.max(0.0))];
    if error(&proportional) < error(&constant) { proportional } else { constant }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kad_polybasic::theory::{PassTime, PassTimes};
    use rand::{RngExt, SeedableRng};

    fn point(x: f64, y: f64) -> WeightedPoint {
        WeightedPoint { x, y, weight: 1.0 }
    }

    #[test]
    fn a_line_is_found_among_busy_moments() {
        let mut points: Vec<WeightedPoint> =
            (0..100).map(|i| f64::from(i % 17)).map(|x| point(x, 3.0 + 0.5 * x)).collect();
        points.extend([point(0.0, 1e3), point(8.0, 1e4), point(16.0, 1e5)]);
        let (a, b) = fit_line(points, 0.05);
        assert!((a - 3.0).abs() < 1e-9 && (b - 0.5).abs() < 1e-9, "{a} {b}");
        assert_eq!(fit_line(vec![point(2.0, 4.0); 5], 0.0), (4.0, 0.0));
        assert_eq!(fit_line(Vec::new(), 0.02), (0.0, 0.0));
    }

    /// No pair of numbers that are not negative fits better, on a grid around the one found.
    #[test]
    fn neither_number_is_negative_and_none_fits_better() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(3);
        for _ in 0..300 {
            let (a, b) = (rng.random_range(-3.0..3.0), rng.random_range(-1.0..1.0));
            let mut place = |x: usize| WeightedPoint {
                weight: rng.random_range(0.1..2.0),
                ..point(x as f64, a + b * x as f64 + f64::from(x as u32 % 3) - 1.0)
            };
            let points: Vec<_> = (1..12).map(&mut place).collect();
            let error = |a: f64, b: f64| -> f64 {
                points.iter().map(|p| p.weight * (p.y - a - b * p.x).powi(2)).sum()
            };
            let (a, b) = fit_line(points.clone(), 0.0);
            assert!(a >= 0.0 && b >= 0.0, "{a} {b}");
            for (da, db) in [(0.1, 0.0), (-0.1, 0.0), (0.0, 0.01), (0.0, -0.01), (0.1, -0.01)] {
                let near = error((a + da).max(0.0), (b + db).max(0.0));
                assert!(near >= error(a, b) - 1e-9, "{a} {b}: {points:?}");
            }
        }
    }

    /// 2 s where 1 s was expected and 17 s where 10 s were: 7 s more count a hundredth of what 1 s
    /// does there.
    #[test]
    fn errors_count_by_their_share() {
        let rounds = vec![round(1, 2.0, 1.0), round(1, 17.0, 10.0)];
        // (1 · 1 + 7 · 0.01) / 1.01 by hand.
        let RoundOverhead { round, token } = overhead(rounds);
        assert!((round - 1.07 / 1.01).abs() < 1e-12 && token == 0.0, "{round} {token}");
    }

    /// Passes of 2 s and one of 3 s over two tokens, 0.5 s more a token; 1 s later at context 10.
    #[test]
    fn a_draft_by_hand() {
        let cell = |seconds| PassTime { seconds, standard_error: 0.0 };
        let cells = vec![vec![cell(2.0), cell(3.0)], vec![cell(12.0), cell(13.0)]];
        let times = PassTimes::new(vec![1, 2], vec![0, 10], cells).unwrap();
        let cost = CandidateCost::Distribution {
            times,
            distribution: cell(0.0),
            token_overhead: 0.5,
            plain: None,
        };
        let seconds = |tokens, after_bonus| draft_seconds(&cost, tokens, 0, after_bonus).unwrap();
        // 2 + 3 + 4 and 3 · 0.5.
        assert!((seconds(3, false) - 10.5).abs() < 1e-12);
        assert!((seconds(3, true) - 11.5).abs() < 1e-12);
        assert_eq!(seconds(0, true), 0.0);
        let [lookup, _] = crate::config::Lookup::DEFAULTS;
        let cost = CandidateCost::Lookup { lookup, draft_seconds: 1.0, token_seconds: 0.25 };
        assert_eq!(draft_seconds(&cost, 2, 7, true), Some(1.5));
    }
}
