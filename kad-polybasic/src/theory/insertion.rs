//! Theorem 3.2 of arXiv 2510.26527 for every candidate at every level of a planned chain.

use serde::{Deserialize, Serialize};

use super::error::TheoryError;
use super::lemma::{
    InsertionCriterion, InsertionTerms, exact_insertion, measured_insertion, published_insertion,
};
use super::planner::{Candidates, PlanLimits, PlannedChain};
use super::predictor::LevelPrediction;

/// The insertion of one more model into a chain, by the published and by the exact criterion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Insertion {
    /// The inserted candidate, an index into [`Candidates::candidates`].
    pub candidate: usize,
    /// Its level in the longer chain, ≥ 2: it stands just below level `level − 1`.
    pub level: usize,
    /// The terms of the published formula: mean seconds per pass, *final* tokens per pass.
    pub terms: InsertionTerms,
    /// Theorem 3.2 as published.
    pub published: InsertionCriterion,
    /// The exact criterion for the three levels concerned, with `T_i` as before the insertion.
    pub exact: InsertionCriterion,
    /// The exact criterion over all levels, with overheads and with the pass widths of each chain.
    /// Left: seconds per token of the new level. Right: seconds per token that all other levels
    /// save.
    pub measured: InsertionCriterion,
    /// The longer chain with its best lengths.
    pub after: PlannedChain,
}

impl Candidates {
    /// Evaluates the insertion of every candidate outside this chain at every level, with the best
    /// lengths of the longer chain; the fastest first. Leaves out levels next to pairs that were
    /// not measured. Does not limit the number of levels.
    ///
    /// `members` and `lengths` describe the chain as in [`Candidates::chain`].
    ///
    /// ```
    /// use kad_polybasic::theory::{
    ///     Acceptance, Candidate, CandidatePair, Candidates, PassTimes, PlanLimits, Proposer,
    ///     TheoryError,
    /// };
    /// let model = |seconds: f64| {
    ///     let times = PassTimes::constant(seconds)?;
    ///     let proposer = Proposer::Model { name: format!("{seconds} s"), times, overhead: 0.0 };
    ///     Ok::<_, TheoryError>(Candidate { proposer, round_overhead: 0.0 })
    /// };
    /// let pair = |verifier, drafter, rate| {
    ///     CandidatePair::new(verifier, drafter, Acceptance::Rate(rate))
    /// };
    /// let candidates = Candidates {
    ///     candidates: vec![model(22.0)?, model(7.0)?, model(1.5)?],
    ///     target: 0,
    ///     pairs: vec![pair(0, 1, 0.95), pair(0, 2, 0.6), pair(1, 2, 0.7)],
    /// };
    /// // The model of 7 s between the other two.
    /// let found = candidates.insertions(&[0, 2], &[3], &PlanLimits::default())?;
    /// assert_eq!((found[0].candidate, found[0].level), (1, 2));
    /// assert!(found[0].measured.holds());
    /// # Ok::<(), TheoryError>(())
    /// ```
    ///
    /// # Errors
    /// Errors of [`Candidates::plan`] and of [`Candidates::chain`].
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

/// Both criteria for the candidate at index `index` of the levels of `after`.
fn compare(
    candidate: usize,
    index: usize,
    before: &PlannedChain,
    after: PlannedChain,
) -> Insertion {
    let (old, new) = (&before.prediction.levels, &after.prediction.levels);
    let tokens = |level: &LevelPrediction| 1.0 / level.passes_per_token;
    let passes = |level: Option<&LevelPrediction>| level.map_or(0.0, |l| l.passes_per_token);
    let terms = InsertionTerms {
        above_seconds: old[index - 1].seconds_per_pass,
        above_before: tokens(&old[index - 1]),
        above_after: tokens(&new[index - 1]),
        new_seconds: new[index].seconds_per_pass,
        new_tokens: tokens(&new[index]),
        below_seconds: old.get(index).map_or(0.0, |level| level.seconds_per_pass),
        below_before: passes(old.get(index)),
        below_after: passes(new.get(index + 1)),
    };
    let seconds = |levels: &[LevelPrediction]| -> Vec<f64> {
        levels.iter().map(|level| level.seconds_per_token).collect()
    };
    Insertion {
        candidate,
        level: index + 1,
        terms,
        published: published_insertion(&terms),
        exact: exact_insertion(&terms),
        measured: measured_insertion(&seconds(old), &seconds(new), index),
        after,
    }
}
