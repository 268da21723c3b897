"""The files of a run's page: what it shows, the exported model, the library that runs it, and digits to try."""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from weft.autograd import no_grad
from weft.browser import runtime
from weft.recipes.common import Ink

PAGE = Path(__file__).parent / "page"
TYPES = {
    ".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8", ".json": "application/json", ".wasm": "application/wasm",
    ".svg": "image/svg+xml", ".bin": "application/octet-stream", ".onnx": "application/octet-stream",
}  # fmt: skip
ENGINES = {"tfjs": "TensorFlow.js 4.22.0", "onnx": "onnxruntime-web 1.30.0"}

Files = dict[str, tuple[str, bytes]]  # path -> (type, content)
Digits = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]  # images, labels


class Site(NamedTuple):
    """Everything that a page asks for."""

    engine: str
    files: Files


def make(
    name: str, model: Any, example: Any, ink: Ink, classes: Sequence[str], *, tested: Digits | None = None,
    remembered: Digits | None = None, engine: str | None = None, figure: float | None = None,
) -> Site:  # fmt: skip
    """The page's files of a model of drawn characters, in eval mode.

    example: an input, with its batch axis. ink: what a drawing becomes before it is one. tested: digits to try, on
    which the page is compared with Python; remembered: digits of the training split, which teaching must not unlearn;
    both (images float32 (N, 1, H, W) in 0..1, labels (N,)). engine: "tfjs" or "onnx"; by default tfjs where the model
    consists of layers that it has. figure: the share of its test split that it gets right, to be shown.
    """
    exported, engine = export(model, example, engine)
    files = {f"/{path.name}": load(path) for path in sorted(PAGE.iterdir())}
    files["/"] = files.pop("/index.html")
    files |= {f"/model/{path}": content for path, content in exported.items()}
    library = sorted(path for path in runtime.get(engine).iterdir() if path.suffix in TYPES)
    files |= {f"/lib/{path.name}": load(path) for path in library}
    about = {
        "name": name, "engine": engine, "library": ENGINES[engine], "classes": list(classes), "size": ink.size,
        "margin": ink.margin, **ink.affine(), "figure": figure, "parameters": sum(p.size for p in model.parameters()),
    }  # fmt: skip
    files["/about.json"] = as_json(about)
    files["/tested.json"] = as_json(described(model, ink, tested))
    files["/remembered.json"] = as_json(described(model, ink, remembered))
    return Site(engine, files)


def load(path: Path) -> tuple[str, bytes]:
    return TYPES[path.suffix], path.read_bytes()


def as_json(value: Any) -> tuple[str, bytes]:
    return TYPES[".json"], json.dumps(value, allow_nan=False).encode()


def export(model: Any, example: Any, engine: str | None) -> tuple[Files, str]:
    """The exported model's files by name, and the engine that runs them."""
    import weft

    with tempfile.TemporaryDirectory() as folder:
        if engine != "onnx":
            try:
                weft.tfjs.export(model, example, folder)
                engine = "tfjs"
            except weft.tfjs.UnsupportedError:
                if engine == "tfjs":
                    raise
        if engine != "tfjs":
            engine = "onnx"
            weft.onnx.export(model, example, Path(folder) / "model.onnx", input_names=["x"], output_names=["scores"])
        return {path.name: load(path) for path in sorted(Path(folder).iterdir())}, engine


def even(samples: Any, classes: int, count: int = 100) -> Digits:
    """The first samples of each class, in turns: images float32 (count, 1, H, W) in 0..1, and labels (count,)."""
    waiting: list[list[Any]] = [[] for _ in range(classes)]
    each = -(-count // classes)
    for i in range(len(samples)):
        image, label = samples[i]
        if len(waiting[label]) < each:
            waiting[label].append(image)
            if all(len(images) == each for images in waiting):
                break
    turns = [
        (image, label) for turn in range(each) for label in range(classes) for image in waiting[label][turn : turn + 1]
    ]
    images = np.stack([image for image, _ in turns[:count]])
    images = images.astype(np.float32) / np.float32(255) if images.dtype == np.uint8 else images.astype(np.float32)
    return images, np.array([label for _, label in turns[:count]])


def described(model: Any, ink: Ink, digits: Digits | None) -> dict[str, Any]:
    """Images with what Weft makes of them: base 64 of float32, row by row, labels, and probabilities."""
    import weft
    from weft.nn import functional as F

    if digits is None:
        return {"images": "", "labels": [], "probabilities": []}
    images, labels = digits
    with no_grad():
        probabilities = F.softmax(model(weft.asarray(ink.scaled(images))), dim=1).numpy()
    return {"images": base64.b64encode(images.astype("<f4").tobytes()).decode(), "labels": labels.tolist(),
            "probabilities": probabilities.astype(float).tolist()}  # fmt: skip
