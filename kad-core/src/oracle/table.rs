//! Table models: language models small enough to enumerate.

use std::collections::BTreeMap;

use crate::error::ModelError;
use crate::logits::LogitRows;
use crate::model::{LanguageModel, Session, TreeSession};
use crate::tree::TokenTree;
use crate::vocab::{Fingerprint, TokenId, Vocab};

/// A language model given by a table: its logits depend on the last `order` tokens.
///
/// Suffixes without a row in the table get pseudo-random logits, a fixed function of the seed and
/// the suffix, so distributions differ from context to context.
///
/// ```
/// use kad_core::{LanguageModel, LogitRows, oracle::TableModel};
/// let model = TableModel::random("toy", 3, 1, 7).with_row(&[2], &[0.0, 1.0, 2.0]);
/// let mut rows = LogitRows::new(3);
/// model.start()?.extend(&[0, 2], 1, &mut rows)?;
/// assert_eq!(rows.row(0), [0.0, 1.0, 2.0]);
/// # Ok::<(), kad_core::ModelError>(())
/// ```
#[derive(Clone, Debug)]
pub struct TableModel {
    name: String,
    vocab: Vocab,
    order: usize,
    seed: u64,
    context_len: usize,
    rows: BTreeMap<Vec<TokenId>, Vec<f32>>,
}

impl TableModel {
    /// A model over `vocab` tokens with pseudo-random logits for every suffix of `order` tokens.
    ///
    /// Logits lie in [−2, 2). All table models of one size share one vocabulary.
    pub fn random(name: &str, vocab: usize, order: usize, seed: u64) -> Self {
        Self {
            name: name.to_owned(),
            vocab: Vocab::new(vocab, Fingerprint([0; 32])),
            order,
            seed,
            context_len: 1 << 20,
            rows: BTreeMap::new(),
        }
    }

    /// Sets the logits, `[vocab]`, after contexts that end in `suffix`; longer suffixes take
    /// precedence.
    ///
    /// # Panics
    /// If `logits` is not `vocab` wide or `suffix` is longer than `order`.
    #[must_use]
    pub fn with_row(mut self, suffix: &[TokenId], logits: &[f32]) -> Self {
        assert_eq!(logits.len(), self.vocab.size(), "one logit per token");
        assert!(suffix.len() <= self.order, "the model depends on {} tokens only", self.order);
        self.rows.insert(suffix.to_vec(), logits.to_vec());
        self
    }

    /// Sets the context length; default 2^20.
    #[must_use]
    pub fn with_context_len(mut self, tokens: usize) -> Self {
        self.context_len = tokens;
        self
    }

    fn row(&self, context: &[TokenId]) -> Vec<f32> {
        let suffix = &context[context.len().saturating_sub(self.order)..];
        let named = (0..=suffix.len()).find_map(|start| self.rows.get(&suffix[start..]));
        named.cloned().unwrap_or_else(|| {
            (0..self.vocab.size() as u64).map(|token| self.pseudo_logit(suffix, token)).collect()
        })
    }

    fn pseudo_logit(&self, suffix: &[TokenId], token: u64) -> f32 {
        let start = mix_bits(self.seed ^ mix_bits(token));
        let hash = suffix.iter().fold(start, |hash, &t| mix_bits(hash ^ u64::from(t + 1)));
        // 24 bits fit an f32 exactly.
        (hash >> 40) as f32 / (1u32 << 22) as f32 - 2.0
    }
}

/// Finaliser of SplitMix64 (Steele, Lea, Flood 2014): every input bit affects every output bit.
fn mix_bits(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

impl LanguageModel for TableModel {
    fn name(&self) -> &str {
        &self.name
    }
    fn vocab(&self) -> &Vocab {
        &self.vocab
    }
    fn context_len(&self) -> usize {
        self.context_len
    }
    fn start(&self) -> Result<Box<dyn Session + '_>, ModelError> {
        Ok(Box::new(TableSession { model: self, tokens: Vec::new(), tree: TokenTree::new() }))
    }
}

struct TableSession<'m> {
    model: &'m TableModel,
    tokens: Vec<TokenId>,
    tree: TokenTree,
}

impl Session for TableSession<'_> {
    fn tokens(&self) -> &[TokenId] {
        &self.tokens
    }

    fn extend(
        &mut self,
        tokens: &[TokenId],
        wanted: usize,
        out: &mut LogitRows,
    ) -> Result<(), ModelError> {
        let model = self.model;
        let held = self.tokens.len();
        ModelError::check_extend(held, tokens, wanted, model.context_len, model.vocab.size())?;
        self.tree.clear();
        self.tokens.extend_from_slice(tokens);
        let first = self.tokens.len() - wanted;
        (first..self.tokens.len()).for_each(|i| out.push_row(&model.row(&self.tokens[..=i])));
        Ok(())
    }

    fn truncate(&mut self, len: usize) -> Result<(), ModelError> {
        ModelError::check_truncate(self.tokens.len(), len)?;
        self.tree.clear();
        self.tokens.truncate(len);
        Ok(())
    }

    fn trees(&mut self) -> Option<&mut dyn TreeSession> {
        Some(self)
    }
}

impl TreeSession for TableSession<'_> {
    fn grow_tree(&mut self, tree: &TokenTree, out: &mut LogitRows) -> Result<(), ModelError> {
        let (model, held) = (self.model, self.tokens.len());
        let (limit, vocab) = (model.context_len, model.vocab.size());
        ModelError::check_tree(held, &self.tree, tree, limit, vocab)?;
        for node in self.tree.len()..tree.len() {
            out.push_row(&model.row(&[self.tokens.clone(), tree.text(node)].concat()));
        }
        self.tree.clone_from(tree);
        Ok(())
    }

    fn keep_path(&mut self, path: &[usize]) -> Result<(), ModelError> {
        ModelError::check_path(&self.tree, path)?;
        self.tokens.extend(path.iter().map(|&node| self.tree.token(node)));
        self.tree.clear();
        Ok(())
    }
}
