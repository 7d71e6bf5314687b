//! Refusal of a profile that was made under other conditions than the present ones.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Result, bail};
use serde::Serialize;
use serde_json::Value;

use super::file::{Profile, ProfileConditions, ProfiledModel};
use crate::config::SamplingPlan;
use crate::failure::WrongRequest;
use crate::machine::Machine;
use crate::models::{Model, Models};
use crate::numbers::counted;
use crate::task::TaskPlan;

impl Profile {
    /// Refuses a profile whose conditions are not `now`, or whose acceptance rates were measured on
    /// prompts of other `tasks`: acceptance depends on the text as on the sampling settings. The
    /// order of tasks counts, because prompts are taken from them in turn and a benchmark goes on
    /// where the profile stopped. `path` and `experiment` are the files in the command that makes
    /// a new profile.
    pub(crate) fn check(
        &self,
        path: &Path,
        experiment: &str,
        now: &ProfileConditions,
        tasks: Option<&[TaskPlan]>,
    ) -> Result<()> {
        let mut differences = self.conditions.differences(now);
        let then = self.settings.tasks.join(", ");
        let tasks = tasks.map(|tasks| task_names(tasks).join(", "));
        differences.extend(tasks.filter(|now| *now != then).map(|now| {
            format!("tasks on whose prompts acceptance was measured: {then} then, {now} now")
        }));
        if differences.is_empty() {
            return Ok(());
        }
        let (profile, differences) = (path.display(), differences.join("; "));
        bail!(WrongRequest(format!(
            "the profile {profile} was made under other conditions; {differences}. Make a new one: \
             kad profile {experiment} --out {profile}"
        )))
    }
}

/// The names of tasks. Of several tasks with the number of items, where it is limited: prompts are
/// taken from them in turn until one has no more.
pub(crate) fn task_names(tasks: &[TaskPlan]) -> Vec<String> {
    let name = |task: &TaskPlan| match task.items().filter(|_| tasks.len() > 1) {
        Some(items) => format!("{} ({})", task.name(), counted(items, "item")),
        None => task.name(),
    };
    tasks.iter().map(name).collect()
}

impl ProfileConditions {
    /// The present conditions of `models`.
    pub(crate) fn now(sampling: &SamplingPlan, models: &Models) -> Self {
        let identity = |model: &Model| ProfiledModel {
            source: model.details.source.clone(),
            layers: model.details.layers,
            digest: model.digest.clone(),
            backend: model.details.backend.to_string(),
            dtype: model.details.dtype.to_string(),
            device: model.details.options.device.to_string(),
            threads: model.details.options.threads.map(usize::from),
            library: model.details.library.clone(),
        };
        Self {
            kad: env!("CARGO_PKG_VERSION").to_owned(),
            machine: Machine::here(),
            sampling: sampling.clone(),
            models: models.iter().map(|(name, model)| (name.clone(), identity(model))).collect(),
        }
    }

    /// These conditions on this program and machine.
    pub(crate) fn on_this_machine(&self) -> Self {
        let kad = env!("CARGO_PKG_VERSION").to_owned();
        Self { kad, machine: Machine::here(), ..self.clone() }
    }

    /// Everything that is different `now`: `dtype of model large: f32 then, f16 now`. Models that
    /// only one of the two names do not count: their numbers are not looked at, and a missing
    /// candidate is noticed where it is needed.
    pub(crate) fn differences(&self, now: &Self) -> Vec<String> {
        let mut found = Vec::new();
        if self.kad != now.kad {
            found.push(format!("version of kad: {} then, {} now", self.kad, now.kad));
        }
        found.extend(differences(&self.machine, &now.machine, |key| match key {
            "cpu" => "processor".to_owned(),
            "target" => "built for".to_owned(),
            key => key.to_owned(),
        }));
        // The length of texts does not change their distribution.
        let [then, sampling] =
            [self, now].map(|it| SamplingPlan { max_new_tokens: 1, ..it.sampling.clone() });
        found.extend(differences(&then, &sampling, |key| format!("sampling {key}")));
        for (name, then) in &self.models {
            let Some(now) = now.models.get(name) else { continue };
            found.extend(differences(then, now, |key| match key {
                "digest" => format!("files of model `{name}`"),
                key => format!("{key} of model `{name}`"),
            }));
        }
        found
    }
}

