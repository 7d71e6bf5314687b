//! `kad profile`: what the models of an experiment do on this machine.

use anyhow::{Context, Result};
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, Table};

use super::speed;
use crate::cli::ProfileArgs;
use crate::config::DecoderKind;
use crate::failure::Failure;
use crate::files;
use crate::interrupt;
use crate::models;
use crate::output;
use crate::speed::profile::{Cost, Effort, Measurement, Profile, ProfileTargets, sources};

pub(super) fn run(args: &ProfileArgs) -> Result<(), Failure> {
    let mut experiment = speed::experiment(&args.file).map_err(Failure::Request)?;
    check_writable(args).map_err(Failure::Request)?;
    let mut targets = ProfileTargets::of(&experiment, args.models.as_deref())?;
    let prompts = speed::prompts(&experiment, args.data.place().as_deref(), 0, args.prompts)?;
    interrupt::listen()?;
    let kinds: Vec<DecoderKind> = targets.kinds().cloned().collect();
    let (models, left_out) = models::load_for(&mut experiment, &kinds)?;
    if !left_out.is_empty() {
        targets = ProfileTargets::of(&experiment, args.models.as_deref())?;
    }
    for distribution in &targets.distributions {
        models::check_shared(&distribution.distribution, &models)
            .with_context(|| format!("`{}`", distribution.name))?;
    }
    let effort = Effort {
        tasks: sources(&experiment.tasks),
        prompts: prompts.items.len(),
        tokens: args.tokens,
        rounds: 0,
        draft_length: args.draft_length,
        seed: experiment.seed,
    };
    let measurement = Measurement {
        experiment: &experiment.name,
        targets: &targets,
        models: &models,
        prompts: &prompts,
        effort,
        rounds: args.rounds,
    };
    let Some(profile) = measurement.profile()? else {
        return Err(Failure::Interrupted("interrupted: no profile was written".to_owned()));
    };
    profile.write(&args.out)?;
    output::line(&format!("{}\nprofile: {}", table(&profile), args.out.display()))?;
    Ok(())
}

/// A profile that cannot be kept should not be made.
fn check_writable(args: &ProfileArgs) -> Result<()> {
    speed::check_writable(&args.out, "profile", "--out")?;
    files::check_writable(files::folder_of(&args.out)).with_context(|| {
        format!("cannot write {}: name another place with `--out`", args.out.display())
    })
}

/// What each candidate takes, and how often its tokens are accepted by those it may draft for.
fn table(profile: &Profile) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header([
        "",
        "T(1) ms",
        "T(4)/T(1)",
        "T(8)/T(1)",
        "T(16)/T(1)",
        "distribution ms",
        "accepted by",
    ]);
    for candidate in &profile.candidates {
        let numbers: [String; 5] = match &candidate.cost {
            Cost::Distribution { times, distribution, .. } => {
                let seconds = |width| times.seconds(width, profile.context);
                let ratio = |width| format!("{:.2}", seconds(width) / seconds(1));
                let first = speed::milliseconds(1e3 * seconds(1));
                let distribution = speed::milliseconds(1e3 * distribution.seconds);
                [first, ratio(4), ratio(8), ratio(16), distribution]
            }
            Cost::Lookup { draft_seconds, .. } | Cost::Tree { draft_seconds, .. } => {
                let none = || "–".to_owned();
                // A tree that is looked up makes no pass.
                let draft =
                    (*draft_seconds > 0.0).then(|| speed::milliseconds(1e3 * draft_seconds));
                [draft.unwrap_or_else(none), none(), none(), none(), none()]
            }
        };
        let pairs = profile.pairs.iter().filter(|pair| pair.drafter == candidate.name);
        let accepted =
            pairs.filter_map(|pair| Some(format!("{} {:.2}", pair.verifier, pair.runs.rate()?)));
        let accepted = accepted.collect::<Vec<_>>().join("\n");
        let numbers = numbers.map(|text| Cell::new(text).set_alignment(CellAlignment::Right));
        let row = std::iter::once(Cell::new(&candidate.name)).chain(numbers);
        table.add_row(row.chain([Cell::new(accepted)]));
    }
    let Effort { prompts, tokens, rounds, .. } = &profile.effort;
    format!(
        "{}: {prompts} prompts × {tokens} tokens, {rounds} rounds of passes, times after {} \
         tokens; T(1) of a lookup is a draft, of a tree its passes\n{table}",
        profile.experiment, profile.context
    )
}
