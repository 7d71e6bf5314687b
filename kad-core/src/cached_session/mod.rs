//! A session with prefix reuse: it moves to any context at the least cost.

use std::cell::RefCell;
use std::rc::Rc;

use crate::error::{DecodeError, ModelError};
use crate::logits::LogitRows;
use crate::model::{LanguageModel, Session, TreeSession};
use crate::tree::TokenTree;
use crate::vocab::TokenId;

/// A session shared by several parts of a decoder: a model that both drafts and is part of the
/// target has one KV cache.
pub type SharedSession<'m> = Rc<RefCell<CachedSession<'m>>>;

/// Most tokens of a context that run in one pass with the tree after it. Each costs a row of logits
/// that may be unused; a pass of their own costs more.
const STEM: usize = 16;

/// One session, kept in step with a changing context.
///
/// Ask for the rows of logits after any context. The session keeps the shared prefix in its KV
/// cache, rolls back the rest, and runs the missing tokens in one forward pass. The latest rows are
/// cached too, so no row is computed twice, and a model that is not asked costs nothing.
///
/// ```
/// use kad_core::{CachedSession, Counted, oracle::TableModel};
/// let model = Counted::new(TableModel::random("toy", 5, 3, 11));
/// let mut session = CachedSession::new(&model)?;
/// session.row(&[1, 2, 3, 4])?;
/// session.row(&[1, 2, 0])?; // rolls back to 1 2 and runs one token
/// assert_eq!((model.counts().passes, model.counts().tokens), (2, 5));
/// # Ok::<(), kad_core::DecodeError>(())
/// ```
pub struct CachedSession<'m> {
    model: &'m dyn LanguageModel,
    session: Box<dyn Session + 'm>,
    rows: LogitRows,
    /// Length of the prefix that `rows.row(0)` follows.
    first: usize,
    /// Number of latest rows to keep, at least.
    memory: usize,
    /// The tree that the session holds; empty without one.
    tree: TokenTree,
    /// One row per node of `tree`.
    tree_rows: LogitRows,
    /// The number of first nodes of `tree` that are missing tokens of the context, as a chain.
    stem: usize,
}

/// The end of a text that begins with the session's tokens: after some of them, or at a tree node.
#[derive(Clone, Copy)]
enum TextEnd {
    Held(usize),
    Node(usize),
}

/// The location of a cached row of logits.
#[derive(Clone, Copy)]
enum RowLocation {
    Row(usize),
    Node(usize),
}

impl<'m> CachedSession<'m> {
    /// Starts an empty session of `model` that keeps the rows of the last request.
    ///
    /// # Errors
    /// If the model cannot start a session.
    pub fn new(model: &'m dyn LanguageModel) -> Result<Self, DecodeError> {
        let session = model.start().map_err(|source| named(model, source))?;
        let rows = LogitRows::new(model.vocab().size());
        let (tree, tree_rows) = (TokenTree::new(), rows.clone());
        Ok(Self { model, session, rows, first: 0, memory: 1, tree, tree_rows, stem: 0 })
    }

    /// Starts a session that several parts of a decoder share.
    ///
    /// # Errors
    /// If the model cannot start a session.
    pub fn shared(model: &'m dyn LanguageModel) -> Result<SharedSession<'m>, DecodeError> {
        Ok(Rc::new(RefCell::new(Self::new(model)?)))
    }

    /// Keeps at least the latest `rows` rows from now on; never fewer than before.
    pub fn keep_rows(&mut self, rows: usize) {
        self.memory = self.memory.max(rows);
    }

    /// The session's model.
    pub fn model(&self) -> &'m dyn LanguageModel {
        self.model
    }

    /// Logits after the whole `context`, `[vocab]`.
    ///
    /// # Errors
    /// [`DecodeError::EmptyPrompt`] for an empty context, or the model's own.
    pub fn row(&mut self, context: &[TokenId]) -> Result<&[f32], DecodeError> {
        self.row_at(context, context.len())
    }

    /// Logits after the first `len` tokens of `context`, `[vocab]`. Cached rows of longer prefixes
    /// and of other paths of a [tree](Self::follow_tree) stay cached if this row was cached.
    ///
    /// # Errors
    /// [`DecodeError::EmptyPrompt`] if `len` is 0, or the model's own.
    pub fn row_at(&mut self, context: &[TokenId], len: usize) -> Result<&[f32], DecodeError> {
        let context = &context[..len];
        let place = match self.places(context, 1) {
            Some(places) => places[0],
            None => {
                self.compute(context, 1)?;
                RowLocation::Row(len - self.first)
            }
        };
        Ok(self.at(place))
    }

