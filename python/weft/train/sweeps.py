"""Sweeps: one training for each choice of hyperparameters, their figures in a table, the best by validation data."""

from __future__ import annotations

import itertools
import json
import math
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from weft.random import Generator, fold
from weft.train.callbacks import improves
from weft.train.journal import as_plain
from weft.train.progress import show, table
from weft.train.stopping import NonFiniteError

Row = dict[str, Any]


class Between:
    """Numbers from `low` to `high` to draw from in a random sweep, evenly or, with `log`, evenly in their logarithm.

    >>> weft.train.Between(1e-4, 1e-1, log=True)
    Between(0.0001, 0.1, log=True)
    """

    def __init__(self, low: float, high: float, log: bool = False):
        if not (math.isfinite(low) and math.isfinite(high) and low < high) or (log and low <= 0):
            raise ValueError(f"Between: expected low < high{', above 0 with log' if log else ''}, got {low} and {high}")
        self.low, self.high, self.log = low, high, log

    def __repr__(self) -> str:
        return f"Between({self.low}, {self.high}, log={self.log})"

    def draw(self, rng: Generator) -> float:
        u = float(rng.uniform_array((), 0.0, 1.0, "float64"))
        if self.log:
            return math.exp(math.log(self.low) + u * (math.log(self.high) - math.log(self.low)))
        return self.low + u * (self.high - self.low)


class Sweep:
    """The rows of a sweep: settings, the means of the trial's figures, seconds, best first; what failed is last.

    Iterating gives the rows, printing the table.

    >>> rows = [{"lr": lr, "validation_loss": abs(lr - 0.1)} for lr in (0.01, 0.1)]
    >>> weft.train.Sweep(rows, ["lr"], "validation_loss").settings
    {'lr': 0.1}
    """

    def __init__(self, rows: Sequence[Row], names: Sequence[str], monitor: str):
        failed = [row for row in rows if not math.isfinite(row[monitor])]
        fine = [row for row in rows if math.isfinite(row[monitor])]
        self.names, self.monitor = list(names), monitor
        self.rows = sorted(fine, key=lambda row: row[monitor], reverse=improves(monitor, 1.0, 0.0)) + failed

    @property
    def best(self) -> Row:
        """The first row; ValueError if no trial had a figure."""
        if not self.rows or not math.isfinite(self.rows[0][self.monitor]):
            raise ValueError(f"Sweep: expected a trial with a finite {self.monitor}, got none: {self.failures()}")
        return self.rows[0]

    @property
    def settings(self) -> Row:
        """The best row's settings, for a call of the trial: `trial(**result.settings)`."""
        return {name: self.best[name] for name in self.names}

    def failures(self) -> str:
        return "; ".join(dict.fromkeys(row["error"] for row in self.rows if row.get("error"))) or "no rows"

    def table(self, rows: int | None = None) -> str:
        """The first `rows` rows as text, the settings on the left."""
        text = table(self.rows[:rows])
        left = len(self.rows) - len(self.rows[:rows])
        return text + (f"\n... and {left} rows more" if left else "")

    def __str__(self) -> str:
        return self.table()

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)


def sweep(
    trial: Callable[..., Mapping[str, float]], space: Mapping[str, Any], *, monitor: str = "validation_loss",
    samples: int | None = None, seeds: Sequence[int] | None = None, seed: int = 0, out: Path | str | None = None,
    progress: bool = False,
) -> Sweep:  # fmt: skip
    """Call `trial(**settings)` for each choice of settings and return the figures it gave, the best row first.

    trial: returns {name: number}, among them `monitor`, which is better lower where "loss" is in its name, else
    higher; measured on validation data, or the best row is best by luck. space: name -> a list of values, and every
    combination is tried; with `samples` so many are drawn at random, without repeats where all are lists, and `Between`
    may stand for a list. seeds: each choice is tried with `seed=` each of these, and its row has the means, with the
    standard deviation of `monitor`. seed: of the draws. A trial that raises NonFiniteError is a row without figures,
    any other error ends the sweep. out: a file of JSON lines, one for each trial as it ends; trials that it holds are
    not run again, so a sweep that was stopped goes on. Random against grid: Bergstra and Bengio, JMLR 2012.

    >>> def trial(lr, width):
    ...     return {"validation_loss": (lr - 0.1) ** 2 + 1 / width}
    >>> weft.train.sweep(trial, {"lr": [0.01, 0.1, 1.0], "width": [4, 8]}).settings
    {'lr': 0.1, 'width': 8}
    """
    if seeds is not None and ("seed" in space or not seeds):
        raise ValueError(f"sweep: expected seeds= of at least one, and then no setting named seed, got {seeds}")
    kept = Kept(None if out is None else Path(out))
    rows = []
    choices = choose(space, samples, seed)
    for number, settings in enumerate(choices, 1):
        results, seconds, error = [], 0.0, None
        for extra in [{}] if seeds is None else [{"seed": each} for each in seeds]:
            record = kept.find(settings | extra)
            if record is None:
                record = kept.add(settings | extra, *attempt(trial, settings | extra, monitor))
            elif monitor not in record["figures"]:
                raise ValueError(f"sweep: expected {monitor!r} in the trials of {out}, got {list(record['figures'])}")
            seconds += record["seconds"]
            error = error or record["error"]
            results.append({name: math.nan if v is None else v for name, v in record["figures"].items()})
        rows.append(settings | summary(results, monitor) | {"seconds": seconds} | ({"error": error} if error else {}))
        if progress:
            said = ", ".join(f"{name} {show(name, value)}" for name, value in rows[-1].items())
            print(f"{number}/{len(choices)}: {said}", flush=True)
    return Sweep(rows, list(space), monitor)


