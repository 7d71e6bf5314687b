//! A session that goes where it is asked, at the least cost.

use std::cell::RefCell;
use std::rc::Rc;

use crate::error::{DecodeError, ModelError};
use crate::logits::LogitRows;
use crate::model::{LanguageModel, Session};
use crate::vocab::TokenId;

/// A follower that several parts of a decoder ask: a model that both drafts and is part of the
/// target has one cache.
pub type SharedFollower<'m> = Rc<RefCell<Follower<'m>>>;

/// Keeps one session in step with a context that others write.
///
/// Ask for the rows after any context: what the session shares with it is kept, what differs is
/// rolled back, what is missing is fed in one pass. The latest rows are remembered and never
/// computed twice, so a model that is not asked costs nothing.
pub struct Follower<'m> {
    model: &'m dyn LanguageModel,
    session: Box<dyn Session + 'm>,
    rows: LogitRows,
    /// Prefix length that `rows.row(0)` follows.
    first: usize,
    /// How many of the latest rows are remembered at least.
    memory: usize,
}

impl<'m> Follower<'m> {
    /// Starts an empty session of `model`. The rows of the last request are remembered.
    ///
    /// # Errors
    /// If the model cannot start one.
    pub fn new(model: &'m dyn LanguageModel) -> Result<Self, DecodeError> {
        let session = model.start().map_err(|source| named(model, source))?;
        let rows = LogitRows::new(model.vocab().size());
        Ok(Self { model, session, rows, first: 0, memory: 1 })
    }

    /// A follower to be asked from several places.
    ///
    /// # Errors
    /// If the model cannot start a session.
    pub fn shared(model: &'m dyn LanguageModel) -> Result<SharedFollower<'m>, DecodeError> {
        Ok(Rc::new(RefCell::new(Self::new(model)?)))
    }

    /// Remembers at least the latest `rows` rows from now on; never fewer than before.
    pub fn remember(&mut self, rows: usize) {
        self.memory = self.memory.max(rows);
    }

    /// The model followed.
    pub fn model(&self) -> &'m dyn LanguageModel {
        self.model
    }

    /// Logits after the whole of `context`.
    ///
    /// # Errors
    /// [`DecodeError::EmptyPrompt`] for an empty context, or the model's own.
    pub fn row(&mut self, context: &[TokenId]) -> Result<&[f32], DecodeError> {
        self.row_at(context, context.len())
    }

    /// Logits after the first `len` tokens of `context`. What is known of longer prefixes stays
    /// known if this row was remembered.
    ///
    /// # Errors
    /// [`DecodeError::EmptyPrompt`] if `len` is 0, or the model's own.
    pub fn row_at(&mut self, context: &[TokenId], len: usize) -> Result<&[f32], DecodeError> {
        let agrees =
            self.session.tokens().len() >= len && self.session.tokens()[..len] == context[..len];
        let known = self.first..self.first + self.rows.len();
        if !(agrees && known.contains(&len)) {
            self.rows(&context[..len], 1).map(drop)?;
        }
        Ok(self.rows.row(len - self.first))
    }

    /// Logits after each of the `last` longest prefixes of `context`, shortest prefix first,
    /// `[last, vocab]`.
    ///
    /// # Errors
    /// [`DecodeError::EmptyPrompt`] for an empty context, or the model's own.
    ///
    /// # Panics
    /// If `last` is 0 or larger than the context.
    pub fn rows(
        &mut self,
        context: &[TokenId],
        last: usize,
    ) -> Result<impl ExactSizeIterator<Item = &[f32]>, DecodeError> {
        if context.is_empty() {
            return Err(DecodeError::EmptyPrompt);
        }
        assert!((1..=context.len()).contains(&last), "{last} rows of {} tokens", context.len());
        let wanted_from = context.len() - last + 1;
        let shared = common_prefix(self.session.tokens(), context);
        // Rows beyond the shared prefix belong to tokens that were rolled back.
        self.rows.truncate((shared + 1).saturating_sub(self.first));
        let known_to = self.first + self.rows.len();
        // Rows without a gap go on being remembered.
        let resume = if !self.rows.is_empty() && (self.first..=known_to).contains(&wanted_from) {
            known_to - 1
        } else {
            self.rows.clear();
            self.first = wanted_from;
            shared.min(wanted_from - 1)
        };
        self.advance(context, resume)?;
        self.forget(last);
        Ok(self.rows.tail(last))
    }

