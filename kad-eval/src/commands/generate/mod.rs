//! `kad generate`: streams the text after a prompt.

mod marked_text;
mod request;

use std::collections::BTreeMap;
use std::io::{BufRead, IsTerminal, Read};
use std::ops::ControlFlow;
use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use kad_backends::Message;
use kad_core::decode::{Decoder, Emitted, Generation, Limits, Origin, generate};
use kad_core::{SampledChoices, TokenId};
use serde_json::json;

use crate::cli::GenerateArgs;
use crate::commands::shared::{opening, prompt_tokens};
use crate::config::{DecoderKind, SamplingPlan, distribution_in_words};
use crate::failure::Failure;
use crate::models::{self, Models};
use crate::numbers::counted;
use crate::output;
use crate::run::record::{Acceptance, LevelRecord, origin_name};
use crate::speed::planned_levels;
use marked_text::Printer;
use request::GenerateRequest;

pub(super) fn run(args: &GenerateArgs) -> Result<(), Failure> {
    let GenerateRequest { mut kind, plans, sampling } =
        request::read(args).map_err(Failure::Request)?;
    let prompt = prompt(args)?;
    planned_levels::profile_of(&kind)?;
    let models = models::load_all(&plans, std::iter::once(&kind))?;
    models::check_shared(&kind, &models)?;
    planned_levels::list_planned(&mut kind, &models, None)?;
    let eos = models::eos(&kind, &models, &sampling);
    let decoder = models::decoder(&kind, &sampling, &models);
    let mut generator = Generator {
        args,
        kind: &kind,
        sampling: &sampling,
        models: &models,
        decoder: decoder?,
        choices: SampledChoices::seeded(args.sampling.seed),
        limits: Limits { max_new_tokens: sampling.max_new_tokens as usize, eos },
    };
    match prompt {
        Some(prompt) => generator.answer_once(&prompt),
        None => generator.converse(),
    }
}

/// The prompt from the arguments or stdin; `None` for a conversation.
fn prompt(args: &GenerateArgs) -> Result<Option<String>, Failure> {
    let prompt = match &args.prompt {
        Some(prompt) => prompt.clone(),
        None if args.chat => return Ok(None),
        None => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("cannot read the prompt")?;
            // The last line break ends the input, not the prompt.
            let line = text.strip_suffix('\n').unwrap_or(&text);
            line.strip_suffix('\r').unwrap_or(line).to_owned()
        }
    };
    if prompt.is_empty() {
        return Err(Failure::Request(anyhow!(
            "the prompt is empty: give one as PROMPT or on stdin"
        )));
    }
    Ok(Some(prompt))
}

/// A decoder that answers prompts; its sessions keep their KV caches between turns.
struct Generator<'m> {
    args: &'m GenerateArgs,
    kind: &'m DecoderKind,
    sampling: &'m SamplingPlan,
    models: &'m Models,
    decoder: Box<dyn Decoder + 'm>,
    choices: SampledChoices<rand_chacha::ChaCha12Rng>,
    limits: Limits,
}

