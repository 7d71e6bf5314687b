//! `kad bench`: chains against their prediction and against plain decoding.

mod show;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use kad_core::decode::Limits;
use rand::SeedableRng;
use rand::seq::SliceRandom;

use super::run::on_ctrl_c;
use super::speed;
use crate::bench::{Arm, Text, Texts, arm};
use crate::cli::BenchArgs;
use crate::config::{
    ChainPlan, DecoderKind, Experiment, LevelPlan, Levels, SamplingPlan, law_in_words,
};
use crate::failure::{Failure, WrongRequest};
use crate::models::planned::{drafter, list_planned, name_of};
use crate::models::{self, Models, Rules, Settings};
use crate::output;
use crate::profile::steps::{StepTime, decode, in_passes};
use crate::profile::{About, Ask, Outlook, Profile, Progress, Prompts, Ranked, Subjects};
use crate::profile::{listed, plain};

/// The longest plans that are looked for.
const MAX_LEVELS: usize = 4;
const MAX_LENGTH: usize = 16;

/// A decoder to be measured.
struct Contender {
    name: String,
    kind: DecoderKind,
    sampling: SamplingPlan,
    predicted: Option<Ranked>,
}

pub(super) fn run(args: &BenchArgs) -> Result<(), Failure> {
    let mut experiment = speed::experiment(&args.file).map_err(Failure::Request)?;
    check_page(args)?;
    let prompts = speed::prompts(&experiment, args.data.as_deref(), args.prompts)?;
    let profile = args.profile.as_deref().map(Profile::read).transpose()?;
    on_ctrl_c()?;
    let subjects = Subjects::of(&experiment, None)?;
    let models = load(args, &experiment, &subjects)?;
    if let Some(profile) = &profile {
        check_fresh(args, profile, &experiment, &models)?;
    }
    if args.decoders.is_some() {
        for plan in &mut experiment.decoders {
            list_planned(&mut plan.kind, &models)
                .with_context(|| format!("decoder `{}`", plan.name))?;
        }
    }
    let contenders = match (&args.decoders, &profile) {
        (Some(names), _) => named(names, &experiment, profile.as_ref())?,
        (None, Some(profile)) => planned(args, profile, &subjects)?,
        (None, None) => {
            let message = "name decoders with `--decoders`, or a profile with `--profile`";
            return Err(Failure::request(anyhow::anyhow!(message)));
        }
    };
    for contender in &contenders {
        models::check_shared(&contender.kind, &models)
            .with_context(|| format!("decoder `{}`", contender.name))?;
    }
    let Some(measured) = measure(args, &contenders, &models, &prompts)? else {
        let message = "interrupted: a comparison of unequal parts would say nothing";
        return Err(Failure::Interrupted(message.to_owned()));
    };
    let arms = arms(contenders, measured);
    let text = show::text(args, &experiment.name, &arms)?;
    if let Some(path) = &args.html {
        let page = show::page(args, &experiment.name, &arms, profile.as_ref())?;
        std::fs::write(path, page)
            .with_context(|| format!("cannot write the page {}", path.display()))?;
    }
    output::line(&text)?;
    Ok(())
}

/// Before anything is measured: whether the page has a place.
fn check_page(args: &BenchArgs) -> Result<()> {
    let Some(path) = &args.html else { return Ok(()) };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if folder.is_none_or(Path::is_dir) && !path.is_dir() {
        return Ok(());
    }
    let why = if path.is_dir() { "it is a folder" } else { "there is no such folder" };
    bail!(WrongRequest(format!(
        "cannot write the page {}: {why}; give `--html` a file in a folder that is there",
        path.display()
    )))
}

fn load(args: &BenchArgs, experiment: &Experiment, subjects: &Subjects) -> Result<Models> {
    let all = experiment.decoders.iter().map(|plan| &plan.kind);
    if let Some(names) = &args.decoders {
        let wanted = listed(names, "decoder", &decoder_names(experiment))?;
        let chosen = experiment.decoders.iter().filter(|plan| wanted.contains(&plan.name));
        return models::load_all(&experiment.models, chosen.map(|plan| &plan.kind));
    }
    models::load_all(&experiment.models, all.chain(subjects.kinds()))
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
    profile.check_fresh(
        path,
        &args.file.display().to_string(),
        &About::now(&experiment.sampling, models),
    )
}

