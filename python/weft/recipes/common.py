"""What the recipes share and what is not learning: the folder of a run, and the lines that are printed around it."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]


class Run:
    """The folder of one training, `out/name-<n>`, and its settings in config.json.

    With `resume` it is the latest folder that there is, and the settings are those it was begun with: another seed
    would be another split, and test data would have been trained on. steps: train for so many optimizer steps in place
    of `epochs`. autocast: "bfloat16" or "float16", in which products run. FileNotFoundError if there is none to resume.

    >>> run = Run("digits", "runs", resume=False, epochs=3, seed=0)                         # doctest: +SKIP
    >>> run.folder, run.epochs, run.seed                                                    # doctest: +SKIP
    (PosixPath('runs/digits-1'), 3, 0)
    """

    def __init__(
        self, name: str, out: Path | str, resume: bool, *, epochs: int, seed: int, steps: int | None = None,
        autocast: str | None = None, **settings: Any,
    ):  # fmt: skip
        self.begun = time.perf_counter()
        self.name, self.resumed = name, resume
        self.folder = latest_folder(name, Path(out)) if resume else new_folder(name, Path(out))
        self.settings = {
            "recipe": name, "epochs": epochs, "steps": steps, "autocast": autocast, "seed": seed, **settings
        }  # fmt: skip
        if resume:
            self.settings = read_config(self.folder)
        else:
            text = json.dumps(self.settings, indent=2) + "\n"
            (self.folder / "config.json").write_text(text)
        self.steps: int | None = self.settings.get("steps")
        self.epochs: int | None = int(self.settings["epochs"]) if self.steps is None else None
        self.seed, self.autocast = int(self.settings["seed"]), self.settings.get("autocast")

    def steps_of(self, loader: Any) -> int:
        """How many optimizer steps the training takes."""
        return self.steps or (self.epochs or 0) * len(loader)

    def announce(self, split: str, model: Any) -> None:
        """Say what is about to be trained on what; `split` tells how the data were divided."""
        self.parameters = sum(p.size for p in model.parameters())
        print(f"{self.name}: {split}")
        length = f"{self.epochs} epochs" if self.steps is None else f"{self.steps:,} steps"
        dtype = f", {self.autocast}" if self.autocast else ""
        print(f"{self.name}: seed {self.seed}, {length}, {self.parameters:,} parameters{dtype}, {self.folder}")

    def conclude(self, **figures: Any) -> dict[str, Any]:
        """Say what was reached, write it to figures.json, and return it as a row of `weft train`'s table."""
        seconds = time.perf_counter() - self.begun
        said = ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in figures.items())
        print(f"{self.name}: {said}; {seconds:.1f} s; {self.folder}")
        length = {"epochs": self.epochs} if self.steps is None else {"steps": self.steps}
        row = {"recipe": self.name, **figures, **length, "seed": self.seed,
               "parameters": self.parameters, "seconds": round(seconds, 1), "run": str(self.folder)}  # fmt: skip
        (self.folder / "figures.json").write_text(json.dumps(row, indent=2) + "\n")
        return row


def taken(name: str, out: Path) -> list[int]:
    return [int(found[1]) for path in out.glob(f"{name}-*") if (found := re.fullmatch(rf"{name}-(\d+)", path.name))]


def latest_folder(name: str, out: Path) -> Path:
    numbers = taken(name, out)
    if not numbers:
        raise FileNotFoundError(f"expected a run to resume in {out / name}-<n>, got none")
    return out / f"{name}-{max(numbers)}"


def new_folder(name: str, out: Path) -> Path:
    number = max(taken(name, out), default=0) + 1
    while True:
        folder = out / f"{name}-{number}"
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:  # another training took it in the meantime
            number += 1


def read_config(folder: Path) -> dict[str, Any]:
    """The settings of a run; FileNotFoundError or ValueError if the folder is none."""
    path = Path(folder) / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"expected a run's folder with config.json and model.safetensors, got {folder}")
    settings = json.loads(path.read_text())
    if not isinstance(settings, dict) or not {"recipe", "epochs", "seed"} <= settings.keys():
        raise ValueError(f"expected the settings of a run (recipe, epochs, seed) in {path}, got others")
    return settings


class Ink(NamedTuple):
    """What a drawing of one character must become for a net to know it: `size` pixels, of which `margin` stay free on
    each side, ink bright and 0 to 1, and from that (x - mean) / std."""

    size: int
    margin: int
    mean: float = 0.0
    std: float = 1.0

    def prepare(self, path: Path | str) -> Array:
        """A photo or drawing as the net's input, float32 (1, size, size)."""
        return self.scaled(prepare_ink(path, self.size, self.margin))

    def scaled(self, images: Array) -> Array:
        """Images (..., size, size), float32 in 0..1 or uint8, as the net's inputs."""
        from weft.data import Normalize

        flat = images.reshape(-1, 1, *images.shape[-2:])
        return Normalize(self.mean, self.std)(flat).reshape(images.shape)

    def affine(self) -> dict[str, float]:
        """`scaled` as x * scale - shift, each rounded to float32 in that order."""
        mean, std = np.float32(self.mean), np.float32(self.std)
        return {"scale": float(1 / std), "shift": float(mean / std)}


def prepare_ink(path: Path | str, size: int, margin: int) -> Array:
    """A photo or drawing of one character as the digit data sets show it: float32 (1, size, size), ink bright, 0 to 1.

    ValueError if the picture is blank; otherwise as `center_ink`.
    """
    from weft.data import read_image

    try:
        return center_ink(read_image(path, channels=1)[0], size, margin)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def center_ink(grey: Array, size: int, margin: int) -> Array:
    """Shades uint8 (H, W) of one character as the digit data sets show it: float32 (1, size, size), ink bright, 0 to 1.

    Dark ink on bright paper is turned over, the ink is cut out, scaled to fit within `margin` pixels of the border, and
    put in the middle. ValueError if all is of one shade. browser/page/ink.js does the same.
    """
    from PIL import Image

    grey = grey.astype(np.float32)  # (H, W)
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    if np.median(border) > 127:
        grey = 255 - grey
    low, high = np.median(grey), grey.max()
    if high - low < 16:
        raise ValueError("expected ink on paper, got a picture of one shade")
    ink = np.clip((grey - low) / (high - low), 0, 1)
    rows, columns = np.nonzero((ink > 0.25).any(axis=1))[0], np.nonzero((ink > 0.25).any(axis=0))[0]
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = (size - 2 * margin) / max(ink.shape)
    shape = [max(1, round(length * scale)) for length in ink.shape]
    small = Image.fromarray((255 * ink).astype(np.uint8)).resize((shape[1], shape[0]), Image.Resampling.BOX)
    out = np.zeros((1, size, size), np.float32)
    top, left = (size - shape[0]) // 2, (size - shape[1]) // 2
    out[0, top : top + shape[0], left : left + shape[1]] = np.asarray(small, np.float32) / 255
    return out


def draw_attention(weights: Array, read: str, written: str, path: Path) -> None:
    """Where the model looked as it wrote: weights (len(written), len(read)) as a picture. Needs matplotlib."""
    from weft.train.plots import new_figure

    figure, (axis,) = new_figure(0.3 * len(read) + 1, 0.3 * len(written) + 1)
    axis.imshow(weights, cmap="Blues", vmin=0, aspect="auto")
    axis.set_xticks(range(len(read)), list(read))
    axis.set_yticks(range(len(written)), list(written))
    axis.set(xlabel="read", ylabel="written")
    figure.savefig(path, format="png")
