//! Token trees beyond the conformance suite: more nodes than a chunk, attention on several threads,
//! and equality of bits.

use kad_backends::{StoredType, naive};
use kad_core::{LanguageModel, LogitRows, TokenId, TokenTree};

use crate::support::tiny;

const SEED: u64 = 3;

pub(crate) fn tokens(count: usize) -> Vec<TokenId> {
    (0..count).map(|i| (i * 7919 % tiny::vocab().size()) as TokenId).collect()
}

/// A tree of `nodes` nodes with long paths and distant siblings.
pub(crate) fn tree(nodes: usize) -> TokenTree {
    let mut tree = TokenTree::new();
    for step in 0.. {
        if tree.len() == nodes {
            break;
        }
        let newest = tree.len();
        let parent = if step % 3 == 0 { step * 31 % (newest + 1) } else { newest };
        tree.push(parent.checked_sub(1), (step * 13 % 47) as TokenId);
    }
    tree
}

/// Logits of all nodes after the tokens `held`.
pub(crate) fn tree_rows(
    model: &dyn LanguageModel,
    held: &[TokenId],
    tree: &TokenTree,
) -> LogitRows {
    let mut out = LogitRows::new(model.vocab().size());
    let mut session = model.start().unwrap();
    session.extend(held, 0, &mut out).unwrap();
    session.trees().unwrap().extend_tree(tree, &mut out).unwrap();
    out
}

/// Logits after the last `wanted` of `tokens`.
fn chain_rows(model: &dyn LanguageModel, tokens: &[TokenId], wanted: usize) -> LogitRows {
    let mut out = LogitRows::new(model.vocab().size());
    let mut session = model.start().unwrap();
    session.extend(&tokens[..tokens.len() - wanted], 0, &mut out).unwrap();
    session.extend(&tokens[tokens.len() - wanted..], wanted, &mut out).unwrap();
    out
}

#[test]
fn nodes_of_naive_have_the_bits_of_their_texts() {
    let (held, tree) = (tokens(9), tree(40));
    for spec in tiny::all() {
        let weights = tiny::weights(&spec, &[StoredType::F32], SEED);
        let model = naive::load("naive", &spec, &weights, tiny::vocab()).unwrap();
        let found = tree_rows(&*model, &held, &tree);
        for node in 0..tree.len() {
            let text = [&held[..], &tree.text(node)].concat();
            assert_eq!(found.row(node), chain_rows(&*model, &text, 1).row(0), "node {node}");
        }
    }
}

/// Eight rounds of a tree with a kept path.
#[cfg(any(feature = "candle", feature = "tensors"))]
pub(crate) fn keep_paths(session: &mut dyn kad_core::Session, out: &mut LogitRows) {
    for round in 0..8 {
        let tree = tree(20 + round);
        out.clear();
        let trees = session.trees().unwrap();
        trees.extend_tree(&tree, out).unwrap();
        let deepest = (0..tree.len()).max_by_key(|&node| tree.depth(node)).unwrap();
        let path = tree.path(if round % 2 == 0 { deepest } else { tree.len() - 1 });
        trees.keep_path(&path[..path.len().min(6)]).unwrap();
    }
}

#[cfg(feature = "candle")]
mod candle {
    use kad_backends::decoder::spec::DecoderSpec;
    use kad_backends::{Dtype, candle};
    use kad_core::testing::conformance::worst_difference;

    use super::*;
    use crate::support::tiny::{gemma3, gguf_llama, llama, mistral, olmo2, qwen2, qwen3};

    /// Largest measured, 200 nodes after 60 tokens: 2.0e-6, with K types 2.6e-5. candle's product,
    /// used without AVX-512, doubles it for prompts.
    const WIDE: f64 = 2e-4;

