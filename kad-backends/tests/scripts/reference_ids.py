"""Token ids and a rendered chat from other programs, for tests/it/real_files.rs.

usage: reference_ids.py MODEL.gguf > reference.json
needs: pip install llama-cpp-python jinja2   (ids: llama.cpp; chat: Jinja2 with transformers' settings)
"""
import json
import re
import sys
import unicodedata
from pathlib import Path

import jinja2
import llama_cpp
from jinja2.sandbox import ImmutableSandboxedEnvironment

path = sys.argv[1]
model = llama_cpp.Llama(path, vocab_only=True, verbose=False)

# The texts are those of the Rust tests, so that there is one list.
source = (Path(__file__).parent.parent / "it/support/mod.rs").read_text()
block = re.search(r"const TEXTS[^=]*= \[(.*?)\n\];", source, re.S).group(1)
literals = re.findall(r'"((?:[^"\\]|\\.)*)"', block)
unicode_escape = re.compile(r"\\u\{([0-9a-f]+)\}")
plain = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"'}
texts = [
    re.sub(r"\\(.)", lambda m: plain[m.group(1)], unicode_escape.sub(lambda m: chr(int(m.group(1), 16)), t))
    for t in literals
]

environment = ImmutableSandboxedEnvironment(
    trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
)
environment.filters["tojson"] = lambda x, indent=None: json.dumps(x, ensure_ascii=False, indent=indent)
template = environment.from_string(model.metadata["tokenizer.chat_template"])
chats = []
for messages in (
    [{"role": "user", "content": "What is the capital of France?"}],
    [
        {"role": "system", "content": "You are terse."},
        {"role": "user", "content": " a\n\nb "},
        {"role": "assistant", "content": "c"},
        {"role": "user", "content": "<d> & \"e\""},
    ],
):
    for add in (True, False):
        text = template.render(
            messages=messages,
            add_generation_prompt=add,
            tools=None,
            documents=None,
            bos_token=model._model.token_get_text(model.token_bos()),
            eos_token=model._model.token_get_text(model.token_eos()),
        )
        chats.append({"messages": messages, "add": add, "text": text})
texts += [chat["text"] for chat in chats]
# Qwen's tokenizer.json composes characters first (NFC); llama.cpp leaves that to its caller.
composes = model.metadata["general.architecture"] == "qwen2"
normal = (lambda t: unicodedata.normalize("NFC", t)) if composes else (lambda t: t)
# Without the beginning of sequence; special tokens in the text are found.
ids = [model.tokenize(normal(t).encode(), add_bos=False, special=True) for t in texts]
json.dump(
    {
        "program": f"llama-cpp-python {llama_cpp.__version__}, jinja2 {jinja2.__version__}",
        "texts": texts,
        "ids": ids,
        "chats": chats,
        "eos": model.token_eos(),
        "vocab": model.n_vocab(),
    },
    sys.stdout,
)
