"""Recomputes a run's summary from its records with independent formulas and compares; also summary.csv.

    python3 recompute.py results/NAME/RUN-ID

Needs Python 3.9 and nothing else. Prints the number of equal numbers; exit code 1 if one differs.
Bootstrap intervals depend on the random number generator: the script only checks that they contain
the estimate. The sampled p-value of points on more than 12 items may differ by six standard errors.
"""

import csv
import json
import math
import pathlib
import random
import sys
from collections import Counter, defaultdict
from fractions import Fraction
from statistics import NormalDist, stdev

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


def tango(wins, losses, items):
    """Every δ that the score test does not reject, by bisection on either side of the estimate.

    Given δ, the probability q of a loss maximises the likelihood q^losses·(q + δ)^wins·(1 − 2q − δ)^rest:
    the derivative of its logarithm changes its sign there.
    """
    found = (wins - losses) / items

    def slope(q, delta):
        parts = [(losses, q), (wins, q + delta), (-2 * (items - wins - losses), 1 - 2 * q - delta)]
        return sum(n / max(chance, 1e-300) for n, chance in parts if n)

    def rejected(delta):
        low, high = max(0.0, -delta), (1 - delta) / 2
        for _ in range(200):
            middle = (low + high) / 2
            low, high = (middle, high) if slope(middle, delta) > 0 else (low, middle)
        variance = (2 * low + delta - delta * delta) / items
        return (found - delta) ** 2 > Z * Z * variance

    def end(inside, outside):
        for _ in range(100):
            middle = (inside + outside) / 2
            inside, outside = (inside, middle) if rejected(middle) else (middle, outside)
        return inside

    return end(found, -1.0), end(found, 1.0)


TRIED, DRAWS = 12, 10_000


def sign_flip(differences):
    """The share of sums at least as far from 0 as the one found, and its tolerance: over all signs in exact
    fractions if few items differ, else over own draws, with six standard errors of two such shares."""
    moved = [Fraction(d) for d in differences if d]
    if len(moved) <= TRIED:
        # Floating-point numbers whose sums ought to be equal need not be.
        least = abs(sum(moved)) - sum(abs(d) for d in moved) / 10**12
        sums = [Fraction(0)]
        for d in moved:
            sums = [total + sign * d for total in sums for sign in (1, -1)]
        return sum(abs(total) >= least for total in sums) / len(sums), 1e-9
    draw, moved = random.Random(7), [float(d) for d in moved]
    least = abs(math.fsum(moved)) * (1 - 1e-12)
    far = sum(abs(sum(d if draw.random() < 0.5 else -d for d in moved)) >= least
              for _ in range(DRAWS))
    p = (1 + far) / (1 + DRAWS)
    return p, 6 * math.sqrt(2 * p * (1 - p) / DRAWS) + 2 / DRAWS


def holm(values):
    """By definition: the largest product up to each rank."""
    ranked = sorted(range(len(values)), key=lambda i: values[i])
    products = [(len(values) - rank) * values[i] for rank, i in enumerate(ranked)]
    return {i: min(1.0, max(products[: rank + 1])) for rank, i in enumerate(ranked)}


class Comparison:
    def __init__(self):
        self.agreed = 0
        self.wrong = []

    def same(self, what, found, wanted, tolerance=1e-9):
        if found is None or wanted is None or isinstance(wanted, str):
            fine = found == wanted
        else:
            fine = math.isclose(found, wanted, rel_tol=1e-9, abs_tol=tolerance)
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


def detectable(items, discordant, comparisons):
    """The root of √n·δ = z·√ψ + z₀.₈·√(ψ − δ²), by its quadratic equation; none above ψ. The first z
    is for 5 % divided by the number of comparisons."""
    if discordant == 0:
        return None
    certain = NormalDist().inv_cdf(1 - 0.025 / comparisons) * math.sqrt(discordant)
    found = NormalDist().inv_cdf(0.8)
    # (√n·δ − c)² = f²·(ψ − δ²), the larger root: that of the positive sign.
    a, b, c = items + found**2, -2 * math.sqrt(items) * certain, certain**2 - found**2 * discordant
    root = (-b + math.sqrt(max(b * b - 4 * a * c, 0))) / (2 * a)
    return root if root <= discordant else None


def detectable_mean(differences, comparisons):
    deviation = stdev(differences) if len(differences) > 1 else 0
    z = NormalDist().inv_cdf(1 - 0.025 / comparisons) + NormalDist().inv_cdf(0.8)
    return z * deviation / math.sqrt(len(differences)) if deviation else None


def points(record):
    """From the evidence in the record: log-probabilities, else answer and gold."""
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


