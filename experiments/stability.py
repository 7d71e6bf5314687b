"""Acceptance lengths of a run beside theorem 3.3 of arXiv 2510.26527, corrected.

    python3 experiments/stability.py experiments/record/stability/summary.json

The theorem takes acceptances to be independent with probability a, drafts to be K tokens long: the accepted
number is min(G, K) for a geometric G. For each two-level decoder whose drafts are all K tokens long when
nothing ends them, a is solved from the mean, and the deviation that follows is printed beside the counted one.
"""

import json
import math
import sys


def capped_geometric(a, cap):
    """Mean and standard deviation of min(G, cap), P(G >= k) = a^k."""
    mean = sum(a**k for k in range(1, cap + 1))
    square = sum((2 * k - 1) * a**k for k in range(1, cap + 1))
    return mean, math.sqrt(max(square - mean * mean, 0.0))


def solved(mean, cap):
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if capped_geometric(middle, cap)[0] < mean else (low, middle)
    return low


def main():
    summary = json.load(open(sys.argv[1], encoding="utf-8"))
    print("| decoder | mean | deviation | theorem 3.3 | a |")
    print("|---|---|---|---|---|")
    for decoder in summary["results"]:
        levels = decoder.get("levels") or []
        if len(levels) != 1 or "length " not in decoder["decoder"]:
            continue
        cap = int(decoder["decoder"].rsplit("length ", 1)[1])
        mean, deviation = levels[0]["acceptance_length"], levels[0]["acceptance_length_deviation"]
        a = solved(mean, cap)
        theorem = capped_geometric(a, cap)[1]
        print(f"| {decoder['decoder']} | {mean:.2f} | {deviation:.2f} | {theorem:.2f} | {a:.3f} |")


if __name__ == "__main__":
    main()
