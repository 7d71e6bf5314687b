//! `kad profile`: measures the models of an experiment on this machine.

use anyhow::{Context, Result};
use comfy_table::Cell;
use comfy_table::presets::UTF8_FULL_CONDENSED;

use super::shared::{self, milliseconds, number_row, number_table};
use crate::cli::ProfileArgs;
use crate::config::{DecoderKind, read_file};
use crate::failure::Failure;
use crate::files;
use crate::interrupt;
use crate::models;
use crate::numbers::{NONE, counted};
use crate::output;
use crate::speed::profile::{
    CandidateCost, CandidateProfile, Profile, ProfileSettings, ProfileTargets, Profiler, Prompts,
    task_names,
};

pub(super) fn run(args: &ProfileArgs) -> Result<(), Failure> {
    let mut experiment = read_file(&args.file, &[]).map_err(Failure::Request)?;
    check_writable(args).map_err(Failure::Request)?;
    let mut targets = ProfileTargets::of(&experiment, args.models.as_deref())?;
    let prompts = Prompts::load(&experiment, args.data.place().as_deref(), 0, args.prompts)?;
    interrupt::listen()?;
    let kinds: Vec<DecoderKind> = targets.kinds().cloned().collect();
    let (models, left_out) = models::load_for(&mut experiment, &kinds)?;
    if !left_out.is_empty() {
        targets = ProfileTargets::of(&experiment, args.models.as_deref())?;
    }
    for part in &targets.distributions {
        models::check_shared(&part.distribution, &models)
            .with_context(|| format!("`{}`", part.name))?;
    }
    let settings = ProfileSettings {
        tasks: task_names(&experiment.tasks),
        prompts: prompts.items.len(),
        tokens: args.tokens,
        rounds: 0,
        draft_length: args.draft_length,
        seed: experiment.seed,
    };
    let (experiment, rounds) = (&*experiment.name, args.rounds);
    let (targets, models, prompts) = (&targets, &models, &prompts);
    let profiler = Profiler { experiment, targets, models, prompts, settings, rounds };
    let Some(profile) = profiler.profile()? else {
        return Err(Failure::Interrupted("interrupted: no profile was written".to_owned()));
    };
    profile.write(&args.out)?;
    output::line(&format!("{}\nprofile: {}", table(&profile), args.out.display()))?;
    Ok(())
}

/// Refuses to measure a profile that cannot be written.
fn check_writable(args: &ProfileArgs) -> Result<()> {
    shared::check_writable(&args.out, "profile", "--out")?;
    files::check_writable(files::folder_of(&args.out)).with_context(|| {
        format!("cannot write {}: name another place with `--out`", args.out.display())
    })
}

/// Times of each candidate, and its acceptance rate by verifier.
fn table(profile: &Profile) -> String {
    let header =
        ["", "T(1) ms", "T(4)/T(1)", "T(8)/T(1)", "T(16)/T(1)", "distribution ms", "accepted by"];
    let row = |candidate: &CandidateProfile| {
        let numbers = match &candidate.cost {
            CandidateCost::Distribution { times, distribution, .. } => {
                let seconds = |width| times.seconds(width, profile.context);
                let ratio = |width| format!("{:.2}", seconds(width) / seconds(1));
                let first = milliseconds(1e3 * seconds(1));
                let distribution = milliseconds(1e3 * distribution.seconds);
                [first, ratio(4), ratio(8), ratio(16), distribution]
            }
            CandidateCost::Lookup { draft_seconds, .. }
            | CandidateCost::Tree { draft_seconds, .. } => {
                let mut numbers = [NONE; 5].map(str::to_owned);
                // A tree by lookup makes no pass.
                if *draft_seconds > 0.0 {
                    numbers[0] = milliseconds(1e3 * draft_seconds);
                }
                numbers
            }
        };
        let pairs = profile.pairs.iter().filter(|pair| pair.drafter == candidate.name);
        let accepted =
            pairs.filter_map(|pair| Some(format!("{} {:.2}", pair.verifier, pair.runs.rate()?)));
        let mut row = number_row(&candidate.name, numbers);
        row.push(Cell::new(accepted.collect::<Vec<_>>().join("\n")));
        row
    };
    let table = number_table(UTF8_FULL_CONDENSED, &header, profile.candidates.iter().map(row));
    let ProfileSettings { prompts, tokens, rounds, .. } = &profile.settings;
    format!(
        "{}: {} × {}, {} of passes, pass times T(width) after {}; T(1) of a lookup is the time of a \
         draft, of a tree that of its passes\n\
         {table}",
        profile.experiment,
        counted(*prompts, "prompt"),
        counted(*tokens, "token"),
        counted(*rounds, "round"),
        counted(profile.context, "token")
    )
}
