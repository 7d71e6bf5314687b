"""Writes tiny random models, one of each family, and the logits transformers computes for them.

    python make.py      (needs torch, transformers, safetensors, gguf; versions used: see versions.json)

Each folder gets config.json, model.safetensors (float32 or bfloat16) and expected.json: token ids
and one row of float64 logits per token. Some get model.gguf too: the same model, converted by the
rules of llama.cpp's converter, under the tensor names of GGML's Python package.

transformers raises to float32 in its norms, rotary embedding and softmax, also in a float64 model.
Here those places see float64 under the name float32, so that what is compared is the formula and
not that rounding; nothing else of the library is changed.
"""

import json
import pathlib
from importlib.metadata import version

import gguf
import safetensors
import torch
import transformers
from safetensors.torch import save_file
from transformers import (
    Gemma3ForCausalLM, Gemma3TextConfig, LlamaConfig, LlamaForCausalLM, MistralConfig,
    MistralForCausalLM, Olmo2Config, Olmo2ForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config,
    Qwen3ForCausalLM, modeling_rope_utils)
from transformers.models.gemma3 import modeling_gemma3
from transformers.models.llama import modeling_llama
from transformers.models.mistral import modeling_mistral
from transformers.models.olmo2 import modeling_olmo2
from transformers.models.qwen2 import modeling_qwen2
from transformers.models.qwen3 import modeling_qwen3

HERE = pathlib.Path(__file__).parent
TOKENS = 12
FLOAT32, BFLOAT16 = torch.float32, torch.bfloat16
MODULES = (modeling_gemma3, modeling_llama, modeling_mistral, modeling_olmo2, modeling_qwen2,
           modeling_qwen3, modeling_rope_utils)


class Float64Torch:
    """The torch module with float64 in place of float32."""

    def __getattr__(self, name):
        return torch.float64 if name in ("float32", "float") else getattr(torch, name)


def main():
    for module in MODULES:
        module.torch = Float64Torch()
    torch.Tensor.float = torch.Tensor.double
    torch.set_default_dtype(torch.float64)

    shared = dict(
        vocab_size=40, hidden_size=24, num_hidden_layers=2, intermediate_size=40,
        max_position_embeddings=64, hidden_act="silu", attn_implementation="eager",
    )
    llama3 = dict(
        rope_type="llama3", rope_theta=10000.0, factor=4.0, low_freq_factor=1.0,
        high_freq_factor=4.0, original_max_position_embeddings=16,
    )
    # Grouped queries, tied head, scaled rotary frequencies.
    write("llama", 1, LlamaForCausalLM(LlamaConfig(
        num_attention_heads=3, num_key_value_heads=1, rms_norm_eps=1e-5,
        tie_word_embeddings=True, rope_parameters=llama3, **shared)))
    # Biases and an untied head.
    write("qwen2", 2, Qwen2ForCausalLM(Qwen2Config(
        num_attention_heads=4, num_key_value_heads=2, rms_norm_eps=1e-6,
        tie_word_embeddings=False,
        rope_parameters=dict(rope_type="default", rope_theta=1e6), **shared)))
    # Small, and the same in float32, which is what GGUF files hold it in.
    epsilon = 2.0 ** -17
    newer = dict(shared, vocab_size=32, intermediate_size=32)
    linear = dict(rope_type="linear", rope_theta=10000.0, factor=2.5)
    # A window in every layer, heads that together are wider than the state.
    write("mistral", 3, MistralForCausalLM(MistralConfig(
        num_attention_heads=4, num_key_value_heads=2, head_dim=8, rms_norm_eps=1e-5,
        sliding_window=5, tie_word_embeddings=False, rope_parameters=linear, **newer)), BFLOAT16)
    # Norms per head, a window in the last layer only, scaled rotary frequencies.
    write("qwen3", 4, Qwen3ForCausalLM(Qwen3Config(
        num_attention_heads=4, num_key_value_heads=2, head_dim=8, rms_norm_eps=1e-6,
        use_sliding_window=True, sliding_window=4, max_window_layers=1,
        tie_word_embeddings=False, rope_parameters=llama3, **newer)), BFLOAT16)
    # The same without the settings that GGUF files of this family cannot store.
    write("qwen3-plain", 5, Qwen3ForCausalLM(Qwen3Config(
        num_attention_heads=4, num_key_value_heads=2, head_dim=8, rms_norm_eps=epsilon,
        tie_word_embeddings=True, rope_parameters=linear, **newer)), BFLOAT16, gguf.MODEL_ARCH.QWEN3)
    # Norms after sublayers and over whole projections.
    write("olmo2", 6, Olmo2ForCausalLM(Olmo2Config(
        num_attention_heads=4, num_key_value_heads=2, rms_norm_eps=epsilon,
        tie_word_embeddings=False, rope_parameters=linear, **newer)), BFLOAT16, gguf.MODEL_ARCH.OLMO2)
    # Norms before and after sublayers, windows with another rotary base, scales.
    newer.update(num_hidden_layers=3, hidden_activation="gelu_pytorch_tanh")
    del newer["hidden_act"]
    sliding = dict(rope_type="default", rope_theta=100.0)
    write("gemma3", 7, Gemma3ForCausalLM(Gemma3TextConfig(
        num_attention_heads=4, num_key_value_heads=2, head_dim=8, rms_norm_eps=1e-6,
        query_pre_attn_scalar=12, sliding_window=4,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        rope_parameters=dict(full_attention=linear, sliding_attention=sliding), **newer)), BFLOAT16)
    # Scores are scaled as GGUF files, which do not say how, are understood.
    write("gemma3-plain", 8, Gemma3ForCausalLM(Gemma3TextConfig(
        num_attention_heads=4, num_key_value_heads=2, head_dim=8, rms_norm_eps=epsilon,
        query_pre_attn_scalar=8, sliding_window=4,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        rope_parameters=dict(full_attention=linear, sliding_attention=sliding), **newer)),
        BFLOAT16, gguf.MODEL_ARCH.GEMMA3, FLOAT32)
    versions = dict(torch=torch.__version__, transformers=transformers.__version__,
                    safetensors=safetensors.__version__, gguf=version("gguf"))
    (HERE / "versions.json").write_text(json.dumps(versions, indent=1) + "\n")


