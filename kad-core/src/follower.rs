//! A session that goes where it is asked, at the least cost.

use crate::error::{DecodeError, ModelError};
use crate::logits::LogitRows;
use crate::model::{LanguageModel, Session};
use crate::vocab::TokenId;

/// Keeps one session in step with a context that others write.
///
/// Ask for the rows after any context: what the session shares with it is kept, what differs is
/// rolled back, what is missing is fed in one pass. Rows of the last pass are remembered and never
/// computed twice, so a model that is not asked costs nothing, and one that both drafts and is
/// part of the target needs a single cache.
pub struct Follower<'m> {
    model: &'m dyn LanguageModel,
    session: Box<dyn Session + 'm>,
    rows: LogitRows,
    /// Prefix length that `rows.row(0)` follows.
    first: usize,
}

impl<'m> Follower<'m> {
    /// Starts an empty session of `model`.
    ///
    /// # Errors
    /// If the model cannot start one.
    pub fn new(model: &'m dyn LanguageModel) -> Result<Self, DecodeError> {
        let session = model.start().map_err(|source| named(model, source))?;
        Ok(Self { model, session, rows: LogitRows::new(model.vocab().size()), first: 0 })
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
        self.rows(context, 1)?;
        Ok(self.rows.row(self.rows.len() - 1))
    }

    /// Logits after each of the `last` longest prefixes of `context`, shortest prefix first,
    /// `[last, vocab]`.
    ///
    /// # Errors
    /// [`DecodeError::EmptyPrompt`] for an empty context, or the model's own.
    ///
    /// # Panics
    /// If `last` is 0 or larger than the context.
    pub fn rows(&mut self, context: &[TokenId], last: usize) -> Result<&LogitRows, DecodeError> {
        if context.is_empty() {
            return Err(DecodeError::EmptyPrompt);
        }
        assert!((1..=context.len()).contains(&last), "{last} rows of {} tokens", context.len());
        let wanted_from = context.len() - last + 1;
        let shared = common_prefix(self.session.tokens(), context);
        // Rows beyond the shared prefix belong to tokens that were rolled back.
        self.rows.truncate((shared + 1).saturating_sub(self.first));
        let known_to = self.first + self.rows.len();
        let resume = if self.first <= wanted_from && wanted_from < known_to {
            self.rows.drop_front(wanted_from - self.first);
            known_to - 1
        } else {
            self.rows.clear();
            shared.min(wanted_from - 1)
        };
        self.first = wanted_from;
        self.advance(context, resume)?;
        Ok(&self.rows)
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
            let found = follower.rows(context, last).unwrap().clone();
            let mut fresh = LogitRows::new(5);
            model.start().unwrap().extend(context, last, &mut fresh).unwrap();
            assert_eq!(found, fresh, "context {context:?}, last {last}");
        }
    }

    #[test]
    fn nothing_is_computed_twice() {
        let model = Counted::new(TableModel::random("toy", 5, 3, 11));
        let mut follower = Follower::new(&model).unwrap();
        follower.rows(&[1, 2, 3, 4], 2).unwrap();
        follower.row(&[1, 2, 3, 4]).unwrap();
        follower.row(&[1, 2, 3, 4]).unwrap();
        assert_eq!(model.counts().passes, 1);
        follower.row(&[1, 2, 3, 4, 0]).unwrap();
        assert_eq!((model.counts().passes, model.counts().tokens), (2, 5));
    }
}
