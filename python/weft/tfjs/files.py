"""The files of a layers model: model.json, which lists the weights, and their bytes in shards beside it.

Whoever made them, they are read as hostile: every length is checked against what is on the disk before anything is
allocated, and a shard is a regular file of the same folder.  Source: "Layers API: model.json", tensorflow/tfjs.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from weft.io.durable import write_durably

Array = np.ndarray[Any, Any]

SHARD = 4 << 20  # bytes: what tfjs's own converter writes, small enough for every browser's cache
MAX_JSON = 64 << 20
MAX_WEIGHTS = 100_000
LARGEST = float(np.finfo(np.float32).max)
DTYPES = {"float32": "<f4", "int32": "<i4", "bool": "|b1"}
STORED = {**DTYPES, "float16": "<f2", "uint8": "|u1", "uint16": "<u2"}  # the last three by quantization


class FileError(ValueError):
    """A layers model whose files contradict themselves, or lead out of their folder."""


def write(folder: Path, topology: dict[str, Any], weights: Sequence[tuple[str, Array]], about: dict[str, Any]) -> Path:
    """Write model.json and the shards of float32 `weights`; returns the path of model.json, which is written last."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = b"".join(array.astype("<f4").tobytes() for _, array in weights)
    count = max(1, math.ceil(len(whole) / SHARD))
    names = [f"group1-shard{i + 1}of{count}.bin" for i in range(count)]
    for i, name in enumerate(names):
        write_durably(folder / name, [whole[i * SHARD : (i + 1) * SHARD]])
    specs = [{"name": name, "shape": list(array.shape), "dtype": "float32"} for name, array in weights]
    model = {"format": "layers-model", **about, "convertedBy": None, "modelTopology": topology,
             "weightsManifest": [{"paths": names, "weights": specs}]}  # fmt: skip
    path = folder / "model.json"
    write_durably(path, [json.dumps(model, indent=1, allow_nan=False).encode()])
    return path


def read(path: Path | str) -> dict[str, Array]:
    """The weights of a layers model by their names; `path` as in `load`.  FileError says what is wrong with a file.

    >>> sorted(weft.tfjs.read("page/model"))                                                # doctest: +SKIP
    ['linear_3/bias', 'linear_3/kernel']
    """
    path = Path(path)
    path = path / "model.json" if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(f"tfjs.read: expected a layers model's model.json, got {path}, which is no file")
    if path.stat().st_size > MAX_JSON:
        raise FileError(f"{path}: expected at most {MAX_JSON:,} bytes of JSON, got {path.stat().st_size:,}")
    return read_json(path.read_bytes(), path)


def read_json(text: bytes, path: Path, *, others: bool = True) -> dict[str, Array]:
    """The weights of model.json's text, whose shards lie beside `path`, or of a JSON that holds their bytes itself.

    others: false allows only the second, so that no other file is read.
    """
    try:
        model = json.loads(text, object_pairs_hook=without_duplicates, parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path}: expected JSON, got {error or 'what nests too deeply'}") from None
    expect(isinstance(model, dict), path, "an object", model)
    if "weightData" in model:
        specs, data = model.get("weightSpecs"), model["weightData"]
        expect(isinstance(data, str), path, "weightData in base 64", data)
        try:
            stored = base64.b64decode(data, validate=True)
        except ValueError as error:
            raise FileError(f"{path}: expected weightData in base 64: {error}") from None
        return unpack(check_specs(specs, path), stored, path)
    expect(others, path, "weightSpecs and weightData", sorted(model))
    groups = model.get("weightsManifest")
    expect(isinstance(groups, list) and all(isinstance(group, dict) for group in groups), path,
           "a list weightsManifest of groups", groups)  # fmt: skip
    weights: dict[str, Array] = {}
    for group in groups:
        specs, names = check_specs(group.get("weights"), path), group.get("paths")
        expect(isinstance(names, list) and all(isinstance(name, str) for name in names), path, "names of shards", names)
        shards = [find_shard(path.parent, name) for name in names]
        needed, there = sum(map(stored_bytes, specs)), sum(shard.stat().st_size for shard in shards)
        expect(needed == there, path, f"{needed:,} bytes in {names}", f"{there:,}")
        made = unpack(specs, b"".join(shard.read_bytes() for shard in shards), path)
        expect(not made.keys() & weights.keys(), path, "each weight once", sorted(made.keys() & weights.keys()))
        weights.update(made)
    return weights


