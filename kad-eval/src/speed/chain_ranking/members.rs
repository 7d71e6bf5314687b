//! Target and drafters of a ranking.

use anyhow::{Result, anyhow, bail};

use super::RankingRequest;
use crate::failure::WrongRequest;
use crate::speed::profile::{CandidateProfile, Profile};
use crate::toml_table::nearest;

/// The requested target, or the default one.
pub(super) fn target(profile: &Profile, request: &RankingRequest) -> Result<String> {
    let Some(name) = &request.target else {
        let found = default_target(profile);
        return found.ok_or_else(|| {
            anyhow!(WrongRequest("the profile has no model that can be a target".into()))
        });
    };
    match profile.candidate(name).map(|found| found.cost.times()) {
        Some(Some(_)) => Ok(name.clone()),
        Some(None) => bail!(WrongRequest(format!(
            "`{name}` only drafts and has no distribution of its own: name a model or a decoder"
        ))),
        None => bail!(unknown(profile, "target", name)),
    }
}

/// The distribution of the experiment's baseline. Without it the slowest distribution; verifiers
/// come before others, single models before composed distributions.
fn default_target(profile: &Profile) -> Option<String> {
    if let Some(target) = profile.target.as_ref().filter(|name| profile.candidate(name).is_some()) {
        return Some(target.clone());
    }
    let rank = |found: &CandidateProfile| {
        let times = found.cost.times()?;
        let verifies = profile.pairs.iter().any(|pair| pair.verifier == found.name);
        Some((verifies, !found.is_composed(), times.seconds(1, profile.context)))
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

/// The target first, then the candidates that may draft for it.
pub(super) fn members(
    profile: &Profile,
    target: &str,
    request: &RankingRequest,
) -> Result<Vec<String>> {
    let of_composed = profile.candidate(target).is_some_and(CandidateProfile::is_composed);
    let all = profile.candidates.iter().filter(|other| of_composed || !other.is_composed());
    let all = || all.map(|candidate| candidate.name.clone()).collect();
    let drafters: Vec<String> = request.drafters.clone().unwrap_or_else(all);
    if let Some(missing) = drafters.iter().find(|name| profile.candidate(name).is_none()) {
        bail!(unknown(profile, "candidate", missing));
    }
    let others = drafters.into_iter().filter(|name| name != target);
    Ok(std::iter::once(target.to_owned()).chain(others).collect())
}
