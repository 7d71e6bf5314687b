#!/usr/bin/env python3
"""Writes a model as an ONNX graph, for kad's `ort` backend or any other runner.

    python3 -m venv .venv && .venv/bin/pip install -r scripts/export_onnx.requirements.txt
    .venv/bin/python scripts/export_onnx.py MODEL [--layout past|flat] [--type f32|int8|q8|q4]
                                            [--external] [--out FILE]

MODEL is a folder in Hugging Face's layout (config.json and safetensors) or a .gguf file. Families:
Llama, Mistral, Qwen2, Qwen3 (dense), OLMo-2, Gemma 3 (text). Other models are refused. PyTorch is
not needed. The graph goes to MODEL/onnx/model.onnx, or beside the .gguf file. The layout and the
type add `_flat`, `_int8`, `_q8` or `_q4` before `.onnx`. kad finds configuration and tokenizer in
the folder above the graph, or in the .gguf file beside it. Weights above 1 GB, or of any size with
--external, go to a file beside the graph.

Layouts, with P tokens in the KV cache and T new tokens:

  past   layout of common exporters: input_ids, position_ids [B, T], attention_mask [B, P + T],
         past_key_values.N.{key,value} [B, kv_heads, P, head_dim]
           -> logits [B, T, vocab], present.N.{key,value} [B, kv_heads, P + T, head_dim]
  flat   kad's own layout: input_ids, positions [T], mask [T, P + T] (added to the attention scores:
         0 for visible positions, -1e30 for hidden ones), rows [R] (indices of the tokens whose
         logits are returned), past_key.N, past_value.N [P, kv_heads, head_dim]
           -> logits [R, vocab], new_key.N, new_value.N [T, kv_heads, head_dim]
         The graph returns new rows only, so rollback costs nothing. The mask can describe a token
         tree.

Types of the matrices (embedding, norms and sums stay f32):

  f32    unrounded; other types in the file are widened
  int8   8 bits, one scale per output. Activations are rounded to 8 bits with ONE scale for all
         tokens of a forward pass (DynamicQuantizeMatMul), so a token's logits depend on the other
         tokens of its pass. Use it for drafters, not for an exact target
  q8     8 bits in blocks of 32 (MatMulNBits); activations are rounded row by row
  q4     4 bits in blocks of 32 (MatMulNBits); the head has 8 bits
"""

import argparse
import math
import pathlib
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from model_files import Model, Refused, ffn_norm

OPSET, IR_VERSION = 17, 8
BLOCK = 32
HIDDEN = -1e30  # added to the score of a hidden position: exp underflows to 0
# A protobuf holds at most 2 GiB; more weights than this go to a file beside the graph.
INLINE_BYTES = 1 << 30


# ---------------------------------------------------------------- quantising weights


def per_output(matrix):
    """Quantises a matrix [out, in] to int8 [in, out] with one scale per output."""
    scale = np.abs(matrix).max(axis=1) / 127
    scale = np.where(scale > 0, scale, 1).astype(np.float32)
    rounded = np.rint(matrix / scale[:, None]).clip(-127, 127)
    return np.ascontiguousarray(rounded.astype(np.int8).T), scale


