#!/usr/bin/env python3
"""Train the models of Nano on the text of `world.py` and write Hugging Face folders.

Five models of the Llama architecture share one tokenizer:
  large-base (p), small-base (q)          read base text,
  small-aligned (q*), large-aligned (p*)  are fine-tuned from those on the
                                          alignment set,
  draft                                   reads base text, then the alignment set.

The small base reads less text than the large one and is too small to read and
work out problems well; the alignment set is small, as in life.  Every run appends to
log/<model>.jsonl, writes a checkpoint from which it can be resumed, and exports
models/<model>/ in the layout that programs for Hugging Face folders read.

  python3 train.py tokenizer         (only for a new vocabulary: tokenizer.json)
  python3 train.py large-base        (and so on, one model per process)
  python3 train.py all               everything, in order
  python3 train.py export large-base write models/ from the checkpoint again

A run stops at its token budget, or with --minutes at that wall-clock time,
whichever comes first.
"""

import argparse
import json
import math
import os
import time
from collections import namedtuple

import torch
import torch.nn as nn
import torch.nn.functional as F

import world

HERE = os.path.dirname(os.path.abspath(__file__))
END = "<|endoftext|>"  # ends a document and an answer; also named as bos
VOCABULARY = 512
ROW = 160              # tokens of a training row
CONTEXT = 256          # max_position_embeddings
SEED_HELD_TEXT = 99    # base text for the validation loss, never trained on

Shape = namedtuple("Shape", "width layers hidden heads kv_heads")
# `fall`: the last part of the run, over which the learning rate falls.
Plan = namedtuple("Plan", "shape start tokens rate fall batch data")

LARGE = Shape(192, 5, 512, 6, 2)
SMALL = Shape(96, 3, 256, 4, 2)
DRAFT = Shape(64, 2, 128, 4, 2)
# The large base stops while it still makes errors: without them, rules of deferral
# could not be told apart. Its rate falls at the end, because at a level rate the
# probabilities of the styles wander by several points from step to step.
PLANS = {
    "large-base": Plan(LARGE, None, 2_100_000, 2e-3, 0.15, 12, "base"),
    "small-base": Plan(SMALL, None, 1_800_000, 3e-3, 0.35, 16, "base"),
    "draft-base": Plan(DRAFT, None, 4_000_000, 4e-3, 0.35, 16, "base"),
    "small-aligned": Plan(SMALL, "small-base", 250_000, 1e-3, 0.35, 16, "alignment"),
    "large-aligned": Plan(LARGE, "large-base", 200_000, 3e-4, 0.35, 16, "alignment"),
    "draft": Plan(DRAFT, "draft-base", 200_000, 1.5e-3, 0.35, 16, "alignment"),
}
SHIPPED = [m for m in PLANS if m != "draft-base"]

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}{{ 'Question: ' + message['content'] + '\\n' }}"
    "{% elif message['role'] == 'assistant' %}"
    "{{ 'Answer: ' + message['content'] + eos_token }}"
    "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Answer:' }}{% endif %}")


# ------------------------------------------------------------------ tokenizer

def tokenizer_path():
    return os.path.join(HERE, "tokenizer.json")


