//! Counts of forward passes, rows and distributions: no model computes a prefix twice.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use kad_core::decode::{Decoder, Generation, Origin, Step};
use kad_core::deferral::{KadDual, Rule};
use kad_core::oracle::TableModel;
use kad_core::{
    CachedSession, Counted, DecodeError, Distribution, ImplicitReward, LanguageModel, LogitRows,
    Mixture, ModelError, ModelPredictor, Predictor, RewardDrafter, SampledChoices, Sampling,
    Session, TokenId, UndefinedRatio, Vocab,
};
use kad_polybasic::{
    DeferralTarget, DraftSettings, LevelDrafter, PredictorDrafter, PredictorTarget, Speculative,
    Stage, Surplus, Target, Verifier,
};

use crate::support::*;

fn run(decoder: &mut dyn Decoder, tokens: usize) -> Generation {
    crate::support::run(decoder, &[1, 0, 3], tokens, &mut SampledChoices::seeded(3))
}

/// One pass of the base model per round. The aligned model makes one pass per drafted token, and
/// one more only for a deferred bonus token.
#[test]
fn each_round_is_one_base_pass_and_the_bonus_is_lazy() {
    let base = Counted::new(TableModel::random("base", 6, 2, 1));
    let aligned = Counted::new(TableModel::random("aligned", 6, 2, 2));
    let rule = Rule::base(KadDual::new(0.15).unwrap());
    let plain = Sampling::at_temperature(1.0).unwrap();
    let mixture = Mixture::new(&base, &aligned, &rule, plain, plain).unwrap();
    let (drafter, target) = DeferralTarget::drafted_by_aligned(mixture, 3);
    let mut decoder =
        Speculative::new(Stage::new(drafter, target, DraftSettings::of(3).unwrap()), &[]);
    let made = run(&mut decoder, 300);
    let rounds = made.steps.len() as u64;
    let drafted: usize = made.steps.iter().map(|s| s.drafted).sum();
    let whole = made.steps.iter().filter(|s| s.drafted > 0 && s.accepted == s.drafted).count();
    let bonus = made.tokens.iter().filter(|t| t.origin == Origin::Bonus).count();
    assert_eq!(whole, bonus);
    assert_eq!(base.counts().passes, rounds);
    let extra = aligned.counts().passes - drafted as u64;
    assert!(0 < extra && extra < whole as u64, "{extra} of {whole} bonus tokens asked for q*");
    // Every token of the text is computed once, each rejected or corrected token once more.
    assert!(rounds < 290, "{rounds} rounds for 300 tokens");
}

/// The accepted counts agree with the origins of the tokens.
#[test]
fn accepted_counts_and_token_origins_agree() {
    let (base, aligned) =
        (TableModel::random("base", 6, 2, 1), TableModel::random("aligned", 6, 2, 2));
    let rule = Rule::base(KadDual::new(0.3).unwrap());
    let plain = Sampling::at_temperature(1.0).unwrap();
    let mixture = Mixture::new(&base, &aligned, &rule, plain, plain).unwrap();
    let (drafter, target) = DeferralTarget::drafted_by_aligned(mixture, 4);
    let made = run(
        &mut Speculative::new(Stage::new(drafter, target, DraftSettings::of(4).unwrap()), &[]),
        101,
    );
    let count = |origin| made.tokens.iter().filter(|t| t.origin == origin).count();
    let accepted: usize = made.steps.iter().map(|s| s.accepted).sum();
    assert_eq!(count(Origin::Drafted), accepted);
    let rejected = made.steps.iter().filter(|s| s.accepted < s.drafted).count();
    assert_eq!(count(Origin::Corrected), rejected);
    assert_eq!(made.tokens.len(), 101);
}

/// Implicit reward drafted by one of its own parts: long drafts, whose rows the drafter remembers,
/// and one pass of the other models per round.
#[test]
fn implicit_reward_drafted_by_its_own_part_makes_no_extra_pass() {
    let models = ["base", "small", "aligned"]
        .map(|name| Counted::new(TableModel::random(name, 6, 2, name.len() as u64)));
    let [base, small, aligned] = &models;
    let plain = Sampling::at_temperature(1.0).unwrap();
    let mut reward =
        ImplicitReward::new(base, small, aligned, plain, UndefinedRatio::Exclude).unwrap();
    let drafter = ModelPredictor::sharing(reward.drafted_by(RewardDrafter::Aligned, 12), plain);
    let (drafter, target) = (PredictorDrafter::new(drafter), PredictorTarget::new(reward));
    let made = run(
        &mut Speculative::new(Stage::new(drafter, target, DraftSettings::of(12).unwrap()), &[]),
        200,
    );
    let rounds = made.steps.len() as u64;
    let drafted: usize = made.steps.iter().map(|s| s.drafted).sum();
    let whole = made.steps.iter().filter(|s| s.accepted == s.drafted).count() as u64;
    assert_eq!((base.counts().passes, small.counts().passes), (rounds, rounds));
    // A bonus token needs the distribution after the last drafted token, which drafting did not
    // compute.
    assert_eq!(aligned.counts().passes, drafted as u64 + whole);
    assert!(made.steps[0].drafted == 12, "{:?}", made.steps[0]);
}

