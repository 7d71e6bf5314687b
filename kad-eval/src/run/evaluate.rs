//! Decodes or scores one item with one decoder.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use anyhow::Result;
use kad_core::decode::{Emitted, Generation, Limits, Origin, Round, Step, generate};
use kad_core::{Counts, DecodeError, Predictor, SampledChoices, TokenId};

use super::score::{self, Score};
use super::seed::item_seed;
use crate::config::{DecoderKind, DecoderPlan, Execution};
use crate::interrupt;
use crate::models::{self, Model, Models};
use crate::run::record::{Acceptance, LevelRecord, OriginCount, Passes, Record, Span, origin_name};
use crate::task::{Item, Task, TaskMode};

/// One item and the decoder that is run on it.
pub(super) struct ItemRun<'a> {
    pub(super) plan: &'a DecoderPlan,
    pub(super) models: &'a Models,
    pub(super) task: &'a Task,
    pub(super) item: &'a Item,
}

/// The result of an item, before passes and time are counted.
#[derive(Default)]
struct ItemResult {
    prompt_tokens: u64,
    tokens: Vec<Emitted>,
    steps: Vec<Step>,
    rounds: Vec<Round>,
    stop: String,
    remarks: Vec<String>,
    /// Score of options or of a given text; `None` for generated texts.
    score: Option<Score>,
    answer: Option<String>,
    spans: Vec<Span>,
}

