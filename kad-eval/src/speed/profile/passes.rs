//! Forward-pass times: every distribution at every width after every context length, in rounds.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use kad_core::{Distribution, Predictor, TokenId};
use kad_polybasic::theory::{PassTime, PassTimes};

use crate::interrupt;
use crate::speed::progress::MeasurementProgress;

/// Tokens per pass. Chains make narrow passes mostly, and times grow in steps there.
const WIDTHS: [usize; 9] = [1, 2, 3, 4, 6, 8, 12, 16, 32];

/// Tokens before the pass.
const CONTEXTS: [usize; 3] = [64, 256, 768];

/// Passes to be measured. Neither list is empty, both rise.
#[derive(Clone, Debug)]
pub(crate) struct PassGrid {
    /// Tokens per pass, 1 first.
    pub(crate) widths: Vec<usize>,
    /// Tokens before the pass.
    pub(crate) contexts: Vec<usize>,
}

impl Default for PassGrid {
    /// The grid of a profile.
    fn default() -> Self {
        Self { widths: WIDTHS.to_vec(), contexts: CONTEXTS.to_vec() }
    }
}

impl PassGrid {
    fn widest(&self) -> usize {
        self.widths.last().copied().unwrap_or(1)
    }

    fn longest_context(&self) -> usize {
        self.contexts.last().copied().unwrap_or(1)
    }

    /// The context lengths for a distribution of at most `context_len` tokens: all that leave room
    /// for the widest pass, or half of `context_len`.
    fn contexts_in(&self, context_len: usize) -> Vec<usize> {
        let widest = self.widest();
        let fits = |context: &usize| context + widest < context_len;
        let mut found: Vec<usize> = self.contexts.iter().copied().filter(fits).collect();
        // The model's context may end far beyond the last of them.
        let far = context_len.saturating_sub(widest + 1).min(self.longest_context());
        if found.last().is_some_and(|last| far >= 2 * last) {
            found.push(far);
        }
        if found.is_empty() {
            found.push((context_len / 2).max(1));
        }
        found
    }

    /// The widths that fit after `context` tokens.
    fn widths_in(&self, context: usize, context_len: usize) -> Vec<usize> {
        self.widths.iter().copied().filter(|width| context + width <= context_len).collect()
    }
}

/// Minimum number of rounds.
const MIN_ROUNDS: usize = 5;

/// More rounds are made only within this time, and never more than [`MAX_ROUNDS`].
const TIME: Duration = Duration::from_secs(12);
const MAX_ROUNDS: usize = 41;

/// Passes over one token in a row: discarded at first, counted afterwards.
const WARM_UP: usize = 3;
const COUNTED: usize = 4;

/// Measured times of one distribution.
pub(crate) struct DistributionTimes {
    /// Pass with the next-token distributions after its tokens.
    pub(crate) passes: PassTimes,
    /// Time of a next-token distribution alone.
    pub(crate) distribution: PassTime,
}

/// Measures several distributions in turn, each at the points of `grid` for which it has room, in
/// `wanted` rounds, or in as many as there is time for. `make` returns a fresh predictor of
/// distribution `i`. `prompts[i]` is the text it follows, repeated as often as necessary: the time of
/// a pass does not depend on the tokens.
///
/// Returns the times by distribution and the number of rounds counted; `None` if the user interrupted.
pub(crate) fn time_passes<'m>(
    grid: &PassGrid,
    make: impl Fn(usize) -> Result<Box<dyn Predictor + 'm>>,
    prompts: &[Vec<TokenId>],
    wanted: Option<usize>,
) -> Result<Option<(Vec<DistributionTimes>, usize)>> {
    let longest = grid.longest_context() + grid.widest().max(WARM_UP + COUNTED);
    let text = |prompt: &Vec<TokenId>| prompt.iter().copied().cycle().take(longest).collect();
    let texts: Vec<Vec<TokenId>> = prompts.iter().map(text).collect();
    // By distribution, then by context length.
    let mut all: Vec<Vec<PassSeries<'_>>> = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        let context_len = make(index)?.context_len();
        let contexts = grid.contexts_in(context_len).into_iter();
        let series = contexts.map(|context| {
            let widths = grid.widths_in(context, context_len);
            Ok(PassSeries::new(make(index)?, text, context, widths))
        });
        all.push(series.collect::<Result<_>>()?);
    }
    let progress = MeasurementProgress::new("rounds of passes", wanted.unwrap_or(MIN_ROUNDS) + 1);
    let (began, mut counted) = (Instant::now(), 0);
    // The first round is not counted: it fills caches.
    for made in 1.. {
        if !round(&mut all, grid, made > 1)? {
            return Ok(None);
        }
        counted = made - 1;
        let next = began.elapsed().mul_f64((made + 1) as f64 / made as f64);
        let more = match wanted {
            Some(wanted) => counted < wanted,
            None => counted < MIN_ROUNDS || (counted < MAX_ROUNDS && next < TIME),
        };
        if !more {
            break;
        }
        progress.advance();
    }
    let times = all.iter().map(|series| summary(series)).collect::<Result<_>>()?;
    Ok(Some((times, counted)))
}

