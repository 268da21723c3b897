"""Measuring beside a peer: alternate in one process, rest before each batch, report medians and spread.

Every report opens with what could disturb it: the BLAS and OpenMP settings, the load, the processor.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
REST = 0.04  # seconds: threads of the other framework stop spinning


def quiet_environment() -> None:
    """Start again with the allocation that suits PyTorch best and no BLAS overrides, before NumPy loads."""
    wanted = {
        "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
        "MALLOC_TRIM_THRESHOLD_": str(1 << 32),
        "MALLOC_TOP_PAD_": str(1 << 26),
    }
    overrides = [k for k in os.environ if k.startswith("OPENBLAS_")]
    if overrides or any(os.environ.get(k) != v for k, v in wanted.items()):
        env = {k: v for k, v in os.environ.items() if k not in overrides} | wanted
        os.execve(sys.executable, [sys.executable, *sys.argv], env)


def machine() -> dict[str, Any]:
    cpu = platform.processor() or platform.machine()
    maker = ""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                cpu = line.split(":")[1].strip()
            if line.startswith("vendor_id"):
                maker = line.split(":")[1].strip()
    except OSError:
        pass
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=Path(__file__).parent
    )
    import numpy

    versions = {"python": platform.python_version(), "numpy": numpy.__version__}
    if "torch" in sys.modules:
        versions["torch"] = sys.modules["torch"].__version__
    return {
        "cpu": cpu,
        "maker": maker,
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 2),
        "versions": versions,
        "commit": commit.stdout.strip(),
        "environment": {
            k: v for k, v in sorted(os.environ.items()) if k.startswith(("OPENBLAS_", "OMP_", "MKL_", "WEFT_"))
        },
    }


def announce(title: str) -> dict[str, Any]:
    """Print what the figures were measured on, and say so if the machine is busy."""
    facts = machine()
    print(
        f"{title}\n  {facts['cpu']}, {facts['cores']} cores, load {facts['load']}, {facts['versions']}, "
        f"commit {facts['commit']}"
    )
    print(f"  settings: {facts['environment'] or 'none of OPENBLAS_*, OMP_*, MKL_*, WEFT_*'}")
    if facts["load"] > 0.7 * facts["cores"]:
        print("  NOTE: the machine is busy; believe ratios only, and those with care")
    if facts["maker"] != "AuthenticAMD":
        print(f"  NOTE: the project's figures are from AMD; on {facts['maker'] or 'this maker'} they are unmeasured")
    return facts


def alternate(
    functions: dict[str, Callable[[], Any]], *, seconds: float = 2.0, rounds: int = 9
) -> dict[str, dict[str, float]]:
    """Median, 10th and 90th percentile of each function's seconds per call, measured in turns."""
    calls = {}
    for name, f in functions.items():
        f(), f(), f()
        start = time.perf_counter()
        f()
        once = max(time.perf_counter() - start, 1e-7)
        calls[name] = max(1, int(seconds / rounds / len(functions) / once))
    samples: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, f in functions.items():
            time.sleep(REST)
            f()
            start = time.perf_counter()
            for _ in range(calls[name]):
                f()
            samples[name].append((time.perf_counter() - start) / calls[name])
    out = {}
    for name, values in samples.items():
        values.sort()
        at = lambda q: values[min(len(values) - 1, int(q * len(values)))]  # noqa: B023
        out[name] = {"median": statistics.median(values), "p10": at(0.1), "p90": at(0.9)}
    return out


def duration(seconds: float) -> str:
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def save(name: str, facts: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps({"machine": facts, "rows": rows}, indent=1) + "\n")
    print(f"  kept in benchmarks/results/{name}.json")
