"""What it costs Python to enqueue a kernel: `python benchmarks/bench_enqueue.py`.

On a GPU, onto CuPy's current stream; without one, into a driver that does nothing (tests/stub_driver), so that the
figure is this side's alone. Medians of many batches, in turns.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import harness

if __name__ == "__main__":
    harness.quiet_environment()

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from weft.backends import launch as launcher
from weft.backends.device import usable
from weft.bench import facts, timing

LIMIT = 4e-6  # seconds per launch of five arguments

SOURCE = """
#include "types.cuh"
extern "C" __global__ void axpy(const float* x, const float* y, float* out, float scale, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) out[i] = x[i] * scale + y[i];
}
struct Problem { int sizes[16]; };
extern "C" __global__ void boxes(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b,
                                 const __grid_constant__ TensorMap c, float* out, const Problem problem, int n) {
  if (n < 0) out[0] = problem.sizes[-n] + (&a == &b) + (&b == &c);
}
EXPORT_KERNEL(axpy)
EXPORT_KERNEL(boxes)
"""


def cases(arrays: list[Any], file: str, capability: int) -> dict[str, Callable[[], Any]]:
    """What is timed, by name."""
    axpy = launcher.kernel(file, "axpy")
    x, y, out = arrays
    launch = launcher.launch
    found: dict[str, Callable[[], Any]] = {
        "launch, 5 arguments": lambda: launch(axpy, (1,), (32,), (x, y, out, 2.0, 0)),
        "launch, dependent on the one before": lambda: launch(axpy, (1,), (32,), (x, y, out, 2.0, 0), dependent=True),
    }
    if capability >= 90:
        boxes, problem = launcher.kernel(file, "boxes"), bytes(64)
        tensor_map = launcher.tensor_map
        of = lambda array: tensor_map(array, (64, 64), (256,), (32, 64), swizzle=128)
        found["tensor_map, known"] = lambda: of(x)
        found["launch with 3 tensor maps, made each time"] = lambda: launch(
            boxes, (2,), (32,), (of(x), of(y), of(out), out, problem, 0), shared=65536, cluster=(2, 1, 1)
        )
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0)
    options = parser.parse_args()
    rows = []
    found_facts = harness.announce("Enqueueing a kernel: median time per call, 10th and 90th percentile")
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        file = str(Path(folder) / "enqueue.cu")
        Path(file).write_text(SOURCE)
        if usable():
            import cupy

            from weft.backends.gpu.cuda_array import empty

            arrays = [empty((64, 64), "float32", "cuda:0") for _ in range(3)]
            stack.enter_context(cupy.cuda.Stream(non_blocking=True))
            rows += measure(cases(arrays, file, launcher.capability(arrays[0])), options.seconds)
            where = facts.gpu()
        else:
            import stub_driver

            where = {"driver": "a stub that does nothing"}
            for native in (True, False):
                with stub_driver.driven(native) as stub:
                    stub.library.stub_recording(0)
                    arrays = [stub_driver.FakeArray(4096 * i) for i in (1, 2, 3)]
                    found = cases(arrays, file, 90)
                    name = "" if native else ", through ctypes"
                    rows += measure({k + name: f for k, f in found.items()}, options.seconds / 2)
    harness.save("enqueue", found_facts | where, rows)
    slow = rows[0]["times"]["median"] > LIMIT
    if slow:
        print(f"expected {rows[0]['name']} to take at most {LIMIT * 1e6:.0f} us", file=sys.stderr)
    return 1 if slow else 0


def measure(found: dict[str, Callable[[], Any]], seconds: float) -> list[dict[str, Any]]:
    times = timing.alternate(found, seconds=seconds, rounds=31)
    for name, spread in times.items():
        median, low, high = (1e6 * spread[key] for key in ("median", "p10", "p90"))
        print(f"  {name:60s} {median:6.2f} us  ({low:.2f} to {high:.2f})")
    return [{"name": name, "times": spread} for name, spread in times.items()]


if __name__ == "__main__":
    sys.exit(main())
