//! Whether measured numbers are of what runs now.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use anyhow::{Result, bail};

use super::file::{About, ModelIdentity, Profile};
use crate::failure::WrongRequest;
use crate::task::TaskPlan;

/// Something that was otherwise when the profile was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    /// What differs: `dtype of model base`.
    pub(crate) what: String,
    /// In the profile.
    pub(crate) then: String,
    /// Now.
    pub(crate) now: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} then, {} now", self.what, self.then, self.now)
    }
}

/// A profile that is of something else.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the profile {profile} is not of what would run now; {}. Make a new one: \
     kad profile {experiment} --out {profile}",
    listed(.differences)
)]
pub(crate) struct Stale {
    /// The profile's file.
    pub(crate) profile: String,
    /// The experiment's file.
    pub(crate) experiment: String,
    /// At least one.
    pub(crate) differences: Vec<Difference>,
}

fn listed(differences: &[Difference]) -> String {
    differences.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl Profile {
    /// Refuses numbers that are not of `now`; `path` and `experiment` are the files, for the
    /// command that makes new ones.
    ///
    /// # Errors
    /// [`Stale`], naming what differs.
    pub(crate) fn check_fresh(&self, path: &Path, experiment: &str, now: &About) -> Result<()> {
        refuse(path, experiment, self.about.differences(now))
    }

    /// Refuses acceptances that were counted on prompts of other tasks than `tasks`: they depend on
    /// the text as they do on the sampling settings. The tasks' order counts, because prompts are
    /// taken from them in turn and a comparison goes on where the profile stopped. `path` and
    /// `experiment` as for [`check_fresh`](Self::check_fresh).
    ///
    /// # Errors
    /// [`Stale`], naming the tasks then and now.
    pub(crate) fn check_tasks(
        &self,
        path: &Path,
        experiment: &str,
        tasks: &[TaskPlan],
    ) -> Result<()> {
        let what = "tasks on whose prompts acceptance was measured".to_owned();
        let mut differences = Vec::new();
        differ(&mut differences, what, &self.effort.tasks.join(", "), &sources(tasks).join(", "));
        refuse(path, experiment, differences)
    }
}

/// Where prompts are from: of several tasks also how many items, since they are taken in turn until
/// one has no more.
pub(crate) fn sources(tasks: &[TaskPlan]) -> Vec<String> {
    let source = |task: &TaskPlan| match task.items().filter(|_| tasks.len() > 1) {
        Some(items) => format!("{} ({items} items)", task.name()),
        None => task.name(),
    };
    tasks.iter().map(source).collect()
}

fn refuse(path: &Path, experiment: &str, differences: Vec<Difference>) -> Result<()> {
    if differences.is_empty() {
        return Ok(());
    }
    let (profile, experiment) = (path.display().to_string(), experiment.to_owned());
    bail!(WrongRequest(Stale { profile, experiment, differences }.to_string()))
}

impl About {
    /// What differs between this, which a profile was made with, and `now`. Models that only one of
    /// the two names do not: nobody looks at the numbers of a model that does not run, and what
    /// runs without numbers is found out by whoever asks for them.
    pub(crate) fn differences(&self, now: &Self) -> Vec<Difference> {
        let mut found = self.machine_differences(now);
        let settings = |about: &Self| {
            // The length of texts is no part of their distribution.
            let distribution =
                crate::config::SamplingPlan { max_new_tokens: 1, ..about.sampling.clone() };
            serde_json::to_value(distribution).unwrap_or_default()
        };
        let (then, settings) = (settings(self), settings(now));
        // A setting that is as usual may be left out.
        let keys = [&then, &settings].into_iter().filter_map(|of| of.as_object());
        let keys: BTreeSet<&String> = keys.flat_map(|of| of.keys()).collect();
        for key in keys {
            differ(&mut found, format!("sampling {key}"), &then[key], &settings[key]);
        }
        for (name, then) in &self.models {
            if let Some(now) = now.models.get(name) {
                model(&mut found, name, then, now);
            }
        }
        found
    }

    /// The part of the differences that is the program's and the machine's.
    pub(crate) fn machine_differences(&self, now: &Self) -> Vec<Difference> {
        let mut found = Vec::new();
        differ(&mut found, "version of kad".to_owned(), &self.kad, &now.kad);
        let (then, now) = (&self.machine, &now.machine);
        differ(&mut found, "processor".to_owned(), &then.cpu, &now.cpu);
        differ(&mut found, "threads".to_owned(), &then.threads, &now.threads);
        differ(&mut found, "built for".to_owned(), &then.target, &now.target);
        found
    }
}

fn model(found: &mut Vec<Difference>, name: &str, then: &ModelIdentity, now: &ModelIdentity) {
    for (what, then, now) in [
        ("source", &then.source, &now.source),
        ("files", &then.digest, &now.digest),
        ("backend", &then.backend, &now.backend),
        ("dtype", &then.dtype, &now.dtype),
        ("device", &then.device, &now.device),
        ("threads", &threads(then), &threads(now)),
        ("library", &library(then), &library(now)),
    ] {
        differ(found, format!("{what} of model `{name}`"), then, now);
    }
    differ(found, format!("layers of model `{name}`"), &then.layers, &now.layers);
}

fn library(model: &ModelIdentity) -> String {
    model.library.clone().unwrap_or_else(|| "built in".to_owned())
}

fn threads(model: &ModelIdentity) -> String {
    model.threads.map_or("all".to_owned(), |threads| threads.to_string())
}

fn differ<T: PartialEq + ToString>(found: &mut Vec<Difference>, what: String, then: &T, now: &T) {
    if then != now {
        found.push(Difference { what, then: then.to_string(), now: now.to_string() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::speed::profile::fixtures;

    /// Every field that is looked at, and only those: one is changed at a time.
    #[test]
    fn every_change_is_named() {
        let then = fixtures::about();
        assert_eq!(then.differences(&then), []);
        type Change = (&'static str, fn(&mut About));
        let changes: [Change; 21] = [
            ("version of kad", |a| a.kad.push('9')),
            ("processor", |a| a.machine.cpu.push('9')),
            ("threads", |a| a.machine.threads += 1),
            ("built for", |a| a.machine.target.push('9')),
            ("sampling temperature", |a| a.sampling.temperature += 0.1),
            ("sampling top_k", |a| a.sampling.top_k = Some(9)),
            ("sampling top_p", |a| a.sampling.top_p = Some(0.9)),
            ("sampling min_p", |a| a.sampling.min_p = Some(0.1)),
            ("sampling repetition_penalty", |a| a.sampling.repetition_penalty = 1.1),
            ("sampling stop_at_end", |a| a.sampling.stop_at_end = false),
            ("sampling decision_temperature", |a| a.sampling.decision_temperature = 0.5),
            ("source of model `large`", |a| large(a).source.push('9')),
            ("files of model `large`", |a| large(a).digest.push('9')),
            ("backend of model `large`", |a| large(a).backend.push('9')),
            ("dtype of model `large`", |a| large(a).dtype.push('9')),
            ("device of model `large`", |a| large(a).device.push('9')),
            ("threads of model `large`", |a| large(a).threads = Some(9)),
            ("library of model `large`", |a| large(a).library = Some("9".to_owned())),
            ("layers of model `large`", |a| large(a).layers += 1),
            ("", |a| a.sampling.max_new_tokens += 1),
            ("", |a| {
                let same = large(a).clone();
                a.models.insert("other".to_owned(), same);
            }),
        ];
        for (what, change) in changes {
            let mut now = then.clone();
            change(&mut now);
            let found = then.differences(&now);
            let names: Vec<_> = found.iter().map(|difference| difference.what.as_str()).collect();
            let wanted: Vec<_> = Some(what).filter(|what| !what.is_empty()).into_iter().collect();
            assert_eq!(names, wanted);
            let machine = ["version of kad", "processor", "threads", "built for"];
            let of_machine = then.machine_differences(&now);
            assert_eq!(of_machine.is_empty(), !machine.contains(&what), "{what}");
        }
    }

    fn large(about: &mut About) -> &mut ModelIdentity {
        about.models.get_mut("large").unwrap()
    }

    #[test]
    fn the_error_names_what_differs_and_the_command() {
        let (then, mut now) = (fixtures::about(), fixtures::about());
        now.machine.threads = 9;
        large(&mut now).dtype = "f16".to_owned();
        let differences = then.differences(&now);
        let stale = Stale { profile: "p.json".into(), experiment: "e.toml".into(), differences };
        let words = [
            "threads: 2 then, 9 now",
            "dtype of model `large`: f32 then, f16 now",
            "kad profile e.toml --out p.json",
        ];
        let text = stale.to_string();
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    }

    /// Other tasks, more, fewer, another part or another order are refused with both lists and the
    /// command; how many items of them are taken matters where there are several.
    #[test]
    fn acceptance_on_other_prompts_is_refused() {
        let plan = |kind: &str, key: &str| {
            TaskPlan::from_toml(&format!("kind = \"{kind}\"\n{key}")).unwrap()
        };
        let nano = |split: &str| plan("nano", &format!("split = \"{split}\""));
        let gsm8k = |items: Option<u64>| {
            plan("gsm8k", &items.map_or(String::new(), |items| format!("items = {items}")))
        };
        let bench = |part: Option<&str>| {
            plan("spec_bench", &part.map_or(String::new(), |part| format!("part = \"{part}\"")))
        };
        let mut profile = fixtures::profile(vec![], vec![]);
        profile.effort.tasks = vec!["nano/test".to_owned(), "gsm8k".to_owned()];
        let check = |tasks: &[TaskPlan]| profile.check_tasks("p.json".as_ref(), "e.toml", tasks);
        assert!(check(&[nano("test"), gsm8k(None)]).is_ok());
        let alone = |items| sources(&[gsm8k(items)]);
        assert_eq!(alone(Some(3)), alone(None));
        for (tasks, now) in [
            (vec![nano("test"), gsm8k(Some(3))], "nano/test, gsm8k (3 items) now"),
            (vec![nano("validation"), gsm8k(None)], "nano/validation, gsm8k now"),
            (vec![gsm8k(None), nano("test")], "gsm8k, nano/test now"),
            (vec![nano("test")], "nano/test now"),
            (vec![nano("test"), gsm8k(None), bench(None)], "nano/test, gsm8k, spec_bench now"),
            (vec![bench(Some("qa"))], "spec_bench/qa now"),
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
