//! Cached sessions along a long text: rows of logits, and forward passes spent.

use kad_core::deferral::{KadDual, Rule};
use kad_core::oracle::TableModel;
use kad_core::{
    CachedSession, Counted, ImplicitReward, LanguageModel, LogitRows, Mixture, MixturePredictor,
    ModelPredictor, Predictor, Sampling, TokenId, UndefinedRatio,
};
fn text(len: u32) -> Vec<TokenId> {
    (0..len).map(|i| (i * i + i / 3) % 5).collect()
}

fn fresh(model: &dyn LanguageModel, context: &[TokenId]) -> Vec<f32> {
    let mut rows = LogitRows::new(5);
    model.start().unwrap().extend(context, 1, &mut rows).unwrap();
    rows.row(0).to_vec()
}

/// A text grows token by token beyond the cached rows: each token is computed once, and the rows
/// that must be cached equal those of fresh sessions.
#[test]
fn a_growing_text_is_computed_once_and_its_latest_rows_are_kept() {
    let (table, text) = (TableModel::random("toy", 5, 3, 11), text(80));
    for memory in [1, 3, 12, 30] {
        let model = Counted::new(table.clone());
        let mut session = CachedSession::new(&model).unwrap();
        session.keep_rows(memory);
        for len in 1..=text.len() {
            assert_eq!(session.row(&text[..len]).unwrap(), fresh(&table, &text[..len]));
            for earlier in len.saturating_sub(memory - 1).max(1)..len {
                let row = session.row_at(&text[..len], earlier).unwrap();
                assert_eq!(row, fresh(&table, &text[..earlier]), "{earlier} of {len}");
            }
            let counts = model.counts();
            assert_eq!((counts.passes, counts.tokens), (len as u64, len as u64), "memory {memory}");
        }
    }
}

/// A model drafts and is part of two mixtures. With shared sessions it runs once per prefix, and
/// the distributions equal those of mixtures that share nothing.
#[test]
fn shared_sessions_run_once_and_change_no_distribution() {
    let tables = [1, 2, 3].map(|seed| TableModel::random("table", 5, 3, seed));
    let [base, rounded, aligned] = tables.each_ref().map(|table| Counted::new(table.clone()));
    let rule = Rule::base(KadDual::new(0.25).unwrap());
    let plain = Sampling::at_temperature(1.0).unwrap();
    let drafter = CachedSession::shared(&aligned).unwrap();
    drafter.borrow_mut().keep_rows(8);
    let mixture = |model| {
        let base = CachedSession::shared(model).unwrap();
        MixturePredictor::new(Mixture::sharing(base, drafter.clone(), &rule, plain, plain))
    };
    let (mut middle, mut top) = (mixture(&rounded), mixture(&base));
    let text = text(24);
    let mut distributions = Vec::new();
    for end in (4..=text.len()).step_by(4) {
        (end - 3..=end).for_each(|len| _ = drafter.borrow_mut().row(&text[..len]).unwrap());
        for (mixture, own) in [(&mut middle, &tables[1]), (&mut top, &tables[0])] {
            mixture.distributions(&text[..end], 4, &mut distributions).unwrap();
            let fresh = Mixture::new(own, &tables[2], &rule, plain, plain).unwrap();
            let mut wanted = Vec::new();
            MixturePredictor::new(fresh).distributions(&text[..end], 4, &mut wanted).unwrap();
            assert_eq!(distributions, wanted, "{end}");
        }
    }
    assert_eq!(aligned.counts().passes, text.len() as u64);
    assert_eq!((base.counts().passes, rounded.counts().passes), (6, 6));
}

/// Implicit reward of a model with itself is that model, even if one session serves all parts.
#[test]
fn one_session_may_serve_every_part() {
    let model = Counted::new(TableModel::random("table", 5, 3, 7));
    let plain = Sampling::at_temperature(1.0).unwrap();
    let one = CachedSession::shared(&model).unwrap();
    let parts = [one.clone(), one.clone(), one];
    let mut reward = ImplicitReward::sharing(parts, plain, UndefinedRatio::Exclude);
    let (mut distributions, mut wanted) = (Vec::new(), Vec::new());
    reward.distributions(&text(9), 3, &mut distributions).unwrap();
    assert_eq!(model.counts().passes, 1);
    ModelPredictor::new(&model, plain).unwrap().distributions(&text(9), 3, &mut wanted).unwrap();
    for (distribution, wanted) in distributions.iter().zip(&wanted) {
        assert!(distribution.total_variation(wanted) < 1e-12);
    }
    let rule = Rule::base(KadDual::new(0.25).unwrap());
    let one = CachedSession::shared(&model).unwrap();
    let mixture = Mixture::sharing(one.clone(), one, &rule, plain, plain);
    MixturePredictor::new(mixture).distributions(&text(9), 3, &mut distributions).unwrap();
    let copies = [7, 7].map(|seed| TableModel::random("table", 5, 3, seed));
    let mixture = Mixture::new(&copies[0], &copies[1], &rule, plain, plain).unwrap();
    MixturePredictor::new(mixture).distributions(&text(9), 3, &mut wanted).unwrap();
    assert_eq!(distributions, wanted);
}
