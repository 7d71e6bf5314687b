//! What a graph takes and gives, read from the names and shapes it declares.

use std::borrow::Cow;

use half::f16;
use kad_core::{LogitRows, ModelError};
use ort::memory::Allocator;
use ort::session::{Session as Graph, SessionOutputs};
use ort::value::{DynValue, Outlet, Shape, Tensor, TensorElementType as Type, ValueType};

use super::errors::broken;
use crate::error::LoadError;

/// How a graph is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GraphKind {
    /// Keys and values go in and come out, `[1, kv_heads, tokens, head_dim]`.
    Past,
    /// The whole text goes in every time.
    Whole,
    /// kad's own: rows of the cache go in, new rows come out.
    Flat,
}

/// What one input of a graph is fed with; `P` tokens are in the cache, `T` are new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InputRole {
    /// Token ids, `[1, T]`.
    Ids,
    /// Ones, `[1, P + T]`.
    Mask,
    /// `P, …, P + T − 1`, `[1, T]`.
    Positions,
    /// The same, `[T]`.
    CachePositions,
    /// Zeros, `[1, T]`: one text, one segment.
    Segments,
    /// Whether there is a cache, `[1]`: which branch of a merged graph is run.
    UseCache,
    /// How many of the last rows of logits are computed, a scalar or `[1]`.
    RowsKept,
    /// A part of the cache.
    Past,
}

/// Names that inputs go by, besides those of the cache.
const ROLES: [(&str, InputRole); 9] = [
    ("input_ids", InputRole::Ids),
    ("attention_mask", InputRole::Mask),
    ("position_ids", InputRole::Positions),
    ("cache_position", InputRole::CachePositions),
    ("token_type_ids", InputRole::Segments),
    ("use_cache_branch", InputRole::UseCache),
    ("num_logits_to_keep", InputRole::RowsKept),
    ("logits_to_keep", InputRole::RowsKept),
    ("past_key_values.N.{key,value}", InputRole::Past),
];

/// One input.
#[derive(Clone, Debug)]
pub(super) struct GraphInput {
    pub(super) name: String,
    pub(super) role: InputRole,
    pub(super) element: Type,
    /// Declared dimensions, −1 for those that vary.
    pub(super) shape: Vec<i64>,
    /// The output that continues a part of the cache.
    pub(super) present: String,
}

/// Inputs and outputs of a graph that kad can run.
#[derive(Clone, Debug)]
pub(super) struct Signature {
    pub(super) kind: GraphKind,
    /// Those of the cache in the order in which sessions keep them.
    pub(super) inputs: Vec<GraphInput>,
    /// The output with the logits.
    pub(super) logits: String,
    /// Whether activations are rounded with one scale for all tokens of a pass.
    pub(super) rounds_passes: bool,
}

impl Signature {
    /// Reads and checks it.
    ///
    /// # Errors
    /// [`LoadError::Unsupported`], with the names that kad does not know.
    pub(super) fn read(graph: &Graph) -> Result<Self, LoadError> {
        let outputs: Vec<&str> = graph.outputs().iter().map(Outlet::name).collect();
        let logits = outputs.iter().find(|name| **name == "logits").ok_or_else(|| {
            let found = format!("it gives {}", listed(&outputs));
            LoadError::unsupported("ONNX graph without `logits`", found, &["decoders"])
        })?;
        let names: Vec<&str> = graph.inputs().iter().map(Outlet::name).collect();
        let flat = names.contains(&"mask") && names.contains(&"rows");
        let roles = match flat {
            true => FLAT.map(|name| (name, InputRole::Past)).to_vec(),
            false => ROLES.to_vec(),
        };
        let unknown: Vec<&str> =
            names.iter().copied().filter(|name| role(name, &roles).is_none()).collect();
        if !unknown.is_empty() || !names.contains(&"input_ids") {
            let known: Vec<&str> = ROLES.iter().map(|(name, _)| *name).collect();
            let found = match unknown.is_empty() {
                true => "no `input_ids`".to_owned(),
                false => listed(&unknown),
            };
            return Err(LoadError::unsupported("input of an ONNX graph", found, &known));
        }
        let inputs = graph.inputs().iter().map(|input| read(input, &roles, &outputs));
        let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
        if flat && !inputs.iter().any(|input| !input.present.is_empty()) {
            let found = "`mask` and `rows` without `past_key.N` and `past_value.N`";
            return Err(LoadError::unsupported("input of an ONNX graph", found, &["all of them"]));
        }
        let kind = match (flat, inputs.iter().any(|input| input.role == InputRole::Past)) {
            (true, _) => GraphKind::Flat,
            (false, true) => GraphKind::Past,
            (false, false) => GraphKind::Whole,
        };
        // Only our own script says so; the library does not show the nodes of a graph.
        let weights = graph.metadata().ok().and_then(|metadata| metadata.custom("kad.type"));
        let rounds_passes = weights.is_some_and(|weights| weights == "int8");
        Ok(Self { kind, inputs, logits: (*logits).to_owned(), rounds_passes })
    }

