"""What is poor about a table, said before anything is trained on it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from weft.data.tables import Table

Array = np.ndarray[Any, Any]


class Finding(NamedTuple):
    """One weakness: its kind, the columns it is in, how many rows it concerns, and a sentence.

    >>> data_report(Table({"a": [1.0, 1.0]})).findings[0].kind
    'constant column'
    """

    kind: str
    columns: tuple[str, ...]
    rows: int
    text: str


class DataReport:
    """The findings of `data_report`; printed, a line each.

    >>> print(data_report(Table({"a": [1.0, 2.0, 3.0], "b": ["x", "", "y"]})))
    3 rows, 2 columns: 1 finding
      missing values      b: 1 of 3 rows (33.3 %)
    """

    def __init__(self, rows: int, columns: int, findings: list[Finding]):
        self.rows, self.columns, self.findings = rows, columns, findings

    def of(self, kind: str) -> list[Finding]:
        """The findings of one kind."""
        return [finding for finding in self.findings if finding.kind == kind]

    def __str__(self) -> str:
        head = f"{self.rows:,} rows, {self.columns} columns: {counted(len(self.findings), 'finding')}"
        lines = [f"  {f.kind:<18}  {', '.join(f.columns)}{': ' if f.columns else ''}{f.text}" for f in self.findings]
        return "\n".join([head, *lines])

    __repr__ = __str__


def data_report(
    table: Table, target: str | None = None, test: Table | None = None, *, outliers: float = 3.0, capped: float = 0.01,
    leak: float = 0.98, imbalance: float = 10.0, many_names: int = 100,
) -> DataReport:  # fmt: skip
    """What to look at before training: missing values, useless and duplicate columns, outliers, leaks, rare classes.

    target: the column to predict: of names, or of numbers (classes, if there are at most 20 whole ones). test: rows
    that are kept apart, with the same columns. Kinds of findings:

    - missing values; infinite numbers; constant column; duplicate columns (equal in every row); duplicate rows;
    - many names: more than `many_names`, or one per row, as a key has;
    - outliers: numbers more than `outliers` interquartile ranges outside the quartiles;
    - capped values: at least the share `capped` of the rows has exactly the largest, or smallest, of many values, as
      where a measurement ends (in the target it bounds what can be learned);
    - leak: a column that by itself orders the target like the target (rank correlation >= `leak`), or tells its class
      so often; a row of `test` that is also in `table`;
    - class imbalance: the largest class has over `imbalance` times the samples of the smallest.

    Nothing is changed. KeyError if the target is no column; ValueError if `test` has other columns.

    >>> report = data_report(Table({"size": [1.0, 2.0, 3.0], "twice": [2.0, 4.0, 6.0], "price": [5.0, 9.0, 7.0]}))
    >>> len(report.findings)
    0
    """
    if target is not None:
        table[target]
    if test is not None and set(test.names) != set(table.names):
        raise ValueError(f"data_report: expected test rows with the columns {', '.join(table)}, got {', '.join(test)}")
    findings = [*columns_alone(table, outliers, capped, many_names), *twins(table)]
    if target is not None:
        findings += [*leaks(table, target, leak), *rare_classes(table, target, imbalance)]
    if test is not None:
        findings += overlap(table, test)
    return DataReport(len(table), len(table.names), findings)


def columns_alone(table: Table, outliers: float, capped: float, many_names: int) -> Iterator[Finding]:
    """What can be seen in one column."""
    n = len(table)
    for name, values in table.items():
        absent = is_missing(values)
        known = values[~absent]
        if absent.any():
            yield Finding("missing values", (name,), int(absent.sum()), share(int(absent.sum()), n))
        distinct, counts = np.unique(known, return_counts=True)
        if len(distinct) < 2:
            text = f"{distinct[0] if len(distinct) else 'nothing'} in every row that has a value"
            yield Finding("constant column", (name,), len(known), text)
        elif values.dtype.kind == "U":
            if len(distinct) > many_names or len(distinct) == n > 2:
                yield Finding("many names", (name,), n, f"{len(distinct):,} in {n:,} rows, as a key has")
        else:
            endless = int(np.isinf(known).sum())
            if endless:
                yield Finding("infinite numbers", (name,), endless, share(endless, n))
                continue
            low, high = np.quantile(known, [0.25, 0.75])
            far = int(((known < low - outliers * (high - low)) | (known > high + outliers * (high - low))).sum())
            if far and high > low:
                text = f"{share(far, n)} beyond {outliers:g} interquartile ranges"
                yield Finding("outliers", (name,), far, f"{text}, {known.min():,g} to {known.max():,g}")
            if len(distinct) > 20:
                for end, word in ((0, "smallest"), (-1, "largest")):
                    # A pile at the very end that is far above its neighbours', not the foot of a smooth slope.
                    if counts[end] >= max(capped * len(known), 5 * np.median(counts)):
                        text = f"{share(int(counts[end]), n)} have exactly the {word}, {distinct[end]:,g}"
                        yield Finding("capped values", (name,), int(counts[end]), text)


def twins(table: Table) -> Iterator[Finding]:
    """Columns, and rows, that stand twice."""
    names = table.names
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            x, y = table[a], table[b]
            if x.dtype.kind == y.dtype.kind and np.array_equal(x, y, equal_nan=x.dtype.kind == "f"):
                yield Finding("duplicate columns", (a, b), len(table), "equal in every row")
    copies = len(table) - len(set(keys_of(table)))
    if copies:
        yield Finding("duplicate rows", (), copies, f"{share(copies, len(table))} repeat another")


def leaks(table: Table, target: str, limit: float) -> Iterator[Finding]:
    """Columns that alone give the target away."""
    truth = table[target]
    classes = class_of(truth)
    for name, values in table.items():
        usable = ~is_missing(values) & ~is_missing(truth)
        if name == target or usable.sum() < 3:
            continue
        x = values[usable]
        if classes is None and x.dtype.kind == "f":
            strength = abs(rank_correlation(x, truth[usable]))
            text = f"rank correlation {strength:.3f} with {target}"
        elif classes is not None:
            strength = told(x, classes[usable])
            text = f"tells {target} right in {strength:.1%} of the rows"
        else:
            continue
        if strength >= limit:
            yield Finding("leak", (name,), int(usable.sum()), text)


def rare_classes(table: Table, target: str, limit: float) -> Iterator[Finding]:
    classes = class_of(table[target])
    if classes is None:
        return
    names, counts = np.unique(table[target][~is_missing(table[target])], return_counts=True)
    if len(counts) > 1 and counts.max() > limit * counts.min():
        few, many = names[counts.argmin()], names[counts.argmax()]
        text = f"{counts.max():,} rows of {many}, {counts.min():,} of {few}"
        yield Finding("class imbalance", (target,), int(counts.min()), text)


def overlap(table: Table, test: Table) -> Iterator[Finding]:
    known = set(keys_of(table))
    both = sum(key in known for key in keys_of(Table({name: test[name] for name in table})))
    if both:
        yield Finding("leak", (), both, f"{share(both, len(test))} to test on are also among those to train on")


def told(x: Array, classes: Array) -> float:
    """How often this column alone tells the class of half the rows, as the other half teaches it: by the most frequent
    class of its value, or of many numbers by the nearest one. 0 unless it errs less than half as often as the largest
    class alone would."""
    learn = np.random.default_rng(0).permutation(len(x)) % 2 == 0  # not every second row, which files may alternate
    values, place = np.unique(x, return_inverse=True)
    if x.dtype.kind == "f" and len(values) > 64:
        order = np.argsort(x[learn], kind="stable")
        known, their = x[learn][order], classes[learn][order]
        after = np.searchsorted(known, x[~learn]).clip(1, len(known) - 1)
        guess = their[after - (x[~learn] - known[after - 1] < known[after] - x[~learn])]
    else:
        c = int(classes.max()) + 1
        counts = np.bincount(place[learn] * c + classes[learn], minlength=len(values) * c).reshape(-1, c)
        guess = counts.argmax(axis=1)[place[~learn]]
    wrong = float((guess != classes[~learn]).mean())
    without = 1 - float(np.bincount(classes[~learn]).max() / (~learn).sum())
    return 1 - wrong if wrong < without / 2 else 0.0


def class_of(values: Array) -> Array | None:
    """The classes of a target as 0, 1, ..., or None if it is of numbers to regress."""
    known = values[~is_missing(values)]
    distinct = np.unique(known)
    if values.dtype.kind == "f" and (len(distinct) > 20 or (distinct != np.rint(distinct)).any()):
        return None
    return np.searchsorted(distinct, values).clip(0, max(len(distinct) - 1, 0))


def rank_correlation(x: Array, y: Array) -> float:
    """Spearman's, equal values sharing a rank; 0 where one of both is constant."""

    def ranks(values: Array) -> Array:
        _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
        return (np.cumsum(counts) - (counts + 1) / 2)[place]

    a, b = ranks(x), ranks(y)
    spread = a.std() * b.std()
    return float(((a - a.mean()) * (b - b.mean())).mean() / spread) if spread else 0.0


def is_missing(values: Array) -> Array:
    return values == "" if values.dtype.kind == "U" else np.isnan(values)


def keys_of(table: Table) -> list[tuple[str, ...]]:
    """Each row as something that can be compared, NaN equal to NaN."""
    return list(zip(*(map(str, values.tolist()) for _, values in table.items())))


def share(part: int, whole: int) -> str:
    return f"{part:,} of {counted(whole, 'row')} ({100 * part / whole:.1f} %)"


def counted(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"
