//! P3: inexact variants, published or obvious. The enumeration that proves the exact chain must
//! detect each of them.

use kad_core::decode::{Decoder, Emitted, Round, Step};
use kad_core::oracle::{TableModel, TextDistribution, total_variation};
use kad_core::{ChoiceSource, DecodeError, Distribution, ModelPredictor, Predictor, TokenId};
use kad_polybasic::{
    Draft, DraftRequest, DraftedToken, Drafter, Level, LevelDrafter, NotExact, PredictorDrafter,
    PredictorTarget, SharedLength, Speculative, Stage, Surplus, Target, Verifier,
};

use crate::support::*;

/// Total variation distance from the target's distribution, for a chain of `drafter` below a
/// target.
fn distance(models: &[TableModel; 3], drafter: impl Drafter) -> f64 {
    let target = PredictorTarget::new(predictor(&models[0]));
    let mut decoder = speculative(drafter, target, drafting(2, true));
    let goal: TextDistribution = claimed(predictor(&models[0]), 4);
    total_variation(&distribution(&mut decoder, 4), &goal)
}

type Middle<'m> = Stage<PredictorDrafter<ModelPredictor<'m>>, PredictorTarget<ModelPredictor<'m>>>;

/// The two lower levels.
fn middle(models: &[TableModel; 3]) -> Middle<'_> {
    let drafter = PredictorDrafter::new(predictor(&models[2]));
    Stage::new(drafter, PredictorTarget::new(predictor(&models[1])), drafting(2, true))
}

#[test]
fn p3_the_exact_chain_passes_where_inexact_variants_fail() {
    let models = tables();
    assert!(distance(&models, LevelDrafter::new(middle(&models), Surplus::Flush).unwrap()) < EXACT);
}

/// Hands up the tokens of a level with the distributions of the model that drafted them.
struct HandsUpDraftersDistribution<'m> {
    level: LevelDrafter<Middle<'m>>,
    drafter: ModelPredictor<'m>,
    draft: Draft,
}

impl Drafter for HandsUpDraftersDistribution<'_> {
    fn context_len(&self) -> usize {
        self.level.context_len()
    }
    fn draft(
        &mut self,
        request: DraftRequest<'_>,
        choices: &mut dyn ChoiceSource,
        out: &mut Draft,
        rounds: &mut Vec<Round>,
    ) -> Result<(), DecodeError> {
        self.draft.clear();
        self.level.draft(request, choices, &mut self.draft, rounds)?;
        let mut text = request.context.to_vec();
        for made in self.draft.tokens() {
            out.push(*made, |distribution| {
                self.drafter.follow(&text, 1)?;
                self.drafter.distribution(&text, text.len(), distribution)
            })?;
            text.push(made.token);
        }
        Ok(())
    }
}

#[test]
fn p3_handing_up_the_drafters_distribution_is_detected() {
    let models = tables();
    let level = LevelDrafter::new(middle(&models), Surplus::Flush).unwrap();
    let drafter = predictor(&models[2]);
    let found =
        distance(&models, HandsUpDraftersDistribution { level, drafter, draft: Draft::default() });
    assert!(found > 0.05, "TV = {found}");
}

/// Claims to be exact.
struct ClaimsExact<L>(L);

impl<L: Level> Level for ClaimsExact<L> {
    fn begin(&mut self, prompt: usize) {
        self.0.begin(prompt);
    }
    fn context_len(&self) -> usize {
        self.0.context_len()
    }
    fn is_exact(&self) -> bool {
        true
    }
    fn round(
        &mut self,
        request: DraftRequest<'_>,
        choices: &mut dyn ChoiceSource,
        out: &mut Draft,
        rounds: &mut Vec<Round>,
    ) -> Result<(), DecodeError> {
        self.0.round(request, choices, out, rounds)
    }
}

#[test]
fn p3_a_lenient_level_is_refused_and_detected_if_it_claims_to_be_exact() {
    let models = tables();
    let lenient = || middle(&models).verified_by(Verifier::Lenient { leniency: 0.5 });
    assert_eq!(LevelDrafter::new(lenient(), Surplus::Flush).err(), Some(NotExact));
    let found =
        distance(&models, LevelDrafter::new(ClaimsExact(lenient()), Surplus::Flush).unwrap());
    assert!(found > 0.02, "TV = {found}");
    // Without leniency it is token verification.
    let strict = middle(&models).verified_by(Verifier::Lenient { leniency: 0.0 });
    assert!(distance(&models, LevelDrafter::new(strict, Surplus::Flush).unwrap()) < EXACT);
}

/// Draws from the whole distribution instead of the residual after a rejection, as the middle level
/// of the published TriForce does.
struct WithoutResidual<T>(T);