def train_tokenizer(_args):
    """Byte-level BPE in which every digit is its own token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tok.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=[END], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    stream = world.base_documents()
    tok.train_from_iterator((next(stream) for _ in range(20_000)), trainer)
    assert tok.get_vocab_size() == VOCABULARY
    tok.save(tokenizer_path())
    print(f"tokenizer.json: {VOCABULARY} tokens")


def load_tokenizer(path=None):
    from tokenizers import Tokenizer
    return Tokenizer.from_file(path or tokenizer_path())


# ---------------------------------------------------------------------- model

class Norm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        x32 = x.float()
        scale = torch.rsqrt(x32.pow(2).mean(-1, keepdim=True) + 1e-5)
        return (x32 * scale * self.weight).to(x.dtype)


def rotation(positions, size, theta=10000.0):
    """cos and sin for rotate-half RoPE, shaped (..., positions, size)."""
    inverse = theta ** (-torch.arange(0, size, 2).float() / size)
    angle = positions.float()[..., None] * inverse
    angle = torch.cat([angle, angle], -1)
    return angle.cos(), angle.sin()


def rotate(x, cos, sin):
    a, b = x.chunk(2, -1)
    return x * cos + torch.cat([-b, a], -1) * sin


class Attention(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.shape, self.size = s, s.width // s.heads
        kv = s.kv_heads * self.size
        self.q_proj = nn.Linear(s.width, s.width, bias=False)
        self.k_proj = nn.Linear(s.width, kv, bias=False)
        self.v_proj = nn.Linear(s.width, kv, bias=False)
        self.o_proj = nn.Linear(s.width, s.width, bias=False)

    def forward(self, x, cos, sin, mask, cache):
        b, t, _ = x.shape
        s = self.shape
        q = self.q_proj(x).view(b, t, s.heads, self.size).transpose(1, 2)
        k = self.k_proj(x).view(b, t, s.kv_heads, self.size).transpose(1, 2)
        v = self.v_proj(x).view(b, t, s.kv_heads, self.size).transpose(1, 2)
        q, k = rotate(q, cos, sin).to(v.dtype), rotate(k, cos, sin).to(v.dtype)
        if cache is not None:
            if "k" in cache:
                k = torch.cat([cache["k"], k], 2)
                v = torch.cat([cache["v"], v], 2)
            cache["k"], cache["v"] = k, v
        group = s.heads // s.kv_heads
        k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
        y = attend(q, k, v, mask)
        return self.o_proj(y.transpose(1, 2).reshape(b, t, s.width))


def attend(q, k, v, mask):
    """Attention with a mask of allowed places, or causal when there is none.

    Written out, because on rows this short it is much quicker backwards than
    PyTorch's fused attention on a CPU.
    """
    if mask is None:
        mask = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool).tril()
    scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
    return scores.masked_fill(~mask, -1e4).softmax(-1).to(v.dtype) @ v


class Mlp(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.gate_proj = nn.Linear(s.width, s.hidden, bias=False)
        self.up_proj = nn.Linear(s.width, s.hidden, bias=False)
        self.down_proj = nn.Linear(s.hidden, s.width, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.self_attn, self.mlp = Attention(s), Mlp(s)
        self.input_layernorm = Norm(s.width)
        self.post_attention_layernorm = Norm(s.width)

    def forward(self, x, *rest):
        x = x + self.self_attn(self.input_layernorm(x), *rest)
        return x + self.mlp(self.post_attention_layernorm(x))


class Llama(nn.Module):
    """The names of the parameters are those of Hugging Face's Llama."""

    def __init__(self, s):
        super().__init__()
        self.shape = s
        self.model = nn.Module()
        self.model.embed_tokens = nn.Embedding(VOCABULARY, s.width)
        self.model.layers = nn.ModuleList(Layer(s) for _ in range(s.layers))
        self.model.norm = Norm(s.width)
        for name, w in self.named_parameters():
            if w.dim() == 2:
                small = name.endswith(("o_proj.weight", "down_proj.weight"))
                std = 0.02 if "embed" in name else 0.6 / math.sqrt(w.shape[1])
                nn.init.normal_(w, std=std / (math.sqrt(2 * s.layers) if small else 1))

    def forward(self, ids, positions=None, mask=None, cache=None):
        if positions is None:
            positions = torch.arange(ids.shape[1])
        cos, sin = rotation(positions, self.shape.width // self.shape.heads)
        if positions.dim() == 2:  # one row of positions per sequence
            cos, sin = cos[:, None], sin[:, None]
        x = self.model.embed_tokens(ids)
        for i, layer in enumerate(self.model.layers):
            x = layer(x, cos, sin, mask, None if cache is None else cache[i])
        return F.linear(self.model.norm(x), self.model.embed_tokens.weight)

    def new_cache(self):
        return [{} for _ in self.model.layers]


# ----------------------------------------------------------------------- data

def base_rows(tokenizer, seed=world.SEED_BASE, skip=0):
    """Endless rows of ROW + 1 tokens.

    Every row starts at the start of a document (so no bos token is needed) and
    is filled with further documents; the last one is cut.
    """
    stream = world.base_documents(seed)
    row, made = [], 0
    while True:
        texts = [next(stream) for _ in range(2000)]
        for encoded in tokenizer.encode_batch(texts):
            row += encoded.ids + [0]
            if len(row) > ROW:
                made += 1
                if made > skip:
                    yield row[:ROW + 1], [1] * ROW
                row = []


def alignment_rows(tokenizer, seed=5):
    """Endless rows of one question and answer each; only the answer is learned."""
    order = world.Dice(seed)
    rows = []
    for prompt, answer in world.alignment_pairs():
        a, b = tokenizer.encode(prompt).ids, tokenizer.encode(answer).ids + [0]
        assert len(a) + len(b) <= ROW + 1
        pad = ROW + 1 - len(a) - len(b)
        rows.append((a + b + [0] * pad,
                     [0] * (len(a) - 1) + [1] * len(b) + [0] * pad))
    while True:
        bag = list(rows)
        while bag:
            yield bag.pop(order.below(len(bag)))


def batches(rows, size):
    while True:
        pairs = [next(rows) for _ in range(size)]
        ids = torch.tensor([r for r, _ in pairs])
        weights = torch.tensor([w for _, w in pairs], dtype=torch.float)
        longest = int(weights.sum(0).nonzero().max()) + 1
        yield ids[:, :longest + 1], weights[:, :longest]


def loss_of(model, ids, weights, forward=None):
    with torch.autocast("cpu", torch.bfloat16, enabled=model.bf16):
        logits = (model if forward is None else forward)(ids[:, :-1])
    losses = F.cross_entropy(logits.float().reshape(-1, VOCABULARY),
                             ids[:, 1:].reshape(-1), reduction="none")
    return (losses * weights.reshape(-1)).sum() / weights.sum()


def validation_batches(tokenizer, data):
    """Held text: other base documents, or validation problems with answers."""
    if data == "base":
        return [next(batches(base_rows(tokenizer, SEED_HELD_TEXT), 48))]
    dice = world.Dice(SEED_HELD_TEXT)
    pairs = []
    for _ in range(48):
        p = world.draw_problem(dice, "validation")
        a = tokenizer.encode(world.asked(p.question)).ids
        b = tokenizer.encode(world.aligned_answer(p)).ids + [0]
        pad = ROW + 1 - len(a) - len(b)
        pairs.append((a + b + [0] * pad,
                      [0] * (len(a) - 1) + [1] * len(b) + [0] * pad))
    return [next(batches(iter(pairs), 48))]


def validation_loss(model, held):
    model.eval()
    with torch.no_grad():
        out = sum(loss_of(model, *b).item() for b in held) / len(held)
    model.train()
    return out


# ------------------------------------------------------------------- training

def checkpoint_path(name, folder="checkpoints"):
    return os.path.join(HERE, folder, f"{name}.pt")


def rate_at(plan, progress, warm):
    """Warm-up, then level, then down to a twentieth over the last part."""
    down = (progress - (1 - plan.fall)) / plan.fall if plan.fall else 0.0
    return plan.rate * min(1.0, warm) * (1 - 0.95 * min(1.0, max(0.0, down)))


class Muon(torch.optim.Optimizer):
    """Momentum whose step is made orthogonal, for the matrices of the layers.

    It learns from fewer tokens than AdamW, and tokens are what two cores lack.
    The factor 0.2 sqrt(max(rows, columns)) gives steps of AdamW's size, so both
    use one learning rate.
    """

    def __init__(self, params, lr, half):
        super().__init__(params, {"lr": lr, "momentum": 0.95, "decay": 0.05})
        self.half = half

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for w in group["params"]:
                state = self.state[w]
                if not state:
                    state["m"] = torch.zeros_like(w)
                m = state["m"].lerp_(w.grad, 1 - group["momentum"])
                step = orthogonal(w.grad.lerp(m, group["momentum"]), self.half)
                w.mul_(1 - group["lr"] * group["decay"])
                w.add_(step, alpha=-group["lr"] * 0.2 * max(w.shape) ** 0.5)


def orthogonal(g, half):
    """Nearly the orthogonal factor of g, by five Newton-Schulz iterations."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = g.T if g.shape[0] > g.shape[1] else g
    x = x / (x.norm() + 1e-7)
    x = x.to(torch.bfloat16) if half else x
    for _ in range(5):
        y = x @ x.T
        x = a * x + (b * y + c * (y @ y)) @ x
    x = x.to(g.dtype)
    return x.T if g.shape[0] > g.shape[1] else x


class Optimizers:
    """Muon for the layers' matrices, AdamW for the embedding and the norms."""

    def __init__(self, model, plan):
        matrices = [w for n, w in model.named_parameters()
                    if w.dim() == 2 and "embed" not in n]
        others = [w for n, w in model.named_parameters()
                  if w.dim() == 1 or "embed" in n]
        self.parts = [Muon(matrices, plan.rate, model.bf16),
                      torch.optim.AdamW(others, lr=plan.rate, betas=(0.9, 0.98),
                                        weight_decay=0.0)]

    def rate(self, value):
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = value

    def zero_grad(self):
        for part in self.parts:
            part.zero_grad()

    def step(self):
        for part in self.parts:
            part.step()

    def state_dict(self):
        return [part.state_dict() for part in self.parts]

    def load_state_dict(self, states):
        for part, state in zip(self.parts, states):
            part.load_state_dict(state)


def load_model(name):
    model = Llama(PLANS[name].shape)
    model.bf16 = False
    state = torch.load(checkpoint_path(name), map_location="cpu")
    model.load_state_dict(state["model"])
    return model, state


def prepare(name, args):
    """The model, its optimizer and where it stands."""
    plan = PLANS[name]
    at = {"step": 0, "tokens": 0, "rows": 0, "seconds": 0.0}
    optimizer_state = None
    if args.resume and os.path.exists(checkpoint_path(name)):
        model, state = load_model(name)
        at, optimizer_state = state["at"], state["optimizer"]
    elif plan.start:
        model, _ = load_model(plan.start)
    else:
        model = Llama(plan.shape)
    model.bf16 = args.bf16
    optimizer = Optimizers(model, plan)
    if optimizer_state:
        optimizer.load_state_dict(optimizer_state)
    return model, optimizer, at


def save(name, model, optimizer, at):
    os.makedirs(os.path.join(HERE, "checkpoints"), exist_ok=True)
    path = checkpoint_path(name)
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(),
                "at": at}, path + ".part")
    os.replace(path + ".part", path)


