"""Embedding and scatter_add, by their Case rows."""

import numpy as np
import pytest

import weft
from opcheck import Case, checks, integers, positive
from weft import ops
from weft.ops.embedding import scale_gradient


def embedding_oracle(indices, weight, *, padding_idx=None):
    return weight[indices]


def scatter_add_oracle(g, indices, *, rows):
    out = np.zeros((rows, g.shape[-1]))
    for at in np.ndindex(*indices.shape):
        out[indices[at]] += g[at]
    return out


CASES = [
    Case(ops.embedding, integers(5, 3, 4), (5, 6), oracle=embedding_oracle),
    Case(ops.embedding, integers(5, 7, dtype=np.uint8), (5, 3), oracle=embedding_oracle),
    Case(ops.embedding, integers(5), (5, 3), oracle=embedding_oracle, name="one index"),
    Case(ops.embedding, integers(5, 0), (5, 3), oracle=embedding_oracle, name="no index"),
    Case(ops.scatter_add, (3, 4, 2), integers(5, 3, 4), oracle=scatter_add_oracle, params={"rows": 5}, order=3),
    Case(ops.scatter_add, (30, 33), integers(3, 30, dtype=np.int32), oracle=scatter_add_oracle, params={"rows": 4}),
    Case(ops.scatter_add, (0, 3), integers(5, 0), oracle=scatter_add_oracle, params={"rows": 2}),
    Case(scale_gradient, (3, 4), positive(3, 1), oracle=lambda x, factor: x, grad=False, name="scale_gradient"),
]

globals().update(checks(CASES))


def test_padding_row_gets_no_gradient():
    weight = weft.Tensor(np.ones((4, 3), np.float32), True)
    out = ops.embedding(np.array([[1, 3], [3, 0]]), weight, padding_idx=-1)
    out.sum().backward()
    np.testing.assert_array_equal(weight.grad.numpy()[:, 0], [1, 1, 0, 0])


def test_gradient_adds_in_order():
    """Sums are those of a loop over the indices, bit for bit."""
    rng = np.random.default_rng(0)
    indices, g = rng.integers(0, 9, (40, 30)), rng.standard_normal((40, 30, 70)).astype(np.float32)
    want = np.zeros((9, 70), np.float32)
    np.add.at(want, indices, g)
    np.testing.assert_array_equal(ops.scatter_add(g, indices, rows=9).numpy(), want)


@pytest.mark.parametrize("bad", [-1, 4, 2**40])
def test_names_the_index_out_of_range(bad):
    indices = np.array([[0, 1, 2], [3, bad, 0]])
    with pytest.raises(IndexError, match=rf"embedding: expected indices in \[0, 4\), got {bad} at position \(1, 1\)"):
        ops.embedding(indices, np.ones((4, 2), np.float32))
    with pytest.raises(IndexError, match=rf"got {bad} at position \(1, 1\)"):
        ops.scatter_add(np.ones((2, 3, 2), np.float32), indices, rows=4)


def test_refuses():
    with pytest.raises(TypeError, match="integer indices, got float32"):
        ops.embedding(np.ones(3, np.float32), np.ones((4, 2), np.float32))
    with pytest.raises(ValueError, match=r"weight of shape \(N, D\), got \(4,\)"):
        ops.embedding(np.array([0]), np.ones(4, np.float32))
    with pytest.raises(ValueError, match="padding_idx within 4 rows, got 4"):
        ops.embedding(np.array([0]), np.ones((4, 2), np.float32), padding_idx=4)
    with pytest.raises(ValueError, match=r"got \(3, 2\) and \(4,\)"):
        ops.scatter_add(np.ones((3, 2), np.float32), np.zeros(4, int), rows=2)