    /// Logits after the `last` longest prefixes of `context`, shortest prefix first, `[last,
    /// vocab]`.
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
        let places = match self.places(context, last) {
            Some(places) => places,
            None => {
                self.compute(context, last)?;
                (self.rows.len() - last..self.rows.len()).map(RowLocation::Row).collect()
            }
        };
        Ok(places.into_iter().map(|place| self.at(place)))
    }

    /// Runs `tree` after `context` in one forward pass, with the missing tokens of the context (a
    /// long prompt has a pass of its own). The rows after the context and after every path are then
    /// cached. Known rows are not computed again: a tree may grow pass by pass, and a context that
    /// continues along a path keeps that path.
    ///
    /// Returns true if all these rows are now cached. Returns false, and does nothing, if the
    /// session has no [tree attention](crate::TreeSession) or the context cannot hold all nodes
    /// side by side. A tree of one path needs neither.
    ///
    /// ```
    /// use kad_core::{Counted, CachedSession, TokenTree, oracle::TableModel};
    /// let model = Counted::new(TableModel::random("toy", 5, 3, 11));
    /// let mut session = CachedSession::new(&model)?;
    /// let mut tree = TokenTree::new();
    /// let a = tree.push(None, 3);
    /// tree.push(Some(a), 0);
    /// tree.push(Some(a), 4);
    /// assert!(session.follow_tree(&[1, 2], &tree)?);
    /// session.row_at(&[1, 2], 2)?;
    /// session.row_at(&[1, 2, 3, 0], 4)?;
    /// session.row_at(&[1, 2, 3, 4], 4)?;
    /// assert_eq!(model.counts().passes, 1);
    /// # Ok::<(), kad_core::DecodeError>(())
    /// ```
    ///
    /// # Errors
    /// [`DecodeError::EmptyPrompt`] for an empty context, or the model's own.
    pub fn follow_tree(
        &mut self,
        context: &[TokenId],
        tree: &TokenTree,
    ) -> Result<bool, DecodeError> {
        if context.is_empty() {
            return Err(DecodeError::EmptyPrompt);
        }
        if tree.is_chain() {
            let text: Vec<_> = context.iter().copied().chain(tree.tokens()).collect();
            return self.rows(&text, tree.len() + 1).map(|_| true);
        }
        let limit = self.model.context_len();
        if self.session.trees().is_none() || context.len() + tree.len() > limit {
            return Ok(false);
        }
        if self.knows(context, tree) {
            return Ok(true);
        }
        let room = limit - self.session.tokens().len();
        if !self.is_rooted_at(context) || self.tree.len() + tree.len() > room {
            self.start_tree(context)?;
        }
        self.grow(tree)?;
        Ok(true)
    }

    /// True if the rows after `context` and after every path of `tree` are cached.
    fn knows(&self, context: &[TokenId], tree: &TokenTree) -> bool {
        let Some(root) = self.end_of(context).filter(|end| self.is_known(*end)) else {
            return false;
        };
        let mut ends = Vec::with_capacity(tree.len());
        for node in 0..tree.len() {
            let before = tree.parent(node).map_or(root, |parent| ends[parent]);
            match self.after(before, tree.token(node)).filter(|end| self.is_known(*end)) {
                Some(end) => ends.push(end),
                None => return false,
            }
        }
        true
    }

    /// The end of `context`, if the session holds it, alone or with a path of the tree.
    fn end_of(&self, context: &[TokenId]) -> Option<TextEnd> {
        let shared = common_prefix(self.session.tokens(), context);
        context[shared..]
            .iter()
            .try_fold(TextEnd::Held(shared), |end, &token| self.after(end, token))
    }

    /// The end of the text with one more token.
    fn after(&self, end: TextEnd, token: TokenId) -> Option<TextEnd> {
        let held = self.session.tokens();
        match end {
            TextEnd::Held(len) if len < held.len() => {
                (held[len] == token).then_some(TextEnd::Held(len + 1))
            }
            TextEnd::Held(_) => self.tree.child_with(None, token).map(TextEnd::Node),
            TextEnd::Node(node) => self.tree.child_with(Some(node), token).map(TextEnd::Node),
        }
    }

    /// True if the row at this end is cached.
    fn is_known(&self, end: TextEnd) -> bool {
        match end {
            TextEnd::Held(len) => (self.first..self.first + self.rows.len()).contains(&len),
            TextEnd::Node(_) => true,
        }
    }

    /// True if the present tree follows `context`.
    fn is_rooted_at(&self, context: &[TokenId]) -> bool {
        let stem = self.tree.tokens().take(self.stem);
        !self.tree.is_empty()
            && self.session.tokens().iter().copied().chain(stem).eq(context.iter().copied())
    }

    /// Prepares a tree after `context`; the missing tokens of the context become the stem.
    fn start_tree(&mut self, context: &[TokenId]) -> Result<(), DecodeError> {
        let shared = self.roll_back(context)?;
        self.forget(1);
        let root_known = !self.rows.is_empty() && self.first + self.rows.len() == context.len() + 1;
        let mut resume = if root_known { shared } else { shared.min(context.len() - 1) };
        if context.len() - resume > STEM {
            self.rows.clear();
            self.first = context.len();
            self.advance(&context[..context.len() - 1], resume)?;
            resume = context.len() - 1;
        }
        self.advance(&context[..resume], resume)?;
        self.stem = context.len() - resume;
        for token in &context[resume..] {
            self.tree.push(self.tree.len().checked_sub(1), *token);
        }
        Ok(())
    }

    /// Adds the nodes of `tree` after the stem, in one pass over the new ones.
    fn grow(&mut self, tree: &TokenTree) -> Result<(), DecodeError> {
        let root = self.stem.checked_sub(1);
        let mut nodes = Vec::with_capacity(tree.len());
        for node in 0..tree.len() {
            let parent = tree.parent(node).map(|parent| nodes[parent]).or(root);
            nodes.push(self.tree.push(parent, tree.token(node)));
        }
        let (grown, rows) = (&self.tree, &mut self.tree_rows);
        let grow = |session: &mut dyn TreeSession| match rows.is_empty() {
            true => session.extend_tree(grown, rows),
            false => session.grow_tree(grown, rows),
        };
        let done = self.session.trees().ok_or(ModelError::TreesUnsupported).and_then(grow);
        done.map_err(|source| {
            // The next call of the session drops the tree that it may still hold.
            self.tree.clear();
            self.tree_rows.clear();
            named(self.model, source)
        })
    }

    /// Leaves the tree by the path of `context`; the rows on that path stay cached.
    fn leave_tree(&mut self, context: &[TokenId]) -> Result<(), DecodeError> {
        if self.tree.is_empty() {
            return Ok(());
        }
        let (held, path) = (self.session.tokens().len(), self.path_of(context));
        let kept = self.session.trees().ok_or(ModelError::TreesUnsupported);
        kept.and_then(|session| session.keep_path(&path)).map_err(|e| named(self.model, e))?;
        if !path.is_empty() && self.first + self.rows.len() != held + 1 {
            self.rows.clear();
            self.first = held + 1;
        }
        path.iter().for_each(|&node| self.rows.push_row(self.tree_rows.row(node)));
        self.tree.clear();
        self.tree_rows.clear();
        Ok(())
    }

    /// The path of `context` in the tree, beyond the session's tokens.
    fn path_of(&self, context: &[TokenId]) -> Vec<usize> {
        let beyond = context.strip_prefix(self.session.tokens());
        beyond.map_or(vec![], |beyond| self.tree.path_along(beyond))
    }

    /// Locations of the rows after the `last` longest prefixes of `context`, shortest first, if all
    /// are cached.
    fn places(&self, context: &[TokenId], last: usize) -> Option<Vec<RowLocation>> {
        let shared = common_prefix(self.session.tokens(), context);
        let path = self.path_of(context);
        let place = |len: usize| match len.checked_sub(shared + 1) {
            None => {
                let index = len.checked_sub(self.first)?;
                (index < self.rows.len()).then_some(RowLocation::Row(index))
            }
            Some(beyond) => path.get(beyond).copied().map(RowLocation::Node),
        };
        (context.len() + 1 - last..=context.len()).map(place).collect()
    }

    fn at(&self, place: RowLocation) -> &[f32] {
        match place {
            RowLocation::Row(index) => self.rows.row(index),
            RowLocation::Node(node) => self.tree_rows.row(node),
        }
    }

    /// Rolls back the tokens that `context` does not share; returns the length of the shared
    /// prefix.
    fn roll_back(&mut self, context: &[TokenId]) -> Result<usize, DecodeError> {
        self.leave_tree(context)?;
        let shared = common_prefix(self.session.tokens(), context);
        // Rows beyond the shared prefix belong to tokens that were rolled back.
        self.rows.truncate((shared + 1).saturating_sub(self.first));
        Ok(shared)
    }

    /// Computes the rows after the `last` longest prefixes of `context`.
    fn compute(&mut self, context: &[TokenId], last: usize) -> Result<(), DecodeError> {
        if context.is_empty() {
            return Err(DecodeError::EmptyPrompt);
        }
        let wanted_from = context.len() - last + 1;
        let shared = self.roll_back(context)?;
        let known_to = self.first + self.rows.len();
        // The cached rows stay if there is no gap between them and the new ones.
        let resume = if !self.rows.is_empty() && (self.first..=known_to).contains(&wanted_from) {
            known_to - 1
        } else {
            self.rows.clear();
            self.first = wanted_from;
            shared.min(wanted_from - 1)
        };
        self.advance(context, resume)?;
        self.forget(last);
        Ok(())
    }

    /// Drops the oldest rows, several at a time, because each time the others move to the front.
    fn forget(&mut self, last: usize) {
        let keep = self.memory.max(last);
        if self.rows.len() > 2 * keep + 6 {
            let old = self.rows.len() - keep;
            self.rows.drop_front(old);
            self.first += old;
        }
    }

    /// Extends the session to `context` after its first `resume` tokens.
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
            // The rows may be half written; the session is unchanged.
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
mod tests;
