//! `kad bench`: chains against their prediction and against plain decoding.

mod show;

use std::path::Path;

use anyhow::{Context, Result, bail};
use kad_core::decode::Limits;
use rand::SeedableRng;
use rand::seq::SliceRandom;

use super::run::on_ctrl_c;
use super::speed;
use crate::bench::{Arm, Text, Texts, arm};
use crate::cli::BenchArgs;
use crate::config::{ChainPlan, DecoderKind, Experiment, LevelPlan, Levels, SamplingPlan};
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
    let experiment = speed::experiment(&args.file).map_err(Failure::Request)?;
    let prompts = speed::prompts(&experiment, args.data.as_deref(), args.prompts)?;
    let profile = args.profile.as_deref().map(Profile::read).transpose()?;
    on_ctrl_c()?;
    let subjects = Subjects::of(&experiment, None)?;
    let models = load(args, &experiment, &subjects)?;
    if let Some(profile) = &profile {
        check_fresh(args, profile, &experiment, &models)?;
    }
    let contenders = match (&args.decoders, &profile) {
        (Some(names), _) => named(names, &experiment, profile.as_ref(), &models)?,
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
    let Some(texts) = measure(args, &contenders, &models, &prompts)? else {
        let message = "interrupted: a comparison of unequal parts would say nothing";
        return Err(Failure::Interrupted(message.to_owned()));
    };
    let arms = arms(contenders, texts);
    output::line(&show::text(args, &experiment.name, &arms)?)?;
    Ok(())
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
    models: &Models,
) -> Result<Vec<Contender>> {
    let wanted = listed(names, "decoder", &decoder_names(experiment))?;
    let mut found = Vec::new();
    for plan in experiment.decoders.iter().filter(|plan| wanted.contains(&plan.name)) {
        let mut kind = plan.kind.clone();
        list_planned(&mut kind, models).with_context(|| format!("decoder `{}`", plan.name))?;
        let predicted = profile.map(|profile| predicted(profile, &kind)).transpose()?;
        found.push(Contender {
            name: plan.name.clone(),
            kind,
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
fn predicted(profile: &Profile, kind: &DecoderKind) -> Result<Option<Ranked>> {
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

/// Decodes everything; None if the user interrupted. By decoder.
fn measure(
    args: &BenchArgs,
    contenders: &[Contender],
    models: &Models,
    prompts: &Prompts,
) -> Result<Option<Vec<Texts>>> {
    let rules: Vec<Rules> =
        contenders.iter().map(|one| Rules::of(&one.kind)).collect::<Result<_>>()?;
    let tokens = contenders.iter().map(|one| prompts.of(&one.kind, models));
    let tokens = tokens.collect::<Result<Vec<_>>>()?;
    let count = tokens.iter().map(Vec::len).min().unwrap_or(0);
    let progress = Progress::new("texts", args.reps * count * contenders.len());
    let mut order: Vec<usize> = (0..contenders.len()).collect();
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    let mut found: Vec<Texts> = vec![vec![Vec::new(); count]; contenders.len()];
    for rep in 0..args.reps {
        for prompt in 0..count {
            order.shuffle(&mut rng);
            for &at in &order {
                let (seed, text) = &tokens[at][prompt];
                // Another draw each time, the same one for every decoder.
                let seed = seed.wrapping_add(1_000_003 * rep as u64);
                let one = &contenders[at];
                let limits =
                    Limits { max_new_tokens: args.tokens, eos: models::eos(&one.kind, models) };
                let Some(steps) = steps(one, models, &rules[at], text, &limits, seed)? else {
                    return Ok(None);
                };
                found[at][prompt].extend(timed(&steps));
                progress.one();
            }
        }
    }
    Ok(Some(found))
}

fn steps(
    one: &Contender,
    models: &Models,
    rules: &Rules,
    prompt: &[kad_core::TokenId],
    limits: &Limits,
    seed: u64,
) -> Result<Option<Vec<StepTime>>> {
    let (sampling, decision) = (one.sampling.sampling()?, one.sampling.decision()?);
    let settings = Settings { sampling, decision, eos: limits.eos.clone() };
    let mut decoder = models::decoder(&one.kind, models, rules, &settings)?;
    let names = one.kind.models();
    let clock = || in_passes(models, &names);
    Ok(decode(&mut *decoder, prompt, limits, seed, &clock)?)
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
fn arms(contenders: Vec<Contender>, mut texts: Vec<Texts>) -> Vec<Arm> {
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
    let numbered = contenders.into_iter().zip(texts).enumerate();
    let made = numbered.map(|(index, (one, texts))| {
        arm(one.name, one.predicted, texts, (index > 0).then_some(&baseline))
    });
    made.collect()
}