    /// Inputs that are parts of the cache.
    pub(super) fn past(&self) -> impl Iterator<Item = &GraphInput> {
        self.inputs
            .iter()
            .filter(|input| input.role == InputRole::Past && !input.present.is_empty())
    }

    /// Key heads and width of one, where the cache declares them.
    pub(super) fn cache_shape(&self) -> Option<(usize, usize)> {
        let shape = &self.past().next()?.shape;
        let size = |dim: Option<&i64>| usize::try_from(*dim?).ok().filter(|&size| size > 0);
        Some((size(shape.get(1))?, size(shape.last())?))
    }

    /// Blocks, where the cache shows how many there are.
    pub(super) fn layers(&self) -> Option<usize> {
        Some(self.past().count() / 2).filter(|&layers| layers > 0)
    }
}

/// Inputs of kad's own layout, besides the cache.
const FLAT: [&str; 4] = ["input_ids", "positions", "mask", "rows"];

fn listed(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// `layer.key` of `past_key_values.layer.key`, `key.layer` of `past_key.layer`.
fn cache_part(name: &str) -> Option<&str> {
    let (stem, part) = name.split_once('.')?;
    match stem {
        "past_key_values" | "past" if !part.contains("encoder") => Some(part),
        "past_key" | "past_value" => Some(&name["past_".len()..]),
        _ => None,
    }
}

fn role(name: &str, roles: &[(&str, InputRole)]) -> Option<InputRole> {
    let named = roles.iter().find(|(known, _)| *known == name).map(|(_, role)| *role);
    named.or_else(|| cache_part(name).map(|_| InputRole::Past))
}

fn read(
    input: &Outlet,
    roles: &[(&str, InputRole)],
    outputs: &[&str],
) -> Result<GraphInput, LoadError> {
    let name = input.name();
    let refused = |found: String| {
        Err(LoadError::unsupported("input of an ONNX graph", found, &["those of a decoder"]))
    };
    let &ValueType::Tensor { ty, ref shape, .. } = input.dtype() else {
        return refused(format!("`{name}`, which is no tensor"));
    };
    let Some(role) = role(name, roles) else { return refused(format!("`{name}`")) };
    let part = cache_part(name).unwrap_or_default();
    let candidates =
        [format!("present.{part}"), format!("present_key_values.{part}"), format!("new_{part}")];
    let present = candidates.into_iter().find(|name| outputs.contains(&name.as_str()));
    if !part.is_empty() && present.is_none() {
        return refused(format!("`{name}`, which no output `present.{part}` continues"));
    }
    if !part.is_empty() && !matches!(ty, Type::Float32 | Type::Float16) {
        return refused(format!("`{name}` in {ty}: a cache is float or float16"));
    }
    Ok(GraphInput {
        name: name.to_owned(),
        role,
        element: ty,
        shape: shape.to_vec(),
        present: present.unwrap_or_default(),
    })
}

/// A tensor of integers, or of truth values, in the type an input declares.
pub(super) fn integers(
    element: Type,
    shape: &[usize],
    values: impl Iterator<Item = usize>,
) -> Result<DynValue, ModelError> {
    let shape = shape.to_vec();
    let value = match element {
        Type::Int64 => {
            let values: Vec<i64> = values.map(|value| value as i64).collect();
            Tensor::from_array((shape, values)).map(Tensor::into_dyn)
        }
        Type::Int32 => {
            let values: Vec<i32> = values.map(|value| value as i32).collect();
            Tensor::from_array((shape, values)).map(Tensor::into_dyn)
        }
        Type::Bool => {
            let values: Vec<bool> = values.map(|value| value != 0).collect();
            Tensor::from_array((shape, values)).map(Tensor::into_dyn)
        }
        Type::Float32 => {
            let values: Vec<f32> = values.map(|value| value as f32).collect();
            Tensor::from_array((shape, values)).map(Tensor::into_dyn)
        }
        other => return Err(broken(format!("an input wants {other}, which kad does not feed"))),
    };
    value.map_err(broken)
}

/// A tensor without elements.
pub(super) fn empty(element: Type, shape: [usize; 4]) -> Result<DynValue, ModelError> {
    let allocator = Allocator::default();
    let value = match element {
        Type::Float16 => Tensor::<f16>::new(&allocator, shape).map(Tensor::into_dyn),
        _ => Tensor::<f32>::new(&allocator, shape).map(Tensor::into_dyn),
    };
    value.map_err(broken)
}

/// Shape and numbers of a tensor in `f32` or `f16`.
pub(super) fn floats(value: &DynValue) -> Result<(Shape, Cow<'_, [f32]>), ModelError> {
    if let Ok((shape, data)) = value.try_extract_tensor::<f32>() {
        return Ok((shape.clone(), Cow::Borrowed(data)));
    }
    let (shape, data) = value.try_extract_tensor::<f16>().map_err(broken)?;
    Ok((shape.clone(), Cow::Owned(data.iter().map(|x| x.to_f32()).collect())))
}

/// The first `len` tokens of a part of the cache, `[batch, heads, tokens, width]`, copied.
pub(super) fn shortened(value: &DynValue, len: usize) -> Result<DynValue, ModelError> {
    if let Ok((shape, data)) = value.try_extract_tensor::<f32>() {
        return cut(shape, data, len).and_then(|(shape, kept)| match kept.is_empty() {
            true => empty(Type::Float32, shape),
            false => Tensor::from_array((shape, kept)).map(Tensor::into_dyn).map_err(broken),
        });
    }
    let (shape, data) = value.try_extract_tensor::<f16>().map_err(broken)?;
    cut(shape, data, len).and_then(|(shape, kept)| match kept.is_empty() {
        true => empty(Type::Float16, shape),
        false => Tensor::from_array((shape, kept)).map(Tensor::into_dyn).map_err(broken),
    })
}

fn cut<T: Copy>(shape: &Shape, data: &[T], len: usize) -> Result<([usize; 4], Vec<T>), ModelError> {
    let &[batch, heads, held, width] = &shape[..] else {
        return Err(broken(format!(
            "a part of the cache has shape {shape:?}, not four dimensions"
        )));
    };
    let (held, width) = (held as usize, width as usize);
    let rows = data.chunks_exact((held * width).max(1));
    let kept = rows.flat_map(|head| &head[..len * width]).copied().collect();
    Ok(([batch as usize, heads as usize, len, width], kept))
}

/// Appends the last `wanted` of the rows of logits in `outputs`, `[.., rows, width]`, each cut to
/// the vocabulary; the width of a row before that.
pub(super) fn push_rows(
    outputs: &SessionOutputs<'_>,
    name: &str,
    wanted: usize,
    out: &mut LogitRows,
) -> Result<usize, ModelError> {
    let value = outputs.get(name).ok_or_else(|| broken(format!("no output `{name}`")))?;
    let (shape, data) = floats(value)?;
    let width = shape.last().map_or(0, |&width| width as usize);
    let rows = data.len().checked_div(width).unwrap_or(0);
    if rows < wanted || width < out.vocab() {
        return Err(broken(format!("`{name}` has shape {shape:?}, {wanted} rows were expected")));
    }
    for row in data.chunks_exact(width).skip(rows - wanted) {
        out.push_row(&row[..out.vocab()]);
    }
    Ok(width)
}
