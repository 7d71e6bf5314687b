#!/usr/bin/env python3
"""Writes a model as an ONNX graph, for kad's `ort` backend or any other runner.

    pip install -r scripts/export_onnx.requirements.txt
    scripts/export_onnx.py MODEL [--layout past|flat] [--type f32|int8|q8|q4] [--out FILE]

MODEL is a folder in Hugging Face's layout (config.json and safetensors) or a .gguf file, of the
Llama or Qwen2 family; anything else is refused. No torch. The graph goes to MODEL/onnx/model.onnx,
or beside the .gguf file; with `_flat`, `_int8`, `_q8`, `_q4` before `.onnx` for what was asked for.
kad finds configuration and tokenizer in the folder above, or in the .gguf file beside it.

Layouts, with P tokens in the cache and T new ones:

  past   as the ecosystem exports: input_ids, position_ids [B, T], attention_mask [B, P + T],
         past_key_values.N.{key,value} [B, kv_heads, P, head_dim]
           -> logits [B, T, vocab], present.N.{key,value} [B, kv_heads, P + T, head_dim]
  flat   kad's own: input_ids, positions [T], mask [T, P + T] (added to the scores), rows [R] (the
         tokens whose logits are wanted), past_key.N, past_value.N [P, kv_heads, head_dim]
           -> logits [R, vocab], new_key.N, new_value.N [T, kv_heads, head_dim]
         Only new rows come out, so that rolling back costs nothing, and the mask can be a tree's.

Types of the matrices (the embedding, norms and sums stay f32):

  f32    as they are; other types of the file are widened
  int8   8 bits, one scale per output; activations are rounded to 8 bits with ONE scale for all
         tokens of a pass (DynamicQuantizeMatMul). What a token gives therefore depends on which
         tokens share its pass: good for a drafter, but no exact target
  q8     8 bits in blocks of 32 (MatMulNBits), activations rounded row by row
  q4     4 bits in blocks of 32 (MatMulNBits), the head 8 bits
"""

import argparse
import json
import math
import pathlib
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET, IR_VERSION = 17, 8
BLOCK = 32
HIDDEN = -1e30  # added to the score of what is not seen: exp gives 0 exactly
FAMILIES = ("llama", "qwen2")
# A protobuf holds 2 GiB; weights beyond this go to a file beside the graph.
INLINE_BYTES = 1 << 30


class Refused(Exception):
    """What was asked for cannot be done; the text says why and what can."""


# ---------------------------------------------------------------- reading models

SAFETENSORS = {"F32": "<f4", "F16": "<f2", "BF16": "<u2", "F64": "<f8"}


def read_safetensors(path):
    """Tensors of one file as float32, by name."""
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        start = file.tell()
    raw = np.memmap(path, dtype=np.uint8, mode="r")
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        if entry["dtype"] not in SAFETENSORS:
            raise Refused(f"{path}: {name} is {entry['dtype']}; {', '.join(SAFETENSORS)} are read")
        begin, end = entry["data_offsets"]
        values = raw[start + begin:start + end].view(SAFETENSORS[entry["dtype"]])
        if entry["dtype"] == "BF16":
            values = (values.astype(np.uint32) << 16).view(np.float32)
        tensors[name] = np.asarray(values, dtype=np.float32).reshape(entry["shape"])
    return tensors


def scaled_frequencies(theta, head_dim, scaling):
    """Radians per position of each pair, float64; `scaling` is Hugging Face's table."""
    plain = theta ** (-np.arange(0, head_dim, 2, dtype=np.float64) / head_dim)
    kind = scaling.get("rope_type") or scaling.get("type") or "default"
    if kind == "default":
        return plain
    if kind == "linear":
        return plain / scaling["factor"]
    if kind == "llama3":
        low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
        turns = scaling["original_max_position_embeddings"] * plain / math.tau
        kept = np.clip((turns - low) / (high - low), 0, 1)
        return plain * (kept + (1 - kept) / scaling["factor"])
    raise Refused(f"rope scaling `{kind}` is not exported; default, linear and llama3 are")


