//! What a distribution takes on this machine, from a few timed passes.

use std::time::{Duration, Instant};

use anyhow::Result;
use kad_core::{Distribution, Predictor, TokenId};

use crate::interrupt;

/// Tokens that the speed of reading is first tried on: where that shows that a prompt takes long,
/// its time is worked out from them instead.
const PROBE: usize = 32;

/// The longest that one prompt is read for.
const LONGEST_READING: Duration = Duration::from_millis(800);

/// Passes over one token: until both are reached, and at least one that counts.
const STEPS: usize = 12;
const STEPPING: Duration = Duration::from_millis(200);

/// Tokens whose distributions are asked for in one pass where texts are scored.
const SCORED: usize = 64;

/// A stretch of work on one text.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Piece {
    /// Tokens that are there before.
    pub(super) context: usize,
    /// Tokens that are read for the distribution behind the last of them.
    pub(super) read: usize,
    /// Tokens that are read for the distribution behind each of them.
    pub(super) scored: usize,
    /// Tokens that are written one by one.
    pub(super) written: usize,
}

/// What passes are timed for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Wanted {
    /// Tokens before them, the fewer first.
    pub(super) contexts: [usize; 2],
    /// Whether texts are scored, too: wide passes that give all distributions are long over a large
    /// vocabulary.
    pub(super) scored: bool,
}

/// Times after one context.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Point {
    context: f64,
    /// Seconds per token of a prompt of this length.
    read: f64,
    /// Seconds of a pass over one token, and the distribution after it.
    step: f64,
    /// Seconds per token whose distribution is asked for in a wide pass; 0 where none is.
    scored: f64,
}

/// What one distribution takes, at rising contexts.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pace(Vec<Point>);

impl Pace {
    /// Tokens that are needed behind the last context.
    pub(super) const BEYOND: usize = STEPS + 2 * SCORED;

    /// Times the distribution of `predictor` along `text`; None if the user interrupted.
    pub(super) fn measure(
        predictor: &mut dyn Predictor,
        text: &[TokenId],
        wanted: Wanted,
    ) -> Result<Option<Self>> {
        let mut clock = Clock { predictor, text, at: 0, distribution: Distribution::default() };
        clock.predictor.begin(1);
        // Weights may still be on the disk.
        clock.pass(1, 1)?;
        let room = clock.predictor.context_len().min(text.len()).saturating_sub(Self::BEYOND);
        let contexts = wanted.contexts.map(|context| context.clamp(2, room.max(2)));
        let probe = PROBE.min(contexts[0]);
        let mut seconds = clock.pass(probe, 1)?.as_secs_f64();
        let mut tokens = (probe - 1) as f64;
        let mut points = Vec::new();
        for context in contexts {
            let more = context.saturating_sub(clock.at) as f64;
            if context < clock.at {
                clock.go_back(context)?;
            } else if seconds / tokens * more <= LONGEST_READING.as_secs_f64() {
                seconds += clock.pass(context, 1)?.as_secs_f64();
                tokens += more;
            }
            let step = clock.step()?;
            let scored = if wanted.scored { clock.scored()? } else { 0.0 };
            points.push(Point { context: context as f64, read: seconds / tokens, step, scored });
            if interrupt::requested() {
                return Ok(None);
            }
        }
        Ok(Some(Self(points)))
    }

    /// Seconds of a piece of work.
    pub(super) fn seconds(&self, piece: &Piece) -> f64 {
        let Piece { context, read, scored, written } = *piece;
        let step = |at: f64| self.at(at, |point| point.step);
        let wide = |tokens: usize, at: f64, per_token: fn(&Point) -> f64| match tokens {
            0 => 0.0,
            // No pass is shorter than one over a token.
            some => (some as f64 * self.at(at, per_token)).max(step(at)),
        };
        let held = (context + read + scored) as f64;
        wide(read, (context + read) as f64, |point| point.read)
            + wide(scored, held, |point| point.scored)
            // The mean over the text of what grows evenly along it.
            + written as f64 * step(held + written as f64 / 2.0)
    }

    /// Between two contexts on the line through their times; beyond them that of the nearer one.
    fn at(&self, context: f64, what: impl Fn(&Point) -> f64) -> f64 {
        let (Some(first), Some(last)) = (self.0.first(), self.0.last()) else { return 0.0 };
        let span = last.context - first.context;
        let share =
            if span > 0.0 { ((context - first.context) / span).clamp(0.0, 1.0) } else { 0.0 };
        what(first) + share * (what(last) - what(first))
    }
}

struct Clock<'p> {
    predictor: &'p mut dyn Predictor,
    text: &'p [TokenId],
    /// Tokens that are read.
    at: usize,
    distribution: Distribution,
}