impl ItemRun<'_> {
    /// Decodes or scores the item from new sessions: its result does not depend on earlier items.
    /// `seed` is the experiment's. `None` if the user interrupted.
    pub(super) fn decode(&self, seed: u64) -> Result<Option<Record>> {
        let seed = item_seed(seed, &self.task.name, &self.item.id);
        let before = self.counts();
        let start = Instant::now();
        let result = match self.task.grading.mode() {
            TaskMode::Generate => self.converse(seed)?,
            TaskMode::Options => self.choose()?,
            TaskMode::Text => self.read()?,
        };
        let seconds = start.elapsed().as_secs_f64();
        if interrupt::requested() {
            return Ok(None);
        }
        let names = self.plan.kind.models().into_iter().map(str::to_owned);
        let passes = names.zip(self.counts().into_iter().zip(before));
        let passes = passes.map(|(name, (after, before))| {
            let (done, time) = (after.0 - before.0, after.1.saturating_sub(before.1));
            let seconds = Some(time.as_secs_f64());
            (name, Passes { passes: done.passes, tokens: done.tokens, seconds })
        });
        Ok(Some(Record { passes: passes.collect(), seconds, ..self.record(seed, result) }))
    }

    /// Passes and time of each model so far.
    fn counts(&self) -> Vec<(Counts, Duration)> {
        let counted = |name: &str| &self.models[name].counted;
        let names = self.plan.kind.models().into_iter();
        names.map(counted).map(|model| (model.counts(), model.pass_time())).collect()
    }

    fn record(&self, seed: u64, result: ItemResult) -> Record {
        let Self { task, item, .. } = *self;
        let kind = &self.plan.kind;
        let ItemResult { tokens: made, steps, rounds, score, answer, .. } = result;
        let decides = matches!(kind.distribution(), DecoderKind::Deferral { .. });
        let written = score.is_none();
        let mass = match &score {
            Some(score) => score.deferral_mass,
            // An empty sum is −0; adding 0 makes it 0.
            None => made.iter().map(|t| t.deferral_mass).sum::<Option<f64>>().map(|sum| sum + 0.0),
        };
        // Only lazy decoding draws each token from one of the two models.
        let lazy = written && kind.execution() == Some(Execution::Lazy);
        Record {
            decoder: self.plan.name.clone(),
            task: task.name.clone(),
            item: item.id.clone(),
            seed,
            gold: item.gold.clone(),
            correct: task.is_right(item, answer.as_deref()),
            answer,
            points: score.as_ref().and_then(|score| score.points(task, item)),
            group: item.group.clone(),
            tokens: made.iter().map(|t| t.token).collect(),
            spans: result.spans,
            stop: result.stop,
            prompt_tokens: result.prompt_tokens,
            new_tokens: score.as_ref().map_or(made.len() as u64, |score| score.tokens),
            deferred_tokens: lazy.then(|| deferred(&made)),
            deferral_mass: mass.filter(|_| decides),
            acceptance: (written && kind.speculates()).then(|| Acceptance::of(&steps)),
            levels: LevelRecord::of(&rounds),
            origins: OriginCount::of(&made),
            scored: score.map(Score::record),
            remarks: result.remarks,
            ..Record::default()
        }
    }

    /// Writes a reply to each turn; the answer is extracted from the last one.
    fn converse(&self, seed: u64) -> Result<ItemResult> {
        let Self { models, task, item, .. } = *self;
        let kind = &self.plan.kind;
        let speaker = models::speaker(kind, models);
        let (mut result, mut replies) = (ItemResult::default(), Vec::new());
        for turn in 0..item.turns.len() {
            let conversation = task.conversation(item, &replies);
            let prompt = models::prompt_tokens(kind, models, &conversation)?;
            result.prompt_tokens += prompt.len() as u64;
            let Some(made) = self.generate(&prompt, turn_seed(seed, turn))? else {
                return Ok(ItemResult { stop: PROMPT_TOO_LONG.to_owned(), ..result });
            };
            result.spans.extend(spans(&made.tokens, speaker));
            let tokens: Vec<TokenId> = made.tokens.iter().map(|t| t.token).collect();
            replies.push(speaker.tokenizer.decode(&tokens, true)?.trim().to_owned());
            result.append(made);
            if interrupt::requested() {
                break;
            }
        }
        result.answer = replies.last().and_then(|reply| task.answer(item, reply));
        Ok(result)
    }

    /// Scores every option by the decoder's distribution.
    fn choose(&self) -> Result<ItemResult> {
        let Self { models, task, item, .. } = *self;
        let kind = &self.plan.kind;
        let speaker = models::speaker(kind, models);
        let prompt = models::prompt(kind, models, &task.conversation(item, &[]))?;
        let texts = models::continuations(&prompt, speaker, item)?;
        let mut predictor = self.predictor()?;
        let prompt_tokens = texts.shared as u64;
        let Some(score) = score::options(&mut *predictor, &texts)? else {
            return Ok(ItemResult { prompt_tokens, ..ItemResult::too_long() });
        };
        let answer = score.likeliest();
        Ok(ItemResult { prompt_tokens, answer, score: Some(score), ..ItemResult::stopped(SCORED) })
    }

    /// Scores the item's text by the decoder's distribution.
    fn read(&self) -> Result<ItemResult> {
        let speaker = models::speaker(&self.plan.kind, self.models);
        let mut predictor = self.predictor()?;
        let score = score::text(&mut *predictor, &self.item.prompt(), &speaker.tokenizer)?;
        Ok(ItemResult { score: Some(score), ..ItemResult::stopped(SCORED) })
    }

    fn predictor(&self) -> Result<Box<dyn Predictor + '_>> {
        models::predictor(&self.plan.kind, &self.plan.sampling, self.models)
    }

    /// The continuation of a prompt; none if the prompt is longer than the context, which is no
    /// error: the item has no answer.
    fn generate(&self, prompt: &[TokenId], seed: u64) -> Result<Option<ItemResult>> {
        let (kind, plan, models) = (&self.plan.kind, &self.plan.sampling, self.models);
        let eos = models::eos(kind, models, plan);
        let limits = Limits { max_new_tokens: plan.max_new_tokens as usize, eos };
        let mut decoder = models::decoder(kind, plan, models)?;
        let mut choices = SampledChoices::seeded(seed);
        let mut observe = |_: &Emitted| match interrupt::requested() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        };
        match generate(&mut *decoder, prompt, &limits, &mut choices, &mut observe) {
            Ok(Generation { tokens, steps, rounds, stop }) => {
                let (stop, remarks) = (stop.to_string(), decoder.remarks());
                let made =
                    ItemResult { tokens, steps, rounds, stop, remarks, ..Default::default() };
                Ok(Some(made))
            }
            Err(DecodeError::PromptTooLong { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// `stop` of an item whose prompt is longer than the context.
pub(crate) const PROMPT_TOO_LONG: &str = "prompt_too_long";

/// `stop` of an item that is scored.
const SCORED: &str = "scored";

impl ItemResult {
    fn stopped(stop: &str) -> Self {
        Self { stop: stop.to_owned(), ..Self::default() }
    }

    /// An item without an answer, because it does not fit the context.
    fn too_long() -> Self {
        Self { score: Some(Score::nothing()), ..Self::stopped(PROMPT_TOO_LONG) }
    }

    /// Adds the reply to the next turn.
    fn append(&mut self, next: Self) {
        self.tokens.extend(next.tokens);
        self.steps.extend(next.steps);
        self.rounds.extend(next.rounds);
        self.stop = next.stop;
        self.remarks.extend(next.remarks);
    }
}

/// Seed of a turn's draws. They must not depend on the number of draws of the turn before, which
/// differs between executions of one distribution.
fn turn_seed(seed: u64, turn: usize) -> u64 {
    seed.wrapping_add(turn as u64)
}

fn deferred(made: &[Emitted]) -> u64 {
    made.iter().filter(|t| t.origin == Origin::Deferred).count() as u64
}

/// The text, cut where origin or level changes. Special tokens are written out.
fn spans(made: &[Emitted], speaker: &Model) -> Vec<Span> {
    let mut stream = speaker.tokenizer.stream_with_special();
    let mut spans: Vec<Span> = Vec::new();
    for emitted in made {
        let (origin, level) = (origin_name(emitted.origin), emitted.level as u64);
        let text = stream.push(emitted.token);
        match spans.last_mut() {
            Some(span) if span.origin == origin && span.level == level => span.text.push_str(&text),
            _ => spans.push(Span { origin: origin.to_owned(), level, text }),
        }
    }
    let rest = stream.finish();
    if let Some(span) = spans.last_mut() {
        span.text.push_str(&rest);
    }
    spans
}
