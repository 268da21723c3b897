"""What a run writes while it goes: metrics.jsonl, and which steps are safe."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from weft.io import CheckpointWarning, write_durably

Record = dict[str, Any]


class Journal:
    """The records of a run, in memory and as lines of JSON in `folder`/metrics.jsonl (folder None: in memory only).

    A full disk costs lines, not the run: the records stay here, and the next checkpoint holds them.
    """

    def __init__(self, folder: Path | None):
        self.folder = folder
        self.records: list[Record] = []

    def add(self, record: Record) -> None:
        self.records.append(record)
        self.append("metrics.jsonl", as_line(record))

    def acknowledge(self, step: int) -> None:
        """Say that the checkpoint of `step` is on the disk: no step up to it can be lost any more."""
        self.append("acknowledged", f"{step}\n")

    def append(self, name: str, line: str) -> None:
        if self.folder is None:
            return
        try:
            with open(self.folder / name, "a", encoding="utf-8") as file:
                file.write(line)
        except OSError as error:
            warnings.warn(CheckpointWarning(f"{self.folder / name} could not be written: {error}"), stacklevel=2)

    def dump(self) -> Any:
        """The records as bytes, uint8 (n,), for a checkpoint."""
        return np.frombuffer("".join(map(as_line, self.records)).encode(), np.uint8)

    def restore(self, dumped: Any) -> None:
        """Take the records of a checkpoint, and make the file hold exactly those: what came after it never happened."""
        text = bytes(dumped)
        self.records = [json.loads(line) for line in text.decode().splitlines()]
        if self.folder is not None:
            try:
                write_durably(self.folder / "metrics.jsonl", [text])
            except OSError as error:
                warnings.warn(CheckpointWarning(f"metrics.jsonl could not be written: {error}"), stacklevel=2)


def as_line(record: Record) -> str:
    plain = {key: as_plain(value) for key, value in record.items()}
    return json.dumps(plain, allow_nan=False) + "\n"


def as_plain(value: Any) -> Any:
    """A value that JSON has: arrays as lists, NaN and infinities as null."""
    if isinstance(value, np.ndarray):
        return [as_plain(item) for item in value.tolist()]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return [as_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
