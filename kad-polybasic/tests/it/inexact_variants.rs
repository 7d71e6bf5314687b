//! P3: what must fail. Each variant is one that was published, or that suggests itself, and each
//! must be told apart from the exact chain by the enumeration that proves the latter.

use kad_core::decode::{Decoder, Emitted, Round, Step};
use kad_core::oracle::{TableModel, TextDistribution, total_variation};
use kad_core::{ChoiceSource, DecodeError, Distribution, ModelPredictor, Predictor, TokenId};
use kad_polybasic::{
    Draft, DraftRequest, DraftedToken, Drafter, Level, LevelDrafter, NotExact, PredictorDrafter,
    PredictorTarget, SharedLength, Speculative, Stage, Surplus, Target, Verifier,
};

use crate::support::*;

/// How far the distribution of a chain of `drafter` below a target is from the target's.
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
fn p3_the_exact_chain_passes_where_the_broken_ones_fail() {
    let models = tables();
    assert!(distance(&models, LevelDrafter::new(middle(&models), Surplus::Flush).unwrap()) < EXACT);
}

/// Hands up the tokens of a level with the distribution of the model that drafted for it.
struct Mislabelled<'m> {
    level: LevelDrafter<Middle<'m>>,
    drafter: ModelPredictor<'m>,
    draft: Draft,
}

impl Drafter for Mislabelled<'_> {
    fn context_len(&self) -> usize {
        self.level.context_len()
    }
    fn draft(
        &mut self,
        ask: DraftRequest<'_>,
        choices: &mut dyn ChoiceSource,
        out: &mut Draft,
        rounds: &mut Vec<Round>,
    ) -> Result<(), DecodeError> {
        self.draft.clear();
        self.level.draft(ask, choices, &mut self.draft, rounds)?;
        let mut text = ask.context.to_vec();
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
fn p3_handing_up_the_drafters_distribution_is_told_apart() {
    let models = tables();
    let level = LevelDrafter::new(middle(&models), Surplus::Flush).unwrap();
    let drafter = predictor(&models[2]);
    let found = distance(&models, Mislabelled { level, drafter, draft: Draft::default() });
    assert!(found > 0.05, "TV = {found}");
}

/// Says that it is exact.
struct Pretends<L>(L);

impl<L: Level> Level for Pretends<L> {
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
        ask: DraftRequest<'_>,
        choices: &mut dyn ChoiceSource,
        out: &mut Draft,
        rounds: &mut Vec<Round>,
    ) -> Result<(), DecodeError> {
        self.0.round(ask, choices, out, rounds)
    }
}

#[test]
fn p3_a_lenient_level_is_refused_and_told_apart_where_it_pretends() {
    let models = tables();
    let lenient = || middle(&models).verified_by(Verifier::Lenient { leniency: 0.5 });
    assert_eq!(LevelDrafter::new(lenient(), Surplus::Flush).err(), Some(NotExact));
    let found = distance(&models, LevelDrafter::new(Pretends(lenient()), Surplus::Flush).unwrap());
    assert!(found > 0.02, "TV = {found}");
    // Without leniency it is token verification.
    let strict = middle(&models).verified_by(Verifier::Lenient { leniency: 0.0 });
    assert!(distance(&models, LevelDrafter::new(strict, Surplus::Flush).unwrap()) < EXACT);
}

/// After a rejection it draws from the whole distribution, as the middle level of the published
/// TriForce does.
struct FullAfterRejection<T>(T);