impl Generator<'_> {
    fn answer_once(&mut self, prompt: &str) -> Result<(), Failure> {
        let asked = (self.args.chat, self.args.system.as_deref());
        let tokens = prompt_tokens((self.kind, self.models), asked, prompt)?;
        self.answer(&tokens)?;
        Ok(())
    }

    /// Answers each line of stdin as a user turn.
    fn converse(&mut self) -> Result<(), Failure> {
        let terminal = std::io::stdin().is_terminal();
        let mut messages: Vec<Message> = Vec::new();
        let mut turns = 0;
        if terminal {
            output::note("one line is one turn; end with Ctrl-D");
        }
        for line in std::io::stdin().lock().lines() {
            let line = line.context("cannot read stdin")?;
            if line.trim().is_empty() {
                continue;
            }
            turns += 1;
            if messages.is_empty() {
                messages = opening(self.args.system.as_deref(), &line);
            } else {
                messages.push(Message::user(line));
            }
            let tokens = models::chat_prompt(self.kind, self.models, &messages)?;
            let text = self.answer(&tokens)?;
            messages.push(Message::assistant(text));
        }
        if turns == 0 {
            return Err(Failure::Request(anyhow!("the prompt is empty: stdin has no text")));
        }
        Ok(())
    }

    /// Streams one reply and returns its text without end tokens.
    fn answer(&mut self, prompt: &[TokenId]) -> Result<String, Failure> {
        let start = Instant::now();
        let passes_before = passes(self.models);
        let speaker = models::speaker(self.kind, self.models);
        let mut printer = Printer::new(self.args, self.kind, speaker.tokenizer.stream());
        let eos = &self.limits.eos;
        let mut failed = None;
        let mut first_token = None;
        let mut observe = |emitted: &Emitted| {
            first_token.get_or_insert_with(|| start.elapsed().as_secs_f64());
            match printer.show(emitted, eos.contains(&emitted.token)) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            }
        };
        let made =
            generate(&mut *self.decoder, prompt, &self.limits, &mut self.choices, &mut observe)
                .map_err(anyhow::Error::from)?;
        if let Some(error) = failed {
            return Err(Failure::from(error));
        }
        let text = printer.finish()?;
        let seconds = start.elapsed().as_secs_f64();
        let done = passes(self.models).into_iter().zip(passes_before);
        let done: BTreeMap<&str, u64> =
            done.map(|((name, after), (_, before))| (name, after - before)).collect();
        let timing = Timing { seconds, first_token: first_token.unwrap_or(seconds) };
        if self.args.json {
            self.print_json(&text, prompt, &made, &done, timing)?;
        } else {
            output::note(&statistics(&made, &done, timing));
            self.decoder.remarks().iter().for_each(|remark| output::note(remark));
            if !self.kind.is_exact() {
                output::note(&distribution_in_words(self.kind, self.sampling));
            }
        }
        Ok(text)
    }

    fn print_json(
        &self,
        text: &str,
        prompt: &[TokenId],
        made: &Generation,
        passes: &BTreeMap<&str, u64>,
        timing: Timing,
    ) -> Result<(), Failure> {
        let object = json!({
            "text": text,
            "prompt_tokens": prompt,
            "tokens": made.tokens.iter().map(|t| t.token).collect::<Vec<_>>(),
            "origins": made.tokens.iter().map(|t| origin_name(t.origin)).collect::<Vec<_>>(),
            "levels": made.tokens.iter().map(|t| t.level).collect::<Vec<_>>(),
            "deferral_mass": made.tokens.iter().map(|t| t.deferral_mass).collect::<Vec<_>>(),
            "distribution": distribution_in_words(self.kind, self.sampling),
            "execution": self.kind.execution_in_words(),
            "acceptance": self.kind.speculates().then(|| Acceptance::of(&made.steps)),
            "rounds": LevelRecord::of(&made.rounds),
            "stop": made.stop.to_string(),
            "passes": passes,
            "seconds": timing.seconds,
            "seconds_to_first_token": timing.first_token,
        });
        Ok(output::line(&object.to_string())?)
    }
}

fn passes(models: &Models) -> Vec<(&str, u64)> {
    models.iter().map(|(name, model)| (name.as_str(), model.counted.counts().passes)).collect()
}

#[derive(Clone, Copy)]
struct Timing {
    seconds: f64,
    first_token: f64,
}

fn statistics(made: &Generation, passes: &BTreeMap<&str, u64>, timing: Timing) -> String {
    let n = made.tokens.len();
    let decoding = timing.seconds - timing.first_token;
    let mut parts = vec![
        format!("{} in {:.2} s", counted(n, "token"), timing.seconds),
        format!("first token after {:.2} s", timing.first_token),
    ];
    if n > 1 {
        parts.push(format!("then {:.1} tokens/s", (n - 1) as f64 / decoding));
    }
    let deferred = made.tokens.iter().filter(|t| t.origin == Origin::Deferred).count();
    let masses: Option<f64> = made.tokens.iter().map(|t| t.deferral_mass).sum();
    let drafts = Acceptance::of(&made.steps);
    if let Some(mass) = masses {
        // Only lazy decoding draws each token from one of the two models.
        let lazy = made.tokens.iter().any(|t| matches!(t.origin, Origin::Base | Origin::Deferred));
        let deferred = if lazy { format!("{deferred} deferred, ") } else { String::new() };
        parts.push(format!("{deferred}mean deferral mass {:.3}", mass / n as f64));
    }
    if drafts.drafts() > 0 {
        let Acceptance { drafted, accepted, .. } = drafts;
        parts.push(format!("{accepted} of {} accepted", counted(drafted, "drafted token")));
    }
    let passes: Vec<String> = passes.iter().map(|(name, n)| format!("{name} {n}")).collect();
    parts.push(format!("passes: {}", passes.join(", ")));
    parts.push(format!("stop: {}", made.stop));
    parts.join("; ")
}
