//! Token trees: cached rows and passes of a session after a tree pass, and distributions of
//! predictors on trees.

use kad_core::deferral::{HistoryRule, KadDual, PooledBudget, Rule};
use kad_core::oracle::TableModel;
use kad_core::{
    CachedSession, Counted, DecodeError, Distribution, ImplicitReward, LanguageModel, LogitRows,
    Mixture, MixturePredictor, ModelError, ModelPredictor, Predictor, Sampling, Session, TokenId,
    TokenTree, UndefinedRatio, Vocab,
};
use proptest::prelude::*;

const VOCAB: usize = 5;

/// Order 12 covers every text here, so no two prefixes have the same distribution.
fn table(seed: u64) -> TableModel {
    TableModel::random("toy", VOCAB, 12, seed)
}

fn fresh(model: &dyn LanguageModel, text: &[TokenId]) -> Vec<f32> {
    let mut rows = LogitRows::new(VOCAB);
    model.start().unwrap().extend(text, 1, &mut rows).unwrap();
    rows.row(0).to_vec()
}

/// A tree from parents and tokens as numbers; parent 0 is the context.
fn tree_of(pushes: &[(usize, TokenId)]) -> TokenTree {
    let mut tree = TokenTree::new();
    for &(parent, token) in pushes {
        tree.push((parent % (tree.len() + 1)).checked_sub(1), token);
    }
    tree
}

/// Two branches of two tokens below one node, and a sibling of that node.
fn branching() -> TokenTree {
    tree_of(&[(0, 1), (1, 2), (1, 3), (2, 4), (3, 4), (0, 0)])
}

fn texts(context: &[TokenId], tree: &TokenTree) -> Vec<Vec<TokenId>> {
    (0..tree.len()).map(|node| [context, &tree.text(node)].concat()).collect()
}

/// A model whose sessions have no tree attention.
struct NoTrees<M>(M);

struct NoTreesSession<'m>(Box<dyn Session + 'm>);

impl<M: LanguageModel> LanguageModel for NoTrees<M> {
    fn name(&self) -> &str {
        self.0.name()
    }
    fn vocab(&self) -> &Vocab {
        self.0.vocab()
    }
    fn context_len(&self) -> usize {
        self.0.context_len()
    }
    fn start(&self) -> Result<Box<dyn Session + '_>, ModelError> {
        Ok(Box::new(NoTreesSession(self.0.start()?)))
    }
}

impl Session for NoTreesSession<'_> {
    fn tokens(&self) -> &[TokenId] {
        self.0.tokens()
    }
    fn extend(
        &mut self,
        tokens: &[TokenId],
        wanted: usize,
        out: &mut LogitRows,
    ) -> Result<(), ModelError> {
        self.0.extend(tokens, wanted, out)
    }
    fn truncate(&mut self, len: usize) -> Result<(), ModelError> {
        self.0.truncate(len)
    }
}

/// One pass runs the missing context and the tree; no row of the tree needs another.
#[test]
fn a_tree_costs_one_pass_from_the_prompt_to_the_leaves() {
    let (table, tree) = (table(1), branching());
    let model = Counted::new(table.clone());
    let mut session = CachedSession::new(&model).unwrap();
    let mut context: Vec<TokenId> = vec![3, 1, 4];
    let mut tokens = 0;
    for round in 1..=4 {
        assert!(session.follow_tree(&context, &tree).unwrap());
        assert_eq!(session.row_at(&context, context.len()).unwrap(), fresh(&table, &context));
        for text in texts(&context, &tree) {
            assert_eq!(session.row(&text).unwrap(), fresh(&table, &text), "{text:?}");
        }
        // Round 1 runs the prompt; later rounds only the token that was not in the tree.
        tokens += tree.len() as u64 + if round == 1 { 3 } else { 1 };
        let counts = model.counts();
        assert_eq!((counts.passes, counts.tokens), (round, tokens), "round {round}");
        // A path of the tree, and a token outside it.
        context.extend([1, 3, 4, 2]);
    }
}