def in_blocks(matrix, bits):
    """Quantises a matrix [out, in] for MatMulNBits: bytes [out, blocks, BLOCK * bits / 8], scales."""
    out, width = matrix.shape
    blocks = -(-width // BLOCK)
    padded = np.zeros((out, blocks * BLOCK), np.float32)
    padded[:, :width] = matrix
    padded = padded.reshape(out, blocks, BLOCK)
    # The number of largest magnitude becomes the end of the range with one step more.
    at = np.abs(padded).argmax(axis=2, keepdims=True)
    zero = 1 << (bits - 1)
    scale = (np.take_along_axis(padded, at, axis=2) / -zero).astype(np.float32)
    inverse = np.divide(1, scale, out=np.zeros_like(scale), where=scale != 0)
    rounded = (np.rint(padded * inverse) + zero).clip(0, 2 * zero - 1).astype(np.uint8)
    if bits == 4:
        rounded = rounded[..., 0::2] | rounded[..., 1::2] << 4
    return rounded, scale.reshape(out, blocks)


# ---------------------------------------------------------------- the graph


class Graph:
    """An ONNX graph under construction: nodes and constants in order."""

    def __init__(self, kind):
        self.kind, self.nodes, self.constants, self.count = kind, [], {}, 0

    def op(self, kind, *inputs, out=None, domain="", **attributes):
        self.count += 1
        out = out or f"{kind.lower()}_{self.count}"
        self.nodes.append(helper.make_node(kind, list(inputs), [out], domain=domain, **attributes))
        return out

    def constant(self, name, values):
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(values), name)
        return name

    def ints(self, *values):
        return self.constant("ints_" + "_".join(map(str, values)), np.array(values, np.int64))

    def number(self, value):
        return self.constant(f"number_{value}", np.float32(value))

    def linear(self, x, name, matrix, bias=None, head=False):
        """x [N, in] times the transposed matrix [out, in], plus the bias: [N, out]."""
        if self.kind == "f32":
            more = [self.constant(name + ".bias", bias)] if bias is not None else []
            return self.op("Gemm", x, self.constant(name, matrix), *more, transB=1)
        if self.kind == "int8":
            values, scale = per_output(matrix)
            y = self.op("DynamicQuantizeMatMul", x, self.constant(name, values),
                        self.constant(name + ".scale", scale), domain="com.microsoft")
        else:
            bits = 8 if head or self.kind == "q8" else 4
            values, scale = in_blocks(matrix, bits)
            y = self.op("MatMulNBits", x, self.constant(name, values),
                        self.constant(name + ".scale", scale), domain="com.microsoft",
                        K=matrix.shape[1], N=matrix.shape[0], bits=bits, block_size=BLOCK,
                        accuracy_level=4)
        return y if bias is None else self.op("Add", y, self.constant(name + ".bias", bias))

    def norm(self, x, name, weight, eps):
        """x / sqrt(mean(x^2) + eps) * weight over the last dimension."""
        mean = self.op("ReduceMean", self.op("Mul", x, x), axes=[-1], keepdims=1)
        root = self.op("Sqrt", self.op("Add", mean, self.number(eps)))
        return self.op("Mul", self.op("Div", x, root), self.constant(name, weight))


def norm(graph, model, x, name):
    """RMSNorm over the last dimension of x with the weight of this name."""
    return graph.norm(x, f"{name}.weight", model.tensor(f"{name}.weight"), model.eps)


def rotate(graph, x, cos, sin, half):
    """Rotary embedding: rotates pairs (i, i + half) of x [B, heads, T, head_dim]."""
    first = graph.op("Slice", x, graph.ints(0), graph.ints(half), graph.ints(-1))
    last = graph.op("Slice", x, graph.ints(half), graph.ints(2 * half), graph.ints(-1))
    turned = [
        graph.op("Sub", graph.op("Mul", first, cos), graph.op("Mul", last, sin)),
        graph.op("Add", graph.op("Mul", last, cos), graph.op("Mul", first, sin)),
    ]
    return graph.op("Concat", *turned, axis=-1)


