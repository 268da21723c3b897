"""Dropout."""

from __future__ import annotations

from typing import Any

from weft.autograd import Tensor, op
from weft.backends import reference as K
from weft.random import Generator, default_generator


def dropout(x: Any, *, p: float = 0.5, training: bool = True, generator: Generator | None = None) -> Tensor:
    """Zero each element of `x` with probability `p` and scale the others by 1 / (1 - p); `x` itself unless training.

    x (...) -> (...).  0 <= p <= 1.  The elements that stay are chosen by `generator` (the default one if None), in
    steps of 2**-24.  Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting" (2014).

    >>> import weft
    >>> weft.dropout(weft.ones((4,)), p=1.0).numpy()
    array([0., 0., 0., 0.], dtype=float32)
    """
    check_probability("dropout", p)
    x = x if isinstance(x, Tensor) else Tensor(x)
    if not training or p == 0.0:
        return x
    if x.dtype.kind in "biu":
        raise TypeError(f"dropout: expected a floating dtype, got {x.dtype}")
    seed, offset = (generator or default_generator).take(x.size)
    return drop(x, p=p, seed=seed, offset=offset)


@op(name="dropout")
def drop(x, *, p, seed, offset):
    """Dropout of the elements that a stream of random numbers names: pure, so a replay drops the same ones."""
    return K.dropout(x, p=p, seed=seed, offset=offset), (lambda g: K.dropout(g, p=p, seed=seed, offset=offset),)


def check_probability(name: str, p: float) -> None:
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"{name}: expected a probability between 0 and 1, got {p}")
