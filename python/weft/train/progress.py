"""What a person sees of a run: a bar while an epoch goes, a line when it is over."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

HIDDEN = ("event", "seconds", "samples_per_second", "idle", "learning_rate", "epoch", "step")


class Progress:
    """A tqdm bar on a terminal or in a notebook, and lines on stdout; nothing at all where `show` is false."""

    def __init__(self, show: bool):
        self.show = show
        self.bar: Any = None

    def start(self, total: int, done: int, text: str) -> None:
        if self.show:
            self.bar = bar_class()(total=total, initial=done, desc=text, unit="batch", leave=False, disable=None)

    def update(self, batches: int, loss: float) -> None:
        if self.bar is not None:
            self.bar.set_postfix_str(f"loss {loss:.4f}", refresh=False)
            self.bar.update(batches)

    def stop(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    def say(self, text: str) -> None:
        """A line that does not tear the bar."""
        if not self.show:
            return
        if self.bar is not None:
            self.bar.write(text, file=sys.stdout)
        else:
            print(text)
        sys.stdout.flush()  # whoever reads a pipe or a log file sees it now


def bar_class() -> Any:
    """tqdm's bar for where this runs: widgets in a notebook that has ipywidgets, else text.

    tqdm.auto falls back by itself, but warns each time of what a notebook without ipywidgets lacks.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "IProgress not found")
        from tqdm.auto import tqdm

    return tqdm


def describe(record: dict[str, Any], goal: str) -> str:
    """A record as one line: training figures, validation figures, time."""
    here = {key: value for key, value in record.items() if isinstance(value, float) and key not in HIDDEN}
    train = "  ".join(f"{key} {value:.4f}" for key, value in here.items() if not key.startswith("validation_"))
    own = {key.removeprefix("validation_"): value for key, value in here.items() if key.startswith("validation_")}
    checked = "  ".join(f"{key} {value:.4f}" for key, value in own.items())
    rate = f"{record['samples_per_second']:,.0f} samples/s" if record.get("samples_per_second") else ""
    if "idle" in record:
        rate += f"  idle {record['idle']:.0%}"
    parts = [goal, train, f"validation: {checked}" if checked else "", f"{record['seconds']:.1f} s  {rate}"]
    return "  |  ".join(part for part in parts if part)


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """Dicts as text: one row for each, the keys of all across."""
    columns = list(dict.fromkeys(key for result in results for key in result))
    rows = [columns, *[[show(key, result.get(key)) for key in columns] for result in results]]
    widths = [max(len(row[i]) for row in rows) for i in range(len(columns))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def show(key: str, value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        small = 0 < abs(value) < 0.01
        return f"{value:.1f}" if key == "seconds" else f"{value:.3g}" if small else f"{value:.4f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
