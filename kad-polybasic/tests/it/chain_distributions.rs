//! P1: a chain has the distribution of its target, by exact enumeration: two to four levels, every
//! draft length and threshold, bonus flag and verifier, end tokens included.
//!
//! `distribution` enumerates step by step. Dependence between steps (surplus, positions, lengths)
//! shows only where whole texts are enumerated, by `whole_text_distribution`.

use kad_core::decode::{Decoder, Emitted, Round, Step};
use kad_core::oracle::total_variation;
use kad_core::{ChoiceSource, DecodeError, ModelPredictor, TokenId};
use kad_polybasic::{
    Level, LevelDrafter, NotExact, PredictorDrafter, PredictorTarget, SharedLength, Speculative,
    Stage, Surplus, Target, Verifier,
};

use crate::support::*;

#[test]
fn p1_two_and_three_levels() {
    let models = tables::<3>();
    let goal = claimed(predictor(&models[0]), 5);
    let shorter = claimed(predictor(&models[0]), 4);
    for verifier in [Verifier::Token, Verifier::Block] {
        for (mu, k) in (1..=4).flat_map(|mu| (1..=4).map(move |k| (mu, k))) {
            for bonus in 0..4 {
                let levels = LevelSettings::levels(&[mu, k], bonus, verifier);
                assert_same_distribution(
                    &distribution(&mut chain(&models, &levels), 4),
                    &shorter,
                    &levels,
                );
            }
        }
        for (k, bonus) in (1..=4).flat_map(|k| (0..2).map(move |bonus| (k, bonus))) {
            let levels = LevelSettings::levels(&[k], bonus, verifier);
            assert_same_distribution(
                &distribution(&mut chain(&models[..2], &levels), 5),
                &goal,
                &levels,
            );
        }
    }
}

#[test]
fn p1_four_levels() {
    let models = tables::<4>();
    let goal = claimed(predictor(&models[0]), 3);
    for verifier in [Verifier::Token, Verifier::Block] {
        for lengths in [[1, 1, 1], [2, 1, 2], [2, 2, 2], [3, 2, 1], [1, 2, 3], [3, 3, 2]] {
            for bonus in 0..8 {
                let levels = LevelSettings::levels(&lengths, bonus, verifier);
                assert_same_distribution(
                    &distribution(&mut chain(&models, &levels), 3),
                    &goal,
                    &levels,
                );
            }
        }
    }
}

/// Steps of a text share the uniform numbers of its positions, so whole texts are enumerated.
#[test]
fn p1_same_uniforms() {
    let models = tables::<4>();
    let goal = claimed(predictor(&models[0]), 4);
    for lengths in [&[2][..], &[4], &[2, 2], &[3, 1], &[1, 3], &[2, 1, 2], &[3, 2, 1]] {
        for bonus in 0..1 << lengths.len() {
            let levels = LevelSettings::levels(lengths, bonus, Verifier::SameUniform);
            for surplus in [Surplus::Flush, Surplus::Keep] {
                let models = &models[..=lengths.len()];
                let mut decoder = chain_at(plain(), models, &levels, surplus);
                assert_same_distribution(
                    &whole_text_distribution(&mut decoder, 4),
                    &goal,
                    (&levels, surplus),
                );
            }
        }
    }
}

/// Each level has its own verifier. The same uniforms stand above the other verifiers here; below
/// them they are not exact: see the next test.
#[test]
fn p1_mixed_verifiers() {
    use Verifier::{Block, SameUniform, Token};
    let models = tables::<4>();
    let goal = claimed(predictor(&models[0]), 3);
    for verifiers in [[Token, Block, Token], [Block, Token, Block], [Token, Token, Block]] {
        for bonus in 0..8 {
            let mut levels = LevelSettings::levels(&[3, 2, 2], bonus, Token);
            levels
                .iter_mut()
                .zip(verifiers)
                .for_each(|(level, verifier)| level.verifier = verifier);
            assert_same_distribution(
                &distribution(&mut chain(&models, &levels), 3),
                &goal,
                &levels,
            );
        }
    }
    for below in [Token, Block] {
        for bonus in 0..4 {
            let levels = [
                LevelSettings::new(2, bonus & 1 == 1, SameUniform),
                LevelSettings::new(2, bonus > 1, below),
            ];
            assert_same_distribution(
                &whole_text_distribution(&mut chain(&models[..3], &levels), 3),
                &goal,
                levels,
            );
        }
    }
}

/// A position has one uniform number. Block verification rejects a token for its continuation,
/// which is then drafted again with the same uniforms. A chain of both is not exact, and reports
/// so.
#[test]
fn p1_drafts_by_position_are_exact_only_with_same_uniforms() {
    let models = tables::<3>();
    let goal = claimed(predictor(&models[0]), 3);
    let levels = [
        LevelSettings::new(3, false, Verifier::Block),
        LevelSettings::new(1, false, Verifier::SameUniform),
    ];
    let mut decoder = chain(&models, &levels);
    // Measured: 0.0079.
    assert!(total_variation(&whole_text_distribution(&mut decoder, 3), &goal) > 0.005);
    assert!(!decoder.is_exact());
    let stage = |verifier| {
        let drafter = PredictorDrafter::new(predictor(&models[1])).by_position(true);
        let target = PredictorTarget::new(predictor(&models[0]));
        Stage::new(drafter, target, drafting(2, true)).verified_by(verifier)
    };
    assert!(stage(Verifier::SameUniform).is_exact());
    assert!(LevelDrafter::new(stage(Verifier::SameUniform), Surplus::Flush).is_ok());
    for verifier in [Verifier::Token, Verifier::Block] {
        assert!(!stage(verifier).is_exact());
        assert_eq!(LevelDrafter::new(stage(verifier), Surplus::Flush).err(), Some(NotExact));
    }
}

