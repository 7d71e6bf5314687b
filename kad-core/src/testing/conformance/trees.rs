//! Conformance tests of tree attention: the nodes of a tree have the rows of fresh sessions with
//! the same texts, and leaving the tree leaves no trace.

use rand::{Rng, RngExt};

use super::{LONGEST, PIECE, Suite, random_tokens, tail};
use crate::error::ModelError;
use crate::logits::LogitRows;
use crate::model::{LanguageModel, Session, TreeSession};
use crate::tree::TokenTree;
use crate::vocab::TokenId;

/// Most nodes of a test tree.
const NODES: usize = 12;
/// Random trees per context.
const TREES: usize = 3;
/// Steps of the random walk with trees.
const STEPS: usize = 80;

/// Up to `nodes` random nodes (equal siblings merge). Half of them follow the newest node, so that
/// there are long paths too.
fn random_tree(model: &dyn LanguageModel, rng: &mut impl Rng, nodes: usize) -> TokenTree {
    let mut tree = TokenTree::new();
    add_nodes(&mut tree, model, rng, nodes);
    tree
}

fn add_nodes(tree: &mut TokenTree, model: &dyn LanguageModel, rng: &mut impl Rng, nodes: usize) {
    for token in random_tokens(model, rng, nodes) {
        let any = rng.random_range(0..=tree.len());
        let parent = if rng.random_range(0..2) == 0 { tree.len() } else { any };
        tree.push(parent.checked_sub(1), token);
    }
}

impl<'m> Suite<'m> {
    /// Runs all tree tests if the sessions have tree attention and room for a tree.
    pub(super) fn trees(&mut self, tokens: &[TokenId], rng: &mut impl Rng) {
        let room = LONGEST.min(self.model.context_len());
        if self.start().trees().is_none() || room < 4 {
            return;
        }
        self.report.trees = true;
        let in_rows = std::mem::take(&mut self.report.passes);
        self.tree_refusals(&tokens[..1]);
        for held in [0, 1, tokens.len() / 2] {
            let nodes = NODES.min(room - held);
            self.one_path(&tokens[..held], &tokens[held..held + nodes.min(tokens.len() - held)]);
            for _ in 0..TREES {
                let tree = random_tree(self.model, rng, nodes);
                self.each_path_kept(&tokens[..held], &tree, rng);
                self.grown(&tokens[..held], &tree);
            }
        }
        self.walk_with_trees(room, rng);
        self.report.in_trees = self.report.passes;
        self.report.passes = in_rows.max(self.report.in_trees);
    }

