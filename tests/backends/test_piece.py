"""Gradients of slices are laid together without zeros, and without a copy where they already lie together."""

import numpy as np
import pytest

import weft
from weft.backends import writes
from weft.backends.piece import Pieces, make_up

every = slice(None)


@pytest.mark.parametrize(
    ("indices", "shape", "whole"),
    [
        ([(every, 0), (every, 2), (every, 1)], (4, 3), True),
        ([(every, 0), (every, 1)], (4, 3), False),
        ([(every, 0), (every, 1), (every, 1)], (4, 3), False),
        ([slice(0, 2), slice(2, None)], (4, 3), True),
        ([slice(0, 3), slice(2, None)], (4, 3), False),
        ([slice(0, 2), (every, slice(1, None))], (2, 3), False),
        ([slice(None, None, 2), slice(1, None, 2)], (4,), False),
        ([-1, 0], (2, 3), True),
        ([every], (4, 3), True),
        ([every, every], (4, 3), False),
        ([slice(1, 1), slice(0, None)], (4,), False),
        ([(slice(0, 1), 0)], (4, 3), False),
        ([np.array([0, 1])], (2,), False),
        ([Ellipsis], (2,), False),
    ],
)
def test_slices_make_up_an_array(indices, shape, whole):
    assert make_up(indices, shape) == whole


@pytest.mark.parametrize("first", [slice(0, 2), slice(0, 3)])  # disjoint, overlapping
def test_pieces_add_up(first):
    parts = [(np.full(4, 1.0, "f")[first], first), (np.full(2, 2.0, "f"), slice(2, 4))]
    expected = np.zeros(4, "f")
    for g, index in parts:
        expected[index] += g
    np.testing.assert_array_equal(Pieces(parts, (4,)).whole(), expected)


def test_parts_of_one_array_are_that_array():
    g = np.arange(6, dtype="f").reshape(2, 3)
    assert writes.owner(Pieces([(g[:, i], (every, i)) for i in range(3)], (2, 3)).whole()) is writes.owner(g)
    out = Pieces([(g[:, i], (every, 2 - i)) for i in range(3)], (2, 3)).whole()  # the same memory in another order
    np.testing.assert_array_equal(out, g[:, ::-1])


def test_attention_of_one_projection_needs_no_copy_backward():
    taken = []
    x = weft.Tensor(np.random.default_rng(0).standard_normal((2, 5, 3, 4, 8)).astype("f"), requires_grad=True)
    y = x * 1.0
    y.register_hook(lambda g: taken.append(g.data))
    q, k, v = (y[:, :, i].swapaxes(1, 2) for i in range(3))
    for part in (q, k, v):
        part.register_hook(lambda g: taken.append(g.data))
    weft.scaled_dot_product_attention(q, k, v, is_causal=True).sum().backward()
    *parts, whole = taken
    if weft.which("attention_backward", *[np.ones((1, 1, 1, 1), "f")] * 4, None, *[np.ones((1, 1, 1, 1), "f")] * 2) != (
        "reference"
    ):
        assert len({id(writes.owner(g)) for g in (*parts, whole)}) == 1
    reference = [p.transpose(0, 2, 1, 3) for p in parts]
    assert all(any(np.array_equal(whole[:, :, i], p) for p in reference) for i in range(3))