/// The fields in which two structs differ, named by `name`. A field may be left out at its default.
fn differences<T: Serialize>(then: &T, now: &T, name: impl Fn(&str) -> String) -> Vec<String> {
    let [then, now] = [then, now].map(|it| match serde_json::to_value(it) {
        Ok(Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    });
    let keys: BTreeSet<&String> = then.keys().chain(now.keys()).collect();
    let text = |value: Option<&Value>| match value {
        None => "default".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    let different = keys.into_iter().filter(|key| then.get(*key) != now.get(*key));
    let words = different.map(|key| {
        format!("{}: {} then, {} now", name(key), text(then.get(key)), text(now.get(key)))
    });
    words.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::speed::profile::sample_profile;

    /// Every field that counts, and only those: one is changed at a time.
    #[test]
    fn every_change_is_named() {
        let then = sample_profile::conditions();
        assert!(then.differences(&then).is_empty());
        type Change = (&'static str, fn(&mut ProfileConditions));
        let changes: [Change; 21] = [
            ("version of kad", |it| it.kad.push('9')),
            ("processor", |it| it.machine.cpu.push('9')),
            ("threads", |it| it.machine.threads += 1),
            ("built for", |it| it.machine.target.push('9')),
            ("sampling temperature", |it| it.sampling.temperature += 0.1),
            ("sampling top_k", |it| it.sampling.top_k = Some(9)),
            ("sampling top_p", |it| it.sampling.top_p = Some(0.9)),
            ("sampling min_p", |it| it.sampling.min_p = Some(0.1)),
            ("sampling repetition_penalty", |it| it.sampling.repetition_penalty = 1.1),
            ("sampling stop_at_end", |it| it.sampling.stop_at_end = false),
            ("sampling decision_temperature", |it| it.sampling.decision_temperature = 0.5),
            ("source of model `large`", |it| large(it).source.push('9')),
            ("files of model `large`", |it| large(it).digest.push('9')),
            ("backend of model `large`", |it| large(it).backend.push('9')),
            ("dtype of model `large`", |it| large(it).dtype.push('9')),
            ("device of model `large`", |it| large(it).device.push('9')),
            ("threads of model `large`", |it| large(it).threads = Some(9)),
            ("library of model `large`", |it| large(it).library = Some("9".to_owned())),
            ("layers of model `large`", |it| large(it).layers += 1),
            ("", |it| it.sampling.max_new_tokens += 1),
            ("", |it| {
                let same = large(it).clone();
                it.models.insert("other".to_owned(), same);
            }),
        ];
        for (what, change) in changes {
            let mut now = then.clone();
            change(&mut now);
            let found = then.differences(&now);
            let names: Vec<_> = found.iter().map(|it| it.split(": ").next().unwrap()).collect();
            let wanted: Vec<_> = Some(what).filter(|what| !what.is_empty()).into_iter().collect();
            assert_eq!(names, wanted);
        }
        let here = then.differences(&then.on_this_machine());
        let machine = ["version of kad", "processor", "threads", "built for"];
        assert!(
            here.iter().all(|it| machine.contains(&it.split(": ").next().unwrap())),
            "{here:?}"
        );
        assert!(here.iter().any(|it| it.starts_with("processor: Abacus 1 then")), "{here:?}");
    }

    fn large(conditions: &mut ProfileConditions) -> &mut ProfiledModel {
        conditions.models.get_mut("large").unwrap()
    }

    #[test]
    fn the_error_names_what_differs_and_the_command() {
        let mut profile = sample_profile::profile(vec![], vec![]);
        profile.conditions = sample_profile::conditions();
        let mut now = sample_profile::conditions();
        now.machine.threads = 9;
        large(&mut now).dtype = "f16".to_owned();
        let error = profile.check("p.json".as_ref(), "e.toml", &now, None).unwrap_err();
        assert!(error.is::<WrongRequest>());
        let words = [
            "threads: 2 then, 9 now; ",
            "dtype of model `large`: f32 then, f16 now. ",
            "kad profile e.toml --out p.json",
        ];
        let text = error.to_string();
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    }

    /// Other tasks, more, fewer, another part or another order are refused with both lists and the
    /// command. The number of items counts where there are several tasks.
    #[test]
    fn acceptance_on_other_prompts_is_refused() {
        let plan = |toml: &str| TaskPlan::from_toml(toml).unwrap();
        let nano = |split| plan(&format!("kind = \"nano\"\nsplit = \"{split}\""));
        let (gsm8k, few) = (plan("kind = \"gsm8k\""), plan("kind = \"gsm8k\"\nitems = 3"));
        let bench = plan("kind = \"spec_bench\"");
        let part = plan("kind = \"spec_bench\"\npart = \"qa\"");
        let mut profile = sample_profile::profile(vec![], vec![]);
        profile.settings.tasks = vec!["nano/test".to_owned(), "gsm8k".to_owned()];
        let now = &profile.conditions;
        let check =
            |tasks: &[TaskPlan]| profile.check("p.json".as_ref(), "e.toml", now, Some(tasks));
        assert!(check(&[nano("test"), gsm8k.clone()]).is_ok());
        assert_eq!(
            task_names(std::slice::from_ref(&few)),
            task_names(std::slice::from_ref(&gsm8k))
        );
        for (tasks, now) in [
            (vec![nano("test"), few], "nano/test, gsm8k (3 items) now"),
            (vec![nano("validation"), gsm8k.clone()], "nano/validation, gsm8k now"),
            (vec![gsm8k.clone(), nano("test")], "gsm8k, nano/test now"),
            (vec![nano("test")], "nano/test now"),
            (vec![nano("test"), gsm8k, bench], "nano/test, gsm8k, spec_bench now"),
            (vec![part], "spec_bench/qa now"),
        ] {
            let error = check(&tasks).unwrap_err();
            assert!(error.is::<WrongRequest>());
            let text = error.to_string();
            let words =
                ["acceptance was measured: nano/test, gsm8k then, ", now, "kad profile e.toml"];
            assert!(words.iter().all(|word| text.contains(word)), "{text}");
        }
    }
}