/// Known nodes are not computed again: the same tree, parts of it, a tree that grows level by
/// level, a path of it as a context.
#[test]
fn only_new_nodes_are_computed() {
    let model = Counted::new(table(2));
    let mut session = CachedSession::new(&model).unwrap();
    let context: Vec<TokenId> = vec![3, 1];
    session.row(&context).unwrap();
    let tree = branching();
    let mut levels = TokenTree::new();
    for (depth, new) in [(1, 2), (2, 2), (3, 2)] {
        for node in (0..tree.len()).filter(|&node| tree.depth(node) == depth) {
            let parent = tree.path_along(&tree.text(node)[..depth - 1]).last().copied();
            let parent =
                parent.map(|parent| *levels.path_along(&tree.text(parent)).last().unwrap());
            levels.push(parent, tree.token(node));
        }
        let before = model.counts();
        assert!(session.follow_tree(&context, &levels).unwrap());
        let spent = model.counts() - before;
        assert_eq!((spent.passes, spent.tokens, spent.rows), (1, new, new), "level {depth}");
    }
    let before = model.counts();
    session.follow_tree(&context, &tree).unwrap();
    session.follow_tree(&[3, 1, 1], &tree_of(&[(0, 2), (0, 3), (1, 4)])).unwrap();
    session.rows(&[3, 1, 1, 3, 4], 4).map(drop).unwrap();
    assert_eq!(model.counts(), before, "all of these rows were cached");
    // Beyond a leaf, its path is kept.
    session.row(&[3, 1, 1, 3, 4, 0]).unwrap();
    let spent = model.counts() - before;
    assert_eq!((spent.passes, spent.tokens), (1, 1));
}

/// Rows of kept paths are cached like other rows: as many, and no fewer.
#[test]
fn rows_of_kept_paths_are_remembered() {
    let model = Counted::new(table(3));
    let mut session = CachedSession::new(&model).unwrap();
    session.keep_rows(6);
    let mut context: Vec<TokenId> = vec![2];
    for _ in 0..20 {
        session.follow_tree(&context, &branching()).unwrap();
        let before = model.counts();
        for len in context.len().saturating_sub(5).max(1)..=context.len() {
            assert_eq!(session.row_at(&context, len).unwrap(), fresh(&table(3), &context[..len]));
        }
        assert_eq!(model.counts(), before);
        context.extend([1, 2]);
    }
}

#[test]
fn a_prompt_longer_than_a_stem_has_a_pass_of_its_own() {
    let model = Counted::new(table(4));
    let mut session = CachedSession::new(&model).unwrap();
    let context: Vec<TokenId> = (0..40).map(|i| i * i % 5).collect();
    session.follow_tree(&context, &branching()).unwrap();
    let counts = model.counts();
    // One token of the prompt is the stem; the others return no rows.
    assert_eq!((counts.passes, counts.tokens, counts.rows), (2, 46, 7));
    assert_eq!(session.row_at(&context, 40).unwrap(), fresh(&table(4), &context));
    assert_eq!(model.counts(), counts);
}