def train(name, args):
    """Train one model to its budget, logging, saving and exporting on the way."""
    torch.manual_seed(1)
    plan = PLANS[name]
    budget = args.tokens or plan.tokens
    tokenizer = load_tokenizer()
    model, optimizer, at = prepare(name, args)
    held = validation_batches(tokenizer, plan.data)
    rows = (base_rows(tokenizer, skip=at["rows"]) if plan.data == "base"
            else alignment_rows(tokenizer))
    source = batches(rows, plan.batch)
    forward = torch.compile(model) if args.compile else None
    log = open_log(name, resume=at["step"] > 0)
    began, spent, total, count = time.time(), at["seconds"], 0.0, 0
    saved, progress = time.time(), 0.0
    while progress < 1:
        ids, weights = next(source)
        optimizer.rate(rate_at(plan, progress, (at["step"] + 1) / 100))
        loss = loss_of(model, ids, weights, forward)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        total, count = total + loss.item(), count + 1
        at["step"] += 1
        at["rows"] += plan.batch
        at["tokens"] += int(weights.numel())
        at["seconds"] = spent + time.time() - began
        progress = at["tokens"] / budget
        if args.minutes:
            progress = max(progress, at["seconds"] / 60 / args.minutes)
        if at["step"] % args.every == 0 or progress >= 1:
            write_log(log, at, total / count, validation_loss(model, held))
            total, count = 0.0, 0
        if time.time() - saved > 120 or progress >= 1:
            save(name, model, optimizer, at)
            saved = time.time()
    if name in SHIPPED:
        export(name)


