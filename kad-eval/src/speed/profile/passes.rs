//! How long passes take: every distribution at every width after every context, round after round.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use kad_core::{Distribution, Predictor, TokenId};
use kad_polybasic::theory::{PassTime, PassTimes};

use crate::interrupt;

/// Tokens per pass: what chains use, narrow ones closely, since passes grow in steps there.
const WIDTHS: [usize; 9] = [1, 2, 3, 4, 6, 8, 12, 16, 32];

/// Tokens before the pass.
const CONTEXTS: [usize; 3] = [64, 256, 768];

/// Which passes are measured. Neither list is empty, both rise.
#[derive(Clone, Debug)]
pub(crate) struct Grid {
    /// Tokens per pass, 1 first.
    pub(crate) widths: Vec<usize>,
    /// Tokens before the pass.
    pub(crate) contexts: Vec<usize>,
}

impl Default for Grid {
    /// What a profile is made of.
    fn default() -> Self {
        Self { widths: WIDTHS.to_vec(), contexts: CONTEXTS.to_vec() }
    }
}

impl Grid {
    fn widest(&self) -> usize {
        self.widths.last().copied().unwrap_or(1)
    }

    fn longest_context(&self) -> usize {
        self.contexts.last().copied().unwrap_or(1)
    }

    /// The contexts that a distribution of at most `context_len` tokens is measured after: those
    /// that leave room for the widest pass, or half of what there is.
    fn contexts_in(&self, context_len: usize) -> Vec<usize> {
        let widest = self.widest();
        let fits = |context: &usize| context + widest < context_len;
        let mut found: Vec<usize> = self.contexts.iter().copied().filter(fits).collect();
        // The context may end far beyond the last of them.
        let far = context_len.saturating_sub(widest + 1).min(self.longest_context());
        if found.last().is_some_and(|last| far >= 2 * last) {
            found.push(far);
        }
        if found.is_empty() {
            found.push((context_len / 2).max(1));
        }
        found
    }

    /// The widths that fit behind `context` tokens.
    fn widths_in(&self, context: usize, context_len: usize) -> Vec<usize> {
        self.widths.iter().copied().filter(|width| context + width <= context_len).collect()
    }
}

/// Every cell is measured this often at least.
const LEAST_ROUNDS: usize = 5;

/// More rounds are made only within this time, and never more than [`MOST_ROUNDS`].
const TIME: Duration = Duration::from_secs(12);
const MOST_ROUNDS: usize = 41;

/// Passes over one token in a row: so many before those that are counted, and so many of these.
const UNSETTLED: usize = 3;
const SETTLED: usize = 4;

/// One distribution that is measured after one context.
struct Course<'m> {
    predictor: Box<dyn Predictor + 'm>,
    context: usize,
    widths: Vec<usize>,
    /// By width.
    cells: Vec<Samples>,
    /// Memory.
    distribution: Distribution,
}

#[derive(Default)]
struct Samples {
    /// Pass and distributions.
    whole: Vec<f64>,
    /// One distribution.
    distribution: Vec<f64>,
}

/// What was measured of one distribution.
pub(crate) struct Measured {
    pub(crate) times: PassTimes,
    pub(crate) distribution: PassTime,
}

/// Measures distributions side by side.
pub(crate) struct Passes<'m> {
    grid: Grid,
    /// By distribution, in the order given; then by context.
    courses: Vec<Vec<Course<'m>>>,
    /// Text long enough for each of them.
    texts: Vec<Vec<TokenId>>,
    /// How many are made; None for as many as there is time for.
    wanted: Option<usize>,
    rounds: usize,
}

impl<'m> Passes<'m> {
    /// `make` gives a fresh predictor of distribution `i`; `prompts[i]` is text for it to follow,
    /// which is repeated as often as need be: what a pass takes does not depend on the tokens. Of
    /// the `grid` each distribution is measured where it has room.
    ///
    /// # Errors
    /// If a backend cannot start a session.
    pub(crate) fn new(
        grid: Grid,
        make: impl Fn(usize) -> Result<Box<dyn Predictor + 'm>>,
        prompts: &[Vec<TokenId>],
        wanted: Option<usize>,
    ) -> Result<Self> {
        let mut courses = Vec::with_capacity(prompts.len());
        for distribution in 0..prompts.len() {
            let context_len = make(distribution)?.context_len();
            let course = |context| {
                Ok(Course::new(make(distribution)?, context, grid.widths_in(context, context_len)))
            };
            let contexts = grid.contexts_in(context_len);
            courses.push(contexts.into_iter().map(course).collect::<Result<_>>()?);
        }
        let longest = grid.longest_context() + grid.widest().max(UNSETTLED + SETTLED);
        let text = |prompt: &Vec<TokenId>| prompt.iter().copied().cycle().take(longest).collect();
        let texts = prompts.iter().map(text).collect();
        Ok(Self { grid, courses, texts, wanted, rounds: 0 })
    }

