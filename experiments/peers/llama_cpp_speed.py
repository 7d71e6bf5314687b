#!/usr/bin/env python3
"""Tokens per second of llama.cpp for one sequence, to compare with `kad generate`.

  pip install xllamacpp            # llama.cpp in a prebuilt wheel
  python3 llama_cpp_speed.py MODEL.gguf --threads 2 --repeat 5

Greedy, end tokens ignored, no prompt cache; prints one line of JSON per repetition with llama.cpp's
own timings. A first, unreported repetition warms up.
"""

import argparse
import importlib.metadata
import json

import xllamacpp


def server(model, threads):
    params = xllamacpp.CommonParams()
    params.model.path = model
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    params.n_ctx = 1024
    params.n_parallel = 1
    return xllamacpp.Server(params)


def complete(running, prompt, tokens):
    answer = running.handle_completions({
        "prompt": prompt,
        "max_tokens": tokens,
        "temperature": 0.0,
        "cache_prompt": False,
        "ignore_eos": True,
    })
    return json.loads(answer) if isinstance(answer, str) else answer


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--prompt", default="The history of the lighthouse begins")
    args = parser.parse_args()
    running = server(args.model, args.threads)
    complete(running, args.prompt, 16)
    for _ in range(args.repeat):
        timings = complete(running, args.prompt, args.tokens)["timings"]
        print(json.dumps({
            "xllamacpp": importlib.metadata.version("xllamacpp"),
            "threads": args.threads,
            "prompt_tokens": timings["prompt_n"],
            "new_tokens": timings["predicted_n"],
            "tokens_per_second": round(timings["predicted_per_second"], 1),
        }), flush=True)


if __name__ == "__main__":
    main()
