"""The command `weft`: train a recipe, use a run, look at the machine.

Each subcommand is a module of this package with `arguments(parser)` and `run(options) -> exit code`; only the one that
was asked for is imported, so `weft --help` costs no more than `import weft`.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

COMMANDS = {
    "train": "train one or more recipes: digits, dates, mnist, fashion, cifar10, cifar10_resnet18, shakespeare, or a "
    "file of yours",
    "predict": "classify images with a trained run",
    "generate": "write text with a trained run",
    "serve": "draw on a page of this machine and see a trained run answer, computed in the browser",
    "export": "write a trained run's model as ONNX or for TensorFlow.js",
    "example": "run one of the examples of what deep learning does, or list them",
    "data": "fetch a data set, or say which are here",
    "doctor": "look at CPU, BLAS, extension, driver and CUDA wheels, and say what mends each fault",
    "bench": "run the benchmarks of a checkout",
    "tune": "time the kernels of a matrix product on the GPU, and keep the fastest",
}


def overview() -> str:
    lines = "\n".join(f"  {name:10s} {text}" for name, text in COMMANDS.items())
    return f"usage: weft COMMAND [options]\n\n{lines}\n\nweft COMMAND --help tells more; weft --version the version."


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (default: the process's) and return its exit code: 0 well, 1 failed, 2 misused."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help"):
        print(overview())
        return 0 if words else 2
    if words[0] == "--version":
        import weft

        print(f"weft {weft.__version__}")
        return 0
    name = words.pop(0)
    if name not in COMMANDS:
        print(f"weft: expected one of {', '.join(COMMANDS)}, got {name!r}", file=sys.stderr)
        return 2
    command = importlib.import_module(f"weft.cli.{name}")
    parser = argparse.ArgumentParser(prog=f"weft {name}", description=COMMANDS[name])
    command.arguments(parser)
    options = parser.parse_args(words)
    try:
        return int(command.run(options) or 0)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except (OSError, ValueError, ImportError, RuntimeError) as error:
        # A person at a terminal needs the sentence, not the stack; WEFT_TRACE=1 brings the stack back.
        import os

        if os.environ.get("WEFT_TRACE") == "1":
            raise
        print(f"weft {name}: {error}", file=sys.stderr)
        return 1