    fn models() -> Vec<(DecoderSpec, Vec<StoredType>, Dtype)> {
        use StoredType::{BF16, F16, Q4_1, Q4K, Q6K, Q8_0};
        vec![
            (llama(), vec![], Dtype::F32),
            (llama(), vec![], Dtype::F16),
            (qwen2(), vec![BF16], Dtype::Auto),
            (qwen2(), vec![F16], Dtype::BF16),
            (mistral(), vec![], Dtype::F32),
            (qwen3(), vec![BF16], Dtype::Auto),
            (olmo2(), vec![], Dtype::BF16),
            (gemma3(), vec![F16], Dtype::F32),
            (gguf_llama(), vec![Q4K, Q6K], Dtype::Quantized),
            (gguf_llama(), vec![Q8_0, Q4_1], Dtype::Auto),
        ]
    }

    fn load(spec: &DecoderSpec, types: &[StoredType], dtype: Dtype) -> Box<dyn LanguageModel> {
        let weights = tiny::weights(spec, types, SEED);
        candle::load("candle", spec, &weights, tiny::vocab(), dtype).unwrap()
    }

    /// More nodes than a chunk: parents in earlier chunks, and attention on several threads.
    #[test]
    fn trees_of_several_chunks_agree_with_naive() {
        let (held, tree) = (tokens(60), tree(200));
        assert!(tree.len() > candle::CHUNK);
        let narrow = [llama(), mistral(), qwen3(), olmo2(), gemma3()].map(|spec| (spec, vec![]));
        let wide = (gguf_llama(), vec![StoredType::Q4K]);
        for (spec, types) in narrow.into_iter().chain([wide]) {
            let weights = tiny::weights(&spec, &types, SEED);
            let slow = naive::load("naive", &spec, &weights, tiny::vocab()).unwrap();
            let fast = load(&spec, &types, Dtype::Auto);
            let (found, expected) =
                (tree_rows(&*fast, &held, &tree), tree_rows(&*slow, &held, &tree));
            let worst = worst_difference(&found, &expected);
            println!("{}: worst difference of 200 nodes {worst:.2e}", spec.family);
            assert!(worst <= WIDE, "{worst:e}");
        }
    }

    /// Every node has the bits of a pass over its token alone after its path.
    #[test]
    fn nodes_have_the_bits_of_their_texts() {
        let held = tokens(70);
        // Without AVX-512, larger trees use candle's product.
        let tree = tree(candle::NARROW.min(100));
        for (spec, types, dtype) in models() {
            let model = load(&spec, &types, dtype);
            let found = tree_rows(&*model, &held, &tree);
            let (mut session, mut out) = (model.start().unwrap(), LogitRows::new(found.vocab()));
            session.extend(&held, 0, &mut out).unwrap();
            for node in 0..tree.len() {
                session.truncate(held.len()).unwrap();
                for token in tree.text(node) {
                    out.clear();
                    session.extend(&[token], 1, &mut out).unwrap();
                }
                assert!(found.row(node) == out.row(0), "{dtype} {types:?}: node {node}");
            }
        }
    }

    /// S8 with equal bits, for every number of nodes, also with candle's product.
    #[test]
    fn a_tree_of_one_path_has_the_bits_of_a_chain() {
        for (spec, types, dtype) in models() {
            let model = load(&spec, &types, dtype);
            for width in [1, 2, 7, 64, 65, candle::CHUNK + 5] {
                let text = tokens(20 + width);
                let mut path = TokenTree::new();
                for (node, &token) in text[20..].iter().enumerate() {
                    path.push(node.checked_sub(1), token);
                }
                let found = tree_rows(&*model, &text[..20], &path);
                assert!(found == chain_rows(&*model, &text, width), "{dtype}: {width} nodes");
            }
        }
    }

    /// After rounds of kept paths, a session has the bits of one without trees.
    #[test]
    fn kept_paths_leave_the_cache_of_a_fresh_session() {
        for (spec, types, dtype) in models() {
            let model = load(&spec, &types, dtype);
            let (mut session, mut out) = (model.start().unwrap(), LogitRows::new(49));
            session.extend(&tokens(5), 0, &mut out).unwrap();
            keep_paths(&mut *session, &mut out);
            let text = [session.tokens(), &[3]].concat();
            out.clear();
            session.extend(&[3], 1, &mut out).unwrap();
            assert!(out == chain_rows(&*model, &text, 1), "{dtype} {types:?}");
        }
    }
}
