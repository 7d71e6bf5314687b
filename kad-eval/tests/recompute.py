"""Recomputes a run's summary from its records, by formulas of its own, and compares; also summary.csv.

    python3 recompute.py results/NAME/RUN-ID

Needs Python 3.9 and nothing else. Prints how many numbers agree; exit code 1 if one does not.
Not recomputed are the bootstrap intervals, which depend on the generator of random numbers: of
these it is checked that they contain the estimate.
"""

import csv
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


def detectable(items, discordant):
    """The root of √n·δ = z₀.₉₇₅·√ψ + z₀.₈·√(ψ − δ²), by its quadratic equation; none above ψ."""
    if discordant == 0:
        return None
    certain, found = Z * math.sqrt(discordant), NormalDist().inv_cdf(0.8)
    # (√n·δ − c)² = f²·(ψ − δ²), the larger root: that of the positive sign.
    a, b, c = items + found**2, -2 * math.sqrt(items) * certain, certain**2 - found**2 * discordant
    root = (-b + math.sqrt(max(b * b - 4 * a * c, 0))) / (2 * a)
    return root if root <= discordant else None


def points(record):
    """From the records' own evidence: log-probabilities, else answer and gold."""
    scored, gold = record.get("scored"), record["gold"]
    if scored is None:
        return float(record["answer"] is not None and record["answer"] == gold)
    letters = [chr(ord("A") + i) for i in range(len(scored["log_probs"]))]
    weights = [-math.inf if nats is None else nats for nats in scored["log_probs"]]
    right = [letter in gold.split(", ") for letter in letters]
    best = max(weights, default=-math.inf)
    if best == -math.inf:
        return 0.0
    if "points" not in record:
        return float(right[weights.index(best)])
    weights = [math.exp(nats - best) for nats in weights]
    return sum(w for w, is_right in zip(weights, right) if is_right) / sum(weights)


def speed(records):
    seconds = math.fsum(r["seconds"] for r in records)
    return sum(r["new_tokens"] for r in records) / seconds if seconds > 0 else 0.0


def mean(values):
    return math.fsum(values) / len(values)


def check_counts(name, arm, records, compare):
    items, tokens = len(records), sum(r["new_tokens"] for r in records)
    compare.same(f"{name}: items", arm["items"], items)
    compare.same(f"{name}: new tokens", arm["new_tokens"], tokens)
    compare.same(f"{name}: tokens per item", arm["tokens_per_item"], tokens / items)
    compare.same(f"{name}: tokens/s", arm["tokens_per_second"], speed(records))
    compare.inside(f"{name}: tokens/s", speed(records), arm["tokens_per_second_interval"])
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
    origins = Counter()
    for r in records:
        for it in r.get("origins", []):
            origins[it["origin"], it["level"]] += it["tokens"]
    found = {(it["origin"], it["level"]): it["tokens"] for it in arm["origins"]}
    for key in set(origins) | set(found):
        compare.same(f"{name}: tokens of {key}", found.get(key), origins.get(key))
    check_time(name, arm["time"], records, tokens, compare)


def check_time(name, time, records, tokens, compare):
    taken = [p.get("seconds") for r in records for p in r["passes"].values()]
    if time is None or None in taken:
        compare.same(f"{name}: time taken", None if time is None else 1, None)
        return
    total = math.fsum(r["seconds"] for r in records) / max(tokens, 1)
    compare.same(f"{name}: seconds per token", time["total"], total)
    compare.same(f"{name}: the rest of them", time["overhead"],
                 max(total - math.fsum(taken) / max(tokens, 1), 0))


def check_drafts(name, found, counts, compare):
    """Rate, length and E1: the histogram's shares sum to 1, and their mean is the length."""
    drafted = sum(c["drafted"] for c in counts)
    lengths = Counter()
    for c in counts:
        lengths.update(dict(enumerate(c["lengths"])))
    drafts = sum(lengths.values())
    accepted = sum(length * n for length, n in lengths.items())
    compare.same(f"{name}: accepted by length and in all", accepted,
                 sum(c["accepted"] for c in counts))
    compare.same(f"{name}: acceptance rate", found["acceptance_rate"], accepted / max(drafted, 1))
    length = accepted / max(drafts, 1)
    compare.same(f"{name}: acceptance length", found["acceptance_length"], length)
    if drafts:
        shares = [n / drafts for n in (found["counts"]["lengths"])]
        compare.same(f"{name}: shares of the histogram", math.fsum(shares), 1.0)
        middle = math.fsum(k * share for k, share in enumerate(shares))
        compare.same(f"{name}: mean of the histogram", middle, found["acceptance_length"])
    if "acceptance_length_deviation" in found:
        squares = sum(n * (k - length) ** 2 for k, n in lengths.items())
        compare.same(f"{name}: deviation", found["acceptance_length_deviation"],
                     math.sqrt(squares / max(drafts, 1)))


def check_chain(name, arm, records, compare):
    own = [r["acceptance"] for r in records if r["acceptance"]]
    compare.same(f"{name}: drafts", 1 if arm["drafting"] else None, 1 if own else None)
    if own:
        check_drafts(name, arm["drafting"], own, compare)
    tokens = max(sum(r["new_tokens"] for r in records), 1)
    by_level = defaultdict(list)
    for r in records:
        for it in r.get("levels", []):
            by_level[it["level"]].append(it)
    compare.same(f"{name}: levels", len(arm["levels"]), len(by_level))
    for level in arm["levels"]:
        counts, what = by_level[level["level"]], f"{name}, level {level['level']}"
        check_drafts(what, level, counts, compare)
        compare.same(f"{what}: handed on", level["waste"],
                     sum(c["emitted"] for c in counts) / tokens)
        compare.same(f"{what}: drafted per token", level["drafted_per_token"],
                     sum(c["drafted"] for c in counts) / tokens)


