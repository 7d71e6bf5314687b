//! Several continuations of one text that share their beginnings.

use crate::vocab::TokenId;

/// Tokens that follow a context, each after its parent or, without one, after the context itself.
///
/// Nodes are numbered as they come, parents before children; siblings are distinct. The text of a
/// node is the tokens on the path to it, so no two nodes have the same text.
///
/// ```
/// use kad_core::TokenTree;
/// let mut tree = TokenTree::new();
/// let a = tree.push(None, 7);
/// let b = tree.push(Some(a), 3);
/// let c = tree.push(Some(a), 5);
/// assert_eq!(tree.push(Some(a), 3), b, "siblings are distinct");
/// assert_eq!((tree.len(), tree.depth(c)), (3, 2));
/// assert_eq!(tree.path(c), [a, c]);
/// assert!(tree.children(Some(a)).eq([b, c]));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenTree {
    nodes: Vec<Node>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Node {
    token: TokenId,
    parent: Option<usize>,
    depth: usize,
}

impl TokenTree {
    /// No nodes yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `token` after `parent`, or after the context if there is none, and returns the node. A
    /// token that follows there already is the node it is.
    ///
    /// # Panics
    /// If `parent` is no node.
    pub fn push(&mut self, parent: Option<usize>, token: TokenId) -> usize {
        let depth = parent.map_or(0, |parent| self.nodes[parent].depth) + 1;
        self.child_with(parent, token).unwrap_or_else(|| {
            self.nodes.push(Node { token, parent, depth });
            self.nodes.len() - 1
        })
    }

    /// Number of nodes.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is no node.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Forgets all nodes, keeps the memory.
    pub fn clear(&mut self) {
        self.nodes.clear();
    }

    /// The token of `node`.
    ///
    /// # Panics
    /// If `node >= self.len()`, as for everything that takes a node.
    pub fn token(&self, node: usize) -> TokenId {
        self.nodes[node].token
    }

    /// The node that `node` follows; `None` if it follows the context.
    pub fn parent(&self, node: usize) -> Option<usize> {
        self.nodes[node].parent
    }

    /// How many tokens the path to `node` has: 1 for those that follow the context.
    pub fn depth(&self, node: usize) -> usize {
        self.nodes[node].depth
    }

    /// The nodes that follow `parent`, or the context, in the order they came.
    pub fn children(&self, parent: Option<usize>) -> impl Iterator<Item = usize> {
        // Children come after their parents.
        let from = parent.map_or(0, |parent| parent + 1);
        (from..self.len()).filter(move |&node| self.nodes[node].parent == parent)
    }

    /// The node after `parent`, or the context, that has this token.
    pub fn child_with(&self, parent: Option<usize>, token: TokenId) -> Option<usize> {
        self.children(parent).find(|&node| self.nodes[node].token == token)
    }

    /// The nodes on the way to `node`, the one that follows the context first, `node` last.
    pub fn path(&self, node: usize) -> Vec<usize> {
        let mut path: Vec<_> =
            std::iter::successors(Some(node), |&node| self.nodes[node].parent).collect();
        path.reverse();
        path
    }

    /// The tokens on the way to `node`, its own last.
    pub fn text(&self, node: usize) -> Vec<TokenId> {
        self.path(node).into_iter().map(|node| self.nodes[node].token).collect()
    }

    /// The path that `tokens` take from the context on, as far as the tree goes with them.
    ///
    /// ```
    /// # use kad_core::TokenTree;
    /// let mut tree = TokenTree::new();
    /// let a = tree.push(None, 7);
    /// let b = tree.push(Some(a), 3);
    /// assert_eq!(tree.path_along(&[7, 3, 9]), [a, b]);
    /// assert_eq!(tree.path_along(&[3]), []);
    /// ```
    pub fn path_along(&self, tokens: &[TokenId]) -> Vec<usize> {
        let mut path = Vec::new();
        for &token in tokens {
            match self.child_with(path.last().copied(), token) {
                Some(node) => path.push(node),
                None => break,
            }
        }
        path
    }

    /// Whether `nodes` is a path that begins at the context: each follows the one before. No nodes
    /// are one.
    pub fn is_path(&self, nodes: &[usize]) -> bool {
        let mut before = None;
        nodes.iter().all(|&node| {
            let follows = self.nodes.get(node).is_some_and(|it| it.parent == before);
            before = Some(node);
            follows
        })
    }

    /// Whether each node follows the one before it, so that there is one continuation only.
    pub fn is_chain(&self) -> bool {
        self.nodes.iter().enumerate().all(|(node, it)| it.parent == node.checked_sub(1))
    }

    /// Whether the first nodes are those of `other`, all of them.
    pub fn starts_with(&self, other: &TokenTree) -> bool {
        self.nodes.starts_with(&other.nodes)
    }

    /// All tokens, in the order of the nodes.
    pub fn tokens(&self) -> impl ExactSizeIterator<Item = TokenId> + '_ {
        self.nodes.iter().map(|node| node.token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// Every path there is, by the definition: a tree is the set of its texts.
    fn texts(tree: &TokenTree) -> BTreeSet<Vec<TokenId>> {
        (0..tree.len()).map(|node| tree.text(node)).collect()
    }

    proptest! {
        /// Against a set of texts: sibling dedup (S8), depths, children, paths.
        #[test]
        fn a_tree_is_the_set_of_its_texts(
            pushes in proptest::collection::vec((0..8usize, 0..3u32), 0..20)
        ) {
            let mut tree = TokenTree::new();
            let mut expected = BTreeSet::new();
            for (choice, token) in pushes {
                // Choice 0, and any choice in an empty tree, is the context.
                let parent = (choice % (tree.len() + 1)).checked_sub(1);
                let mut text = parent.map_or(vec![], |parent| tree.text(parent));
                text.push(token);
                let is_new = expected.insert(text.clone());
                let before = tree.len();
                let node = tree.push(parent, token);
                prop_assert_eq!(tree.len(), before + usize::from(is_new));
                prop_assert_eq!(&tree.text(node), &text);
                prop_assert_eq!(tree.depth(node), text.len());
                prop_assert_eq!(tree.path_along(&text), tree.path(node));
                prop_assert!(tree.is_path(&tree.path(node)));
            }
            prop_assert_eq!(texts(&tree), expected);
            let by_children: usize =
                (0..tree.len()).map(|n| tree.children(Some(n)).count()).sum::<usize>()
                + tree.children(None).count();
            prop_assert_eq!(by_children, tree.len());
        }
    }

    #[test]
    fn paths_chains_and_beginnings_are_told_apart() {
        let mut tree = TokenTree::new();
        assert!(tree.is_chain() && tree.is_path(&[]));
        let a = tree.push(None, 1);
        let b = tree.push(Some(a), 1);
        assert!(tree.is_chain());
        let start = tree.clone();
        let c = tree.push(None, 2);
        assert!(!tree.is_chain());
        assert!(tree.starts_with(&start) && !start.starts_with(&tree));
        for wrong in [vec![b], vec![a, c], vec![a, a], vec![b, a], vec![3], vec![a, b, c]] {
            assert!(!tree.is_path(&wrong), "{wrong:?}");
        }
        assert!(tree.is_path(&[a, b]) && tree.is_path(&[c]));
    }
}
