"""Figures of sequences that may differ in length, as of speech and text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def edit_distance(reference: Sequence[Any], hypothesis: Sequence[Any]) -> int:
    """The fewest insertions, deletions and replacements that turn one sequence into the other. Levenshtein, 1966.

    reference, hypothesis: strings, or lists of anything that can be compared.

    >>> edit_distance("kitten", "sitting"), edit_distance([3, 1, 4], [3, 4])
    (3, 1)
    """
    row = np.arange(len(hypothesis) + 1)
    place = np.arange(len(hypothesis) + 1)
    for i, wanted in enumerate(reference):
        differs = np.array([wanted != got for got in hypothesis], np.int64)
        best = np.minimum(row[1:] + 1, row[:-1] + differs)  # leave `wanted` out, or match it
        # Insertions run along the row: the least of best[k] + (j - k) over all k <= j.
        row = np.minimum.accumulate(np.r_[i + 1, best] - place) + place
    return int(row[-1])


def error_rate(references: Sequence[Sequence[Any]], hypotheses: Sequence[Sequence[Any]]) -> float:
    """Edits per element of the references: 0 is perfect; 1 is what saying nothing gives, and more is possible.

    references, hypotheses: as many sequences each, of words (the word error rate), of characters or of labels. NaN
    where the references are empty; ValueError if one has more sequences.

    >>> error_rate(["the cat sat".split(), "on it".split()], ["the cat".split(), "on it".split()])
    0.2
    """
    if len(references) != len(hypotheses):
        raise ValueError("error_rate: expected as many hypotheses as references, "
                         f"got {len(hypotheses)} and {len(references)}")  # fmt: skip
    total = sum(map(len, references))
    return sum(map(edit_distance, references, hypotheses)) / total if total else float("nan")