/// Measures every pass once; false if the user interrupted. Distributions take turns at each width: a
/// busy moment of the machine hits all alike.
fn round(all: &mut [Vec<PassSeries<'_>>], grid: &PassGrid, counted: bool) -> Result<bool> {
    let most = all.iter().map(Vec::len).max().unwrap_or(0);
    for context in 0..most {
        for width in 0..grid.widths.len() {
            for series in all.iter_mut().filter_map(|of_one| of_one.get_mut(context)) {
                if interrupt::requested() {
                    return Ok(false);
                }
                series.measure(width, counted)?;
            }
        }
    }
    Ok(true)
}

/// Passes of one distribution after one context length.
struct PassSeries<'m> {
    predictor: Box<dyn Predictor + 'm>,
    text: &'m [TokenId],
    context: usize,
    widths: Vec<usize>,
    /// Seconds of passes with their next-token distributions, by width.
    passes: Vec<Vec<f64>>,
    /// Seconds of one distribution, of all passes.
    distributions: Vec<f64>,
    /// Reused memory.
    distribution: Distribution,
}

impl<'m> PassSeries<'m> {
    fn new(
        predictor: Box<dyn Predictor + 'm>,
        text: &'m [TokenId],
        context: usize,
        widths: Vec<usize>,
    ) -> Self {
        let (passes, distributions) = (vec![Vec::new(); widths.len()], Vec::new());
        let distribution = Distribution::default();
        Self { predictor, text, context, widths, passes, distributions, distribution }
    }

    /// A pass of the width of index `width` with its distributions; several passes in a row over
    /// one token.
    fn measure(&mut self, width: usize, counted: bool) -> Result<()> {
        if width >= self.widths.len() {
            return Ok(());
        }
        // Another last token, so that nothing of the pass to come is cached.
        let other = (0..2).find(|token| *token != self.text[self.context]).unwrap_or_default();
        self.predictor.follow(&[&self.text[..self.context], &[other]].concat(), 1)?;
        if self.widths[width] > 1 {
            return self.pass(width, self.context, counted);
        }
        // In use, wide passes follow another model's passes, but passes over one token follow each
        // other: those are about twice as fast once processor and caches have settled.
        let room = self.predictor.context_len() - self.context;
        let run = room.min(WARM_UP + COUNTED);
        for done in 0..run {
            let settled = done >= WARM_UP.min(run - 1);
            self.pass(width, self.context + done, counted && settled)?;
        }
        Ok(())
    }

    /// A timed pass of the width of index `index` after `context` tokens of the text.
    fn pass(&mut self, index: usize, context: usize, counted: bool) -> Result<()> {
        let width = self.widths[index];
        let text = &self.text[..context + width];
        let began = Instant::now();
        self.predictor.follow(text, width)?;
        let passed = began.elapsed();
        for len in context + 1..=context + width {
            self.predictor.distribution(text, len, &mut self.distribution)?;
        }
        let whole = began.elapsed();
        if counted {
            self.passes[index].push(whole.as_secs_f64());
            self.distributions.push((whole - passed).as_secs_f64() / width as f64);
        }
        Ok(())
    }
}