/// Counts the distributions that are computed.
struct CountedDistributions<'m>(ModelPredictor<'m>, Rc<Cell<usize>>);

impl Predictor for CountedDistributions<'_> {
    fn context_len(&self) -> usize {
        self.0.context_len()
    }
    fn follow(&mut self, context: &[TokenId], last: usize) -> Result<(), DecodeError> {
        self.0.follow(context, last)
    }
    fn distribution(
        &mut self,
        context: &[TokenId],
        len: usize,
        out: &mut Distribution,
    ) -> Result<(), DecodeError> {
        self.1.set(self.1.get() + 1);
        self.0.distribution(context, len, out)
    }
}

/// After a token that the target cannot draw, no distribution is computed: with certain
/// distributions, as many as token by token; with positive distributions, those of the whole draft.
#[test]
fn block_verification_computes_no_distribution_after_an_impossible_token() {
    // The drafter equals the target but for one distribution, so that drafts are wrong at any
    // position.
    let large = TableModel::random("table", 6, 1, 1);
    let small = large.clone().with_row(&[0], &[0.0, 0.0, 0.0, 0.0, 0.0, 4.0]);
    let small = small.with_row(&[2], &[4.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    for (temperature, verifier) in
        [(0.0, Verifier::Token), (0.0, Verifier::Block), (1.0, Verifier::Block)]
    {
        let [target, drafter] =
            [&large, &small].map(|model| ModelPredictor::new(model, at(temperature)).unwrap());
        let drafter = PredictorDrafter::new(drafter);
        let distributions = Rc::new(Cell::new(0));
        let target = PredictorTarget::new(CountedDistributions(target, distributions.clone()));
        let stage =
            Stage::new(drafter, target, DraftSettings::of(4).unwrap()).verified_by(verifier);
        let made = run(&mut Speculative::new(stage, &[]), 100);
        let needed = |step: &Step| match temperature {
            0.0 => step.accepted + 1,
            _ => step.drafted + usize::from(step.accepted == step.drafted),
        };
        assert!(made.steps.iter().any(|step| step.accepted < step.drafted), "{verifier:?}");
        let expected: usize = made.steps.iter().map(needed).sum();
        assert_eq!(distributions.get(), expected, "temperature {temperature}, {verifier:?}");
    }
}

/// Counts rows that are computed again just after they were rolled back.
struct Watched {
    inner: TableModel,
    again: RefCell<usize>,
}

impl LanguageModel for Watched {
    fn name(&self) -> &str {
        self.inner.name()
    }
    fn vocab(&self) -> &Vocab {
        self.inner.vocab()
    }
    fn context_len(&self) -> usize {
        self.inner.context_len()
    }
    fn start(&self) -> Result<Box<dyn Session + '_>, ModelError> {
        let (inner, rows, dropped) = (self.inner.start()?, Vec::new(), Vec::new());
        Ok(Box::new(WatchedSession { inner, rows, dropped, again: &self.again }))
    }
}

struct WatchedSession<'m> {
    inner: Box<dyn Session + 'm>,
    /// Per token held: whether the row after it was computed.
    rows: Vec<bool>,
    /// The tokens rolled back last.
    dropped: Vec<(TokenId, bool)>,
    again: &'m RefCell<usize>,
}

impl Session for WatchedSession<'_> {
    fn tokens(&self) -> &[TokenId] {
        self.inner.tokens()
    }
    fn extend(
        &mut self,
        tokens: &[TokenId],
        wanted: usize,
        out: &mut LogitRows,
    ) -> Result<(), ModelError> {
        let rows = |index: usize| index + wanted >= tokens.len();
        let back = tokens.iter().zip(&self.dropped).take_while(|(a, (b, _))| *a == b);
        let again = back.enumerate().filter(|(i, (_, (_, given)))| rows(*i) && *given).count();
        *self.again.borrow_mut() += again;
        self.rows.extend((0..tokens.len()).map(rows));
        self.dropped.clear();
        self.inner.extend(tokens, wanted, out)
    }
    fn truncate(&mut self, len: usize) -> Result<(), ModelError> {
        let dropped = self.inner.tokens().iter().copied().zip(self.rows.iter().copied());
        self.dropped = dropped.skip(len).collect();
        self.rows.truncate(len);
        self.inner.truncate(len)
    }
}

