//! `kad generate`: a prompt in, a stream of text out.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, IsTerminal, Read};
use std::ops::ControlFlow;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};
use kad_backends::{Message, TokenStream};
use kad_core::decode::{Decoder, Emitted, Generation, Limits, Origin, generate};
use kad_core::{DecodeError, SampledChoices, Sampling, TokenId};
use owo_colors::OwoColorize;
use serde_json::json;

use super::plan;
use crate::cli::{Drafting, GenerateArgs, Show, Way};
use crate::config::{DEFAULT_DRAFT_LENGTH, DecoderKind, DraftPart, Execution, SamplingPlan};
use crate::failure::Failure;
use crate::models::{self, Models, Rules, Settings};
use crate::output;
use crate::record::{Acceptance, origin_name};

pub(super) fn run(args: &GenerateArgs) -> Result<(), Failure> {
    let (sampling, decision) = sampling(args).map_err(Failure::Request)?;
    let prompt = prompt(args)?;
    let kind = kind(args).map_err(Failure::Request)?;
    let models = load(args, &kind)?;
    models::check_shared(&kind, &models)?;
    let rules = Rules::of(&kind)?;
    let eos = models::eos(&kind, &models);
    let settings = Settings { sampling, decision, eos: eos.clone() };
    let decoder = models::decoder(&kind, &models, &rules, &settings);
    let mut speaking = Speaking {
        args,
        kind: &kind,
        models: &models,
        decoder: decoder?,
        choices: SampledChoices::seeded(args.seed),
        limits: Limits { max_new_tokens: args.max_new_tokens as usize, eos },
    };
    match prompt {
        Some(prompt) => speaking.answer_once(&prompt),
        None => speaking.converse(),
    }
}

fn sampling(args: &GenerateArgs) -> Result<(Sampling, Sampling)> {
    if args.max_new_tokens == 0 {
        return Err(DecodeError::NothingAsked.into());
    }
    let plan = SamplingPlan {
        temperature: args.temperature,
        top_k: args.top_k,
        top_p: args.top_p,
        min_p: args.min_p,
        repetition_penalty: args.repetition_penalty,
        max_new_tokens: args.max_new_tokens,
        decision_temperature: args.decision_temperature.unwrap_or(1.0),
    };
    Ok((plan.sampling()?, plan.decision()?))
}

