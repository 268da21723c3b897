"""Fuzzing of everything that reads files of others: coverage-guided, a process with limited memory for each target.

    python fuzz/run.py [--seconds 600] [--targets header weights ...] [--keep DIR]

A target is a function of bytes in TARGETS of one of the files targets_*.py beside this one: {name: (function, seeds)}.
It lets the errors pass that its reader may raise, and nothing else. The time is shared evenly. --keep holds the inputs
that were found, to go on from the next time. Ends with 1 if a target failed; the input that did it is named, and
`python fuzz/run.py --targets NAME --input FILE` runs it again. Needs atheris.
"""

from __future__ import annotations

import argparse
import importlib
import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
LONGEST = 4096  # bytes of an input
MEMORY = 2048  # MiB
SLOWEST = 200  # seconds for one input: a busy machine may stop the process for a while


def targets() -> dict:
    """Name -> (function, seeds) of every targets_*.py."""
    found: dict = {}
    for path in sorted(HERE.glob("targets_*.py")):
        found |= importlib.import_module(path.stem).TARGETS
    return found


def fuzz(name: str, seconds: int, corpus: Path) -> None:
    """Fuzz one target in this process, until libFuzzer ends it."""
    import atheris

    with atheris.instrument_imports(include=["weft"]):
        function, seeds = targets()[name]
    from mutated import limit_memory

    corpus.mkdir(parents=True, exist_ok=True)
    for i, seed in enumerate(seeds()):
        (corpus / f"seed-{i}").write_bytes(seed)
    limit_memory()
    options = [f"-max_total_time={seconds}", f"-max_len={LONGEST}", f"-rss_limit_mb={MEMORY}", f"-timeout={SLOWEST}",
               "-print_final_stats=1", f"-artifact_prefix={corpus.parent}/{name}-", str(corpus)]  # fmt: skip
    atheris.Setup([sys.argv[0], *options], function)
    atheris.Fuzz()


def run(name: str, seconds: int, keep: Path) -> bool:
    """Fuzz one target in a process of its own, and say how it went."""
    command = [sys.executable, __file__, "--child", name, "--seconds", str(seconds), "--keep", str(keep)]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=HERE)
    runs = re.search(r"number_of_executed_units:\s*(\d+)", ended.stderr)
    covered = re.findall(r"cov: (\d+)", ended.stderr)
    good = ended.returncode == 0 and runs is not None
    number = int(runs[1]) if runs else 0
    print(f"{name:14s} {number:>12,} executions  {covered[-1] if covered else '?':>6s} branches  "
          f"{'no failure' if good else 'FAILED'}", flush=True)  # fmt: skip
    if not good:
        print(ended.stdout[-4000:], ended.stderr[-4000:], sep="\n", file=sys.stderr)
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=600, help="for all targets together (default: 600)")
    parser.add_argument("--targets", nargs="+", metavar="NAME", help="by default all")
    parser.add_argument("--keep", type=Path, help="a folder for the inputs that were found")
    parser.add_argument("--input", type=Path, help="run this input through the targets, without fuzzing")
    parser.add_argument("--child", metavar="NAME", help=argparse.SUPPRESS)
    options = parser.parse_args()
    sys.path.insert(0, str(HERE))
    if options.child:
        fuzz(options.child, options.seconds, options.keep / options.child)
        return 0
    known = targets()
    names = options.targets or list(known)
    unknown = [name for name in names if name not in known]
    if unknown:
        parser.error(f"expected targets out of {', '.join(known)}, got {', '.join(unknown)}")
    if options.input:
        for name in names:
            known[name][0](options.input.read_bytes())
        return 0
    with tempfile.TemporaryDirectory() as folder:
        keep = (options.keep or Path(folder)).resolve()
        results = [run(name, max(1, options.seconds // len(names)), keep) for name in names]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
