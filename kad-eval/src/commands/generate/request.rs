//! The decoder to run, from flags or from an experiment file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Result, bail};
use kad_core::DecodeError;

use crate::cli::{DraftLevel, ExecutionMode, GenerateArgs, Show};
use crate::commands::plan;
use crate::config::{
    ChainPlan, DEFAULT_DRAFT_LENGTH, DecoderKind, DraftPart, DraftPlan, Execution, LevelPlan,
    Levels, ModelPlan, NamedDistribution, SamplingPlan, read_file,
};

/// A decoder, its models and its sampling settings.
pub(super) struct GenerateRequest {
    pub(super) kind: DecoderKind,
    pub(super) plans: BTreeMap<String, ModelPlan>,
    pub(super) sampling: SamplingPlan,
}

pub(super) fn read(args: &GenerateArgs) -> Result<GenerateRequest> {
    if args.sampling.max_new_tokens == Some(0) {
        return Err(DecodeError::NoTokensRequested.into());
    }
    let request = match (&args.experiment, &args.decoder) {
        (Some(file), Some(name)) => from_file(file, name, args)?,
        // clap does not report --decoder without --experiment where --model is given.
        (None, Some(name)) => {
            bail!("--decoder {name} is a decoder of an experiment: name its file with --experiment")
        }
        _ => from_flags(args)?,
    };
    if args.show == Some(Show::Provenance) && matches!(request.kind, DecoderKind::Single { .. }) {
        bail!(
            "--show provenance marks tokens by model, but a single model produces all of them: add \
             --draft to --model, or use two models"
        );
    }
    Ok(request)
}

fn from_file(file: &Path, name: &str, args: &GenerateArgs) -> Result<GenerateRequest> {
    let mut experiment = read_file(file, &[])?;
    let Some(plan) = experiment.decoders.iter().find(|plan| plan.name == name) else {
        let names: Vec<&str> = experiment.decoders.iter().map(|plan| plan.name.as_str()).collect();
        let shown = file.display();
        bail!("{shown} has no decoder `{name}`; it has: {}", names.join("; "));
    };
    let kind = plan.kind.clone();
    let mut used: BTreeSet<String> = kind.models().into_iter().map(str::to_owned).collect();
    let wholes = experiment.models.iter().filter(|(name, _)| used.contains(*name));
    let wholes: Vec<_> = wholes.filter_map(|(_, plan)| plan.early_exit.as_ref()).collect();
    used.extend(wholes.into_iter().map(|exit| exit.of.clone()));
    experiment.models.retain(|name, _| used.contains(name));
    let max_new_tokens = args.sampling.max_new_tokens.unwrap_or(plan.sampling.max_new_tokens);
    let sampling = SamplingPlan { max_new_tokens, ..plan.sampling.clone() };
    Ok(GenerateRequest { kind, plans: experiment.models, sampling })
}

fn from_flags(args: &GenerateArgs) -> Result<GenerateRequest> {
    let sampling = SamplingPlan {
        temperature: args.sampling.temperature,
        top_k: args.sampling.top_k,
        top_p: args.sampling.top_p,
        min_p: args.sampling.min_p,
        repetition_penalty: args.sampling.repetition_penalty,
        max_new_tokens: args
            .sampling
            .max_new_tokens
            .unwrap_or(SamplingPlan::default().max_new_tokens),
        decision_temperature: args.sampling.decision_temperature.unwrap_or(1.0),
        stop_at_end: true,
    };
    // Before a model is loaded.
    sampling.sampling()?;
    sampling.decision()?;
    let named = [
        ("model", &args.model),
        ("base", &args.base),
        ("small", &args.small),
        ("aligned", &args.aligned),
    ];
    let plans = named
        .into_iter()
        .filter_map(|(name, source)| Some((name.to_owned(), plan(source.as_ref()?, &args.engine))));
    let mut plans: BTreeMap<String, ModelPlan> = plans.collect();
    let target = composed(args)?;
    let kind = match &args.draft[..] {
        [] => target,
        drafts => chain(args, target, drafts, &sampling, &mut plans)?,
    };
    Ok(GenerateRequest { kind, plans, sampling })
}

/// A chain with the composed distribution as its target. Draft models that are already loaded are
/// shared; others are named by their sources.
fn chain(
    args: &GenerateArgs,
    target: DecoderKind,
    drafts: &[DraftLevel],
    sampling: &SamplingPlan,
    plans: &mut BTreeMap<String, ModelPlan>,
) -> Result<DecoderKind> {
    let mut levels = Vec::new();
    for (index, DraftLevel { source, lookup, length }) in drafts.iter().enumerate() {
        let draft = match (source, lookup) {
            (Some(source), _) => {
                let text = source.to_string();
                let known = plans.iter().find(|(_, plan)| plan.source == text);
                let name = known.map_or_else(|| text.clone(), |(name, _)| name.clone());
                plans.entry(name.clone()).or_insert_with(|| plan(source, &args.engine));
                let distribution = DecoderKind::Single { model: name.clone() };
                DraftPlan::Distribution(NamedDistribution::new(&name, distribution, sampling))
            }
            (None, Some(lookup)) if index + 1 == drafts.len() => DraftPlan::Lookup(*lookup),
            (None, _) => {
                bail!(
                    "--draft with a lookup must be the last one: a lookup has no distribution to verify with"
                )
            }
        };
        levels.push(LevelPlan::of(draft, length.unwrap_or(DEFAULT_DRAFT_LENGTH)));
    }
    let distribution = target.executed(Execution::Autoregressive);
    let target = NamedDistribution::new(&distribution.level_name(1), distribution, sampling);
    Ok(DecoderKind::Chain(ChainPlan { target, levels: Levels::listed(levels) }))
}

/// The distribution that the flags compose; models are named by their roles.
fn composed(args: &GenerateArgs) -> Result<DecoderKind> {
    let [base, small, aligned] = ["base", "small", "aligned"].map(str::to_owned);
    Ok(match &args.rule {
        Some(rule) => {
            let (rule, execution) = (rule.clone(), execution(args, Execution::Lazy)?);
            DecoderKind::Deferral { base, aligned, rule, execution }
        }
        None if args.small.is_some() => {
            if args.execution == Some(ExecutionMode::Lazy) {
                bail!(
                    "--execution lazy cannot be used with --small: implicit reward needs all of its \
                     models at every token"
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
        Some(ExecutionMode::Autoregressive) => Some(Execution::Autoregressive),
        Some(ExecutionMode::Lazy) => Some(Execution::Lazy),
        None | Some(ExecutionMode::Speculative) => None,
    };
    match (plain, drafting) {
        (Some(plain), Some(flag)) => {
            bail!("{flag} needs --execution speculative, but --execution is {plain}")
        }
        (Some(plain), None) => Ok(plain),
        (None, _) => Ok(Execution::Speculative {
            draft_length: args.draft_length.unwrap_or(DEFAULT_DRAFT_LENGTH),
            bonus: !args.no_bonus,
            drafter: args.drafter.unwrap_or(DraftPart::Aligned),
        }),
    }
}
