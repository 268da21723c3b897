"""A safetensors file as a mapping of names to arrays in its memory map: what is not asked for is not read."""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from weft.io.container import Array, CheckpointError, as_tensor, read_contents
from weft.io.header import HeaderError


class MappedFile(Mapping[str, Array]):
    """The tensors of a safetensors file by name, read when they are asked for, in the memory of the file itself.

    The header is checked when the file is opened, the checksum of a tensor (in files of Weft's) when it is first asked
    for. Arrays are read-only and stay good as long as they live: `weft.save` over the file writes a new one beside it
    and leaves the old one's memory alone. Where a writer aligned a tensor badly it is copied. A program that shortens
    the file in place takes the memory away, as with any map. CheckpointError names the file and the tensor.

    >>> weights = MappedFile("model.safetensors")                                           # doctest: +SKIP
    >>> weights["wte.weight"][:5]                                                           # doctest: +SKIP
    """

    def __init__(self, path: Path | str):
        self.path = Path(path)
        try:
            with open(self.path, "rb") as file:
                self.contents = read_contents(file, self.path)
                self.map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except HeaderError as error:
            raise CheckpointError(f"{self.path}: {error}") from None
        self.verified: set[str] = set()

    @property
    def metadata(self) -> dict[str, Any]:
        """The file's metadata; what is not JSON comes as text."""
        return self.contents.metadata

    def __getitem__(self, name: str) -> Array:
        entry = self.contents.entries[name]
        start, size = self.contents.start + entry.begin, entry.end - entry.begin
        if start + size > len(self.map):
            raise CheckpointError(f"{self.path}: tensor {name!r}: the file was cut after it was opened")
        raw: Array = np.frombuffer(self.map, np.uint8, size, start) if size else np.empty(0, np.uint8)
        if name not in self.verified:
            try:
                array = as_tensor(raw, name, self.contents)
            except HeaderError as error:
                raise CheckpointError(f"{self.path}: {error}") from None
            self.verified.add(name)
        else:
            array = raw.view(entry.dtype).reshape(entry.shape)
        return array if array.flags.aligned else array.copy()

    def __iter__(self) -> Iterator[str]:
        return iter(self.contents.entries)

    def __len__(self) -> int:
        return len(self.contents.entries)

    def __contains__(self, name: object) -> bool:
        return name in self.contents.entries

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor, for which nothing is read."""
        return self.contents.entries[name].shape