def open_log(name, resume):
    os.makedirs(os.path.join(HERE, "log"), exist_ok=True)
    return open(os.path.join(HERE, "log", f"{name}.jsonl"),
                "a" if resume else "w", encoding="ascii")


def write_log(log, at, loss, held_loss):
    row = {"step": at["step"], "tokens": at["tokens"], "loss": round(loss, 4),
           "validation_loss": round(held_loss, 4),
           "seconds": round(at["seconds"], 1)}
    log.write(json.dumps(row) + "\n")
    log.flush()
    print(json.dumps(row), flush=True)


# --------------------------------------------------------------------- export

def config_of(shape):
    return {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama",
        "hidden_size": shape.width, "intermediate_size": shape.hidden,
        "num_hidden_layers": shape.layers, "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.width // shape.heads, "hidden_act": "silu",
        "max_position_embeddings": CONTEXT, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "tie_word_embeddings": True,
        "attention_bias": False, "mlp_bias": False, "attention_dropout": 0.0,
        "vocab_size": VOCABULARY, "bos_token_id": 0, "eos_token_id": 0,
        "initializer_range": 0.02, "use_cache": True, "torch_dtype": "float16"}


def write_json(path, value):
    with open(path, "w", encoding="utf-8", newline="\n") as f:
        json.dump(value, f, indent=2, ensure_ascii=False)
        f.write("\n")