def attempt(trial: Callable[..., Mapping[str, float]], settings: Row, monitor: str) -> tuple[Row, float, str | None]:
    """The figures of one trial, how long it took, and why it has none."""
    begun = time.perf_counter()
    try:
        figures = trial(**settings)
    except NonFiniteError as error:
        return {monitor: math.nan}, time.perf_counter() - begun, str(error)
    if not isinstance(figures, Mapping) or monitor not in figures:
        raise KeyError(f"sweep: expected a trial that returns a dict with {monitor!r}, got {figures!r}")
    if figures.keys() & settings.keys():
        raise ValueError(f"sweep: expected figures with other names than the settings {list(settings)}, "
                         f"got {list(figures)}")  # fmt: skip
    return {name: float(value) for name, value in figures.items()}, time.perf_counter() - begun, None


def summary(results: list[Row], monitor: str) -> Row:
    """The mean of each figure over the seeds; NaN where one has none."""
    names = dict.fromkeys(name for result in results for name in result)
    row = {name: statistics.fmean(result.get(name, math.nan) for result in results) for name in names}
    if len(results) > 1:
        spread = [r[monitor] for r in results]
        row[f"{monitor}_std"] = statistics.stdev(spread) if all(map(math.isfinite, spread)) else math.nan
    return row


def choose(space: Mapping[str, Any], samples: int | None, seed: int) -> list[Row]:
    """The settings to try: the grid, or `samples` draws."""
    lists = {name: list(values) for name, values in space.items() if not isinstance(values, Between | str)}
    empty = [name for name, values in space.items() if isinstance(values, str) or not lists.get(name, [1])]
    if not space or empty or (samples is not None and samples < 1):
        raise ValueError("sweep: expected lists of values (or Between), none empty, and samples >= 1, "
                         f"got {dict(space)} and {samples}")  # fmt: skip
    if len(lists) < len(space):
        if samples is None:
            raise ValueError("sweep: expected samples=N with Between, which has no end, got None")
        rng = Generator(fold(seed, 0))
        pick = lambda values: values[int(rng.integers_array(0, len(values)))]
        return [{n: v.draw(rng) if isinstance(v, Between) else pick(lists[n]) for n, v in space.items()}
                for _ in range(samples)]  # fmt: skip
    grid = [dict(zip(lists, values)) for values in itertools.product(*lists.values())]
    if samples is None or samples >= len(grid):
        return grid
    return [grid[i] for i in sorted(Generator(fold(seed, 0)).permutation_array(len(grid))[:samples].tolist())]


class Kept:
    """The trials in a file of JSON lines; with no file, none."""

    def __init__(self, path: Path | None):
        self.path = path
        self.records: dict[str, Row] = {}
        if path is None or not path.exists():
            return
        lines = path.read_text().splitlines(keepends=True)
        if lines and not lines[-1].endswith("\n"):  # its trial was being written when the process ended: run it again
            path.write_text("".join(lines[:-1]))
            lines.pop()
        for number, line in enumerate(lines, 1):
            try:
                record = json.loads(line)
                self.records[self.key(record["settings"])] = {k: record[k] for k in ("figures", "seconds", "error")}
            except (ValueError, TypeError, KeyError):
                raise ValueError(f"sweep: expected a trial of a sweep in line {number} of {path}, "
                                 f"got {line[:60]!r}") from None  # fmt: skip

    @staticmethod
    def key(settings: Row) -> str:
        return json.dumps({name: as_plain(value) for name, value in settings.items()}, sort_keys=True)

    def find(self, settings: Row) -> Row | None:
        return self.records.get(self.key(settings)) if self.path is not None else None

    def add(self, settings: Row, figures: Row, seconds: float, error: str | None) -> Row:
        record = {"figures": figures, "seconds": seconds, "error": error}
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            plain: Row = {key: {name: as_plain(v) for name, v in values.items()}
                          for key, values in (("settings", settings), ("figures", figures))}  # fmt: skip
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps({**record, **plain}, allow_nan=False) + "\n")
                file.flush()
                os.fsync(file.fileno())
        return record