impl Clock<'_> {
    /// A pass up to `len` tokens of the text and the distributions after the `last` of them.
    fn pass(&mut self, len: usize, last: usize) -> Result<Duration> {
        let context = &self.text[..len];
        let began = Instant::now();
        self.predictor.follow(context, last)?;
        for len in len + 1 - last..=len {
            self.predictor.distribution(context, len, &mut self.distribution)?;
        }
        self.at = len;
        Ok(began.elapsed())
    }

    /// Tokens that there is text and context for.
    fn room(&self) -> usize {
        self.predictor.context_len().min(self.text.len()).saturating_sub(self.at)
    }

    /// To the first `len` tokens, the last of which is another one: predictors remember the
    /// distributions of their last pass, and nothing of the passes to come may be known.
    fn go_back(&mut self, len: usize) -> Result<()> {
        let other = (0..2).find(|token| *token != self.text[len - 1]).unwrap_or_default();
        self.predictor.follow(&[&self.text[..len - 1], &[other]].concat(), 1)?;
        self.at = len;
        Ok(())
    }

    /// The median of a few passes over one token from here; the first does not count.
    fn step(&mut self) -> Result<f64> {
        let began = Instant::now();
        let mut times = Vec::new();
        for done in 0..STEPS.min(self.room()) {
            let time = self.pass(self.at + 1, 1)?;
            if done == 0 {
                continue;
            }
            times.push(time);
            if began.elapsed() > STEPPING || interrupt::requested() {
                break;
            }
        }
        times.sort();
        Ok(times.get(times.len() / 2).map_or(0.0, Duration::as_secs_f64))
    }

    /// Seconds per token of a wide pass that gives all distributions: of the faster one of two,
    /// because the first makes room for itself.
    fn scored(&mut self) -> Result<f64> {
        let width = SCORED.min(self.room() / 2);
        if width == 0 {
            return Ok(0.0);
        }
        let first = self.pass(self.at + width, width)?;
        let second = self.pass(self.at + width, width)?;
        Ok(first.min(second).as_secs_f64() / width as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kad_core::oracle::TableModel;
    use kad_core::{Counted, ModelPredictor, Sampling};

    /// By hand: read 10 at 1 ms per token, then 4 steps at (10 + 2) tokens, which is half way.
    #[test]
    fn seconds_are_those_of_the_passes() {
        let point = |context, read, step, scored| Point { context, read, step, scored };
        let pace = Pace(vec![point(8.0, 1e-3, 2e-3, 3e-3), point(16.0, 1e-3, 4e-3, 5e-3)]);
        let piece = Piece { read: 10, written: 4, ..Piece::default() };
        assert!((pace.seconds(&piece) - (10e-3 + 4.0 * 3e-3)).abs() < 1e-12);
        let scored = Piece { context: 12, scored: 4, ..Piece::default() };
        assert!((pace.seconds(&scored) - 4.0 * 5e-3).abs() < 1e-12, "beyond the last");
        let short = Piece { read: 1, ..Piece::default() };
        assert!((pace.seconds(&short) - 2e-3).abs() < 1e-12, "a pass is a pass");
        assert_eq!(pace.seconds(&Piece::default()), 0.0);
    }

    #[test]
    fn a_short_text_is_read_as_far_as_it_goes() {
        let model = Counted::new(TableModel::random("toy", 5, 2, 1));
        let sampling = Sampling::at_temperature(1.0).unwrap();
        let text: Vec<TokenId> = (0..400).map(|i| i % 5).collect();
        let wanted = |contexts| Wanted { contexts, scored: true };
        // The second context behind what the first one's steps and wide pass lead to, and before
        // it.
        for second in [190, 60] {
            let before = model.counts();
            let mut predictor = ModelPredictor::new(&model, sampling).unwrap();
            let pace = Pace::measure(&mut predictor, &text, wanted([40, second])).unwrap().unwrap();
            let contexts: Vec<f64> = pace.0.iter().map(|point| point.context).collect();
            assert_eq!(contexts, [40.0, second as f64]);
            assert!(pace.0.iter().all(|it| it.read > 0.0 && it.step > 0.0 && it.scored > 0.0));
            // One to warm up, the probe, the two contexts; steps and a wide pass twice.
            let done = model.counts() - before;
            assert_eq!(done.passes, 4 + 2 * (STEPS as u64 + 2));
            // What the probe and the first context read, then either what is left to the second or
            // the one token that leads back to it and is read again.
            let to_second = if second == 190 { 190 - 180 } else { 1 + 1 };
            assert_eq!(done.tokens as usize, 40 + 2 * Pace::BEYOND + to_second);
        }
        // Contexts that leave no room for all of it.
        let mut predictor = ModelPredictor::new(&model, sampling).unwrap();
        for tokens in 2..20 {
            Pace::measure(&mut predictor, &text[..tokens], wanted([1, 50])).unwrap().unwrap();
        }
        let far = Pace::measure(&mut predictor, &text, wanted([500, 900])).unwrap().unwrap();
        assert_eq!(far.0[1].context, (400 - Pace::BEYOND) as f64);
        let (before, wanted) = (model.counts(), Wanted { scored: false, ..wanted([40, 60]) });
        let mut predictor = ModelPredictor::new(&model, sampling).unwrap();
        Pace::measure(&mut predictor, &text, wanted).unwrap().unwrap();
        assert_eq!((model.counts() - before).passes, 4 + 2 * STEPS as u64, "no wide passes");
    }
}
