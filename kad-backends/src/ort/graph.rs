//! Inputs and outputs of a graph, recognised by their declared names and shapes.

use std::borrow::Cow;

use half::f16;
use kad_core::{LogitRows, ModelError};
use ort::memory::Allocator;
use ort::session::{Session as Graph, SessionOutputs};
use ort::value::{DynValue, Outlet, Shape, Tensor, TensorElementType as Type, ValueType};

use super::errors::broken;
use crate::error::LoadError;

/// Kind of graph, by its handling of the KV cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GraphKind {
    /// The whole cache is input and output: `[1, kv_heads, tokens, head_dim]`.
    Past,
    /// No cache: the input is the whole text.
    Whole,
    /// kad's own layout: cached rows are inputs, new rows are outputs.
    Flat,
}

/// Meaning of a graph's input, with `P` cached tokens and `T` new ones.
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
    /// Zeros, `[1, T]`: all tokens are of one segment.
    Segments,
    /// 1 if the cache is not empty, `[1]`: selects the branch of a merged graph.
    UseCache,
    /// Number of rows of logits to compute, from the end; a scalar or `[1]`.
    RowsKept,
    /// Keys or values of a layer.
    Past,
}

/// Known names of inputs.
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

/// One input of a graph.
#[derive(Clone, Debug)]
pub(super) struct GraphInput {
    pub(super) name: String,
    pub(super) role: InputRole,
    pub(super) element: Type,
    /// Declared dimensions; −1 for variable ones.
    pub(super) shape: Vec<i64>,
    /// For a cache input, the output with the new cache.
    pub(super) present: String,
}

/// Inputs and outputs of a supported graph.
#[derive(Clone, Debug)]
pub(super) struct Signature {
    pub(super) kind: GraphKind,
    /// All inputs; sessions keep their cache in the order of the cache inputs.
    pub(super) inputs: Vec<GraphInput>,
    /// Name of the output with the logits.
    pub(super) logits: String,
    /// True if activations are quantised with one scale for all tokens of a pass.
    pub(super) rounds_passes: bool,
}

impl Signature {
    /// Reads and checks the inputs and outputs of a graph.
    ///
    /// # Errors
    /// [`LoadError::Unsupported`] with the unknown names.
    pub(super) fn read(graph: &Graph) -> Result<Self, LoadError> {
        let outputs: Vec<&str> = graph.outputs().iter().map(Outlet::name).collect();
        let logits = outputs.iter().find(|name| **name == "logits").ok_or_else(|| {
            let found = format!("its outputs are {}", listed(&outputs));
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
        // Only kad's export script writes this key. ONNX Runtime does not expose the nodes of a
        // graph.
        let weights = graph.metadata().ok().and_then(|metadata| metadata.custom("kad.type"));
        let rounds_passes = weights.is_some_and(|weights| weights == "int8");
        Ok(Self { kind, inputs, logits: (*logits).to_owned(), rounds_passes })
    }

    /// The cache inputs.
    pub(super) fn past(&self) -> impl Iterator<Item = &GraphInput> {
        self.inputs
            .iter()
            .filter(|input| input.role == InputRole::Past && !input.present.is_empty())
    }

    /// Number of key heads and their width, if the cache inputs declare them.
    pub(super) fn cache_shape(&self) -> Option<(usize, usize)> {
        let shape = &self.past().next()?.shape;
        let size = |dim: Option<&i64>| usize::try_from(*dim?).ok().filter(|&size| size > 0);
        Some((size(shape.get(1))?, size(shape.last())?))
    }

    /// Number of layers, if there are cache inputs.
    pub(super) fn layers(&self) -> Option<usize> {
        Some(self.past().count() / 2).filter(|&layers| layers > 0)
    }
}

/// Inputs of kad's flat layout besides the cache.
const FLAT: [&str; 4] = ["input_ids", "positions", "mask", "rows"];

fn listed(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Suffix of a cache input: `layer.key` of `past_key_values.layer.key`, `key.layer` of
/// `past_key.layer`.
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
        return refused(format!("`{name}`, which is not a tensor"));
    };
    let Some(role) = role(name, roles) else { return refused(format!("`{name}`")) };
    let part = cache_part(name).unwrap_or_default();
    let candidates =
        [format!("present.{part}"), format!("present_key_values.{part}"), format!("new_{part}")];
    let present = candidates.into_iter().find(|name| outputs.contains(&name.as_str()));
    if !part.is_empty() && present.is_none() {
        return refused(format!("`{name}` without an output `present.{part}`"));
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

/// A tensor of integers or booleans in the declared type of an input.
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
        other => {
            return Err(broken(format!(
                "an input has the type {other}, which kad does not support"
            )));
        }
    };
    value.map_err(broken)
}

/// An empty tensor.
pub(super) fn empty(element: Type, shape: [usize; 4]) -> Result<DynValue, ModelError> {
    let allocator = Allocator::default();
    let value = match element {
        Type::Float16 => Tensor::<f16>::new(&allocator, shape).map(Tensor::into_dyn),
        _ => Tensor::<f32>::new(&allocator, shape).map(Tensor::into_dyn),
    };
    value.map_err(broken)
}

/// Shape and numbers of an `f32` or `f16` tensor.
pub(super) fn floats(value: &DynValue) -> Result<(Shape, Cow<'_, [f32]>), ModelError> {
    if let Ok((shape, data)) = value.try_extract_tensor::<f32>() {
        return Ok((shape.clone(), Cow::Borrowed(data)));
    }
    let (shape, data) = value.try_extract_tensor::<f16>().map_err(broken)?;
    Ok((shape.clone(), Cow::Owned(data.iter().map(|x| x.to_f32()).collect())))
}

/// Copies the first `len` tokens of a cache tensor `[batch, heads, tokens, width]`.
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

/// Appends the last `wanted` rows of the logits `[.., rows, width]` in `outputs`, each cut to the
/// vocabulary; returns `width`.
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
