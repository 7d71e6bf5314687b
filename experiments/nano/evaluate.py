#!/usr/bin/env python3
"""Evaluate the models of Nano and deferral between them on validation problems.

This is the instrument with which the world and the training were chosen, so it
reads data/validation.jsonl only; the test problems are left to the Rust program.

A problem counts as solved when the answer is given in the asked form: the last
"The answer is N." of the continuation has the gold N.  Sampling is at
--temperature; the deferral rule d looks at p at --decision-temperature, and the
next token is drawn from  (1 - d(y)) p(y) + q*(y) * sum of d p,  both tempered.

  python3 evaluate.py                     the standard table
  python3 evaluate.py --only dual:0.4     one row
  python3 evaluate.py --content           what each model reads and works out
  python3 evaluate.py --places            how unsure p is where alignment decides
"""

import argparse
import json
import os
import re

import torch
import torch.nn.functional as F

import train
import world

ANSWER = re.compile(r"The answer is (-?\d+)\.")
ANY_NUMBER = re.compile(r"(\d+)")
LIMIT = 96  # new tokens

STANDARD = (["p", "q", "q*", "p*", "draft", "greedy:p", "greedy:q*", "greedy:p*"]
            + [f"nudging:{x}" for x in (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)]
            + [f"primal:{x}" for x in (0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)]
            + [f"dual:{x}" for x in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)]
            + [f"bet:{x}" for x in (0.0, 0.1, 0.2)]
            + [f"random:{x}" for x in (0.05, 0.1, 0.15, 0.2, 0.4, 0.8)]
            + ["reward"] + [f"self-dual:{x}" for x in (0.2, 0.4, 0.6)])
MODELS = {"p": "large-base", "q": "small-base", "q*": "small-aligned",
          "p*": "large-aligned", "draft": "draft"}


# ---------------------------------------------------------------------- rules

def deferred(rule, value, p, fallback):
    """d(y) of every row, p and fallback at the decision temperature; a coin that
    defers with probability r whatever is drawn has d = r."""
    if rule == "random":
        return torch.full_like(p, value)
    if rule == "nudging":
        return (p.amax(-1, keepdim=True) < value).float().expand_as(p)
    if rule in ("dual", "self-dual"):
        return (p < value).float()
    if rule == "bet":
        return (p < fallback.amax(-1, keepdim=True) - value).float()
    if rule == "primal":
        # Defer the least likely tokens while their mass fits the budget.
        ordered, index = p.sort(-1)
        fits = (ordered.cumsum(-1) <= value).float()
        return torch.zeros_like(p).scatter(-1, index, fits)
    raise ValueError(rule)


def step_distribution(method, logits, args):
    """The distribution of the next token, and the deferred mass of every row."""
    rule, _, value = method.partition(":")
    if rule == "greedy":
        best = logits[value].argmax(-1)
        return F.one_hot(best, train.VOCABULARY).float(), torch.zeros(len(best))
    soft = {k: (v / args.temperature).softmax(-1) for k, v in logits.items()}
    if rule in MODELS:
        return soft[rule], torch.zeros(soft[rule].shape[0])
    if rule == "reward":
        log = (logits["p"] + logits["q*"].log_softmax(-1)
               - logits["q"].log_softmax(-1))
        return (log / args.temperature).softmax(-1), torch.zeros(log.shape[0])
    other = "p" if rule == "self-dual" else "q*"
    sure = {k: (logits[k] / args.decision_temperature).softmax(-1)
            for k in ("p", other)}
    d = deferred(rule, float(value), sure["p"], sure[other])
    mass = (d * soft["p"]).sum(-1)
    return (1 - d) * soft["p"] + mass[:, None] * soft[other], mass


def needed(method):
    rule, _, value = method.partition(":")
    if rule in MODELS:
        return [rule]
    if rule == "greedy":
        return [value]
    return {"reward": ["p", "q*", "q"], "self-dual": ["p"]}.get(rule, ["p", "q*"])


# ----------------------------------------------------------------- generation

