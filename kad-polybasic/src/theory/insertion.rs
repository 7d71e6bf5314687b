//! Theorem 3.2 for every candidate at every place of a planned chain.

use serde::{Deserialize, Serialize};

use super::error::TheoryError;
use super::lemma::{
    InsertionCriterion, InsertionTerms, exact_insertion, measured_insertion, published_insertion,
};
use super::planner::{Candidates, PlanLimits, PlannedChain};
use super::predictor::LevelPrediction;

/// One more model in a chain, by the published and by the exact criterion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Insertion {
    /// The candidate that is put in.
    pub candidate: usize,
    /// The level it becomes, ≥ 2: it stands below level `level − 1`.
    pub level: usize,
    /// The numbers of the papers' formulas: passes at their mean seconds, *final* tokens per pass.
    pub terms: InsertionTerms,
    /// Theorem 3.2 as published.
    pub published: InsertionCriterion,
    /// The exact criterion with `T_i` as it was before, for the three levels concerned.
    pub exact: InsertionCriterion,
    /// The exact criterion over all levels, with overheads and with passes as wide as they are in
    /// each chain: left, seconds per token of the new level; right, what the others save.
    pub measured: InsertionCriterion,
    /// The chain with the new level and its best lengths.
    pub after: PlannedChain,
}

impl Candidates {
    /// What every candidate that is not in the chain of these members and lengths would do at every
    /// place of it that it may stand at, with the best lengths of the longer chain; the fastest
    /// first. Places next to pairs that were not measured are left out. The number of levels is not
    /// limited here.
    ///
    /// # Errors
    /// Those of [`Candidates::plan`] and of [`Candidates::chain`].
    pub fn insertions(
        &self,
        members: &[usize],
        lengths: &[usize],
        limits: &PlanLimits,
    ) -> Result<Vec<Insertion>, TheoryError> {
        self.check_with(limits)?;
        let plain = self.plain(limits)?;
        let before = &self.planned(members.to_vec(), lengths.to_vec(), plain, limits)?;
        let mut found = Vec::new();
        for candidate in (0..self.candidates.len()).filter(|c| !before.members.contains(c)) {
            for level in 1..=before.members.len() {
                let mut members = before.members.clone();
                members.insert(level, candidate);
                if let Some(after) = self.best_of(&members, plain, limits)? {
                    found.push(compare(candidate, level, before, after));
                }
            }
        }
        let seconds = |insertion: &Insertion| insertion.after.prediction.seconds_per_token;
        found.sort_by(|a, b| seconds(a).total_cmp(&seconds(b)));
        Ok(found)
    }
}

/// Both criteria for the candidate that stands at `place` (from 0) of `after`.
fn compare(
    candidate: usize,
    place: usize,
    before: &PlannedChain,
    after: PlannedChain,
) -> Insertion {
    let (old, new) = (&before.prediction.levels, &after.prediction.levels);
    let tokens = |level: &LevelPrediction| 1.0 / level.passes_per_token;
    let passes = |level: Option<&LevelPrediction>| level.map_or(0.0, |l| l.passes_per_token);
    let terms = InsertionTerms {
        above_seconds: old[place - 1].seconds_per_pass,
        above_before: tokens(&old[place - 1]),
        above_after: tokens(&new[place - 1]),
        new_seconds: new[place].seconds_per_pass,
        new_tokens: tokens(&new[place]),
        below_seconds: old.get(place).map_or(0.0, |level| level.seconds_per_pass),
        below_before: passes(old.get(place)),
        below_after: passes(new.get(place + 1)),
    };
    let seconds = |levels: &[LevelPrediction]| -> Vec<f64> {
        levels.iter().map(|level| level.seconds_per_token).collect()
    };
    Insertion {
        candidate,
        level: place + 1,
        terms,
        published: published_insertion(&terms),
        exact: exact_insertion(&terms),
        measured: measured_insertion(&seconds(old), &seconds(new), place),
        after,
    }
}
