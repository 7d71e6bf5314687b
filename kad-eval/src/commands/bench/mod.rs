//! `kad bench`: chains against their prediction and against plain decoding.

mod show;

use std::path::Path;

use anyhow::{Context, Result, bail};

use super::speed;
use crate::cli::BenchArgs;
use crate::config::{
    ChainPlan, DecoderKind, Experiment, Levels, SamplingPlan, plain_decoding, same_distribution,
};
use crate::failure::{Failure, WrongRequest};
use crate::interrupt;
use crate::models::{self, Models};
use crate::output;
use crate::speed::bench::{self, BenchDecoder, BenchSettings};
use crate::speed::chain_ranking::{ChainRanking, RankedChain, RankingRequest, ReplayRange};
use crate::speed::planned_levels::{list_planned, predicted};
use crate::speed::profile::{About, Profile, ProfileTargets, listed};

pub(super) fn run(args: &BenchArgs) -> Result<(), Failure> {
    let mut experiment = speed::experiment(&args.file).map_err(Failure::Request)?;
    if let Some(path) = &args.html {
        speed::check_writable(path, "page", "--html")?;
    }
    let profile = args.profile.as_deref().map(Profile::read).transpose()?;
    let profiled = profile.as_ref().map_or(0, |profile| profile.effort.prompts);
    let (prompts, which) =
        speed::unseen(&experiment, args.data.place().as_deref(), profiled, args.prompts)?;
    interrupt::listen()?;
    let (targets, models) = load(args, &mut experiment)?;
    if let Some(profile) = &profile {
        check_fresh(args, profile, &experiment, &models)?;
    }
    if args.decoders.is_some() {
        for plan in &mut experiment.decoders {
            list_planned(&mut plan.kind, &models, Some(&experiment.tasks))
                .with_context(|| format!("decoder `{}`", plan.name))?;
        }
    }
    if let Some(profile) = profile.as_ref().filter(|profile| profile.effort.tokens < args.tokens) {
        output::note(&format!(
            "note: the profile's texts have up to {} tokens, and times are predicted for texts like these; \
             make it with `kad profile --tokens {}` for longer ones",
            profile.effort.tokens, args.tokens
        ));
    }
    let decoders = match (&args.decoders, &profile) {
        (Some(names), _) => named(args, names, &experiment, profile.as_ref())?,
        (None, Some(profile)) => planned(args, profile, &targets)?,
        (None, None) => {
            let message = "name decoders with `--decoders`, or a profile with `--profile`";
            return Err(Failure::request(anyhow::anyhow!(message)));
        }
    };
    for decoder in &decoders {
        models::check_shared(&decoder.kind, &models)
            .with_context(|| format!("decoder `{}`", decoder.name))?;
    }
    let settings = BenchSettings { tokens: args.tokens, reps: args.reps };
    let Some(results) = bench::measure(settings, decoders, &models, &prompts)? else {
        let message = "interrupted: a comparison of unequal parts would say nothing";
        return Err(Failure::Interrupted(message.to_owned()));
    };
    let text = show::text(args, &experiment.name, &results, &which)?;
    if let Some(path) = &args.html {
        let page = show::page(args, &experiment.name, &results, &which, profile.as_ref())?;
        std::fs::write(path, page)
            .with_context(|| format!("cannot write the page {}", path.display()))?;
    }
    output::line(&text)?;
    Ok(())
}

/// What can be measured, and the models that it takes.
fn load(args: &BenchArgs, experiment: &mut Experiment) -> Result<(ProfileTargets, Models)> {
    let all = experiment.decoders.iter();
    let kinds: Vec<DecoderKind> = match &args.decoders {
        Some(names) => {
            let wanted = listed(names, "decoder", &decoder_names(experiment))?;
            all.filter(|plan| wanted.contains(&plan.name)).map(|plan| plan.kind.clone()).collect()
        }
        None => {
            let targets = ProfileTargets::of(experiment, None)?;
            all.map(|plan| &plan.kind).chain(targets.kinds()).cloned().collect()
        }
    };
    let (models, _) = models::load_for(experiment, &kinds)?;
    Ok((ProfileTargets::of(experiment, None)?, models))
}