class Model:
    """Sizes and tensors (float32, Hugging Face's names and order of rotary pairs)."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        if self.path.is_dir():
            self.read_folder()
        elif self.path.suffix == ".gguf":
            self.read_gguf()
        else:
            raise Refused(f"{path} is neither a folder with config.json nor a .gguf file")
        if self.heads % self.kv_heads:
            raise Refused(f"{self.kv_heads} key heads do not divide {self.heads} heads")

    def read_folder(self):
        """config.json and safetensors, in one file or in shards."""
        config_path = self.path / "config.json"
        if not config_path.is_file():
            raise Refused(f"{self.path} has no config.json")
        config = json.loads(config_path.read_text())
        check_config(config)
        self.family = config["model_type"]
        self.hidden, self.ffn = config["hidden_size"], config["intermediate_size"]
        self.layers, self.heads = config["num_hidden_layers"], config["num_attention_heads"]
        self.kv_heads = config.get("num_key_value_heads") or self.heads
        self.head_dim = config.get("head_dim") or self.hidden // self.heads
        self.context = config["max_position_embeddings"]
        self.eps = config.get("rms_norm_eps") or 1e-6
        table = config.get("rope_parameters") or config.get("rope_scaling") or {}
        theta = table.get("rope_theta") or config.get("rope_theta") or 10000.0
        if "original_max_position_embeddings" not in table:
            table = {**table, "original_max_position_embeddings":
                     config.get("original_max_position_embeddings")}
        self.frequencies = scaled_frequencies(theta, self.head_dim, table)
        index = self.path / "model.safetensors.index.json"
        names = ["model.safetensors"]
        if index.is_file():
            names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
        self.tensors = {}
        for name in names:
            if not (self.path / name).is_file():
                raise Refused(f"{self.path} has no {name}")
            self.tensors.update(read_safetensors(self.path / name))
        if config.get("tie_word_embeddings"):
            self.tensors.pop("lm_head.weight", None)

    def read_gguf(self):
        """Metadata and tensors, dequantised."""
        try:
            import gguf
        except ImportError:
            raise Refused("reading GGUF needs the package `gguf`: see the requirements file")
        reader = gguf.GGUFReader(self.path)
        get = lambda key: getattr(reader.get_field(key), "contents", lambda: None)()
        self.family = get("general.architecture")
        if self.family not in FAMILIES:
            raise Refused(f"architecture `{self.family}`; {', '.join(FAMILIES)} are exported")
        own = lambda key: get(f"{self.family}.{key}")
        for key in ("expert_count", "attention.sliding_window", "rope.scaling.factor"):
            if own(key) not in (None, 0, 1 if key.endswith("factor") else 0):
                raise Refused(f"`{self.family}.{key}` = {own(key)} is not exported")
        self.hidden, self.ffn = own("embedding_length"), own("feed_forward_length")
        self.layers, self.heads = own("block_count"), own("attention.head_count")
        self.kv_heads = own("attention.head_count_kv") or self.heads
        self.head_dim = own("attention.key_length") or self.hidden // self.heads
        self.context, self.eps = own("context_length"), own("attention.layer_norm_rms_epsilon")
        plain = scaled_frequencies(own("rope.freq_base") or 10000.0, self.head_dim, {})
        self.tensors = {}
        for tensor in reader.tensors:
            values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
            self.tensors[hugging_face_name(tensor.name)] = values
        self.frequencies = plain / self.tensors.pop("rope_freqs.weight", np.float32(1))
        if self.family == "llama":
            self.unpermute()

    def unpermute(self):
        """GGUF keeps rows 2i and 2i + 1 of a Llama head as a pair, Hugging Face i and i + half."""
        for name in list(self.tensors):
            heads = {"q_proj": self.heads, "k_proj": self.kv_heads}.get(name.split(".")[-2])
            if heads:
                rows = self.tensors[name]
                pairs = rows.reshape(heads, self.head_dim // 2, 2, -1)
                self.tensors[name] = pairs.swapaxes(1, 2).reshape(rows.shape)

    def tensor(self, name):
        if name not in self.tensors:
            raise Refused(f"tensor `{name}` is missing from {self.path}")
        return self.tensors[name]

    @property
    def vocab(self):
        return self.tensor("model.embed_tokens.weight").shape[0]

    @property
    def tied(self):
        return "lm_head.weight" not in self.tensors


def check_config(config):
    """Refuses what the graph below does not compute."""
    family = config.get("model_type")
    if family not in FAMILIES:
        raise Refused(f"model type `{family}`; {', '.join(FAMILIES)} are exported")
    wrong = [key for key in ("attention_bias", "mlp_bias", "quantization_config") if config.get(key)]
    if config.get("use_sliding_window") or (family != "qwen2" and config.get("sliding_window")):
        wrong.append("sliding_window")
    if config.get("hidden_act", "silu") not in ("silu", "swish"):
        wrong.append("hidden_act")
    if wrong:
        raise Refused("; ".join(f"`{key}` = {config[key]} is not exported" for key in wrong))


GGUF_NAMES = {
    "token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head",
    "attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def hugging_face_name(name):
    parts = name.split(".")
    if parts[0] == "blk":
        stem = GGUF_NAMES.get(parts[2])
        return f"model.layers.{parts[1]}.{stem}.{parts[3]}" if stem else name
    stem = GGUF_NAMES.get(parts[0])
    return f"{stem}.{parts[1]}" if stem else name


# ---------------------------------------------------------------- rounding weights


def per_output(matrix):
    """[out, in] as int8 [in, out] and one scale per output."""
    scale = np.abs(matrix).max(axis=1) / 127
    scale = np.where(scale > 0, scale, 1).astype(np.float32)
    rounded = np.rint(matrix / scale[:, None]).clip(-127, 127)
    return np.ascontiguousarray(rounded.astype(np.int8).T), scale


def in_blocks(matrix, bits):
    """[out, in] as MatMulNBits wants it: bytes [out, blocks, BLOCK * bits / 8], scales."""
    out, width = matrix.shape
    blocks = -(-width // BLOCK)
    padded = np.zeros((out, blocks * BLOCK), np.float32)
    padded[:, :width] = matrix
    padded = padded.reshape(out, blocks, BLOCK)
    # The number of largest size gets the end of the range that has one step more.
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
    """Nodes and constants, added in order."""

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
        """x [N, in] times the matrix [out, in], plus the bias."""
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


def rotate(graph, x, cos, sin, half):
    """Turns pairs (i, i + half) of x [B, heads, T, head_dim]."""
    first = graph.op("Slice", x, graph.ints(0), graph.ints(half), graph.ints(-1))
    last = graph.op("Slice", x, graph.ints(half), graph.ints(2 * half), graph.ints(-1))
    turned = [
        graph.op("Sub", graph.op("Mul", first, cos), graph.op("Mul", last, sin)),
        graph.op("Add", graph.op("Mul", last, cos), graph.op("Mul", first, sin)),
    ]
    return graph.op("Concat", *turned, axis=-1)


def attention(graph, model, layer, x, shared, past):
    """The attention of one block over x [N, hidden]; `past` adds the cache to keys and values."""
    prefix = f"model.layers.{layer}.self_attn."
    groups, dim = model.heads // model.kv_heads, model.head_dim

    def project(which, heads):
        bias = model.tensor(f"{prefix}{which}_proj.bias") if model.family == "qwen2" else None
        name = f"{prefix}{which}_proj.weight"
        rows = graph.linear(x, name, model.tensor(name), bias)
        shape = graph.op("Concat", shared["batch_tokens"], graph.ints(heads, dim), axis=0)
        return graph.op("Transpose", graph.op("Reshape", rows, shape), perm=[0, 2, 1, 3])

    turn = lambda heads: rotate(graph, heads, shared["cos"], shared["sin"], dim // 2)
    queries = turn(project("q", model.heads))
    keys, values = past(layer, turn(project("k", model.kv_heads)), project("v", model.kv_heads))
    # Query heads that share a key head get a dimension of their own: [B, kv_heads, groups, T, dim].
    shape = graph.op("Concat", shared["batch"], graph.ints(model.kv_heads, groups),
                     shared["tokens"], graph.ints(dim), axis=0)
    queries = graph.op("Mul", graph.op("Reshape", queries, shape), graph.number(dim ** -0.5))
    keys = graph.op("Unsqueeze", graph.op("Transpose", keys, perm=[0, 1, 3, 2]), graph.ints(2))
    scores = graph.op("Add", graph.op("MatMul", queries, keys), shared["mask"])
    weights = graph.op("Softmax", scores, axis=-1)
    seen = graph.op("MatMul", weights, graph.op("Unsqueeze", values, graph.ints(2)))
    shape = graph.op("Concat", shared["batch"], graph.ints(model.heads), shared["tokens"],
                     graph.ints(dim), axis=0)
    seen = graph.op("Transpose", graph.op("Reshape", seen, shape), perm=[0, 2, 1, 3])
    seen = graph.op("Reshape", seen, graph.ints(-1, model.heads * dim))
    return graph.linear(seen, f"{prefix}o_proj.weight", model.tensor(f"{prefix}o_proj.weight"))


def feed_forward(graph, model, layer, x):
    matrix = lambda which: f"model.layers.{layer}.mlp.{which}_proj.weight"
    gate = graph.linear(x, matrix("gate"), model.tensor(matrix("gate")))
    up = graph.linear(x, matrix("up"), model.tensor(matrix("up")))
    gated = graph.op("Mul", graph.op("Mul", gate, graph.op("Sigmoid", gate)), up)
    return graph.linear(gated, matrix("down"), model.tensor(matrix("down")))


def decoder(graph, model, ids, shared, past, rows=None):
    """Logits [N or R, vocab] of ids [N]."""
    embedding = model.tensor("model.embed_tokens.weight")
    x = graph.op("Gather", graph.constant("model.embed_tokens.weight", embedding), ids)
    for layer in range(model.layers):
        norms = [f"model.layers.{layer}.{n}.weight"
                 for n in ("input_layernorm", "post_attention_layernorm")]
        normed = graph.norm(x, norms[0], model.tensor(norms[0]), model.eps)
        x = graph.op("Add", x, attention(graph, model, layer, normed, shared, past))
        normed = graph.norm(x, norms[1], model.tensor(norms[1]), model.eps)
        x = graph.op("Add", x, feed_forward(graph, model, layer, normed))
    x = graph.op("Gather", x, rows) if rows else x
    x = graph.norm(x, "model.norm.weight", model.tensor("model.norm.weight"), model.eps)
    name = "model.embed_tokens.weight" if model.tied else "lm_head.weight"
    # A rounded head cannot share the embedding's constant.
    own = name if graph.kind == "f32" else "head"
    return graph.linear(x, own, model.tensor(name), head=True)


def turns(graph, model, positions):
    """cos and sin [B, 1, T, head_dim / 2] of positions [B, T], from tables made in float64."""
    angles = np.arange(model.context, dtype=np.float64)[:, None] * model.frequencies
    def look_up(name, table):
        rows = graph.op("Gather", graph.constant(name, table.astype(np.float32)), positions)
        return graph.op("Unsqueeze", rows, graph.ints(1))
    return look_up("rotary_cos", np.cos(angles)), look_up("rotary_sin", np.sin(angles))


def info(name, kind, *shape):
    return helper.make_tensor_value_info(name, kind, list(shape))


def past_layout(graph, model):
    """Inputs and outputs as the ecosystem has them."""
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
    cos, sin = turns(graph, model, "position_ids")
    # Token t stands at total - tokens + t and sees keys up to there, where the mask has ones.
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
    shared = dict(batch_tokens=shape, batch=batch, tokens=tokens, cos=cos, sin=sin, mask=mask)
    ids = graph.op("Reshape", "input_ids", graph.ints(-1))
    logits = decoder(graph, model, ids, shared, past)
    wanted = graph.op("Concat", shape, graph.ints(model.vocab), axis=0)
    graph.op("Reshape", logits, wanted, out="logits")
    return inputs, outputs


def flat_layout(graph, model):
    """kad's own: one text, the cache in rows, the mask given in full."""
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
    cos, sin = turns(graph, model, positions)
    shared = dict(batch_tokens=graph.op("Concat", batch, tokens, axis=0), batch=batch,
                  tokens=tokens, cos=cos, sin=sin, mask="mask")
    logits = decoder(graph, model, "input_ids", shared, past, rows="rows")
    graph.op("Identity", logits, out="logits")
    return inputs, outputs


LAYOUTS = {"past": past_layout, "flat": flat_layout}


def export(model, layout, kind):
    """The model as an ONNX message."""
    graph = Graph(kind)
    inputs, outputs = LAYOUTS[layout](graph, model)
    body = helper.make_graph(graph.nodes, model.family, inputs, outputs,
                             list(graph.constants.values()))
    message = helper.make_model(
        body, producer_name="kad", ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)])
    helper.set_model_props(message, {"kad.layout": layout, "kad.type": kind})
    return message


def save(message, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    large = sum(len(constant.raw_data) for constant in message.graph.initializer) > INLINE_BYTES
    weights = path.with_suffix(".onnx_data")
    weights.unlink(missing_ok=True)  # onnx appends to one that is there
    onnx.save_model(message, str(path), save_as_external_data=large, location=weights.name)


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
    parser.add_argument("--out", type=pathlib.Path, help="where the graph goes")
    args = parser.parse_args()
    try:
        model = Model(args.model)
        path = args.out or default_path(model, args.layout, args.type)
        save(export(model, args.layout, args.type), path)
    except Refused as refused:
        sys.exit(f"export_onnx: {refused}")
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, {args.layout}, {args.type}")


if __name__ == "__main__":
    main()
