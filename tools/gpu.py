"""Everything worth doing with an NVIDIA GPU and no network, in one command that ends inside nine minutes: `make gpu`.

    python tools/gpu.py [--out FOLDER] [--minutes 9] [--device cuda] [--only PHASE...] [--python PYTHON]

Each phase is a process of its own with a budget; one that fails or runs out of time costs the others nothing. FOLDER
gets each phase's log, the reports and golden vectors, `summary.json` and, to carry away, `results.tar.gz`. The table
comes last. `--device emulated` rehearses on a machine without a GPU: what cannot run there is left out by name.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESERVE = 10  # seconds, for packing the results and the table


@dataclass
class Phase:
    """One process: its command, the most seconds it may take, and what it cannot do without.

    `{out}`, `{device}` and `{python}` in the command are filled in. needs: "gpu", or the name of a program.
    """

    name: str
    command: list[str]
    seconds: int
    needs: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)


SANITIZED = ["{python}", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-m", "gpu and sanitized",
             "--device={device}"]  # fmt: skip
PHASES = [
    Phase("build", ["{python}", "setup.py", "-q", "build_ext", "--inplace"], 120, [], {"WEFT_REQUIRE_NATIVE": "1"}),
    Phase("golden", ["{python}", "benchmarks/golden.py", "--device", "{device}", "--out", "{out}/golden"], 40),
    Phase("tests", ["{python}", "-m", "pytest", "-q", "-m", "gpu", "--device={device}"], 145),
    Phase("gemm", ["{python}", "-m", "weft", "bench", "gemm", "--device", "{device}", "--out", "{out}/bench",
                   "--seconds", "0.5"], 60, ["gpu"]),  # fmt: skip
    Phase("conv", ["{python}", "-m", "weft", "bench", "conv", "--device", "{device}", "--out", "{out}/bench",
                   "--seconds", "0.1"], 40, ["gpu"]),  # fmt: skip
    Phase("attention", ["{python}", "-m", "weft", "bench", "attention", "--device", "{device}", "--out", "{out}/bench",
                        "--seconds", "0.1", "--match", "8192 bf16"], 30, ["gpu"]),  # fmt: skip
    Phase("rowwise", ["{python}", "-m", "weft", "bench", "rowwise", "--device", "{device}", "--out", "{out}/bench",
                      "--seconds", "0.1"], 40, ["gpu"]),  # fmt: skip
    Phase("train", ["{python}", "-m", "weft", "bench", "train", "--device", "{device}", "--out", "{out}/bench"], 80,
          ["gpu"]),  # fmt: skip
    Phase("optim", ["{python}", "-m", "weft", "bench", "optim", "--device", "{device}", "--out", "{out}/bench",
                    "--seconds", "0.3"], 20, ["gpu"]),  # fmt: skip
    Phase("maps", ["{python}", "benchmarks/bench_gpu_maps.py"], 30, ["gpu"]),
    Phase("enqueue", ["{python}", "benchmarks/bench_enqueue.py"], 20, ["gpu"]),
    Phase("peers", ["{python}", "benchmarks/gpu_peers.py", "--out", "{out}/peers.json"], 35, ["gpu"]),
    Phase("memcheck", ["compute-sanitizer", "--tool", "memcheck", "--error-exitcode", "9", *SANITIZED], 60,
          ["gpu", "compute-sanitizer"]),  # fmt: skip
    Phase("racecheck", ["compute-sanitizer", "--tool", "racecheck", "--error-exitcode", "9", *SANITIZED], 60,
          ["gpu", "compute-sanitizer"]),  # fmt: skip
    Phase("synccheck", ["compute-sanitizer", "--tool", "synccheck", "--error-exitcode", "9", *SANITIZED], 60,
          ["gpu", "compute-sanitizer"]),  # fmt: skip
]


def lacks(phase: Phase, device: str) -> str:
    """Why `phase` cannot run here, or nothing."""
    for need in phase.needs:
        if need == "gpu":
            if device == "emulated":
                return "needs a GPU"
        elif shutil.which(need) is None:
            return f"{need} is not installed"
    return ""


def run(phase: Phase, fill: dict[str, str], seconds: float, log: Path) -> tuple[str, float, str]:
    """(outcome, seconds, last line said) of the phase's process, which is killed with its children at the limit."""
    command = [word.format(**fill) for word in phase.command]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "python"), "PYTHONUNBUFFERED": "1", **phase.environment}
    start = time.monotonic()
    with log.open("w") as file:
        try:
            process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
            )
        except OSError as error:
            return f"failed: {error}", 0.0, ""
        try:
            code = process.wait(timeout=seconds)
            outcome = "ok" if code == 0 else f"failed ({code})"
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            outcome = "out of time"
    said = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return outcome, time.monotonic() - start, said[-1].strip()[:90] if said else ""


def pack(out: Path) -> Path:
    """Everything but the archive itself in one file, which is easier to carry away."""
    target = out / "results.tar.gz"
    with tarfile.open(target, "w:gz") as archive:
        for path in sorted(out.rglob("*")):
            if path.is_file() and path != target:
                archive.add(path, path.relative_to(out))
    return target


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "gpu")
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1 ..., or emulated for a rehearsal")
    parser.add_argument("--only", nargs="+", choices=[p.name for p in PHASES], metavar="PHASE")
    parser.add_argument("--python", default=sys.executable)
    options = parser.parse_args()
    if options.device != "emulated" and shutil.which("nvidia-smi") is None:
        print("make gpu: expected an NVIDIA GPU and its driver, got none (--device emulated rehearses without)")
        return 2
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + 60 * options.minutes - RESERVE
    fill = {"out": str(out), "device": options.device, "python": options.python}
    rows = []
    for phase in PHASES:
        if options.only and phase.name not in options.only:
            continue
        left = end - time.monotonic()
        lack = lacks(phase, options.device) or ("no time left" if left < 5 else "")
        if lack:
            rows.append({"phase": phase.name, "outcome": f"left out: {lack}", "seconds": 0.0, "said": ""})
            continue
        print(f"== {phase.name}, at most {min(left, phase.seconds):.0f} s", flush=True)
        outcome, seconds, said = run(phase, fill, min(left, phase.seconds), out / f"{phase.name}.log")
        print(f"   {outcome}, {seconds:.0f} s: {said}", flush=True)
        rows.append({"phase": phase.name, "outcome": outcome, "seconds": round(seconds, 1), "said": said})
    (out / "summary.json").write_text(json.dumps({"device": options.device, "rows": rows}, indent=1) + "\n")
    archive = pack(out)
    print(f"\n{'phase':10s} {'seconds':>7s}  {'outcome':28s} last line")
    for row in rows:
        print(f"{row['phase']:10s} {row['seconds']:7.1f}  {row['outcome']:28s} {row['said']}")
    print(f"results: {out}, packed in {archive.name}")
    return 1 if any(row["outcome"].startswith(("failed", "out of")) for row in rows) else 0


if __name__ == "__main__":
    raise SystemExit(main())