#[test]
fn trees_without_tree_attention_or_room_are_refused() {
    let tree = branching();
    let without = Counted::new(NoTrees(table(5)));
    let mut session = CachedSession::new(&without).unwrap();
    assert!(!session.follow_tree(&[1, 2], &tree).unwrap());
    assert_eq!(without.counts().passes, 0);
    // A single path needs no tree attention.
    assert!(session.follow_tree(&[1, 2], &tree_of(&[(0, 1), (1, 2)])).unwrap());
    assert_eq!((without.counts().passes, without.counts().rows), (1, 3));

    let short = Counted::new(table(5).with_context_len(8));
    let mut session = CachedSession::new(&short).unwrap();
    assert!(!session.follow_tree(&[1, 2, 3], &tree).unwrap(), "9 slots of 8");
    assert!(session.follow_tree(&[1, 2], &tree).unwrap(), "8 slots of 8");
    // A second tree does not fit beside the first one, which is dropped.
    let other = tree_of(&[(0, 2), (0, 3)]);
    assert!(session.follow_tree(&[1, 2], &other).unwrap());
    assert_eq!(session.row(&[1, 2, 3]).unwrap(), fresh(&table(5), &[1, 2, 3]));
    assert_eq!(short.counts().passes, 2);

    for tree in [TokenTree::new(), tree_of(&[(0, 1)]), tree] {
        let refused = session.follow_tree(&[], &tree);
        assert!(matches!(refused, Err(DecodeError::EmptyPrompt)), "{tree:?}");
    }
}

/// After an error for an unknown token the session continues as if it had not been asked.
#[test]
fn a_refused_tree_leaves_no_trace() {
    let table = table(6);
    let mut session = CachedSession::new(&table).unwrap();
    let context = [1, 2];
    session.follow_tree(&context, &tree_of(&[(0, 1), (0, 2)])).unwrap();
    let wrong = tree_of(&[(0, 3), (0, VOCAB as TokenId)]);
    for _ in 0..2 {
        let error = session.follow_tree(&context, &wrong).unwrap_err();
        let DecodeError::Model { source, .. } = error else { panic!("{error}") };
        assert!(matches!(source, ModelError::TokenOutOfRange { id: 5, .. }), "{source}");
    }
    for text in texts(&context, &branching()) {
        assert_eq!(session.row(&text).unwrap(), fresh(&table, &text));
    }
    session.follow_tree(&context, &branching()).unwrap();
    for text in texts(&context, &branching()) {
        assert_eq!(session.row(&text).unwrap(), fresh(&table, &text));
    }
}

proptest! {
    /// Any sequence of trees and rows over texts that go back and forth: every row equals that of a
    /// fresh session.
    #[test]
    fn a_walk_with_trees_returns_the_rows_of_fresh_sessions(
        memory in 1..5usize,
        steps in proptest::collection::vec(
            (0..4u32, 0..6usize, proptest::collection::vec(0..3u32, 1..4),
             proptest::collection::vec((0..9usize, 0..3u32), 1..9)),
            1..24,
        ),
    ) {
        let table = table(7);
        let mut session = CachedSession::new(&table).unwrap();
        session.keep_rows(memory);
        let mut text = vec![1];
        for (kind, back, more, pushes) in steps {
            // Token ids below 3 make texts and trees meet often.
            text.truncate(text.len().saturating_sub(back).max(1));
            text.extend(more);
            let last = 1 + back % text.len().min(4);
            match kind {
                0 => {
                    let found = session.rows(&text, last).unwrap();
                    for (row, len) in found.zip(text.len() + 1 - last..) {
                        prop_assert_eq!(row, fresh(&table, &text[..len]));
                    }
                }
                1 => {
                    let len = text.len() + 1 - last;
                    prop_assert_eq!(session.row_at(&text, len).unwrap(), fresh(&table, &text[..len]));
                }
                _ => {
                    let tree = tree_of(&pushes);
                    prop_assert!(session.follow_tree(&text, &tree).unwrap());
                    for path in texts(&text, &tree) {
                        prop_assert_eq!(session.row(&path).unwrap(), fresh(&table, &path));
                    }
                    let root = session.row(&text).unwrap();
                    prop_assert_eq!(root, fresh(&table, &text));
                }
            }
        }
    }
}

fn plain() -> Sampling {
    Sampling::at_temperature(1.0).unwrap()
}

/// The distribution after a text, from a predictor that has seen nothing else.
fn distribution_alone(predictor: &mut dyn Predictor, text: &[TokenId]) -> Distribution {
    let mut distributions = Vec::new();
    predictor.begin(2);
    predictor.distributions(text, 1, &mut distributions).unwrap();
    distributions.remove(0)
}

