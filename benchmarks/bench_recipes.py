"""What the recipes reach, over several seeds: `python benchmarks/bench_recipes.py [digits dates ...] [--seeds 5]`.

Each seed is a training of its own, with its own split, weights and order. Accuracy does not depend on how busy the machine
is; the seconds do. Without a name: digits, which takes a few minutes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "recipes.json"


def train(name: str, seeds: int, data: str | None) -> list[dict]:
    from weft.cli.train import find_recipe

    recipe = find_recipe(name)
    with tempfile.TemporaryDirectory() as out:
        return [recipe.run(seed=seed, data=data, out=out) for seed in range(seeds)]


def summary(rows: list[dict]) -> dict:
    """Mean and extremes of what was measured last: the test figure, or without a test split the validation figure."""
    key = "test" if "test" in rows[0] else "validation"
    values, seconds = [row[key] for row in rows], [row["seconds"] for row in rows]
    return {
        "recipe": rows[0]["recipe"],
        "figure": key,
        "mean": statistics.mean(values),
        "least": min(values),
        "most": max(values),
        "seeds": len(rows),
        "epochs": rows[0]["epochs"],
        "parameters": rows[0]["parameters"],
        "seconds": statistics.median(seconds),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipes", nargs="*", default=["digits"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--data")
    options = parser.parse_args()
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in options.recipes:
        row = summary(train(name, options.seeds, options.data))
        found[name] = row
        print(
            f"{name}: {row['figure']} {row['mean']:.4f} (mean of {row['seeds']} seeds, {row['least']:.4f} to "
            f"{row['most']:.4f}), {row['epochs']} epochs, {row['seconds']:.0f} s each"
        )
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
