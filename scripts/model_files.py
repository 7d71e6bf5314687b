"""Reads models for kad's exporter: Hugging Face folders and GGUF files.

`Model` holds the sizes, the properties of the family (`FAMILIES`, and windows, scales and
frequencies from the file), and the tensors as float32 under Hugging Face's names. Norm weights are
the factors of the formula. A setting that the exporter does not support raises `Refused`.
"""

import json
import math
import pathlib
from dataclasses import dataclass

import numpy as np


class Refused(Exception):
    """The request is not supported; the text names the reason and the supported values."""


@dataclass(frozen=True)
class Family:
    """Properties of a model family; the defaults are Llama's.

    place      position of the norms of a sublayer f: "before", h + f(n(h)); "after", h + n(f(h));
               "both", h + m(f(n(h)))
    heads      norm of queries and keys: None, per "head", or over the "whole" projection
    bias       query, key and value projections have a bias
    gemma      window pattern, scales, activation and norms of Gemma 3
    eps        default of the norms' epsilon
    sizes      settings that the configuration must contain, because their defaults in other programs
               are the sizes of one model
    """

    place: str = "before"
    heads: str | None = None
    bias: bool = False
    gemma: bool = False
    eps: float = 1e-6
    sizes: tuple = ()


NEWER = ("num_key_value_heads", "head_dim")
FAMILIES = {
    "llama": Family(),
    "mistral": Family(),
    "qwen2": Family(bias=True),
    "qwen3": Family(heads="head", sizes=NEWER),
    "olmo2": Family(place="after", heads="whole", eps=1e-5),
    "gemma3_text": Family(place="both", heads="head", gemma=True, sizes=NEWER),
}
# Architecture names in GGUF files; Mistral files say "llama".
GGUF_FAMILIES = {"llama": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "olmo2": "olmo2",
                 "gemma3": "gemma3_text"}

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
    if scaling.get("partial_rotary_factor") not in (None, 1):
        raise Refused("rotary embedding of a part of each head is not exported")
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


def rounded(value, dtype):
    """`value` rounded to the dtype of the model, as a float."""
    bits = np.float32(value).view(np.uint32)
    if dtype == "bfloat16":
        bits = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1)))
        bits &= np.uint32(0xFFFF0000)
    elif dtype == "float16":
        return float(np.float16(value))
    elif dtype not in (None, "float32"):
        raise Refused(f"`dtype` = {dtype}; float32, bfloat16 and float16 are exported")
    return float(bits.view(np.float32))


def every_nth_sees_all(layers, period):
    """Gemma's pattern: every `period`-th layer has full attention, the others the window."""
    return [(layer + 1) % period != 0 for layer in range(layers)]