def without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("an object with the same name twice")
    return made


def refuse_constant(name: str) -> None:
    raise ValueError(f"{name}, which is no JSON")


def expect(holds: bool, path: Path, wanted: str, got: Any) -> None:
    if not holds:
        shown = repr(got)
        raise FileError(f"{path}: expected {wanted}, got {shown if len(shown) < 200 else shown[:200] + ' ...'}")


def check_specs(specs: Any, path: Path) -> list[dict[str, Any]]:
    """The entries of a list of weights: name, shape, dtype, and how they are quantized, if they are."""
    expect(
        isinstance(specs, list) and len(specs) <= MAX_WEIGHTS, path, f"a list of at most {MAX_WEIGHTS} weights", specs
    )
    seen = set()
    for spec in specs:
        expect(isinstance(spec, dict) and isinstance(spec.get("name"), str), path, "a weight with a name", spec)
        shape, name = spec.get("shape"), spec["name"]
        expect(isinstance(shape, list) and len(shape) <= 8 and all(type(n) is int and 0 <= n < 2**31 for n in shape),
               path, f"a shape of {name}", shape)  # fmt: skip
        expect(spec.get("dtype") in [*DTYPES], path, f"dtype {', '.join(DTYPES)} of {name}", spec.get("dtype"))
        how = spec.get("quantization")
        expect(how is None or isinstance(how, dict) and how.get("dtype") in ("float16", "uint8", "uint16"), path,
               f"float16, uint8 or uint16 as the quantization of {name}", how)  # fmt: skip
        if how is not None and how["dtype"] != "float16":
            expect(
                all(type(how.get(key)) in (int, float) and abs(how[key]) <= LARGEST for key in ("scale", "min")),
                path,
                f"scale and min of {name} in float32",
                how,
            )
        expect(name not in seen, path, "each weight once", name)
        seen.add(name)
    return list(specs)


def stored_dtype(spec: dict[str, Any]) -> np.dtype[Any]:
    return np.dtype(STORED[(spec.get("quantization") or spec)["dtype"]])


def stored_bytes(spec: dict[str, Any]) -> int:
    return math.prod(spec["shape"]) * stored_dtype(spec).itemsize


def unpack(specs: list[dict[str, Any]], data: bytes, path: Path) -> dict[str, Array]:
    """Arrays of their own, native and writable, out of the bytes of all weights one after another."""
    needed = sum(map(stored_bytes, specs))
    expect(needed == len(data), path, f"{needed:,} bytes of weights", f"{len(data):,}")
    made, at = {}, 0
    for spec in specs:
        array = np.frombuffer(data, stored_dtype(spec), math.prod(spec["shape"]), at).reshape(spec["shape"])
        at += stored_bytes(spec)
        how = spec.get("quantization")
        if how is not None and how["dtype"] != "float16":
            array = array.astype(np.float32) * np.float32(how["scale"]) + np.float32(how["min"])
        made[spec["name"]] = array.astype(np.dtype(DTYPES[spec["dtype"]]).newbyteorder("="))
    return made


def find_shard(folder: Path, name: str) -> Path:
    """The regular file `name` in `folder`; FileError for a name that leads elsewhere, links included."""
    plain = bool(name) and not set(name) & set("/\\:\0") and name not in (".", "..")
    path = folder / name if plain else folder
    expect(plain and path.is_file() and path.resolve().parent == folder.resolve(), folder, "shards beside model.json",
           name)  # fmt: skip
    return path
