"""Cross-entropy of integer labels on devices: cross_entropy.cu. A label out of range is noted in the flag word."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from weft.backends import reference as K
from weft.backends.gpu import entry, flags, rows
from weft.backends.gpu.array import empty
from weft.backends.gpu.expressions import STORAGE
from weft.backends.gpu.index import index_array
from weft.backends.gpu.maps import apply
from weft.backends.gpu.reduce import reduce
from weft.backends.launch import kernel, launch

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
    """What the kernels of cross_entropy.cu are told of labels, weights and smoothing."""

    def __init__(self, logits: Any, labels: Any, weight: Any, ignore_index: int, label_smoothing: float):
        count, classes = logits.shape
        rows.check_columns("cross_entropy", classes)
        self.device = logits.device_name
        self.labels = index_array("cross_entropy", labels, self.device)
        self.team = team_of(classes, logits.dtype.itemsize)
        self.defines = defines(self.team, logits.dtype.char, self.labels.dtype.char)
        self.real = np.dtype(np.float64 if logits.dtype.char == "d" else np.float32)
        self.weight = weight if weight is None else rows.dense(as_real(weight, self.real))
        total = reduce("sum", self.weight) if weight is not None and label_smoothing else None
        message = f"cross_entropy: expected labels in [0, {classes}), got {{value}}"
        noting = flags.raising("label", self.device, message)
        self.tail = (self.weight, total, *noting, self.options(count, classes, ignore_index, label_smoothing))

    def options(self, count: int, classes: int, ignore_index: int, smoothing: float) -> bytes:
        """`Options` of cross_entropy.cu."""
        form = "<2q2d2i" if self.real.char == "d" else "<2q2f2i"
        return struct.pack(form, count, ignore_index, 1 - smoothing, smoothing / classes, classes, smoothing != 0)

    def launch(self, name: str, *arguments: Any) -> None:
        function = kernel("cross_entropy.cu", name, **self.defines)
        launch(function, (self.team.blocks(self.labels.size),), (self.team.threads,), (*arguments, *self.tail))


def as_real(x: Any, real: np.dtype[Any]) -> Any:
    return x if x.dtype == real else apply("copy", x, dtype=real)


@entry(K.cross_entropy, f"[feE]{LABELS}[feE]?|d{LABELS}d?")
def cross_entropy(
    logits: Any, labels: Any, weight: Any, *, ignore_index: int, label_smoothing: float
) -> tuple[Any, Any]:
    if not logits.size:
        return K.cross_entropy.reference(
            logits, labels, weight, ignore_index=ignore_index, label_smoothing=label_smoothing
        )  # type: ignore[no-any-return]
    call = Call(logits, labels, weight, ignore_index, label_smoothing)
    losses = empty(logits.shape[:1], logits.dtype, call.device)
    lse = empty(logits.shape[:1], call.real, call.device)
    call.launch("cross_entropy", losses, lse, rows.dense(logits), call.labels)
    return losses, lse


@entry(K.cross_entropy_backward, f"[feE]([feE]){LABELS}[feE]?f|dd{LABELS}d?d")
def cross_entropy_backward(
    g: Any, logits: Any, labels: Any, weight: Any, lse: Any, *, ignore_index: int, label_smoothing: float
) -> Any:
    logits = rows.dense(logits)
    return write_gradient(
        empty(logits.shape, logits.dtype, logits.device_name), g, logits, labels, weight, lse, ignore_index,
        label_smoothing,
    )  # fmt: skip


def write_gradient(
    out: Any, g: Any, logits: Any, labels: Any, weight: Any, lse: Any, ignore_index: int, label_smoothing: float
) -> Any:
    """The gradient of dense `logits` in `out`, which may be their own memory."""
    if out.size:
        call = Call(logits, labels, weight, ignore_index, label_smoothing)
        g = rows.dense(as_real(g, call.real)).reshape(-1)
        step = int(g.size != 1)
        call.launch("cross_entropy_backward", out, g, step, logits, call.labels, rows.dense(lse))
    return out


def in_place(logits: Any, labels: Any, weight: Any, ignore_index: int, label_smoothing: float) -> Any:
    """The losses of dense `logits` (N, C), whose memory then holds the gradient of each row's loss."""
    losses = empty(logits.shape[:1], logits.dtype, logits.device_name)
    if logits.size:
        call = Call(logits, labels, weight, ignore_index, label_smoothing)
        call.launch("cross_entropy_in_place", losses, logits, call.labels)
    return losses
