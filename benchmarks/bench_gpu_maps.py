"""Elementwise functions and reductions at the speed of memory: `python benchmarks/bench_gpu_maps.py`.

Each row is the bytes that a call must move over its time, as a share of what a device-to-device copy of as many bytes
reaches in the same run. Random data, cold L2, in turns, medians. On a machine with no GPU it says so and ends.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import harness
import numpy as np

if __name__ == "__main__":
    harness.quiet_environment()

import ml_dtypes

from weft.backends.device import default_device, place, usable
from weft.bench import facts, timing

BF16 = np.dtype(ml_dtypes.bfloat16)
TARGET = 0.9  # of the speed of a copy


def cases(device: str, elements: int, rng: np.random.Generator) -> dict[str, tuple[Any, int]]:
    """What is timed, by name: a call, and the bytes that it reads and writes."""
    from weft.backends.gpu import namespace as xp
    from weft.backends.gpu.maps import apply

    found: dict[str, tuple[Any, int]] = {}
    side = 4096
    rows = elements // side
    for dtype in (np.dtype(np.float32), BF16):
        x, y = (place(rng.standard_normal((rows, side), np.float32).astype(dtype), device) for _ in range(2))
        bias = place(rng.standard_normal(side, np.float32).astype(dtype), device)
        short, size, row = x.reshape(-1, 64), x.nbytes, f" {dtype} ({rows}, {side})"
        found["add" + row] = lambda x=x, y=y: xp.add(x, y), 3 * size
        found["add a row" + row] = lambda x=x, bias=bias: xp.add(x, bias), 2 * size
        found["multiply by a number" + row] = lambda x=x: xp.multiply(x, 2.0), 2 * size
        found["gelu" + row] = lambda x=x: apply("gelu", x), 2 * size
        found["gelu_backward" + row] = lambda x=x, y=y: apply("gelu_backward", x, y), 3 * size
        found["transposed copy" + row] = lambda x=x: xp.contiguous(x.swapaxes(0, 1)), 2 * size
        found["sum of all" + row] = lambda x=x: xp.sum(x), size
        found["sum of rows" + row] = lambda x=x: xp.sum(x, axis=1), size
        found["sum of columns" + row] = lambda x=x: xp.sum(x, axis=0), size
        found["max of rows of 64" + row] = lambda x=short: xp.max(x, axis=1), size + size // 64
        found["argmax of rows" + row] = lambda x=x: xp.argmax(x, axis=1), size
        other = np.dtype(np.float32) if dtype == BF16 else BF16
        found[f"cast to {other}" + row] = lambda x=x, to=other: xp.astype(x, to), size + x.size * other.itemsize
    indices = place(rng.integers(0, rows, rows), device)
    found["take rows bfloat16"] = lambda x=x, i=indices: xp.take(x, i, axis=0), 2 * size
    return found


def copies(device: str, bytes_moved: set[int], rng: np.random.Generator) -> dict[str, Any]:
    """A device-to-device copy that moves each number of bytes."""
    import cupy

    found: dict[str, Any] = {}
    for count in bytes_moved:
        source = cupy.asarray(rng.integers(0, 255, count // 2, np.uint8))
        target = cupy.empty_like(source)
        found[f"copy {count}"] = lambda a=source, b=target: b.data.copy_from_device_async(a.data, a.nbytes)
    return found


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--elements", type=int, default=1 << 26)
    options.add_argument("--seconds", type=float, default=20.0)
    options.add_argument("--out", type=Path, help="write the rows as JSON here")
    chosen = options.parse_args()
    if not usable():
        print("bench_gpu_maps: skipped, CUDA's driver finds no GPU here")
        return
    device = default_device()
    rng = np.random.default_rng()
    machine = {**facts.machine(), **facts.gpu()}
    facts.announce("Maps and reductions beside copies", machine)
    calls = cases(device, chosen.elements, rng)
    speed = copies(device, {count for _, count in calls.values()}, rng)
    functions = {**{name: call for name, (call, _) in calls.items()}, **speed}
    times = timing.alternate_on_gpu(functions, seconds=chosen.seconds)
    rows = []
    for name, (_, count) in calls.items():
        seconds, copied = times[name]["median"], times[f"copy {count}"]["median"]
        rows.append({"name": name, "bytes": count, "times": times[name], "copy": copied, "ratio": copied / seconds})
        short = "" if copied / seconds >= TARGET else f"  below {TARGET}"
        rate = f"{count / seconds / 1e9:7.0f} GB/s"
        print(f"  {name:48s} {timing.duration(seconds):>9s} {rate}  {copied / seconds:5.2f} of a copy{short}")
    if chosen.out:
        chosen.out.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
