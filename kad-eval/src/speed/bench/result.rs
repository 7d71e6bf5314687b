//! Times and speed-ups from repeated texts of several decoders on the same prompts.

use std::collections::BTreeMap;

use rand::RngExt;
use serde::Serialize;

use super::text_check::TextCheck;
use crate::analysis::stats::{self, Interval};
use crate::speed::chain_ranking::RankedChain;
use crate::speed::timed_decoding::PassTotals;

/// Bootstrap resamples of an interval, and their seed: the same measurements always give the same
/// intervals.
const RESAMPLES: usize = 4000;
const SEED: u64 = 1;

/// Times of one text, without the steps that read its prompt.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct TextTime {
    pub(crate) seconds: f64,
    /// Seconds in forward passes.
    pub(crate) passing: f64,
    pub(crate) tokens: f64,
    /// Seconds of the steps that read the prompt.
    pub(crate) first: f64,
    /// Passes of each model.
    #[serde(skip)]
    pub(super) models: BTreeMap<String, PassTotals>,
}

/// All texts of one decoder, `[prompts][repetitions]`.
pub(crate) type TextTimes = Vec<Vec<TextTime>>;

/// Result of one decoder.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct BenchResult {
    pub(crate) name: String,
    /// The distribution of its tokens, in words.
    pub(crate) distribution: String,
    /// True if that is the baseline's distribution.
    pub(crate) distribution_of_baseline: bool,
    /// The prediction of the profile.
    pub(crate) predicted: Option<RankedChain>,
    pub(crate) milliseconds_per_token: f64,
    pub(crate) interval: Interval,
    pub(crate) tokens_per_second: f64,
    /// Predicted over measured time; its interval is the measurement's.
    pub(crate) predicted_over_measured: Option<Ratio>,
    /// Lemma 3.1 of arXiv 2510.26527 over measured time.
    pub(crate) lemma_over_measured: Option<f64>,
    /// The baseline's time over this one's, paired by prompt; `None` for the baseline.
    pub(crate) speedup: Option<Ratio>,
    /// Percent of the time outside of forward passes.
    pub(crate) overhead_percent: f64,
    /// Milliseconds per token in passes of each model.
    pub(crate) passes: BTreeMap<String, f64>,
    /// Passes of each model per token.
    pub(crate) passes_per_token: BTreeMap<String, f64>,
    /// Mean milliseconds of the steps that read the prompt.
    pub(crate) first_milliseconds: f64,
    pub(crate) tokens: u64,
    /// Equal texts, for decoders whose texts must equal the baseline's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) same_text: Option<TextCheck>,
    pub(crate) texts: TextTimes,
}

/// A number with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Ratio {
    pub(crate) value: f64,
    pub(crate) interval: Interval,
}

impl BenchResult {
    /// The numbers of a decoder with these texts. `baseline` are the texts of plain decoding, `None`
    /// for plain decoding itself. Distribution and equality of texts are left to the caller.
    pub(super) fn of(
        name: String,
        predicted: Option<RankedChain>,
        texts: TextTimes,
        baseline: Option<&TextTimes>,
    ) -> Self {
        let sum = |of: fn(&TextTime) -> f64| texts.iter().flatten().map(of).sum::<f64>();
        let (seconds, tokens) = (sum(|text| text.seconds), sum(|text| text.tokens));
        let (milliseconds, passing) = (1e3 * seconds / tokens, sum(|text| text.passing) / seconds);
        let interval = bootstrap(&texts, |drawn| 1e3 * drawn_rate(&texts, drawn));
        let over = |predicted: f64| Ratio {
            value: predicted / milliseconds,
            interval: Interval { low: predicted / interval.high, high: predicted / interval.low },
        };
        let speedup = baseline.map(|baseline| Ratio {
            value: rate(baseline.iter().flatten()) / (seconds / tokens),
            interval: bootstrap(&texts, |drawn| {
                drawn_rate(baseline, drawn) / drawn_rate(&texts, drawn)
            }),
        });
        let mut models: BTreeMap<String, PassTotals> = BTreeMap::new();
        for (model, own) in texts.iter().flatten().flat_map(|text| &text.models) {
            let sum = models.entry(model.clone()).or_default();
            sum.passes += own.passes;
            sum.seconds += own.seconds;
        }
        let each = |of: &dyn Fn(&PassTotals) -> f64| -> BTreeMap<String, f64> {
            models.iter().map(|(model, own)| (model.clone(), of(own))).collect()
        };
        Self {
            name,
            distribution: String::new(),
            distribution_of_baseline: true,
            milliseconds_per_token: milliseconds,
            interval,
            tokens_per_second: tokens / seconds,
            predicted_over_measured: predicted.as_ref().map(|it| over(it.milliseconds_per_token)),
            lemma_over_measured: predicted
                .as_ref()
                .map(|it| it.lemma_milliseconds_per_token / milliseconds),
            predicted,
            speedup,
            overhead_percent: 100.0 * (1.0 - passing),
            passes: each(&|own| 1e3 * own.seconds / tokens),
            passes_per_token: each(&|own| own.passes as f64 / tokens),
            first_milliseconds: 1e3 * sum(|text| text.first)
                / texts.iter().flatten().count() as f64,
            tokens: tokens as u64,
            same_text: None,
            texts,
        }
    }