/// Plain decoding, the plan's best chain and its runner-up.
fn planned(args: &BenchArgs, profile: &Profile, subjects: &Subjects) -> Result<Vec<Contender>> {
    let ask = Ask {
        target: args.target.clone(),
        drafters: None,
        max_levels: MAX_LEVELS,
        max_length: MAX_LENGTH,
        chains: 2,
    };
    let outlook = Outlook::of(profile, &ask)?;
    let target = subjects.part(&outlook.target)?;
    let kind = plain(&target.law).context("a chain is no target")?;
    let sampling = target.sampling.clone();
    let name = format!("{}, plain", target.name);
    let mut found =
        vec![Contender { name, kind, sampling: sampling.clone(), predicted: Some(outlook.plain) }];
    for chain in outlook.chains {
        let levels = subjects.levels(profile, &chain.members, &chain.lengths)?;
        let kind = DecoderKind::Chain(ChainPlan {
            target: target.clone(),
            levels: Levels::Listed(levels),
        });
        let name = speed::in_words(&chain.members, &chain.lengths);
        found.push(Contender { name, kind, sampling: sampling.clone(), predicted: Some(chain) });
    }
    Ok(found)
}

/// The decoders named, after plain decoding of the first one's law if it is not among them.
fn named(
    names: &str,
    experiment: &Experiment,
    profile: Option<&Profile>,
) -> Result<Vec<Contender>> {
    let wanted = listed(names, "decoder", &decoder_names(experiment))?;
    let mut found = Vec::new();
    for plan in experiment.decoders.iter().filter(|plan| wanted.contains(&plan.name)) {
        let predicted = profile.map(|profile| predicted(profile, &plan.kind)).transpose()?;
        found.push(Contender {
            name: plan.name.clone(),
            kind: plan.kind.clone(),
            sampling: plan.sampling.clone(),
            predicted: predicted.flatten(),
        });
    }
    let Some(first) = found.first() else {
        bail!(WrongRequest("name at least one decoder".to_owned()));
    };
    let Some(baseline) = plain(first.kind.law()) else {
        bail!(WrongRequest(format!("`{}` has no law of its own", first.name)));
    };
    let place = found.iter().position(|other| other.kind == baseline);
    let baseline = match place {
        Some(place) => found.remove(place),
        None => Contender {
            name: "plain decoding".to_owned(),
            predicted: profile.map(|p| predicted(p, &baseline)).transpose()?.flatten(),
            sampling: first.sampling.clone(),
            kind: baseline,
        },
    };
    found.insert(0, baseline);
    Ok(found)
}

/// What `profile` expects of this decoder; None if it is one that the theory does not describe.
pub(super) fn predicted(profile: &Profile, kind: &DecoderKind) -> Result<Option<Ranked>> {
    let Some(target) = name_of(profile, kind.law()) else { return Ok(None) };
    let levels: &[LevelPlan] = match kind {
        DecoderKind::Chain(chain) => chain.listed(),
        other if plain(other).as_ref() == Some(other) => &[],
        _ => return Ok(None),
    };
    let usual = |level: &LevelPlan| {
        let usual = LevelPlan {
            place: level.place.clone(),
            ..LevelPlan::of(level.draft.clone(), level.length)
        };
        *level == LevelPlan { bonus: level.bonus, ..usual } && level.bonus == levels[0].bonus
    };
    if !levels.iter().all(usual) {
        return Ok(None);
    }
    let drafters = levels.iter().map(|level| drafter(profile, &level.draft));
    let Some(drafters) = drafters.collect::<Option<Vec<_>>>() else { return Ok(None) };
    let members: Vec<String> = std::iter::once(target).chain(drafters).collect();
    let lengths: Vec<usize> = levels.iter().map(|level| level.length.get()).collect();
    Outlook::chain(profile, &members, &lengths, levels.first().is_none_or(|level| level.bonus))
}

/// What was measured of one decoder.
#[derive(Default)]
struct Measured {
    texts: Texts,
    /// In passes of each model, without the steps that read prompts.
    seconds: BTreeMap<String, f64>,
}

