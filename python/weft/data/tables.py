"""Tables: columns of numbers and of names, read from CSV files and turned into what a network takes."""

from __future__ import annotations

import csv
import io
from collections.abc import ItemsView, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

from weft.data.readers import open_plain, read_some

Array = np.ndarray[Any, Any]
MISSING = frozenset(("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?"))
MAX_BYTES = 1 << 30  # of one file, unpacked


class Table:
    """Columns of one length by name: numbers as float64, missing ones NaN; names as str, missing ones "".

    columns: arrays or lists (N,). ValueError if the lengths differ, TypeError for what is neither number nor name.

    >>> table = Table({"age": [31, 45, 27], "town": ["Ulm", "Bonn", "Ulm"]})
    >>> len(table), table["age"].mean().item(), table.rows([0, 2])["town"].tolist()
    (3, 34.333333333333336, ['Ulm', 'Ulm'])
    """

    def __init__(self, columns: Mapping[str, Any]):
        self.columns = {name: column(name, values) for name, values in columns.items()}
        if len({len(values) for values in self.columns.values()}) != 1:
            lengths = ", ".join(f"{name} {len(values)}" for name, values in self.columns.items())
            raise ValueError(f"Table: expected columns of one length, got {lengths or 'none'}")

    def __getitem__(self, name: str) -> Array:
        if name not in self.columns:
            raise KeyError(f"Table: expected one of {', '.join(self.columns)}, got {name!r}")
        return self.columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def items(self) -> ItemsView[str, Array]:
        """Names and columns."""
        return self.columns.items()

    def __contains__(self, name: object) -> bool:
        return name in self.columns

    def __len__(self) -> int:
        """The number of rows."""
        return len(next(iter(self.columns.values())))

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return list(self.columns)

    @property
    def numeric(self) -> list[str]:
        """The names of the columns of numbers."""
        return [name for name, values in self.columns.items() if values.dtype.kind == "f"]

    def rows(self, indices: Any) -> Table:
        """The rows at `indices`: integers, or a mask."""
        return Table({name: values[np.asarray(indices)] for name, values in self.columns.items()})

    def without(self, *names: str) -> Table:
        """All columns but these; KeyError for one that is not there."""
        for name in names:
            self[name]
        return Table({name: values for name, values in self.columns.items() if name not in names})

    def __repr__(self) -> str:
        kinds = [f"{name} ({'numbers' if name in self.numeric else 'names'})" for name in self]
        return f"Table of {len(self):,} rows: {', '.join(kinds)}"


def column(name: str, values: Any) -> Array:
    """One column as float64 or str."""
    array = np.asarray(values)
    if array.ndim != 1 or array.dtype.kind not in "biufU":
        raise TypeError(f"Table: expected numbers or names (N,) in column {name!r}, got {array.dtype} {array.shape}")
    return array if array.dtype.kind == "U" else array.astype(np.float64)


def read_csv(path: Path | str, names: Sequence[str] | None = None, delimiter: str = ",") -> Table:
    """The table in a CSV file in UTF-8, gzipped or not; a column whose values are all numbers or missing is of numbers.

    names: of the columns; left out, they are the first line. Missing: empty, NA, N/A, NaN, null, None or ?. ValueError
    names the line that has more or fewer values than there are names, a name that stands twice, or an empty file.

    >>> read_csv("california-housing.csv.gz")["longitude"]  # doctest: +SKIP
    """
    path = Path(path)
    with open_plain(path) as file:
        data = read_some(path, file, MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError(f"read_csv: expected at most {MAX_BYTES} bytes in {path}, got more")
    try:
        lines = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), delimiter=delimiter, strict=True)
        rows = [(lines.line_num, row) for row in lines if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"read_csv: expected a CSV file in UTF-8, got {path}: {error}") from None
    if names is None:
        names = [name.strip() for name in rows.pop(0)[1]] if rows else []
    if not rows or len(set(names)) != len(names):
        raise ValueError(f"read_csv: expected rows and a name for each column in {path}, got {len(rows)} rows and "
                         f"{', '.join(names) or 'no names'}")  # fmt: skip
    for line, row in rows:
        if len(row) != len(names):
            raise ValueError(f"read_csv: expected {len(names)} values in line {line} of {path}, got {len(row)}")
    return Table({name: parsed([row[i].strip() for _, row in rows]) for i, name in enumerate(names)})


def parsed(texts: list[str]) -> Array:
    """Numbers, if all texts that are not missing are; else the texts."""
    known = np.array([text not in MISSING for text in texts])
    values = np.full(len(texts), np.nan)
    try:
        values[known] = [number(text) for text in texts if text not in MISSING]
    except ValueError:
        return np.where(known, np.array(texts), "")
    return values


def number(text: str) -> float:
    """A number as files have them; ValueError also for what Python alone reads as one, such as 20_1 or other digits."""
    if "_" in text or not text.isascii():
        raise ValueError(f"number: expected digits, got {text!r}")
    return float(text)