def write(name, seed, model, stored=FLOAT32, architecture=None, loaded=None):
    """Writes tensors in the type `stored`; `loaded` is the dtype of the configuration."""
    generator = torch.Generator().manual_seed(seed)
    gemma = "gemma" in name
    tensors = {}
    for key, parameter in model.named_parameters():
        values = torch.randn(parameter.shape, generator=generator)
        # Large enough for attention and gates outside their linear range; Gemma adds the 1 itself.
        values = 1 + 0.3 * values if "norm" in key and not gemma else 0.3 * values
        tensors[key] = values.to(stored)
        parameter.data = tensors[key].to(torch.float64)
    model.tie_weights()
    model = model.eval()
    if gemma:
        # Embeddings are multiplied by the square root of their width in the type they are loaded in.
        embedding = model.model.embed_tokens
        root = torch.tensor(embedding.scalar_embed_scale, dtype=FLOAT32)
        embedding.embed_scale = root.to(loaded or stored)
        assert model.model.rotary_emb.full_attention_inv_freq.dtype == torch.float64
    else:
        assert model.model.rotary_emb.inv_freq.dtype == torch.float64
    tokens = torch.randint(0, model.config.vocab_size, (1, TOKENS), generator=generator)
    with torch.no_grad():
        logits = model(tokens).logits[0]
    assert logits.dtype == torch.float64

    folder = HERE / name
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / "model.safetensors")
    if stored != FLOAT32:
        model.config.dtype = loaded or stored
    config = model.config.to_dict()
    (folder / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
    expected = dict(seed=seed, tokens=tokens[0].tolist(), logits=logits.tolist())
    (folder / "expected.json").write_text(json.dumps(expected) + "\n")
    if architecture is not None:
        write_gguf(folder / "model.gguf", architecture, model.config, tensors)
    print(name, sum(t.numel() for t in tensors.values()), "parameters, largest logit",
          logits.abs().max().item())


def write_gguf(path, architecture, config, tensors):
    """Like llama.cpp's converter for these families, which do not permute queries and keys."""
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[architecture])
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    if getattr(config, "head_dim", None):
        writer.add_key_length(config.head_dim)
        writer.add_value_length(config.head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    rope = config.rope_parameters
    if architecture == gguf.MODEL_ARCH.GEMMA3:
        writer.add_sliding_window(config.sliding_window)
        writer.add_sliding_window_pattern(2)
        writer.add_float32("gemma3.rope.freq_base_swa", rope["sliding_attention"]["rope_theta"])
        rope = rope["full_attention"]
    writer.add_rope_freq_base(rope["rope_theta"])
    writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
    writer.add_rope_scaling_factor(rope["factor"])
    names = gguf.get_tensor_name_map(architecture, config.num_hidden_layers)
    for key, values in tensors.items():
        name = names.get_name(key, try_suffixes=(".weight",))
        if "norm" in key:
            # float32, with the 1 that Gemma adds in them.
            added = 1 if architecture == gguf.MODEL_ARCH.GEMMA3 else 0
            writer.add_tensor(name, (values.to(torch.float32) + added).numpy())
        else:
            rows = values.view(torch.uint8).numpy()
            writer.add_tensor(name, rows, raw_dtype=gguf.GGMLQuantizationType.BF16)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
