//! Counts the weights of an ONNX graph and lists its weight files, without ONNX Runtime.
//!
//! Weights are initialisers. Their type, the operator that uses them and, for rotary tables, their
//! name decide the count:
//!
//! | initialiser | count |
//! |---|---|
//! | floats, more than one element | its elements |
//! | integers of a matrix product or a row lookup | its elements |
//! | packed matrices of `MatMulNBits` and similar operators | `K · N`, from the operator's attributes |
//! | scales and zero points | 0: they belong to counted weights |
//! | sines and cosines of positions | 0: they follow from the configuration |
//! | shapes, indices, masks | 0 |
//! | bytes of an unknown operator | unknown, and so is the count of the graph |

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::protobuf::{FieldValue, Fields, numbers, text};
use crate::error::LoadError;
use crate::weights::FileBytes;

/// Number of weights and weight files of a graph.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct GraphWeights {
    /// Number of weights; `None` if unknown.
    pub(crate) parameters: Option<u64>,
    /// Weight files beside the graph, by their names in the graph.
    pub(crate) files: BTreeSet<String>,
    /// True if the file contains a graph.
    pub(crate) has_graph: bool,
}

/// Reads the file of a graph; a file of another kind has no weights.
///
/// # Errors
/// [`LoadError::Io`].
pub(crate) fn read(graph: &Path) -> Result<GraphWeights, LoadError> {
    Ok(tensors(FileBytes::map(graph)?.bytes()))
}

/// Field numbers of `onnx.proto`.
mod field {
    pub(super) const MODEL_GRAPH: u64 = 7;
    pub(super) const GRAPH_NODE: u64 = 1;
    pub(super) const GRAPH_INITIALIZER: u64 = 5;
    pub(super) const NODE_INPUT: u64 = 1;
    pub(super) const NODE_OPERATOR: u64 = 4;
    pub(super) const NODE_ATTRIBUTE: u64 = 5;
    pub(super) const NODE_DOMAIN: u64 = 7;
    pub(super) const ATTRIBUTE_NAME: u64 = 1;
    pub(super) const ATTRIBUTE_INT: u64 = 3;
    pub(super) const ATTRIBUTE_GRAPH: u64 = 6;
    pub(super) const TENSOR_DIMS: u64 = 1;
    pub(super) const TENSOR_TYPE: u64 = 2;
    pub(super) const TENSOR_NAME: u64 = 8;
    pub(super) const TENSOR_EXTERNAL: u64 = 13;
    pub(super) const ENTRY_KEY: u64 = 1;
    pub(super) const ENTRY_VALUE: u64 = 2;
}

/// Element type of a tensor, by `TensorProto.DataType`.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Element {
    Float,
    /// Bytes, possibly with several packed numbers each.
    Byte,
    /// Integers of fewer than 8 bits; the shape counts the numbers.
    Small,
    Other,
}

impl Element {
    fn of(number: u64) -> Self {
        match number {
            // float, float16, double, bfloat16, four of 8 bits
            1 | 10 | 11 | 16..=20 => Element::Float,
            2 | 3 => Element::Byte,
            // uint4, int4, float4, uint2, int2
            21..=23 | 25 | 26 => Element::Small,
            _ => Element::Other,
        }
    }
}

/// Role of an initialiser in the operator that uses it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum WeightUse {
    /// Each element is a weight.
    Weights,
    /// It packs this number of weights.
    Packed(u64),
    /// Scales, zero points, masks and the like.
    NoWeights,
    /// The operator is unknown.
    Unknown,
}

struct Initializer<'a> {
    element: Element,
    elements: u64,
    name: &'a str,
}

fn tensors(model: &[u8]) -> GraphWeights {
    let (mut found, mut uses, mut files) = (Vec::new(), BTreeMap::new(), BTreeSet::new());
    let mut graphs: Vec<&[u8]> = Fields(model).all(field::MODEL_GRAPH).collect();
    let has_graph = !graphs.is_empty();
    while let Some(graph) = graphs.pop() {
        for tensor in Fields(graph).all(field::GRAPH_INITIALIZER) {
            files.extend(external(tensor).map(str::to_owned));
            found.push(initializer(tensor));
        }
        for node in Fields(graph).all(field::GRAPH_NODE) {
            let inputs = Fields(node).all(field::NODE_INPUT).enumerate();
            for (place, name) in inputs.filter(|(_, name)| !name.is_empty()) {
                uses.entry(name).or_insert_with(|| FirstUse { node, place });
            }
            // Subgraphs: the branches of a condition.
            let attributes = Fields(node).all(field::NODE_ATTRIBUTE);
            graphs.extend(attributes.flat_map(|it| Fields(it).all(field::ATTRIBUTE_GRAPH)));
        }
    }
    let counted = found.iter().map(|tensor| count(tensor, uses.get(tensor.name.as_bytes())));
    let parameters: Option<u64> = counted.sum();
    GraphWeights { parameters: parameters.filter(|&count| count > 0), files, has_graph }
}

