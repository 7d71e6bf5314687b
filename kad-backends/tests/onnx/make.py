"""Writes tiny random models, one of each family, and ONNX graphs of them, good ones and wrong ones.

    pip install -r scripts/export_onnx.requirements.txt
    python kad-backends/tests/onnx/make.py          (no network, same bytes every time)

Each folder gets config.json, tokenizer.json, model.safetensors and what scripts/export_onnx.py
makes of them. The other graphs of `llama/` are that with one thing changed, as other exporters have
it or as nobody should: see `variants`. `q8/`, `q4/` and `int8/` are the Llama model rounded.
"""

import json
import pathlib
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parents[2] / "scripts"))
import export_onnx
import model_files

VOCAB = 24
SHARED = dict(
    vocab_size=VOCAB, hidden_size=8, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, head_dim=4, intermediate_size=12, hidden_act="silu",
    max_position_embeddings=600, eos_token_id=0,
)
CONFIGS = {
    "llama": dict(SHARED, model_type="llama", rms_norm_eps=1e-5, tie_word_embeddings=True,
                  rope_theta=10000.0,
                  rope_scaling=dict(rope_type="llama3", factor=4.0, low_freq_factor=1.0,
                                    high_freq_factor=4.0, original_max_position_embeddings=16)),
    "qwen2": dict(SHARED, model_type="qwen2", rms_norm_eps=1e-6, tie_word_embeddings=False,
                  rope_theta=1e6),
    # A window in every layer.
    "mistral": dict(SHARED, model_type="mistral", rms_norm_eps=1e-5, tie_word_embeddings=False,
                    sliding_window=7, rope_theta=1e4),
    # Norms per head, a window in the last layer only.
    "qwen3": dict(SHARED, model_type="qwen3", rms_norm_eps=1e-6, tie_word_embeddings=True,
                  use_sliding_window=True, sliding_window=20, max_window_layers=1, rope_theta=1e6),
    # Norms after sublayers and over whole projections.
    "olmo2": dict(SHARED, model_type="olmo2", rms_norm_eps=1e-6, tie_word_embeddings=False,
                  rope_theta=5e5),
    # Norms before and after sublayers, windows with another rotary base, scales.
    "gemma3": dict(SHARED, model_type="gemma3_text", num_hidden_layers=3, rms_norm_eps=1e-6,
                   hidden_activation="gelu_pytorch_tanh", query_pre_attn_scalar=6,
                   sliding_window=9, sliding_window_pattern=2, rope_theta=1e4,
                   rope_local_base_freq=100.0, rope_scaling=dict(rope_type="linear", factor=2.5),
                   torch_dtype="bfloat16"),
}


def main():
    for seed, (name, config) in enumerate(CONFIGS.items()):
        folder = HERE / name
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
        (folder / "tokenizer.json").write_text(json.dumps(tokenizer(VOCAB)) + "\n")
        write_safetensors(folder / "model.safetensors", tensors(config, seed))
        model = export_onnx.Model(folder)
        for layout in ("past", "flat"):
            graph = export_onnx.export(model, layout, "f32")
            onnx.save_model(graph, str(folder / f"{layout}.onnx"))
    for kind in ("q8", "q4", "int8"):
        rounded(HERE / kind, kind)
    variants(HERE / "llama")


def rounded(folder, kind):
    """The Llama model with quantised matrices: the graph, and safetensors of dequantised weights."""
    folder.mkdir(exist_ok=True)
    graph = export_onnx.export(export_onnx.Model(HERE / "llama"), "past", kind)
    onnx.save_model(graph, str(folder / "past.onnx"))
    # The head is quantised, the embedding is not.
    config = dict(CONFIGS["llama"], tie_word_embeddings=False)
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer(VOCAB)) + "\n")
    found = tensors(CONFIGS["llama"], 0)
    constants = {c.name: numpy_helper.to_array(c) for c in graph.graph.initializer}
    for node in graph.graph.node:
        if node.op_type in ("MatMulNBits", "DynamicQuantizeMatMul"):
            name = node.input[1]
            values, scale = constants[name], constants[node.input[2]]
            meant = unrounded(values, scale, {a.name: a.i for a in node.attribute})
            found["lm_head.weight" if name == "head" else name] = meant
    write_safetensors(folder / "model.safetensors", found)


def unrounded(values, scale, attributes):
    """Dequantises the matrix [out, in] of a node, by the definition of its operator."""
    if values.dtype == np.int8:
        return np.ascontiguousarray(values.T * scale[:, None], np.float32)
    if attributes["bits"] == 4:
        values = np.stack([values & 15, values >> 4], axis=-1).reshape(*values.shape[:2], -1)
    centre = 1 << (attributes["bits"] - 1)
    numbers = (values.astype(np.float32) - centre) * scale.reshape(*values.shape[:2], 1)
    return np.ascontiguousarray(numbers.reshape(len(numbers), -1)[:, :attributes["K"]], np.float32)


def variants(folder):
    """Writes graphs that differ from the script's."""
    load = lambda: onnx.load(str(folder / "past.onnx"))
    save = lambda name, graph: onnx.save_model(graph, str(folder / f"{name}.onnx"))
    save("whole", without_past(load()))
    save("half", with_halves(load()))
    extra = load()
    shape = ["batch", "tokens"]
    for name, kind, dims in [("token_type_ids", TensorProto.INT64, shape),
                             ("use_cache_branch", TensorProto.BOOL, [1]),
                             ("cache_position", TensorProto.INT32, ["tokens"])]:
        extra.graph.input.append(helper.make_tensor_value_info(name, kind, dims))
    save("extra", extra)
    save("kept", with_rows_kept(load()))
    unknown = load()
    unknown.graph.input.append(
        helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, shape))
    save("unknown", unknown)


