//! Rows of a cached session against those of fresh sessions, and the passes that it spends.

use super::*;
use crate::Counted;
use crate::oracle::TableModel;

#[test]
fn rows_equal_those_of_a_fresh_session_after_any_context() {
    let model = TableModel::random("toy", 5, 3, 11);
    let mut session = CachedSession::new(&model).unwrap();
    let contexts: [(&[TokenId], usize); 9] = [
        (&[1, 2, 3], 1),
        (&[1, 2, 3], 1),
        (&[1, 2, 3], 3),
        (&[1, 2, 3, 4, 0], 2),
        (&[1, 2, 3, 4, 0], 1),
        (&[1, 2, 4, 4], 2),
        (&[0], 1),
        (&[0, 1, 2, 3], 4),
        (&[0, 1], 1),
    ];
    for (context, last) in contexts {
        let mut fresh = LogitRows::new(5);
        model.start().unwrap().extend(context, last, &mut fresh).unwrap();
        let found = session.rows(context, last).unwrap();
        assert!(found.eq(fresh.iter()), "context {context:?}, last {last}");
    }
}

/// A long text with excursions: every requested row equals that of a fresh session, cached or not.
#[test]
fn a_long_walk_returns_the_rows_of_fresh_sessions() {
    let model = TableModel::random("toy", 5, 4, 3);
    for memory in [1, 4] {
        let mut session = CachedSession::new(&model).unwrap();
        session.keep_rows(memory);
        let mut text = vec![1, 2];
        for step in 0u32..60 {
            text.truncate(text.len() - (step as usize * 7 % 4).min(text.len() - 1));
            text.extend((0..step % 5).map(|i| (i * step + 3) % 5));
            let len = text.len() - (step as usize % 3).min(text.len() - 1);
            let mut fresh = LogitRows::new(5);
            model.start().unwrap().extend(&text[..len], 1, &mut fresh).unwrap();
            assert_eq!(session.row_at(&text, len).unwrap(), fresh.row(0), "step {step}");
            let last = 1 + step as usize % text.len().min(4);
            let mut fresh = LogitRows::new(5);
            model.start().unwrap().extend(&text, last, &mut fresh).unwrap();
            assert!(session.rows(&text, last).unwrap().eq(fresh.iter()), "step {step}");
        }
    }
}

/// Rows made one at a time while drafting are cached when all of them are requested together.
#[test]
fn cached_rows_cost_no_pass() {
    let model = Counted::new(TableModel::random("toy", 5, 3, 11));
    let mut session = CachedSession::new(&model).unwrap();
    session.keep_rows(4);
    let text = [1, 2, 3, 4, 0, 1];
    (3..=6).for_each(|len| _ = session.row(&text[..len]).unwrap());
    assert_eq!(model.counts().passes, 4);
    assert_eq!(session.rows(&text, 4).unwrap().len(), 4);
    session.row_at(&text, 3).unwrap();
    session.row_at(&text, 6).unwrap();
    assert_eq!((model.counts().passes, model.counts().tokens), (4, 6));
}

#[test]
fn nothing_is_computed_twice() {
    let model = Counted::new(TableModel::random("toy", 5, 3, 11));
    let mut session = CachedSession::new(&model).unwrap();
    session.rows(&[1, 2, 3, 4], 2).map(drop).unwrap();
    session.row(&[1, 2, 3, 4]).unwrap();
    session.row(&[1, 2, 3, 4]).unwrap();
    assert_eq!(model.counts().passes, 1);
    session.row(&[1, 2, 3, 4, 0]).unwrap();
    assert_eq!((model.counts().passes, model.counts().tokens), (2, 5));
}
