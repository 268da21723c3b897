"""The sum over alignments by its Case rows, against every walk taken one by one."""

import itertools

import numpy as np

from opcheck import Case, checks, within
from weft.ops.ctc import ctc_paths


def walks(emissions, skips, frames, ends):
    """The definition: all sequences of states that are allowed, summed."""
    T, N, L = emissions.shape
    out = np.zeros(N)
    for n in range(N):
        steps, total = int(frames[:, n].sum()), 0.0
        for path in itertools.product(range(L), repeat=steps):
            moves = [b - a for a, b in zip(path, path[1:])]
            allowed = all(m in (0, 1) or (m == 2 and skips[n, b]) for m, b in zip(moves, path[1:]))
            if path[0] < 2 and allowed and ends[n, path[-1]]:
                total += np.exp(sum(emissions[t, n, s] for t, s in enumerate(path)))
        out[n] = np.log(total)
    return out


SKIPS = np.array([[0, 0, 0, 1, 0], [0, 0, 0, 0, 0]], bool)
FRAMES = np.arange(5)[:, None] < [5, 4]
ENDS = np.array([[0, 0, 0, 1, 1], [0, 1, 1, 0, 0]], bool)
CASES = [
    Case(ctc_paths, within(-3, 0, 5, 2, 5), params={"skips": SKIPS, "frames": FRAMES, "ends": ENDS}, oracle=walks,
         name="ctc_paths", slow=True),
    Case(ctc_paths, within(-3, 0, 3, 1, 3), params={"skips": SKIPS[:1, :3], "frames": FRAMES[:3, :1],
                                                    "ends": ENDS[1:, :3]}, oracle=walks, name="ctc_paths of one label"),
]  # fmt: skip
globals().update(checks(CASES))
