"""Measuring beside a peer: alternate in one process, rest before each batch, report medians and spread.

Every report opens with what could disturb it: the BLAS and OpenMP settings, the load, the processor.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"

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


def announce(title: str) -> dict[str, Any]:
    """Print what the figures were measured on, and say so if the machine is busy."""
    from weft.bench import facts

    found = facts.machine()
    facts.announce(title, found)
    return found


def __getattr__(name: str) -> Any:
    """`alternate` and `duration` of weft.bench.timing, which loads NumPy: not before `quiet_environment` has run."""
    from weft.bench import timing

    return getattr(timing, name)


def save(name: str, facts: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps({"machine": facts, "rows": rows}, indent=1) + "\n")
    print(f"  kept in benchmarks/results/{name}.json")
