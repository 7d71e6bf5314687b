//! How long a plan takes: from items that are done, else from passes that are timed now.

use std::collections::{BTreeMap, HashMap};

use anyhow::Result;
use kad_core::TokenId;
use serde::Serialize;

use super::pace::{Pace, Piece, Wanted};
use super::prepare::Prepared;
use crate::config::{DecoderKind, DecoderPlan, Execution};
use crate::models::{self, Models, Rules};
use crate::output;
use crate::report::Expected;
use crate::run::{self, Held};
use crate::task::{Choice, Grading, Task};

/// Where a time comes from, and what was assumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Basis {
    /// Items that are done.
    Items,
    /// Passes; of scored texts, whose tokens are known.
    Scored,
    /// Passes; as if every text went on to its limit.
    Passes,
    /// Passes of all models at every token, though the decoder asks one of them only at times.
    AllModels,
    /// Passes; as if the target decoded alone.
    TargetAlone,
    /// The time per token that a profile predicts.
    Profile,
    /// Nothing: no prompt could be made.
    Unknown,
}

impl Basis {
    /// In a table.
    pub(super) fn word(self) -> &'static str {
        match self {
            Basis::Items => "items done",
            Basis::Scored => "passes, scored",
            Basis::Passes => "passes",
            Basis::AllModels => "passes, all models",
            Basis::TargetAlone => "passes, target alone",
            Basis::Profile => "profile",
            Basis::Unknown => "unknown",
        }
    }

    /// Below it.
    pub(super) fn meaning(self) -> &'static str {
        match self {
            Basis::Items => "what items of this decoder on this task took that are done already",
            Basis::Scored => "passes timed just now, over the tokens of a typical item",
            Basis::Passes => {
                "passes timed just now, for a typical prompt and as if every text went on to \
                 max_new_tokens: shorter texts take less"
            }
            Basis::AllModels => {
                "the same as if all models made a pass at every token; the decoder asks the aligned one \
                 only where it defers"
            }
            Basis::TargetAlone => {
                "the same as if the target decoded alone: drafts that are accepted make it faster, \
                 drafts that are not can make it slower"
            }
            Basis::Profile => {
                "the time per token that the profile of a planned chain predicts, and a timed prompt; \
                 as if every text went on to max_new_tokens"
            }
            Basis::Unknown => "no prompt could be made: its items will fail",
        }
    }
}

/// One decoder on one task.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    pub(super) task: String,
    pub(super) decoder: String,
    pub(super) items: usize,
    pub(super) done: usize,
    /// None where it is not known.
    pub(super) seconds_per_item: Option<f64>,
    pub(super) seconds_left: Option<f64>,
    pub(super) basis: Basis,
}

/// The work of a typical item, but for the length of replies.
#[derive(Clone)]
struct Work {
    prompt: Vec<TokenId>,
    turns: usize,
    /// Tokens of each text whose distributions are asked for; empty where texts are written.
    scored: Vec<usize>,
    grading: Grading,
}

impl Work {
    fn of(kind: &DecoderKind, models: &Models, task: &Task) -> Option<Self> {
        let item = run::typical(task)?;
        let prompt = run::prompt(kind, models, task, item).ok();
        let prompt = prompt.filter(|tokens| !tokens.is_empty())?;
        let scored = match task.grading {
            Grading::Speed | Grading::Answer(_) => Vec::new(),
            Grading::Text => vec![prompt.len()],
            Grading::Options | Grading::RightMass => {
                let text = models::prompt(kind, models, &task.conversation(item, &[])).ok()?;
                let speaker = models::speaker(kind, models);
                let with = |more: &str| text.tokens(speaker, &format!(" {more}")).ok();
                let own =
                    |option: &Choice| Some(with(&option.text)?.len().saturating_sub(prompt.len()));
                item.options.iter().map(own).collect::<Option<_>>()?
            }
        };
        let (turns, grading) = (item.turns.len().max(1), task.grading.clone());
        Some(Self { prompt, turns, scored, grading })
    }

