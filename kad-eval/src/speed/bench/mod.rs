//! What repeated measurements of several decoders on the same prompts say.

mod decode;
mod same_text;

use std::collections::BTreeMap;

use rand::RngExt;
use rand::SeedableRng;
use serde::Serialize;

use crate::analysis::stats::{CONFIDENCE, Interval};
use crate::config::{DecoderKind, SamplingPlan, plain_decoding, same_distribution};
use crate::speed::chain_ranking::RankedChain;
use crate::speed::timed_decoding::InPasses;

pub(crate) use self::decode::measure;

const RESAMPLES: usize = 4000;

/// Of the resamples: the same measurements always give the same intervals.
const SEED: u64 = 1;

/// A decoder to be measured.
pub(crate) struct BenchDecoder {
    pub(crate) name: String,
    pub(crate) kind: DecoderKind,
    pub(crate) sampling: SamplingPlan,
    pub(crate) predicted: Option<RankedChain>,
}

impl BenchDecoder {
    /// Whether its tokens have the distribution of `other`'s.
    fn same_distribution(&self, other: &Self) -> bool {
        let lenient = |one: &Self| match &one.kind {
            DecoderKind::Chain(chain) => chain.leniency().is_some(),
            _ => false,
        };
        let same =
            plain_decoding(self.kind.distribution()) == plain_decoding(other.kind.distribution());
        same && same_distribution(&self.sampling, &other.sampling)
            && !lenient(self)
            && !lenient(other)
    }
}

/// How much is decoded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BenchSettings {
    /// The most new tokens of a text.
    pub(crate) tokens: usize,
    /// Texts of each prompt and decoder.
    pub(crate) reps: usize,
}

/// One text, without the step that read its prompt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Text {
    pub(crate) seconds: f64,
    /// Of these, seconds in passes.
    pub(crate) passing: f64,
    pub(crate) tokens: f64,
    /// Seconds of the step that read the prompt.
    pub(crate) first: f64,
}

/// All texts of one decoder, `[prompts][repetitions]`.
pub(crate) type Texts = Vec<Vec<Text>>;

/// One decoder, measured and predicted.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct BenchResult {
    pub(crate) name: String,
    /// What its tokens are distributed as.
    pub(crate) distribution: String,
    /// Whether the baseline's are distributed likewise.
    pub(crate) distribution_of_baseline: bool,
    /// What the profile expects.
    pub(crate) predicted: Option<RankedChain>,
    pub(crate) milliseconds_per_token: f64,
    pub(crate) interval: Interval,
    pub(crate) tokens_per_second: f64,
    /// Predicted over measured time; its interval is the measurement's.
    pub(crate) predicted_over_measured: Option<Estimate>,
    /// Lemma 3.1 of arXiv 2510.26527 over measured time.
    pub(crate) lemma_over_measured: Option<f64>,
    /// The baseline's time over this one's, prompt by prompt; None for the baseline.
    pub(crate) speedup: Option<Estimate>,
    /// Percent of the time that was spent outside of passes.
    pub(crate) overhead_percent: f64,
    /// Milliseconds per token in the passes of each model.
    pub(crate) passes: BTreeMap<String, f64>,
    /// Passes of each model per token.
    pub(crate) passes_per_token: BTreeMap<String, f64>,
    /// Mean milliseconds of the step that reads the prompt.
    pub(crate) first_milliseconds: f64,
    pub(crate) tokens: u64,
    /// For decoders whose texts must be the baseline's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) same_text: Option<SameText>,
    pub(crate) texts: Texts,
}

/// How many texts are the baseline's, token for token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct SameText {
    pub(crate) equal: usize,
    pub(crate) of: usize,
    pub(crate) first_difference: Option<Difference>,
}

/// Where two texts part; prompts, repetitions and tokens count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Difference {
    pub(crate) prompt: usize,
    pub(crate) repetition: usize,
    pub(crate) token: usize,
    /// How far the target's two best logits are apart there, by a pass over the whole text.
    pub(crate) gap: Option<f64>,
}

impl std::fmt::Display for SameText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {} texts are the baseline's, token for token", self.equal, self.of)?;
        let Some(Difference { prompt, repetition, token, gap }) = self.first_difference else {
            return Ok(());
        };
        write!(f, "; the first other: prompt {prompt}, repetition {repetition}, token {token}")?;
        match gap {
            Some(gap) => write!(f, ", where the two best logits are {gap:.2e} apart"),
            None => Ok(()),
        }
    }
}

/// A number with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Estimate {
    pub(crate) value: f64,
    pub(crate) interval: Interval,
}