def check_likelihood(name, arm, records, compare):
    read = [r["scored"] for r in records if r.get("scored") and r["scored"]["bytes"]]
    found = arm.get("likelihood")
    compare.same(f"{name}: texts read", 1 if found else None, 1 if read else None)
    if not read:
        return
    tokens, size = sum(s["tokens"] for s in read), sum(s["bytes"] for s in read)
    nats = [n for s in read for n in s["log_probs"]]
    compare.same(f"{name}: tokens read", found["tokens"], tokens)
    total = None if None in nats else -math.fsum(nats)
    compare.same(f"{name}: perplexity", found["perplexity"],
                 None if total is None else math.exp(total / tokens))
    compare.same(f"{name}: bits per byte", found["bits_per_byte"],
                 None if total is None else total / math.log(2) / size)


def check_grades(name, arm, records, baseline, compare):
    items, earned = len(records), {r["item"]: points(r) for r in records}
    partly = any("points" in r for r in records)
    for r in records:
        kept = r["points"] if partly else float(r["correct"])
        compare.same(f"{name}: points of {r['item']}", kept, earned[r["item"]])
    compare.same(f"{name}: correct", arm["correct"], sum(r["correct"] for r in records))
    compare.same(f"{name}: accuracy", arm["accuracy"], mean(list(earned.values())))
    if partly:
        compare.inside(f"{name}: accuracy", arm["accuracy"], arm["accuracy_interval"])
    else:
        low, high = wilson(sum(earned.values()), items)
        compare.same(f"{name}: Wilson, low", arm["accuracy_interval"]["low"], low)
        compare.same(f"{name}: Wilson, high", arm["accuracy_interval"]["high"], high)
    answered = sum(r["answer"] is not None for r in records) / items
    compare.same(f"{name}: answered", arm["answered"], answered)
    if arm["difference"]:
        theirs = {r["item"]: points(r) for r in baseline}
        both = [own - theirs[item] for item, own in earned.items() if item in theirs]
        wins, losses = sum(d > 0 for d in both), sum(d < 0 for d in both)
        found = arm["difference"]
        compare.same(f"{name}: paired items", found["items"], len(both))
        compare.same(f"{name}: difference", found["mean"], mean(both))
        compare.inside(f"{name}: difference", mean(both), found["interval"])
        compare.same(f"{name}: McNemar", found["p_value"], mcnemar(wins, losses))
        compare.same(f"{name}: detectable", found["detectable"],
                     detectable(len(both), (wins + losses) / len(both)))


def check_groups(name, arm, records, compare):
    groups = defaultdict(list)
    for r in records:
        if r.get("group") is not None:
            groups[r["group"]].append(r)
    compare.same(f"{name}: groups", len(arm.get("groups", [])), len(groups))
    for found in arm.get("groups", []):
        own, what = groups[found["name"]], f"{name}, {found['name']}"
        compare.same(f"{what}: items", found["items"], len(own))
        compare.same(f"{what}: tokens/s", found["tokens_per_second"], speed(own))
        graded = arm["accuracy"] is not None
        compare.same(f"{what}: accuracy", found["accuracy"],
                     mean([points(r) for r in own]) if graded else None)


def check(arm, records, baseline, compare):
    name = f"{arm['task']} / {arm['decoder']}"
    check_counts(name, arm, records, compare)
    check_chain(name, arm, records, compare)
    check_likelihood(name, arm, records, compare)
    check_groups(name, arm, records, compare)
    if arm["accuracy"] is not None:
        check_grades(name, arm, records, baseline, compare)


def check_csv(path, summary, compare):
    """Unrounded and under the right head; what is not there is empty."""
    if not path.exists():
        return
    rows = list(csv.DictReader(path.open(newline="")))
    compare.same("lines of summary.csv", len(rows), len(summary["arms"]))
    for row, arm in zip(rows, summary["arms"]):
        difference = arm["difference"] or {"interval": {}}
        wanted = {key: arm[key] for key in ["items", "correct", "accuracy", "answered", "new_tokens",
                                            "deferral_mass", "deferral_rate", "tokens_per_item",
                                            "tokens_per_second"]}
        wanted |= {key: difference.get(key) for key in ["p_value", "p_adjusted"]}
        wanted |= {key: (arm["drafting"] or {}).get(key)
                   for key in ["acceptance_rate", "acceptance_length"]}
        wanted |= {key: (arm.get("likelihood") or {}).get(key)
                   for key in ["perplexity", "bits_per_byte"]}
        wanted["difference"] = difference.get("mean")
        for end in ["low", "high"]:
            wanted[f"accuracy_{end}"] = arm["accuracy_interval"][end]
            wanted[f"difference_{end}"] = difference["interval"].get(end)
            wanted[f"tokens_per_second_{end}"] = arm["tokens_per_second_interval"][end]
        for model, passes in arm["passes_per_token"].items():
            wanted[f"passes_per_token:{model}"] = passes
        for key, value in wanted.items():
            found = float(row[key]) if row[key] else None
            compare.same(f"summary.csv, {arm['task']} / {arm['decoder']}: {key}", found, value)


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
    check_csv(folder / "summary.csv", summary, compare)
    for line in compare.wrong:
        print(line)
    print(f"{compare.agreed} numbers agree, {len(compare.wrong)} do not")
    return 1 if compare.wrong or not compare.agreed else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