def check_counts(name, result, records, compare):
    items, tokens = len(records), sum(r["new_tokens"] for r in records)
    compare.same(f"{name}: items", result["items"], items)
    compare.same(f"{name}: new tokens", result["new_tokens"], tokens)
    compare.same(f"{name}: tokens per item", result["tokens_per_item"], tokens / items)
    compare.same(f"{name}: tokens/s", result["tokens_per_second"], speed(records))
    compare.inside(f"{name}: tokens/s", speed(records), result["tokens_per_second_interval"])
    stops = Counter(r["stop"] for r in records)
    for stop in set(stops) | set(result["stops"]):
        compare.same(f"{name}: {stop}", result["stops"].get(stop), stops.get(stop))
    for model in {model for r in records for model in r["passes"]}:
        passes = sum(r["passes"].get(model, {"passes": 0})["passes"] for r in records)
        compare.same(f"{name}: passes of {model}", result["passes_per_token"][model],
                     passes / max(tokens, 1))
    for key, field in [("deferral_mass", "deferral_mass"), ("deferral_rate", "deferred_tokens")]:
        parts = [r[field] for r in records]
        wanted = None if None in parts else math.fsum(parts) / max(tokens, 1)
        compare.same(f"{name}: {key}", result[key], wanted)
    origins = Counter()
    for r in records:
        for it in r.get("origins", []):
            origins[it["origin"], it["level"]] += it["tokens"]
    found = {(it["origin"], it["level"]): it["tokens"] for it in result["origins"]}
    for key in set(origins) | set(found):
        compare.same(f"{name}: tokens of {key}", found.get(key), origins.get(key))
    check_time(name, result["time"], records, tokens, compare)


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


def check_chain(name, result, records, compare):
    own = [r["acceptance"] for r in records if r["acceptance"]]
    compare.same(f"{name}: drafts", 1 if result["drafting"] else None, 1 if own else None)
    if own:
        check_drafts(name, result["drafting"], own, compare)
    tokens = max(sum(r["new_tokens"] for r in records), 1)
    by_level = defaultdict(list)
    for r in records:
        for it in r.get("levels", []):
            by_level[it["level"]].append(it)
    compare.same(f"{name}: levels", len(result["levels"]), len(by_level))
    for level in result["levels"]:
        counts, what = by_level[level["level"]], f"{name}, level {level['level']}"
        check_drafts(what, level, counts, compare)
        compare.same(f"{what}: handed on", level["waste"],
                     sum(c["emitted"] for c in counts) / tokens)
        compare.same(f"{what}: drafted per token", level["drafted_per_token"],
                     sum(c["drafted"] for c in counts) / tokens)


def check_likelihood(name, result, records, compare):
    read = [r["scored"] for r in records if r.get("scored") and r["scored"]["bytes"]]
    found = result.get("likelihood")
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


def check_difference(name, found, both, comparisons, compare):
    """Pairs are (own points, the baseline's points), item by item."""
    differences = [own - other for own, other in both]
    wins, losses = sum(d > 0 for d in differences), sum(d < 0 for d in differences)
    graded = all(earned in (0, 1) for pair in both for earned in pair)
    compare.same(f"{name}: paired items", found["items"], len(both))
    compare.same(f"{name}: wins", found["wins"], wins)
    compare.same(f"{name}: losses", found["losses"], losses)
    compare.same(f"{name}: difference", found["mean"], mean(differences))
    compare.same(f"{name}: deviation", found["deviation"],
                 stdev(differences) if len(both) > 1 else None)
    compare.same(f"{name}: method", found["method"], "grades" if graded else "points")
    low, high = found["interval"]["low"], found["interval"]["high"]
    if graded:
        wanted = tango(wins, losses, len(both))
        compare.same(f"{name}: Tango, low", low, wanted[0])
        compare.same(f"{name}: Tango, high", high, wanted[1])
        compare.same(f"{name}: McNemar", found["p_value"], mcnemar(wins, losses))
        compare.same(f"{name}: detectable", found["detectable"],
                     detectable(len(both), (wins + losses) / len(both), comparisons))
        return
    if len(set(differences)) == 1:
        compare.same(f"{name}: no interval", low, None)
    else:
        compare.inside(f"{name}: difference", mean(differences), found["interval"])
    compare.same(f"{name}: sign-flip test", found["p_value"], *sign_flip(differences))
    compare.same(f"{name}: detectable", found["detectable"],
                 detectable_mean(differences, comparisons))