    /// In passes, if every reply has `new` tokens.
    fn pieces(&self, new: usize) -> Vec<Piece> {
        let (prompt, turns) = (self.prompt.len(), self.turns);
        let none = Piece::default();
        match self.grading {
            // Every turn is read anew with all before it.
            Grading::Speed | Grading::Answer(_) => (0..turns)
                .map(|turn| prompt * (turn + 1) / turns + turn * new)
                .map(|read| Piece { read, written: new, ..none })
                .collect(),
            Grading::Text => vec![Piece { scored: prompt, ..none }],
            Grading::Options | Grading::RightMass => {
                let options =
                    self.scored.iter().map(|&scored| Piece { context: prompt, scored, ..none });
                std::iter::once(Piece { read: prompt, ..none }).chain(options).collect()
            }
        }
    }

    fn is_written(&self) -> bool {
        matches!(self.grading, Grading::Speed | Grading::Answer(_))
    }

    /// Tokens of the longest text in the middle of its writing.
    fn middle(&self, new: usize) -> usize {
        self.prompt.len() + new * self.turns / 2
    }
}

/// What decoders have in common whose passes take the same: the kind of their distribution, and its
/// models.
fn distribution_key(plan: &DecoderPlan) -> (&'static str, Vec<&str>) {
    let distribution = plan.kind.distribution();
    let kind = match distribution {
        DecoderKind::Single { .. } => "single",
        DecoderKind::Deferral { .. } => "deferral",
        DecoderKind::ImplicitReward { .. } => "implicit reward",
        DecoderKind::Chain(_) => "chain",
    };
    (kind, distribution.models())
}

/// One distribution whose passes are timed.
struct Subject<'p> {
    plan: &'p DecoderPlan,
    text: Vec<TokenId>,
    wanted: Wanted,
}

/// Every decoder on every task; None if the user interrupted.
///
/// # Errors
/// If a model fails.
pub(super) fn estimate(
    prepared: &Prepared,
    held: &Held,
    expected: &Expected,
) -> Result<Option<Vec<Row>>> {
    let works = works(prepared, held);
    let Some(paces) = paces(prepared, &works)? else { return Ok(None) };
    let mut rows = Vec::new();
    for (task_at, task) in prepared.tasks.iter().enumerate() {
        for (at, plan) in prepared.experiment.decoders.iter().enumerate() {
            let decoder = held.tally.decoders[task_at][at];
            let (seconds_per_item, basis) = match held.whole.decoders[task_at][at].mean() {
                Some(mean) => (Some(mean), Basis::Items),
                None => match (works.get(&(task_at, at)), paces.get(&distribution_key(plan))) {
                    (Some(work), Some(pace)) => {
                        let (seconds, basis) = of_passes(plan, work, pace, expected);
                        (Some(seconds), basis)
                    }
                    _ => (None, Basis::Unknown),
                },
            };
            rows.push(Row {
                task: task.name.clone(),
                decoder: plan.name.clone(),
                items: decoder.items,
                done: decoder.done,
                seconds_per_item,
                seconds_left: match decoder.left() {
                    0 => Some(0.0),
                    left => seconds_per_item.map(|seconds| seconds * left as f64),
                },
                basis,
            });
        }
    }
    Ok(Some(rows))
}

/// The work of each task for each decoder that has something left there and has done nothing of it
/// yet.
fn works(prepared: &Prepared, held: &Held) -> BTreeMap<(usize, usize), Work> {
    let mut works = BTreeMap::new();
    // Which tokens a prompt has depends on the model that speaks.
    let mut known: HashMap<(usize, &str), Option<Work>> = HashMap::new();
    for (at, plan) in prepared.experiment.decoders.iter().enumerate() {
        for (task_at, task) in prepared.tasks.iter().enumerate() {
            let measured = held.whole.decoders[task_at][at].done > 0;
            if measured || held.tally.decoders[task_at][at].left() == 0 {
                continue;
            }
            let speaker = plan.kind.models().pop().unwrap_or_default();
            let of = || Work::of(&plan.kind, &prepared.models, task);
            if let Some(work) = known.entry((task_at, speaker)).or_insert_with(of) {
                works.insert((task_at, at), work.clone());
            }
        }
    }
    works
}

