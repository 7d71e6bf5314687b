#!/usr/bin/env python3
"""Negative log-likelihood of a text as Hugging Face transformers computes it, to compare with
`kad score --model MODEL --file TEXT --json`.

  pip install torch transformers gguf accelerate
  python3 transformers_score.py MODEL TEXT [--save FOLDER]

MODEL is a GGUF file (dequantised by transformers) or a Hugging Face folder; everything runs in
float32, sums in float64. --save writes the dequantised model as a folder of safetensors.
"""

import argparse
import json
import math
import os

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer


def load(path):
    """Model and tokenizer from a GGUF file or a folder."""
    if path.endswith(".gguf"):
        where, extra = os.path.dirname(os.path.abspath(path)), {"gguf_file": os.path.basename(path)}
    else:
        where, extra = path, {}
    tokenizer = AutoTokenizer.from_pretrained(where, **extra)
    model = AutoModelForCausalLM.from_pretrained(where, dtype=torch.float32, **extra)
    return model.eval(), tokenizer


def save(model, tokenizer, folder):
    """transformers will not save a model it calls quantised: move the numbers into a new one."""
    config = model.config
    config.__dict__.pop("quantization_config", None)
    plain = AutoModelForCausalLM.from_config(config).eval()
    plain.load_state_dict(model.state_dict())
    plain.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("text")
    parser.add_argument("--save", metavar="FOLDER")
    args = parser.parse_args()
    model, tokenizer = load(args.model)
    if args.save:
        save(model, tokenizer, args.save)
    with open(args.text, encoding="utf-8") as file:
        ids = tokenizer(file.read(), return_tensors="pt").input_ids
    with torch.no_grad():
        logprobs = torch.log_softmax(model(ids).logits.double(), -1)
    nll = -logprobs[0, :-1].gather(1, ids[0, 1:, None]).sum().item()
    print(json.dumps({
        "transformers": transformers.__version__,
        "torch": torch.__version__,
        "tokens": ids.shape[1],
        "nll": nll,
        "perplexity": math.exp(nll / (ids.shape[1] - 1)),
    }))


if __name__ == "__main__":
    main()
