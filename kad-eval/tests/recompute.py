"""Recomputes a run's summary from its records, by formulas of its own, and compares.

    python3 recompute.py results/NAME/RUN-ID

Needs Python 3.9 and nothing else. Prints how many numbers agree; exit code 1 if one does not.
Not recomputed are the bootstrap intervals, which depend on the generator of random numbers: of
these it is checked that they contain the estimate.
"""

import json
import math
import pathlib
import sys
from collections import Counter, defaultdict
from fractions import Fraction
from statistics import NormalDist

Z = NormalDist().inv_cdf(0.975)


def wilson(right, items):
    """The roots p of (p̂ − p)² = z²·p(1 − p)/n, found by bisection on either side of p̂."""
    share = right / items

    def root(inside, outside):
        for _ in range(200):
            middle = (inside + outside) / 2
            if (share - middle) ** 2 <= Z * Z * middle * (1 - middle) / items:
                inside = middle
            else:
                outside = middle
        return inside

    return root(share, 0.0), root(share, 1.0)


def mcnemar(wins, losses):
    """Two-sided sign test, in exact fractions."""
    n = wins + losses
    tail = sum(math.comb(n, k) for k in range(min(wins, losses) + 1))
    return float(min(Fraction(1), Fraction(2 * tail, 2**n)))


def holm(values):
    """By its definition: the largest of the products up to the place of each."""
    ranked = sorted(range(len(values)), key=lambda i: values[i])
    products = [(len(values) - rank) * values[i] for rank, i in enumerate(ranked)]
    return {i: min(1.0, max(products[: rank + 1])) for rank, i in enumerate(ranked)}


class Comparison:
    def __init__(self):
        self.agreed = 0
        self.wrong = []

    def same(self, what, found, wanted):
        if found is None or wanted is None:
            fine = found is wanted
        else:
            fine = math.isclose(found, wanted, rel_tol=1e-9, abs_tol=1e-9)
        if fine:
            self.agreed += 1
        else:
            self.wrong.append(f"{what}: the summary says {found}, the records say {wanted}")

    def inside(self, what, value, interval):
        low, high = interval["low"], interval["high"]
        if low is None or low - 1e-9 <= value <= high + 1e-9:
            self.agreed += 1
        else:
            self.wrong.append(f"{what}: {value} is not in [{low}, {high}]")


def check(arm, records, baseline, compare):
    name = f"{arm['task']} / {arm['decoder']}"
    items, tokens = len(records), sum(r["new_tokens"] for r in records)
    compare.same(f"{name}: items", arm["items"], items)
    compare.same(f"{name}: new tokens", arm["new_tokens"], tokens)
    compare.same(f"{name}: tokens per item", arm["tokens_per_item"], tokens / items)
    seconds = math.fsum(r["seconds"] for r in records)
    compare.same(f"{name}: tokens/s", arm["tokens_per_second"], tokens / seconds)
    compare.inside(f"{name}: tokens/s", tokens / seconds, arm["tokens_per_second_interval"])
    stops = Counter(r["stop"] for r in records)
    for stop in set(stops) | set(arm["stops"]):
        compare.same(f"{name}: {stop}", arm["stops"].get(stop), stops.get(stop))
    for model in {model for r in records for model in r["passes"]}:
        passes = sum(r["passes"].get(model, {"passes": 0})["passes"] for r in records)
        compare.same(f"{name}: passes of {model}", arm["passes_per_token"][model],
                     passes / max(tokens, 1))
    for key, field in [("deferral_mass", "deferral_mass"), ("deferral_rate", "deferred_tokens")]:
        parts = [r[field] for r in records]
        wanted = None if None in parts else math.fsum(parts) / max(tokens, 1)
        compare.same(f"{name}: {key}", arm[key], wanted)
    if arm["accuracy"] is None:
        return
    right = sum(r["answer"] == r["gold"] and r["answer"] is not None for r in records)
    compare.same(f"{name}: correct", arm["correct"], right)
    compare.same(f"{name}: accuracy", arm["accuracy"], right / items)
    low, high = wilson(right, items)
    compare.same(f"{name}: Wilson, low", arm["accuracy_interval"]["low"], low)
    compare.same(f"{name}: Wilson, high", arm["accuracy_interval"]["high"], high)
    answered = sum(r["answer"] is not None for r in records) / items
    compare.same(f"{name}: answered", arm["answered"], answered)
    if arm["difference"]:
        theirs = {r["item"]: r["correct"] for r in baseline}
        both = [(r["correct"], theirs[r["item"]]) for r in records if r["item"] in theirs]
        wins = sum(a and not b for a, b in both)
        losses = sum(b and not a for a, b in both)
        found = arm["difference"]
        mean = (wins - losses) / len(both)
        compare.same(f"{name}: paired items", found["items"], len(both))
        compare.same(f"{name}: difference", found["mean"], mean)
        compare.inside(f"{name}: difference", mean, found["interval"])
        compare.same(f"{name}: McNemar", found["p_value"], mcnemar(wins, losses))


def main(folder):
    folder = pathlib.Path(folder)
    summary = json.loads((folder / "summary.json").read_text())
    groups = defaultdict(list)
    for line in (folder / "records.jsonl").read_text().splitlines():
        record = json.loads(line)
        groups[record["task"], record["decoder"]].append(record)
    compare, by_task = Comparison(), defaultdict(list)
    compare.same("arms", len(summary["arms"]), len(groups))
    for arm in summary["arms"]:
        baseline = groups[arm["task"], summary["baseline"]]
        check(arm, groups[arm["task"], arm["decoder"]], baseline, compare)
        if arm["difference"]:
            by_task[arm["task"]].append(arm["difference"])
    for task, differences in by_task.items():
        adjusted = holm([it["p_value"] for it in differences])
        for i, it in enumerate(differences):
            compare.same(f"{task}: Holm, comparison {i}", it["p_adjusted"], adjusted[i])
    for line in compare.wrong:
        print(line)
    print(f"{compare.agreed} numbers agree, {len(compare.wrong)} do not")
    return 1 if compare.wrong or not compare.agreed else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