def without_past(model):
    """The same graph with an empty cache inside."""
    graph = model.graph
    gone = [value for value in graph.input if value.name.startswith("past_key_values")]
    for value in gone:
        graph.input.remove(value)
        empty = np.zeros((1, SHARED["num_key_value_heads"], 0, SHARED["head_dim"]), np.float32)
        graph.initializer.append(numpy_helper.from_array(empty, value.name))
    for value in [value for value in graph.output if value.name != "logits"]:
        graph.output.remove(value)
    return model


def with_halves(model):
    """Cache and logits in float16, sums in float32."""
    graph, before, after = model.graph, [], []
    def cast(value, nodes, to, inner):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
        for node in graph.node:
            for names in (node.input, node.output):
                for i, name in enumerate(names):
                    names[i] = inner if name == value.name else name
        ends = (value.name, inner) if to == TensorProto.FLOAT else (inner, value.name)
        nodes.append(helper.make_node("Cast", [ends[0]], [ends[1]], to=to))
    for value in graph.input:
        if value.name.startswith("past"):
            cast(value, before, TensorProto.FLOAT, f"{value.name}.wide")
    for value in graph.output:
        cast(value, after, TensorProto.FLOAT16, f"{value.name}.wide")
    nodes = before + list(graph.node) + after
    del graph.node[:]
    graph.node.extend(nodes)
    return model


def with_rows_kept(model):
    """Logits of the last `num_logits_to_keep` tokens only."""
    graph = model.graph
    graph.input.append(helper.make_tensor_value_info("num_logits_to_keep", TensorProto.INT64, []))
    for name, value in [("keep_axis", [1]), ("keep_end", [1 << 40]), ("keep_zero", [0])]:
        graph.initializer.append(numpy_helper.from_array(np.array(value, np.int64), name))
    last = next(node for node in graph.node if "logits" in node.output)
    last.output[0] = "all_logits"
    graph.node.extend([
        helper.make_node("Unsqueeze", ["num_logits_to_keep", "keep_zero"], ["keep_count"]),
        helper.make_node("Neg", ["keep_count"], ["keep_start"]),
        helper.make_node("Slice", ["all_logits", "keep_start", "keep_end", "keep_axis"],
                         ["logits"]),
    ])
    graph.output[0].type.tensor_type.shape.dim[1].dim_param = "kept"
    return model


def tensors(config, seed):
    """Random weights under Hugging Face's names."""
    rng = np.random.default_rng(seed)
    hidden, ffn, dim = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    queries, keys = config["num_attention_heads"] * dim, config["num_key_value_heads"] * dim
    family = model_files.FAMILIES[config["model_type"]]
    draw = lambda *shape: rng.normal(0, 0.6, shape).astype(np.float32)
    # Gemma files store weight - 1 for every norm.
    low, high = (-0.5, 0.5) if family.gemma else (0.5, 1.5)
    norm = lambda width=hidden: rng.uniform(low, high, width).astype(np.float32)
    found = {"model.embed_tokens.weight": draw(VOCAB, hidden), "model.norm.weight": norm()}
    if not config.get("tie_word_embeddings", family.gemma):
        found["lm_head.weight"] = draw(VOCAB, hidden)
    for layer in range(config["num_hidden_layers"]):
        block = {} if family.place == "after" else {"input_layernorm": norm()}
        block |= {
            "post_attention_layernorm": norm(),
            "self_attn.q_proj": draw(queries, hidden), "self_attn.k_proj": draw(keys, hidden),
            "self_attn.v_proj": draw(keys, hidden), "self_attn.o_proj": draw(hidden, queries),
            "mlp.gate_proj": draw(ffn, hidden), "mlp.up_proj": draw(ffn, hidden),
            "mlp.down_proj": draw(hidden, ffn),
        }
        if family.place != "before":
            block["post_feedforward_layernorm"] = norm()
        if family.place == "both":
            block["pre_feedforward_layernorm"] = norm()
        for which, width in (("q", queries), ("k", keys)) if family.heads else ():
            block[f"self_attn.{which}_norm"] = norm(width if family.heads == "whole" else dim)
        found |= {f"model.layers.{layer}.{k}.weight": v for k, v in block.items()}
        for which, width in (("q", queries), ("k", keys), ("v", keys)) if family.bias else ():
            found[f"model.layers.{layer}.self_attn.{which}_proj.bias"] = draw(width)
    return found


def write_safetensors(path, found):
    header, at = {}, 0
    for name, values in found.items():
        header[name] = dict(dtype="F32", shape=list(values.shape),
                            data_offsets=[at, at + values.nbytes])
        at += values.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    body = b"".join(values.tobytes() for values in found.values())
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)


def tokenizer(size):
    """Letters as tokens, one special token before them."""
    letters = [chr(ord("a") + i) for i in range(size - 1)]
    vocab = {token: i for i, token in enumerate(["<end>", *letters])}
    special = dict(id=0, content="<end>", special=True, normalized=False, single_word=False,
                   lstrip=False, rstrip=False)
    return dict(version="1.0", truncation=None, padding=None, added_tokens=[special],
                normalizer=None, pre_tokenizer=None, post_processor=None, decoder=None,
                model=dict(type="BPE", vocab=vocab, merges=[]))


if __name__ == "__main__":
    main()
