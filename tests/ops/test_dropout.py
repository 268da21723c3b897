"""Dropout, by its Case rows."""

import numpy as np
import pytest

import weft
from opcheck import Case, checks
from weft import ops
from weft.backends.reference.dropout import kept
from weft.random import Generator


def dropout(x, *, p):
    """With a generator of its own, so that every call drops the same elements."""
    return ops.dropout(x, p=p, generator=Generator(5))


def oracle(x, *, p):
    return np.where(kept(x.shape, p=p, seed=5, offset=0), x, 0) / (1 - p if p < 1 else 1)


CASES = [
    Case(dropout, (3, 4), oracle=oracle, params={"p": 0.4}, order=3),
    Case(dropout, (5, 2, 7), oracle=oracle, params={"p": 0.1}),
    Case(dropout, (6,), oracle=oracle, params={"p": 1.0}),
    Case(dropout, (), oracle=oracle, params={"p": 0.5}),
    Case(dropout, (0, 3), oracle=oracle, params={"p": 0.5}),
]

globals().update(checks(CASES))


def test_identity_outside_training():
    x = weft.ones((3,))
    assert ops.dropout(x, p=0.5, training=False) is x and ops.dropout(x, p=0.0) is x


def test_share_and_scale():
    y = ops.dropout(weft.ones((1000, 1000)), p=0.3, generator=Generator(0)).numpy()
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.7)}
    assert abs((y == 0).mean() - 0.3) < 4 * (0.3 * 0.7 / y.size) ** 0.5


def test_draws_from_the_default_generator():
    weft.random.seed(11)
    first = ops.dropout(weft.ones((5, 5)), p=0.5).numpy()
    assert weft.random.get_state() == (11, 28)
    weft.random.seed(11)
    assert (first == ops.dropout(weft.ones((5, 5)), p=0.5).numpy()).all()


def test_drops_what_is_not_finite():
    x = np.array([np.inf, np.nan] * 50, np.float32)
    y = ops.dropout(weft.Tensor(x), p=0.5, generator=Generator(1)).numpy()
    assert (y[~kept((100,), p=0.5, seed=1, offset=0)] == 0).all()


def test_refuses():
    with pytest.raises(ValueError, match="dropout: expected a probability between 0 and 1, got -0.1"):
        ops.dropout(weft.ones(3), p=-0.1)
    with pytest.raises(ValueError, match="got nan"):
        ops.dropout(weft.ones(3), p=float("nan"))
    with pytest.raises(TypeError, match="floating"):
        ops.dropout(weft.Tensor(np.ones(3, np.int64)), p=0.5)
