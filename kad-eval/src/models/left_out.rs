//! Optional models that are absent, and the experiment without them.

use anyhow::{Result, bail};

use super::Models;
use super::load::{Absent, load_present};
use crate::config::{DecoderKind, Experiment};
use crate::failure::WrongRequest;
use crate::output;

/// Loads the models that `kinds` of an experiment use. Optional models that are absent are removed
/// from it, with the decoders that need them; an experiment without decoders is an error. Warns at
/// once, and returns the warnings.
pub(crate) fn load_for(
    experiment: &mut Experiment,
    kinds: &[DecoderKind],
) -> Result<(Models, Vec<String>)> {
    let (models, absent) = load_present(&experiment.models, kinds.iter())?;
    let said: Vec<String> = absent.iter().map(|absent| warning(experiment, absent)).collect();
    said.iter().for_each(|line| output::warning(line));
    let is_absent = |name: &str| absent.iter().any(|absent| absent.name == name);
    experiment.decoders.retain(|plan| !plan.kind.models().into_iter().any(is_absent));
    experiment.models.retain(|name, _| !is_absent(name));
    if experiment.decoders.is_empty() && !absent.is_empty() {
        bail!(WrongRequest(
            "no decoder is left: each needs a missing optional model (see the warnings)".to_owned()
        ));
    }
    Ok((models, said))
}

/// Refuses an experiment whose baseline was left out.
pub(crate) fn check_baseline(experiment: &Experiment) -> Result<()> {
    let baseline = &experiment.baseline;
    if experiment.decoders.iter().any(|plan| plan.name == *baseline) {
        return Ok(());
    }
    bail!(WrongRequest(format!(
        "the baseline `{baseline}` is left out: it needs a missing optional model (see the \
         warnings); provide the model or choose another decoder with `baseline = …`"
    )))
}

/// A warning of the decoders left out with one model, and why.
fn warning(experiment: &Experiment, absent: &Absent) -> String {
    let needs = |kind: &DecoderKind| kind.models().contains(&absent.name.as_str());
    let decoders = experiment.decoders.iter().filter(|plan| needs(&plan.kind));
    let decoders: Vec<String> = decoders.map(|plan| format!("`{}`", plan.name)).collect();
    let (name, why) = (&absent.name, &absent.why);
    match decoders.as_slice() {
        [] => format!("model `{name}` is left out: {why:#}"),
        [one] => format!("decoder {one} is left out: it needs model `{name}`: {why:#}"),
        all => {
            format!("decoders {} are left out: they need model `{name}`: {why:#}", all.join(", "))
        }
    }
}
