//! Sessions over graphs of kad's flat layout. kad owns the KV cache, and rollback drops rows.
//!
//! Inputs and outputs of a pass over `T` tokens after `P` cached rows, for each layer `i`:
//!
//! ```text
//! input_ids [T], positions [T], mask [T, P + T] (0 for visible positions, −1e30 for hidden ones),
//! rows [R] (indices of the tokens whose logits are returned),
//! past_key.i, past_value.i [P, kv_heads, head_dim]
//!   → logits [R, vocab], new_key.i, new_value.i [T, kv_heads, head_dim]
//! ```

use std::borrow::Cow;

use kad_core::{LanguageModel, LogitRows, ModelError, Session, TokenId, TokenTree, TreeSession};
use ort::session::SessionInputValue;
use ort::value::{Tensor, TensorElementType as Type, TensorRef};

use super::errors::broken;
use super::graph::{self, GraphInput};
use super::{CHUNK, OrtModel};
use crate::chunks::chunks;

/// Added to the score of a hidden position; its weight underflows to `exp(−1e30) = 0`.
const HIDDEN: f32 = -1e30;

/// A session with a token tree after the text: node `n` has row `tokens.len() + n` of the cache.
pub(super) struct FlatSession<'m> {
    model: &'m OrtModel,
    tokens: Vec<TokenId>,
    tree: TokenTree,
    /// One buffer per cache input, `[rows, kv_heads · head_dim]`.
    cache: Vec<Vec<f32>>,
}

/// One forward pass: tokens, positions and mask.
struct FlatPass<'a> {
    ids: &'a [TokenId],
    positions: Vec<usize>,
    /// `[T, P + T]`.
    mask: Vec<f32>,
    wanted: usize,
}

/// Number of columns of the logits.
///
/// # Errors
/// [`ModelError::Backend`] if the graph does not run on one token, or on a second one with its own
/// cache.
pub(super) fn width(model: &OrtModel) -> Result<usize, ModelError> {
    let mut session = FlatSession::new(model);
    let mut width = 0;
    for held in 0..2 {
        let pass =
            FlatPass { ids: &[0], positions: vec![held], mask: vec![0.0; held + 1], wanted: 1 };
        width = session.pass(&pass, &mut LogitRows::new(0))?;
    }
    Ok(width)
}

impl<'m> FlatSession<'m> {
    pub(super) fn new(model: &'m OrtModel) -> Self {
        let cache = model.signature.past().map(|_| Vec::new()).collect();
        Self { model, tokens: Vec::new(), tree: TokenTree::new(), cache }
    }

    /// Numbers per cache row.
    fn row_len(&self) -> usize {
        self.model.spec.kv_width()
    }

    /// Number of cache rows.
    fn rows(&self) -> usize {
        self.cache.first().map_or(0, |buffer| buffer.len() / self.row_len())
    }

    fn keep_rows(&mut self, rows: usize) {
        let width = self.row_len();
        self.cache.iter_mut().for_each(|buffer| buffer.truncate(rows * width));
    }

    /// Runs one pass and appends its rows to the cache; returns the number of columns of the
    /// logits.
    fn pass(&mut self, pass: &FlatPass<'_>, out: &mut LogitRows) -> Result<usize, ModelError> {
        let (signature, past) = (&self.model.signature, self.rows());
        let mut inputs: Vec<(Cow<'_, str>, SessionInputValue<'_>)> = Vec::new();
        let mut cache = self.cache.iter();
        for input in &signature.inputs {
            let value = match input.present.is_empty() {
                true => pass.feed(input, past)?,
                false => self.rows_of(input, cache.next().map_or(&[], Vec::as_slice), past)?,
            };
            inputs.push((input.name.as_str().into(), value));
        }
        let mut graph = self.model.graph.borrow_mut();
        let outputs = graph.run(inputs).map_err(broken)?;
        let width = graph::push_rows(&outputs, &signature.logits, pass.wanted, out)?;
        let expected = pass.ids.len() * self.model.spec.kv_width();
        for (input, buffer) in signature.past().zip(&mut self.cache) {
            let (shape, rows) = graph::floats(&outputs[input.present.as_str()])?;
            if rows.len() != expected {
                let (name, tokens) = (&input.present, pass.ids.len());
                return Err(broken(format!("`{name}` has shape {shape:?} for {tokens} tokens")));
            }
            buffer.extend_from_slice(&rows);
        }
        Ok(width)
    }