def attention(graph, model, layer, x, shared, past):
    """Attention of one layer on x [N, hidden]; `past` prepends the cache to keys and values."""
    prefix = f"model.layers.{layer}.self_attn."
    groups, dim = model.heads // model.kv_heads, model.head_dim

    def project(which, heads):
        bias = model.tensor(f"{prefix}{which}_proj.bias") if model.family.bias else None
        name = f"{prefix}{which}_proj.weight"
        normed = model.family.heads if which != "v" else None
        rows = graph.linear(x, name, model.tensor(name), bias)
        if normed == "whole":
            rows = norm(graph, model, rows, f"{prefix}{which}_norm")
        shape = graph.op("Concat", shared["batch_tokens"], graph.ints(heads, dim), axis=0)
        rows = graph.op("Reshape", rows, shape)
        if normed == "head":
            rows = norm(graph, model, rows, f"{prefix}{which}_norm")
        return graph.op("Transpose", rows, perm=[0, 2, 1, 3])

    cos, sin, mask = shared["local" if model.windowed[layer] else "whole"]
    turn = lambda heads: rotate(graph, heads, cos, sin, dim // 2)
    queries = turn(project("q", model.heads))
    keys, values = past(layer, turn(project("k", model.kv_heads)), project("v", model.kv_heads))
    # Grouped-query attention: [B, kv_heads, groups, T, dim].
    shape = graph.op("Concat", shared["batch"], graph.ints(model.kv_heads, groups),
                     shared["tokens"], graph.ints(dim), axis=0)
    scale = graph.number(model.attention_scale)
    queries = graph.op("Mul", graph.op("Reshape", queries, shape), scale)
    keys = graph.op("Unsqueeze", graph.op("Transpose", keys, perm=[0, 1, 3, 2]), graph.ints(2))
    scores = graph.op("Add", graph.op("MatMul", queries, keys), mask)
    weights = graph.op("Softmax", scores, axis=-1)
    seen = graph.op("MatMul", weights, graph.op("Unsqueeze", values, graph.ints(2)))
    shape = graph.op("Concat", shared["batch"], graph.ints(model.heads), shared["tokens"],
                     graph.ints(dim), axis=0)
    seen = graph.op("Transpose", graph.op("Reshape", seen, shape), perm=[0, 2, 1, 3])
    seen = graph.op("Reshape", seen, graph.ints(-1, model.heads * dim))
    return graph.linear(seen, f"{prefix}o_proj.weight", model.tensor(f"{prefix}o_proj.weight"))


def silu(graph, x):
    """x * sigmoid(x)."""
    return graph.op("Mul", x, graph.op("Sigmoid", x))


def gelu_tanh(graph, x):
    """x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))."""
    cube = graph.op("Mul", graph.op("Mul", x, x), x)
    inner = graph.op("Add", x, graph.op("Mul", cube, graph.number(0.044715)))
    inner = graph.op("Tanh", graph.op("Mul", inner, graph.number(math.sqrt(2 / math.pi))))
    half = graph.op("Mul", x, graph.number(0.5))
    return graph.op("Mul", half, graph.op("Add", inner, graph.number(1.0)))


ACTIVATIONS = {"silu": silu, "gelu_tanh": gelu_tanh}


def feed_forward(graph, model, layer, x):
    matrix = lambda which: f"model.layers.{layer}.mlp.{which}_proj.weight"
    gate = graph.linear(x, matrix("gate"), model.tensor(matrix("gate")))
    up = graph.linear(x, matrix("up"), model.tensor(matrix("up")))
    gated = graph.op("Mul", ACTIVATIONS[model.activation](graph, gate), up)
    return graph.linear(gated, matrix("down"), model.tensor(matrix("down")))


def decoder(graph, model, ids, shared, past, rows=None):
    """Logits [N or R, vocab] after ids [N]."""
    embedding, place = model.tensor("model.embed_tokens.weight"), model.family.place
    x = graph.op("Gather", graph.constant("model.embed_tokens.weight", embedding), ids)
    if model.embedding_scale != 1:
        x = graph.op("Mul", x, graph.number(model.embedding_scale))

    def added(x, layer, compute, before, after):
        """x + sublayer(x), with a norm before or after the sublayer or both."""
        prefix = f"model.layers.{layer}."
        y = norm(graph, model, x, prefix + before) if place != "after" else x
        y = compute(y)
        y = norm(graph, model, y, prefix + after) if place != "before" else y
        return graph.op("Add", x, y)

    for layer in range(model.layers):
        x = added(x, layer, lambda y: attention(graph, model, layer, y, shared, past),
                  "input_layernorm", "post_attention_layernorm")
        x = added(x, layer, lambda y: feed_forward(graph, model, layer, y),
                  ffn_norm(place), "post_feedforward_layernorm")
    x = graph.op("Gather", x, rows) if rows else x
    x = norm(graph, model, x, "model.norm")
    name = "model.embed_tokens.weight" if model.tied else "lm_head.weight"
    # A quantised head cannot share the embedding's constant.
    own = name if graph.kind == "f32" else "head"
    return graph.linear(x, own, model.tensor(name), head=True)


def turns(graph, model, positions, frequencies, kind=""):
    """cos and sin [B, 1, T, head_dim / 2] of positions [B, T], from tables computed in float64."""
    angles = np.arange(model.context, dtype=np.float64)[:, None] * frequencies
    def look_up(name, table):
        rows = graph.op("Gather", graph.constant(name + kind, table.astype(np.float32)), positions)
        return graph.op("Unsqueeze", rows, graph.ints(1))
    return look_up("rotary_cos", np.cos(angles)), look_up("rotary_sin", np.sin(angles))


def local(graph, model, positions, mask):
    """cos, sin and mask of the layers with sliding-window attention; None if there are none.

    A token at position t attends to positions s with t - window < s <= t. The number of visible
    columns up to a column is that column's position plus one, also in a token tree. So the positions
    of cached tokens are not an input.
    """
    if not model.window:
        return None
    cos, sin = turns(graph, model, positions, model.local_frequencies, "_local")
    seen = graph.op("Greater", mask, graph.number(HIDDEN / 2))
    seen = graph.op("Cast", seen, to=TensorProto.INT64)
    place = graph.op("CumSum", seen, graph.constant("last_axis", np.int64(-1)))
    behind = graph.op("Sub", graph.op("ReduceSum", seen, graph.ints(-1), keepdims=1), place)
    near = graph.op("Less", behind, graph.constant("window", np.int64(model.window)))
    return cos, sin, graph.op("Where", near, mask, graph.number(HIDDEN))


def info(name, kind, *shape):
    return helper.make_tensor_value_info(name, kind, list(shape))


def past_layout(graph, model):
    """Inputs and outputs of common exporters."""
    floats, ints = TensorProto.FLOAT, TensorProto.INT64
    inputs = [info("input_ids", ints, "batch", "tokens"),
              info("attention_mask", ints, "batch", "total"),
              info("position_ids", ints, "batch", "tokens")]
    outputs = [info("logits", floats, "batch", "tokens", model.vocab)]

    def past(layer, keys, values):
        both = []
        for which, new in (("key", keys), ("value", values)):
            name, present = f"past_key_values.{layer}.{which}", f"present.{layer}.{which}"
            shape = ("batch", model.kv_heads), (model.head_dim,)
            inputs.append(info(name, floats, *shape[0], "past", *shape[1]))
            outputs.append(info(present, floats, *shape[0], "total", *shape[1]))
            both.append(graph.op("Concat", name, new, axis=2, out=present))
        return both

    shape = graph.op("Shape", "input_ids")
    batch = graph.op("Slice", shape, graph.ints(0), graph.ints(1))
    tokens = graph.op("Slice", shape, graph.ints(1), graph.ints(2))
    cos, sin = turns(graph, model, "position_ids", model.frequencies)
    # Token t has position total - tokens + t and sees earlier keys where attention_mask is 1.
    total = graph.op("Slice", graph.op("Shape", "attention_mask"), graph.ints(1), graph.ints(2))
    scalar = lambda x: graph.op("Squeeze", x, graph.ints(0))
    zero, one = graph.constant("zero", np.int64(0)), graph.constant("one", np.int64(1))
    columns = graph.op("Range", zero, scalar(total), one)
    places = graph.op("Range", scalar(graph.op("Sub", total, tokens)), scalar(total), one)
    causal = graph.op("LessOrEqual", columns, graph.op("Unsqueeze", places, graph.ints(1)))
    given = graph.op("Unsqueeze", graph.op("Cast", "attention_mask", to=TensorProto.BOOL),
                     graph.ints(1))
    mask = graph.op("Where", graph.op("And", given, causal), graph.number(0.0),
                    graph.number(HIDDEN))
    mask = graph.op("Unsqueeze", mask, graph.ints(1, 2))
    shared = dict(batch_tokens=shape, batch=batch, tokens=tokens, whole=(cos, sin, mask),
                  local=local(graph, model, "position_ids", mask))
    ids = graph.op("Reshape", "input_ids", graph.ints(-1))
    logits = decoder(graph, model, ids, shared, past)
    wanted = graph.op("Concat", shape, graph.ints(model.vocab), axis=0)
    graph.op("Reshape", logits, wanted, out="logits")
    return inputs, outputs


def flat_layout(graph, model):
    """kad's own layout: one sequence, the cache as rows, the whole mask as input."""
    floats, ints = TensorProto.FLOAT, TensorProto.INT64
    inputs = [info("input_ids", ints, "tokens"), info("positions", ints, "tokens"),
              info("mask", floats, "tokens", "total"), info("rows", ints, "wanted")]
    outputs = [info("logits", floats, "wanted", model.vocab)]
    row = (model.kv_heads, model.head_dim)

    def past(layer, keys, values):
        both = []
        for which, new in (("key", keys), ("value", values)):
            name, fresh = f"past_{which}.{layer}", f"new_{which}.{layer}"
            inputs.append(info(name, floats, "past", *row))
            outputs.append(info(fresh, floats, "tokens", *row))
            new = graph.op("Squeeze", new, graph.ints(0))
            new = graph.op("Transpose", new, perm=[1, 0, 2], out=fresh)
            whole = graph.op("Concat", name, new, axis=0)
            whole = graph.op("Transpose", whole, perm=[1, 0, 2])
            both.append(graph.op("Unsqueeze", whole, graph.ints(0)))
        return both

    tokens, batch = graph.op("Shape", "input_ids"), graph.ints(1)
    positions = graph.op("Unsqueeze", "positions", graph.ints(0))
    cos, sin = turns(graph, model, positions, model.frequencies)
    shared = dict(batch_tokens=graph.op("Concat", batch, tokens, axis=0), batch=batch,
                  tokens=tokens, whole=(cos, sin, "mask"),
                  local=local(graph, model, positions, "mask"))
    logits = decoder(graph, model, "input_ids", shared, past, rows="rows")
    graph.op("Identity", logits, out="logits")
    return inputs, outputs


LAYOUTS = {"past": past_layout, "flat": flat_layout}


def export(model, layout, kind):
    """Builds the ONNX message of the model."""
    graph = Graph(kind)
    inputs, outputs = LAYOUTS[layout](graph, model)
    model.check_all_used()
    body = helper.make_graph(graph.nodes, model.name, inputs, outputs,
                             list(graph.constants.values()))
    message = helper.make_model(
        body, producer_name="kad", ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)])
    helper.set_model_props(message, {"kad.layout": layout, "kad.type": kind})
    return message


