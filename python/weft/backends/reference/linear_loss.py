"""A linear layer and the cross-entropy of its outputs, some rows at a time: all logits never exist at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from weft.backends.array import namespace
from weft.backends.reference.loss import check_labels, cross_entropy, cross_entropy_backward
from weft.backends.reference.matmul import linear, matmul
from weft.backends.reference.precision import narrow, wide
from weft.backends.registry import primitive

BUFFER = 1 << 24  # bytes of logits at a time: they stay in the cache
NAME = "linear_cross_entropy"


def chunks(x: Any, weight: Any, bias: Any, chunk: int | None) -> Iterator[tuple[slice, Any]]:
    """(rows, their logits in float32 at least) for `chunk` rows at a time."""
    N, V = x.shape[0], weight.shape[0]
    if chunk is None:
        chunk = max(BUFFER // (4 * max(V, 1)), 64)
    for start in range(0, N, chunk):
        part = slice(start, min(start + chunk, N))
        yield part, wide(linear(x[part], weight, bias))


class Gradients:
    """Sums over chunks of the gradients that are wanted of (x, weight, bias), those of the parameters in float32."""

    def __init__(self, x: Any, weight: Any, wanted: tuple[bool, bool, bool]):
        self.input, self.matrix, self.wanted = x, weight, wanted
        self.parts: list[Any] = []
        self.weight = self.bias = None

    def add(self, part: slice, g: Any) -> None:
        """g: of the logits of the rows `part`"""
        xp = namespace(g, self.input)
        if self.wanted[0]:
            self.parts.append(narrow(matmul(g, wide(self.matrix)), self.input.dtype))
        if self.wanted[1]:
            self.weight = summed(self.weight, matmul(xp.matrix_transpose(g), wide(self.input[part])))
        if self.wanted[2]:
            self.bias = summed(self.bias, xp.sum(g, axis=0))

    def found(self) -> tuple[Any, Any, Any]:
        xp = namespace(self.input)
        if not self.input.shape[0]:
            like = (self.input, wide(self.matrix), wide(self.matrix)[:, 0])
            return tuple([xp.zeros_like(a) if w else None for a, w in zip(like, self.wanted)])  # type: ignore[return-value]
        return xp.concat(self.parts, axis=0) if self.wanted[0] else None, self.weight, self.bias


def summed(total: Any, part: Any) -> Any:
    """total + part, in the memory of `total` where that is an array."""
    if total is None:
        return part
    xp = namespace(total, part)
    if not hasattr(xp, "accumulate"):
        return total + part
    xp.accumulate(total, part)
    return total


@primitive
def linear_cross_entropy(
    x: Any, weight: Any, bias: Any, labels: Any, classes: Any, *, ignore_index: int, label_smoothing: float,
    chunk: int | None, shape: tuple[int, ...] | None = None,
) -> tuple[Any, Any]:  # fmt: skip
    """x (N, D), weight (V, D), bias (V,)|None, labels (N,), class weights (V,)|None -> losses (N,), lse (N,).

    As `cross_entropy` of `linear`, in float32 at least; logits of `chunk` rows exist at a time (None: as many as suit).
    """
    check_labels(labels, weight.shape[0], ignore_index, NAME, shape)
    options = {"ignore_index": ignore_index, "label_smoothing": label_smoothing}
    found = [cross_entropy(y, labels[part], wide(classes), **options) for part, y in chunks(x, weight, bias, chunk)]
    if not found:
        nothing = namespace(x).sum(wide(x), axis=1)
        return nothing, nothing
    xp = namespace(*found[0])
    losses, lse = zip(*found)
    return xp.concat(list(losses), axis=0), xp.concat(list(lse), axis=0)


@primitive
def linear_cross_entropy_backward(
    g: Any, x: Any, weight: Any, bias: Any, labels: Any, classes: Any, lse: Any, *, ignore_index: int,
    label_smoothing: float, chunk: int | None, wanted: tuple[bool, bool, bool],
) -> tuple[Any, Any, Any]:  # fmt: skip
    """g (N,), or (1,) for all; lse (N,) of the forward pass -> gradients of x, weight, bias, or None if not `wanted`.

    The logits are computed once more. The gradients of the parameters are of float32 at least.
    """
    options = {"ignore_index": ignore_index, "label_smoothing": label_smoothing}
    gradients = Gradients(x, weight, wanted)
    for part, logits in chunks(x, weight, bias, chunk):
        each = wide(g[part] if g.shape[0] == x.shape[0] else g)
        gradients.add(
            part, cross_entropy_backward(each, logits, labels[part], wide(classes), lse[part], **options)
        )  # fmt: skip
    return gradients.found()


@primitive
def linear_cross_entropy_gradients(
    x: Any, weight: Any, bias: Any, labels: Any, classes: Any, *, ignore_index: int, label_smoothing: float,
    chunk: int | None, wanted: tuple[bool, bool, bool], shape: tuple[int, ...] | None = None,
) -> tuple[Any, Any, Any, Any]:  # fmt: skip
    """Losses (N,), and the gradients of their sum with respect to x, weight and bias, or None if not `wanted`.

    Logits are computed once: what the gradient of the loss turns out to be later multiplies what is found here.
    """
    check_labels(labels, weight.shape[0], ignore_index, NAME, shape)
    options = {"ignore_index": ignore_index, "label_smoothing": label_smoothing}
    gradients, found, xp = Gradients(x, weight, wanted), [], namespace(x)
    classes, one = wide(classes), xp.ones_like(wide(x)[:1, 0])
    for part, logits in chunks(x, weight, bias, chunk):
        losses, lse = cross_entropy(logits, labels[part], classes, **options)
        found.append(losses)
        gradients.add(part, cross_entropy_backward(one, logits, labels[part], classes, lse, **options))
    return xp.concat(found, axis=0) if found else xp.sum(wide(x), axis=1), *gradients.found()
