//! `levels = "plan"`: the levels that a profile of this machine finds fastest.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::config::{
    ChainPlan, DecoderKind, DraftPlan, Experiment, LevelPlan, Levels, NamedDistribution,
    SamplingPlan, plain_decoding, same_distribution,
};
use crate::failure::WrongRequest;
use crate::models::Models;
use crate::output;
use crate::speed::chain_ranking::{ChainRanking, RankedChain, RankingRequest, ReplayRange};
use crate::speed::profile::{About, Cost, Profile, tree_definition};
use crate::task::TaskPlan;

/// Every profile that a chain of the experiment is to be planned by, with the chain's name: read
/// before models are loaded, so that a file that is not there is known early.
///
/// # Errors
/// If one cannot be read; where an experiment names a file that is not there.
pub(crate) fn profiles(experiment: &Experiment) -> Result<Vec<(String, Profile)>> {
    let mut found = Vec::new();
    for plan in &experiment.decoders {
        if let Some(profile) = profile_of(&plan.kind)? {
            found.push((plan.name.clone(), profile));
        }
    }
    Ok(found)
}

/// The profile that a chain is to be planned by, if it is.
///
/// # Errors
/// If it cannot be read; where a file names one that is not there.
pub(crate) fn profile_of(kind: &DecoderKind) -> Result<Option<Profile>> {
    let DecoderKind::Chain(ChainPlan { levels: Levels::Planned { profile, place, .. }, .. }) = kind
    else {
        return Ok(None);
    };
    if !profile.is_file() {
        let message = format!("there is no profile {}", profile.display());
        let help = "make it with `kad profile`; the path is taken from the folder of this file";
        bail!(WrongRequest(place.error(message).help(help).to_string()));
    }
    Profile::read(profile).map(Some)
}

/// Lists the levels of a chain that leaves them to a plan; leaves everything else as it is. `tasks`
/// are the experiment's; a prompt of the command line is of none.
///
/// # Errors
/// Those of [`fastest_levels`].
pub(crate) fn list_planned(
    kind: &mut DecoderKind,
    models: &Models,
    tasks: Option<&[TaskPlan]>,
) -> Result<()> {
    let DecoderKind::Chain(chain) = kind else {
        return Ok(());
    };
    if let Levels::Planned { profile, candidates, .. } = &chain.levels {
        chain.levels = fastest_levels(&chain.target, profile, candidates, models, tasks)?;
        output::note(&format!("planned for `{}`: {}", chain.target.name, chain.in_words()));
    }
    Ok(())
}

/// The fastest levels for `target` made of `candidates`, by the profile in the file `profile`, to
/// adapt while they run; none if plain decoding is fastest. Candidates that were not profiled are
/// left out with a note.
///
/// # Errors
/// If the profile cannot be read, is stale, or lacks the target.
pub(crate) fn fastest_levels(
    target: &NamedDistribution,
    profile: &Path,
    candidates: &[DraftPlan],
    models: &Models,
    tasks: Option<&[TaskPlan]>,
) -> Result<Levels> {
    let path = profile;
    let profile = Profile::read(path)?;
    profile.check_fresh(path, "FILE.toml", &About::now(&target.sampling, models))?;
    if let Some(tasks) = tasks {
        profile.check_tasks(path, "FILE.toml", tasks)?;
    }
    let Some(target) = name_of(&profile, &target.distribution, &target.sampling) else {
        bail!(WrongRequest(format!(
            "the profile {} has no `{}`, or one of another rule: make it again with `kad profile`",
            path.display(),
            target.name
        )));
    };
    let mut named = Vec::new();
    for candidate in candidates {
        match drafter(&profile, candidate) {
            Some(name) => named.push((name, candidate)),
            None => output::note(&format!(
                "note: `{}` is not in the profile {} and is no candidate",
                candidate.name(),
                path.display()
            )),
        }
    }
    let drafters = Some(named.iter().map(|(name, _)| name.clone()).collect());
    let (max_levels, max_length) = (RankingRequest::MAX_LEVELS, RankingRequest::MAX_LENGTH);
    let ask = RankingRequest { target: Some(target), drafters, max_levels, max_length, chains: 1 };
    let ranking = ChainRanking::of(&profile, &ask)?;
    let best = ranking.best();
    let level = |(name, &length): (&String, &usize)| {
        let (_, draft) = named.iter().find(|(other, _)| other == name).context("a candidate")?;
        let length = length.try_into().context("a level waits for a token at least")?;
        Ok(LevelPlan::of((*draft).clone(), length))
    };
    let levels: Vec<LevelPlan> =
        best.members.iter().skip(1).zip(&best.lengths).map(level).collect::<Result<_>>()?;
    let measured = ChainRanking::measured(&profile, &best.members, &best.lengths, true)?;
    Ok(match measured {
        Some(measured) if !levels.is_empty() => {
            Levels::Adapting { levels, measured: Box::new(measured) }
        }
        _ => Levels::Listed(levels),
    })
}