/// Distributions after every path of two trees in a row, against one text at a time. The text
/// continues at the last position asked, as in a verification. Returns the passes of each tree.
fn distributions_of_trees(
    mut predictor: Box<dyn Predictor + '_>,
    alone: &dyn Fn(&[TokenId]) -> Distribution,
    spent: &dyn Fn() -> u64,
) -> Vec<u64> {
    predictor.begin(2);
    let tree = branching();
    let mut passes = Vec::new();
    for context in [vec![3, 1], vec![3, 1, 1, 3, 0]] {
        let before = spent();
        predictor.follow_tree(&context, &tree).unwrap();
        let mut found = Distribution::default();
        let texts = texts(&context, &tree);
        for text in [&context].into_iter().chain(texts.iter().rev()).chain([&texts[2]]) {
            predictor.distribution(text, text.len(), &mut found).unwrap();
            assert_eq!(found, alone(text), "{text:?}");
        }
        passes.push(spent() - before);
    }
    passes
}

#[test]
fn every_predictor_has_the_distributions_of_a_tree_in_one_pass_per_model() {
    let models = [1, 2, 3].map(|seed| Counted::new(table(seed)));
    let [base, aligned, small] = &models;
    let spent = || models.iter().map(|model| model.counts().passes).sum::<u64>();

    let one = || Box::new(ModelPredictor::new(base, plain()).unwrap()) as Box<dyn Predictor + '_>;
    // `alone` has models of its own, so its passes are not counted.
    let tables = [1, 2, 3].map(table);
    let alone = |text: &[TokenId]| {
        distribution_alone(&mut ModelPredictor::new(&tables[0], plain()).unwrap(), text)
    };
    assert_eq!(distributions_of_trees(one(), &alone, &spent), [1, 1]);

    let pool: fn() -> Box<dyn HistoryRule> = || Box::new(PooledBudget::new(0.3, 4.0, 1.0).unwrap());
    let rules = [Rule::base(KadDual::new(0.3).unwrap()), Rule::History(pool())];
    for rule in &rules {
        let mixture = |base, aligned| {
            MixturePredictor::new(Mixture::new(base, aligned, rule, plain(), plain()).unwrap())
        };
        let alone =
            |text: &[TokenId]| distribution_alone(&mut mixture(&tables[0], &tables[1]), text);
        let passes = distributions_of_trees(Box::new(mixture(base, aligned)), &alone, &spent);
        assert_eq!(passes, [2, 2], "{rule}");
        // One model in both roles has one KV cache.
        let alone =
            |text: &[TokenId]| distribution_alone(&mut mixture(&tables[0], &tables[0]), text);
        assert_eq!(
            distributions_of_trees(Box::new(mixture(base, base)), &alone, &spent),
            [1, 1],
            "{rule}"
        );
    }

    let reward = |base, small, aligned| {
        ImplicitReward::new(base, small, aligned, plain(), UndefinedRatio::Exclude).unwrap()
    };
    let alone = |text: &[TokenId]| {
        distribution_alone(&mut reward(&tables[0], &tables[2], &tables[1]), text)
    };
    let passes = distributions_of_trees(Box::new(reward(base, small, aligned)), &alone, &spent);
    assert_eq!(passes, [3, 3]);
}

/// Without tree attention the distributions are the same and cost more passes.
#[test]
fn distributions_of_a_tree_do_not_need_tree_attention() {
    let model = Counted::new(NoTrees(table(1)));
    let table = table(1);
    let alone = |text: &[TokenId]| {
        distribution_alone(&mut ModelPredictor::new(&table, plain()).unwrap(), text)
    };
    let predictor = Box::new(ModelPredictor::new(&model, plain()).unwrap());
    let passes = distributions_of_trees(predictor, &alone, &|| model.counts().passes);
    assert!(passes.iter().all(|&passes| passes > 1), "{passes:?}");
}