/// The target never computes a rolled-back row again. A lower level rarely does: only if a level
/// above puts back a token that the lower level had before and whose row it has dropped meanwhile
/// (79 rows of 24 texts of 300 tokens, most of them where both draw with the same uniforms).
#[test]
fn no_row_is_computed_twice_except_for_tokens_put_back() {
    let watched =
        |seed| Watched { inner: TableModel::random("table", 6, 2, seed), again: RefCell::new(0) };
    let models = [1, 2, 3].map(watched);
    for verifier in VERIFIERS {
        for (bonus, surplus) in (0..4).flat_map(|b| [Surplus::Flush, Surplus::Keep].map(|s| (b, s)))
        {
            let levels = LevelSettings::levels(&[4, 3], bonus, verifier);
            run(&mut chain_at(plain(), &models, &levels, surplus), 300);
        }
    }
    let again = || models.iter().map(|model| *model.again.borrow()).collect::<Vec<_>>();
    assert_eq!(again()[0], 0);
    assert!(again().iter().all(|&rows| rows < 24 * 300 / 50), "{:?}", again());
    let before = again();
    let rule = Rule::base(KadDual::new(0.15).unwrap());
    let mixture = |base| mixture(base, &models[1], &rule, plain());
    let (lowest, middle) = DeferralTarget::drafted_by_aligned(mixture(&models[2]), 3);
    let top = PredictorTarget::new(kad_core::MixturePredictor::new(mixture(&models[0])));
    let targets: Vec<Box<dyn Target>> = vec![Box::new(top), Box::new(middle)];
    let levels = LevelSettings::levels(&[4, 3], 3, Verifier::Token);
    let (mut decoder, _) = chain_over(targets, Box::new(lowest), &levels, Surplus::Flush);
    run(&mut decoder, 300);
    let added = again().iter().sum::<usize>() - before.iter().sum::<usize>();
    assert!(added <= 3, "{added} rows of 300 tokens");
}

/// A chain of three levels makes one pass of the target per step, one of the middle model per round
/// of its level and one of the drafter per drafted token, with one row after the context and after
/// each proposed token, and no other row.
#[test]
fn three_levels_make_one_pass_per_round_and_per_drafted_token() {
    let models = [1, 2, 3].map(|seed| Counted::new(TableModel::random("table", 50, 2, seed)));
    let drafter = PredictorDrafter::new(predictor(&models[2]));
    let target = PredictorTarget::new(predictor(&models[1]));
    let middle = Stage::new(drafter, target, DraftSettings::of(3).unwrap());
    let middle = LevelDrafter::new(middle, Surplus::Flush).unwrap();
    let target = PredictorTarget::new(predictor(&models[0]));
    let top = Stage::new(middle, target, DraftSettings::of(4).unwrap());
    let made = run(&mut Speculative::new(top, &[]), 400);
    let rounds = |level| made.rounds.iter().filter(move |round| round.level == level);
    let drafted = |level| rounds(level).map(|round| round.drafted as u64).sum::<u64>();
    let [top, middle, drafter] = [0, 1, 2].map(|i| models[i].counts());
    let verified = rounds(2).count() as u64;
    assert_eq!((top.passes, top.rows), (made.steps.len() as u64, drafted(1) + top.passes));
    assert_eq!((middle.passes, middle.rows), (verified, drafted(2) + verified));
    assert_eq!((drafter.passes, drafter.rows), (drafted(2), drafted(2)));
}

/// S9: after a long run of three levels, each model's session gives the same rows as a fresh
/// session, at every position of the text.
#[test]
fn s9_sessions_after_a_long_run_equal_fresh_sessions() {
    let models = [1, 2, 3].map(|seed| TableModel::random("table", 6, 3, seed));
    let sessions = [0, 1, 2].map(|i| CachedSession::shared(&models[i]).unwrap());
    let model = |i: usize| ModelPredictor::sharing(sessions[i].clone(), plain());
    for (bonus, surplus) in (0..4).flat_map(|b| [Surplus::Flush, Surplus::Keep].map(|s| (b, s))) {
        let targets: Vec<Box<dyn Target>> = vec![
            Box::new(PredictorTarget::new(model(0))),
            Box::new(PredictorTarget::new(model(1))),
        ];
        let lowest = Box::new(PredictorDrafter::new(model(2)));
        let levels = LevelSettings::levels(&[4, 3], bonus, Verifier::Token);
        let (mut decoder, _) = chain_over(targets, lowest, &levels, surplus);
        for length in [1, 2, 7, 150] {
            let mut whole = vec![1, 0, 3];
            whole.extend(text(&run(&mut decoder, length)));
            for (model, session) in models.iter().zip(&sessions) {
                // From the end to the start, so that the rows still held are asked first.
                for len in (1..=whole.len()).rev().step_by(3) {
                    let mut fresh = LogitRows::new(6);
                    model.start().unwrap().extend(&whole[..len], 1, &mut fresh).unwrap();
                    let mut session = session.borrow_mut();
                    assert_eq!(session.row_at(&whole, len).unwrap(), fresh.row(0), "{len}");
                }
            }
        }
    }
}