/// Everything there is to say about these texts; `baseline` are those of plain decoding, None if
/// they are themselves.
pub(crate) fn result(
    name: String,
    predicted: Option<RankedChain>,
    texts: Texts,
    baseline: Option<&Texts>,
) -> BenchResult {
    let sum = |of: fn(&Text) -> f64| texts.iter().flatten().map(of).sum::<f64>();
    let (seconds, tokens) = (sum(|text| text.seconds), sum(|text| text.tokens));
    let milliseconds = 1e3 * seconds / tokens;
    let interval = resampled(&texts, |picked| 1e3 * rate(&texts, picked));
    let over = |predicted: f64| Estimate {
        value: predicted / milliseconds,
        interval: Interval { low: predicted / interval.high, high: predicted / interval.low },
    };
    let speedup = baseline.map(|baseline| Estimate {
        value: rate(baseline, &all(baseline)) / (seconds / tokens),
        interval: resampled(&texts, |picked| rate(baseline, picked) / rate(&texts, picked)),
    });
    let count = texts.iter().flatten().count() as f64;
    BenchResult {
        name,
        milliseconds_per_token: milliseconds,
        interval,
        tokens_per_second: tokens / seconds,
        predicted_over_measured: predicted.as_ref().map(|p| over(p.milliseconds_per_token)),
        lemma_over_measured: predicted
            .as_ref()
            .map(|p| p.lemma_milliseconds_per_token / milliseconds),
        predicted,
        speedup,
        overhead_percent: 100.0 * (1.0 - sum(|text| text.passing) / seconds),
        distribution: String::new(),
        distribution_of_baseline: true,
        passes: BTreeMap::new(),
        passes_per_token: BTreeMap::new(),
        first_milliseconds: 1e3 * sum(|text| text.first) / count,
        tokens: tokens as u64,
        same_text: None,
        texts,
    }
}

impl BenchResult {
    /// Names the distribution, says whether it is the baseline's, and shares the time in passes and
    /// their number out among models as `models` are.
    pub(crate) fn with(
        mut self,
        distribution: String,
        distribution_of_baseline: bool,
        models: &BTreeMap<String, InPasses>,
    ) -> Self {
        let passing = self.milliseconds_per_token * (1.0 - self.overhead_percent / 100.0);
        let all: f64 = models.values().map(|own| own.seconds).sum();
        let share = |own: f64| if all > 0.0 { passing * own / all } else { 0.0 };
        let each = |of: &dyn Fn(&InPasses) -> f64| -> BTreeMap<String, f64> {
            models.iter().map(|(model, own)| (model.clone(), of(own))).collect()
        };
        self.passes = each(&|own| share(own.seconds));
        self.passes_per_token = each(&|own| own.passes as f64 / self.tokens as f64);
        self.distribution = distribution;
        self.distribution_of_baseline = distribution_of_baseline;
        self
    }

    /// What the speed-up says; of another distribution than the baseline's nothing about plain
    /// decoding.
    pub(crate) fn verdict(&self) -> &'static str {
        match &self.speedup {
            None => "baseline",
            Some(_) if !self.distribution_of_baseline => {
                "another distribution than the baseline's: not comparable"
            }
            Some(_) if self.texts.len() < 2 => "one prompt says nothing about others",
            Some(speedup) => verdict(speedup),
        }
    }
}

/// Which repetition of which prompt.
type Pick = (usize, usize);

fn all(texts: &Texts) -> Vec<Pick> {
    let repetitions = |prompt: usize| (0..texts[prompt].len()).map(move |rep| (prompt, rep));
    (0..texts.len()).flat_map(repetitions).collect()
}

/// Seconds per token of the picked texts.
fn rate(texts: &Texts, picked: &[Pick]) -> f64 {
    let (mut seconds, mut tokens) = (0.0, 0.0);
    for &(prompt, rep) in picked {
        seconds += texts[prompt][rep].seconds;
        tokens += texts[prompt][rep].tokens;
    }
    seconds / tokens
}

/// The middle 95 % of `statistic` over resamples in two stages: prompts, and for each of them its
/// repetitions (Efron and Tibshirani 1993, chapter 8). Texts of one prompt are alike, so that
/// repetitions do not count as prompts. A statistic of several decoders sees the same picks of
/// each.
fn resampled(texts: &Texts, statistic: impl Fn(&[Pick]) -> f64) -> Interval {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(SEED);
    let mut values: Vec<f64> = Vec::with_capacity(RESAMPLES);
    let mut picked = Vec::new();
    for _ in 0..RESAMPLES {
        picked.clear();
        for _ in 0..texts.len() {
            let prompt = rng.random_range(0..texts.len());
            let reps = texts[prompt].len();
            picked.extend((0..reps).map(|_| (prompt, rng.random_range(0..reps))));
        }
        values.push(statistic(&picked));
    }
    values.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let index = ((RESAMPLES - 1) as f64 * share).round() as usize;
        values.get(index).copied().unwrap_or(f64::NAN)
    };
    Interval { low: at(0.5 - CONFIDENCE / 2.0), high: at(0.5 + CONFIDENCE / 2.0) }
}