    /// A cache input as a view of its buffer.
    fn rows_of<'v>(
        &self,
        input: &GraphInput,
        buffer: &'v [f32],
        rows: usize,
    ) -> Result<SessionInputValue<'v>, ModelError> {
        let spec = &self.model.spec;
        let shape = [rows, spec.kv_heads, spec.head_dim];
        if input.element != Type::Float32 {
            return Err(broken(format!("`{}` is not float", input.name)));
        }
        if rows == 0 {
            // A view cannot be empty.
            let value = Tensor::<f32>::new(&Default::default(), shape).map_err(broken)?;
            return Ok(SessionInputValue::from(value));
        }
        let view = TensorRef::from_array_view((shape, buffer)).map_err(broken)?;
        Ok(SessionInputValue::from(view))
    }

    fn run(
        &mut self,
        tokens: &[TokenId],
        wanted: usize,
        out: &mut LogitRows,
    ) -> Result<(), ModelError> {
        for (ids, wanted) in chunks(tokens, CHUNK, wanted) {
            let held = self.rows();
            let total = held + ids.len();
            let sees = |token: usize, other: usize| other <= held + token;
            let mask = (0..ids.len() * total)
                .map(|at| if sees(at / total, at % total) { 0.0 } else { HIDDEN })
                .collect();
            let pass = FlatPass { ids, positions: (held..total).collect(), mask, wanted };
            self.pass(&pass, out)?;
        }
        Ok(())
    }

    /// Runs one pass over the new nodes of `tree`.
    fn tree_pass(&mut self, tree: &TokenTree, out: &mut LogitRows) -> Result<(), ModelError> {
        let (held, present) = (self.tokens.len(), self.tree.len());
        let ids: Vec<TokenId> = tree.tokens().skip(present).collect();
        let total = held + tree.len();
        let mut mask = Vec::with_capacity(ids.len() * total);
        for node in present..tree.len() {
            let start = mask.len();
            mask.resize(start + held, 0.0);
            mask.resize(start + total, HIDDEN);
            tree.path(node).into_iter().for_each(|node| mask[start + held + node] = 0.0);
        }
        let positions = (present..tree.len()).map(|node| held + tree.depth(node) - 1).collect();
        let wanted = ids.len();
        self.pass(&FlatPass { ids: &ids, positions, mask, wanted }, out).map(drop)
    }
}

impl FlatPass<'_> {
    fn feed<'v>(
        &self,
        input: &GraphInput,
        past: usize,
    ) -> Result<SessionInputValue<'v>, ModelError> {
        let count = self.ids.len();
        let integers = |len: usize, values: &mut dyn Iterator<Item = usize>| {
            graph::integers(input.element, &[len], values)
        };
        // At least one, because ONNX Runtime's products with zero rows are hardly tested.
        let rows = self.wanted.max(1);
        let value = match input.name.as_str() {
            "input_ids" => integers(count, &mut self.ids.iter().map(|&id| id as usize)),
            "positions" => integers(count, &mut self.positions.iter().copied()),
            "rows" => integers(rows, &mut (count - rows..count)),
            "mask" => Tensor::from_array(([count, past + count], self.mask.clone()))
                .map(Tensor::into_dyn)
                .map_err(broken),
            other => Err(broken(format!("unknown input `{other}`"))),
        };
        value.map(SessionInputValue::from)
    }
}

impl Session for FlatSession<'_> {
    fn tokens(&self) -> &[TokenId] {
        &self.tokens
    }

    fn extend(
        &mut self,
        tokens: &[TokenId],
        wanted: usize,
        out: &mut LogitRows,
    ) -> Result<(), ModelError> {
        let (held, rows) = (self.tokens.len(), out.len());
        self.model.check(held, tokens, wanted)?;
        self.tree.clear();
        self.keep_rows(held);
        let result = self.run(tokens, wanted, out);
        match result {
            Ok(()) => self.tokens.extend_from_slice(tokens),
            Err(_) => (self.keep_rows(held), out.truncate(rows)).0,
        }
        result
    }

    fn truncate(&mut self, len: usize) -> Result<(), ModelError> {
        ModelError::check_truncate(self.tokens.len(), len)?;
        self.tree.clear();
        self.tokens.truncate(len);
        self.keep_rows(len);
        Ok(())
    }

    fn trees(&mut self) -> Option<&mut dyn TreeSession> {
        Some(self)
    }
}

impl TreeSession for FlatSession<'_> {
    fn grow_tree(&mut self, tree: &TokenTree, out: &mut LogitRows) -> Result<(), ModelError> {
        let (held, rows, model) = (self.tokens.len(), out.len(), self.model);
        ModelError::check_tree(held, &self.tree, tree, model.context_len(), model.vocab.size())?;
        let result = self.tree_pass(tree, out);
        match result {
            Ok(()) => self.tree.clone_from(tree),
            Err(_) => (self.keep_rows(held + self.tree.len()), out.truncate(rows)).0,
        }
        result
    }

    fn keep_path(&mut self, path: &[usize]) -> Result<(), ModelError> {
        ModelError::check_path(&self.tree, path)?;
        let (held, width) = (self.tokens.len(), self.row_len());
        for buffer in &mut self.cache {
            // Nodes follow their parents, so a row never moves to a later position.
            for (place, node) in path.iter().enumerate() {
                let from = (held + node) * width;
                buffer.copy_within(from..from + width, (held + place) * width);
            }
        }
        self.keep_rows(held + path.len());
        self.tokens.extend(path.iter().map(|&node| self.tree.token(node)));
        self.tree.clear();
        Ok(())
    }
}
