"""What the files of examples/ share and what is not learning: their options, figures held to bars, and one picture.

An example is a file with a sentence for a docstring and a function `run(example)`; each figure that it reaches goes
through `Example.figure` with the bar it must hold, so a run that falls short says so and exits with 1.
"""

from __future__ import annotations

import argparse
import inspect
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

Choice = TypeVar("Choice")
FORMS = ("short", "default", "full")


class Figure(NamedTuple):
    """One number that an example reached, the bar it is held to, and what others reach on the same data."""

    value: float
    unit: str
    at_least: float | None
    at_most: float | None
    beside: dict[str, float]

    @property
    def holds(self) -> bool:
        low, high = self.at_least, self.at_most
        # NaN holds no bar.
        return (low is None or self.value >= low) and (high is None or self.value <= high)

    @property
    def bar(self) -> str:
        low, high = self.at_least, self.at_most
        parts = [f">= {shown(low)}" if low is not None else "", f"<= {shown(high)}" if high is not None else ""]
        return " and ".join(part for part in parts if part)


class Example:
    """One run of an example: its form ("short", "default" or "full"), device, seed, data folder and output folder.

    >>> example = Example("neuron", form="short")                                           # doctest: +SKIP
    >>> example.figure("accuracy", 97.4, "%", at_least=95, beside={"majority": 11.3})       # doctest: +SKIP
    """

    def __init__(
        self, name: str, form: str = "default", *, device: str | None = None, seed: int = 0,
        data: str | None = None, out: Path | str = "runs/examples",
    ):  # fmt: skip
        if form not in FORMS:
            raise ValueError(f"Example: expected a form of {', '.join(FORMS)}, got {form!r}")
        self.name, self.form, self.device, self.seed, self.data = name, form, device, seed, data
        self.folder = Path(out) / name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.figures: dict[str, Figure] = {}
        self.pictures: list[Path] = []

    def choose(self, *, short: Choice, default: Choice, full: Choice | None = None) -> Choice:
        """The value for this form of the example; `full` is `default` unless it is given.

        >>> epochs = example.choose(short=1, default=5, full=20)                            # doctest: +SKIP
        """
        return {"short": short, "default": default, "full": default if full is None else full}[self.form]

    def seeds(self, full: int = 3) -> Iterator[int]:
        """The seeds to train with: one, or `full` of them in the full form, whose figures are means."""
        return iter(range(self.seed, self.seed + (full if self.form == "full" else 1)))

    def figure(
        self, name: str, value: float, unit: str = "", *, at_least: float | None = None,
        at_most: float | None = None, beside: Mapping[str, float] | None = None,
    ) -> None:  # fmt: skip
        """Print and keep one figure; `beside` names what other methods reach, in the same unit."""
        if name in self.figures:
            raise ValueError(f"{self.name}: expected one figure named {name!r}, got two")
        entry = Figure(float(value), unit, at_least, at_most, {k: float(v) for k, v in (beside or {}).items()})
        self.figures[name] = entry
        text = f"{name}: {shown(entry.value)}{unit_after(unit)}"
        if entry.bar:
            text += f" ({'holds' if entry.holds else 'FALLS SHORT OF'} {entry.bar})"
        if entry.beside:
            text += "; beside it " + ", ".join(f"{k} {shown(v)}" for k, v in entry.beside.items())
        print(text, flush=True)

    def canvas(self, width: float, height: float, columns: int = 1) -> tuple[Any, list[Any]]:
        """An empty matplotlib figure of inches (width, height) in the project's style, and its axes side by side."""
        from weft.train.plots import new_figure

        return new_figure(width, height, columns)

    def picture(self, figure: Any, name: str | None = None) -> Path:
        """Save a matplotlib figure as `folder/NAME.png`; the first one takes the example's own name."""
        path = self.folder / f"{name or self.name}.png"
        figure.savefig(path, format="png")
        self.pictures.append(path)
        print(path, flush=True)
        return path

    def conclude(self, seconds: float, cpu: float) -> bool:
        """Write figures.json, say how long it took, and return whether every bar holds."""
        short = [name for name, figure in self.figures.items() if not figure.holds]
        record = {
            "example": self.name, "form": self.form, "seed": self.seed, "seconds": round(seconds, 1),
            "cpu_seconds": round(cpu, 1),
            "figures": {name: figure._asdict() for name, figure in self.figures.items()},
            "pictures": [path.name for path in self.pictures],
        }  # fmt: skip
        (self.folder / "figures.json").write_text(json.dumps(record, indent=2) + "\n")
        print(f"{self.name} ({self.form}): {seconds:.1f} s, {cpu:.1f} s of CPU")
        if short:
            print(f"{self.name}: falls short: {', '.join(short)}", file=sys.stderr)
        return not short


