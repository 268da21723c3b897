"""`weft export RUN --to onnx`: a trained run's model as a file that other runtimes read."""

from __future__ import annotations

import argparse


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="a run's folder, such as runs/digits-1")
    parser.add_argument("--to", required=True, choices=["onnx"], help="the format")
    parser.add_argument("--out", metavar="FILE", help="where to write (default: RUN/model.onnx)")
    parser.add_argument("--opset", type=int, help="the version of ONNX's operators, 17 to 26 (default 18)")


def run(options: argparse.Namespace) -> int:
    from pathlib import Path

    import weft
    from weft.cli.runs import open_run

    recipe, _, model = open_run(options.run, "example")
    inputs, axes = recipe.example()
    names = list(inputs)
    more = {} if options.opset is None else {"opset": options.opset}
    path = Path(options.out or Path(options.run) / "model.onnx")
    weft.onnx.export(model, tuple(inputs.values()), path, input_names=names, dynamic_axes=axes, **more)
    axes = axes or {name: {0: "batch"} for name in names}
    shown = ", ".join(
        f"{name} ({', '.join(axes[name].get(i, str(n)) for i, n in enumerate(x.shape))})" for name, x in inputs.items()
    )
    print(f"{path}: {path.stat().st_size:,} bytes, {shown} -> output")
    return 0
