//! Sessions over graphs of common exporters, with past keys and values or without a cache.

use std::borrow::Cow;

use kad_core::{LogitRows, ModelError, Session, TokenId};
use ort::session::SessionInputValue;
use ort::value::DynValue;

use super::errors::broken;
use super::graph::{self, GraphInput, GraphKind, InputRole};
use super::{CHUNK, OrtModel};
use crate::chunks::chunks;

/// A session. After a rollback the cache holds more tokens than the text; it is cut in the next
/// pass. So several rollbacks cost one copy, and a rollback to the empty text costs none.
pub(super) struct PastSession<'m> {
    model: &'m OrtModel,
    tokens: Vec<TokenId>,
    /// One value per cache input, `[1, kv_heads, cached, head_dim]`.
    cache: Vec<DynValue>,
    cached: usize,
}

/// Number of columns of the logits.
///
/// # Errors
/// [`ModelError::Backend`] if the graph does not run on one token, or on a second one with its own
/// cache.
pub(super) fn width(model: &OrtModel) -> Result<usize, ModelError> {
    let mut session = PastSession::new(model)?;
    let mut width = 0;
    for _ in 0..2 {
        width = session.run(&[0], 1, &mut LogitRows::new(0))?;
    }
    Ok(width)
}

impl<'m> PastSession<'m> {
    pub(super) fn new(model: &'m OrtModel) -> Result<Self, ModelError> {
        let mut session = Self { model, tokens: Vec::new(), cache: Vec::new(), cached: 0 };
        session.forget_all()?;
        Ok(session)
    }

    /// Empties the cache.
    fn forget_all(&mut self) -> Result<(), ModelError> {
        let nothing = |input: &GraphInput| {
            let &[_, heads, _, width] = &input.shape[..] else {
                return Err(broken(format!("`{}` does not have four dimensions", input.name)));
            };
            let size = |declared: i64, spec: usize| usize::try_from(declared).unwrap_or(spec);
            let (spec_heads, spec_width) = (self.model.spec.kv_heads, self.model.spec.head_dim);
            graph::empty(input.element, [1, size(heads, spec_heads), 0, size(width, spec_width)])
        };
        self.cache = self.model.signature.past().map(nothing).collect::<Result<_, _>>()?;
        self.cached = 0;
        Ok(())
    }

    /// Cuts the cache to the length of the text.
    fn cut(&mut self) -> Result<(), ModelError> {
        let len = self.tokens.len();
        if self.cached == len || self.cache.is_empty() {
            return Ok(());
        }
        if len == 0 {
            return self.forget_all();
        }
        let cut = self.cache.iter().map(|value| graph::shortened(value, len));
        self.cache = cut.collect::<Result<_, _>>()?;
        self.cached = len;
        Ok(())
    }

    /// Value of an input for the new tokens `ids` after `past` cached tokens.
    fn feed<'v>(
        &self,
        input: &GraphInput,
        ids: &[TokenId],
        past: usize,
        wanted: usize,
    ) -> Result<SessionInputValue<'v>, ModelError> {
        let (count, total) = (ids.len(), past + ids.len());
        let make = |shape: &[usize], values: &mut dyn Iterator<Item = usize>| {
            graph::integers(input.element, shape, values)
        };
        let value = match input.role {
            InputRole::Ids => make(&[1, count], &mut ids.iter().map(|&id| id as usize)),
            InputRole::Mask => make(&[1, total], &mut std::iter::repeat_n(1, total)),
            InputRole::Positions => make(&[1, count], &mut (past..total)),
            InputRole::CachePositions => make(&[count], &mut (past..total)),
            InputRole::Segments => make(&[1, count], &mut std::iter::repeat_n(0, count)),
            InputRole::UseCache => make(&[1], &mut std::iter::once(usize::from(past > 0))),
            // 0 means all rows.
            InputRole::RowsKept => {
                let shape: &[usize] = if input.shape.is_empty() { &[] } else { &[1] };
                make(shape, &mut std::iter::once(wanted.max(1)))
            }
            InputRole::Past => Err(broken(format!("`{}` is a cache input", input.name))),
        };
        value.map(SessionInputValue::from)
    }

    /// Runs one pass over `ids` after the cached tokens; returns the number of columns of the
    /// logits.
    fn pass(
        &mut self,
        ids: &[TokenId],
        wanted: usize,
        out: &mut LogitRows,
    ) -> Result<usize, ModelError> {
        self.cut()?;
        let (signature, past) = (&self.model.signature, self.cached);
        let mut inputs: Vec<(Cow<'_, str>, SessionInputValue<'_>)> = Vec::new();
        let mut cache = self.cache.iter();
        for input in &signature.inputs {
            let value = match (input.role, cache.len()) {
                (InputRole::Past, 1..) => cache.next().map(SessionInputValue::from),
                _ => None,
            };
            let value = value.map_or_else(|| self.feed(input, ids, past, wanted), Ok)?;
            inputs.push((input.name.as_str().into(), value));
        }
        let mut graph = self.model.graph.borrow_mut();
        let mut outputs = graph.run(inputs).map_err(broken)?;
        let width = graph::push_rows(&outputs, &signature.logits, wanted, out)?;
        let mut grown = Vec::with_capacity(self.cache.len());
        for input in signature.past() {
            let missing = || broken(format!("no output `{}`", input.present));
            let value = outputs.remove(&input.present).ok_or_else(missing)?;
            grown.push(expect_tokens(value, &input.present, past + ids.len())?);
        }
        if signature.kind == GraphKind::Past {
            self.cache = grown;
            self.cached = past + ids.len();
        }
        Ok(width)
    }

    /// Runs `tokens` in chunks, or the whole text if there is no cache; returns the number of
    /// columns of the logits.
    fn run(
        &mut self,
        tokens: &[TokenId],
        wanted: usize,
        out: &mut LogitRows,
    ) -> Result<usize, ModelError> {
        if self.model.signature.kind == GraphKind::Whole {
            let text = [&self.tokens[..], tokens].concat();
            let width = self.pass(&text, wanted, out)?;
            self.tokens = text;
            return Ok(width);
        }
        let mut width = 0;
        for (piece, rows) in chunks(tokens, CHUNK, wanted) {
            width = self.pass(piece, rows, out)?;
            self.tokens.extend_from_slice(piece);
        }
        Ok(width)
    }
}

/// Refuses a cache of another length, such as a sliding or a fixed-size cache.
fn expect_tokens(value: DynValue, name: &str, tokens: usize) -> Result<DynValue, ModelError> {
    let shape = value.shape();
    match shape.get(2) {
        Some(&found) if shape.len() == 4 && found == tokens as i64 => Ok(value),
        _ => Err(broken(format!(
            "`{name}` has shape {shape:?} after {tokens} tokens: kad needs a cache that grows with \
             the text, [1, kv_heads, tokens, head_dim]"
        ))),
    }
}

impl Session for PastSession<'_> {
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
        let result = self.run(tokens, wanted, out);
        if result.is_err() {
            // The cache may have grown, but its first rows still belong to the text.
            self.tokens.truncate(held);
            out.truncate(rows);
        }
        result.map(drop)
    }

    fn truncate(&mut self, len: usize) -> Result<(), ModelError> {
        ModelError::check_truncate(self.tokens.len(), len)?;
        self.tokens.truncate(len);
        Ok(())
    }
}
