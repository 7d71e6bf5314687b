//! Prompts of an experiment's tasks for measurements.

use std::path::Path;

use anyhow::{Context, Result, bail};
use kad_core::{LanguageModel, TokenId};

use crate::config::{DecoderKind, Experiment};
use crate::failure::WrongRequest;
use crate::models::{self, Models};
use crate::numbers::counted;
use crate::task::{self, Conversation, LoadOptions, Task, TaskPlan};

/// Added to every seed of a benchmark: it never repeats the draws of the profile.
const SEED_OFFSET: u64 = 0x9e37_79b9_7f4a_7c15;

/// Conversations of task items, tokenised for a decoder on request.
pub(crate) struct Prompts {
    /// Seed of the item's draws, and its conversation.
    pub(crate) items: Vec<(u64, Conversation)>,
}

/// The first `count` conversations, taken from the tasks in turn; fewer if there are no more.
pub(crate) fn in_turn(tasks: &[Task], count: usize) -> impl Iterator<Item = Conversation> {
    let at = move |index: usize| {
        tasks.iter().filter_map(move |task| Some(task.conversation(task.items.get(index)?, &[])))
    };
    (0..count).flat_map(at).take(count)
}

/// Seed and prompt of a text.
pub(super) type SeededPrompt = (u64, Vec<TokenId>);

impl Prompts {
    /// `count` prompts after the first `skip`, taken from the tasks in turn; fewer if there are no
    /// more. `data` is the folder of task data.
    pub(crate) fn load(
        experiment: &Experiment,
        data: Option<&Path>,
        skip: usize,
        count: usize,
    ) -> Result<Self> {
        let most = skip.saturating_add(count);
        let load = |plan: &TaskPlan| {
            let from = LoadOptions { data, seed: experiment.seed, limit: Some(most as u64) };
            task::load(plan, from).with_context(|| format!("task {}", plan.name()))
        };
        let tasks = experiment.tasks.iter().map(load).collect::<Result<Vec<_>>>()?;
        let seeded = in_turn(&tasks, most).zip(0..);
        let items = seeded.map(|(asked, index)| (experiment.seed.wrapping_add(index), asked));
        Ok(Self { items: items.skip(skip).collect() })
    }

    /// Up to `count` prompts that are not among the first `profiled` ones, with other seeds, and a
    /// description of them. If the tasks have no further prompts: the first ones.
    pub(crate) fn held_out(
        experiment: &Experiment,
        data: Option<&Path>,
        profiled: usize,
        count: usize,
    ) -> Result<(Self, String)> {
        let mut found = Self::load(experiment, data, profiled, count)?;
        let description = if profiled == 0 {
            "the first prompts of the tasks".to_owned()
        } else if found.items.is_empty() {
            found = Self::load(experiment, data, 0, count)?;
            "prompts of the profile with other seeds: the tasks have no others".to_owned()
        } else {
            format!("prompts after the {profiled} of the profile, with other seeds")
        };
        for (seed, _) in &mut found.items {
            *seed = seed.wrapping_add(SEED_OFFSET);
        }
        Ok((found, description))
    }

    /// The prompts for `kind` that leave room for a token in all of its models.
    pub(super) fn of(&self, kind: &DecoderKind, models: &Models) -> Result<Vec<SeededPrompt>> {
        let found = self.common(&[kind], models)?;
        Ok(found.into_iter().map(|(seed, mut texts)| (seed, texts.swap_remove(0))).collect())
    }

    /// A prompt for each of `kinds`, of the items that leave room for a token in all models of all
    /// of them: compared decoders get the same items. It is an error if no prompt fits.
    pub(crate) fn common(
        &self,
        kinds: &[&DecoderKind],
        models: &Models,
    ) -> Result<Vec<(u64, Vec<Vec<TokenId>>)>> {
        let mut found = Vec::with_capacity(self.items.len());
        for (seed, asked) in &self.items {
            let texts = kinds.iter().map(|kind| models::prompt_tokens(kind, models, asked));
            found.push((*seed, texts.collect::<Result<Vec<_>>>()?));
        }
        let mut names: Vec<&str> = kinds.iter().flat_map(|kind| kind.models()).collect();
        names.sort_unstable();
        names.dedup();
        let room = names.iter().map(|name| models[*name].counted.context_len()).min();
        let room = room.unwrap_or(0);
        let shortest = found.iter().filter_map(|(_, texts)| texts.iter().map(Vec::len).max()).min();
        let fits = |text: &Vec<TokenId>| !text.is_empty() && text.len() < room;
        found.retain(|(_, texts)| texts.iter().all(fits));
        if found.is_empty() {
            let shortest = shortest.map_or("there is none".to_owned(), |n| {
                format!("the shortest has {}", counted(n, "token"))
            });
            bail!(WrongRequest(format!(
                "no prompt fits the context of {room} tokens of `{}`: {shortest}; name a task with \
                 shorter ones in the experiment",
                names.join("`, `")
            )));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    /// A benchmark takes the prompts after those of the profile while there are any, and never the
    /// profile's seeds.
    #[test]
    fn a_benchmark_has_other_prompts_and_seeds_than_the_profile() {
        let toml = "name = \"e\"\n[models.m]\nsource = \"nano:draft\"\n[[decoders]]\n\
                    name = \"plain\"\nkind = \"single\"\nmodel = \"m\"\n[[tasks]]\nkind = \"nano\"\n\
                    items = 5\n";
        let file = config::read("e.toml", toml).unwrap();
        let all = Prompts::load(&file, None, 0, 9).unwrap().items;
        assert_eq!(all.len(), 5);
        let (found, words) = Prompts::held_out(&file, None, 3, 4).unwrap();
        assert_eq!(found.items.len(), 2);
        for ((seed, asked), (old, known)) in found.items.iter().zip(&all[3..]) {
            assert_eq!(format!("{asked:?}"), format!("{known:?}"));
            assert!(seed != old && all.iter().all(|(other, _)| seed != other));
        }
        assert!(words.contains("after the 3"), "{words}");
        let (found, words) = Prompts::held_out(&file, None, 5, 4).unwrap();
        assert_eq!(found.items.len(), 4);
        assert!(words.contains("no others"), "{words}");
    }
}
