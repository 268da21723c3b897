"""Windows gathered and added up, by their Case rows: each is the other's transpose."""

import numpy as np

from opcheck import Case, checks
from weft.ops.windows import add_windows, gather_windows

ALL = slice(None)
TAPS = tuple((ALL, ALL, slice(i, i + 3, 2), slice(j, j + 3)) for i in (0, 1) for j in (0, 2))


def gathered(x, taps):
    return np.stack([x[tap] for tap in taps], axis=2)


def added(x, taps, shape):
    out = np.zeros(shape)
    for k, tap in enumerate(taps):
        out[tap] += x[:, :, k]
    return out


CASES = [
    Case(gather_windows, (2, 3, 4, 5), params={"taps": TAPS}, oracle=gathered, name="gather_windows", order=3),
    Case(add_windows, (2, 3, 4, 2, 3), params={"taps": TAPS, "shape": (2, 3, 4, 5)}, oracle=added, name="add_windows"),
]
globals().update(checks(CASES))
