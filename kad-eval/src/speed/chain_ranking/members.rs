//! Which candidates of a profile are asked about.

use anyhow::{Result, anyhow, bail};

use super::RankingRequest;
use crate::failure::WrongRequest;
use crate::speed::profile::{Candidate, Cost, Profile};
use crate::toml_table::nearest;

/// The target that was asked for, or the one that stands to reason.
pub(super) fn target(profile: &Profile, ask: &RankingRequest) -> Result<String> {
    let Some(name) = &ask.target else {
        let found = usual_target(profile);
        return found.ok_or_else(|| {
            anyhow!(WrongRequest("the profile has no model that could be a target".into()))
        });
    };
    match profile.candidate(name).map(|found| &found.cost) {
        Some(Cost::Distribution { .. }) => Ok(name.clone()),
        Some(Cost::Lookup { .. } | Cost::Tree { .. }) => bail!(WrongRequest(format!(
            "`{name}` drafts only and has no distribution of its own: name a model or a decoder"
        ))),
        None => bail!(unknown(profile, "target", name)),
    }
}

/// The distribution of the experiment's baseline; else, of the distributions that others draft for,
/// or of all, the slowest, a model before composed distributions.
fn usual_target(profile: &Profile) -> Option<String> {
    if let Some(target) = profile.target.as_ref().filter(|name| profile.candidate(name).is_some()) {
        return Some(target.clone());
    }
    let rank = |found: &Candidate| {
        let Cost::Distribution { times, .. } = &found.cost else { return None };
        let verifies = profile.pairs.iter().any(|pair| pair.verifier == found.name);
        Some((verifies, found.models.len() == 1, times.seconds(1, profile.context)))
    };
    let ranked = profile.candidates.iter().filter_map(|found| Some((rank(found)?, &found.name)));
    let above = |a: &(bool, bool, f64), b: &(bool, bool, f64)| {
        (a.0, a.1).cmp(&(b.0, b.1)).then(a.2.total_cmp(&b.2))
    };
    ranked.max_by(|a, b| above(&a.0, &b.0)).map(|(_, name)| name.clone())
}

pub(super) fn unknown(profile: &Profile, what: &str, name: &str) -> WrongRequest {
    let names: Vec<&str> = profile.candidates.iter().map(|found| found.name.as_str()).collect();
    let help = match nearest(name, names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("it has: {}", names.join(", ")),
    };
    WrongRequest(format!(
        "the {what} `{name}` is not in the profile; {help} (`kad profile --models` measures more)"
    ))
}

/// The target first, then what may draft for it.
pub(super) fn members(
    profile: &Profile,
    target: &str,
    ask: &RankingRequest,
) -> Result<Vec<String>> {
    let composed = |candidate: &&Candidate| candidate.models.len() > 1;
    let of_composed = profile.candidate(target).is_some_and(|found| composed(&found));
    let all = profile.candidates.iter().filter(|other| of_composed || !composed(other));
    let all = || all.map(|candidate| candidate.name.clone()).collect();
    let drafters: Vec<String> = ask.drafters.clone().unwrap_or_else(all);
    if let Some(missing) = drafters.iter().find(|name| profile.candidate(name).is_none()) {
        bail!(unknown(profile, "candidate", missing));
    }
    let others = drafters.into_iter().filter(|name| name != target);
    Ok(std::iter::once(target.to_owned()).chain(others).collect())
}
