"""Run an example as a user does, then compare every model that it called with its ONNX export in onnxruntime."""

from __future__ import annotations

import inspect
import json
import multiprocessing
import os
import runpy
import sys
import threading
from pathlib import Path

import numpy as np

from weft.autograd import Tensor
from weft.nn import Module

#: What most examples import: read once by the server that their processes are forked from.
IMPORTED = ["run_example", "onnx_checks", "weft.onnx", "onnxruntime", "weft.train.plots", "sklearn.ensemble",
            "matplotlib.figure", "matplotlib.backends.backend_agg", "sklearn.linear_model"]  # fmt: skip

#: The axes of any length by the inputs' names, where they are not just each one's first.
AXES = {
    ("letters", "state"): {"letters": {1: "batch"}, "state": {1: "batch"}},
    ("tokens", "asked"): {"tokens": {0: "batch"}, "asked": {0: "asked"}},
}


class Models:
    """The modules that are called from outside of any other one, by their structure, each with its last arguments."""

    def __init__(self):
        self.seen, self.inside, self.call = {}, threading.local(), Module.__call__

    def __enter__(self):
        def watched(module, *args, **kwargs):
            if getattr(self.inside, "one", False):
                return self.call(module, *args, **kwargs)
            self.inside.one = True
            try:
                out = self.call(module, *args, **kwargs)
            finally:
                self.inside.one = False
            names = tuple(name for name, _ in module.named_parameters())
            given = inspect.signature(module.forward).bind(*args, **kwargs)
            if names and isinstance(given.args[0], (Tensor, np.ndarray)):  # Keras's symbols hold no values
                self.seen[type(module), names] = module, given
            return out

        Module.__call__ = watched
        return self

    def __exit__(self, *_):
        Module.__call__ = self.call


def plain(x):
    return x.numpy() if isinstance(x, Tensor) else x


def run(path: str, options: list[str], folder: Path) -> None:
    """In a process of its own: what it prints goes to folder/printed, its exports' errors to folder/exported.json."""
    printed = os.open(folder / "printed", os.O_WRONLY | os.O_CREAT)
    os.dup2(printed, 1)
    os.dup2(printed, 2)
    os.environ["WEFT_NUM_THREADS"] = "1"  # the other cores run other tests
    sys.argv = [path, *options]
    code = 0
    with Models() as models:
        try:
            runpy.run_path(path, run_name="__main__")
        except SystemExit as stop:
            code = stop.code or 0
    if code == 0:
        (folder / "exported.json").write_text(json.dumps(export(models, folder)))
    sys.exit(code)


def export(models: Models, folder: Path) -> dict[str, str]:
    """What went wrong with each model, which is nothing, "", where onnxruntime computes the same."""
    from onnx_checks import check_export

    errors = {}
    for number, ((kind, names), (module, bound)) in enumerate(models.seen.items()):
        name = f"{number} {kind.__name__} of {len(names)} parameters"
        inputs = [plain(x) for x in bound.args]
        axes = AXES.get(tuple(bound.arguments))
        try:
            check_export(module.to("cpu"), inputs, folder / f"{number}.onnx", 18, axes)
            errors[name] = ""
        except Exception as error:
            errors[name] = f"{type(error).__name__}: {error}"
    return errors


def started(path: Path, options: list[str], folder: Path) -> tuple[int, str]:
    """The exit status of an example in a process of its own, and what it printed."""
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(IMPORTED)
    process = server.Process(target=run, args=(str(path), options, folder))
    process.start()
    process.join()
    return process.exitcode, (folder / "printed").read_text()
