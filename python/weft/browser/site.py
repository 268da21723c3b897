"""The files of a run's page: what it shows, the exported model, the library that runs it, and digits to try."""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from weft.autograd import no_grad
from weft.browser import runtime

PAGE = Path(__file__).parent / "page"
TYPES = {
    ".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8", ".json": "application/json", ".wasm": "application/wasm",
    ".svg": "image/svg+xml", ".bin": "application/octet-stream", ".onnx": "application/octet-stream",
}  # fmt: skip
ENGINES = {"tfjs": "TensorFlow.js 4.22.0", "onnx": "onnxruntime-web 1.30.0"}
TESTED, REMEMBERED = 100, 100  # digits to try, and digits of the training split that teaching must not unlearn

Files = dict[str, tuple[str, bytes]]  # path -> (type, content)


class Site(NamedTuple):
    """Everything that a page asks for."""

    engine: str
    files: Files


def make(
    name: str, recipe: ModuleType, settings: Mapping[str, Any], model: Any, *, engine: str | None = None,
    data: str | None = None, figure: float | None = None,
) -> Site:  # fmt: skip
    """The page's files of a trained model.

    engine: "tfjs" or "onnx"; by default tfjs where the model consists of layers that it has. data: the folder of data
    sets; without them the page has no digits to try. ValueError if the recipe is not one of drawn characters.
    """
    ink = getattr(recipe, "INK", None)
    if ink is None:
        raise ValueError(f"serve: expected a run of drawn characters, whose recipe has INK (digits, mnist), got {name}")
    exported, engine = export(model, recipe, engine)
    files = {f"/{path.name}": load(path) for path in sorted(PAGE.iterdir())}
    files["/"] = files.pop("/index.html")
    files |= {f"/model/{path}": content for path, content in exported.items()}
    files |= {f"/lib/{path.name}": load(path) for path in sorted(runtime.get(engine).iterdir())}
    tested, remembered = chosen(recipe, settings, data)
    about = {
        "name": name, "engine": engine, "library": ENGINES[engine], "classes": list(settings["classes"]),
        "size": ink.size, "margin": ink.margin, **ink.affine(), "figure": figure,
        "parameters": sum(p.size for p in model.parameters()),
    }  # fmt: skip
    files["/about.json"] = as_json(about)
    files["/tested.json"] = as_json(described(model, ink, *tested))
    files["/remembered.json"] = as_json(described(model, ink, *remembered))
    return Site(engine, files)


def load(path: Path) -> tuple[str, bytes]:
    return TYPES[path.suffix], path.read_bytes()


def as_json(value: Any) -> tuple[str, bytes]:
    return TYPES[".json"], json.dumps(value, allow_nan=False).encode()


def export(model: Any, recipe: ModuleType, engine: str | None) -> tuple[dict[str, tuple[str, bytes]], str]:
    """The exported model's files by name, and the engine that runs them."""
    import weft

    (example,) = recipe.example()[0].values()
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


def chosen(recipe: ModuleType, settings: Mapping[str, Any], data: str | None) -> tuple[Any, Any]:
    """(images, labels) of test digits and of digits of the training split, as many of each class as can be."""
    from weft.data import MissingDataError

    size = recipe.INK.size
    try:
        parts = recipe.split(recipe.load(data), settings["seed"])
    except MissingDataError:
        return ((np.zeros((0, 1, size, size), np.float32), np.zeros(0, np.int64)),) * 2
    return even(parts[-1], TESTED, len(settings["classes"])), even(parts[0], REMEMBERED, len(settings["classes"]))


def even(samples: Any, count: int, classes: int) -> tuple[Any, Any]:
    """The first samples of each class, in turns: images float32 (count, 1, H, W) in 0..1, and labels."""
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


def described(model: Any, ink: Any, images: Any, labels: Any) -> dict[str, Any]:
    """Images with what Weft makes of them: base 64 of float32, row by row, labels, and probabilities."""
    import weft
    from weft.nn import functional as F

    probabilities = np.zeros((0, 0), np.float32)
    if len(images):
        with no_grad():
            probabilities = F.softmax(model(weft.asarray(ink.scaled(images))), dim=1).numpy()
    return {"images": base64.b64encode(images.astype("<f4").tobytes()).decode(), "labels": labels.tolist(),
            "probabilities": probabilities.astype(float).tolist()}  # fmt: skip