#[test]
fn p1_kept_surplus() {
    let models = tables::<4>();
    let goal = claimed(predictor(&models[0]), 3);
    for verifier in [Verifier::Token, Verifier::Block] {
        for lengths in [&[1, 2][..], &[1, 3], &[2, 2], &[2, 3], &[1, 2, 2]] {
            for bonus in 0..1 << lengths.len() {
                let levels = LevelSettings::levels(lengths, bonus, verifier);
                let models = &models[..=lengths.len()];
                let mut decoder = chain_at(plain(), models, &levels, Surplus::Keep);
                assert_same_distribution(&whole_text_distribution(&mut decoder, 3), &goal, &levels);
            }
        }
    }
}

/// The drafter stops below a confidence: drafts end anywhere, some are empty.
#[test]
fn p1_confidence_stop() {
    let models = tables::<3>();
    let goal = claimed(predictor(&models[0]), 4);
    for (verifier, confidence) in
        [Verifier::Token, Verifier::Block].into_iter().flat_map(|v| [0.45, 0.6].map(|c| (v, c)))
    {
        for bonus in 0..4 {
            let levels = LevelSettings::levels(&[3, 2], bonus, verifier);
            let drafter = PredictorDrafter::new(predictor(&models[2])).stopping_below(confidence);
            let targets = models[..2]
                .iter()
                .map(|model| Box::new(PredictorTarget::new(predictor(model))) as Box<dyn Target>);
            let (mut decoder, _) =
                chain_over(targets.collect(), Box::new(drafter), &levels, Surplus::Flush);
            assert_same_distribution(&distribution(&mut decoder, 4), &goal, (confidence, &levels));
        }
    }
}

/// Changes the lengths of all levels after each step, from the accepted counts.
struct FollowsAcceptance<L> {
    inner: Speculative<L>,
    lengths: Vec<SharedLength>,
}

impl<L: Level> Decoder for FollowsAcceptance<L> {
    fn begin(&mut self, prompt: usize) {
        self.lengths.iter().for_each(|length| length.set(2));
        self.inner.begin(prompt);
    }
    fn context_len(&self) -> usize {
        self.inner.context_len()
    }
    fn step(
        &mut self,
        context: &[TokenId],
        room: usize,
        choices: &mut dyn ChoiceSource,
        out: &mut Vec<Emitted>,
    ) -> Result<Step, DecodeError> {
        let step = self.inner.step(context, room, choices, out)?;
        for (level, length) in self.lengths.iter().enumerate() {
            let rounds = self.inner.rounds().iter().filter(|round| round.level == level + 1);
            // 0 after a round without accepted tokens, which leaves the next token to the target.
            let accepted = rounds.map(|round| round.accepted).min();
            length.set(accepted.map_or(1, |accepted| 2 * accepted));
        }
        Ok(step)
    }
    fn rounds(&self) -> &[Round] {
        self.inner.rounds()
    }
}

#[test]
fn p1_lengths_that_follow_acceptance() {
    let models = tables::<3>();
    let goal = claimed(predictor(&models[0]), 3);
    for (verifier, surplus) in
        VERIFIERS.into_iter().flat_map(|v| [Surplus::Flush, Surplus::Keep].map(|s| (v, s)))
    {
        for bonus in 0..4 {
            let levels = LevelSettings::levels(&[2, 2], bonus, verifier);
            let by_position = verifier == Verifier::SameUniform;
            let drafter = PredictorDrafter::new(predictor(&models[2])).by_position(by_position);
            let targets = models[..2]
                .iter()
                .map(|model| Box::new(PredictorTarget::new(predictor(model))) as Box<dyn Target>);
            let (inner, lengths) =
                chain_over(targets.collect(), Box::new(drafter), &levels, surplus);
            assert_same_distribution(
                &whole_text_distribution(&mut FollowsAcceptance { inner, lengths }, 3),
                &goal,
                (surplus, &levels),
            );
        }
    }
}

/// Sampled texts of three levels: enumeration cannot detect a random number that is used twice.
///
/// n = 30,000 texts of 4 tokens, χ² over the cells with an expected count of at least 50, α =
/// 0.001. A shift of 0.02 of the mass between two likely texts is detected with a power above 0.99.
/// Fixed seed.
#[test]
fn p1_sampled_texts_follow_the_distribution() {
    let models = tables::<3>();
    let goal = claimed(predictor(&models[0]), 4);
    let mut decoder = chain_at(
        plain(),
        &models,
        &LevelSettings::levels(&[3, 2], 3, Verifier::Token),
        Surplus::Keep,
    );
    chi_square(&mut decoder, &goal, 4, 30_000);
}

/// S4: at temperature 0 the text is the target's greedy text, with every verifier.
#[test]
fn s4_greedy_texts_are_identical() {
    use kad_core::decode::SingleDecoder;
    use kad_core::oracle::TableModel;
    let models: Vec<_> = (5..9).map(|seed| TableModel::random("table", 30, 3, seed)).collect();
    let model = ModelPredictor::new(&models[0], at(0.0)).unwrap();
    let text = sampled(&mut SingleDecoder::new(model), 60, 1);
    for verifier in VERIFIERS {
        for lengths in [&[1][..], &[7], &[4, 2], &[1, 3], &[6, 3, 2]] {
            for (surplus, bonus) in
                [Surplus::Flush, Surplus::Keep].into_iter().flat_map(|s| [0, 7].map(|b| (s, b)))
            {
                let levels = LevelSettings::levels(lengths, bonus, verifier);
                let mut decoder = chain_at(at(0.0), &models[..=lengths.len()], &levels, surplus);
                assert_eq!(sampled(&mut decoder, 60, 1), text, "{levels:?}");
            }
        }
    }
}