/// The prompt given or piped in; `None` for a conversation, line by line.
fn prompt(args: &GenerateArgs) -> Result<Option<String>, Failure> {
    let prompt = match &args.prompt {
        Some(prompt) => prompt.clone(),
        None if args.chat => return Ok(None),
        None => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("cannot read the prompt")?;
            // A line break that ends the input is the terminal's, not the prompt's.
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

/// Models are called by their roles.
///
/// # Errors
/// If flags contradict each other.
fn kind(args: &GenerateArgs) -> Result<DecoderKind> {
    let [base, small, aligned] = ["base", "small", "aligned"].map(str::to_owned);
    Ok(match &args.rule {
        Some(rule) => {
            let (rule, execution) = (rule.clone(), execution(args, Execution::Lazy)?);
            DecoderKind::Deferral { base, aligned, rule, execution }
        }
        None if args.small.is_some() => {
            if args.execution == Some(Way::Lazy) {
                bail!(
                    "--execution lazy does not go with --small: implicit reward needs all of its \
                     models for every token"
                );
            }
            let execution = execution(args, Execution::Autoregressive)?;
            DecoderKind::ImplicitReward { base, small, aligned, cap_log_ratio: None, execution }
        }
        None => DecoderKind::Single { model: "model".to_owned() },
    })
}

fn execution(args: &GenerateArgs, default: Execution) -> Result<Execution> {
    let drafting = [
        ("--draft-length", args.draft_length.is_some()),
        ("--drafter", args.drafter.is_some()),
        ("--no-bonus", args.no_bonus),
    ];
    let drafting = drafting.into_iter().find_map(|(flag, given)| given.then_some(flag));
    let plain = match args.execution {
        None if drafting.is_none() => Some(default),
        Some(Way::Autoregressive) => Some(Execution::Autoregressive),
        Some(Way::Lazy) => Some(Execution::Lazy),
        None | Some(Way::Speculative) => None,
    };
    match (plain, drafting) {
        (Some(plain), Some(flag)) => {
            bail!("{flag} is for --execution speculative, but {plain} was asked for")
        }
        (Some(plain), None) => Ok(plain),
        (None, _) => Ok(Execution::Speculative {
            draft_length: args.draft_length.unwrap_or(DEFAULT_DRAFT_LENGTH),
            bonus: !args.no_bonus,
            drafter: match args.drafter {
                Some(Drafting::Small) => DraftPart::Small,
                Some(Drafting::Aligned) | None => DraftPart::Aligned,
            },
        }),
    }
}

fn load(args: &GenerateArgs, kind: &DecoderKind) -> Result<Models> {
    let named = [
        ("model", &args.model),
        ("base", &args.base),
        ("small", &args.small),
        ("aligned", &args.aligned),
    ];
    let plans: BTreeMap<String, _> = named
        .into_iter()
        .filter_map(|(name, source)| Some((name.to_owned(), plan(source.as_ref()?, &args.engine))))
        .collect();
    models::load_all(&plans, std::iter::once(kind))
}

/// A decoder at work on one conversation. Its sessions keep what they have read.
struct Speaking<'m> {
    args: &'m GenerateArgs,
    kind: &'m DecoderKind,
    models: &'m Models,
    decoder: Box<dyn Decoder + 'm>,
    choices: SampledChoices<rand_chacha::ChaCha12Rng>,
    limits: Limits,
}

impl Speaking<'_> {
    fn answer_once(&mut self, prompt: &str) -> Result<(), Failure> {
        let tokens = if self.args.chat {
            models::chat_prompt(self.kind, self.models, &self.opening(prompt))?
        } else {
            let speaker = models::speaker(self.kind, self.models);
            speaker.tokenizer.encode(prompt, true).map_err(anyhow::Error::from)?
        };
        self.answer(&tokens)?;
        Ok(())
    }

    fn opening(&self, prompt: &str) -> Vec<Message> {
        let system = self.args.system.as_deref().map(Message::system);
        system.into_iter().chain([Message::user(prompt)]).collect()
    }

    /// Each line of stdin is a turn; the end of stdin ends the conversation.
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
                messages = self.opening(&line);
            } else {
                messages.push(Message::user(line));
            }
            let tokens = models::chat_prompt(self.kind, self.models, &messages)?;
            let text = self.answer(&tokens)?;
            messages.push(Message::assistant(text));
        }
        if turns == 0 {
            return Err(Failure::Request(anyhow!("the prompt is empty: nothing came on stdin")));
        }
        Ok(())
    }

    /// Streams one answer and returns its text without end tokens.
    fn answer(&mut self, prompt: &[TokenId]) -> Result<String, Failure> {
        let start = Instant::now();
        let passes_before = passes(self.models);
        let speaker = models::speaker(self.kind, self.models);
        let mut printer = Printer::new(self.args, speaker.tokenizer.stream());
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
        let execution = self.kind.execution();
        let speculative = matches!(execution, Some(Execution::Speculative { .. }));
        let object = json!({
            "text": text,
            "prompt_tokens": prompt,
            "tokens": made.tokens.iter().map(|t| t.token).collect::<Vec<_>>(),
            "origins": made.tokens.iter().map(|t| origin_name(t.origin)).collect::<Vec<_>>(),
            "deferral_mass": made.tokens.iter().map(|t| t.deferral_mass).collect::<Vec<_>>(),
            "execution": execution.map(|execution| execution.to_string()),
            "acceptance": speculative.then(|| Acceptance::of(&made.steps)),
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
        format!("{n} tokens in {:.2} s", timing.seconds),
        format!("first after {:.2} s", timing.first_token),
    ];
    if n > 1 {
        parts.push(format!("then {:.1} tokens/s", (n - 1) as f64 / decoding));
    }
    let deferred = made.tokens.iter().filter(|t| t.origin == Origin::Deferred).count();
    let masses: Option<f64> = made.tokens.iter().map(|t| t.deferral_mass).sum();
    let drafts = Acceptance::of(&made.steps);
    if let Some(mass) = masses {
        // Only lazy decoding draws the tokens of either model as such.
        let lazy = made.tokens.iter().any(|t| matches!(t.origin, Origin::Base | Origin::Deferred));
        let deferred = if lazy { format!("{deferred} deferred, ") } else { String::new() };
        parts.push(format!("{deferred}mean deferral mass {:.3}", mass / n as f64));
    }
    if drafts.drafts() > 0 {
        let Acceptance { drafted, accepted, .. } = drafts;
        parts.push(format!("{accepted} of {drafted} drafted tokens accepted"));
    }
    let passes: Vec<String> = passes.iter().map(|(name, n)| format!("{name} {n}")).collect();
    parts.push(format!("passes: {}", passes.join(", ")));
    parts.push(format!("stop: {}", made.stop));
    parts.join("; ")
}

/// Shows tokens as they come.
struct Printer<'a> {
    args: &'a GenerateArgs,
    stream: TokenStream<'a>,
    text: String,
    /// What has been shown, for the legend.
    seen: BTreeSet<Origin>,
}

