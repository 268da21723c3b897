"""What a figure was measured on: processor, GPU, driver, versions, commit, settings."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

SETTINGS = ("OPENBLAS_", "OMP_", "MKL_", "WEFT_")
PLACES = ("WEFT_DATA", "WEFT_CACHE")  # folders of this machine, which change no figure
PACKAGES = ("numpy", "torch", "cupy", "cuda-bindings", "nvidia-cuda-nvrtc")


def processor() -> tuple[str, str]:
    """The processor's name and its maker, as far as the system tells."""
    name, maker = platform.processor() or platform.machine(), ""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                name = value.strip()
            elif key.strip() == "vendor_id":
                maker = value.strip()
    except OSError:
        pass
    return name, maker


def commit() -> str:
    """The commit of the checkout that runs, marked + where tracked files differ from it; empty outside a checkout."""
    root = Path(__file__).resolve().parents[3]
    if not (root / "pyproject.toml").exists():
        return ""
    ask = lambda *words: subprocess.run(["git", *words], capture_output=True, text=True, cwd=root).stdout.strip()
    try:
        head = ask("rev-parse", "--short", "HEAD")
        return head + "+" * bool(ask("status", "--porcelain", "--untracked-files=no"))
    except OSError:
        return ""


def versions() -> dict[str, str]:
    """Python's version and those of the installed packages that could change a figure."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        for distribution in (name, f"{name}-cuda12x", f"{name}-cuda13x", f"{name}-cu12"):
            try:
                found[name] = metadata.version(distribution)
                break
            except metadata.PackageNotFoundError:
                continue
    return found


def machine() -> dict[str, Any]:
    """The facts of the CPU side, as they are now."""
    cpu, maker = processor()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {
        "cpu": cpu,
        "maker": maker,
        "cores": cores,
        "load": round(os.getloadavg()[0], 2),
        "versions": versions(),
        "commit": commit(),
        "environment": {k: v for k, v in sorted(os.environ.items()) if k.startswith(SETTINGS) and k not in PLACES},
    }


def gpu(index: int = 0) -> dict[str, Any]:
    """The facts of one NVIDIA GPU, through CuPy: name, driver, memory, clocks as found."""
    import cupy

    runtime = cupy.cuda.runtime
    properties = runtime.getDeviceProperties(index)
    facts = {
        "gpu": properties["name"].decode(),
        "capability": f"{properties['major']}.{properties['minor']}",
        "multiprocessors": properties["multiProcessorCount"],
        "l2_bytes": properties["l2CacheSize"],
        "memory_bytes": properties["totalGlobalMem"],
        "driver_cuda": runtime.driverGetVersion(),
        "runtime_cuda": runtime.runtimeGetVersion(),
    }
    query = "driver_version,clocks.sm,clocks.mem,temperature.gpu,power.draw"
    try:
        said = subprocess.run(
            ["nvidia-smi", f"--id={index}", f"--query-gpu={query}", "--format=csv,noheader"],
            capture_output=True, text=True, timeout=20,
        ).stdout.strip().split(", ")  # fmt: skip
        facts.update(zip(query.split(","), said))
    except (OSError, subprocess.TimeoutExpired):
        pass
    return facts


def announce(title: str, facts: dict[str, Any]) -> None:
    """Print what the figures were measured on, and say so where the machine is busy or of another maker."""
    where = f"  {facts['cpu']}, {facts['cores']} cores, load {facts['load']}"
    print(f"{title}\n{where}, {facts['versions']}, commit {facts['commit'] or 'none'}")
    if "gpu" in facts:
        driver = facts.get("driver_version", "?")
        print(f"  {facts['gpu']}, {facts['multiprocessors']} multiprocessors, driver {driver}")
    print(f"  settings: {facts['environment'] or 'none of ' + ', '.join(f'{s}*' for s in SETTINGS)}")
    if facts["load"] > 0.7 * facts["cores"]:
        print("  NOTE: the machine is busy; believe ratios only, and those with care")
    if "gpu" not in facts and facts["maker"] != "AuthenticAMD":
        print(f"  NOTE: the project's figures are from AMD; on {facts['maker'] or 'this maker'} they are unmeasured")
    sys.stdout.flush()