class Reader:
    """A model with its cache over a batch of left-padded prompts."""

    def __init__(self, model, allowed):
        self.model, self.cache, self.allowed = model, model.new_cache(), allowed

    def read(self, ids, positions):
        """Feed ids; returns the last logits."""
        new = ids.shape[1]
        total = self.allowed.shape[1]
        causal = torch.ones(total, total, dtype=torch.bool).tril()[-new:]
        mask = causal[None, None] & self.allowed[:, None, None, :]
        if new > 1:  # a padded place may look at itself, so that no row is empty
            mask = mask | torch.eye(total, dtype=torch.bool)[None, None]
        return self.model(ids, positions, mask, self.cache)[:, -1].float()

    def grow(self):
        one = torch.ones(self.allowed.shape[0], 1, dtype=torch.bool)
        self.allowed = torch.cat([self.allowed, one], 1)


def generate(models, prompts, method, args):
    """Continuations of the prompts, with the mean deferred mass per token."""
    longest = max(map(len, prompts))
    pad = torch.tensor([longest - len(p) for p in prompts])
    ids = torch.tensor([[0] * (longest - len(p)) + p for p in prompts])
    allowed = torch.arange(longest)[None] >= pad[:, None]
    positions = (torch.arange(longest)[None] - pad[:, None]).clamp(min=0)
    readers = {k: Reader(models[k], allowed) for k in needed(method)}
    out = [[] for _ in prompts]
    alive = torch.ones(len(prompts), dtype=torch.bool)
    mass_sum, steps = 0.0, 0
    for _ in range(LIMIT):
        logits = {k: r.read(ids, positions) for k, r in readers.items()}
        distribution, mass = step_distribution(method, logits, args)
        token = torch.multinomial(distribution, 1)
        mass_sum += float(mass[alive].sum())
        steps += int(alive.sum())
        for i in alive.nonzero().flatten().tolist():
            if token[i] == 0:
                alive[i] = False
            else:
                out[i].append(int(token[i]))
        if not alive.any():
            break
        ids, positions = token, positions[:, -1:] + 1
        for r in readers.values():
            r.grow()
    return out, mass_sum / steps, steps / len(prompts)


def evaluate(models, tokenizer, items, method, args):
    torch.manual_seed(args.seed)
    right = form = 0
    masses, lengths = [], []
    by_steps = {}
    for start in range(0, len(items), args.batch):
        some = items[start:start + args.batch]
        prompts = [tokenizer.encode(world.asked(x["question"])).ids for x in some]
        with torch.no_grad():
            texts, mass, length = generate(models, prompts, method, args)
        masses.append(mass)
        lengths.append(length)
        for item, ids in zip(some, texts):
            text = tokenizer.decode(ids)
            found = (ANY_NUMBER if args.any_form else ANSWER).findall(text)
            good = bool(found) and found[-1] == item["answer"]
            right, form = right + good, form + bool(found)
            by_steps.setdefault(item["steps"], []).append(good)
            if args.show > 0:
                print(repr(text), item["answer"], good)
                args.show -= 1
    each = " ".join(f"{100 * sum(v) / len(v):5.1f}"
                    for _, v in sorted(by_steps.items()))
    n = len(items)
    return (100 * right / n, 100 * form / n, sum(masses) / len(masses),
            sum(lengths) / len(lengths), each)


# -------------------------------------------------------------------- content

def content(models, tokenizer, items):
    """How often the most likely tokens are right, given the right text before.

    In each equation of the aligned answer: the operands with the operator (they
    must be read from the question), and the result (it must be worked out).
    """
    dice = world.Dice(train.SEED_HELD_TEXT)
    problems = [world.draw_problem(dice, "validation") for _ in range(items)]
    print(f"{items} validation problems, the right text given before each token")
    print("| model | operands right % | results right % |")
    print("| --- | ---: | ---: |")
    for short, model in models.items():
        read = [0, 0, 0]
        for problem in problems:
            count_content(model, tokenizer, problem, read)
        print(f"| {short} | {100 * read[0] / read[2]:.1f} | "
              f"{100 * read[1] / read[2]:.1f} |", flush=True)