class Model:
    """Sizes and tensors of a model (float32, Hugging Face's names and order of rotary pairs).

    hidden, ffn, layers, heads, kv_heads, head_dim, context   sizes
    family, name            a Family, and its name in the file
    eps                     epsilon of the norms
    activation              "silu" or "gelu_tanh"
    frequencies             rotary frequencies in radians per position, [head_dim / 2]
    local_frequencies       rotary frequencies of the layers with a window
    window, windowed        window length in tokens, and one flag per layer
    embedding_scale         factor of the embeddings
    attention_scale         factor of the products of queries and keys
    """

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.embedding_scale, self.activation, self.used = 1.0, "silu", set()
        if self.path.is_dir():
            self.read_folder()
        elif self.path.suffix == ".gguf":
            self.read_gguf()
        else:
            raise Refused(f"{path} is neither a folder with config.json nor a .gguf file")
        if self.heads % self.kv_heads:
            raise Refused(f"{self.kv_heads} key heads do not divide {self.heads} heads")
        if not any(self.windowed):
            self.window = None

    def read_folder(self):
        """Reads config.json and safetensors, in one file or in shards."""
        config_path = self.path / "config.json"
        if not config_path.is_file():
            raise Refused(f"{self.path} has no config.json")
        config = json.loads(config_path.read_text())
        self.name = config.get("model_type")
        if self.name not in FAMILIES:
            raise Refused(f"model type `{self.name}`; {', '.join(FAMILIES)} are exported")
        self.family = FAMILIES[self.name]
        check_config(config, self.family)
        self.hidden, self.ffn = config["hidden_size"], config["intermediate_size"]
        self.layers, self.heads = config["num_hidden_layers"], config["num_attention_heads"]
        self.kv_heads = config.get("num_key_value_heads") or self.heads
        self.head_dim = config.get("head_dim") or self.hidden // self.heads
        self.context = config["max_position_embeddings"]
        self.eps = config.get("rms_norm_eps") or self.family.eps
        self.attention_scale = self.head_dim ** -0.5
        if self.family.gemma:
            self.read_gemma(config)
        self.read_ropes(config)
        self.window, self.windowed = window_of(config, self.name), windowed(config, self.name)
        self.read_weights()
        if self.family.gemma:
            # Gemma files store weight - 1 for every norm.
            for name in self.tensors:
                if name.endswith("norm.weight"):
                    self.tensors[name] = self.tensors[name] + np.float32(1)
        self.tied = config.get("tie_word_embeddings", self.family.gemma) or False

    def read_gemma(self, config):
        """Gemma 3's scales: sqrt(hidden), rounded to the dtype of the model."""
        self.activation = "gelu_tanh"
        dtype = config.get("dtype") or config.get("torch_dtype")
        self.embedding_scale = rounded(self.hidden ** 0.5, dtype)
        self.attention_scale = config["query_pre_attn_scalar"] ** -0.5

    def read_ropes(self, config):
        """Reads the frequencies of both kinds of layers from the old or new layout of config.json."""
        table = config.get("rope_parameters") or config.get("rope_scaling") or {}
        theta = config.get("rope_theta") or 10000.0
        local = {"rope_theta": config.get("rope_local_base_freq") or 10000.0}
        if self.family.gemma and config.get("rope_parameters"):
            table, local = table["full_attention"], table["sliding_attention"]
        elif not self.family.gemma:
            local = table

        def frequencies(table):
            original = config.get("original_max_position_embeddings")
            table = {"original_max_position_embeddings": original, **table}
            return scaled_frequencies(table.get("rope_theta") or theta, self.head_dim, table)

        self.frequencies, self.local_frequencies = frequencies(table), frequencies(local)

    def read_weights(self):
        index = self.path / "model.safetensors.index.json"
        names = ["model.safetensors"]
        if index.is_file():
            names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
        self.tensors = {}
        for name in names:
            if not (self.path / name).is_file():
                raise Refused(f"{self.path} has no {name}")
            self.tensors.update(read_safetensors(self.path / name))

    def read_gguf(self):
        """Reads metadata and dequantised tensors."""
        try:
            import gguf
        except ImportError:
            raise Refused("reading GGUF needs the package `gguf`: see the requirements file")
        reader = gguf.GGUFReader(self.path)
        get = lambda key: getattr(reader.get_field(key), "contents", lambda: None)()
        self.name = get("general.architecture")
        if self.name not in GGUF_FAMILIES:
            raise Refused(f"architecture `{self.name}`; {', '.join(GGUF_FAMILIES)} are exported")
        self.family = FAMILIES[GGUF_FAMILIES[self.name]]
        own = lambda key: get(f"{self.name}.{key}")
        self.hidden, self.ffn = own("embedding_length"), own("feed_forward_length")
        self.layers, self.heads = own("block_count"), own("attention.head_count")
        self.kv_heads = own("attention.head_count_kv") or self.heads
        self.head_dim = own("attention.key_length") or self.hidden // self.heads
        self.context, self.eps = own("context_length"), own("attention.layer_norm_rms_epsilon")
        self.attention_scale = self.head_dim ** -0.5
        check_gguf(own, self)
        self.tensors = {}
        for tensor in reader.tensors:
            values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
            self.tensors[hugging_face_name(tensor.name, self.family.place)] = values
        factor = own("rope.scaling.factor") or own("rope.scale_linear") or 1.0
        if own("rope.scaling.type") == "none":
            factor = 1.0
        scaling = {"rope_type": "linear", "factor": factor}
        theta = own("rope.freq_base") or 10000.0
        frequencies = scaled_frequencies(theta, self.head_dim, scaling)
        self.frequencies = frequencies / self.tensors.pop("rope_freqs.weight", np.float32(1))
        self.window, self.windowed = None, [False] * self.layers
        if self.family.gemma:
            self.read_gguf_gemma(own)
        if self.name == "llama":
            self.unpermute()
        self.tied = "lm_head.weight" not in self.tensors

    def read_gguf_gemma(self, own):
        """Reads Gemma 3's settings; fills in those that its files leave out."""
        self.activation = "gelu_tanh"
        self.embedding_scale = rounded(self.hidden ** 0.5, None)
        if self.layers == 62:  # Gemma 3 27B
            self.attention_scale = (self.hidden // self.heads) ** -0.5
        theta = own("rope.freq_base_swa") or 10000.0
        self.local_frequencies = scaled_frequencies(theta, self.head_dim, {})
        self.window = own("attention.sliding_window")
        if self.window:
            pattern = own("attention.sliding_window_pattern") or 6
            self.windowed = (list(pattern) if isinstance(pattern, list)
                             else every_nth_sees_all(self.layers, pattern))

    def unpermute(self):
        """Reorders rows of Llama heads: GGUF pairs rows 2i and 2i + 1, Hugging Face i and i + half."""
        for name in list(self.tensors):
            heads = {"q_proj": self.heads, "k_proj": self.kv_heads}.get(name.split(".")[-2])
            if heads:
                rows = self.tensors[name]
                pairs = rows.reshape(heads, self.head_dim // 2, 2, -1)
                self.tensors[name] = pairs.swapaxes(1, 2).reshape(rows.shape)

    def tensor(self, name):
        if name not in self.tensors:
            raise Refused(f"tensor `{name}` is missing from {self.path}")
        self.used.add(name)
        return self.tensors[name]

    def check_all_used(self):
        """Refuses a model with an unused tensor: the graph would compute something else."""
        copies = ("lm_head.weight",) if self.tied else ()
        for name in self.tensors:
            if name not in self.used and name not in copies and "rotary_emb" not in name:
                raise Refused(f"tensor `{name}` of {self.path} has no place in a {self.name} model "
                              f"of {self.layers} layers")

    @property
    def vocab(self):
        return self.tensor("model.embed_tokens.weight").shape[0]


def check_config(config, family):
    """Refuses settings that the graph does not compute."""
    wrong = [key for key in ("attention_bias", "mlp_bias", "quantization_config", "clip_qkv",
                             "attn_logit_softcapping", "final_logit_softcapping",
                             "use_bidirectional_attention") if config.get(key)]
    if config.get("partial_rotary_factor") not in (None, 1):
        wrong.append("partial_rotary_factor")
    key, known = "hidden_act", ("silu", "swish")
    if family.gemma:
        key, known = "hidden_activation", ("gelu_pytorch_tanh",)
    if (config.get(key) or known[0]) not in known:
        wrong.append(key)
    if wrong:
        raise Refused("; ".join(f"`{key}` = {config[key]} is not exported" for key in wrong))
    needed = [key for key in family.sizes if not config.get(key)]
    if family.gemma and not config.get("query_pre_attn_scalar"):
        needed.append("query_pre_attn_scalar")
    if needed:
        raise Refused("; ".join(f"`{key}` is missing from config.json" for key in needed))


def window_of(config, name):
    """Window length in tokens; for Mistral the default is that of transformers."""
    return config.get("sliding_window", 4096 if name == "mistral" else None)


def windowed(config, name):
    """One flag per layer: True for sliding-window attention."""
    layers, window = config["num_hidden_layers"], window_of(config, name)
    kinds = config.get("layer_types")
    listed = kinds and [kind == "sliding_attention" for kind in kinds]
    if kinds and set(kinds) - {"sliding_attention", "full_attention"}:
        raise Refused(f"`layer_types` = {kinds} is not exported")
    if name in ("qwen2", "qwen3"):
        # Qwen files name a window also where use_sliding_window is off.
        first = config.get("max_window_layers")
        first = 28 if first is None else first
        flags = listed or [layer >= first for layer in range(layers)]
        flags = flags if config.get("use_sliding_window") else [False] * layers
    elif name == "gemma3_text":
        flags = listed or every_nth_sees_all(layers, config.get("sliding_window_pattern") or 6)
    else:
        flags = [name == "mistral" and window is not None] * layers
        if name != "mistral" and window and window < config["max_position_embeddings"]:
            raise Refused(f"`sliding_window` = {window} is not exported for {name}")
    if listed and listed != flags:
        raise Refused(f"`layer_types` = {kinds} does not agree with `sliding_window`")
    if any(flags) and not window:
        raise Refused("`sliding_window` is missing from config.json")
    return flags


def check_gguf(own, model):
    """Refuses settings that the graph does not compute."""
    for key in ("expert_count", "logit_scale", "residual_scale", "embedding_scale",
                "attention.scale", "attn_logit_softcapping", "final_logit_softcapping",
                "attention.clamp_kqv"):
        if own(key):
            raise Refused(f"`{model.name}.{key}` = {own(key)} is not exported")
    window = own("attention.sliding_window")
    if window and not model.family.gemma and window < model.context:
        raise Refused(f"`{model.name}.attention.sliding_window` = {window} is not exported")
    kind = own("rope.scaling.type")
    if kind not in (None, "none", "linear"):
        raise Refused(f"rope scaling `{kind}` is not exported from GGUF; none and linear are")
    if own("rope.dimension_count") not in (None, model.head_dim):
        raise Refused("rotary embedding of a part of each head is not exported")


GGUF_NAMES = {
    "token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head",
    "attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm",
    "post_attention_norm": "post_attention_layernorm", "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
    "post_ffw_norm": "post_feedforward_layernorm",
}


def ffn_norm(place):
    """Hugging Face's name of the norm before the feed-forward network."""
    return "post_attention_layernorm" if place == "before" else "pre_feedforward_layernorm"


def hugging_face_name(name, place):
    parts = name.split(".")
    inside = parts[0] == "blk"
    stem = GGUF_NAMES.get(parts[2] if inside else parts[0])
    if inside and parts[2] == "ffn_norm":
        stem = ffn_norm(place)
    if stem is None:
        return name
    return f"model.layers.{parts[1]}.{stem}.{parts[3]}" if inside else f"{stem}.{parts[1]}"
