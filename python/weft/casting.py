"""Automatic mixed precision: `autocast`, and the one table of which ops run in which dtype under it.

A cast is a recorded op, so gradients come back in the dtype of what was cast: parameters stay float32, and so do their
gradients and the optimizer's state. Micikevicius et al., "Mixed precision training" (2018).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np

from weft.autograd import CastingAs, Tensor, state
from weft.backends import writes
from weft.backends.array import is_16_bit
from weft.ops.elementwise import astype

FLOAT32 = np.dtype(np.float32)
DTYPES = {"bfloat16": np.dtype(ml_dtypes.bfloat16), "float16": np.dtype(np.float16)}

#: Which ops run in what, by the name of their recorded body. An op that is not named runs in what it is given; where
#: its inputs differ, in the widest of them. float64 is left alone everywhere.
NARROW = frozenset(  # products, which tensor cores do: inputs are cast to the 16-bit dtype
    """
    linear linear_cross_entropy_of_labels matmul correlate correlate_input_grad correlate_weight_grad attend lstm gru
    rnn lstm_cell gru_cell
    """.split()
)
FACTORS = {"linear_cross_entropy_of_labels": 3}  # of these the first inputs alone are factors of products
# Softmax, layer and RMS norm and the cross-entropy of labels compute 16 bits in float32 by themselves: a cast would
# only write, keep and read their arrays at twice the size. What follows is mostly a product, which rounds the same.
WIDE = frozenset(  # what 16 bits would overflow or blur: 16-bit inputs are cast to float32
    """
    acos acosh asin asinh atanh cosh sinh tan exp expm1 log log10 log1p log2 pow
    log_softmax logsigmoid softplus group_norm
    sum mean prod cumulative_sum cumulative_prod
    binary_cross_entropy binary_cross_entropy_with_logits cross_entropy_of_probabilities
    huber_loss kl_div l1_loss mse_loss nll_of_labels smooth_l1_loss
    """.split()
)


def rule(body: Callable[..., Any]) -> bool | None:
    """True for an op that runs in 16 bits, False for one that runs in float32, None for one that takes what comes."""
    if not body.__module__.startswith("weft.ops."):  # the user's own ops may have any name
        return None
    return True if body.__name__ in NARROW else False if body.__name__ in WIDE else None


class Casting:
    """What a region does to the inputs of ops. A parameter is cast once in a region, unless it is written."""

    def __init__(self, dtype: np.dtype[Any]):
        self.dtype = dtype
        self.kept: dict[int, tuple[Tensor, Any, int, Tensor]] = {}  # id -> (leaf, its array, when, cast)

    def __call__(self, body: Callable[..., Any], inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """The inputs of an op as it is to run."""
        narrow = rule(body)
        if narrow is None:
            return inputs
        if narrow:
            if any(getattr(x, "dtype", None) == np.float64 for x in inputs):
                return inputs
            n = FACTORS.get(body.__name__, len(inputs))
            cast = [self.cast(x) if castable(x) and x.dtype != self.dtype else x for x in inputs[:n]]
            return (*cast, *inputs[n:])
        return tuple([astype(x, dtype=FLOAT32) if castable(x) and x.dtype.itemsize == 2 else x for x in inputs])

    def cast(self, x: Any) -> Tensor:
        if not (isinstance(x, Tensor) and x.requires_grad and x.node is None):
            return astype(x, dtype=self.dtype)  # type: ignore[no-any-return]
        found = self.kept.get(id(x))
        if found is not None:
            leaf, array, time, cast = found
            usable = cast.node is not None and cast.node.vjp is not None if state.recording else True
            if leaf is x and array is x.data and usable and writes.written_since(array, time) is None:
                return cast
        cast = astype(x, dtype=self.dtype)
        self.kept[id(x)] = (x, x.data, writes.clock.now, cast)
        return cast


def castable(x: Any) -> bool:
    """Whether x is a Tensor or an array of float32 or of a 16-bit float."""
    dtype = getattr(x, "dtype", None)
    return dtype is not None and (dtype == FLOAT32 or is_16_bit(dtype))


class autocast:  # noqa: N801  (read as a verb, as PyTorch's)
    """Run the ops of a `with` block, or of a decorated function, in 16 bits where that is safe.

    dtype: "bfloat16" (or `weft.bfloat16`), or "float16", whose gradients need a `GradScaler`. Products (linear, matmul,
    convolution, attention, recurrent layers) run in `dtype`; exponentials, sums and losses in float32; all else in
    what it is given. Blocks nest, and `enabled=False` turns casting off inside. A block is of its thread alone;
    backward does as the forward pass did, inside of the block or after it. On the CPU it is no faster: there it
    computes what a GPU would.  ValueError for another dtype.

    >>> import weft
    >>> a = weft.ones((2, 3))
    >>> with weft.autocast("bfloat16"):
    ...     print((a @ a.mT).dtype, (a @ a.mT).exp().dtype)
    bfloat16 float32
    """

    def __init__(self, dtype: Any = "bfloat16", enabled: bool = True):
        self.dtype = check_dtype("autocast", dtype)
        self.enabled = enabled
        self.entered: list[tuple[CastingAs, Casting | None]] = []

    def __enter__(self) -> autocast:
        casting = Casting(self.dtype) if self.enabled else None
        region = CastingAs(casting)
        region.__enter__()
        self.entered.append((region, casting))
        return self

    def __exit__(self, *_: object) -> None:
        region, casting = self.entered.pop()
        region.__exit__()
        if casting is not None:
            casting.kept.clear()

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with autocast(self.dtype, self.enabled):
                return function(*args, **kwargs)

        return wrapped


def check_dtype(name: str, dtype: Any) -> np.dtype[Any]:
    """bfloat16 or float16, by name or as dtype."""
    found = DTYPES.get(dtype) if isinstance(dtype, str) else np.dtype(dtype)
    if found is None or found not in DTYPES.values():
        raise ValueError(f"{name}: expected 'bfloat16' or 'float16', got {dtype!r}")
    return found


def current() -> np.dtype[Any] | None:
    """The dtype of the region that this thread is in, or None."""
    return None if state.casting is None else state.casting.dtype
