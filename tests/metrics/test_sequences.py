"""Distances between sequences against the recursion that defines them."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from weft import metrics

rng = np.random.default_rng()


def by_definition(a, b):
    @functools.cache
    def distance(i, j):
        if not i or not j:
            return i + j
        return min(distance(i - 1, j) + 1, distance(i, j - 1) + 1, distance(i - 1, j - 1) + (a[i - 1] != b[j - 1]))

    return distance(len(a), len(b))


def test_distances_are_those_of_the_definition():
    for _ in range(200):
        a, b = (rng.integers(0, 3, rng.integers(0, 9)).tolist() for _ in range(2))
        assert metrics.edit_distance(a, b) == by_definition(a, b) == metrics.edit_distance(b, a)
    assert metrics.edit_distance("", "abc") == 3 and metrics.edit_distance(["ab"], ["a", "b"]) == 2


def test_error_rate():
    references, hypotheses = [[1, 2, 3], [4]], [[1, 3], [5, 6]]
    assert metrics.error_rate(references, hypotheses) == 3 / 4
    assert np.isnan(metrics.error_rate([], [])) and np.isnan(metrics.error_rate([[]], [[1]]))
    with pytest.raises(ValueError, match="as many hypotheses as references, got 1 and 2"):
        metrics.error_rate(references, [[1]])
