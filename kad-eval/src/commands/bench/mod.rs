//! `kad bench`: chains compared with their prediction and with plain decoding.

mod result_text;

use anyhow::{Context, Result, bail};

use super::shared;
use crate::cli::BenchArgs;
use crate::config::{
    ChainPlan, DecoderKind, Experiment, Levels, SamplingPlan, plain_decoding, read_file,
    same_distribution,
};
use crate::failure::{Failure, WrongRequest};
use crate::files;
use crate::interrupt;
use crate::models::{self, Models};
use crate::numbers::counted;
use crate::output;
use crate::speed::bench::{self, BenchDecoder, BenchSettings};
use crate::speed::chain_ranking::{ChainRanking, RankingRequest, ReplayRange};
use crate::speed::planned_levels::{list_planned, predicted};
use crate::speed::profile::{Profile, ProfileConditions, ProfileTargets, Prompts, listed};

pub(super) fn run(args: &BenchArgs) -> Result<(), Failure> {
    let mut experiment = read_file(&args.file, &[]).map_err(Failure::Request)?;
    if let Some(path) = &args.html {
        shared::check_writable(path, "page", "--html")?;
    }
    let profile = args.profile.as_deref().map(Profile::read).transpose()?;
    let profiled = profile.as_ref().map_or(0, |profile| profile.settings.prompts);
    let data = args.data.place();
    let (prompts, which) = Prompts::held_out(&experiment, data.as_deref(), profiled, args.prompts)?;
    interrupt::listen()?;
    let (targets, models) = load(args, &mut experiment)?;
    if let (Some(profile), Some(path)) = (&profile, &args.profile) {
        let now = ProfileConditions::now(&experiment.sampling, &models);
        let file = args.file.display().to_string();
        profile.check(path, &file, &now, Some(&experiment.tasks))?;
    }
    if args.decoders.is_some() {
        for plan in &mut experiment.decoders {
            list_planned(&mut plan.kind, &models, Some(&experiment.tasks))
                .with_context(|| format!("decoder `{}`", plan.name))?;
        }
    }
    if let Some(profile) = profile.as_ref().filter(|profile| profile.settings.tokens < args.tokens)
    {
        output::note(&format!(
            "note: times are predicted for texts of up to {}, as in the profile; for longer \
             ones, make a profile with `kad profile --tokens {}`",
            counted(profile.settings.tokens, "token"),
            args.tokens
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
        let message = "interrupted: nothing is compared, as decoders have unequal numbers of texts";
        return Err(Failure::Interrupted(message.to_owned()));
    };
    let text = result_text::text(args, &experiment.name, &results, &which)?;
    if let Some(path) = &args.html {
        let page = result_text::page(args, &experiment.name, &results, &which, profile.as_ref())?;
        files::write(path, &page)
            .with_context(|| format!("cannot write the page {}", path.display()))?;
    }
    output::line(&text)?;
    Ok(())
}

/// The targets of a profile, and the models of everything that is measured.
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

/// Plain decoding, and the two fastest chains by the profile.
fn planned(
    args: &BenchArgs,
    profile: &Profile,
    targets: &ProfileTargets,
) -> Result<Vec<BenchDecoder>> {
    let request = RankingRequest { target: args.target.clone(), ..RankingRequest::of(2) };
    let ranking = ChainRanking::of(profile, &request)?;
    let target = targets.part(&ranking.target)?;
    let plain = plain_decoding(&target.distribution);
    let mut kinds = vec![(format!("{}, plain", target.name), plain)];
    for chain in &ranking.chains {
        let levels = Levels::listed(targets.levels(profile, &chain.members, &chain.lengths)?);
        let kind = DecoderKind::Chain(ChainPlan { target: target.clone(), levels });
        kinds.push((chain.in_words(), kind));
    }
    let decoders = kinds.into_iter();
    decoders
        .map(|(name, kind)| decoder(args, Some(profile), name, kind, &target.sampling))
        .collect()
}

/// The decoders of these names, with plain decoding of the first one's distribution before them.
fn named(
    args: &BenchArgs,
    names: &str,
    experiment: &Experiment,
    profile: Option<&Profile>,
) -> Result<Vec<BenchDecoder>> {
    let wanted = listed(names, "decoder", &decoder_names(experiment))?;
    let plans = experiment.decoders.iter().filter(|plan| wanted.contains(&plan.name));
    let found = plans
        .map(|plan| decoder(args, profile, plan.name.clone(), plan.kind.clone(), &plan.sampling));
    let mut found = found.collect::<Result<Vec<_>>>()?;
    let Some(first) = found.first() else {
        bail!(WrongRequest("name at least one decoder".to_owned()));
    };
    let (baseline, sampling) = (plain_decoding(&first.kind), first.sampling.clone());
    let same = |other: &BenchDecoder| {
        other.kind == baseline && same_distribution(&other.sampling, &sampling)
    };
    let baseline = match found.iter().position(same) {
        Some(place) => found.remove(place),
        None => decoder(args, profile, "plain decoding".to_owned(), baseline, &sampling)?,
    };
    found.insert(0, baseline);
    Ok(found)
}

/// A decoder with the profile's prediction for the timed range of each text: the requested tokens
/// without the step that reads the prompt.
fn decoder(
    args: &BenchArgs,
    profile: Option<&Profile>,
    name: String,
    kind: DecoderKind,
    sampling: &SamplingPlan,
) -> Result<BenchDecoder> {
    let range = ReplayRange { tokens: Some(args.tokens), first_rounds: false };
    let predicted = match profile {
        Some(profile) => predicted(profile, &kind, sampling, range)?,
        None => None,
    };
    Ok(BenchDecoder { name, kind, sampling: sampling.clone(), predicted })
}