class Preprocessor:
    """A table as an array of float32 that a network can take, by what the training rows say and no others.

    Numbers are scaled; a missing one becomes the median of the training rows, and a column "NAME missing" says where.
    Names become a column per name, "NAME=value", 1 or 0; a missing name is a value of its own.

    scale: "standard", (x - mean) / deviation; "quantile", the place among the training rows as a normal deviate, for
    columns with long tails; None. unseen: what a name, or a missing number, is that the training rows never had:
    "error", or "ignore": zeros for a name, the median for a number. max_names: a column with more names is refused, as
    one of keys would be.

    >>> train = Table({"age": [31.0, np.nan, 27.0], "town": ["Ulm", "Bonn", "Ulm"]})
    >>> prepare = Preprocessor().fit(train)
    >>> prepare.features
    ['age', 'age missing', 'town=Bonn', 'town=Ulm']
    >>> prepare(train.rows([0, 1])).tolist()
    [[1.2247449159622192, 0.0, 0.0, 1.0], [0.0, 1.0, 1.0, 0.0]]
    """

    def __init__(self, scale: str | None = "standard", unseen: str = "error", max_names: int = 100):
        if scale not in ("standard", "quantile", None) or unseen not in ("error", "ignore"):
            raise ValueError("Preprocessor: expected scale standard, quantile or None and unseen error or ignore, "
                             f"got {scale!r} and {unseen!r}")  # fmt: skip
        self.scale, self.unseen, self.max_names = scale, unseen, max_names
        self.features: list[str] = []
        self.parts: dict[str, Numbers | Names] = {}

    def fit(self, table: Table) -> Preprocessor:
        """Learn medians, scales and names from the rows to train on; returns itself."""
        if not len(table):
            raise ValueError("Preprocessor: expected at least one row to learn from, got none")
        self.parts = {
            name: Numbers(name, values, self.scale) if name in table.numeric else Names(name, values, self.max_names)
            for name, values in table.items()
        }
        self.features = [feature for part in self.parts.values() for feature in part.features]
        return self

    def __call__(self, table: Table) -> Array:
        """The rows of any table with the same columns, float32 (N, features)."""
        if not self.parts:
            raise ValueError("Preprocessor: expected fit to be called first")
        if set(table.names) != set(self.parts):
            raise ValueError(f"Preprocessor: expected the columns {', '.join(self.parts)}, got {', '.join(table)}")
        parts = []
        for name, part in self.parts.items():
            if (table[name].dtype.kind == "U") != isinstance(part, Names):
                raise ValueError(f"Preprocessor: expected {type(part).__name__.lower()} in {name!r}, as there were to "
                                 f"learn from, got {table[name].dtype}")  # fmt: skip
            parts.append(part(table[name], self.unseen))
        return np.concatenate(parts, axis=1).astype(np.float32)


class Numbers:
    """One column of numbers, as it was among the training rows."""

    def __init__(self, name: str, values: Array, scale: str | None):
        self.name, self.scale = name, scale
        known = values[~np.isnan(values)]
        if not len(known) or not np.isfinite(known).all():
            raise ValueError(f"Preprocessor: expected finite numbers in {name!r}, got {len(known)} of {len(values)}, "
                             f"{int(np.isinf(known).sum())} of them infinite")  # fmt: skip
        self.median = float(np.median(known))
        self.missing = len(known) < len(values)
        filled = np.where(np.isnan(values), self.median, values)
        self.mean, self.deviation = float(filled.mean()), float(filled.std())
        if filled.min() == filled.max():  # a mean that was rounded would leave a deviation, which divides by next to 0
            self.mean, self.deviation = self.median, 0.0
        self.quantiles, where = np.unique(np.quantile(filled, np.linspace(0, 1, 1001)), return_inverse=True)
        # A value that many rows share stands in the middle of their places.
        middles = np.bincount(where, weights=np.linspace(0, 1, 1001)) / np.bincount(where)
        self.deviates = np.array([NormalDist().inv_cdf(p) for p in np.clip(middles, 1e-3, 1 - 1e-3)])
        self.features = [name, f"{name} missing"] if self.missing else [name]

    def __call__(self, values: Array, unseen: str) -> Array:
        absent = np.isnan(values)
        infinite = int(np.isinf(values).sum())
        if infinite:
            raise ValueError(f"Preprocessor: expected finite numbers in {self.name!r}, got {infinite} infinite")
        if absent.any() and not self.missing and unseen == "error":
            raise ValueError(f"Preprocessor: expected no missing number in {self.name!r}, as there was none to learn "
                             f"from, got {int(absent.sum())}; unseen='ignore' takes the median")  # fmt: skip
        x = np.where(absent, self.median, values)
        if self.scale == "standard":
            x = (x - self.mean) / (self.deviation or 1.0)  # a constant column becomes zeros
        elif self.scale == "quantile":
            x = np.interp(x, self.quantiles, self.deviates)
        return np.stack([x, absent], axis=1) if self.missing else x[:, None]


class Names:
    """One column of names, as it was among the training rows."""

    def __init__(self, name: str, values: Array, most: int):
        self.name, self.values = name, np.unique(values)
        if len(self.values) > most:
            raise ValueError(f"Preprocessor: expected at most {most} different names in {name!r}, "
                             f"got {len(self.values)} in {len(values)} rows")  # fmt: skip
        self.features = [f"{name}={value}" if value else f"{name} missing" for value in self.values]

    def __call__(self, values: Array, unseen: str) -> Array:
        same = values[:, None] == self.values  # (N, names)
        new = ~same.any(axis=1)
        if new.any() and unseen == "error":
            got = ", ".join(np.unique(values[new])[:5])
            known = ", ".join(self.values)
            raise ValueError(f"Preprocessor: expected names of {self.name!r} out of {known}, got {got}; "
                             "unseen='ignore' makes them zeros")  # fmt: skip
        return same.astype(np.float64)