def tiles(images: Any, columns: int, gap: int = 2, paper: float = 1.0) -> np.ndarray[Any, Any]:
    """One picture of many: images (N, H, W) or (N, C, H, W) in 0..1 -> (rows, columns) of them as imshow takes it.

    C is 1 or 3. Between them and where the last row is not full lies `paper`, 0 black to 1 white.

    >>> tiles(np.zeros((5, 3, 28, 28)), columns=3).shape
    (58, 88, 3)
    """
    images = np.asarray(images)
    n, (height, width) = len(images), images.shape[-2:]
    pixels = np.moveaxis(images.reshape(n, -1, height, width), 1, -1)  # (N, H, W, C)
    rows = -(-n // columns)
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, pixels.shape[-1]), paper, np.float32)
    for i, image in enumerate(pixels):
        top, left = i // columns * (height + gap), i % columns * (width + gap)
        sheet[top : top + height, left : left + width] = image
    return sheet[..., 0] if sheet.shape[-1] == 1 else sheet


def shown(value: float) -> str:
    if not math.isfinite(value):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.4g}"


def unit_after(unit: str) -> str:
    return "" if not unit else unit if unit == "%" else f" {unit}"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options that every example takes."""
    form = parser.add_mutually_exclusive_group()
    for name, text in (("short", "a few seconds, to see it run"), ("full", "all seeds and splits, for the figures")):
        form.add_argument(f"--{name}", dest="form", action="store_const", const=name, default="default", help=text)
    parser.add_argument("--device", help="cpu, cuda, cuda:1 ...; default: a GPU where there is one")
    parser.add_argument("--seed", type=int, default=0, help="of weights, splits and order (default 0)")
    parser.add_argument("--data", metavar="DIR", help="where the data sets are (default: WEFT_DATA, a cache folder)")
    parser.add_argument("--out", metavar="DIR", default="runs/examples", help="default: runs/examples")


def perform(run: Callable[[Example], None], name: str, options: argparse.Namespace) -> int:
    """Run an example with the options of the command line: 0 if every bar holds, 1 if not, 66 where data is missing."""
    import weft
    from weft.data import MissingDataError

    settings = {key: getattr(options, key) for key in ("form", "device", "seed", "data", "out")}
    example = Example(name, **settings)
    weft.set_default_device(example.device)
    weft.random.seed(example.seed)
    begun, cpu = time.perf_counter(), time.process_time()
    try:
        run(example)
    except MissingDataError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return os.EX_NOINPUT
    return 0 if example.conclude(time.perf_counter() - begun, time.process_time() - cpu) else 1


def main(run: Callable[[Example], None]) -> None:
    """The last line of an example's file: reads the command line, runs `run(example)`, exits.

    >>> if __name__ == "__main__":                                                          # doctest: +SKIP
    ...     main(run)
    """
    path = Path(inspect.getfile(run))
    parser = argparse.ArgumentParser(prog=path.name, description=sys.modules[run.__module__].__doc__)
    arguments(parser)
    sys.exit(perform(run, path.stem, parser.parse_args()))