    fn in_trees<'s>(&self, session: &'s mut dyn Session) -> &'s mut dyn TreeSession {
        let name = self.model.name();
        session.trees().unwrap_or_else(|| panic!("{name}: a session lost its tree attention"))
    }

    fn holding(&self, tokens: &[TokenId]) -> Box<dyn Session + 'm> {
        let mut session = self.start();
        if !tokens.is_empty() {
            self.extend(&mut *session, tokens, 0);
        }
        session
    }

    fn keep(&self, session: &mut dyn Session, tree: &TokenTree, path: &[usize]) {
        let name = self.model.name();
        let kept = path.iter().map(|&node| tree.token(node));
        let expected: Vec<_> = session.tokens().iter().copied().chain(kept).collect();
        let result = self.in_trees(session).keep_path(path);
        result.unwrap_or_else(|error| panic!("{name}: keeping {path:?}: {error}"));
        assert_eq!(session.tokens(), expected, "{name}: tokens held after keeping a path");
    }

    /// Runs the nodes from index `present` on and returns their rows.
    fn run_tree(&self, session: &mut dyn Session, tree: &TokenTree, present: usize) -> LogitRows {
        let (name, held) = (self.model.name(), session.tokens().to_vec());
        let mut out = LogitRows::new(self.model.vocab().size());
        let trees = self.in_trees(session);
        let result = match present {
            0 => trees.extend_tree(tree, &mut out),
            _ => trees.grow_tree(tree, &mut out),
        };
        let nodes = tree.len() - present;
        result
            .unwrap_or_else(|error| panic!("{name}: {nodes} nodes after {}: {error}", held.len()));
        assert_eq!(out.len(), nodes, "{name}: rows of logits for {nodes} nodes");
        assert_eq!(session.tokens(), held, "{name}: a tree changed the tokens held");
        out
    }

    /// Runs `tree` and compares each node with a session that is extended by the node's path alone.
    fn tree_pass(
        &mut self,
        session: &mut dyn Session,
        tree: &TokenTree,
        present: usize,
        what: &str,
    ) {
        let found = self.run_tree(session, tree, present);
        let held = session.tokens().len();
        let mut other = self.holding(session.tokens());
        let mut expected = LogitRows::new(found.vocab());
        for node in present..tree.len() {
            expected.push_row(self.extend(&mut *other, &tree.text(node), 1).row(0));
            other.truncate(held).unwrap_or_else(|error| panic!("truncate to {held}: {error}"));
        }
        self.alike(&found, &expected, what);
    }

    fn tree_refusals(&self, held: &[TokenId]) {
        let (name, vocab) = (self.model.name(), self.model.vocab().size());
        let mut session = self.holding(held);
        let mut tree = TokenTree::new();
        tree.push(None, 0);
        self.run_tree(&mut *session, &tree, 0);
        let mut out = LogitRows::new(vocab);
        let mut refused = |tree: &TokenTree| {
            let grown = self.in_trees(&mut *session).grow_tree(tree, &mut out);
            let error = grown.expect_err(&format!("{name}: an invalid tree was accepted"));
            assert!(out.is_empty(), "{name}: a refused call wrote rows");
            assert_eq!(session.tokens(), held, "{name}: a refused call changed the session");
            error
        };
        let error = refused(&tree);
        assert!(
            matches!(error, ModelError::InvalidRowCount { .. }),
            "{name}: a tree without new nodes: {error}"
        );
        let error = refused(&TokenTree::new());
        assert!(
            matches!(error, ModelError::NotAnExtension { .. }),
            "{name}: a tree with other nodes: {error}"
        );
        let mut wrong = tree.clone();
        wrong.push(Some(0), vocab as TokenId);
        let error = refused(&wrong);
        let right =
            matches!(error, ModelError::TokenOutOfRange { id, .. } if id == vocab as TokenId);
        assert!(right, "{name}: token {vocab}: {error}");
        let mut large = tree.clone();
        while large.len() + held.len() <= self.model.context_len() {
            large.push(Some(large.len() - 1), 0);
        }
        let error = refused(&large);
        let right = matches!(error, ModelError::ContextFull { held: h, .. } if h == held.len());
        assert!(right, "{name}: one node more than the context: {error}");
        for path in [vec![1], vec![0, 0]] {
            let kept = self.in_trees(&mut *session).keep_path(&path);
            let error = kept.expect_err(&format!("{name}: an invalid path was accepted"));
            assert!(matches!(error, ModelError::InvalidPath { .. }), "{name}: {path:?}: {error}");
        }
        // After all refusals the session still holds its tree.
        self.keep(&mut *session, &tree, &[0]);
    }

    /// A tree of one path equals a chain (S8).
    fn one_path(&mut self, held: &[TokenId], tokens: &[TokenId]) {
        let mut chain = TokenTree::new();
        for (node, &token) in tokens.iter().enumerate() {
            chain.push(node.checked_sub(1), token);
        }
        let found = self.run_tree(&mut *self.holding(held), &chain, 0);
        let expected = self.extend(&mut *self.holding(held), tokens, tokens.len());
        self.alike(&found, &expected, "a tree of one path");
    }

    /// After each path is kept in turn, and after none, the session continues like a fresh one
    /// (S9).
    fn each_path_kept(&mut self, held: &[TokenId], tree: &TokenTree, rng: &mut impl Rng) {
        for last in (0..tree.len()).map(Some).chain([None]) {
            let mut session = self.holding(held);
            match last {
                Some(0) => self.tree_pass(&mut *session, tree, 0, "a node of a tree"),
                _ => _ = self.run_tree(&mut *session, tree, 0),
            }
            let path = last.map_or(vec![], |node| tree.path(node));
            self.keep(&mut *session, tree, &path);
            if session.tokens().len() + 2 > self.model.context_len() {
                continue;
            }
            let more = random_tokens(self.model, rng, 2);
            let found = self.extend(&mut *session, &more, 2);
            let expected = tail(&self.fresh(session.tokens()), 2);
            self.alike(&found, &expected, "after a path was kept");
        }
    }

    /// One tree grown in several passes.
    fn grown(&mut self, held: &[TokenId], tree: &TokenTree) {
        let mut session = self.holding(held);
        let (mut part, mut present) = (TokenTree::new(), 0);
        for node in 0..tree.len() {
            part.push(tree.parent(node), tree.token(node));
            if node % 4 == 1 || node + 1 == tree.len() {
                self.tree_pass(&mut *session, &part, present, "a node of a tree that grew");
                present = part.len();
            }
        }
    }

    /// A long random sequence of all operations of a session; all rows against fresh sessions.
    fn walk_with_trees(&mut self, limit: usize, rng: &mut impl Rng) {
        let mut session = self.start();
        let mut tree = TokenTree::new();
        for step in 0..STEPS {
            let what = format!("step {step} of a random walk with trees");
            let held = session.tokens().len();
            let room = limit - held;
            match rng.random_range(0..8) {
                0 | 1 if held > 0 => {
                    let keep = rng.random_range(0..=held);
                    session.truncate(keep).unwrap_or_else(|error| panic!("truncate: {error}"));
                    tree.clear();
                }
                2 | 3 if room > 0 => {
                    let count = rng.random_range(1..=PIECE.min(room));
                    let tokens = random_tokens(self.model, rng, count);
                    let found = self.extend(&mut *session, &tokens, count);
                    let expected = tail(&self.fresh(session.tokens()), count);
                    self.alike(&found, &expected, &what);
                    tree.clear();
                }
                4 if !tree.is_empty() && tree.len() < room => {
                    let present = tree.len();
                    add_nodes(&mut tree, self.model, rng, NODES.min(room - present));
                    if tree.len() > present {
                        self.tree_pass(&mut *session, &tree, present, &what);
                    }
                }
                5 | 6 if !tree.is_empty() => {
                    let path = tree.path(rng.random_range(0..tree.len()));
                    self.keep(&mut *session, &tree, &path);
                    tree.clear();
                }
                _ if room > 0 => {
                    tree = random_tree(self.model, rng, NODES.min(room));
                    self.tree_pass(&mut *session, &tree, 0, &what);
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Tolerance, check};
    use super::*;
    use crate::vocab::{Fingerprint, Vocab};

    /// A model whose sessions have trees and a chosen fault. The logits after a token depend on
    /// everything that the token sees, with positions.
    struct Faulty(Fault, Vocab);

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Fault {
        None,
        HasNoTrees,
        SeesEveryNodeBefore,
        SeesTheParentOnly,
        CountsNodesAsPositions,
        KeepsTheFirstNodes,
        KeepsThePathBackwards,
        KeepsNothing,
        LeavesTheTreeInTheCache,
        ForgetsTheTreeThatGrows,
        TakesAnyPath,
        CountsDepthForRoom,
    }

    struct FaultySession {
        fault: Fault,
        tokens: Vec<TokenId>,
        tree: TokenTree,
        /// Stands for the KV cache: token and position.
        rows: Vec<(TokenId, usize)>,
    }

    const VOCAB: usize = 7;
    const CONTEXT: usize = 60;

    impl LanguageModel for Faulty {
        fn name(&self) -> &str {
            "faulty"
        }
        fn vocab(&self) -> &Vocab {
            &self.1
        }
        fn context_len(&self) -> usize {
            CONTEXT
        }
        fn start(&self) -> Result<Box<dyn Session + '_>, ModelError> {
            let (tokens, tree, rows) = (vec![], TokenTree::new(), vec![]);
            Ok(Box::new(FaultySession { fault: self.0, tokens, tree, rows }))
        }
    }

    impl FaultySession {
        fn push_row(&self, seen: &[usize], out: &mut LogitRows) {
            let mut hash = 17u64;
            for &row in seen {
                let (token, position) = self.rows[row];
                hash = (hash * 31 + u64::from(token) * 7 + position as u64) % 1_000_003;
            }
            let row: Vec<f32> = (1..=VOCAB as u64).map(|id| (hash * id % 101) as f32).collect();
            out.push_row(&row);
        }

        fn leave(&mut self) {
            self.tree.clear();
            if self.fault != Fault::LeavesTheTreeInTheCache {
                self.rows.truncate(self.tokens.len());
            }
        }
    }

    impl Session for FaultySession {
        fn tokens(&self) -> &[TokenId] {
            &self.tokens
        }
        fn extend(
            &mut self,
            tokens: &[TokenId],
            wanted: usize,
            out: &mut LogitRows,
        ) -> Result<(), ModelError> {
            ModelError::check_extend(self.tokens.len(), tokens, wanted, CONTEXT, VOCAB)?;
            self.leave();
            for (index, token) in tokens.iter().enumerate() {
                self.rows.push((*token, self.tokens.len()));
                self.tokens.push(*token);
                if index + wanted >= tokens.len() {
                    self.push_row(&(0..self.rows.len()).collect::<Vec<_>>(), out);
                }
            }
            Ok(())
        }
        fn truncate(&mut self, len: usize) -> Result<(), ModelError> {
            ModelError::check_truncate(self.tokens.len(), len)?;
            self.leave();
            self.tokens.truncate(len);
            self.rows.truncate(len);
            Ok(())
        }
        fn trees(&mut self) -> Option<&mut dyn TreeSession> {
            if self.fault == Fault::HasNoTrees { None } else { Some(self) }
        }
    }

    impl TreeSession for FaultySession {
        fn grow_tree(&mut self, tree: &TokenTree, out: &mut LogitRows) -> Result<(), ModelError> {
            let (held, fault) = (self.tokens.len(), self.fault);
            let limit = if fault == Fault::CountsDepthForRoom { usize::MAX } else { CONTEXT };
            ModelError::check_tree(held, &self.tree, tree, limit, VOCAB)?;
            let present = self.tree.len();
            for node in present..tree.len() {
                let path = tree.path(node);
                let position = match fault {
                    Fault::CountsNodesAsPositions => held + node,
                    _ => held + path.len() - 1,
                };
                self.rows.push((tree.token(node), position));
                let below = match fault {
                    Fault::SeesEveryNodeBefore => (0..=node).collect(),
                    Fault::SeesTheParentOnly => path[path.len().saturating_sub(2)..].to_vec(),
                    Fault::ForgetsTheTreeThatGrows => {
                        path.into_iter().filter(|&node| node >= present).collect()
                    }
                    _ => path,
                };
                let seen = (0..held).chain(below.into_iter().map(|node| held + node));
                self.push_row(&seen.collect::<Vec<_>>(), out);
            }
            self.tree.clone_from(tree);
            Ok(())
        }

        fn keep_path(&mut self, path: &[usize]) -> Result<(), ModelError> {
            if self.fault != Fault::TakesAnyPath {
                ModelError::check_path(&self.tree, path)?;
            }
            let held = self.tokens.len();
            let kept: Vec<usize> = match self.fault {
                Fault::KeepsTheFirstNodes => (0..path.len()).collect(),
                Fault::KeepsThePathBackwards => path.iter().rev().copied().collect(),
                Fault::KeepsNothing => vec![],
                _ => path.to_vec(),
            };
            let rows: Vec<_> =
                kept.into_iter().filter_map(|n| self.rows.get(held + n)).copied().collect();
            let in_tree = |&&node: &&usize| node < self.tree.len();
            self.tokens.extend(path.iter().filter(in_tree).map(|&node| self.tree.token(node)));
            self.rows.truncate(held);
            self.rows.extend(rows);
            self.tree.clear();
            Ok(())
        }
    }

    fn faulty(fault: Fault) -> Faulty {
        Faulty(fault, Vocab::new(VOCAB, Fingerprint([0; 32])))
    }

    #[test]
    fn a_correct_model_passes_and_one_without_trees_is_not_asked() {
        let report = check(&faulty(Fault::None), None, Tolerance::EXACT, 1);
        assert!(report.trees && report.batch_invariant, "{report:?}");
        let without = check(&faulty(Fault::HasNoTrees), None, Tolerance::EXACT, 1);
        assert!(!without.trees && without.rows < report.rows, "{without:?}");
    }

    /// Each fault is found alone, by the check written for it.
    #[test]
    fn each_fault_is_found_and_named() {
        let faults = [
            (Fault::SeesEveryNodeBefore, "a node of a tree"),
            (Fault::SeesTheParentOnly, "a tree of one path"),
            (Fault::CountsNodesAsPositions, "a node of a tree"),
            (Fault::KeepsTheFirstNodes, "after a path was kept"),
            (Fault::KeepsThePathBackwards, "after a path was kept"),
            (Fault::KeepsNothing, "after a path was kept"),
            (Fault::LeavesTheTreeInTheCache, "random walk with trees"),
            (Fault::ForgetsTheTreeThatGrows, "a node of a tree that grew"),
            (Fault::TakesAnyPath, "an invalid path was accepted"),
            (Fault::CountsDepthForRoom, "an invalid tree was accepted"),
        ];
        for (fault, expected) in faults {
            for seed in 1..4 {
                let run = || check(&faulty(fault), None, Tolerance::EXACT, seed);
                let caught = std::panic::catch_unwind(run).err();
                let message = caught.and_then(|it| it.downcast_ref::<String>().cloned());
                let message = message.unwrap_or_else(|| panic!("{fault:?} passes"));
                assert!(message.contains(expected), "{fault:?}: {message}");
            }
        }
    }
}
