"""What the recipes reach: digits over 5 seeds and dates; `--full` adds mnist, fashion and shakespeare over 3 seeds.

Each figure is the recipe's own, the one that `weft train` prints; the goal stands beside it.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import sys
import tempfile

import harness

# recipe: (seeds, figure, goal, whether larger is better)
GOALS = {
    "digits": (5, "test", 0.990, True),
    "dates": (1, "test", 0.99, True),
    "mnist": (1, "test", 0.993, True),
    "fashion": (1, "test", 0.925, True),
    "shakespeare": (3, "validation", 1.85, False),
}
SHORT = ("digits", "dates")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipes", nargs="*", help=f"some of {', '.join(GOALS)}; default: {' and '.join(SHORT)}")
    parser.add_argument("--full", action="store_true", help="all of them")
    args = parser.parse_args()
    facts = harness.announce("Recipes")
    rows = []
    for name in args.recipes or (GOALS if args.full else SHORT):
        seeds, figure, goal, larger = GOALS[name]
        recipe = importlib.import_module(f"weft.recipes.{name}")
        with tempfile.TemporaryDirectory() as out:
            results = [recipe.run(seed=seed, out=out) for seed in range(seeds)]
        values = [r[figure] for r in results]
        mean, seconds = statistics.mean(values), statistics.mean(r["seconds"] for r in results)
        reached = mean >= goal if larger else mean <= goal
        row = {"recipe": name, "figure": figure, "values": values, "mean": mean, "goal": goal, "seconds": seconds}
        rows.append(row)
        print(
            f"  {name:12s} {figure} {mean:.4f} (mean of {seeds}: {min(values):.4f} to {max(values):.4f}), "
            f"goal {goal} {'reached' if reached else 'MISSED'}, {seconds:.0f} s a run",
            flush=True,
        )
    harness.save("recipes" + "-full" * args.full, facts, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
