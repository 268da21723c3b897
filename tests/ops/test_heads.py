"""split_heads by its Case rows."""

import numpy as np
import pytest

import weft
from opcheck import Case, checks
from weft import ops


def oracle(x, parts, heads, batch_first=True):
    x = x if batch_first else x.swapaxes(0, 1)
    y = x.reshape(*x.shape[:2], parts, heads, x.shape[2] // (parts * heads))
    return tuple(y[:, :, i].swapaxes(1, 2) for i in range(parts))


CASES = [
    Case(ops.split_heads, (2, 3, 12), params={"parts": 3, "heads": 2}, oracle=oracle),
    Case(ops.split_heads, (2, 3, 12), params={"parts": 3, "heads": 2, "batch_first": False}, oracle=oracle),
    Case(ops.split_heads, (2, 3, 8), params={"parts": 1, "heads": 4}, oracle=oracle),
    Case(ops.split_heads, (2, 0, 8), params={"parts": 2, "heads": 4}, oracle=oracle),
]
globals().update(checks(CASES))


def test_an_unused_part_has_no_gradient():
    x = weft.Tensor(np.ones((2, 3, 12), np.float32), requires_grad=True)
    _, k, _ = ops.split_heads(x, parts=3, heads=2)
    k.sum().backward()
    np.testing.assert_array_equal(x.grad.data[0, 0], [0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0])


def test_refusal():
    with pytest.raises(ValueError, match=r"split_heads: expected x \(N, L, features\) with a multiple of 6, got"):
        ops.split_heads(weft.ones((2, 3, 8)), parts=3, heads=2)
