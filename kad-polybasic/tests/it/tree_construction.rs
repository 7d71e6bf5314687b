//! Construction of token trees, against all possible paths and against trees written out by hand.

use kad_core::oracle::TableModel;
use kad_core::{
    Distribution, LanguageModel, ModelPredictor, Predictor, SampledChoices, Sampling, TokenId,
};
use kad_polybasic::{
    DraftRequest, DraftTree, LookupTree, NgramLookup, SuffixLookup, TopKTree, TreeDrafter,
    TreeLimits,
};

const PROMPT: [TokenId; 4] = [1, 0, 1, 0];
const EOS: TokenId = 2;

fn model(model: &dyn LanguageModel) -> ModelPredictor<'_> {
    ModelPredictor::new(model, Sampling::at_temperature(1.0).unwrap()).unwrap()
}

/// The texts of all nodes of a tree, in the order of its nodes.
fn grown(
    drafter: &mut dyn TreeDrafter,
    context: &[TokenId],
    limits: TreeLimits,
) -> Vec<Vec<TokenId>> {
    let request = DraftRequest { context, wanted: 1, room: 1, level: 2, eos: &[EOS] };
    let mut tree = DraftTree::default();
    drafter.grow(request, limits, &mut SampledChoices::seeded(1), &mut tree).unwrap();
    (0..tree.tokens().len()).map(|node| tree.tokens().text(node)).collect()
}

/// The best paths by confidence, each after its prefix, against all possible paths.
#[test]
fn the_likeliest_paths_are_kept() {
    let table = TableModel::random("table", 5, 3, 3);
    let mut predictor = model(&table);
    for (depth, nodes) in [(1, 3), (2, 7), (3, 10), (3, 40), (4, 200)] {
        // Every path with its confidence; wide enough that none is dropped on the way.
        let mut all: Vec<(Vec<TokenId>, f64)> = vec![];
        let mut open = vec![(vec![], 1.0)];
        while let Some((path, confidence)) = open.pop() {
            if path.len() == depth || path.last() == Some(&EOS) {
                continue;
            }
            let (text, mut distribution) = ([&PROMPT[..], &path].concat(), Distribution::default());
            predictor.distribution(&text, text.len(), &mut distribution).unwrap();
            for (token, &q) in (0..).zip(distribution.probs()) {
                let longer = ([&path[..], &[token]].concat(), confidence * q);
                all.push(longer.clone());
                open.push(longer);
            }
        }
        all.sort_by(|a, b| b.1.total_cmp(&a.1));
        all.truncate(nodes);
        let wanted: Vec<_> = all.into_iter().map(|(path, _)| path).collect();
        let mut tree = TopKTree::new(model(&table), 1000, 1000).unwrap();
        let found = grown(&mut tree, &PROMPT, TreeLimits { depth, nodes });
        assert_eq!(found, wanted, "depth {depth}, {nodes} nodes");
    }
}

/// The beam of EAGLE-2 by its definition: `top_k` tokens after each of the `top_k` best nodes of
/// the last depth.
#[test]
fn a_beam_is_expanded_and_the_best_are_kept() {
    let table = TableModel::random("table", 6, 3, 4);
    let mut predictor = model(&table);
    for (top_k, nodes, depth) in [(1, 9, 3), (2, 5, 3), (2, 100, 4), (3, 8, 2), (3, 11, 3)] {
        let mut found: Vec<(Vec<TokenId>, f64)> = vec![];
        let mut beam = vec![(vec![], 1.0)];
        for _ in 0..depth {
            let mut next = vec![];
            for (path, confidence) in beam {
                let (text, mut distribution) =
                    ([&PROMPT[..], &path].concat(), Distribution::default());
                predictor.distribution(&text, text.len(), &mut distribution).unwrap();
                let mut tokens: Vec<TokenId> = (0..6).collect();
                tokens.sort_by(|&a, &b| distribution.prob(b).total_cmp(&distribution.prob(a)));
                let longer =
                    |&y: &TokenId| ([&path[..], &[y]].concat(), confidence * distribution.prob(y));
                next.extend(tokens[..top_k].iter().map(longer));
            }
            found.extend(next.clone());
            next.retain(|(path, _)| path.last() != Some(&EOS));
            next.sort_by(|a, b| b.1.total_cmp(&a.1));
            next.truncate(top_k);
            beam = next;
        }
        found.sort_by(|a, b| b.1.total_cmp(&a.1));
        found.truncate(nodes);
        let wanted: Vec<_> = found.into_iter().map(|(path, _)| path).collect();
        let mut tree = TopKTree::new(model(&table), top_k, nodes).unwrap();
        let found = grown(&mut tree, &PROMPT, TreeLimits { depth, nodes: 1000 });
        assert_eq!(found, wanted, "{top_k}, {nodes}, {depth}");
    }
}

