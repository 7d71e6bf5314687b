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
use crate::task::{Grading, Item, Task};

/// A decoder of the experiment.
pub(super) struct DecoderRunner<'p> {
    pub(super) plan: &'p DecoderPlan,
}

struct SeededItem<'t> {
    task: &'t Task,
    item: &'t Item,
    seed: u64,
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

impl DecoderRunner<'_> {
    /// Decodes or scores one item from new sessions: its result does not depend on earlier items.
    /// `None` if the user interrupted.
    pub(super) fn decode(
        &self,
        seed: u64,
        models: &Models,
        task: &Task,
        item: &Item,
    ) -> Result<Option<Record>> {
        let seed = item_seed(seed, &task.name, &item.id);
        let asked = SeededItem { task, item, seed };
        let before = self.counts(models);
        let start = Instant::now();
        let outcome = match task.grading {
            Grading::Speed | Grading::Answer(_) => self.converse(models, &asked)?,
            Grading::Options | Grading::RightMass => self.choose(models, &asked)?,
            Grading::Text => self.read(models, item)?,
        };
        let seconds = start.elapsed().as_secs_f64();
        if interrupt::requested() {
            return Ok(None);
        }
        let names = self.plan.kind.models().into_iter().map(str::to_owned);
        let passes = names.zip(self.counts(models).into_iter().zip(before));
        let passes = passes.map(|(name, (after, before))| {
            let (done, time) = (after.0 - before.0, after.1.saturating_sub(before.1));
            let seconds = Some(time.as_secs_f64());
            (name, Passes { passes: done.passes, tokens: done.tokens, seconds })
        });
        Ok(Some(Record { passes: passes.collect(), seconds, ..self.record(&asked, outcome) }))
    }

    /// Passes and time of each model so far.
    fn counts(&self, models: &Models) -> Vec<(Counts, Duration)> {
        let counted = |name: &str| &models[name].counted;
        let names = self.plan.kind.models().into_iter();
        names.map(counted).map(|model| (model.counts(), model.pass_time())).collect()
    }

    fn record(&self, asked: &SeededItem<'_>, outcome: ItemResult) -> Record {
        let SeededItem { task, item, seed } = *asked;
        let kind = &self.plan.kind;
        let ItemResult { tokens: made, steps, rounds, score, answer, .. } = outcome;
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
            spans: outcome.spans,
            stop: outcome.stop,
            prompt_tokens: outcome.prompt_tokens,
            new_tokens: score.as_ref().map_or(made.len() as u64, |score| score.tokens),
            deferred_tokens: lazy.then(|| deferred(&made)),
            deferral_mass: mass.filter(|_| decides),
            acceptance: (written && kind.speculates()).then(|| Acceptance::of(&steps)),
            levels: LevelRecord::of(&rounds),
            origins: OriginCount::of(&made),
            scored: score.map(Score::record),
            remarks: outcome.remarks,
            ..Record::default()
        }
    }

    /// Writes a reply to each turn; the answer is extracted from the last one.
    fn converse(&self, models: &Models, asked: &SeededItem<'_>) -> Result<ItemResult> {
        let SeededItem { task, item, seed } = *asked;
        let kind = &self.plan.kind;
        let speaker = models::speaker(kind, models);
        let (mut outcome, mut replies) = (ItemResult::default(), Vec::new());
        for turn in 0..item.turns.len() {
            let conversation = task.conversation(item, &replies);
            let prompt = models::prompt_tokens(kind, models, &conversation)?;
            outcome.prompt_tokens += prompt.len() as u64;
            let Some(made) = self.generate(models, &prompt, turn_seed(seed, turn))? else {
                return Ok(ItemResult { stop: PROMPT_TOO_LONG.to_owned(), ..outcome });
            };
            outcome.spans.extend(spans(&made.tokens, speaker));
            let tokens: Vec<TokenId> = made.tokens.iter().map(|t| t.token).collect();
            replies.push(speaker.tokenizer.decode(&tokens, true)?.trim().to_owned());
            outcome.append(made);
            if interrupt::requested() {
                break;
            }
        }
        outcome.answer = replies.last().and_then(|reply| task.answer(item, reply));
        Ok(outcome)
    }

    /// Scores every option by the decoder's distribution.
    fn choose(&self, models: &Models, asked: &SeededItem<'_>) -> Result<ItemResult> {
        let (kind, item) = (&self.plan.kind, asked.item);
        let speaker = models::speaker(kind, models);
        let prompt = models::prompt(kind, models, &asked.task.conversation(item, &[]))?;
        let texts = models::continuations(&prompt, speaker, item)?;
        let mut predictor = self.predictor(models)?;
        let prompt_tokens = texts.shared as u64;
        let Some(score) = score::options(&mut *predictor, &texts)? else {
            return Ok(ItemResult { prompt_tokens, ..ItemResult::too_long() });
        };
        let answer = score.likeliest();
        Ok(ItemResult { prompt_tokens, answer, score: Some(score), ..ItemResult::stopped(SCORED) })
    }

    /// Scores the item's text by the decoder's distribution.
    fn read(&self, models: &Models, item: &Item) -> Result<ItemResult> {
        let speaker = models::speaker(&self.plan.kind, models);
        let mut predictor = self.predictor(models)?;
        let score = score::text(&mut *predictor, &item.prompt(), &speaker.tokenizer)?;
        Ok(ItemResult { score: Some(score), ..ItemResult::stopped(SCORED) })
    }

    fn predictor<'m>(&'m self, models: &'m Models) -> Result<Box<dyn Predictor + 'm>> {
        models::predictor(&self.plan.kind, &self.plan.sampling, models)
    }

    /// The continuation of a prompt; none if the prompt is longer than the context, which is no
    /// error: the item has no answer.
    fn generate(
        &self,
        models: &Models,
        prompt: &[TokenId],
        seed: u64,
    ) -> Result<Option<ItemResult>> {
        let (kind, plan) = (&self.plan.kind, &self.plan.sampling);
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