fn decoder_names(experiment: &Experiment) -> Vec<&str> {
    experiment.decoders.iter().map(|plan| plan.name.as_str()).collect()
}

/// Refuses a profile of something else.
fn check_fresh(
    args: &BenchArgs,
    profile: &Profile,
    experiment: &Experiment,
    models: &Models,
) -> Result<()> {
    let path = args.profile.as_deref().unwrap_or(Path::new("profile.json"));
    let file = args.file.display().to_string();
    profile.check_fresh(path, &file, &About::now(&experiment.sampling, models))?;
    profile.check_tasks(path, &file, &experiment.tasks)
}

/// Plain decoding, the plan's best chain and its runner-up.
fn planned(
    args: &BenchArgs,
    profile: &Profile,
    targets: &ProfileTargets,
) -> Result<Vec<BenchDecoder>> {
    let ask = RankingRequest {
        target: args.target.clone(),
        drafters: None,
        max_levels: RankingRequest::MAX_LEVELS,
        max_length: RankingRequest::MAX_LENGTH,
        chains: 2,
    };
    let ranking = ChainRanking::of(profile, &ask)?;
    let target = targets.part(&ranking.target)?;
    let kind = plain_decoding(&target.distribution).context("a chain is no target")?;
    let sampling = target.sampling.clone();
    let name = format!("{}, plain", target.name);
    let predicted = |chain: &RankedChain| {
        ChainRanking::chain(profile, &chain.members, &chain.lengths, true, timed(args))
    };
    let plain = predicted(&ranking.plain)?;
    let mut found = vec![BenchDecoder { name, kind, sampling: sampling.clone(), predicted: plain }];
    for chain in ranking.chains {
        let levels = targets.levels(profile, &chain.members, &chain.lengths)?;
        let kind = DecoderKind::Chain(ChainPlan {
            target: target.clone(),
            levels: Levels::Listed(levels),
        });
        let name = speed::in_words(&chain.members, &chain.lengths);
        let predicted = predicted(&chain)?;
        found.push(BenchDecoder { name, kind, sampling: sampling.clone(), predicted });
    }
    Ok(found)
}

/// The decoders named, after plain decoding of the first one's distribution if it is not among
/// them.
fn named(
    args: &BenchArgs,
    names: &str,
    experiment: &Experiment,
    profile: Option<&Profile>,
) -> Result<Vec<BenchDecoder>> {
    let wanted = listed(names, "decoder", &decoder_names(experiment))?;
    let expected = |kind: &DecoderKind, sampling: &SamplingPlan| match profile {
        Some(profile) => predicted(profile, kind, sampling, timed(args)),
        None => Ok(None),
    };
    let mut found = Vec::new();
    for plan in experiment.decoders.iter().filter(|plan| wanted.contains(&plan.name)) {
        found.push(BenchDecoder {
            name: plan.name.clone(),
            kind: plan.kind.clone(),
            sampling: plan.sampling.clone(),
            predicted: expected(&plan.kind, &plan.sampling)?,
        });
    }
    let Some(first) = found.first() else {
        bail!(WrongRequest("name at least one decoder".to_owned()));
    };
    let Some(baseline) = plain_decoding(first.kind.distribution()) else {
        bail!(WrongRequest(format!("`{}` has no distribution of its own", first.name)));
    };
    let sampling = first.sampling.clone();
    let same = |other: &BenchDecoder| {
        other.kind == baseline && same_distribution(&other.sampling, &sampling)
    };
    let place = found.iter().position(same);
    let baseline = match place {
        Some(place) => found.remove(place),
        None => BenchDecoder {
            name: "plain decoding".to_owned(),
            predicted: expected(&baseline, &sampling)?,
            sampling,
            kind: baseline,
        },
    };
    found.insert(0, baseline);
    Ok(found)
}

/// What is timed of each text: at most so many tokens, and not the step that reads the prompt.
fn timed(args: &BenchArgs) -> ReplayRange {
    ReplayRange { tokens: Some(args.tokens), first_rounds: false }
}
