"""Images of another size, and images as windows, with PyTorch's names and arguments."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from weft import ops
from weft.backends.device import beside
from weft.nn.functional.shape import tuple_of
from weft.ops.activation import floating
from weft.ops.pool import regions
from weft.ops.windows import add_windows, gather_windows

__all__ = ["fold", "interpolate", "pixel_shuffle", "pixel_unshuffle", "unfold"]

AXES = {"linear": 1, "bilinear": 2, "bicubic": 2, "trilinear": 3}
SMOOTH = ("linear", "bilinear", "bicubic", "trilinear")
MODES = ("nearest", "nearest-exact", "area", *SMOOTH)


def interpolate(
    input: Any,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Any:
    """The image (sequence, volume) in another size: (N, C, ...) -> (N, C, *size), size rounded down from the factor.

    mode: "nearest", "nearest-exact", "area" for any, "linear" of (N, C, L), "bilinear" and "bicubic" of (N, C, H, W),
    "trilinear" of (N, C, D, H, W). align_corners: the centres of the corner pixels stay where they are, instead of the
    corners of the image. recompute_scale_factor: sample by the ratio of the sizes instead of scale_factor. antialias:
    widen the filter when shrinking; for bilinear and bicubic. Keys' kernel with a = -0.75, with antialias -0.5 (1981).
    ValueError where the arguments do not fit the input.

    >>> import weft; from weft.nn import functional as F
    >>> F.interpolate(weft.asarray([[[0.0, 4.0]]]), 4, mode="linear").numpy().ravel()
    array([0., 1., 3., 4.], dtype=float32)
    """
    floating(input, "interpolate")
    n = input.ndim - 2
    if mode not in MODES or n not in (1, 2, 3) or AXES.get(mode, n) != n:
        axes = AXES.get(mode)
        wanted = f"{axes + 2} dimensions for mode {mode!r}" if axes else f"3 to 5 dimensions and mode in {MODES}"
        raise ValueError(f"interpolate: expected an input of {wanted}, got {input.shape} and mode {mode!r}")
    if align_corners is not None and mode not in SMOOTH:
        raise ValueError(f"interpolate: expected align_corners only with modes {', '.join(SMOOTH)}, got mode {mode!r}")
    if antialias and mode not in ("bilinear", "bicubic"):
        raise ValueError(f"interpolate: expected antialias only with bilinear and bicubic, got mode {mode!r}")
    if (size is None) == (scale_factor is None):
        raise ValueError(f"interpolate: expected either size or scale_factor, got {size} and {scale_factor}")
    factors: Any = (None,) * n
    if scale_factor is not None:
        given = scale_factor if isinstance(scale_factor, Sequence) else (scale_factor,) * n
        if len(given) != n:
            raise ValueError(f"interpolate: expected a scale_factor or {n} of them, got {scale_factor}")
        sizes = tuple([math.floor(length * f) for length, f in zip(input.shape[2:], given)])
        factors = (None,) * n if recompute_scale_factor else tuple(given)
    else:
        if recompute_scale_factor:
            raise ValueError("interpolate: expected scale_factor with recompute_scale_factor, got size")
        sizes = tuple_of(size, n, "interpolate: size")
    if min((*sizes, *input.shape[2:])) < 1:
        raise ValueError(f"interpolate: expected sizes of at least 1, got {sizes} from {input.shape}")
    for axis, (length, new, factor) in enumerate(zip(input.shape[2:], sizes, factors), 2):
        if mode.startswith("nearest"):
            input = nearest(input, axis, new, factor, mode == "nearest-exact")
        elif mode == "area":
            input = apply_matrix(input, axis, regions(length, new, np.float64))
        elif new != length or (factor is not None and factor != 1):
            input = apply_matrix(input, axis, samples(mode, length, new, factor, bool(align_corners), antialias))
    return input


def nearest(x: Any, axis: int, new: int, factor: float | None, exact: bool) -> Any:
    """x with `new` of its slices along an axis. PyTorch counts in float32, so that its choice at ties is met."""
    length = x.shape[axis]
    if new == length and factor in (None, 1):
        return x
    if new % length == 0 and factor in (None, new // length):
        return ops.repeat(x, new // length, axis=axis)
    step = np.float32(length / new if factor is None else 1 / factor)
    where = np.floor((np.arange(new, dtype=np.float32) + np.float32(0.5 * exact)) * step).astype(np.int64)
    return ops.take(x, np.minimum(where, length - 1), axis=axis)


def apply_matrix(x: Any, axis: int, matrix: Any) -> Any:
    """x with the vectors along an axis multiplied by a matrix (new, old)."""
    matrix = beside(matrix.astype(x.dtype), x)
    if axis == x.ndim - 1:
        return ops.linear(x, ops.asarray(matrix))
    if axis == x.ndim - 2:
        return ops.matmul(ops.asarray(matrix), x)
    return ops.moveaxis(ops.linear(ops.moveaxis(x, axis, -1), ops.asarray(matrix)), -1, axis)


def samples(mode: str, length: int, new: int, factor: float | None, align_corners: bool, antialias: bool) -> Any:
    """(new, length): what each sample of the new axis takes from each of the old."""
    kernel: Callable[[Any, float], Any]
    reach, kernel = (2, cubic) if mode == "bicubic" else (1, triangle)
    if align_corners:
        step = (length - 1) / (new - 1) if new > 1 else 0.0
    else:
        step = length / new if factor is None else 1 / factor
    at = np.arange(new, dtype=np.float64)
    out = np.zeros((new, length))
    if antialias:
        wide = max(step, 1.0)
        centres = step * (at + 0.5)
        first = np.maximum((centres - reach * wide + 0.5).astype(np.int64), 0)
        last = np.minimum((centres + reach * wide + 0.5).astype(np.int64), length)
        old = np.arange(length)
        inside = (old >= first[:, None]) & (old < last[:, None])
        out = np.where(inside, kernel((old - centres[:, None] + 0.5) / wide, -0.5), 0.0)
        return out / out.sum(1, keepdims=True)
    centres = step * at if align_corners else step * (at + 0.5) - 0.5
    if mode != "bicubic":
        centres = np.maximum(centres, 0)
    base = np.floor(centres).astype(np.int64)
    for tap in range(1 - reach, reach + 1):
        share = kernel(centres - base - tap, -0.75)
        np.add.at(out, (np.arange(new), np.clip(base + tap, 0, length - 1)), share)
    return out


def triangle(distance: Any, a: float) -> Any:
    """The weight of linear interpolation; `a` is the cubic one's."""
    return np.maximum(1 - np.abs(distance), 0)