/// The first node that uses an initialiser, and the input's index.
struct FirstUse<'a> {
    node: &'a [u8],
    place: usize,
}

fn initializer(tensor: &[u8]) -> Initializer<'_> {
    let dims = numbers(tensor, field::TENSOR_DIMS);
    let kind = numbers(tensor, field::TENSOR_TYPE).last().copied().unwrap_or_default();
    Initializer {
        element: Element::of(kind),
        elements: dims.iter().fold(1, |product: u64, &size| product.saturating_mul(size)),
        name: text(tensor, field::TENSOR_NAME),
    }
}

/// The external file of a tensor.
fn external(tensor: &[u8]) -> Option<&str> {
    let mut entries = Fields(tensor).all(field::TENSOR_EXTERNAL);
    let place = entries.find(|entry| text(entry, field::ENTRY_KEY) == "location")?;
    Some(text(place, field::ENTRY_VALUE))
}

/// Number of weights in an initialiser; `None` if unknown.
fn count(tensor: &Initializer<'_>, usage: Option<&FirstUse<'_>>) -> Option<u64> {
    let used = usage.map_or(WeightUse::NoWeights, |usage| usage.of(tensor));
    match (tensor.element, used) {
        (Element::Other, _) | (_, WeightUse::NoWeights) => Some(0),
        (_, WeightUse::Packed(count)) => Some(count),
        (Element::Float, _) if tensor.elements == 1 || is_beside_weights(tensor.name) => Some(0),
        (Element::Float, _) | (_, WeightUse::Weights) => Some(tensor.elements),
        (_, WeightUse::Unknown) => None,
    }
}

/// True for rotary tables, and for scales that an exporter applies in separate operations.
fn is_beside_weights(name: &str) -> bool {
    let last = name.rsplit(['/', '.']).next().unwrap_or_default();
    let angles = last.split('_').any(|word| matches!(word, "cos" | "sin"));
    angles || last == "inv_freq" || last.ends_with("scale") || last.ends_with("zero_point")
}

