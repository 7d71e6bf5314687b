"""Writes two tiny random models and the logits transformers computes for them.

    python make.py            (needs torch, transformers, safetensors; versions used: see versions.json)

Each folder gets config.json, model.safetensors (float32) and expected.json: token ids and one row
of float64 logits per token.

transformers raises to float32 in its norms, rotary embedding and softmax, also in a float64 model.
Here those places see float64 under the name float32, so that what is compared is the formula and
not that rounding; nothing else of the library is changed.
"""

import json
import pathlib

import safetensors
import torch
import transformers
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM
from transformers import modeling_rope_utils
from transformers.models.llama import modeling_llama
from transformers.models.qwen2 import modeling_qwen2

HERE = pathlib.Path(__file__).parent
TOKENS = 12
FLOAT32 = torch.float32


class Float64Torch:
    """The torch module, with float64 where the code says float32."""

    def __getattr__(self, name):
        return torch.float64 if name in ("float32", "float") else getattr(torch, name)


def main():
    for module in (modeling_llama, modeling_qwen2, modeling_rope_utils):
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
    # Biases and a head of its own.
    write("qwen2", 2, Qwen2ForCausalLM(Qwen2Config(
        num_attention_heads=4, num_key_value_heads=2, rms_norm_eps=1e-6,
        tie_word_embeddings=False,
        rope_parameters=dict(rope_type="default", rope_theta=1e6), **shared)))
    versions = dict(torch=torch.__version__, transformers=transformers.__version__,
                    safetensors=safetensors.__version__)
    (HERE / "versions.json").write_text(json.dumps(versions, indent=1) + "\n")


def write(name, seed, model):
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for key, parameter in model.named_parameters():
        values = torch.randn(parameter.shape, generator=generator)
        # Large enough that attention and gates leave their linear range.
        values = 1 + 0.3 * values if "norm" in key else 0.3 * values
        tensors[key] = values.to(FLOAT32)
        parameter.data = tensors[key].to(torch.float64)
    model.tie_weights()
    model = model.eval()
    assert model.model.rotary_emb.inv_freq.dtype == torch.float64
    tokens = torch.randint(0, model.config.vocab_size, (1, TOKENS), generator=generator)
    with torch.no_grad():
        logits = model(tokens).logits[0]
    assert logits.dtype == torch.float64

    folder = HERE / name
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / "model.safetensors")
    config = model.config.to_dict()
    (folder / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
    expected = dict(seed=seed, tokens=tokens[0].tolist(), logits=logits.tolist())
    (folder / "expected.json").write_text(json.dumps(expected) + "\n")
    print(name, sum(t.numel() for t in tensors.values()), "parameters, largest logit",
          logits.abs().max().item())


if __name__ == "__main__":
    main()
