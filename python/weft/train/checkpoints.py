"""A folder of checkpoints: the newest, and the one before it in case the newest is damaged."""

from __future__ import annotations

import contextlib
import warnings
from pathlib import Path
from typing import Any

from weft.io import CheckpointError, CheckpointWarning, save
from weft.io.durable import remove_leftovers
from weft.io.state import load_with_metadata

FORMAT = 1


class CheckpointStore:
    """Checkpoints `step-<n>.safetensors` in `folder`, each a nested state_dict in one file.

    keep: how many of the newest stay.

    >>> store = CheckpointStore("runs/digits-1/checkpoints")                                # doctest: +SKIP
    >>> store.save({"step": 3, "model": model.state_dict()}, step=3)                        # doctest: +SKIP
    """

    def __init__(self, folder: Path | str, keep: int = 2):
        if keep < 1:
            raise ValueError(f"CheckpointStore: expected keep >= 1, got {keep}")
        self.folder, self.keep = Path(folder), keep

    def files(self) -> list[tuple[int, Path]]:
        """(step, path) of every checkpoint, oldest first."""
        found = [(path.stem.removeprefix("step-"), path) for path in self.folder.glob("step-*.safetensors")]
        return sorted((int(step), path) for step, path in found if step.isdigit())

    def save(self, state: dict[str, Any], step: int) -> int:
        """Write a checkpoint; when this returns it is on the disk, and its size in bytes is the result.

        CheckpointError, with all older checkpoints still there, if it could not be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CheckpointError(f"save: could not make {self.folder}: {error}") from error
        size = save(self.folder / f"step-{step:09d}.safetensors", state, {"format": FORMAT, "step": step})
        for _, path in self.files()[: -self.keep]:
            with contextlib.suppress(OSError):  # an old checkpoint too many is no reason to fail
                path.unlink()
        return size

    def load(self) -> tuple[dict[str, Any], int] | None:
        """State and step of the newest checkpoint that is whole; None if there is none.

        A damaged one is set aside as `<name>.damaged` with a CheckpointWarning, and the one before it is used.
        CheckpointError if there are checkpoints and every one is damaged.
        """
        remove_leftovers(self.folder)
        damaged = []
        for step, path in reversed(self.files()):
            try:
                state, metadata = load_with_metadata(path, checksums=True)
                if metadata.get("format") != FORMAT or metadata.get("step") != step:
                    raise CheckpointError(f"{path}: expected format {FORMAT} and step {step} in it, got "
                                          f"{metadata.get('format')} and {metadata.get('step')}")  # fmt: skip
            except CheckpointError as error:
                damaged.append(str(error))
                path.replace(path.with_name(path.name + ".damaged"))
                continue
            for text in damaged:
                warnings.warn(CheckpointWarning(f"{text}; using the one of step {step}"), stacklevel=2)
            return state, step
        if damaged:
            raise CheckpointError(f"expected a whole checkpoint in {self.folder}, got only damaged ones: {damaged}")
        return None