impl<T: Target> Target for FullAfterRejection<T> {
    fn context_len(&self) -> usize {
        self.0.context_len()
    }
    fn follow(&mut self, text: &[TokenId], last: usize) -> Result<(), DecodeError> {
        self.0.follow(text, last)
    }
    fn acceptance(&mut self, at: DraftedToken<'_>) -> Result<f64, DecodeError> {
        self.0.acceptance(at)
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
        at: DraftedToken<'_>,
        out: &mut Distribution,
    ) -> Result<(), DecodeError> {
        self.0.distribution(at.text, at.prefix_len, out)
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
fn p3_a_middle_level_that_draws_from_its_whole_distribution_is_told_apart() {
    let models = tables();
    let drafter = PredictorDrafter::new(predictor(&models[2]));
    let target = FullAfterRejection(PredictorTarget::new(predictor(&models[1])));
    let middle = Stage::new(drafter, target, drafting(2, true));
    let found = distance(&models, LevelDrafter::new(middle, Surplus::Flush).unwrap());
    assert!(found > 0.01, "TV = {found}");
}

/// Looks at a token before it decides whether it is proposed.
struct Choosy<D>(D, Draft);

impl<D: Drafter> Drafter for Choosy<D> {
    fn context_len(&self) -> usize {
        self.0.context_len()
    }
    fn draft(
        &mut self,
        ask: DraftRequest<'_>,
        choices: &mut dyn ChoiceSource,
        out: &mut Draft,
        rounds: &mut Vec<Round>,
    ) -> Result<(), DecodeError> {
        let Self(inner, seen) = self;
        seen.clear();
        inner.draft(DraftRequest { wanted: 1, ..ask }, choices, seen, rounds)?;
        if seen.tokens()[0].token != 0 {
            out.push(seen.tokens()[0], |distribution| {
                distribution.clone_from(&seen.distributions()[0]);
                Ok::<_, DecodeError>(())
            })?;
        }
        Ok(())
    }
}

/// The condition on drafters: whether there is another token is decided before it is drawn.
#[test]
fn p3_a_drafter_that_withholds_what_it_has_seen_is_told_apart() {
    let models = tables();
    let drafter = PredictorDrafter::new(predictor(&models[1]));
    let found = distance(&models, Choosy(drafter, Draft::default()));
    assert!(found > 0.01, "TV = {found}");
}

/// Drafts two tokens at the middle, verifies one or none at the top: none where the middle has just
/// accepted both of its own, which says that the token that waits was accepted.
struct Watching<L> {
    decoder: Speculative<L>,
    length: SharedLength,
}

impl<L: Level> Decoder for Watching<L> {
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

/// Two even models over one that says 9/10 and 1/10, two tokens: the distribution is 3/20, 7/20,
/// 23/100, 27/100 instead of four quarters, by hand. With the surplus flushed the same lengths are
/// exact.
#[test]
fn p3_lengths_that_follow_the_rounds_are_not_exact_over_a_kept_surplus() {
    let table = |p: [f32; 2]| TableModel::random("table", 2, 0, 0).with_row(&[], &p.map(f32::ln));
    let [even, skewed] = [[0.5, 0.5], [0.9, 0.1]].map(table);
    let distance = |surplus| {
        let target = || PredictorTarget::new(predictor(&even));
        let drafter = PredictorDrafter::new(predictor(&skewed));
        let middle = Stage::new(drafter, target(), drafting(2, false));
        let below = LevelDrafter::new(middle, surplus).unwrap();
        let top = Stage::new(below, target(), drafting(1, false));
        let length = top.length();
        let mut decoder = Watching { decoder: Speculative::new(top, &[]), length };
        total_variation(&whole(&mut decoder, 2), &claimed(predictor(&even), 2))
    };
    assert!(distance(Surplus::Flush) < EXACT);
    let found = distance(Surplus::Keep);
    assert!(found > 0.11, "TV = {found}, by hand 3/25");
}

/// The uppermost level may be lenient: it decodes, and does not claim to be exact.
#[test]
fn a_lenient_target_says_so() {
    let models = tables::<3>();
    let lenient = middle(&models).verified_by(Verifier::Lenient { leniency: 0.3 });
    let mut decoder = Speculative::new(lenient, &[EOS]);
    assert!(!decoder.is_exact());
    let goal = claimed(predictor(&models[1]), 3);
    assert!(total_variation(&distribution(&mut decoder, 3), &goal) > 0.02);
}