    /// Drops the oldest rows, several at a time: each time the others move to the front.
    fn forget(&mut self, last: usize) {
        let keep = self.memory.max(last);
        if self.rows.len() > 2 * keep + 6 {
            let old = self.rows.len() - keep;
            self.rows.drop_front(old);
            self.first += old;
        }
    }

    /// Makes the session hold `context`, keeping its first `resume` tokens.
    fn advance(&mut self, context: &[TokenId], resume: usize) -> Result<(), DecodeError> {
        let model = self.model;
        if self.session.tokens().len() > resume {
            self.session.truncate(resume).map_err(|source| named(model, source))?;
        }
        let missing = &context[resume..];
        if missing.is_empty() {
            return Ok(());
        }
        let wanted = context.len() + 1 - self.first - self.rows.len();
        self.session.extend(missing, wanted, &mut self.rows).map_err(|source| {
            // The rows may be half written; the session is as before.
            self.rows.clear();
            named(model, source)
        })
    }
}

fn named(model: &dyn LanguageModel, source: ModelError) -> DecodeError {
    DecodeError::Model { model: model.name().to_owned(), source }
}

fn common_prefix(a: &[TokenId], b: &[TokenId]) -> usize {
    a.iter().zip(b).take_while(|(x, y)| x == y).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Counted;
    use crate::oracle::TableModel;

    #[test]
    fn rows_are_those_of_a_fresh_session_wherever_the_context_goes() {
        let model = TableModel::random("toy", 5, 3, 11);
        let mut follower = Follower::new(&model).unwrap();
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
            let found = follower.rows(context, last).unwrap();
            assert!(found.eq(fresh.iter()), "context {context:?}, last {last}");
        }
    }

    /// A long text with excursions: every row asked for is that of a fresh session, whatever was
    /// remembered or forgotten meanwhile.
    #[test]
    fn a_long_walk_returns_the_rows_of_fresh_sessions() {
        let model = TableModel::random("toy", 5, 4, 3);
        for memory in [1, 4] {
            let mut follower = Follower::new(&model).unwrap();
            follower.remember(memory);
            let mut text = vec![1, 2];
            for step in 0u32..60 {
                text.truncate(text.len() - (step as usize * 7 % 4).min(text.len() - 1));
                text.extend((0..step % 5).map(|i| (i * step + 3) % 5));
                let len = text.len() - (step as usize % 3).min(text.len() - 1);
                let mut fresh = LogitRows::new(5);
                model.start().unwrap().extend(&text[..len], 1, &mut fresh).unwrap();
                assert_eq!(follower.row_at(&text, len).unwrap(), fresh.row(0), "step {step}");
                let last = 1 + step as usize % text.len().min(4);
                let mut fresh = LogitRows::new(5);
                model.start().unwrap().extend(&text, last, &mut fresh).unwrap();
                assert!(follower.rows(&text, last).unwrap().eq(fresh.iter()), "step {step}");
            }
        }
    }

    /// Rows made one at a time while drafting are there when all of them are asked for together.
    #[test]
    fn remembered_rows_cost_no_pass() {
        let model = Counted::new(TableModel::random("toy", 5, 3, 11));
        let mut follower = Follower::new(&model).unwrap();
        follower.remember(4);
        let text = [1, 2, 3, 4, 0, 1];
        (3..=6).for_each(|len| _ = follower.row(&text[..len]).unwrap());
        assert_eq!(model.counts().passes, 4);
        assert_eq!(follower.rows(&text, 4).unwrap().len(), 4);
        follower.row_at(&text, 3).unwrap();
        follower.row_at(&text, 6).unwrap();
        assert_eq!((model.counts().passes, model.counts().tokens), (4, 6));
    }

    #[test]
    fn nothing_is_computed_twice() {
        let model = Counted::new(TableModel::random("toy", 5, 3, 11));
        let mut follower = Follower::new(&model).unwrap();
        follower.rows(&[1, 2, 3, 4], 2).map(drop).unwrap();
        follower.row(&[1, 2, 3, 4]).unwrap();
        follower.row(&[1, 2, 3, 4]).unwrap();
        assert_eq!(model.counts().passes, 1);
        follower.row(&[1, 2, 3, 4, 0]).unwrap();
        assert_eq!((model.counts().passes, model.counts().tokens), (2, 5));
    }
}
