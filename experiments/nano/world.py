#!/usr/bin/env python3
"""The world of Nano: a small, deterministic generator of text and problems.

What it makes:
  base text      what the base models read: equations, chains of equations,
                 stories, facts, and questions in exactly the asked form that
                 are followed by many kinds of continuation, none dominant;
  alignment set  a small set of question -> worked steps -> "The answer is N.";
  problems       validation and test problems with their gold answers.

Why it is made so: token-level deferral can only help where the base model is
*unsure* at the places alignment decides (how to open an answer, how to close
it) and *sure* of the content (which numbers, which sum).  A base that never saw
the asked form, or always continues it in one way, is confidently unaligned.

Separation: every problem has a key (its operations and numbers, without names
and things).  A hash of the key puts it into exactly one of train, validation
and test, so no held-out combination of numbers is ever asked in training text.
Chains of equations are held out in the same way: no two or three equations of a
training text that start each from the result of the one before are the working
of a problem of validation or test. Single equations ("34 + 27 = 61.") are not.

Only the standard library is used, and of `random` only `Random(seed).random()`,
whose sequence is the same in every Python 3.

  python3 world.py problems          write data/validation.jsonl and data/test.jsonl
  python3 world.py check             verify separation and the written files
  python3 world.py sample base -n 8  print some base text
"""

import argparse
import hashlib
import json
import os
import random
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))

# Seeds of the independent streams.
SEED_BASE, SEED_ALIGN, SEED_VALIDATION, SEED_TEST = 11, 22, 33, 44
N_ALIGN, N_VALIDATION, N_TEST = 400, 600, 1500

NAMES = ("Tom Mia Ben Ana Sam Eva Max Ida Leo Amy Dan Zoe Tim Liv Jon Kim "
         "Roy Una Pat Fay Gus Ivy Ned Joy").split()
THINGS = ("apples pears coins books cards shells stones stamps pens cups "
          "eggs nuts plums beads balls keys rings seeds toys hats").split()
HOLDERS = "boxes bags baskets jars drawers".split()
PLACES = "garden market school forest river kitchen village hill".split()
COLOURS = "red green blue white black yellow brown grey".split()
ANIMALS = {"cat": 4, "dog": 4, "bird": 2, "ant": 6, "spider": 8, "horse": 4,
           "bee": 6, "cow": 4, "hen": 2, "crab": 10}
THING_COLOURS = {"snow": "white", "grass": "green", "coal": "black",
                 "the sky": "blue", "a lemon": "yellow", "a cherry": "red",
                 "chocolate": "brown", "an old stone": "grey"}
TIMES = [("an hour", 60, "minutes"), ("a minute", 60, "seconds"),
         ("a day", 24, "hours"), ("a week", 7, "days"),
         ("a year", 12, "months"), ("a dozen", 12, "pieces")]

MAX_VALUE = 99  # no number of the world is larger

# Base documents that are searched for held-out chains: more than any shipped
# model has read.
DOCUMENTS_READ = 110_000


# ---------------------------------------------------------------- randomness

class Dice:
    """Random choices built on `random()` alone, so that they never change."""

    def __init__(self, seed):
        self._next = random.Random(seed).random

    def below(self, n):
        return int(self._next() * n)

    def between(self, low, high):
        return low + self.below(high - low + 1)

    def pick(self, items):
        return items[self.below(len(items))]

    def weighted(self, pairs):
        """Pick a key of [(key, weight), ...]."""
        x = self._next() * sum(w for _, w in pairs)
        for key, weight in pairs:
            x -= weight
            if x < 0:
                return key
        return pairs[-1][0]

    def chance(self, probability):
        return self._next() < probability


# ------------------------------------------------------------------ problems

GAIN = ["{n} buys {b} more.", "{n} finds {b} more.", "{m} gives {n} {b} more.",
        "{n} gets {b} more from {m}."]
LOSS = ["{n} loses {b}.", "{n} gives {b} to {m}.", "{n} sells {b}.",
        "{m} takes {b} from {n}."]


class Problem:
    """A story in numbers: operations with operands, dressed in names and things.

    `steps` is a list of (a, op, b, result); the first operand of each step but
    the first is the result of the step before.
    """

    def __init__(self, steps, sentences, name, thing):
        self.steps, self.sentences = steps, sentences
        self.name, self.thing = name, thing
        self.question = " ".join(sentences) + (
            f" How many {thing} does {name} have now?")
        self.answer = steps[-1][3]

    @property
    def key(self):
        return key_of(self.steps)

    @property
    def part(self):
        return part_of(self.key)