/// What a speed-up says.
fn verdict(speedup: &Estimate) -> &'static str {
    let Interval { low, high } = speedup.interval;
    // Written so that NaN decides nothing.
    if low > 1.0 {
        "faster than plain decoding"
    } else if high < 1.0 {
        "slower than plain decoding: a loss"
    } else {
        "not distinguishable from plain decoding"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(seconds: f64, tokens: f64) -> Text {
        Text { seconds, passing: 0.75 * seconds, tokens, first: 0.5 }
    }

    /// `[prompts][2]`, different enough for a spread.
    fn texts(prompts: usize, scale: f64) -> Texts {
        let rep = |prompt: usize, rep: usize| {
            let seconds = scale * (1.0 + 0.3 * (prompt % 7) as f64 + 0.1 * rep as f64);
            text(seconds, 10.0)
        };
        (0..prompts).map(|prompt| (0..2).map(|r| rep(prompt, r)).collect()).collect()
    }

    #[test]
    fn sums_by_hand() {
        let texts = vec![vec![text(1.0, 10.0), text(2.0, 10.0)], vec![text(3.0, 40.0)]];
        let found = result("a".to_owned(), None, texts, None);
        assert_eq!((found.milliseconds_per_token, found.tokens_per_second), (100.0, 10.0));
        assert_eq!((found.overhead_percent, found.first_milliseconds), (25.0, 500.0));
        assert_eq!((found.tokens, found.speedup), (60, None));
    }

    #[test]
    fn passes_and_overhead_add_up_to_the_time() {
        let own = |passes, seconds| InPasses { passes, seconds };
        let models = BTreeMap::from([
            ("large".to_owned(), own(15, 6.0)),
            ("small".to_owned(), own(30, 2.0)),
        ]);
        let found =
            result("a".to_owned(), None, texts(3, 1.0), None).with("x".to_owned(), true, &models);
        let total = found.milliseconds_per_token;
        let passes: f64 = found.passes.values().sum();
        assert!((passes + total * found.overhead_percent / 100.0 - total).abs() < 1e-9);
        assert!((found.passes["large"] - 3.0 * found.passes["small"]).abs() < 1e-9);
        // Three prompts, two repetitions, ten tokens.
        assert_eq!((found.passes_per_token["large"], found.passes_per_token["small"]), (0.25, 0.5));
        let none = BTreeMap::from([("large".to_owned(), own(0, 0.0))]);
        let found =
            result("a".to_owned(), None, texts(3, 1.0), None).with("x".to_owned(), true, &none);
        assert_eq!(found.passes["large"], 0.0);
    }

    /// Twice the time of the same texts is a speed-up of exactly 2: pairs are resampled together.
    #[test]
    fn speed_ups_are_paired() {
        let (slow, fast) = (texts(20, 2.0), texts(20, 1.0));
        let found = result("fast".to_owned(), None, fast, Some(&slow)).speedup.unwrap();
        for value in [found.value, found.interval.low, found.interval.high] {
            assert!((value - 2.0).abs() < 1e-12, "{found:?}");
        }
        assert_eq!(verdict(&found), "faster than plain decoding");
        let one = result("one".to_owned(), None, texts(1, 1.0), Some(&texts(1, 2.0)));
        assert_eq!(one.verdict(), "one prompt says nothing about others");
        let other = result("other".to_owned(), None, texts(20, 1.0), Some(&slow));
        assert_eq!(other.verdict(), "faster than plain decoding");
        let other = other.with("x".to_owned(), false, &BTreeMap::new());
        assert!(other.verdict().contains("another distribution"), "{other:?}");
        let found = result("slow".to_owned(), None, slow, Some(&texts(20, 1.0))).speedup.unwrap();
        assert_eq!(verdict(&found), "slower than plain decoding: a loss");
    }

    /// The variance of the mean of n clusters: half width 1.96 σ / √n for equal repetitions, as if
    /// they were one (n = 280, 4,000 resamples: 5 % of the width is three standard errors of its
    /// ends). Resampling the texts one by one would give 1/√2 of it.
    #[test]
    fn repetitions_of_a_prompt_are_no_new_prompts() {
        let rep = |prompt: usize| text(1.0 + 0.3 * (prompt % 7) as f64, 10.0);
        let same: Texts = (0..280).map(|prompt| vec![rep(prompt); 2]).collect();
        let found = result("a".to_owned(), None, same, None);
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
        assert_eq!(verdict(&Estimate { value: 1.05, interval }), undecided);
        let interval = Interval { low: f64::NAN, high: f64::NAN };
        assert_eq!(verdict(&Estimate { value: 1.05, interval }), undecided);
    }
}