/// Certain distributions: a path and its prefix are equally likely, and the prefix comes first.
#[test]
fn a_tree_is_connected_if_paths_tie() {
    let never = f32::NEG_INFINITY;
    let table = TableModel::random("table", 4, 0, 0).with_row(&[], &[never, 0.0, never, 0.0]);
    let certain = TableModel::random("table", 4, 0, 0).with_row(&[], &[never, 0.0, never, never]);
    let limits = TreeLimits { depth: 4, nodes: 3 };
    let mut tree = TopKTree::new(model(&certain), 3, 9).unwrap();
    assert_eq!(grown(&mut tree, &PROMPT, limits), [vec![1], vec![1, 1], vec![1, 1, 1]]);
    let mut tree = TopKTree::new(model(&table), 3, 9).unwrap();
    assert_eq!(grown(&mut tree, &PROMPT, limits), [vec![1], vec![3], vec![1, 1]]);
}

/// The tree of an n-gram lookup: the tokens after its occurrences, the longest match first and the
/// latest of each, up to the limit.
#[test]
fn a_lookup_tree_merges_equal_continuations() {
    //         0  1  2  3  4  5  6  7  8  9 10 11
    let text = [4, 5, 6, 7, 1, 5, 8, 4, 5, 6, 8, 5];
    let ngrams = |nodes| LookupTree::new(NgramLookup::new(1, 2).unwrap(), nodes).unwrap();
    let limits = TreeLimits { depth: 2, nodes: 100 };
    let all = [vec![6], vec![6, 8], vec![8], vec![8, 4], vec![6, 7]];
    assert_eq!(grown(&mut ngrams(9), &text, limits), all);
    assert_eq!(grown(&mut ngrams(3), &text, limits), all[..3]);
    // 4 5 was followed by 6, and 5 alone by 8 too.
    let text = [&text[..], &[7, 4, 5]].concat();
    let all = [vec![6], vec![6, 8], vec![6, 7], vec![7], vec![7, 4], vec![8], vec![8, 4]];
    assert_eq!(grown(&mut ngrams(9), &text, limits), all);
    assert_eq!(grown(&mut ngrams(9), &[5, EOS, 7, 5], limits), [[5, EOS][1..].to_vec()]);
}

/// The tree of a suffix lookup: the most likely paths by the counts of the next tokens.
#[test]
fn a_suffix_tree_is_ordered_by_counts() {
    // After 1: 3 3 3 2 4; after 1 3: 0 5 5.
    let text = [1, 3, 0, 1, 3, 5, 1, 3, 5, 1, EOS, 0, 1, 4, 9, 1];
    let mut tree = LookupTree::new(SuffixLookup::new(1, 1).unwrap(), 6).unwrap();
    let found = grown(&mut tree, &text, TreeLimits { depth: 2, nodes: 100 });
    // Shares 3/5; 2/5 (3 5); 1/5 (4, the latest; 4 9; 3 0; the end token).
    assert_eq!(found[..2], [vec![3], vec![3, 5]]);
    assert_eq!(found[2..4], [vec![4], vec![4, 9]]);
    assert_eq!(found.len(), 6);
    assert!(found.contains(&vec![EOS]) && found.contains(&vec![3, 0]));
}