def part_of(key):
    """train, validation or test, by a hash of the problem's key."""
    bucket = hashlib.sha256(key.encode()).digest()[0] % 16
    return {0: "test", 1: "test", 2: "validation"}.get(bucket, "train")


def first_step(dice):
    """The first operation: mostly sums and differences, some products."""
    op = dice.weighted([("+", 45), ("-", 40), ("*", 15)])
    if op == "*":
        a = dice.between(2, 12)
        return a, op, dice.between(2, min(12, MAX_VALUE // a))
    return next_operation(dice, dice.between(11, 88), op)


def next_operation(dice, a, op=None):
    """A sum or difference that starts from `a` and stays within the world."""
    op = op or ("+" if dice.chance(0.5) else "-")
    if op == "+" and a > MAX_VALUE - 3:
        op = "-"
    if op == "-" and a < 5:
        op = "+"
    high = MAX_VALUE - a if op == "+" else a - 1
    return a, op, dice.between(2, high)


def result_of(a, op, b):
    return a + b if op == "+" else a - b if op == "-" else a * b


def draw_steps(dice, count):
    a, op, b = first_step(dice)
    steps = [(a, op, b, result_of(a, op, b))]
    while len(steps) < count:
        a, op, b = next_operation(dice, steps[-1][3])
        steps.append((a, op, b, result_of(a, op, b)))
    return steps


def dress(dice, steps):
    """Tell the steps as a story."""
    name = dice.pick(NAMES)
    other = dice.pick([x for x in NAMES if x != name])
    thing = dice.pick(THINGS)
    sentences = []
    for i, (a, op, b, _) in enumerate(steps):
        if i == 0 and op == "*":
            sentences.append(
                f"{name} has {a} {dice.pick(HOLDERS)} with {b} {thing} each.")
            continue
        if i == 0:
            sentences.append(f"{name} has {a} {thing}.")
        event = dice.pick(GAIN if op == "+" else LOSS)
        sentences.append(event.format(n=name, m=other, b=b))
    return Problem(steps, sentences, name, thing)


def key_of(steps):
    """The key of a working: its first number, then operations and operands."""
    return f"{steps[0][0]}" + "".join(f"{op}{b}" for _, op, b, _ in steps)


def tellable(steps):
    """Whether no run of two or three of the steps is held out as a problem."""
    runs = (steps[i:i + n] for n in (2, 3) for i in range(len(steps) - n + 1))
    return all(part_of(key_of(run)) == "train" for run in runs)


def draw_told_steps(dice, count):
    """Steps that training text may tell; their number is kept."""
    while True:
        steps = draw_steps(dice, count)
        if tellable(steps):
            return steps


def draw_problem(dice, part, count=None):
    """A problem of the given part, by rejection."""
    count = count or dice.weighted([(1, 3), (2, 4), (3, 3)])
    draw = draw_told_steps if part == "train" else draw_steps
    while True:
        problem = dress(dice, draw(dice, count))
        if problem.part == part:
            return problem


# ------------------------------------------------------------- answer styles

def equation(step):
    a, op, b, r = step
    return f"{a} {op} {b} = {r}"


def asked(question):
    """The asked form; an answer follows directly, with a leading space."""
    return f"Question: {question}\nAnswer:"


def aligned_steps(problem):
    return "".join(f" Step {i}: {equation(s)}."
                   for i, s in enumerate(problem.steps, 1))


def aligned_answer(problem):
    """The answer as alignment wants it."""
    return f"{aligned_steps(problem)} The answer is {problem.answer}."


def mark(dice, problem):
    """What follows an equation in base text; alignment wants a full stop."""
    return dice.weighted([(",", 28), (".", 18), (f" {problem.thing}.", 18),
                          (";", 18), ("!", 18)])


def told_step(dice, problem, i):
    """Step i (from 0) as base text tells it, each in a way of its own.

    The aligned way is one of the rarer ones, so that it is neither what a base
    model prefers nor what it leaves out.
    """
    step = problem.steps[i]
    a, op, b, r = step
    way = dice.weighted([("first", 25), ("count", 18), ("plain", 15),
                         ("list", 14), ("aligned", 14), ("retold", 10)])
    if way == "retold":
        return (f" {retold_sentences(problem)[i]} Now there are {r} "
                f"{problem.thing}.")
    return {"first": f" {'then' if i else 'First'} {a} {op} {b} makes {r}",
            "count": f" Let us count {equation(step)}",
            "plain": f" {equation(step)}",
            "list": f"\n- {equation(step)}",
            "aligned": f" Step {i + 1}: {equation(step)}"}[way] + mark(dice, problem)


def told_steps(dice, problem):
    """Worked steps in base text."""
    return "".join(told_step(dice, problem, i) for i in range(len(problem.steps)))


def retold_steps(problem):
    return "".join(
        f" {sentence} Now there are {step[3]} {problem.thing}."
        for sentence, step in zip(retold_sentences(problem), problem.steps))


def retold_sentences(problem):
    """One sentence per step (the opening joins the first event)."""
    extra = len(problem.sentences) - len(problem.steps)
    head = " ".join(problem.sentences[:extra + 1])
    return [head] + problem.sentences[extra + 1:]


def closing(dice, problem):
    """How worked steps end in base text: in many ways, or not at all."""
    name, thing, answer = problem.name, problem.thing, problem.answer
    return dice.weighted([
        (f" So {name} has {answer} {thing} now.", 24),
        (f" That makes {answer}.", 14),
        (f" The answer is {answer}.", 13),
        (f" It is {answer} {thing}.", 12),
        (f" Now there are {answer} {thing}.", 9),
        (f" {answer} {thing} in all.", 8),
        (" Done.", 7),
        (" I hope that is right.", 6),
        (f" Ask {dice.pick(NAMES)} if you do not believe it.", 6),
        ("", 6),
    ])


def shrug(dice):
    return " " + dice.pick([
        "I do not know.", "Who knows?", "Hard to say.", "Nobody can tell.",
        f"Ask {dice.pick(NAMES)}.", "That is a good question.",
        "Too many to count.", "Why do you ask?"])


def afterthought(dice):
    """What may follow a finished answer in base text; rarely the end at once."""
    return dice.weighted([
        (" What a story!", 26),
        ("", 19),
        ("\n" + asked(trivia(dice)[0]), 12),
        (f" {dice.pick(NAMES)} agrees.", 12),
        (" Easy.", 11),
        (" " + fact(dice), 10),
        (" " + anecdote(dice), 10)])


def continuation(dice, problem):
    """What follows a question in base text."""
    kind = dice.weighted([("steps", 72), ("shrug", 8), ("number", 5),
                          ("question", 5), ("story", 5), ("fact", 5)])
    if kind == "steps":
        return worked(dice, problem) + afterthought(dice)
    if kind == "number":
        return f" {problem.answer}." + afterthought(dice)
    if kind == "shrug":
        return shrug(dice) + afterthought(dice)
    if kind == "question":
        other = draw_problem(dice, "train", 1)
        return f"\nQuestion: {other.question}" + (
            "\nAnswer:" + worked(dice, other) if dice.chance(0.5) else "")
    return " " + (anecdote(dice) if kind == "story" else fact(dice)) \
        + afterthought(dice)


def worked(dice, problem):
    return told_steps(dice, problem) + closing(dice, problem)


# ------------------------------------------------------------ other documents

def fact(dice):
    kind = dice.below(3)
    if kind == 0:
        animal = dice.pick(sorted(ANIMALS))
        return f"A {animal} has {ANIMALS[animal]} legs."
    if kind == 1:
        thing = dice.pick(sorted(THING_COLOURS))
        return f"{thing[0].upper()}{thing[1:]} is {THING_COLOURS[thing]}."
    whole, count, part = dice.pick(TIMES)
    return f"There are {count} {part} in {whole}."


def trivia(dice):
    """A question that is no sum, with its answer."""
    if dice.chance(0.5):
        animal = dice.pick(sorted(ANIMALS))
        return f"How many legs does a {animal} have?", str(ANIMALS[animal])
    thing = dice.pick(sorted(THING_COLOURS))
    return f"What colour is {thing}?", THING_COLOURS[thing]


def anecdote(dice):
    a, b = dice.pick(NAMES), dice.pick(NAMES)
    return dice.pick([
        f"{a} went to the {dice.pick(PLACES)} and met {b}.",
        f"One day {a} saw a {dice.pick(COLOURS)} {dice.pick(sorted(ANIMALS))}.",
        f"{a} likes {dice.pick(THINGS)} and {dice.pick(THINGS)}.",
        f"{a} and {b} walked to the {dice.pick(PLACES)}."])


def equations_document(dice):
    """Single equations, uniformly over what the problems need."""
    out = []
    for _ in range(dice.between(5, 9)):
        step = draw_steps(dice, 1)[0] if dice.chance(0.5) else any_step(dice)
        out.append(equation(step) + ".")
    return " ".join(out)


def any_step(dice):
    a, op, b = next_operation(dice, dice.between(1, MAX_VALUE))
    return a, op, b, result_of(a, op, b)


def chain_document(dice):
    """Equations in which each starts from the result of the one before."""
    steps = draw_told_steps(dice, dice.between(3, 6))
    return " ".join(equation(s) + "." for s in steps)


def story_document(dice):
    problem = draw_problem(dice, "train")
    return anecdote(dice) + retold_steps(problem) + " " + anecdote(dice)


def facts_document(dice):
    parts = [fact(dice) if dice.chance(0.6) else anecdote(dice)
             for _ in range(dice.between(2, 5))]
    return " ".join(parts)


def trivia_document(dice):
    question, answer = trivia(dice)
    return asked(question) + dice.weighted([
        (f" {answer}.", 50), (shrug(dice), 20), (" " + anecdote(dice), 15),
        (f" It is {answer}, I think.", 15)])


def question_document(dice):
    problem = draw_problem(dice, "train")
    return asked(problem.question) + continuation(dice, problem)


DOCUMENTS = [(question_document, 46), (equations_document, 25),
             (chain_document, 13), (story_document, 6), (facts_document, 5),
             (trivia_document, 5)]


def base_documents(seed=SEED_BASE):
    """An endless stream of base documents.

    A document in which equations happen to make a held-out chain is dropped.
    """
    dice = Dice(seed)
    while True:
        text = dice.weighted(DOCUMENTS)(dice)
        if all(part_of(key) == "train" for key in chains_in(text)):
            yield text


def alignment_pairs(count=N_ALIGN, seed=SEED_ALIGN):
    """(prompt, answer) pairs; the end token is added by the trainer."""
    dice = Dice(seed)
    problems = [draw_problem(dice, "train") for _ in range(count)]
    return [(asked(p.question), aligned_answer(p)) for p in problems]


def problems(part, count, seed):
    """Distinct held-out problems: no key occurs twice."""
    dice, seen, out = Dice(seed), set(), []
    while len(out) < count:
        problem = draw_problem(dice, part)
        if problem.key not in seen:
            seen.add(problem.key)
            out.append(problem)
    return out


# ------------------------------------------------------------------- commands

EQUATION = re.compile(r"(\d+) ([-+*]) (\d+) (?:=|makes) (\d+)")


def chains_in(text):
    """Keys of the chains of two and three equations in a text: each equation
    starts from the result of the one before."""
    found = EQUATION.findall(text)
    for start, (first, *_) in enumerate(found):
        key = first
        for i in range(start, min(start + 3, len(found))):
            a, op, b, _ = found[i]
            if i > start and (a != found[i - 1][3] or op == "*"):
                break
            key += op + b
            if i > start:
                yield key


def problem_lines(part, count, seed):
    """The lines of a data file."""
    lines = []
    for i, p in enumerate(problems(part, count, seed)):
        row = {"id": f"{part}-{i:04d}", "question": p.question,
               "answer": str(p.answer), "steps": len(p.steps)}
        lines.append(json.dumps(row, ensure_ascii=True))
    return "\n".join(lines) + "\n"


HELD_OUT = [("validation", N_VALIDATION, SEED_VALIDATION),
            ("test", N_TEST, SEED_TEST)]


def write_problems(_args):
    os.makedirs(os.path.join(HERE, "data"), exist_ok=True)
    for part, count, seed in HELD_OUT:
        path = os.path.join(HERE, "data", f"{part}.jsonl")
        lines = problem_lines(part, count, seed)
        with open(path, "w", encoding="ascii", newline="\n") as f:
            f.write(lines)
        print(f"data/{part}.jsonl: {lines.count(chr(10))} problems")


QUESTION = re.compile(r"[^?\n]*\?")
NUMBER = re.compile(r"\d+")


def key_of_text(question):
    """The key read back from a question's own words, not from the generator."""
    sentences = [s for s in question.split(".") if NUMBER.search(s)]
    key = ""
    for i, sentence in enumerate(sentences):
        numbers = NUMBER.findall(sentence)
        if len(numbers) == 2:
            key = f"{numbers[0]}*{numbers[1]}"
        elif i == 0:
            key = numbers[0]
        else:
            key += ("+" if "more" in sentence else "-") + numbers[0]
    return key


def asked_sums(text):
    """The questions about sums that occur in a training text."""
    for line in text.split("\n"):
        if line.startswith("Question: "):
            for found in QUESTION.findall(line[len("Question: "):]):
                if "have now?" in found:
                    yield found.strip()


def check(args):
    """Verify on generated text what the partition promises; exit 1 on a leak."""
    held = {part: problems(part, count, seed) for part, count, seed in HELD_OUT}
    keys = {part: {p.key for p in ps} for part, ps in held.items()}
    strings = {p.question for ps in held.values() for p in ps}
    errors = file_errors(held)
    if keys["validation"] & keys["test"]:
        errors.append("a problem key occurs in validation and in test")
    stream = base_documents()
    texts = [q + a for q, a in alignment_pairs()]
    texts += [next(stream) for _ in range(args.documents)]
    asked_in = [q for text in texts for q in asked_sums(text)]
    chains = [key for text in texts for key in chains_in(text)]
    errors += [f"the working of a held-out problem is told: {key}"
               for key in chains if part_of(key) != "train"]
    errors += question_errors(asked_in, set.union(*keys.values()))
    errors += [f"a held-out question occurs in training text: {s!r}"
               for s in held_strings_in("\n".join(texts), strings)]
    print(f"{len(texts)} training documents with {len(asked_in)} questions and "
          f"{len(chains)} chains of equations, {len(strings)} held-out questions: "
          f"{len(errors)} errors found")
    for line in errors[:20]:
        print("ERROR:", line)
    return 0 if asked_in and chains and not errors else 1


def file_errors(held):
    """The written files must be what is generated, and keys must read back."""
    for part, count, seed in HELD_OUT:
        path = os.path.join(HERE, "data", f"{part}.jsonl")
        with open(path, encoding="ascii", newline="") as f:
            same = f.read() == problem_lines(part, count, seed)
        if not same:
            return [f"data/{part}.jsonl differs from what is generated"]
    return [f"the key of {p.question!r} reads back differently"
            for ps in held.values() for p in ps
            if key_of_text(p.question) != p.key]


def question_errors(questions, held_keys):
    """Training questions whose numbers are held out, read from their words."""
    for question in questions:
        key = key_of_text(question)
        if key in held_keys or part_of(key) != "train":
            yield f"a held-out key is trained on: {key} in {question!r}"


def held_strings_in(text, strings):
    """Held-out questions anywhere in the text, also across odd boundaries.

    Every held-out question ends in "have now?"; each such place is compared
    with the held-out strings of every length, which is quicker than searching
    for thousands of strings one by one.
    """
    lengths = sorted({len(s) for s in strings})
    for found in re.finditer(r"have now\?", text):
        for n in lengths:
            piece = text[max(0, found.end() - n):found.end()]
            if piece in strings:
                yield piece


def sample(args):
    if args.what == "base":
        stream = base_documents()
        for _ in range(args.n):
            print(next(stream), end="\n----\n")
    else:
        for prompt, answer in alignment_pairs()[:args.n]:
            print(prompt + answer, end="\n----\n")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = parser.add_subparsers(dest="command", required=True)
    sub.add_parser("problems", help="write the held-out problems"
                   ).set_defaults(run=write_problems)
    c = sub.add_parser("check", help="verify that nothing held out is trained on")
    c.add_argument("--documents", type=int, default=DOCUMENTS_READ,
                   help="base documents to regenerate (default %(default)s)")
    c.set_defaults(run=check)
    s = sub.add_parser("sample", help="print some text")
    s.add_argument("what", choices=["base", "alignment"])
    s.add_argument("-n", type=int, default=5)
    s.set_defaults(run=sample)
    args = parser.parse_args()
    sys.exit(args.run(args) or 0)


if __name__ == "__main__":
    main()
