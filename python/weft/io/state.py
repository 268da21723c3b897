"""`save` and `load`: state_dicts, however nested, as one safetensors file.

A flat dict of arrays is a plain safetensors file under its own names, which any other tool reads. In a nested one (an
optimizer's, a whole training state) arrays are named by their path, `optimizer.state.0.exp_avg`, and a JSON text in the
metadata says what the tree around them looks like.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from weft.backends.array import OnDevice
from weft.io.container import Array, CheckpointError, read_file, write_file
from weft.io.mapped import MappedFile
from weft.io.shards import ShardedFiles, find, write_sharded

TREE = "weft.tree"
MAX_DEPTH = 64


def save(
    path: Path | str, state: Mapping[str, Any], metadata: Mapping[str, Any] | None = None,
    *, shard_bytes: int | None = None,
) -> int:  # fmt: skip
    """Write a state_dict to one safetensors file, durably and with checksums; returns the size of what it wrote.

    state: dict of arrays or Tensors of any device; dicts, lists, tuples, numbers, strings and None may nest. metadata:
    JSON to go with it. shard_bytes: `path` is a folder, in which flat state_dicts go to files of at most this size and
    an index. TypeError names the path of anything else; CheckpointError on a full disk, which leaves the old file.

    >>> weft.save("model.safetensors", model.state_dict())                                  # doctest: +SKIP
    """
    if not isinstance(state, Mapping):
        raise TypeError(f"save: expected a dict (a state_dict), got {type(state).__name__}")
    tensors: dict[str, Array] = {}
    tree = pack(state, (), tensors)
    described = dict(metadata or {})
    if any(name.startswith("weft.") for name in described):
        raise ValueError("save: expected metadata names without 'weft.', which is reserved")
    flat = set(tensors) == set(state) and all(isinstance(name, str) for name in state)
    if shard_bytes is not None:
        if not flat:
            raise TypeError("save: expected a flat dict of arrays to write in shards, got a nested one")
        return sum(file.stat().st_size for file in write_sharded(path, tensors, described, shard_bytes=shard_bytes))
    if not flat:
        described[TREE] = tree
    return write_file(path, tensors, described)


def load(path: Path | str, *, mapped: bool = False) -> Any:
    """The state_dict that `save` wrote, or the tensors of any safetensors file: name -> NumPy array.

    path: a file, the index of a sharded one (.index.json), or a folder with model.safetensors or its index. mapped: a
    mapping that reads a tensor when it is asked for, from the file's memory map, read-only (`weft.io.MappedFile`).
    Checksums are verified where the file has them. CheckpointError names a damaged file and its tensor; for pickles
    (.pt, .pth, .bin, .ckpt, .pkl) and .h5 files, which Weft does not open, it gives the line that converts them.

    >>> model.load_state_dict(weft.load("model.safetensors"))                               # doctest: +SKIP
    """
    path = Path(path)
    if path.is_dir():
        path = find(path)
    if path.name.endswith(".index.json"):
        shards = ShardedFiles(path)
        return shards if mapped else {name: array.copy() for name, array in shards.items()}
    return open_mapped(path) if mapped else load_with_metadata(path)[0]


def open_mapped(path: Path) -> Any:
    """A mapped file, or the tree that its metadata says is around its tensors."""
    file = MappedFile(path)
    return as_tree(path, file, file.metadata[TREE]) if TREE in file.metadata else file


def load_with_metadata(path: Path | str, *, checksums: bool = False) -> tuple[dict[Any, Any], dict[str, Any]]:
    """The state_dict in a file, and the metadata that `save` was given."""
    tensors, metadata = read_file(path, checksums=checksums)
    return (as_tree(path, tensors, metadata.pop(TREE)) if TREE in metadata else tensors), metadata


def as_tree(path: Path | str, tensors: Mapping[str, Array], tree: Any) -> Any:
    try:
        return unpack(tree, tensors)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{path}: expected a tree of the file's tensors in {TREE}, got {error!r}") from None


def pack(value: Any, path: tuple[str, ...], tensors: dict[str, Array]) -> Any:
    """`value` as JSON, its arrays moved into `tensors`. A dict in the result has one key, the kind of what it holds."""
    if value is None or type(value) in (bool, int, str):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"float": repr(float(value))}
    if isinstance(value, np.generic) and value.dtype.kind in "biuf":
        return pack(value.item(), path, tensors)
    if isinstance(value, Mapping):
        if all(type(key) is str for key in value):
            return {"dict": {key: pack(item, (*path, key), tensors) for key, item in value.items()}}
        if all(type(key) in (str, int) for key in value):
            return {"items": [[key, pack(item, (*path, str(key)), tensors)] for key, item in value.items()]}
        raise TypeError(f"save: expected str or int keys at {'.'.join(path)!r}, got {list(value)[:3]}")
    if isinstance(value, (list, tuple)):
        items = [pack(item, (*path, str(i)), tensors) for i, item in enumerate(value)]
        return {"tuple": items} if isinstance(value, tuple) else items
    array = value.numpy() if hasattr(value, "numpy") else value.get() if isinstance(value, OnDevice) else value
    if not isinstance(array, np.ndarray):
        raise TypeError(f"save: expected arrays, numbers, strings, dicts, lists at {'.'.join(path)!r}, "
                        f"got {type(value).__name__}")  # fmt: skip
    name = unused(".".join(path), tensors)
    tensors[name] = array
    return {"tensor": name}


def unused(name: str, tensors: dict[str, Array]) -> str:
    """`name`, or with a number behind it: {"a": {"b": x}, "a.b": y} has two arrays of one name."""
    if name not in tensors:
        return name
    return next(f"{name}~{i}" for i in range(2, len(tensors) + 3) if f"{name}~{i}" not in tensors)


def unpack(value: Any, tensors: Mapping[str, Array], depth: int = 0) -> Any:
    """What `pack` turned into JSON."""
    if depth > MAX_DEPTH:
        raise ValueError(f"more than {MAX_DEPTH} levels")
    if isinstance(value, list):
        return [unpack(item, tensors, depth + 1) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "float":
        return float(content)
    if kind == "tuple":
        return tuple(unpack(item, tensors, depth + 1) for item in content)
    if kind == "items":
        return {key: unpack(item, tensors, depth + 1) for key, item in content}
    if kind == "dict":
        return {key: unpack(item, tensors, depth + 1) for key, item in content.items()}
    raise ValueError(f"unknown kind {kind!r}")
