//! The tensors of a graph, read from its file without the library: how many numbers a model has,
//! and which other files hold them.
//!
//! Weights are initialisers. Which of them count is told by type, by the operator that takes them
//! and, for tables of angles, by name:
//!
//! | initialiser | counts |
//! |---|---|
//! | floating point, of more than one number | its elements |
//! | integers that an operator multiplies or looks up by row | its elements |
//! | blocks that `MatMulNBits` and its kind multiply | `K · N`, which their attributes say |
//! | scales and zero points | no: they belong to weights that are counted |
//! | sines and cosines of positions | no: they follow from the configuration |
//! | shapes, indices, masks | no |
//! | bytes that go to an operator which kad does not know | nobody knows: the graph has no count |

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::wire::{Fields, Value, numbers, text};
use crate::error::LoadError;
use crate::weights::Storage;

/// What kad reads of a graph's file.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Tensors {
    /// Numbers in its weights, where that can be known.
    pub(crate) parameters: Option<u64>,
    /// Files beside the graph that hold some of them, as the graph names them.
    pub(crate) files: BTreeSet<String>,
    /// Whether the file has a graph at all.
    pub(crate) has_graph: bool,
}

/// Reads the file of a graph; one that is no graph has no tensors.
///
/// # Errors
/// [`LoadError::Io`].
pub(crate) fn read(graph: &Path) -> Result<Tensors, LoadError> {
    Ok(tensors(Storage::map(graph)?.bytes()))
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

/// What the elements of a tensor are, by `TensorProto.DataType`.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Element {
    Float,
    /// Bytes, which may hold several numbers each.
    Byte,
    /// Integers of fewer bits, of which the shape tells the number.
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

/// How an operator uses an initialiser.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Use {
    /// Its elements are weights.
    Weights,
    /// It stands for so many weights.
    Stands(u64),
    /// It belongs to weights that are counted elsewhere.
    Aside,
    /// kad does not know.
    Unknown,
}

struct Initializer<'a> {
    element: Element,
    elements: u64,
    name: &'a str,
}

fn tensors(model: &[u8]) -> Tensors {
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
                uses.entry(name).or_insert_with(|| Usage { node, place });
            }
            // The branches of a condition.
            let attributes = Fields(node).all(field::NODE_ATTRIBUTE);
            graphs.extend(attributes.flat_map(|it| Fields(it).all(field::ATTRIBUTE_GRAPH)));
        }
    }
    let counted = found.iter().map(|tensor| count(tensor, uses.get(tensor.name.as_bytes())));
    let parameters: Option<u64> = counted.sum();
    Tensors { parameters: parameters.filter(|&count| count > 0), files, has_graph }
}

/// The first node that takes an initialiser.
struct Usage<'a> {
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

/// The file that holds a tensor, if that is not the graph's.
fn external(tensor: &[u8]) -> Option<&str> {
    let mut entries = Fields(tensor).all(field::TENSOR_EXTERNAL);
    let place = entries.find(|entry| text(entry, field::ENTRY_KEY) == "location")?;
    Some(text(place, field::ENTRY_VALUE))
}

/// How many weights an initialiser is; `None` if that cannot be known.
fn count(tensor: &Initializer<'_>, usage: Option<&Usage<'_>>) -> Option<u64> {
    let used = usage.map_or(Use::Aside, |usage| usage.of(tensor));
    match (tensor.element, used) {
        (Element::Other, _) | (_, Use::Aside) => Some(0),
        (_, Use::Stands(count)) => Some(count),
        (Element::Float, _) if tensor.elements == 1 || is_beside_weights(tensor.name) => Some(0),
        (Element::Float, _) | (_, Use::Weights) => Some(tensor.elements),
        (_, Use::Unknown) => None,
    }
}