impl<'a> Printer<'a> {
    fn new(args: &'a GenerateArgs, stream: TokenStream<'a>) -> Self {
        Self { args, stream, text: String::new(), seen: BTreeSet::new() }
    }

    fn show(&mut self, emitted: &Emitted, ends: bool) -> Result<()> {
        if ends {
            return Ok(());
        }
        self.seen.insert(emitted.origin);
        let piece = self.stream.push(emitted.token);
        self.text.push_str(&piece);
        if self.args.json {
            return Ok(());
        }
        let shown = match (self.args.show, emitted.origin) {
            (Some(Show::Provenance), origin) => mark(&piece, origin),
            _ => piece,
        };
        Ok(output::print(&shown)?)
    }

    fn finish(mut self) -> Result<String> {
        let rest = self.stream.finish();
        self.text.push_str(&rest);
        if !self.args.json {
            output::line(&rest)?;
            if self.args.show == Some(Show::Provenance) {
                let legend = self.seen.iter().map(|&origin| mark(meaning(origin), origin));
                output::note(&format!("legend: {}", legend.collect::<Vec<_>>().join(", ")));
            }
        }
        Ok(self.text)
    }
}

/// What the mark of an origin means.
fn meaning(origin: Origin) -> &'static str {
    match origin {
        Origin::Base => "kept from base",
        Origin::Deferred => "deferred to aligned",
        Origin::Drafted => "drafted and accepted",
        Origin::Corrected => "corrected",
        Origin::Bonus => "bonus",
        _ => "drawn from the whole law",
    }
}

/// A piece of text as its origin is shown: coloured where stdout has colours, else in brackets.
fn mark(piece: &str, origin: Origin) -> String {
    let plain = anstream::AutoStream::choice(&std::io::stdout()) == anstream::ColorChoice::Never;
    match (origin, plain) {
        (Origin::Deferred, true) => format!("[{piece}]"),
        (Origin::Deferred, false) => piece.green().underline().to_string(),
        (Origin::Drafted, true) => format!("({piece})"),
        (Origin::Drafted, false) => piece.cyan().to_string(),
        (Origin::Corrected, true) => format!("[{piece}]"),
        (Origin::Corrected, false) => piece.yellow().underline().to_string(),
        (Origin::Bonus, true) => format!("{{{piece}}}"),
        (Origin::Bonus, false) => piece.blue().to_string(),
        _ => piece.to_owned(),
    }
}
