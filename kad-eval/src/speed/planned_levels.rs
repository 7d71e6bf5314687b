//! `levels = "plan"`: the fastest levels of a chain by a profile of this machine.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::config::{
    ChainPlan, DecoderKind, DecoderPlan, DraftPlan, Experiment, LevelPlan, Levels,
    NamedDistribution, PlannedLevels, SamplingPlan, plain_decoding, same_distribution,
};
use crate::failure::WrongRequest;
use crate::models::Models;
use crate::output;
use crate::speed::chain_ranking::{ChainRanking, RankedChain, RankingRequest, ReplayRange};
use crate::speed::profile::{CandidateCost, Profile, ProfileConditions};
use crate::task::TaskPlan;

/// The profiles of all chains of the experiment with planned levels, by the name of the decoder.
/// They are read before models are loaded, so that a missing file is reported early.
pub(crate) fn profiles(experiment: &Experiment) -> Result<Vec<(String, Profile)>> {
    let named = |plan: &DecoderPlan| {
        let profile = profile_of(&plan.kind).transpose()?;
        Some(profile.map(|profile| (plan.name.clone(), profile)))
    };
    experiment.decoders.iter().filter_map(named).collect()
}

/// The profile of a chain with planned levels; `None` for other decoders. A missing file is an error
/// at its place in the experiment.
pub(crate) fn profile_of(kind: &DecoderKind) -> Result<Option<Profile>> {
    let DecoderKind::Chain(ChainPlan { levels: Levels::Planned { levels }, .. }) = kind else {
        return Ok(None);
    };
    let PlannedLevels { profile, place, .. } = levels;
    if !profile.is_file() {
        let message = format!("there is no profile {}", profile.display());
        let help = "make it with `kad profile`; the path is relative to the folder of this file";
        bail!(WrongRequest(place.error(message).help(help).to_string()));
    }
    Profile::read(profile).map(Some)
}

/// Replaces planned levels of a chain by the fastest ones; leaves everything else as it is. `tasks`
/// are the experiment's; `None` for a prompt of the command line. A profile that was made under other
/// conditions, or lacks the target, is an error.
pub(crate) fn list_planned(
    kind: &mut DecoderKind,
    models: &Models,
    tasks: Option<&[TaskPlan]>,
) -> Result<()> {
    let DecoderKind::Chain(chain) = kind else {
        return Ok(());
    };
    if let Levels::Planned { levels } = &chain.levels {
        let PlannedLevels { profile, candidates, .. } = levels;
        chain.levels = fastest_levels(&chain.target, profile, candidates, models, tasks)?;
        output::note(&format!("planned for `{}`: {}", chain.target.name, chain.in_words()));
    }
    Ok(())
}

/// The fastest levels for `target` made of `candidates`, whose lengths adapt during decoding; none
/// if plain decoding is fastest. Candidates that are not in the profile at `path` are left out with
/// a note.
fn fastest_levels(
    target: &NamedDistribution,
    path: &Path,
    candidates: &[DraftPlan],
    models: &Models,
    tasks: Option<&[TaskPlan]>,
) -> Result<Levels> {
    let profile = Profile::read(path)?;
    let now = ProfileConditions::now(&target.sampling, models);
    profile.check(path, "FILE.toml", &now, tasks)?;
    let Some(target) = distribution_name(&profile, &target.distribution, &target.sampling) else {
        bail!(WrongRequest(format!(
            "the profile {} has no `{}`, or one of another rule: make it again with `kad profile`",
            path.display(),
            target.name
        )));
    };
    let mut named = Vec::new();
    for candidate in candidates {
        match drafter_name(&profile, candidate) {
            Some(name) => named.push((name, candidate)),
            None => output::note(&format!(
                "note: `{}` is not in the profile {} and is no candidate",
                candidate.name(),
                path.display()
            )),
        }
    }
    let drafters = Some(named.iter().map(|(name, _)| name.clone()).collect());
    let request = RankingRequest { target: Some(target), drafters, ..RankingRequest::of(1) };
    let ranking = ChainRanking::of(&profile, &request)?;
    let best = ranking.best();
    let level = |(name, &length): (&String, &usize)| {
        let (_, draft) = named.iter().find(|(other, _)| other == name).context("a candidate")?;
        let length = length.try_into().context("a level has a length of 1 or more")?;
        Ok(LevelPlan::of((*draft).clone(), length))
    };
    let levels: Vec<LevelPlan> =
        best.members.iter().skip(1).zip(&best.lengths).map(level).collect::<Result<_>>()?;
    let measured = ChainRanking::measured(&profile, &best.members, &best.lengths, true)?;
    let measured = measured.filter(|_| !levels.is_empty()).map(Box::new);
    Ok(Levels::Listed { levels, measured })
}