    pub(crate) fn prompts(&self) -> usize {
        self.texts.len()
    }

    /// The speed-up in words. For another distribution than the baseline's it says nothing about
    /// plain decoding.
    pub(crate) fn verdict(&self) -> &'static str {
        match &self.speedup {
            None => "baseline",
            Some(_) if !self.distribution_of_baseline => {
                "another distribution than the baseline's: not comparable"
            }
            Some(_) if self.texts.len() < 2 => "one prompt says nothing about others",
            Some(speedup) => speedup.verdict(),
        }
    }
}

impl Ratio {
    fn verdict(&self) -> &'static str {
        let Interval { low, high } = self.interval;
        // Written so that NaN decides nothing.
        if low > 1.0 {
            "faster than plain decoding"
        } else if high < 1.0 {
            "slower than plain decoding: a loss"
        } else {
            "not distinguishable from plain decoding"
        }
    }
}

/// Seconds per token.
fn rate<'t>(texts: impl Iterator<Item = &'t TextTime>) -> f64 {
    let add = |sum: (f64, f64), text: &TextTime| (sum.0 + text.seconds, sum.1 + text.tokens);
    let (seconds, tokens) = texts.fold((0.0, 0.0), add);
    seconds / tokens
}

/// Prompt and repetition of a text.
type TextIndex = (usize, usize);

/// Seconds per token of the drawn texts.
fn drawn_rate(texts: &TextTimes, drawn: &[TextIndex]) -> f64 {
    rate(drawn.iter().map(|&(prompt, rep)| &texts[prompt][rep]))
}