fn summary(series: &[PassSeries<'_>]) -> Result<DistributionTimes> {
    const NOTHING: &str = "no pass was measured";
    let distributions = series.iter().flat_map(|one| one.distributions.iter().copied());
    let distributions: Vec<f64> = distributions.collect();
    // `PassTimes` has the same widths after every context: those that fit after all of them.
    let columns = series.iter().map(|one| one.passes.len()).min().unwrap_or(0);
    let row = |one: &PassSeries<'_>| -> Result<Vec<PassTime>> {
        let cells = one.passes[..columns].iter();
        let cells = cells.map(|seconds| PassTime::of_samples(seconds).context(NOTHING));
        Ok(isotonic(&cells.collect::<Result<Vec<_>>>()?))
    };
    let cells = series.iter().map(row).collect::<Result<_>>()?;
    let contexts = series.iter().map(|one| one.context).collect();
    let widths = series.first().map_or(Vec::new(), |one| one.widths[..columns].to_vec());
    let passes = PassTimes::new(widths, contexts, cells)?;
    let distribution = PassTime::of_samples(&distributions).context(NOTHING)?;
    Ok(DistributionTimes { passes, distribution })
}

/// Weighted isotonic regression by pooling adjacent violators (Ayer et al. 1955): the nearest
/// times that never fall, by least squares with weights `1 / error²`. A pass over more tokens takes
/// no less time, so a time that falls was disturbed, or the one before it. Errors below 1 % of the
/// time count as 1 %: a few equal samples prove little.
fn isotonic(times: &[PassTime]) -> Vec<PassTime> {
    // Weight, weighted mean, number of pooled times.
    let mut pools: Vec<(f64, f64, usize)> = Vec::with_capacity(times.len());
    for time in times {
        let error = time.standard_error.max(0.01 * time.seconds).max(f64::MIN_POSITIVE.sqrt());
        let mut pool = (error.powi(-2), time.seconds, 1);
        while let Some(last) = pools.pop_if(|last| last.1 > pool.1) {
            let weight = last.0 + pool.0;
            let mean = (last.0 * last.1 + pool.0 * pool.1) / weight;
            pool = (weight, mean, last.2 + pool.2);
        }
        pools.push(pool);
    }
    let pooled = pools.iter().flat_map(|pool| std::iter::repeat_n(pool, pool.2));
    let pooled = pooled.zip(times).map(|(&(weight, seconds, count), time)| match count {
        1 => *time,
        _ => PassTime { seconds, standard_error: weight.powf(-0.5) },
    });
    pooled.collect()
}