    /// How many calls of [`round`](Self::round) there are at least.
    pub(crate) fn least_rounds(&self) -> usize {
        self.wanted.unwrap_or(LEAST_ROUNDS) + 1
    }

    /// Measures every cell once. The first round is not counted: it fills caches. Returns whether
    /// another round is worth its time; `began` is when the first one did.
    ///
    /// # Errors
    /// If a model fails.
    pub(crate) fn round(&mut self, began: Instant) -> Result<bool> {
        let counted = self.rounds > 0;
        // Distributions take turns at each width: a busy moment of the machine hits all alike.
        let most = self.courses.iter().map(Vec::len).max().unwrap_or(0);
        for context in 0..most {
            for width in 0..self.grid.widths.len() {
                for (distribution, text) in self.courses.iter_mut().zip(&self.texts) {
                    if interrupt::requested() {
                        return Ok(false);
                    }
                    let Some(course) = distribution.get_mut(context) else { continue };
                    course.measure(width, text, counted)?;
                }
            }
        }
        self.rounds += 1;
        let made = self.rounds - 1;
        let next = began.elapsed().mul_f64((self.rounds + 1) as f64 / self.rounds as f64);
        Ok(match self.wanted {
            Some(wanted) => made < wanted,
            None => made < LEAST_ROUNDS || (made < MOST_ROUNDS && next < TIME),
        })
    }

    /// What was found, by distribution; and rounds counted.
    ///
    /// # Errors
    /// If nothing was measured.
    pub(crate) fn finish(self) -> Result<(Vec<Measured>, usize)> {
        let measured = self.courses.iter().map(|courses| summary(courses));
        Ok((measured.collect::<Result<_>>()?, self.rounds.saturating_sub(1)))
    }
}

impl<'m> Course<'m> {
    fn new(predictor: Box<dyn Predictor + 'm>, context: usize, widths: Vec<usize>) -> Self {
        let cells = widths.iter().map(|_| Samples::default()).collect();
        Self { predictor, context, widths, cells, distribution: Distribution::default() }
    }

    /// One pass over the width of index `width`, and the distributions after each of its tokens; of
    /// passes over one token several in a row.
    fn measure(&mut self, width: usize, text: &[TokenId], counted: bool) -> Result<()> {
        let (index, Some(&width)) = (width, self.widths.get(width)) else { return Ok(()) };
        // Somewhere else by one token, so that nothing of the pass to come is known.
        let other = (0..2).find(|token| *token != text[self.context]).unwrap_or_default();
        self.predictor.follow(&[&text[..self.context], &[other]].concat(), 1)?;
        if width > 1 {
            return self.pass(index, self.context, text, counted);
        }
        // Wide passes follow another model's. Passes over one token follow each other, and are
        // about twice as fast once they do: processor and caches have settled.
        let room = self.predictor.context_len() - self.context;
        let run = room.min(UNSETTLED + SETTLED);
        for done in 0..run {
            let settled = done >= UNSETTLED.min(run - 1);
            self.pass(index, self.context + done, text, counted && settled)?;
        }
        Ok(())
    }

    /// One timed pass after `context` tokens of the text.
    fn pass(
        &mut self,
        index: usize,
        context: usize,
        text: &[TokenId],
        counted: bool,
    ) -> Result<()> {
        let width = self.widths[index];
        let text = &text[..context + width];
        let began = Instant::now();
        self.predictor.follow(text, width)?;
        let passed = began.elapsed();
        for len in context + 1..=context + width {
            self.predictor.distribution(text, len, &mut self.distribution)?;
        }
        let whole = began.elapsed();
        if counted {
            self.cells[index].whole.push(whole.as_secs_f64());
            self.cells[index].distribution.push((whole - passed).as_secs_f64() / width as f64);
        }
        Ok(())
    }
}