/// The middle 95 % of `statistic` over two-stage bootstrap resamples: prompts, and the repetitions
/// of each (Efron and Tibshirani 1993, chapter 8). Texts of one prompt are alike, so repetitions do
/// not count as prompts. A statistic of several decoders sees the same draws of each.
fn bootstrap(texts: &TextTimes, statistic: impl Fn(&[TextIndex]) -> f64) -> Interval {
    let mut drawn = Vec::new();
    stats::bootstrap(RESAMPLES, SEED, |rng| {
        drawn.clear();
        for _ in 0..texts.len() {
            let prompt = rng.random_range(0..texts.len());
            let reps = texts[prompt].len();
            drawn.extend((0..reps).map(|_| (prompt, rng.random_range(0..reps))));
        }
        statistic(&drawn)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A quarter of the time outside of passes, and a quarter of the passes' time in `small`.
    fn text(seconds: f64, tokens: f64) -> TextTime {
        let passing = 0.75 * seconds;
        let own = |passes, seconds| PassTotals { passes, seconds };
        let models = [("large", own(2, 0.75 * passing)), ("small", own(5, 0.25 * passing))];
        let models = models.map(|(name, own)| (name.to_owned(), own)).into();
        TextTime { seconds, passing, tokens, first: 0.5, models }
    }

    /// `[prompts][2]`, with a spread of times.
    fn texts(prompts: usize, scale: f64) -> TextTimes {
        let rep = |prompt: usize, rep: usize| {
            let seconds = scale * (1.0 + 0.3 * (prompt % 7) as f64 + 0.1 * rep as f64);
            text(seconds, 10.0)
        };
        (0..prompts).map(|prompt| (0..2).map(|r| rep(prompt, r)).collect()).collect()
    }

    fn result(name: &str, texts: TextTimes, baseline: Option<&TextTimes>) -> BenchResult {
        BenchResult::of(name.to_owned(), None, texts, baseline)
    }

    #[test]
    fn sums_by_hand() {
        let texts = vec![vec![text(1.0, 10.0), text(2.0, 10.0)], vec![text(3.0, 40.0)]];
        let found = result("a", texts, None);
        assert_eq!((found.milliseconds_per_token, found.tokens_per_second), (100.0, 10.0));
        assert_eq!((found.overhead_percent, found.first_milliseconds), (25.0, 500.0));
        assert_eq!((found.tokens, found.speedup), (60, None));
    }

    #[test]
    fn passes_and_overhead_add_up_to_the_time() {
        let found = result("a", texts(3, 1.0), None);
        let total = found.milliseconds_per_token;
        let passes: f64 = found.passes.values().sum();
        assert!((passes + total * found.overhead_percent / 100.0 - total).abs() < 1e-9);
        assert!((found.passes["large"] - 3.0 * found.passes["small"]).abs() < 1e-9);
        // Ten tokens of each text.
        assert_eq!((found.passes_per_token["large"], found.passes_per_token["small"]), (0.2, 0.5));
    }

    /// Twice the time of the same texts is a speed-up of exactly 2: pairs are resampled together.
    #[test]
    fn speed_ups_are_paired() {
        let (slow, fast) = (texts(20, 2.0), texts(20, 1.0));
        let found = result("fast", fast, Some(&slow)).speedup.unwrap();
        for value in [found.value, found.interval.low, found.interval.high] {
            assert!((value - 2.0).abs() < 1e-12, "{found:?}");
        }
        assert_eq!(found.verdict(), "faster than plain decoding");
        let one = result("one", texts(1, 1.0), Some(&texts(1, 2.0)));
        assert_eq!(one.verdict(), "one prompt says nothing about others");
        let other = result("other", texts(20, 1.0), Some(&slow));
        assert_eq!(other.verdict(), "faster than plain decoding");
        let other = BenchResult { distribution_of_baseline: false, ..other };
        assert!(other.verdict().contains("another distribution"), "{other:?}");
        let found = result("slow", slow, Some(&texts(20, 1.0))).speedup.unwrap();
        assert_eq!(found.verdict(), "slower than plain decoding: a loss");
    }

    /// Equal repetitions count as one: the half width is 1.96 σ / √n for n clusters (n = 280, 4,000
    /// resamples: 5 % of the width is three standard errors of its ends). Resampling the texts one by
    /// one would give 1/√2 of it.
    #[test]
    fn repetitions_of_a_prompt_are_no_new_prompts() {
        let rep = |prompt: usize| text(1.0 + 0.3 * (prompt % 7) as f64, 10.0);
        let same: TextTimes = (0..280).map(|prompt| vec![rep(prompt); 2]).collect();
        let found = result("a", same, None);
        // Milliseconds per token are 100 + 30 k, k = 0 … 6 equally often: variance 900 · 4.
        let half = 1.96 * (900.0f64 * 4.0 / 280.0).sqrt();
        assert!((found.milliseconds_per_token - 190.0).abs() < 1e-9);
        let width = found.interval.high - found.interval.low;
        assert!((width / (2.0 * half) - 1.0).abs() < 0.05, "{width} {half}");
    }

    #[test]
    fn an_interval_around_one_decides_nothing() {
        let interval = Interval { low: 0.9, high: 1.1 };
        let undecided = "not distinguishable from plain decoding";
        assert_eq!(Ratio { value: 1.05, interval }.verdict(), undecided);
        let interval = Interval { low: f64::NAN, high: f64::NAN };
        assert_eq!(Ratio { value: 1.05, interval }.verdict(), undecided);
    }
}