/// What the profile calls this distribution; None for one under other sampling settings, which is
/// another.
pub(crate) fn name_of(
    profile: &Profile,
    distribution: &DecoderKind,
    sampling: &SamplingPlan,
) -> Option<String> {
    if !same_distribution(sampling, &profile.about.sampling) {
        return None;
    }
    match distribution {
        DecoderKind::Single { model } => profile.candidate(model).map(|found| found.name.clone()),
        composed => profile.composed(composed).map(str::to_owned),
    }
}

/// What the profile calls what drafts; None for a lookup with other lengths of match.
pub(crate) fn drafter(profile: &Profile, draft: &DraftPlan) -> Option<String> {
    if let Some(part) = draft.distribution() {
        return name_of(profile, &part.distribution, &part.sampling);
    }
    let same =
        |cost: &Cost| matches!(cost, Cost::Lookup { lookup, .. } if lookup.draft() == *draft);
    let found = profile.candidates.iter().find(|candidate| same(&candidate.cost));
    found.map(|candidate| candidate.name.clone())
}

/// What `profile` expects of this decoder on a stretch of its texts; None if it is one that the
/// theory does not describe.
pub(crate) fn predicted(
    profile: &Profile,
    kind: &DecoderKind,
    sampling: &SamplingPlan,
    stretch: ReplayRange,
) -> Result<Option<RankedChain>> {
    let Some(target) = name_of(profile, kind.distribution(), sampling) else { return Ok(None) };
    let levels: &[LevelPlan] = match kind {
        DecoderKind::Chain(chain) => chain.listed(),
        other if plain_decoding(other).as_ref() == Some(other) => &[],
        _ => return Ok(None),
    };
    let usual = |level: &LevelPlan| {
        let usual = LevelPlan {
            place: level.place.clone(),
            ..LevelPlan::of(level.draft.clone(), level.length)
        };
        let usual = LevelPlan { bonus: level.bonus, tree: level.tree, ..usual };
        *level == usual && level.bonus == levels[0].bonus
    };
    if !levels.iter().all(usual) {
        return Ok(None);
    }
    let tree = |level: &LevelPlan| {
        let wanted = tree_definition(&LevelPlan { place: None, ..level.clone() });
        let found = profile.candidates.iter().find(|c| c.definition.as_ref() == Some(&wanted));
        found.map(|candidate| candidate.name.clone())
    };
    let drafters = levels.iter().map(|level| match level.tree {
        Some(_) => tree(level),
        None => drafter(profile, &level.draft),
    });
    let Some(drafters) = drafters.collect::<Option<Vec<_>>>() else { return Ok(None) };
    let members: Vec<String> = std::iter::once(target).chain(drafters).collect();
    let lengths: Vec<usize> = levels.iter().map(|level| level.length.get()).collect();
    let bonus = levels.first().is_none_or(|level| level.bonus);
    ChainRanking::chain(profile, &members, &lengths, bonus, stretch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::speed::profile::fixtures;

    /// Numbers of one temperature say nothing about another; the length of texts does not matter.
    #[test]
    fn a_distribution_is_found_under_its_own_sampling_only() {
        let profile =
            fixtures::profile(vec![fixtures::distribution("large", 1.0, 0.1)], Vec::new());
        let distribution = DecoderKind::Single { model: "large".to_owned() };
        let mut sampling = profile.about.sampling.clone();
        sampling.max_new_tokens += 1;
        assert_eq!(name_of(&profile, &distribution, &sampling).as_deref(), Some("large"));
        sampling.temperature += 0.5;
        assert_eq!(name_of(&profile, &distribution, &sampling), None);
        let part = NamedDistribution {
            name: "large".to_owned(),
            distribution: Box::new(distribution),
            sampling,
        };
        assert_eq!(drafter(&profile, &DraftPlan::Distribution(part)), None);
    }
}