fn summary(courses: &[Course<'_>]) -> Result<Measured> {
    const NOTHING: &str = "no pass was measured";
    let distributions: Vec<f64> = courses
        .iter()
        .flat_map(|c| &c.cells)
        .flat_map(|cell| cell.distribution.iter().copied())
        .collect();
    // A grid has as many widths after every context: those that fit after all of them.
    let columns = courses.iter().map(|course| course.cells.len()).min().unwrap_or(0);
    let row = |course: &Course<'_>| -> Result<Vec<PassTime>> {
        let cells = course.cells[..columns].iter();
        let cells = cells.map(|cell| PassTime::of_samples(&cell.whole).context(NOTHING));
        Ok(rising(&cells.collect::<Result<Vec<_>>>()?))
    };
    let cells = courses.iter().map(row).collect::<Result<_>>()?;
    let contexts = courses.iter().map(|course| course.context).collect();
    let widths = courses.first().map_or(Vec::new(), |course| course.widths[..columns].to_vec());
    let times = PassTimes::new(widths, contexts, cells)?;
    let distribution = PassTime::of_samples(&distributions).context(NOTHING)?;
    Ok(Measured { times, distribution })
}

/// The nearest times that do not fall: a pass over more tokens takes no less, so one that seems to
/// was disturbed, or the one before it. Least squares with weights `1 / error²` (isotonic
/// regression, by pooling adjacent violators: Ayer et al. 1955). Errors below a hundredth of the
/// time count as that: a few equal samples prove little.
fn rising(times: &[PassTime]) -> Vec<PassTime> {
    // Weight, weighted mean, how many times are pooled.
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

/// `times` without the passes of a model that has made them already: its rows are remembered, only
/// its distributions are made again.
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
        let grid = Grid::default();
        assert_eq!(grid.contexts_in(2048), [64, 256, 768]);
        assert_eq!(grid.contexts_in(256), [64, 223]);
        assert_eq!(grid.contexts_in(512), [64, 256]);
        assert_eq!(grid.contexts_in(128), [64]);
        assert_eq!(grid.contexts_in(40), [20]);
        assert_eq!(grid.widths_in(20, 40), [1, 2, 3, 4, 6, 8, 12, 16]);
        assert_eq!(grid.contexts_in(1), [1]);
        let asked = Grid { widths: vec![1, 32], contexts: vec![128] };
        assert_eq!(asked.contexts_in(256), [128]);
    }

    /// Counts what the model is asked: each timed pass is over exactly as many tokens as its width
    /// says, so no pass is helped by what an earlier one left behind.
    #[test]
    fn a_pass_is_as_wide_as_it_says() {
        let model = Counted::new(TableModel::random("toy", 5, 2, 1));
        let sampling = Sampling::at_temperature(1.0).unwrap();
        let predictor = Box::new(ModelPredictor::new(&model, sampling).unwrap());
        let mut course = Course::new(predictor, 7, WIDTHS.to_vec());
        let text: Vec<TokenId> = (0..64).map(|i| i % 5).collect();
        // The context is read; from then on what is measured, and one token to go elsewhere.
        course.measure(0, &text, true).unwrap();
        for (index, width) in WIDTHS.iter().enumerate().rev().chain(WIDTHS.iter().enumerate()) {
            let before = model.counts();
            course.cells[index].whole.clear();
            course.measure(index, &text, true).unwrap();
            let done = model.counts() - before;
            // Going elsewhere is one more.
            let passes = if *width == 1 { (UNSETTLED + SETTLED) as u64 } else { 1 };
            assert_eq!((done.passes, done.tokens), (1 + passes, 1 + passes * *width as u64));
            let counted = if *width == 1 { SETTLED } else { 1 };
            assert_eq!(course.cells[index].whole.len(), counted);
        }
    }

    fn times(pairs: &[(f64, f64)]) -> Vec<PassTime> {
        let time = |&(seconds, standard_error)| PassTime { seconds, standard_error };
        pairs.iter().map(time).collect()
    }

    #[test]
    fn a_disturbed_pass_is_pooled_with_its_neighbours() {
        let honest = times(&[(1.0, 0.1), (1.5, 0.1), (3.0, 0.1)]);
        assert_eq!(rising(&honest), honest);
        // 9 ± 2 before 1 ± 1: weights 1/4 and 1, mean (9/4 + 1) / (5/4) = 2.6.
        let found = rising(&times(&[(0.5, 0.1), (9.0, 2.0), (1.0, 1.0), (4.0, 0.1)]));
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
            for (at, found) in rising(&times(&pairs)).iter().enumerate() {
                let least = |a| (at..7).map(|b| mean(a, b)).fold(f64::INFINITY, f64::min);
                let wanted = (0..=at).map(least).fold(f64::NEG_INFINITY, f64::max);
                assert!((found.seconds - wanted).abs() < 1e-9, "{pairs:?}");
            }
        }
    }
}