def check_grades(name, result, records, baseline, comparisons, compare):
    items, earned = len(records), {r["item"]: points(r) for r in records}
    partly = any("points" in r for r in records)
    for r in records:
        kept = r["points"] if partly else float(r["correct"])
        compare.same(f"{name}: points of {r['item']}", kept, earned[r["item"]])
    compare.same(f"{name}: correct", result["correct"], sum(r["correct"] for r in records))
    compare.same(f"{name}: accuracy", result["accuracy"], mean(list(earned.values())))
    if partly:
        compare.inside(f"{name}: accuracy", result["accuracy"], result["accuracy_interval"])
    else:
        low, high = wilson(sum(earned.values()), items)
        compare.same(f"{name}: Wilson, low", result["accuracy_interval"]["low"], low)
        compare.same(f"{name}: Wilson, high", result["accuracy_interval"]["high"], high)
    answered = sum(r["answer"] is not None for r in records) / items
    compare.same(f"{name}: answered", result["answered"], answered)
    if result["difference"]:
        theirs = {r["item"]: points(r) for r in baseline}
        both = [(own, theirs[item]) for item, own in earned.items() if item in theirs]
        check_difference(name, result["difference"], both, comparisons, compare)


def check_groups(name, result, records, compare):
    groups = defaultdict(list)
    for r in records:
        if r.get("group") is not None:
            groups[r["group"]].append(r)
    compare.same(f"{name}: groups", len(result.get("groups", [])), len(groups))
    for found in result.get("groups", []):
        own, what = groups[found["name"]], f"{name}, {found['name']}"
        compare.same(f"{what}: items", found["items"], len(own))
        compare.same(f"{what}: tokens/s", found["tokens_per_second"], speed(own))
        graded = result["accuracy"] is not None
        compare.same(f"{what}: accuracy", found["accuracy"],
                     mean([points(r) for r in own]) if graded else None)


def check(result, records, baseline, comparisons, compare):
    name = f"{result['task']} / {result['decoder']}"
    check_counts(name, result, records, compare)
    check_chain(name, result, records, compare)
    check_likelihood(name, result, records, compare)
    check_groups(name, result, records, compare)
    if result["accuracy"] is not None:
        check_grades(name, result, records, baseline, comparisons, compare)


def check_csv(path, summary, compare):
    """Unrounded and under the right head; missing numbers are empty."""
    if not path.exists():
        return
    rows = list(csv.DictReader(path.open(newline="")))
    compare.same("lines of summary.csv", len(rows), len(summary["results"]))
    for row, result in zip(rows, summary["results"]):
        difference = result["difference"] or {"interval": {}}
        wanted = {key: result[key] for key in ["items", "correct", "accuracy", "answered", "new_tokens",
                                            "deferral_mass", "deferral_rate", "tokens_per_item",
                                            "tokens_per_second"]}
        wanted |= {key: difference.get(key) for key in ["p_value", "p_adjusted"]}
        wanted |= {key: (result["drafting"] or {}).get(key)
                   for key in ["acceptance_rate", "acceptance_length"]}
        wanted |= {key: (result.get("likelihood") or {}).get(key)
                   for key in ["perplexity", "bits_per_byte"]}
        wanted["difference"] = difference.get("mean")
        wanted["jobs"] = max(summary.get("jobs", []), default=None)
        wanted["cut_off"] = result["stops"].get("max_tokens", 0)
        wanted["too_long"] = result["stops"].get("prompt_too_long", 0)
        for end in ["low", "high"]:
            wanted[f"accuracy_{end}"] = result["accuracy_interval"][end]
            wanted[f"difference_{end}"] = difference["interval"].get(end)
            wanted[f"tokens_per_second_{end}"] = result["tokens_per_second_interval"][end]
        for model, passes in result["passes_per_token"].items():
            wanted[f"passes_per_token:{model}"] = passes
        for key, value in wanted.items():
            found = float(row[key]) if row[key] else None
            compare.same(f"summary.csv, {result['task']} / {result['decoder']}: {key}", found, value)


def main(folder):
    folder = pathlib.Path(folder)
    summary = json.loads((folder / "summary.json").read_text())
    groups = defaultdict(list)
    for line in (folder / "records.jsonl").read_text().splitlines():
        record = json.loads(line)
        groups[record["task"], record["decoder"]].append(record)
    compare, by_task = Comparison(), defaultdict(list)
    compare.same("results", len(summary["results"]), len(groups))
    for result in summary["results"]:
        baseline = groups[result["task"], summary["baseline"]]
        # All of the task but the baseline, if they share an item with it.
        shared = [{r["item"] for r in records} & {r["item"] for r in baseline}
                  for (task, decoder), records in groups.items()
                  if task == result["task"] and decoder != summary["baseline"]]
        comparisons = sum(bool(items) for items in shared)
        check(result, groups[result["task"], result["decoder"]], baseline, comparisons, compare)
        if result["difference"]:
            by_task[result["task"]].append(result["difference"])
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
