"""Weights in several safetensors files, with a JSON index that says which tensor is where.

The layout is that of Hugging Face's libraries: `model-00001-of-00002.safetensors`, ..., and
`model.safetensors.index.json` with a `weight_map` of tensor names to file names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from weft.io.container import Array, CheckpointError, write_file
from weft.io.durable import write_durably
from weft.io.foreign import KINDS
from weft.io.header import MAX_HEADER, MAX_TENSORS, HeaderError, read_object
from weft.io.mapped import MappedFile

WHOLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
MAX_SHARDS = 1000
SHARD_BYTES = 5_000_000_000


class ShardedFiles(Mapping[str, Array]):
    """The tensors that an index lists, by name, each read from the memory map of its shard when it is asked for.

    Shards are files beside the index: a name with a folder in it is refused. All headers are checked at once, and that
    every listed tensor is in the file where it is listed, and no other tensor in any. CheckpointError says what is
    wrong, and where.

    >>> tensors = ShardedFiles("model/model.safetensors.index.json")  # doctest: +SKIP
    >>> tensors["encoder.weight"].shape  # doctest: +SKIP
    """

    def __init__(self, index: Path | str):
        self.path = Path(index)
        places = read_index(self.path)
        missing = [name for name in sorted(set(places.values())) if not (self.path.parent / name).is_file()]
        if missing:
            raise CheckpointError(f"{self.path}: expected the shard {missing[0]} beside it, got no such file")
        self.shards = {name: MappedFile(self.path.parent / name) for name in dict.fromkeys(places.values())}
        self.places = places
        for tensor, name in places.items():
            if tensor not in self.shards[name]:
                raise CheckpointError(f"{self.path}: expected tensor {tensor!r} in {name}, got a file without it")
        for name, shard in self.shards.items():
            stray = next((tensor for tensor in shard if places.get(tensor) != name), None)
            if stray is not None:
                raise CheckpointError(f"{self.path}: expected every tensor of {name} in the index, got {stray!r}")

    def __getitem__(self, name: str) -> Array:
        return self.shards[self.places[name]][name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)

    def __contains__(self, name: object) -> bool:
        return name in self.places

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor, for which nothing is read."""
        return self.shards[self.places[name]].shape(name)


def read_index(path: Path) -> dict[str, str]:
    """Tensor name -> file name of an index, every file name one that stays in the folder."""
    try:
        fields = read_object(path, MAX_HEADER)
        places = fields.get("weight_map")
        if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
            raise HeaderError("expected a weight_map of tensor names to file names")
        if len(places) > MAX_TENSORS or len(set(places.values())) > MAX_SHARDS:
            raise HeaderError(f"expected at most {MAX_TENSORS} tensors in {MAX_SHARDS} files, got "
                              f"{len(places)} in {len(set(places.values()))}")  # fmt: skip
        for name in places.values():
            if not re.fullmatch(r"[\w\-][\w\-. ]*\.safetensors", name):
                raise HeaderError(f"expected names of .safetensors files beside the index, got {name!r}")
    except HeaderError as error:
        raise CheckpointError(f"{path}: {error}") from None
    return places


def find(folder: Path) -> Path:
    """The weights in a folder: model.safetensors, else the index of shards. FileNotFoundError, or a word on others."""
    for name in (WHOLE, INDEX):
        if (folder / name).is_file():
            return folder / name
    others = sorted(path for suffix in KINDS for path in folder.glob(f"*{suffix}"))
    if others:
        return others[0]  # whose reader says what it is, and how it is converted
    raise FileNotFoundError(f"load: expected {WHOLE} or {INDEX} in {folder}, got neither")


def write_sharded(
    folder: Path | str, tensors: Mapping[str, Array], metadata: Mapping[str, Any] | None = None,
    *, shard_bytes: int = SHARD_BYTES,
) -> list[Path]:  # fmt: skip
    """Write arrays to files of at most `shard_bytes` (one tensor at least) in a folder; returns their paths.

    Where one file is enough it is model.safetensors, otherwise shards and their index. All or nothing: the new files
    have names of their own until the index, the last to be written, makes them the folder's weights; then what the
    folder held before is removed. CheckpointError on a full disk, which leaves the old weights.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     paths = write_sharded(folder, {"a": np.ones(4), "b": np.ones(4)}, shard_bytes=32)
    >>> [path.name for path in paths]
    ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors', 'model.safetensors.index.json']
    """
    folder = Path(folder)
    if shard_bytes < 1:
        raise ValueError(f"save: expected shards of at least 1 byte, got {shard_bytes}")
    folder.mkdir(parents=True, exist_ok=True)
    old = written_before(folder)
    groups: list[dict[str, Array]] = [{}]
    filled = 0
    for name, array in tensors.items():
        if groups[-1] and filled + array.nbytes > shard_bytes:
            groups.append({})
            filled = 0
        groups[-1][name] = array
        filled += array.nbytes
    if len(groups) > MAX_SHARDS:
        raise ValueError(f"save: expected at most {MAX_SHARDS} files, got shard_bytes {shard_bytes} for {len(groups)}")
    if len(groups) == 1:
        paths = [folder / WHOLE]
        write_file(paths[0], groups[0], metadata)
    else:
        paths = write_shards(folder, groups, metadata, old)
    for path in old - set(paths):
        path.unlink(missing_ok=True)
    return paths


def write_shards(
    folder: Path, groups: list[dict[str, Array]], metadata: Mapping[str, Any] | None, old: set[Path]
) -> list[Path]:  # fmt: skip
    """The shards under names that `old` does not hold, then the index."""
    for version in range(len(old) + 1):
        stem = f"model-v{version + 1}" if version else "model"
        shards = [folder / f"{stem}-{i + 1:05d}-of-{len(groups):05d}.safetensors" for i in range(len(groups))]
        if not old & set(shards):
            break
    places: dict[str, str] = {}
    try:
        for path, group in zip(shards, groups):
            write_file(path, group, metadata)
            places |= dict.fromkeys(group, path.name)
        total = sum(array.nbytes for group in groups for array in group.values())
        index = {"metadata": {"total_size": total}, "weight_map": places}
        write_durably(folder / INDEX, [json.dumps(index, indent=2).encode()])
    except (OSError, CheckpointError) as error:
        for path in shards:
            path.unlink(missing_ok=True)
        kept = error if isinstance(error, CheckpointError) else f"save: could not write {folder / INDEX}: {error}"
        raise CheckpointError(str(kept)) from error
    return [*shards, folder / INDEX]


def written_before(folder: Path) -> set[Path]:
    """The files of the weights that a folder holds; what its index names, if that can be read."""
    files = {folder / name for name in (WHOLE, INDEX) if (folder / name).is_file()}
    if folder / INDEX in files:
        try:
            files |= {folder / name for name in read_index(folder / INDEX).values()}
        except CheckpointError:
            return files
    return files