impl<T: Target> Target for WithoutResidual<T> {
    fn context_len(&self) -> usize {
        self.0.context_len()
    }
    fn follow(&mut self, text: &[TokenId], last: usize) -> Result<(), DecodeError> {
        self.0.follow(text, last)
    }
    fn acceptance(&mut self, drafted: DraftedToken<'_>) -> Result<f64, DecodeError> {
        self.0.acceptance(drafted)
    }
    fn distribution(
        &mut self,
        text: &[TokenId],
        len: usize,
        out: &mut Distribution,
    ) -> Result<(), DecodeError> {
        self.0.distribution(text, len, out)
    }
    fn residual(
        &mut self,
        drafted: DraftedToken<'_>,
        out: &mut Distribution,
    ) -> Result<(), DecodeError> {
        self.0.distribution(drafted.text, drafted.prefix_len, out)
    }
    fn draw(
        &mut self,
        text: &[TokenId],
        choices: &mut dyn ChoiceSource,
    ) -> Result<Emitted, DecodeError> {
        self.0.draw(text, choices)
    }
}

#[test]
fn p3_a_middle_level_without_residual_is_detected() {
    let models = tables();
    let drafter = PredictorDrafter::new(predictor(&models[2]));
    let target = WithoutResidual(PredictorTarget::new(predictor(&models[1])));
    let middle = Stage::new(drafter, target, drafting(2, true));
    let found = distance(&models, LevelDrafter::new(middle, Surplus::Flush).unwrap());
    assert!(found > 0.01, "TV = {found}");
}

/// Looks at a token before deciding to propose it.
struct WithholdsSeenTokens<D>(D, Draft);

impl<D: Drafter> Drafter for WithholdsSeenTokens<D> {
    fn context_len(&self) -> usize {
        self.0.context_len()
    }
    fn draft(
        &mut self,
        request: DraftRequest<'_>,
        choices: &mut dyn ChoiceSource,
        out: &mut Draft,
        rounds: &mut Vec<Round>,
    ) -> Result<(), DecodeError> {
        let Self(inner, seen) = self;
        seen.clear();
        inner.draft(DraftRequest { wanted: 1, ..request }, choices, seen, rounds)?;
        if seen.tokens()[0].token != 0 {
            out.push(seen.tokens()[0], |distribution| {
                distribution.clone_from(&seen.distributions()[0]);
                Ok::<_, DecodeError>(())
            })?;
        }
        Ok(())
    }
}

/// The condition on drafters: the decision to draft one more token is made before it is drawn.
#[test]
fn p3_a_drafter_that_withholds_seen_tokens_is_detected() {
    let models = tables();
    let drafter = PredictorDrafter::new(predictor(&models[1]));
    let found = distance(&models, WithholdsSeenTokens(drafter, Draft::default()));
    assert!(found > 0.01, "TV = {found}");
}

/// The middle level drafts two tokens and the top level verifies one or none: none if the middle
/// has just accepted both of its own, which reveals that the kept token was accepted.
struct FollowsMiddleRounds<L> {
    decoder: Speculative<L>,
    length: SharedLength,
}

impl<L: Level> Decoder for FollowsMiddleRounds<L> {
    fn begin(&mut self, prompt: usize) {
        self.length.set(1);
        self.decoder.begin(prompt);
    }
    fn context_len(&self) -> usize {
        self.decoder.context_len()
    }
    fn step(
        &mut self,
        context: &[TokenId],
        room: usize,
        choices: &mut dyn ChoiceSource,
        out: &mut Vec<Emitted>,
    ) -> Result<Step, DecodeError> {
        let step = self.decoder.step(context, room, choices, out)?;
        let all = self.decoder.rounds().iter().any(|r| r.level == 2 && r.accepted == 2);
        self.length.set(usize::from(!all));
        Ok(step)
    }
    fn rounds(&self) -> &[Round] {
        self.decoder.rounds()
    }
}

/// Two uniform models over one with probabilities 9/10 and 1/10; texts of two tokens. By hand, the
/// distribution is 3/20, 7/20, 23/100, 27/100 instead of four quarters. With the surplus flushed,
/// the same lengths are exact.
#[test]
fn p3_lengths_chosen_from_rounds_are_inexact_over_a_kept_surplus() {
    let table = |p: [f32; 2]| TableModel::random("table", 2, 0, 0).with_row(&[], &p.map(f32::ln));
    let [even, skewed] = [[0.5, 0.5], [0.9, 0.1]].map(table);
    let distance = |surplus| {
        let target = || PredictorTarget::new(predictor(&even));
        let drafter = PredictorDrafter::new(predictor(&skewed));
        let middle = Stage::new(drafter, target(), drafting(2, false));
        let below = LevelDrafter::new(middle, surplus).unwrap();
        let top = Stage::new(below, target(), drafting(1, false));
        let length = top.length();
        let mut decoder = FollowsMiddleRounds { decoder: Speculative::new(top, &[]), length };
        total_variation(&whole_text_distribution(&mut decoder, 2), &claimed(predictor(&even), 2))
    };
    assert!(distance(Surplus::Flush) < EXACT);
    let found = distance(Surplus::Keep);
    assert!(found > 0.11, "TV = {found}, by hand 3/25");
}

/// The highest level may be lenient: it decodes, and does not claim to be exact.
#[test]
fn a_lenient_target_does_not_claim_to_be_exact() {
    let models = tables::<3>();
    let lenient = middle(&models).verified_by(Verifier::Lenient { leniency: 0.3 });
    let mut decoder = Speculative::new(lenient, &[EOS]);
    assert!(!decoder.is_exact());
    let goal = claimed(predictor(&models[1]), 3);
    assert!(total_variation(&distribution(&mut decoder, 3), &goal) > 0.02);
}
