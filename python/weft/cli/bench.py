"""`weft bench [NAME...]`: the benchmarks of a checkout, one process each."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help="benchmarks/bench_NAME.py; default: all")
    parser.add_argument("--list", action="store_true", help="name them, with their first line, and run none")


def run(options: argparse.Namespace) -> int:
    folder = Path(__file__).resolve().parents[3] / "benchmarks"
    scripts = {path.stem.removeprefix("bench_"): path for path in sorted(folder.glob("bench_*.py"))}
    if not scripts:
        raise FileNotFoundError(f"expected bench_*.py in {folder}, got none: they come with a checkout, not a wheel")
    unknown = [name for name in options.names if name not in scripts]
    if unknown:
        raise ValueError(f"expected one of {', '.join(scripts)}, got {unknown[0]}")
    chosen = options.names or list(scripts)
    if options.list:
        for name in chosen:
            print(f"{name:14s} {scripts[name].read_text().splitlines()[0].strip(chr(34))}")
        return 0
    failed = []
    for name in chosen:
        print(f"== {name}", flush=True)
        if subprocess.run([sys.executable, str(scripts[name])], cwd=folder.parent).returncode:
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0