/// Decodes everything; None if the user interrupted. By decoder.
fn measure(
    args: &BenchArgs,
    contenders: &[Contender],
    models: &Models,
    prompts: &Prompts,
) -> Result<Option<Vec<Measured>>> {
    let rules: Vec<Rules> =
        contenders.iter().map(|one| Rules::of(&one.kind)).collect::<Result<_>>()?;
    let tokens = contenders.iter().map(|one| prompts.of(&one.kind, models));
    let tokens = tokens.collect::<Result<Vec<_>>>()?;
    let count = tokens.iter().map(Vec::len).min().unwrap_or(0);
    let progress = Progress::new("texts", args.reps * count * contenders.len());
    let mut order: Vec<usize> = (0..contenders.len()).collect();
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    let empty = || Measured { texts: vec![Vec::new(); count], seconds: BTreeMap::new() };
    let mut found: Vec<Measured> = contenders.iter().map(|_| empty()).collect();
    for rep in 0..args.reps {
        for prompt in 0..count {
            order.shuffle(&mut rng);
            for &at in &order {
                let Some((seed, text)) = tokens[at].get(prompt) else { continue };
                // Another draw each time, the same one for every decoder.
                let seed = seed.wrapping_add(1_000_003 * rep as u64);
                let one = &contenders[at];
                let limits =
                    Limits { max_new_tokens: args.tokens, eos: models::eos(&one.kind, models) };
                let made = steps(one, models, &rules[at], text, &limits, seed)?;
                let Some(made) = made else { return Ok(None) };
                found[at].add(prompt, &made);
                progress.one();
            }
        }
    }
    Ok(Some(found))
}

/// One text as it was decoded.
struct Decoded<'a> {
    steps: Vec<StepTime>,
    /// In passes of each model, after the first step.
    seconds: Vec<(&'a str, f64)>,
}

impl Measured {
    fn add(&mut self, prompt: usize, made: &Decoded<'_>) {
        self.texts[prompt].extend(timed(&made.steps));
        for (model, seconds) in &made.seconds {
            *self.seconds.entry((*model).to_owned()).or_default() += seconds;
        }
    }
}

fn steps<'a>(
    one: &'a Contender,
    models: &Models,
    rules: &Rules,
    prompt: &[kad_core::TokenId],
    limits: &Limits,
    seed: u64,
) -> Result<Option<Decoded<'a>>> {
    let (sampling, decision) = (one.sampling.sampling()?, one.sampling.decision()?);
    let settings = Settings { sampling, decision, eos: limits.eos.clone() };
    let mut decoder = models::decoder(&one.kind, models, rules, &settings)?;
    let names = one.kind.models();
    // Of each model, before and after each step.
    let marks = RefCell::new(Vec::new());
    let clock = || {
        let now: Vec<f64> = names.iter().map(|name| in_passes(models, &[*name])).collect();
        let sum = now.iter().sum();
        marks.borrow_mut().push(now);
        sum
    };
    let Some(steps) = decode(&mut *decoder, prompt, limits, seed, &clock)? else {
        return Ok(None);
    };
    let marks = marks.into_inner();
    let later = |index: usize| match (marks.get(1), marks.last()) {
        (Some(first), Some(last)) => last[index] - first[index],
        _ => 0.0,
    };
    let seconds = names.iter().enumerate().map(|(index, name)| (*name, later(index))).collect();
    Ok(Some(Decoded { steps, seconds }))
}

/// A text without the step that read its prompt; None if there was no other.
fn timed(steps: &[StepTime]) -> Option<Text> {
    let (first, later) = steps.split_first()?;
    let sum = |of: fn(&StepTime) -> f64| later.iter().map(of).sum();
    let tokens: f64 = sum(|step| step.emitted as f64);
    (tokens > 0.0).then(|| Text {
        seconds: sum(|step| step.seconds),
        passing: sum(|step| step.passing),
        tokens,
        first: first.seconds,
    })
}

/// The first one is the baseline. Prompts on which some decoder ended at once are left out for all.
fn arms(contenders: Vec<Contender>, measured: Vec<Measured>) -> Vec<Arm> {
    let (mut texts, seconds): (Vec<Texts>, Vec<BTreeMap<String, f64>>) =
        measured.into_iter().map(|one| (one.texts, one.seconds)).unzip();
    let prompts = texts.first().map_or(0, Vec::len);
    for prompt in (0..prompts).rev() {
        let least = texts.iter().map(|arm| arm[prompt].len()).min().unwrap_or(0);
        for arm in &mut texts {
            arm[prompt].truncate(least);
            if least == 0 {
                arm.remove(prompt);
            }
        }
    }
    let baseline = texts.first().cloned().unwrap_or_default();
    let numbered = contenders.into_iter().zip(texts).zip(seconds).enumerate();
    let made = numbered.map(|(index, ((one, texts), seconds))| {
        let law = law_in_words(&one.kind, &one.sampling);
        arm(one.name, one.predicted, texts, (index > 0).then_some(&baseline)).with(law, &seconds)
    });
    made.collect()
}