/// The profile's name of a distribution; `None` under other sampling settings.
fn distribution_name(
    profile: &Profile,
    distribution: &DecoderKind,
    sampling: &SamplingPlan,
) -> Option<String> {
    if !same_distribution(sampling, &profile.conditions.sampling) {
        return None;
    }
    match distribution {
        DecoderKind::Single { model } => profile.candidate(model).map(|found| found.name.clone()),
        composed => profile.composed(composed).map(str::to_owned),
    }
}

/// The profile's name of a drafter; `None` for a lookup with other match lengths.
fn drafter_name(profile: &Profile, draft: &DraftPlan) -> Option<String> {
    if let Some(part) = draft.distribution() {
        return distribution_name(profile, &part.distribution, &part.sampling);
    }
    let same = |cost: &CandidateCost| match cost {
        CandidateCost::Lookup { lookup, .. } => draft.lookup() == Some(*lookup),
        CandidateCost::Distribution { .. } | CandidateCost::Tree { .. } => false,
    };
    let found = profile.candidates.iter().find(|candidate| same(&candidate.cost));
    found.map(|candidate| candidate.name.clone())
}

/// The prediction of `profile` for a decoder on a range of the profile's texts; `None` for decoders
/// that the theory does not describe, or that the profile lacks.
pub(crate) fn predicted(
    profile: &Profile,
    kind: &DecoderKind,
    sampling: &SamplingPlan,
    range: ReplayRange,
) -> Result<Option<RankedChain>> {
    let Some(target) = distribution_name(profile, kind.distribution(), sampling) else {
        return Ok(None);
    };
    let levels: &[LevelPlan] = match kind {
        DecoderKind::Chain(chain) => chain.listed(),
        other if plain_decoding(other) == *other => &[],
        _ => return Ok(None),
    };
    // Verification, surplus and confidence must be the defaults.
    let described = |level: &LevelPlan| {
        let LevelPlan { bonus, tree, ref place, .. } = *level;
        let default = LevelPlan::of(level.draft.clone(), level.length);
        let default = LevelPlan { bonus, tree, place: place.clone(), ..default };
        *level == default && bonus == levels[0].bonus
    };
    if !levels.iter().all(described) {
        return Ok(None);
    }
    let drafters = levels.iter().map(|level| match level.tree {
        Some(_) => profile.tree(level).map(str::to_owned),
        None => drafter_name(profile, &level.draft),
    });
    let Some(drafters) = drafters.collect::<Option<Vec<_>>>() else { return Ok(None) };
    let members: Vec<String> = std::iter::once(target).chain(drafters).collect();
    let lengths: Vec<usize> = levels.iter().map(|level| level.length.get()).collect();
    let bonus = levels.first().is_none_or(|level| level.bonus);
    ChainRanking::chain(profile, &members, &lengths, bonus, range)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::speed::profile::sample_profile;

    /// Numbers of one temperature do not hold for another; the length of texts does not matter.
    #[test]
    fn a_distribution_is_found_under_its_own_sampling_only() {
        let profile = sample_profile::profile(
            vec![sample_profile::distribution("large", 1.0, 0.1)],
            Vec::new(),
        );
        let distribution = DecoderKind::Single { model: "large".to_owned() };
        let mut sampling = profile.conditions.sampling.clone();
        sampling.max_new_tokens += 1;
        let name = |sampling: &SamplingPlan| distribution_name(&profile, &distribution, sampling);
        assert_eq!(name(&sampling).as_deref(), Some("large"));
        sampling.temperature += 0.5;
        assert_eq!(name(&sampling), None);
        let distribution = Box::new(distribution.clone());
        let part = NamedDistribution { name: "large".to_owned(), distribution, sampling };
        assert_eq!(drafter_name(&profile, &DraftPlan::Distribution(part)), None);
    }
}