def cubic(distance: Any, a: float) -> Any:
    """Keys' weight of cubic convolution, 0 from a distance of 2 on."""
    d = np.abs(distance)
    near, far = ((a + 2) * d - (a + 3)) * d * d + 1, ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))


def pixel_shuffle(input: Any, upscale_factor: int) -> Any:
    """(..., C r^2, H, W) -> (..., C, H r, W r): r^2 channels become r x r pixels.  Shi et al., 2016.

    ValueError where the channels cannot be divided so.

    >>> F.pixel_shuffle(weft.ones((1, 8, 2, 2)), 2).shape
    (1, 2, 4, 4)
    """
    r = upscale_factor
    if r < 1 or input.ndim < 3 or input.shape[-3] % (r * r):
        raise ValueError(f"pixel_shuffle: expected input (..., C * {r * r}, H, W), got {input.shape}")
    *lead, channels, H, W = input.shape
    k, C = len(lead), channels // (r * r)
    x = ops.reshape(input, (*lead, C, r, r, H, W))
    x = ops.permute_dims(x, (*range(k), k, k + 3, k + 1, k + 4, k + 2))
    return ops.reshape(x, (*lead, C, H * r, W * r))


def pixel_unshuffle(input: Any, downscale_factor: int) -> Any:
    """(..., C, H r, W r) -> (..., C r^2, H, W): the inverse of pixel_shuffle.

    >>> F.pixel_unshuffle(weft.ones((1, 2, 4, 4)), 2).shape
    (1, 8, 2, 2)
    """
    r = downscale_factor
    if r < 1 or input.ndim < 3 or input.shape[-1] % r or input.shape[-2] % r:
        raise ValueError(f"pixel_unshuffle: expected input (..., C, H * {r}, W * {r}), got {input.shape}")
    *lead, C, H, W = input.shape
    k = len(lead)
    x = ops.reshape(input, (*lead, C, H // r, r, W // r, r))
    x = ops.permute_dims(x, (*range(k), k, k + 2, k + 4, k + 1, k + 3))
    return ops.reshape(x, (*lead, C * r * r, H // r, W // r))


def geometry(name: str, **given: Any) -> list[tuple[int, int]]:
    """Each argument as a pair of ints, at least 1, or 0 for padding."""
    made = []
    for what, value in given.items():
        pair = tuple_of(value, 2, f"{name}: {what}")
        least = 0 if what == "padding" else 1
        if min(pair) < least:
            raise ValueError(f"{name}: expected {what} of at least {least}, got {value}")
        made.append((pair[0], pair[1]))
    return made


def unfold(input: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Any:
    """(N, C, H, W) or (C, H, W) -> (N, C KH KW, L): the windows of an image as columns, L = OH OW of them.

    ValueError where not even one window fits.

    >>> F.unfold(weft.ones((1, 3, 4, 4)), 2, stride=2).shape
    (1, 12, 4)
    """
    kernel, spread, sides, step = geometry(
        "unfold", kernel_size=kernel_size, dilation=dilation, padding=padding, stride=stride
    )
    if input.ndim not in (3, 4):
        raise ValueError(f"unfold: expected input (N, C, H, W) or (C, H, W), got {input.shape}")
    if input.ndim == 3:
        return unfold(input[None], kernel, spread, sides, step)[0]
    size = windows("unfold", input.shape[2:], kernel, spread, sides, step)
    if any(sides):
        input = ops.pad(input, ((0, 0), (0, 0), *[(p, p) for p in sides]))
    N, C = input.shape[:2]
    return ops.reshape(gather_windows(input, taps=taps(kernel, spread, step, size)), (N, C * math.prod(kernel), -1))


def fold(input: Any, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Any:
    """(N, C KH KW, L) or (C KH KW, L) -> (N, C, *output_size): windows added up where they lie; unfold's transpose.

    ValueError where L is not the number of windows of such an image.

    >>> F.fold(weft.ones((1, 4, 4)), (4, 4), 2, stride=2).shape
    (1, 1, 4, 4)
    """
    image, kernel, spread, sides, step = geometry(
        "fold", output_size=output_size, kernel_size=kernel_size, dilation=dilation, padding=padding, stride=stride
    )
    size, count = windows("fold", image, kernel, spread, sides, step), math.prod(kernel)
    if input.ndim not in (2, 3) or input.shape[-2] % count or input.shape[-1] != math.prod(size):
        raise ValueError(
            f"fold: expected input (N, C * {count}, {math.prod(size)}) for output_size {image}, got {input.shape}"
        )
    if input.ndim == 2:
        return fold(input[None], image, kernel, spread, sides, step)[0]
    N, C = input.shape[0], input.shape[1] // count
    parts = ops.reshape(input, (N, C, count, *size))
    padded = tuple([n + 2 * p for n, p in zip(image, sides)])
    out = add_windows(parts, taps=taps(kernel, spread, step, size), shape=(N, C, *padded))
    return out[:, :, sides[0] : sides[0] + image[0], sides[1] : sides[1] + image[1]] if any(sides) else out


def windows(name: str, image: Any, kernel: Any, spread: Any, sides: Any, step: Any) -> tuple[int, int]:
    """How many windows fit along each axis."""
    axes = zip(image, kernel, spread, sides, step)
    size = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, d, p, s in axes]
    if min(size) < 1:
        raise ValueError(
            f"{name}: expected an image that holds a window of {tuple(kernel)} with dilation {tuple(spread)}, "
            f"got {tuple(image)} and padding {tuple(sides)}"
        )
    return size[0], size[1]


def taps(kernel: Any, spread: Any, step: Any, size: Any) -> tuple[Any, ...]:
    """For each tap of a kernel the pixels that it meets, as an index of (N, C, H, W)."""
    lines = [
        [slice(i * d, i * d + (n - 1) * s + 1, s) for i in range(k)] for k, d, s, n in zip(kernel, spread, step, size)
    ]
    return tuple([(slice(None), slice(None), row, column) for row in lines[0] for column in lines[1]])