type Paces<'p> = BTreeMap<(&'static str, Vec<&'p str>), Pace>;

/// Times every distribution that `works` asks for, at the lengths they ask for; None if the user
/// interrupted.
fn paces<'p>(
    prepared: &'p Prepared,
    works: &BTreeMap<(usize, usize), Work>,
) -> Result<Option<Paces<'p>>> {
    let mut subjects: BTreeMap<_, Subject<'p>> = BTreeMap::new();
    for ((_, at), work) in works {
        let plan = &prepared.experiment.decoders[*at];
        let new = if work.is_written() { plan.sampling.max_new_tokens as usize } else { 0 };
        let lengths = [work.prompt.len(), work.middle(new)];
        let first = || Subject {
            plan,
            text: work.prompt.clone(),
            wanted: Wanted { contexts: lengths, scored: false },
        };
        let wanted = &mut subjects.entry(distribution_key(plan)).or_insert_with(first).wanted;
        let [shortest, longest] = wanted.contexts;
        wanted.contexts = [shortest.min(lengths[0]), longest.max(lengths[1])];
        wanted.scored |= !work.is_written();
    }
    if !subjects.is_empty() {
        let plural = if subjects.len() == 1 { "" } else { "s" };
        output::note(&format!("timing passes of {} set{plural} of models", subjects.len()));
    }
    let mut paces = Paces::new();
    for (key, Subject { plan, text, wanted }) in subjects {
        let rules = Rules::of(&plan.kind)?;
        let mut predictor = run::distribution_along(plan, &prepared.models, &rules)?;
        // What a pass takes does not depend on the tokens.
        let text = text.into_iter().cycle();
        let text: Vec<TokenId> = text.take(wanted.contexts[1] + Pace::BEYOND).collect();
        match Pace::measure(&mut *predictor, &text, wanted)? {
            Some(pace) => _ = paces.insert(key, pace),
            None => return Ok(None),
        }
    }
    Ok(Some(paces))
}

/// Seconds of a typical item.
fn of_passes(plan: &DecoderPlan, work: &Work, pace: &Pace, expected: &Expected) -> (f64, Basis) {
    let new = plan.sampling.max_new_tokens as usize;
    let seconds = |pieces: &[Piece]| pieces.iter().map(|piece| pace.seconds(piece)).sum::<f64>();
    let pieces = work.pieces(new);
    if !work.is_written() {
        return (seconds(&pieces), Basis::Scored);
    }
    let predicted = expected.seconds_per_token(&plan.name).filter(|_| plan.kind.speculates());
    if let Some(per_token) = predicted {
        let read: Vec<Piece> = pieces.iter().map(|it| Piece { written: 0, ..*it }).collect();
        let written = (new * work.turns) as f64 * per_token;
        return (seconds(&read) + written, Basis::Profile);
    }
    let basis = match plan.kind.execution() {
        _ if plan.kind.speculates() => Basis::TargetAlone,
        Some(Execution::Lazy) => Basis::AllModels,
        _ => Basis::Passes,
    };
    (seconds(&pieces), basis)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(prompt: usize, turns: usize, scored: &[usize], grading: Grading) -> Work {
        Work { prompt: vec![0; prompt], turns, scored: scored.to_vec(), grading }
    }

    #[test]
    fn turns_are_read_anew_with_the_replies_before_them() {
        let pieces = work(10, 2, &[], Grading::Speed).pieces(7);
        let piece = |read| Piece { read, written: 7, ..Piece::default() };
        assert_eq!(pieces, [piece(5), piece(10 + 7)]);
    }

    #[test]
    fn options_share_their_prompt_and_texts_are_scored_whole() {
        let options = work(10, 1, &[2, 3], Grading::Options).pieces(7);
        let none = Piece::default();
        let option = |scored| Piece { context: 10, scored, ..none };
        assert_eq!(options, [Piece { read: 10, ..none }, option(2), option(3)]);
        let text = work(10, 1, &[10], Grading::Text).pieces(7);
        assert_eq!(text, [Piece { scored: 10, ..none }]);
    }
}