/// Tables of angles, and scales that an exporter applies in an operation of their own.
fn is_beside_weights(name: &str) -> bool {
    let last = name.rsplit(['/', '.']).next().unwrap_or_default();
    let angles = last.split('_').any(|word| matches!(word, "cos" | "sin"));
    angles || last == "inv_freq" || last.ends_with("scale") || last.ends_with("zero_point")
}

impl Usage<'_> {
    fn of(&self, tensor: &Initializer<'_>) -> Use {
        let own = matches!(text(self.node, field::NODE_DOMAIN), "" | "ai.onnx");
        let operator = text(self.node, field::NODE_OPERATOR);
        match (operator, self.place) {
            ("MatMulNBits" | "MatMulBnb4" | "MatMulFpQ4", 1) => self.product(),
            ("MatMulNBits" | "MatMulBnb4" | "MatMulFpQ4", 2..=4) => Use::Aside,
            ("GatherBlockQuantized", 0) => self.rows(tensor),
            ("GatherBlockQuantized", _) => Use::Aside,
            ("DynamicQuantizeMatMul" | "MatMulInteger", 2 | 3) => Use::Aside,
            ("MatMulIntegerToFloat", 2..=5) | ("DequantizeLinear", 1 | 2) => Use::Aside,
            ("QLinearMatMul", place) if place != 3 => Use::Aside,
            ("DynamicQuantizeMatMul" | "MatMulIntegerToFloat" | "MatMulInteger", _) => Use::Weights,
            ("QLinearMatMul" | "DequantizeLinear" | "Gather", _) => Use::Weights,
            _ if tensor.element == Element::Float => Use::Weights,
            // Masks and the like.
            _ if own => Use::Aside,
            _ => Use::Unknown,
        }
    }

    /// `K · N` of a product with a packed matrix.
    fn product(&self) -> Use {
        let sizes = self.attribute("K").zip(self.attribute("N"));
        sizes.map_or(Use::Unknown, |(k, n)| Use::Stands(k.saturating_mul(n)))
    }

    /// Rows of packed numbers, several to a byte.
    fn rows(&self, tensor: &Initializer<'_>) -> Use {
        // What it is if it is left out.
        let bits = self.attribute("bits").unwrap_or(4);
        match (tensor.element, 8u64.checked_div(bits)) {
            (Element::Byte, Some(each)) => Use::Stands(tensor.elements.saturating_mul(each)),
            (Element::Small, _) => Use::Weights,
            _ => Use::Unknown,
        }
    }

    fn attribute(&self, name: &str) -> Option<u64> {
        let mut attributes = Fields(self.node).all(field::NODE_ATTRIBUTE);
        let found = attributes.find(|it| text(it, field::ATTRIBUTE_NAME) == name)?;
        Fields(found).find_map(|(at, value)| match value {
            Value::Number(number) if at == field::ATTRIBUTE_INT => Some(number),
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
    fn what_is_packed_counts_as_what_it_stands_for() {
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
    fn what_is_not_known_is_not_counted_wrong() {
        let known = || vec![node("Gather", &["e", "ids"], &[]), tensor("e", FLOAT, &[9, 4])];
        assert_eq!(parameters(&known()), Some(36));
        let with = |more: &[Vec<u8>]| parameters(&[&known()[..], more].concat());
        assert_eq!(with(&[tensor("shape", INT64, &[4])]), Some(36));
        assert_eq!(with(&[node("Add", &["x", "one"], &[]), tensor("one", FLOAT, &[])]), Some(36));
        let packed = [node("QMoE", &["x", "w"], &[]), tensor("w", UINT8, &[3, 5])];
        assert_eq!(with(&packed), None);
        for damaged in [&b""[..], b"no graph", &[0x3a, 0xff]] {
            assert_eq!(tensors(damaged), Tensors::default());
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

    /// The same model from safetensors has as many; the tables of angles are the graph's own.
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
                    let expected = Tensors { parameters, files, has_graph: true };
                    assert_eq!(read(&path).unwrap(), expected, "{}", path.display());
                    compared += 1;
                }
            }
        }
        assert!(compared >= 8);
    }
}
