//! What rounds of two models take beside the times of both.

use kad_polybasic::theory::PassTimes;

use super::file::RoundOverhead;

/// Of the slowest rounds, the share that is left out: the machine did something else meanwhile.
const BUSY: f64 = 0.02;

/// Rounds of one pair: tokens drafted, and the seconds that are left when the times of both are
/// taken off.
#[derive(Clone, Debug, Default)]
pub(super) struct Rounds {
    points: Vec<Point>,
}

/// A place that a line is to come near.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    pub(super) x: f64,
    pub(super) y: f64,
    /// How much its distance counts, > 0.
    pub(super) weight: f64,
}

impl Rounds {
    /// A round of `drafted` tokens took `seconds`, where its passes by themselves take `expected`.
    /// Errors count by their share of that: a short round is to be predicted as well as a long one.
    pub(super) fn add(&mut self, drafted: usize, seconds: f64, expected: f64) {
        let weight = expected.max(f64::MIN_POSITIVE.sqrt()).powi(-2);
        self.points.push(Point { x: drafted as f64, y: seconds - expected, weight });
    }

    /// What is left of a round and of each drafted token, by least squares.
    pub(super) fn beside(&self) -> RoundOverhead {
        let (round, token) = line(self.points.clone(), BUSY);
        RoundOverhead { round, token }
    }
}

/// A drafter's times as a verifier pays for them.
pub(super) enum Drafting<'t> {
    /// Passes, and what every token takes besides.
    Distribution { times: &'t PassTimes, token: f64 },
    /// A draft, and what every token of it takes.
    Lookup { draft: f64, token: f64 },
}

impl Drafting<'_> {
    /// Seconds of a draft of `tokens` after `context` tokens; the first pass reads one token more
    /// `after_bonus`.
    pub(super) fn seconds(&self, tokens: usize, context: usize, after_bonus: bool) -> f64 {
        match *self {
            Self::Distribution { times, token } => {
                let passes = (0..tokens).map(|at| {
                    let width = 1 + usize::from(after_bonus && at == 0);
                    times.seconds(width, context + at)
                });
                passes.sum::<f64>() + tokens as f64 * token
            }
            Self::Lookup { draft, token } => draft + tokens as f64 * token,
        }
    }
}

/// `y = a + b x` by weighted least squares under `a ≥ 0` and `b ≥ 0`, without the `busy` share of
/// points with the largest `y` by their weights. A parabola's least value between bounds is at a
/// bound if it is not inside: both bounds are tried.
pub(super) fn line(mut points: Vec<Point>, busy: f64) -> (f64, f64) {
    points.sort_by(|p, q| (p.y * p.weight.sqrt()).total_cmp(&(q.y * q.weight.sqrt())));
    points.truncate(points.len() - (points.len() as f64 * busy) as usize);
    let all: f64 = points.iter().map(|p| p.weight).sum();
    let mean = |of: &dyn Fn(&Point) -> f64| match all > 0.0 {
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
    let candidates = [(y.max(0.0), 0.0), (0.0, through_origin.max(0.0))];
    let error = |(a, b): &(f64, f64)| mean(&|p| (p.y - a - b * p.x).powi(2));
    let [constant, proportional] = candidates;
    if error(&proportional) < error(&constant) { proportional } else { constant }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};

    fn point(x: f64, y: f64) -> Point {
        Point { x, y, weight: 1.0 }
    }

    #[test]
    fn a_line_is_found_among_busy_moments() {
        let mut points: Vec<Point> =
            (0..100).map(|i| f64::from(i % 17)).map(|x| point(x, 3.0 + 0.5 * x)).collect();
        points.extend([point(0.0, 1e3), point(8.0, 1e4), point(16.0, 1e5)]);
        let (a, b) = line(points, 0.05);
        assert!((a - 3.0).abs() < 1e-9 && (b - 0.5).abs() < 1e-9, "{a} {b}");
        assert_eq!(line(vec![point(2.0, 4.0); 5], 0.0), (4.0, 0.0));
        assert_eq!(line(Vec::new(), 0.02), (0.0, 0.0));
    }

    /// No pair of numbers that are not negative fits better, on a grid around the one found.
    #[test]
    fn neither_number_is_negative_and_none_fits_better() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(3);
        for _ in 0..300 {
            let (a, b) = (rng.random_range(-3.0..3.0), rng.random_range(-1.0..1.0));
            let mut place = |x: usize| Point {
                weight: rng.random_range(0.1..2.0),
                ..point(x as f64, a + b * x as f64 + f64::from(x as u32 % 3) - 1.0)
            };
            let points: Vec<_> = (1..12).map(&mut place).collect();
            let error = |a: f64, b: f64| -> f64 {
                points.iter().map(|p| p.weight * (p.y - a - b * p.x).powi(2)).sum()
            };
            let (a, b) = line(points.clone(), 0.0);
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
        let mut rounds = Rounds::default();
        rounds.add(1, 2.0, 1.0);
        rounds.add(1, 17.0, 10.0);
        // (1 · 1 + 7 · 0.01) / 1.01 by hand.
        let RoundOverhead { round, token } = rounds.beside();
        assert!((round - 1.07 / 1.01).abs() < 1e-12 && token == 0.0, "{round} {token}");
    }

    /// Passes of 2 s and one of 3 s over two tokens, 0.5 s a token beside; 1 s later at context 10.
    #[test]
    fn a_draft_by_hand() {
        use kad_polybasic::theory::PassTime;
        let cell = |seconds| PassTime { seconds, standard_error: 0.0 };
        let cells = vec![vec![cell(2.0), cell(3.0)], vec![cell(12.0), cell(13.0)]];
        let times = PassTimes::new(vec![1, 2], vec![0, 10], cells).unwrap();
        let distribution = Drafting::Distribution { times: &times, token: 0.5 };
        // 2 + 3 + 4 and 3 · 0.5.
        assert!((distribution.seconds(3, 0, false) - 10.5).abs() < 1e-12);
        assert!((distribution.seconds(3, 0, true) - 11.5).abs() < 1e-12);
        assert_eq!(distribution.seconds(0, 0, true), 0.0);
        let lookup = Drafting::Lookup { draft: 1.0, token: 0.25 };
        assert_eq!(lookup.seconds(2, 7, true), 1.5);
    }
}
