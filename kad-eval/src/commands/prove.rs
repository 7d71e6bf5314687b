//! `kad prove`: proofs that decoders have the distributions they claim.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use comfy_table::ColumnConstraint;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use indicatif::ProgressBar;

use crate::cli::ProveArgs;
use crate::config::{self, Proof};
use crate::failure::Failure;
use crate::numbers::counted;
use crate::output;
use crate::proof::{self, Verdict, Worst};

pub(super) fn run(args: &ProveArgs) -> Result<(), Failure> {
    // All files first: a mistake in the last one must not waste the work on the others.
    let proofs: Vec<Proof> = args
        .files
        .iter()
        .map(|file| read(file))
        .collect::<Result<_>>()
        .map_err(Failure::Request)?;
    let mut refuted = Vec::new();
    for proof in &proofs {
        let verdicts = verdicts(proof)?;
        print(args, proof, &verdicts)?;
        refuted.extend(verdicts.into_iter().filter(|verdict| !verdict.holds));
    }
    match refuted.first() {
        None => Ok(()),
        Some(first) => Err(Failure::Work(anyhow!("{}", complaint(first, refuted.len())))),
    }
}

fn read(file: &Path) -> Result<Proof> {
    let name = file.display().to_string();
    let text =
        std::fs::read_to_string(file).with_context(|| format!("cannot read the proof {name}"))?;
    let proof = config::read_proof(&name, &text)?;
    proof::check(&proof).with_context(|| name)?;
    Ok(proof)
}

fn verdicts(proof: &Proof) -> Result<Vec<Verdict>> {
    let terminal = output::shows_progress();
    let bar = if terminal { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
    bar.enable_steady_tick(Duration::from_secs(1));
    let begin = |decoder: &str| bar.set_message(format!("{}: {decoder}", proof.name));
    let verdicts = proof::verdicts(proof, begin);
    bar.finish_and_clear();
    verdicts
}

fn print(args: &ProveArgs, proof: &Proof, verdicts: &[Verdict]) -> Result<()> {
    if args.json {
        for verdict in verdicts {
            output::line(&serde_json::to_string(verdict)?)?;
        }
        return Ok(());
    }
    let mut table = crate::report::table::empty(UTF8_FULL_CONDENSED);
    table.set_header(["decoder", "claims the distribution of", "texts", "TV", ""]);
    for verdict in verdicts {
        table.add_row([
            verdict.decoder.clone(),
            verdict.distribution.clone(),
            verdict.texts.to_string(),
            format!("{:.1e}", verdict.total_variation),
            in_short(verdict).to_owned(),
        ]);
    }
    // In a narrow terminal only words wrap.
    for column in table.column_iter_mut().skip(2) {
        column.set_constraint(ColumnConstraint::ContentWidth);
    }
    let Proof { name, length, vocab, .. } = proof;
    output::line(&format!(
        "{name}: texts of up to {length} of {}\n{table}",
        counted(*vocab, "token")
    ))?;
    Ok(())
}

fn in_short(verdict: &Verdict) -> &'static str {
    match (verdict.exact, verdict.holds) {
        (true, true) => "proved",
        (true, false) => "NOT PROVED",
        (false, true) => "another distribution, as claimed",
        (false, false) => "NOT ANOTHER DISTRIBUTION",
    }
}

fn complaint(first: &Verdict, refuted: usize) -> String {
    let Verdict { proof, decoder, distribution, total_variation, .. } = first;
    let others = if refuted > 1 { format!(" (and {} more)", refuted - 1) } else { String::new() };
    if !first.exact {
        return format!(
            "NOT ANOTHER DISTRIBUTION: decoder `{decoder}` of {proof} is claimed not to be exact, but has the \
             distribution of {distribution}{others} within 1e-12: remove `exact = false`"
        );
    }
    let at = first.worst.as_ref().map_or(String::new(), |worst| {
        let Worst { text, enumerated, claimed } = worst;
        format!(
            "; largest difference, {:.2e}, at the text {}: probability {}, claimed {}",
            (enumerated - claimed).abs(),
            shortened(text),
            rounded(*enumerated),
            rounded(*claimed)
        )
    });
    format!(
        "NOT PROVED: decoder `{decoder}` of {proof} does not have the distribution of {distribution}{others}: \
         total variation {total_variation:.3e}{at}"
    )
}

/// The text, or its first and last tokens.
fn shortened(text: &[u32]) -> String {
    const ENDS: usize = 8;
    if text.len() <= 2 * ENDS + 1 {
        return format!("{text:?}");
    }
    let list = |tokens: &[u32]| tokens.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    let (first, last) = (list(&text[..ENDS]), list(&text[text.len() - ENDS..]));
    format!("[{first}, …, {last}] of {} tokens", text.len())
}

/// Seven digits, because logits are f32; all digits of a smaller probability.
fn rounded(probability: f64) -> String {
    let rounded = (probability * 1e7).round() / 1e7;
    if rounded == 0.0 && probability > 0.0 {
        return format!("{probability:.2e}");
    }
    rounded.to_string()
}
