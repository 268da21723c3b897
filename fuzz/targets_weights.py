"""Fuzz targets: what Weft reads weights and configurations from."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
from mutated import layout, read_all, seal

from weft.io import CheckpointError, write_file
from weft.io.header import HeaderError, parse
from weft.io.shards import INDEX, read_index
from weft.models import GPT2Config, LlamaConfig, ResNetConfig, ViTConfig, config

FOLDER = Path(tempfile.mkdtemp(prefix="weft-fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
KINDS = (GPT2Config, LlamaConfig, ViTConfig, ResNetConfig)
ARRAYS = {"w": np.ones((2, 3), "f4"), "b": np.zeros(4, "?"), "s": np.array(1.0)}


def header(data: bytes) -> None:
    """The header alone, with a length that is right: the first two bytes say how many bytes of data follow it."""
    size, text = int.from_bytes(data[:2], "little"), data[2:]
    try:
        parse(len(text).to_bytes(8, "little") + text, size)
    except HeaderError as error:
        if not str(error):
            raise AssertionError("no words") from None


def weights(data: bytes) -> None:
    """A whole file, read and mapped."""
    path = FOLDER / "w.safetensors"
    path.write_bytes(data)
    try:
        if read_all(path) > len(data):
            raise AssertionError("more bytes than the file has")
    except CheckpointError as error:
        if str(path) not in str(error):
            raise AssertionError("no name of the file") from None


def index(data: bytes) -> None:
    """The index of shards: every name that is accepted stays in the folder."""
    path = FOLDER / INDEX
    path.write_bytes(data)
    try:
        for name in read_index(path).values():
            if (FOLDER / name).parent.resolve() != FOLDER.resolve() or Path(name).name != name:
                raise AssertionError(f"outside: {name!r}")
    except CheckpointError as error:
        if str(path) not in str(error):
            raise AssertionError("no name of the file") from None


def configuration(data: bytes) -> None:
    """config.json: a configuration whose sizes are sizes, or a ValueError."""
    path = FOLDER / config.CONFIG
    path.write_bytes(data)
    try:
        fields = config.read_config(FOLDER)
        for kind in KINDS:
            if fields.get("model_type") == kind.model_type:
                json.dumps(kind.from_dict(fields).to_dict(), allow_nan=False)
    except ValueError as error:
        if not str(error):
            raise AssertionError("no words") from None


def weight_seeds() -> list[bytes]:
    write_file(FOLDER / "seed.safetensors", ARRAYS, {"epoch": 1})
    plain = {name: array for name, array in ARRAYS.items() if array.dtype != np.float64}
    return [(FOLDER / "seed.safetensors").read_bytes(), seal(*layout(plain)), seal({}, b"")]


def header_seeds() -> list[bytes]:
    seeds = []
    for content in weight_seeds():
        size = int.from_bytes(content[:8], "little")
        seeds.append((len(content) - 8 - size).to_bytes(2, "little") + content[8 : 8 + size])
    return seeds


def index_seeds() -> list[bytes]:
    places = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    return [json.dumps({"metadata": {"total_size": 8}, "weight_map": places}).encode()]


def configuration_seeds() -> list[bytes]:
    rope = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "rope_theta": 1e4}
    made = [kind().to_dict() for kind in KINDS] + [LlamaConfig(rope_parameters=rope).to_dict()]
    return [json.dumps(fields).encode() for fields in made]


TARGETS = {
    "header": (header, header_seeds),
    "weights": (weights, weight_seeds),
    "index": (index, index_seeds),
    "configuration": (configuration, configuration_seeds),
}
