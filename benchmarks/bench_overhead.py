"""What recording and importing cost: `python benchmarks/bench_overhead.py`."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from timeit import repeat

import harness

if __name__ == "__main__":
    harness.quiet_environment()

import numpy as np


def per_call(f, number: int = 20_000) -> float:
    return min(repeat(f, number=number, repeat=7)) / number


def recorded_multiply() -> list[dict]:
    import weft

    a, b = np.random.default_rng(0).standard_normal((2, 4, 4)).astype("f")
    x, y = weft.Tensor(a, requires_grad=True), weft.Tensor(b)
    rows = [{"what": "numpy multiply", "seconds": per_call(lambda: a * b)}]
    rows.append({"what": "weft recorded multiply", "seconds": per_call(lambda: x * y)})
    with weft.no_grad():
        rows.append({"what": "weft multiply, no_grad", "seconds": per_call(lambda: x * y)})
    try:
        import torch

        p, q = torch.tensor(a, requires_grad=True), torch.tensor(b)
        rows.append({"what": "torch recorded multiply", "seconds": per_call(lambda: p * q)})
    except ImportError:
        print("  (torch is not installed: install the extra `peers` to compare)")
    return rows


def imports(rounds: int = 21) -> list[dict]:
    """Seconds of a fresh interpreter that imports each, in turns."""
    samples: dict[str, list[float]] = {"numpy": [], "weft": []}
    for _ in range(rounds):
        for name, taken in samples.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", f"import {name}"], check=True)
            taken.append(time.perf_counter() - start)
    numpy, weft = (statistics.median(samples[n]) for n in ("numpy", "weft"))
    heavy = "cupy numba matplotlib torch safetensors tqdm".split()
    code = f"import sys, weft; print([m for m in {heavy} if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
    print(
        f"  import numpy {numpy * 1e3:.0f} ms, import weft {weft * 1e3:.0f} ms: "
        f"{1e3 * (weft - numpy):.0f} ms above; loaded: {loaded}"
    )
    return [{"what": "import weft above import numpy", "seconds": weft - numpy, "loaded": loaded}]


def main() -> None:
    facts = harness.announce("Overheads")
    rows = recorded_multiply()
    for row in rows:
        print(f"  {row['what']:26s} {row['seconds'] * 1e6:6.2f} us")
    harness.save("overhead", facts, rows + imports())


if __name__ == "__main__":
    main()
