//! Token trees: several draft continuations that share prefixes.

use crate::vocab::TokenId;

/// A tree of tokens after a context. A node without a parent follows the context itself.
///
/// Nodes are numbered in the order of insertion, so parents come before their children. Siblings
/// have distinct tokens. The text of a node is the tokens on its path, so no two nodes have the
/// same text.
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
    /// An empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `token` as a child of `parent`, or of the context, and returns its node. Returns the
    /// existing node if that child is already there.
    ///
    /// # Panics
    /// If `parent` is not a node.
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

    /// True for a tree without nodes.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Removes all nodes and keeps the memory.
    pub fn clear(&mut self) {
        self.nodes.clear();
    }

    /// The token of `node`.
    ///
    /// # Panics
    /// If `node >= self.len()`, as for every method that takes a node.
    pub fn token(&self, node: usize) -> TokenId {
        self.nodes[node].token
    }

    /// The parent of `node`; `None` for a child of the context.
    pub fn parent(&self, node: usize) -> Option<usize> {
        self.nodes[node].parent
    }

    /// Number of tokens on the path to `node`: 1 for a child of the context.
    pub fn depth(&self, node: usize) -> usize {
        self.nodes[node].depth
    }

    /// The children of `parent`, or of the context, in the order of insertion.
    pub fn children(&self, parent: Option<usize>) -> impl Iterator<Item = usize> {
        // Children come after their parent.
        let from = parent.map_or(0, |parent| parent + 1);
        (from..self.len()).filter(move |&node| self.nodes[node].parent == parent)
    }

    /// The child of `parent`, or of the context, with this token.
    pub fn child_with(&self, parent: Option<usize>, token: TokenId) -> Option<usize> {
        self.children(parent).find(|&node| self.nodes[node].token == token)
    }

    /// The nodes on the path to `node`, from the child of the context to `node` itself.
    pub fn path(&self, node: usize) -> Vec<usize> {
        let mut path: Vec<_> =
            std::iter::successors(Some(node), |&node| self.nodes[node].parent).collect();
        path.reverse();
        path
    }

    /// The tokens on the path to `node`, its own last.
    pub fn text(&self, node: usize) -> Vec<TokenId> {
        self.path(node).into_iter().map(|node| self.nodes[node].token).collect()
    }

    /// The longest path from the context whose tokens begin `tokens`.
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

    /// True if `nodes` is a path from the context: each node is a child of the one before. The
    /// empty path counts.
    pub fn is_path(&self, nodes: &[usize]) -> bool {
        let mut before = None;
        nodes.iter().all(|&node| {
            let follows = self.nodes.get(node).is_some_and(|it| it.parent == before);
            before = Some(node);
            follows
        })
    }

    /// True if each node is the child of the one before, so that the tree is a single path.
    pub fn is_chain(&self) -> bool {
        self.nodes.iter().enumerate().all(|(node, it)| it.parent == node.checked_sub(1))
    }

    /// True if the first nodes of this tree are the nodes of `other`.
    pub fn starts_with(&self, other: &TokenTree) -> bool {
        self.nodes.starts_with(&other.nodes)
    }

    /// The tokens of all nodes, in node order.
    pub fn tokens(&self) -> impl ExactSizeIterator<Item = TokenId> + '_ {
        self.nodes.iter().map(|node| node.token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// A tree is the set of its texts, by definition.
    fn texts(tree: &TokenTree) -> BTreeSet<Vec<TokenId>> {
        (0..tree.len()).map(|node| tree.text(node)).collect()
    }

    proptest! {
        /// Against a set of texts: distinct siblings (S8), depths, children, paths.
        #[test]
        fn a_tree_is_the_set_of_its_texts(
            pushes in proptest::collection::vec((0..8usize, 0..3u32), 0..20)
        ) {
            let mut tree = TokenTree::new();
            let mut expected = BTreeSet::new();
            for (choice, token) in pushes {
                // Choice 0 is the context, as is any choice in an empty tree.
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
