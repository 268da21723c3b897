"""What every test of convolutions does: draw images and filters, run a pass on the emulated device, compare.

The error against float64 may be twice that of the reference in the same precision, or of K random terms added one after
another where that is larger (the reference adds few at a time), beside one rounding of the result.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from kernels.gemm_checks import BF16, ROUNDING, draw, to_tf32
from weft.backends import reference as K
from weft.backends.device import check_device, on_host, place
from weft.backends.gpu import conv

PASSES = ("forward", "input_grad", "weight_grad")


@dataclasses.dataclass(frozen=True)
class Conv:
    """A convolution: x (N, C, H, W), kernel (KH, KW), outputs O."""

    N: int
    C: int
    H: int
    W: int
    O: int
    kernel: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    @property
    def x(self):
        return self.N, self.C, self.H, self.W

    @property
    def weight(self):
        return self.O, self.C // self.groups, *self.kernel

    @property
    def out(self):
        axes = zip((self.H, self.W), self.kernel, self.stride, self.padding, self.dilation)
        return self.N, self.O, *((n + sum(p) - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in axes)

    @property
    def geometry(self):
        return {"stride": self.stride, "padding": self.padding, "dilation": self.dilation, "groups": self.groups}

    def __str__(self):
        words = ["x".join(map(str, self.x)), str(self.O), "k" + "x".join(map(str, self.kernel))]
        words += [f"s{self.stride[0]}x{self.stride[1]}"] if self.stride != (1, 1) else []
        words += ["p" + "".join(str(n) for side in self.padding for n in side)] if any(map(any, self.padding)) else []
        words += [f"d{self.dilation[0]}x{self.dilation[1]}"] if self.dilation != (1, 1) else []
        return "-".join(words + ([f"g{self.groups}"] if self.groups > 1 else []))


def in_memory(values, kind, device):
    """A device array of these values: plain, channels_last, odd (one element into its buffer) or strided."""
    from_host = lambda values: place(values, check_device(device))
    if kind == "channels_last":
        return from_host(np.ascontiguousarray(values.transpose(0, 2, 3, 1))).transpose(0, 3, 1, 2)
    if kind == "odd":
        buffer = from_host(np.concatenate([np.zeros(1, values.dtype), values.reshape(-1)]))
        return buffer[1:].reshape(values.shape)
    if kind == "strided":
        wide = np.full((*values.shape[:-1], 2 * values.shape[-1] + 1), np.nan).astype(values.dtype)
        wide[..., 1::2] = values
        return from_host(wide)[..., 1::2]
    return from_host(values)


def close(got, exact, reference, depth, dtype):
    """Whether got, of sums of `depth` terms, errs as little as the head of this file says."""
    if not exact.size:
        return
    got, size = got.astype(exact.dtype), np.abs(exact).max()
    assert np.isfinite(got).all(), "poison in the output"
    one_by_one = ROUNDING["float64" if dtype == np.float64 else "float32"] * size * math.sqrt(depth / 2)
    error = max(np.abs(reference.astype(exact.dtype) - exact).max(), one_by_one)
    allowed = 2 * error + 2 * ROUNDING[str(dtype)] * size + 1e-30
    worst = np.abs(got - exact).max()
    assert worst <= allowed, f"error {worst:.3g}, allowed {allowed:.3g}, values to {size:.3g}"


def check(
    rng, case, direction, dtype="float32", *, kernel=None, bias=True, activation=None, memory="plain", tf32=False,
    device="emulated",
):  # fmt: skip
    """One pass on a device against float64; its result."""
    dtype = np.dtype(BF16 if dtype == "bfloat16" else dtype)
    geometry, offsets = case.geometry, None
    shapes = {
        "forward": (case.x, case.weight),
        "input_grad": (case.out, case.weight),
        "weight_grad": (case.out, case.x),
    }
    first, second = (draw(rng, shape, dtype) for shape in shapes[direction])
    on_second = memory if direction == "weight_grad" or memory != "channels_last" else "plain"
    a, b = in_memory(first, memory, device), in_memory(second, on_second, device)
    if direction == "forward":
        offsets = draw(rng, (case.O,), dtype) if bias else None
        added = None if offsets is None else in_memory(offsets, "plain", device)
        got = conv.convolve(a, b, added, **geometry, activation=activation, kernel=kernel)
        primitive, options = K.conv2d, {}
    elif direction == "input_grad":
        primitive, options = K.conv2d_input_grad, {"shape": case.x}
        got = conv.conv2d_input_grad(a, b, **options, **geometry, kernel=kernel)
    else:
        primitive, options = K.conv2d_weight_grad, {"shape": case.weight}
        got = conv.conv2d_weight_grad(a, b, **options, **geometry, kernel=kernel)
    shape = {"forward": case.out, "input_grad": case.x, "weight_grad": case.weight}[direction]
    assert got.shape == shape and got.dtype == dtype
    if direction != "weight_grad" and got.size:
        assert got.transpose(0, 2, 3, 1).flags.c_contiguous, "images lie channels last"
    if tf32:
        first, second = to_tf32(first), to_tf32(second)

    def reference(precision):
        a, b = first.astype(precision), second.astype(precision)
        if direction != "forward":
            return primitive.reference(a, b, **options, **geometry)
        y = primitive.reference(a, b, None if offsets is None else offsets.astype(precision), **geometry)
        return np.maximum(y, 0) if activation == "relu" else y

    wide = np.longdouble if dtype == np.float64 else np.float64
    narrow = np.float64 if dtype == np.float64 else np.float32
    depth = math.prod(case.weight[1:]) if direction == "forward" else case.O // case.groups * math.prod(case.kernel)
    depth = case.N * math.prod(case.out[2:]) if direction == "weight_grad" else depth
    close(on_host(got), reference(wide), reference(narrow).astype(dtype), depth, dtype)
    return on_host(got)