def save(message, path, external=False):
    """Writes the graph; the weights go to a file beside it with `external` or if they are large."""
    path.parent.mkdir(parents=True, exist_ok=True)
    held = sum(len(constant.raw_data) for constant in message.graph.initializer)
    weights = path.with_suffix(".onnx_data")
    weights.unlink(missing_ok=True)  # onnx appends to an existing file
    onnx.save_model(message, str(path), save_as_external_data=external or held > INLINE_BYTES,
                    location=weights.name)


def default_path(model, layout, kind):
    suffix = ("_flat" if layout == "flat" else "") + ("" if kind == "f32" else f"_{kind}")
    if model.path.is_dir():
        return model.path / "onnx" / f"model{suffix}.onnx"
    return model.path.with_name(f"{model.path.stem}{suffix}.onnx")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a folder with config.json, or a .gguf file")
    parser.add_argument("--layout", choices=LAYOUTS, default="past")
    parser.add_argument("--type", choices=("f32", "int8", "q8", "q4"), default="f32")
    parser.add_argument("--external", action="store_true", help="write the weights to a separate file")
    parser.add_argument("--out", type=pathlib.Path, help="path of the graph")
    args = parser.parse_args()
    try:
        model = Model(args.model)
        path = args.out or default_path(model, args.layout, args.type)
        save(export(model, args.layout, args.type), path, args.external)
    except Refused as refused:
        sys.exit(f"export_onnx: {refused}")
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, {args.layout}, {args.type}")


if __name__ == "__main__":
    main()
