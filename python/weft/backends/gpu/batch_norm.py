"""Batch norm on devices: batch_norm.cu over channels-last memory, whatever the memory of x; results are channels-last.

A residual is added, and ReLU applied, while the normalised values are in registers.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Any, NamedTuple

from weft.backends import reference as K
from weft.backends.gpu import entry, rows
from weft.backends.gpu.array import empty
from weft.backends.gpu.expressions import STORAGE
from weft.backends.gpu.maps import apply
from weft.backends.launch import kernel, launch

THREADS = 256
FILLING = 512  # blocks: four on each multiprocessor of an H100
LEAST = 8  # rows that are worth a thread
ACROSS = 8  # channels of a block of the kernels that join parts


class Walk(NamedTuple):
    """How blocks share (rows, channels): `Walk` of batch_norm.cu, the grid, and the elements of an access."""

    rows: int
    channels: int
    part: int
    parts: int
    across: int
    tiles: int
    vector: int

    def pack(self) -> bytes:
        return struct.pack("<2q2i", self.rows, self.part, self.channels, self.across)

    def defines(self, char: str, parameter: str) -> dict[str, Any]:
        return dict(TYPE=STORAGE[char], PARAMETER=STORAGE[parameter], VECTOR=self.vector)


@lru_cache(maxsize=4096)
def walk_over(count: int, channels: int, itemsize: int) -> Walk:
    """The walk over `count` rows; its parts, and with them the order of sums, follow from the sizes alone."""
    vector = 16 // itemsize if channels % (16 // itemsize) == 0 else 1
    needed = channels // vector
    across = next((n for n in (1, 2, 4, 8, 16) if needed <= n), 32)
    tiles, lines = -(-needed // across), THREADS // across
    parts = max(1, min(-(-FILLING // tiles), count // (lines * LEAST)))
    part = -(-count // parts)
    return Walk(count, channels, part, -(-count // part), across, tiles, vector)


class Call:
    """One batch: its walk, and kernels specialised for its types."""

    def __init__(self, x: Any, weight: Any, bias: Any = None):
        dtype = next((p.dtype for p in (weight, bias) if p is not None), x.dtype)
        self.walk = walk_over(x.size // x.shape[1], x.shape[1], x.dtype.itemsize)
        self.defines = self.walk.defines(x.dtype.char, dtype.char)
        self.device, self.dtype = x.device_name, dtype
        self.real = rows.real_of(x)

    def parameter(self, p: Any) -> Any:
        if p is None:
            return None
        return rows.dense(p if p.dtype == self.dtype else apply("copy", p, dtype=self.dtype))

    def statistic(self, s: Any) -> Any:
        return rows.dense(s if s.dtype == self.real else apply("copy", s, dtype=self.real))

    def empty(self, *shape: int, dtype: Any = None) -> Any:
        return empty(shape, self.real if dtype is None else dtype, self.device)

    def by_parts(self, name: str, *arguments: Any) -> None:
        walk = self.walk
        function = kernel("batch_norm.cu", name, **self.defines)
        launch(function, (walk.tiles, walk.parts), (THREADS,), (*arguments, walk.pack()))

    def joined(self, name: str, *arguments: Any) -> None:
        function = kernel("batch_norm.cu", name, **self.defines)
        launch(function, (-(-self.walk.channels // ACROSS),), (THREADS,), arguments)


def channels_last(x: Any) -> Any:
    """x (N, C, ...) as dense memory (N, ..., C): a view where it lies so, else a copy."""
    return rows.dense(x.transpose(0, *range(2, x.ndim), 1))


def normalised(call: Call, x: Any, residual: Any, mean: Any, var: Any, weight: Any, bias: Any, relu: bool,
               eps: float) -> Any:  # fmt: skip
    """x: as its values lie channels-last; the others as given."""
    weight, bias = call.parameter(weight), call.parameter(bias)
    residual = residual if residual is None else channels_last(residual)
    out = empty(x.shape, x.dtype, call.device)
    call.by_parts("batch_norm_apply", out, x, residual, mean, var, weight, bias, int(relu), eps)
    return out.transpose(0, x.ndim - 1, *range(1, x.ndim - 1))


@entry(K.batch_norm_act, "f[feE]{0,2}f?|e[feE]{0,2}e?|E[feE]{0,2}E?|d{1,4}")
def batch_norm_act(x: Any, weight: Any, bias: Any, residual: Any, *, eps: float, relu: bool) -> tuple[Any, Any, Any]:
    if not x.size:
        return K.batch_norm_act.reference(x, weight, bias, residual, eps=eps, relu=relu)  # type: ignore[no-any-return]
    call = Call(x, weight, bias)
    x, walk = channels_last(x), call.walk
    mean, var = call.empty(walk.channels), call.empty(walk.channels)
    partials = call.empty(2, walk.parts, walk.channels)
    call.by_parts("batch_norm_partials", partials, x)
    call.joined("batch_norm_moments", mean, var, partials, walk.parts, walk.pack())
    return normalised(call, x, residual, mean, var, weight, bias, relu, eps), mean, var


@entry(K.batch_norm, "[feE][feE]{0,2}|d{1,3}")
def batch_norm(x: Any, weight: Any, bias: Any, *, eps: float) -> tuple[Any, Any, Any]:
    return batch_norm_act(x, weight, bias, None, eps=eps, relu=False)


@entry(K.batch_norm_inference, "f[feE]{2,4}f?|e[feE]{2,4}e?|E[feE]{2,4}E?|d{3,6}")
def batch_norm_inference(
    x: Any, weight: Any, bias: Any, mean: Any, var: Any, residual: Any, *, eps: float, relu: bool
) -> Any:
    if not x.size:
        return K.batch_norm_inference.reference(x, weight, bias, mean, var, residual, eps=eps, relu=relu)
    call = Call(x, weight, bias)
    mean, var = call.statistic(mean), call.statistic(var)
    return normalised(call, channels_last(x), residual, mean, var, weight, bias, relu, eps)


def backward(g: Any, x: Any, weight: Any, mean: Any, var: Any, out: Any, eps: float, residual: bool) -> list[Any]:
    """Gradients of x, weight, bias, and of the residual (None without one)."""
    call, C = Call(x, weight), x.shape[1]
    order = (0, x.ndim - 1, *range(1, x.ndim - 1))
    g, x = channels_last(g), channels_last(x)
    out = out if out is None else channels_last(out)
    weight, mean, var = call.parameter(weight), call.statistic(mean), call.statistic(var)
    partials, sums = call.empty(2, call.walk.parts, C), call.empty(2, C)
    gw, gb = call.empty(C, dtype=call.dtype), call.empty(C, dtype=call.dtype)
    gx = empty(x.shape, x.dtype, call.device)
    gr = empty(x.shape, x.dtype, call.device) if residual and out is not None else None
    call.by_parts("batch_norm_backward_partials", partials, g, x, out, mean, var, eps)
    call.joined("batch_norm_sums", gw, gb, sums, partials, call.walk.parts, C)
    call.by_parts("batch_norm_backward_apply", gx, gr, g, x, out, mean, var, weight, sums, eps)
    passed = None if not residual else g if gr is None else gr
    return [gx.transpose(*order), gw, gb, None if passed is None else passed.transpose(*order)]


@entry(K.batch_norm_act_backward, "ff[feE]?fff?|ee[feE]?ffe?|EE[feE]?ffE?|d{4,6}")
def batch_norm_act_backward(
    g: Any, x: Any, weight: Any, mean: Any, var: Any, out: Any, *, eps: float, residual: bool, spare: bool = False
) -> tuple[Any, Any, Any, Any]:
    if not x.size:
        return K.batch_norm_act_backward.reference(g, x, weight, mean, var, out, eps=eps, residual=residual)  # type: ignore[no-any-return]
    gx, gw, gb, gr = backward(g, x, weight, mean, var, out, eps, residual)
    return gx, gw, gb, gr


@entry(K.batch_norm_backward, "ff[feE]?ff|ee[feE]?ff|EE[feE]?ff|d{4,5}")
def batch_norm_backward(
    g: Any, x: Any, weight: Any, mean: Any, var: Any, *, eps: float, spare: bool = False
) -> tuple[Any, Any, Any]:
    if not x.size:
        return K.batch_norm_backward.reference(g, x, weight, mean, var, eps=eps)  # type: ignore[no-any-return]
    gx, gw, gb, _ = backward(g, x, weight, mean, var, None, eps, False)
    return gx, gw, gb


@entry(K.running_statistics, "ffff|eeff|EEff|dddd|ffdd|ddff")
def running_statistics(
    old_mean: Any, old_var: Any, mean: Any, var: Any, *, momentum: float, count: int
) -> tuple[Any, Any]:
    """In one launch; the batch's statistics are of the type that it was computed in."""
    C = old_mean.shape[0]
    new_mean, new_var = (empty((C,), old_mean.dtype, old_mean.device_name) for _ in range(2))
    if C:
        defines = dict(TYPE=STORAGE[mean.dtype.char], PARAMETER=STORAGE[old_mean.dtype.char], VECTOR=1)
        given = [rows.dense(s) for s in (old_mean, old_var, mean, var)]
        launch(
            kernel("batch_norm.cu", "batch_norm_running", **defines), (-(-C // THREADS),), (THREADS,),
            (new_mean, new_var, *given, momentum, count / max(count - 1, 1), C),
        )  # fmt: skip
    return new_mean, new_var