def write_safetensors(path, tensors):
    """The safetensors format: header length, JSON header, raw little-endian data."""
    header, offset, parts = {"__metadata__": {"format": "pt"}}, 0, []
    for name in sorted(tensors):
        data = tensors[name].detach().to(torch.float16).contiguous().numpy()
        raw = data.astype("<f2").tobytes()
        header[name] = {"dtype": "F16", "shape": list(data.shape),
                        "data_offsets": [offset, offset + len(raw)]}
        offset += len(raw)
        parts.append(raw)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path + ".part", "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text + b"".join(parts))
    os.replace(path + ".part", path)  # a program may have mapped the old file


def read_safetensors(path):
    """The tensors of a file written by write_safetensors, as f32."""
    with open(path, "rb") as f:
        header = json.loads(f.read(int.from_bytes(f.read(8), "little")))
        data = f.read()
    out = {}
    for name, entry in header.items():
        if name != "__metadata__":
            a, b = entry["data_offsets"]
            flat = torch.frombuffer(bytearray(data[a:b]), dtype=torch.float16)
            out[name] = flat.float().reshape(entry["shape"])
    return out


def load_shipped(name):
    """A model from models/, as any other program would see it."""
    model = Llama(PLANS[name].shape)
    model.bf16 = False
    path = os.path.join(HERE, "models", name, "model.safetensors")
    model.load_state_dict(read_safetensors(path))
    return model.eval()


def export(name):
    """Write models/<name>/ from the checkpoint."""
    model, state = load_model(name)
    folder = os.path.join(HERE, "models", name)
    os.makedirs(folder, exist_ok=True)
    write_json(os.path.join(folder, "config.json"), config_of(model.shape))
    write_json(os.path.join(folder, "generation_config.json"),
               {"bos_token_id": 0, "eos_token_id": 0, "do_sample": True,
                "temperature": 0.7, "max_new_tokens": 96})
    write_json(os.path.join(folder, "tokenizer_config.json"), {
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": END,
        "eos_token": END, "add_bos_token": False, "add_eos_token": False,
        "clean_up_tokenization_spaces": False, "model_max_length": CONTEXT,
        "chat_template": CHAT_TEMPLATE})
    with open(tokenizer_path(), encoding="utf-8") as f:
        text = f.read()
    with open(os.path.join(folder, "tokenizer.json"), "w", encoding="utf-8",
              newline="\n") as f:
        f.write(text)
    write_safetensors(os.path.join(folder, "model.safetensors"),
                      model.state_dict())
    count = sum(w.numel() for w in model.parameters())
    print(f"models/{name}: {count} parameters after {state['at']['tokens']} tokens")


def train_all(args):
    if not os.path.exists(tokenizer_path()):
        train_tokenizer(args)
    for name in PLANS:
        train(name, args)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = parser.add_subparsers(dest="command", required=True)
    sub.add_parser("tokenizer", help="train the tokenizer"
                   ).set_defaults(run=train_tokenizer)
    for name in list(PLANS) + ["all"]:
        c = sub.add_parser(name, help=f"train {name}")
        c.add_argument("--tokens", type=int, help="token budget")
        c.add_argument("--minutes", type=float, help="wall-clock budget")
        c.add_argument("--threads", type=int, default=1)
        c.add_argument("--every", type=int, default=100,
                       help="steps between log lines (default %(default)s)")
        c.add_argument("--resume", action="store_true",
                       help="continue from the checkpoint")
        c.add_argument("--bf16", action="store_true",
                       help="bfloat16 matrix products (weights stay f32)")
        c.add_argument("--compile", action="store_true",
                       help="torch.compile the training pass")
        c.set_defaults(run=train_all if name == "all"
                       else lambda a, n=name: train(n, a))
    e = sub.add_parser("export", help="write models/ from checkpoints")
    e.add_argument("names", nargs="+", choices=SHIPPED)
    e.set_defaults(run=lambda a: [export(n) for n in a.names])
    args = parser.parse_args()
    torch.set_num_threads(getattr(args, "threads", 1))
    args.run(args)


if __name__ == "__main__":
    main()
