"""A user's functions (weft.elementwise) beside the built-in ones: GELU and SiLU, forward and gradient, over sizes."""

from __future__ import annotations

import argparse
import math
import statistics
import sys

import harness

harness.quiet_environment()

import numpy as np

import weft

GOAL = 1.5  # at most so many times the built-in


@weft.elementwise
def gelu(x):
    return 0.5 * x * (1 + math.erf(x / math.sqrt(2)))


@weft.elementwise
def gelu_tanh(x):
    return 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


@weft.elementwise
def silu(x):
    return x / (1 + math.exp(-x))


@weft.elementwise
def scaled_sum(x, y):
    return 2 * x + y


PAIRS = {
    "gelu": (gelu, weft.gelu),
    "gelu tanh": (gelu_tanh, lambda x: weft.gelu(x, approximate="tanh")),
    "silu": (silu, weft.silu),
}


def step(f, x, g):
    """Forward and backward, as in training."""
    x.grad = None
    f(x).backward(g)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.0, help="about how long each row takes")
    args = parser.parse_args()
    facts = harness.announce("Functions of a user's own beside the built-in: median of times, in turns")
    rng = np.random.default_rng(0)
    rows = []

    def row(what, ours, theirs, judged=True):
        times = harness.alternate({"own": ours, "built-in": theirs}, seconds=args.seconds)
        ratio = times["own"]["median"] / times["built-in"]["median"]
        rows.append({"what": what, "times": times, "ratio": ratio, "judged": judged})
        own, built_in = (harness.duration(times[name]["median"]) for name in ("own", "built-in"))
        print(f"  {what:34s} own {own:>8s}   built-in {built_in:>8s}   {ratio:5.2f}x", flush=True)

    for n in (1 << 12, 1 << 16, 1 << 20, 1 << 22):
        x = weft.asarray(rng.standard_normal(n, dtype=np.float32))
        g = weft.asarray(rng.standard_normal(n, dtype=np.float32))
        leaf = weft.Tensor(x.data, requires_grad=True)
        for name, (own, built_in) in PAIRS.items():
            row(f"{name}, {n}", lambda: own(x), lambda: built_in(x))
            row(f"{name} and gradient, {n}", lambda: step(own, leaf, g), lambda: step(built_in, leaf, g))
    table, column = (weft.asarray(rng.standard_normal(s, dtype=np.float32)) for s in ((2048, 512), (2048, 1)))
    line = weft.asarray(rng.standard_normal(512, dtype=np.float32))
    for name, other in (("a row", line), ("a column", column), ("a number", 0.5)):
        row(f"2 x + {name}, 2048 x 512", lambda: scaled_sum(table, other), lambda: 2 * table + other, False)
    worst = max((r for r in rows if r["judged"]), key=lambda r: r["ratio"])
    mean = statistics.geometric_mean([r["ratio"] for r in rows if r["judged"]])
    verdict = "reached" if worst["ratio"] <= GOAL else "MISSED"
    print(f"  geometric mean {mean:.2f}x, worst {worst['ratio']:.2f}x ({worst['what']}); goal {GOAL}x {verdict}")
    harness.save("user_kernels", facts, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
