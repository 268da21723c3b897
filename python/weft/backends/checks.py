"""Values that must keep a rule: an exception names one that does not, and where it stands.

    check("index", indices, "embedding: expected indices in [0, 4)", p=4)
    # IndexError: embedding: expected indices in [0, 4), got 9 at position (1, 0)

On the CPU it is raised at once, for the first. On a device a kernel looks (check.cu), and the exception comes with the
values that are next waited for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from weft.backends.array import OnDevice, namespace

NEVER = -(1 << 63)  # no index is that


class Rule(NamedTuple):
    """bad: of NumPy values and the parameters p and q; text: the same in C, as check.cu has it."""

    error: type[Exception]
    bad: Callable[[Any, int, int], Any]
    text: str
    unsigned: str = ""
    """The text for uint64, where a negative q would wrap; "" for the same."""


def bad_offsets(x: Any, p: int, q: int) -> Any:
    before = np.concatenate([x[:1], x[:-1]])
    return np.where(np.arange(x.size) == 0, x != 0, (x < before) | (x > p) | (x - before > q))


RULES = {
    # in [0, p), or q
    "index": Rule(
        IndexError, lambda x, p, q: ((x < 0) | (x >= p)) & (x != q), "(a < 0 || a >= p) && a != q",
        "a >= p && (int64_t(q) < 0 || a != q)",
    ),
    "probability": Rule(ValueError, lambda x, p, q: ~((x >= 0) & (x <= 1)), "!(a >= 0 && a <= 1)"),
    "exponent": Rule(ValueError, lambda x, p, q: x < 0, "a < 0", "false"),
    # from 0, never falling, to at most p, by at most q
    "offset": Rule(ValueError, bad_offsets, "i == 0 ? a != 0 : a < before || a > p || a - before > q"),
}  # fmt: skip


def check(rule: str, x: Any, message: str, *, shape: tuple[int, ...] | None = None, p: int = 0, q: int = NEVER) -> None:
    """Raise `message` with a value of x that breaks `rule`, and its position in `shape`, by default that of x."""
    shape = x.shape if shape is None else shape
    if isinstance(x, OnDevice):
        namespace(x).check(rule, x, message, shape, p, q)
    if not isinstance(x, np.ndarray):  # a Tensor comes only from a replay of what passed before
        return
    bad = RULES[rule].bad(x, p, q)
    if bad.any():
        first = int(np.argmax(bad))
        raise RULES[rule].error(f"{message}, got {x.reshape(-1)[first]!s} at position {index_in(shape, first)}")


def index_in(shape: tuple[int, ...], position: int) -> Any:
    """A position in C order as an index of an array of `shape`: a number where that has one axis."""
    at = tuple(map(int, np.unravel_index(position, shape)))
    return at[0] if len(at) == 1 else at