/// `times` of a composed distribution without the passes of one of its models, which has made them
/// already as the drafter. Its rows are remembered; only its distributions are made again.
pub(crate) fn times_without(
    times: &PassTimes,
    own: &PassTimes,
    distribution: &PassTime,
) -> Result<PassTimes> {
    let row = |(context, cells): (&usize, &Vec<PassTime>)| {
        let cell = |(width, cell): (&usize, &PassTime)| {
            let passes = own.seconds(*width, *context) - *width as f64 * distribution.seconds;
            PassTime { seconds: (cell.seconds - passes.max(0.0)).max(0.0), ..*cell }
        };
        times.widths().iter().zip(cells).map(cell).collect()
    };
    let cells = times.contexts().iter().zip(times.cells()).map(row).collect();
    Ok(PassTimes::new(times.widths().to_vec(), times.contexts().to_vec(), cells)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kad_core::oracle::TableModel;
    use kad_core::{Counted, ModelPredictor, Sampling};
    use rand::{RngExt, SeedableRng};

    #[test]
    fn contexts_fit_the_model() {
        let grid = PassGrid::default();
        assert_eq!(grid.contexts_in(2048), [64, 256, 768]);
        assert_eq!(grid.contexts_in(256), [64, 223]);
        assert_eq!(grid.contexts_in(512), [64, 256]);
        assert_eq!(grid.contexts_in(128), [64]);
        assert_eq!(grid.contexts_in(40), [20]);
        assert_eq!(grid.widths_in(20, 40), [1, 2, 3, 4, 6, 8, 12, 16]);
        assert_eq!(grid.contexts_in(1), [1]);
        let asked = PassGrid { widths: vec![1, 32], contexts: vec![128] };
        assert_eq!(asked.contexts_in(256), [128]);
    }

    /// Each timed pass is over as many tokens as its width says: no pass reuses tokens of an earlier
    /// one.
    #[test]
    fn a_pass_is_as_wide_as_it_says() {
        let model = Counted::new(TableModel::random("toy", 5, 2, 1));
        let sampling = Sampling::at_temperature(1.0).unwrap();
        let predictor = Box::new(ModelPredictor::new(&model, sampling).unwrap());
        let text: Vec<TokenId> = (0..64).map(|i| i % 5).collect();
        let mut series = PassSeries::new(predictor, &text, 7, WIDTHS.to_vec());
        // The context is read once; afterwards there are the timed passes, and one over another token.
        series.measure(0, true).unwrap();
        for (index, width) in WIDTHS.iter().enumerate().rev().chain(WIDTHS.iter().enumerate()) {
            let before = model.counts();
            series.passes[index].clear();
            series.measure(index, true).unwrap();
            let done = model.counts() - before;
            // The other token is one more pass.
            let passes = if *width == 1 { (WARM_UP + COUNTED) as u64 } else { 1 };
            assert_eq!((done.passes, done.tokens), (1 + passes, 1 + passes * *width as u64));
            let counted = if *width == 1 { COUNTED } else { 1 };
            assert_eq!(series.passes[index].len(), counted);
        }
    }

    fn times(pairs: &[(f64, f64)]) -> Vec<PassTime> {
        let time = |&(seconds, standard_error)| PassTime { seconds, standard_error };
        pairs.iter().map(time).collect()
    }

    #[test]
    fn a_disturbed_pass_is_pooled_with_its_neighbours() {
        let honest = times(&[(1.0, 0.1), (1.5, 0.1), (3.0, 0.1)]);
        assert_eq!(isotonic(&honest), honest);
        // 9 ± 2 before 1 ± 1: weights 1/4 and 1, mean (9/4 + 1) / (5/4) = 2.6.
        let found = isotonic(&times(&[(0.5, 0.1), (9.0, 2.0), (1.0, 1.0), (4.0, 0.1)]));
        let seconds: Vec<f64> = found.iter().map(|time| time.seconds).collect();
        assert_eq!((seconds[0], seconds[3]), (0.5, 4.0));
        assert!((seconds[1] - 2.6).abs() < 1e-12 && seconds[1] == seconds[2], "{seconds:?}");
        assert!((found[1].standard_error - (1.25f64).powf(-0.5)).abs() < 1e-12);
    }

    /// The solution of isotonic regression is `max over a ≤ i of min over b ≥ i of mean(a..=b)`
    /// (Barlow et al. 1972).
    #[test]
    fn pooling_is_isotonic_regression() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(5);
        for _ in 0..200 {
            let time = || (rng.random_range(1.0..9.0), rng.random_range(0.1..2.0));
            let pairs: Vec<(f64, f64)> = std::iter::repeat_with(time).take(7).collect();
            let mean = |a: usize, b: usize| {
                let weight = |at: usize| pairs[at].1.powi(-2);
                let all: f64 = (a..=b).map(weight).sum();
                (a..=b).map(|at| weight(at) * pairs[at].0).sum::<f64>() / all
            };
            for (at, found) in isotonic(&times(&pairs)).iter().enumerate() {
                let least = |a| (at..7).map(|b| mean(a, b)).fold(f64::INFINITY, f64::min);
                let wanted = (0..=at).map(least).fold(f64::NEG_INFINITY, f64::max);
                assert!((found.seconds - wanted).abs() < 1e-9, "{pairs:?}");
            }
        }
    }
}