def count_content(model, tokenizer, problem, read):
    """Add (right operands, right results, equations) of one answer to `read`."""
    prompt = tokenizer.encode(world.asked(problem.question)).ids
    answer = tokenizer.encode(world.aligned_answer(problem))
    ids = torch.tensor(prompt + answer.ids)
    with torch.no_grad():
        best = model(ids[None, :-1])[0].argmax(-1)
    right = (best == ids[1:])[len(prompt) - 1:].tolist()
    start = None
    for i, token in enumerate(answer.tokens):
        if token == ":":
            start = i + 1
        elif token == "Ġ=":
            end = i + 1
            while answer.tokens[end] != ".":
                end += 1
            read[0] += all(right[start:i])
            read[1] += all(right[i + 1:end])
            read[2] += 1


# --------------------------------------------------------------------- places

def decision_places(problem):
    """(place, text so far, asked continuation) wherever alignment decides."""
    text = world.asked(problem.question)
    for i, step in enumerate(problem.steps, 1):
        yield "opening" if i == 1 else "separator", text, " Step"
        text += f" Step {i}: {world.equation(step)}"
        yield "mark", text, "."
        text += "."
    yield "closing", text, " The"
    yield "ending", f"{text} The answer is {problem.answer}.", train.END


def places(model, tokenizer, items):
    """How likely p finds the asked form, the right text given before: the means of
    p(asked token) and max p, and how often the asked token is the most likely."""
    dice = world.Dice(train.SEED_HELD_TEXT)
    sums = {}
    for _ in range(items):
        problem = world.draw_problem(dice, "validation")
        for place, text, asked in decision_places(problem):
            with torch.no_grad():
                ids = torch.tensor([tokenizer.encode(text).ids])
                p = model(ids)[0, -1].softmax(-1)
            token = tokenizer.encode(asked).ids[0]
            row = sums.setdefault(place, [0, 0.0, 0.0, 0])
            for k, x in enumerate((1, float(p[token]), float(p.max()),
                                   int(p.argmax() == token))):
                row[k] += x
    print(f"p on {items} validation problems, the right text given before each place")
    print("| place | mean p(asked) | mean max p | asked is the most likely % |")
    print("| --- | ---: | ---: | ---: |")
    for place, (n, asked, most, mode) in sums.items():
        print(f"| {place} | {asked / n:.3f} | {most / n:.3f} | {100 * mode / n:.1f} |")


def load_models():
    """The exported models that are there, by their short names."""
    return {short: train.load_shipped(name) for short, name in MODELS.items()
            if os.path.exists(os.path.join(train.HERE, "models", name))}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=600)
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("--decision-temperature", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--batch", type=int, default=300)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--show", type=int, default=0,
                        help="print this many continuations")
    parser.add_argument("--content", action="store_true",
                        help="print what each model reads and works out")
    parser.add_argument("--any-form", action="store_true",
                        help="count the last number, in whatever form it stands")
    parser.add_argument("--places", action="store_true",
                        help="print how unsure p is where alignment decides")
    parser.add_argument("--only", nargs="*", help="rows instead of the table")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with open(os.path.join(train.HERE, "data", "validation.jsonl"),
              encoding="ascii") as f:
        items = [json.loads(line) for line in f][:args.items]
    models = load_models()
    tokenizer = train.load_tokenizer(
        os.path.join(train.HERE, "models", "large-base", "tokenizer.json"))
    if args.content:
        return content(models, tokenizer, args.items)
    if args.places:
        return places(models["p"], tokenizer, args.items)
    print(f"{len(items)} validation problems, T = {args.temperature}, decision "
          f"T = {args.decision_temperature}, seed {args.seed}")
    print("| method | correct % | in form % | deferred mass | tokens | by steps 1 2 3 |")
    print("| --- | ---: | ---: | ---: | ---: | --- |")
    for method in args.only or STANDARD:
        if any(k not in models for k in needed(method)):
            continue
        right, form, mass, length, each = evaluate(
            models, tokenizer, items, method, args)
        print(f"| {method} | {right:.1f} | {form:.1f} | {mass:.3f} | "
              f"{length:.1f} | {each} |", flush=True)


if __name__ == "__main__":
    main()
