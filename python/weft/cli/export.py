"""`weft export RUN --to onnx|tfjs`: a trained run's model as files that other runtimes read."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="a run's folder, such as runs/digits-1, or the name of a "
                        "pretrained model, such as mnist-cnn")  # fmt: skip
    parser.add_argument("--to", required=True, choices=["onnx", "tfjs"],
                        help="a file of ONNX, or the folder of a TensorFlow.js layers model")  # fmt: skip
    parser.add_argument("--out", metavar="PATH", help="where to write (default: model.onnx or tfjs in the run's "
                        "folder, which is runs/NAME for a pretrained model)")  # fmt: skip
    parser.add_argument("--opset", type=int, help="the version of ONNX's operators, 17 to 26 (default 18)")


def run(options: argparse.Namespace) -> int:
    from weft.cli.runs import folder_of, open_run

    if options.to == "tfjs" and options.opset is not None:
        raise ValueError("expected --opset with --to onnx, got it with --to tfjs")
    recipe, _, model = open_run(options.run, "example")
    folder = folder_of(options.run)
    if options.out is None:
        folder.mkdir(parents=True, exist_ok=True)  # that of a pretrained model is made by its first export
    inputs, axes = recipe.example()
    if options.to == "tfjs":
        return to_tfjs(model, inputs, Path(options.out or folder / "tfjs"))
    return to_onnx(model, inputs, axes, Path(options.out or folder / "model.onnx"), options.opset)


def to_tfjs(model: Any, inputs: dict[str, Any], folder: Path) -> int:
    import weft

    if len(inputs) != 1:
        raise ValueError(f"export: expected a model of one input for TensorFlow.js, got {', '.join(inputs)}; "
                         "--to onnx has no such limit")  # fmt: skip
    (example,) = inputs.values()
    path = weft.tfjs.export(model, example, folder)
    shards = json.loads(path.read_text())["weightsManifest"][0]["paths"]
    files = [path, *(folder / name for name in shards)]
    size = sum(file.stat().st_size for file in files)
    print(f"{path}: {size:,} bytes in {len(files)} files; tf.loadLayersModel reads them")
    return 0


def to_onnx(model: Any, inputs: dict[str, Any], axes: Any, path: Path, opset: int | None) -> int:
    import weft

    names = list(inputs)
    more = {} if opset is None else {"opset": opset}
    weft.onnx.export(model, tuple(inputs.values()), path, input_names=names, dynamic_axes=axes, **more)
    axes = axes or {name: {0: "batch"} for name in names}
    shown = ", ".join(
        f"{name} ({', '.join(axes[name].get(i, str(n)) for i, n in enumerate(x.shape))})" for name, x in inputs.items()
    )
    print(f"{path}: {path.stat().st_size:,} bytes, {shown} -> output")
    return 0