impl FirstUse<'_> {
    fn of(&self, tensor: &Initializer<'_>) -> WeightUse {
        let own = matches!(text(self.node, field::NODE_DOMAIN), "" | "ai.onnx");
        let operator = text(self.node, field::NODE_OPERATOR);
        match (operator, self.place) {
            ("MatMulNBits" | "MatMulBnb4" | "MatMulFpQ4", 1) => self.product(),
            ("MatMulNBits" | "MatMulBnb4" | "MatMulFpQ4", 2..=4) => WeightUse::NoWeights,
            ("GatherBlockQuantized", 0) => self.rows(tensor),
            ("GatherBlockQuantized", _) => WeightUse::NoWeights,
            ("DynamicQuantizeMatMul" | "MatMulInteger", 2 | 3) => WeightUse::NoWeights,
            ("MatMulIntegerToFloat", 2..=5) | ("DequantizeLinear", 1 | 2) => WeightUse::NoWeights,
            ("QLinearMatMul", place) if place != 3 => WeightUse::NoWeights,
            ("DynamicQuantizeMatMul" | "MatMulIntegerToFloat" | "MatMulInteger", _) => {
                WeightUse::Weights
            }
            ("QLinearMatMul" | "DequantizeLinear" | "Gather", _) => WeightUse::Weights,
            _ if tensor.element == Element::Float => WeightUse::Weights,
            // Masks and similar constants.
            _ if own => WeightUse::NoWeights,
            _ => WeightUse::Unknown,
        }
    }

    /// `K · N` of a matrix product with a packed matrix.
    fn product(&self) -> WeightUse {
        let sizes = self.attribute("K").zip(self.attribute("N"));
        sizes.map_or(WeightUse::Unknown, |(k, n)| WeightUse::Packed(k.saturating_mul(n)))
    }

    /// Number of weights in rows of packed numbers.
    fn rows(&self, tensor: &Initializer<'_>) -> WeightUse {
        // The operator's default.
        let bits = self.attribute("bits").unwrap_or(4);
        match (tensor.element, 8u64.checked_div(bits)) {
            (Element::Byte, Some(each)) => WeightUse::Packed(tensor.elements.saturating_mul(each)),
            (Element::Small, _) => WeightUse::Weights,
            _ => WeightUse::Unknown,
        }
    }

    fn attribute(&self, name: &str) -> Option<u64> {
        let mut attributes = Fields(self.node).all(field::NODE_ATTRIBUTE);
        let found = attributes.find(|it| text(it, field::ATTRIBUTE_NAME) == name)?;
        Fields(found).find_map(|(at, value)| match value {
            FieldValue::Number(number) if at == field::ATTRIBUTE_INT => Some(number),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::safetensors;

    /// One field of a message.
    pub(crate) fn bytes(field: u64, content: &[u8]) -> Vec<u8> {
        [&varint(field << 3 | 2)[..], &varint(content.len() as u64), content].concat()
    }

    fn number(field: u64, value: u64) -> Vec<u8> {
        [varint(field << 3), varint(value)].concat()
    }

    fn varint(mut value: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        while value >= 0x80 {
            bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        bytes.push(value as u8);
        bytes
    }

    fn tensor(name: &str, kind: u64, dims: &[u64]) -> Vec<u8> {
        let dims: Vec<u8> = dims.iter().flat_map(|&dim| number(1, dim)).collect();
        bytes(5, &[dims, number(2, kind), bytes(8, name.as_bytes())].concat())
    }

    fn node(operator: &str, inputs: &[&str], attributes: &[(&str, u64)]) -> Vec<u8> {
        let inputs = inputs.iter().map(|name| bytes(1, name.as_bytes()));
        let attribute = |&(name, value): &(&str, u64)| {
            bytes(5, &[bytes(1, name.as_bytes()), number(3, value)].concat())
        };
        let mut parts: Vec<Vec<u8>> = inputs.chain(attributes.iter().map(attribute)).collect();
        parts.extend([bytes(4, operator.as_bytes()), bytes(7, b"com.microsoft")]);
        bytes(1, &parts.concat())
    }

    fn parameters(graph: &[Vec<u8>]) -> Option<u64> {
        tensors(&bytes(7, &graph.concat())).parameters
    }

    const FLOAT: u64 = 1;
    const UINT8: u64 = 2;
    const INT64: u64 = 7;
    const INT4: u64 = 22;

    #[test]
    fn packed_weights_are_counted_unpacked() {
        let sides = [tensor("s", FLOAT, &[6, 2]), tensor("z", UINT8, &[6, 1])];
        let product = |attributes: &[(&str, u64)]| {
            let nodes = [node("MatMulNBits", &["x", "w", "s", "z"], attributes)];
            parameters(&[&nodes[..], &sides, &[tensor("w", UINT8, &[6, 2, 16])]].concat())
        };
        assert_eq!(product(&[("K", 50), ("N", 6), ("bits", 4)]), Some(300));
        assert_eq!(product(&[("N", 6)]), None, "nobody says how many columns");
        let rows = |kind, dims: &[u64], attributes: &[(&str, u64)]| {
            let nodes = [node("GatherBlockQuantized", &["w", "ids", "s", "z"], attributes)];
            parameters(&[&nodes[..], &sides, &[tensor("w", kind, dims)]].concat())
        };
        assert_eq!(rows(UINT8, &[6, 25], &[]), Some(300));
        assert_eq!(rows(UINT8, &[6, 50], &[("bits", 8)]), Some(300));
        assert_eq!(rows(INT4, &[6, 50], &[]), Some(300));
    }

    #[test]
    fn unknown_operators_make_the_count_unknown() {
        let known = || vec![node("Gather", &["e", "ids"], &[]), tensor("e", FLOAT, &[9, 4])];
        assert_eq!(parameters(&known()), Some(36));
        let with = |more: &[Vec<u8>]| parameters(&[&known()[..], more].concat());
        assert_eq!(with(&[tensor("shape", INT64, &[4])]), Some(36));
        assert_eq!(with(&[node("Add", &["x", "one"], &[]), tensor("one", FLOAT, &[])]), Some(36));
        let packed = [node("QMoE", &["x", "w"], &[]), tensor("w", UINT8, &[3, 5])];
        assert_eq!(with(&packed), None);
        for damaged in [&b""[..], b"no graph", &[0x3a, 0xff]] {
            assert_eq!(tensors(damaged), GraphWeights::default());
        }
    }

    #[test]
    fn weights_in_other_files_are_named() {
        let entry = |key: &str, value: &str| {
            bytes(13, &[bytes(1, key.as_bytes()), bytes(2, value.as_bytes())].concat())
        };
        let place = [entry("location", "m.onnx_data_1"), entry("offset", "4096")].concat();
        let weight = [number(1, 8), number(2, FLOAT), bytes(8, b"w"), place].concat();
        let graph = [bytes(5, &weight), node("MatMul", &["x", "w"], &[])].concat();
        let found = tensors(&bytes(7, &graph));
        assert_eq!(found.files, BTreeSet::from(["m.onnx_data_1".to_owned()]));
        assert_eq!(found.parameters, Some(8));
    }

    /// Compared with the safetensors of the same model.
    #[test]
    fn a_graph_has_as_many_parameters_as_its_model() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/onnx");
        let entries = std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path());
        let mut compared = 0;
        for folder in entries.filter(|path| path.is_dir()) {
            let weights = safetensors::open_folder(&folder).unwrap();
            let expected: u64 = weights.tensors().map(|tensor| tensor.elements()).sum();
            for graph in ["past", "flat", "whole", "extra", "kept", "half"] {
                let path = folder.join(graph).with_extension("onnx");
                if path.is_file() {
                    let (parameters, files) = (Some(expected), BTreeSet::new());
                    let expected = GraphWeights { parameters, files, has_graph: true };
                    assert_eq!(read(&path).unwrap(), expected, "{}", path.display());
                    compared += 1;
                }
            }
        }
        assert!(compared >= 8);
    }
}
