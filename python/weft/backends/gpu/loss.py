"""Cross-entropy of integer labels on devices: cross_entropy.cu. A label out of range is noted in the flag word.

Fused with the linear layer before it, logits exist for some rows at a time, and become their own gradient there.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

from weft.backends import reference as K
from weft.backends.gpu import entry, flags, rows
from weft.backends.gpu.array import empty
from weft.backends.gpu.expressions import STORAGE
from weft.backends.gpu.gemm import gemm
from weft.backends.gpu.index import index_array
from weft.backends.gpu.maps import apply
from weft.backends.gpu.reduce import reduce
from weft.backends.launch import kernel, launch
from weft.backends.reference.linear_loss import NAME

LABELS = "[bBhHiIlLqQ]"
#: Threads of a row by its length in elements: a row is walked once, and nothing of it is kept.
LANES = ((64, 4), (2048, 32), (16384, 256))


def team_of(columns: int, itemsize: int) -> rows.Team:
    vector = 16 // itemsize
    lanes = next((lanes for most, lanes in LANES if columns <= most), 1024 if itemsize < 8 else 512)
    return rows.Team(lanes, 0, vector, int(columns % vector == 0))


def defines(team: rows.Team, char: str, label: str) -> dict[str, Any]:
    return {**team.defines(char), "INDEX": STORAGE[label]}


class Call:
    """What the kernels of cross_entropy.cu are told of labels, weights and smoothing.

    name, shape, first: what a label out of range is told with: the op, the shape of all labels, and the place of the
    first of these among them.
    """

    def __init__(
        self, logits: Any, labels: Any, weight: Any, ignore_index: int, label_smoothing: float,
        name: str = "cross_entropy", shape: tuple[int, ...] | None = None, first: int = 0,
    ):  # fmt: skip
        count, classes = logits.shape
        rows.check_columns("cross_entropy", classes)
        self.device = logits.device_name
        self.labels = index_array("cross_entropy", labels, self.device)
        self.team = team_of(classes, logits.dtype.itemsize)
        self.defines = defines(self.team, logits.dtype.char, self.labels.dtype.char)
        self.real = rows.real_of(logits)
        self.weight = weight if weight is None else rows.dense(as_real(weight, self.real))
        total = reduce("sum", self.weight) if weight is not None and label_smoothing else None
        message = f"{name}: expected labels in [0, {classes})"
        noting = flags.raising(IndexError, self.device, message, labels.shape if shape is None else shape)
        real = "d" if self.real.char == "d" else "f"
        options = struct.pack(  # `Options` of cross_entropy.cu
            f"<3q2{real}2i", count, first, ignore_index, 1 - label_smoothing, label_smoothing / classes, classes,
            label_smoothing != 0,
        )  # fmt: skip
        self.tail = (self.weight, total, *noting, options)

    def launch(self, name: str, *arguments: Any) -> None:
        function = kernel("cross_entropy.cu", name, **self.defines)
        launch(function, (self.team.blocks(self.labels.size),), (self.team.threads,), (*arguments, *self.tail))


def as_real(x: Any, real: np.dtype[Any]) -> Any:
    return x if x.dtype == real else apply("copy", x, dtype=real)


@entry(K.cross_entropy, f"[feE]{LABELS}[feE]?|d{LABELS}d?")
def cross_entropy(
    logits: Any, labels: Any, weight: Any, *, ignore_index: int, label_smoothing: float,
    shape: tuple[int, ...] | None = None,
) -> tuple[Any, Any]:  # fmt: skip
    if not logits.size:
        return K.cross_entropy.reference(
            logits, labels, weight, ignore_index=ignore_index, label_smoothing=label_smoothing
        )  # type: ignore[no-any-return]
    call = Call(logits, labels, weight, ignore_index, label_smoothing, shape=shape)
    losses, lse = (empty(logits.shape[:1], call.real, call.device) for _ in range(2))
    call.launch("cross_entropy", losses, lse, rows.dense(logits), call.labels)
    return losses, lse


@entry(K.cross_entropy_backward, f"[feE]([feE]){LABELS}[feE]?f|dd{LABELS}d?d")
def cross_entropy_backward(
    g: Any, logits: Any, labels: Any, weight: Any, lse: Any, *, ignore_index: int, label_smoothing: float,
    spare: bool = False,
) -> Any:  # fmt: skip
    own = rows.dense(logits)
    out = own if spare or own is not logits else empty(own.shape, own.dtype, own.device_name)
    return write_gradient(out, g, own, lse, Call(own, labels, weight, ignore_index, label_smoothing))


def write_gradient(out: Any, g: Any, logits: Any, lse: Any, call: Call) -> Any:
    """The gradient of dense `logits` in `out`, which may be their own memory."""
    if out.size:
        g = rows.dense(as_real(g, call.real)).reshape(-1)
        step = int(g.size != 1)
        call.launch("cross_entropy_backward", out, g, step, logits, call.labels, rows.dense(lse))
    return out


# -- with the linear layer before it ---------------------------------------------------------------------------------

BUFFER = 1 << 29  # bytes of logits at a time, beside which the gradient of the weight, read and written too, is small


def rows_at_once(count: int, classes: int, itemsize: int, chunk: int | None) -> int:
    if chunk is None:
        chunk = max(BUFFER // (classes * itemsize) // 128 * 128, 128)
    return min(chunk, max(count, 1))


class Head:
    """A linear layer and the labels behind it; x (N, D), weight (V, D), bias (V,)|None, all of one dtype."""

    def __init__(self, x: Any, weight: Any, bias: Any, labels: Any, classes: Any, options: dict[str, Any]):
        self.x, self.weight, self.bias, self.labels, self.classes = x, weight, bias, labels, classes
        self.options = options["ignore_index"], options["label_smoothing"]
        self.shape = options.get("shape") or labels.shape
        self.real = rows.real_of(x)
        self.many = rows_at_once(x.shape[0], weight.shape[0], x.dtype.itemsize, options["chunk"])

    def empty(self, *shape: int, dtype: Any = None) -> Any:
        return empty(shape, self.real if dtype is None else dtype, self.x.device_name)

    def call(self, logits: Any, part: slice) -> Call:
        """What the kernels are told of the rows `part`."""
        return Call(logits, self.labels[part], self.classes, *self.options, NAME, self.shape, part.start)

    def chunks(self) -> Iterator[tuple[slice, Any]]:
        """(rows, their logits), which the next chunk overwrites."""
        buffer = self.empty(self.many, self.weight.shape[0], dtype=self.x.dtype)
        for start in range(0, self.x.shape[0], self.many):
            part = slice(start, min(start + self.many, self.x.shape[0]))
            logits = buffer[: part.stop - start]
            gemm(self.x[part], self.weight.swapaxes(0, 1), out=logits, bias=self.bias)
            yield part, logits


class Gradients:
    """Sums over chunks of the gradients that are wanted of (x, weight, bias), those of the parameters in float32."""

    def __init__(self, head: Head, wanted: tuple[bool, bool, bool]):
        self.head = head
        x, weight = head.x, head.weight
        self.x = head.empty(*x.shape, dtype=x.dtype) if wanted[0] else None
        self.weight = head.empty(*weight.shape) if wanted[1] else None
        self.bias = head.empty(weight.shape[0], 1) if wanted[2] else None
        self.ones = apply("copy", 1, shape=(head.many, 1), dtype=x.dtype, device=x.device_name) if wanted[2] else None

    def add(self, part: slice, g: Any) -> None:
        """g: of the logits of the rows `part`"""
        beta = float(part.start > 0)
        if self.x is not None:
            gemm(g, self.head.weight, out=self.x[part])
        if self.weight is not None:
            gemm(g.swapaxes(0, 1), self.head.x[part], out=self.weight, beta=beta)
        if self.bias is not None and self.ones is not None:
            gemm(g.swapaxes(0, 1), self.ones[: g.shape[0]], out=self.bias, beta=beta)

    def found(self) -> tuple[Any, Any, Any]:
        return self.x, self.weight, self.bias if self.bias is None else self.bias.reshape(-1)


def patterns(before: str, real: str = "") -> str:
    """Dtypes of [g], x, weight, [bias], labels, [class weights], [lse]: the first ones agree."""
    return "|".join(
        f"{before.format(c=c)}{c}{c}{c}?{LABELS}{'d' if c == 'd' else '[feE]'}?{real and ('d' if c == 'd' else 'f')}"
        for c in "feEd"
    )


@entry(K.linear_cross_entropy, patterns(""))
def linear_cross_entropy(x: Any, weight: Any, bias: Any, labels: Any, classes: Any, **options: Any) -> tuple[Any, Any]:
    if not x.size:
        return K.linear_cross_entropy.reference(x, weight, bias, labels, classes, **options)  # type: ignore[no-any-return]
    head = Head(x, weight, bias, labels, classes, options)
    losses, lse = head.empty(x.shape[0]), head.empty(x.shape[0])
    for part, logits in head.chunks():
        call = head.call(logits, part)
        call.launch("cross_entropy", losses[part], lse[part], logits, call.labels)
    return losses, lse


@entry(K.linear_cross_entropy_gradients, patterns(""))
def linear_cross_entropy_gradients(
    x: Any, weight: Any, bias: Any, labels: Any, classes: Any, *, wanted: tuple[bool, bool, bool], **options: Any
) -> tuple[Any, Any, Any, Any]:
    if not x.size:
        return K.linear_cross_entropy_gradients.reference(x, weight, bias, labels, classes, wanted=wanted, **options)  # type: ignore[no-any-return]
    head = Head(x, weight, bias, labels, classes, options)
    gradients, losses = Gradients(head, wanted), head.empty(x.shape[0])
    for part, logits in head.chunks():
        call = head.call(logits, part)
        call.launch("cross_entropy_in_place", losses[part], logits, call.labels)
        gradients.add(part, logits)
    return losses, *gradients.found()


@entry(K.linear_cross_entropy_backward, patterns("[feE{c}]", "lse"))
def linear_cross_entropy_backward(
    g: Any, x: Any, weight: Any, bias: Any, labels: Any, classes: Any, lse: Any, *, wanted: tuple[bool, bool, bool],
    **options: Any,
) -> tuple[Any, Any, Any]:  # fmt: skip
    if not x.size:
        reference = K.linear_cross_entropy_backward.reference
        return reference(g, x, weight, bias, labels, classes, lse, wanted=wanted, **options)  # type: ignore[no-any-return]
    head = Head(x, weight, bias, labels, classes, options)
    gradients = Gradients(head, wanted)
    for part, logits in head.chunks():
        each = g[part] if g.shape[0] == x.shape[0] else g
        write_gradient(logits, each, logits, lse[part], head.call(logits, part))
        gradients.add(part, logits)
    return gradients.found()
