//! `levels = "plan"`: the levels that a profile of this machine finds fastest.

use anyhow::{Result, bail};

use crate::config::{DecoderKind, DraftPlan, LevelPlan, Levels, Part};
use crate::failure::WrongRequest;
use crate::models::Models;

/// Lists the levels of a chain that leaves them to a plan; leaves everything else as it is.
///
/// # Errors
/// Those of [`fastest_levels`].
pub(crate) fn list_planned(kind: &mut DecoderKind, models: &Models) -> Result<()> {
    let DecoderKind::Chain(chain) = kind else {
        return Ok(());
    };
    if let Levels::Planned { profile, candidates } = &chain.levels {
        let levels = fastest_levels(&chain.target, profile, candidates, models)?;
        chain.levels = Levels::Listed(levels);
    }
    Ok(())
}

/// The fastest levels for `target` made of `candidates`, by the profile in the file `profile`; none
/// if plain decoding is fastest.
///
/// # Errors
/// If the profile cannot be read, is stale, or lacks a candidate.
pub(crate) fn fastest_levels(
    _target: &Part,
    profile: &std::path::Path,
    _candidates: &[DraftPlan],
    _models: &Models,
) -> Result<Vec<LevelPlan>> {
    bail!(WrongRequest(format!(
        "levels by plan: this build cannot read the profile {}; list the levels",
        profile.display()
    )))
}
