"""Fuzz targets: the layers models and the weights of a page that Weft reads back from a browser."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np

from weft.tfjs import FileError, files

FOLDER = Path(tempfile.mkdtemp(prefix="weft-fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
ARRAYS = [("dense/kernel", np.ones((2, 2), "f4")), ("dense/bias", np.zeros(2, "f4"))]
ROOM = 4  # bytes of an array for each byte of a file: uint8 becomes float32


def model(data: bytes) -> None:
    """model.json, beside one shard of 24 bytes: the weights, or a FileError that names the file."""
    path = FOLDER / "model.json"
    (FOLDER / "w.bin").write_bytes(bytes(24))
    try:
        made = files.read_json(data, path)
        if sum(array.nbytes for array in made.values()) > ROOM * (len(data) + 24 * len(data)):
            raise AssertionError("more bytes than the files have")
    except FileError as error:
        if str(FOLDER) not in str(error):
            raise AssertionError("no name of the file") from None


def seeds() -> list[bytes]:
    path = files.write(FOLDER / "seed", {"class_name": "Sequential", "config": {}}, ARRAYS, {"generatedBy": "Weft"})
    whole = json.loads(path.read_text())
    specs = whole["weightsManifest"][0]["weights"]
    quantized = [{**spec, "quantization": {"dtype": "uint8", "scale": 0.5, "min": -1}} for spec in specs]
    return [json.dumps(made).encode() for made in (
        {"weightsManifest": [{"paths": ["w.bin"], "weights": specs}]},
        {"weightsManifest": [{"paths": ["w.bin"], "weights": quantized}]},
        {"weightSpecs": specs, "weightData": "AAAA" * 8},
    )]  # fmt: skip


TARGETS = {"tfjs": (model, seeds)}
