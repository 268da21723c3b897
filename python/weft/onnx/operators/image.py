"""Images: resizing, sampling, boxes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

import weft
from weft.nn.functional.sampling import sampled
from weft.onnx.operators import operator
from weft.onnx.operators.common import axes_of, flag, host, ints, is_float, like, number, one_of
from weft.ops.index import put
from weft.vision import suppress

Array = np.ndarray[Any, Any]

COORDINATES = (
    "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric", "tf_crop_and_resize"
)  # fmt: skip
NEAREST: dict[str, Callable[[Array], Array]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def cubic(d: Array, a: float) -> Array:
    """Keys' kernel (1981) at distance d."""
    d = np.abs(d)
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0))


def triangle(d: Array) -> Array:
    return np.maximum(1 - np.abs(d), 0)


def sources(mode: str, n: int, m: int, scale: float, roi: tuple[float, float]) -> Array:
    """Where in n values each of m values is taken, as a real number."""
    i, size = np.arange(m, dtype=np.float64), scale * n
    if mode == "align_corners":
        return i * (n - 1) / (size - 1) if size != 1 else i * 0
    if mode == "asymmetric":
        return i / scale
    if mode == "tf_crop_and_resize":
        start, end = roi
        if size == 1:
            return i * 0 + 0.5 * (start + end) * (n - 1)
        return start * (n - 1) + i * (end - start) * (n - 1) / (size - 1)
    if mode == "pytorch_half_pixel" and size <= 1:
        return i * 0
    shift = n / 2 * (1 - m / size) if mode == "half_pixel_symmetric" else 0.0
    return shift + (i + 0.5) / scale - 0.5


def interpolation(
    x: Array, n: int, kernel: Callable[[Array], Array], reach: int, stretch: float, outside: bool
) -> Array:
    """(m, n): row i weighs the n values for place x[i]; what is beyond an edge counts as the edge, or not at all."""
    radius = reach / stretch
    taps = np.floor(x)[:, None] + np.arange(-int(np.ceil(radius)), int(np.ceil(radius)) + 2)
    weights = kernel((taps - x[:, None]) * stretch)
    if outside:
        weights = np.where((taps < 0) | (taps >= n), 0, weights)
    total = weights.sum(axis=1, keepdims=True)
    weights = weights / np.where(total == 0, 1, total)
    matrix = np.zeros((len(x), n))
    np.add.at(matrix, (np.arange(len(x))[:, None], np.clip(taps, 0, n - 1).astype(int)), weights)
    return matrix


def along(x: Any, axis: int, matrix: Array) -> Any:
    """The matrix (m, n) applied along an axis of length n."""
    moved = weft.moveaxis(x, axis, -1)
    return weft.moveaxis(weft.matmul(moved, like(matrix.T.astype(x.dtype), x)), -1, axis)


def resized(
    x: Any, roi: Any, scales: list[float], sizes: list[int], axes: list[int], *, antialias: bool, coordinates: str,
    cubic_coeff_a: float, outside: bool, extrapolation_value: float, mode: str, nearest_mode: str,
) -> Any:  # fmt: skip
    one_of("mode", mode, ("nearest", "linear", "cubic"))
    one_of("coordinate_transformation_mode", coordinates, COORDINATES)
    one_of("nearest_mode", nearest_mode, list(NEAREST))
    dtype = x.dtype
    if mode != "nearest" and dtype != np.float64:
        x = x.astype(np.float32 if is_float(x) else np.float64)
    beyond = []
    for k, axis in enumerate(axes):
        n, m, scale = x.shape[axis], sizes[k], scales[k]
        span = (0.0, 1.0) if roi is None else (roi[k], roi[len(axes) + k])
        if m == n and scale == 1 and span == (0.0, 1.0):
            continue
        if not n or m < 0 or not np.isfinite(scale) or scale <= 0:
            raise ValueError(f"Resize: expected values to resize and positive scales, got {x.shape} and {scales}")
        places = sources(coordinates, n, m, scale, span)
        if coordinates == "tf_crop_and_resize":
            beyond.append((axis, (places < 0) | (places > n - 1)))
        if mode == "nearest":
            nearest = np.clip(NEAREST[nearest_mode](places), 0, n - 1).astype(int)
            x = weft.take(x, like(nearest, x), axis=axis)
            continue
        stretch = min(scale, 1.0) if antialias else 1.0
        kernel = triangle if mode == "linear" else (lambda d: cubic(d, cubic_coeff_a))
        x = along(x, axis, interpolation(places, n, kernel, 1 if mode == "linear" else 2, stretch, outside))
    for axis, hidden in beyond:
        line = like(hidden.reshape([-1 if i == axis else 1 for i in range(x.ndim)]), x)
        x = weft.where(line, float(extrapolation_value), x)
    if x.dtype != dtype and not is_float(weft.zeros((), dtype=dtype)):
        info = np.iinfo(dtype)
        return weft.clip(weft.round(x), float(info.min), float(info.max)).astype(dtype)
    return x.astype(dtype) if x.dtype != dtype else x


def resize_by(x: Any, roi: Any, scales: Any, sizes: Any, axes: Any, policy: str, options: dict[str, Any]) -> Any:
    where = list(range(x.ndim)) if axes is None else axes_of(axes, x.ndim)
    if (scales is None or not scales.size) == (sizes is None or not sizes.size):
        raise ValueError("Resize: expected either scales or sizes, got both or neither")
    one_of("keep_aspect_ratio_policy", policy, ("stretch", "not_larger", "not_smaller"))
    lengths = [x.shape[a] for a in where]
    if sizes is not None and sizes.size:
        wanted = ints(sizes)
        if len(wanted) != len(where):
            raise ValueError(f"Resize: expected {len(where)} sizes, got {wanted}")
        factors = [m / max(n, 1) for m, n in zip(wanted, lengths)]
        if policy != "stretch":
            one = min(factors) if policy == "not_larger" else max(factors)
            factors = [one] * len(where)
            wanted = [int(one * n + 0.5) for n in lengths]
    else:
        factors = [float(s) for s in host(scales).reshape(-1)]
        if len(factors) != len(where):
            raise ValueError(f"Resize: expected {len(where)} scales, got {factors}")
        wanted = [int(n * s) for n, s in zip(lengths, factors)]
    span = None
    if options["coordinates"] == "tf_crop_and_resize":
        span = [float(r) for r in host(roi).reshape(-1)]
        if len(span) != 2 * len(where):
            raise ValueError(f"Resize: expected a roi of {2 * len(where)} values, got {len(span)}")
    return resized(x, span, factors, wanted, where, **options)


def resize(
    x: Any, roi: Any = None, scales: Any = None, sizes: Any = None, *,
    antialias: int = 0, axes: Any = None, coordinate_transformation_mode: str = "half_pixel",
    cubic_coeff_a: float = -0.75, exclude_outside: int = 0, extrapolation_value: float = 0.0,
    keep_aspect_ratio_policy: str = "stretch", mode: str = "nearest", nearest_mode: str = "round_prefer_floor",
) -> Any:  # fmt: skip
    options = {
        "antialias": flag("antialias", antialias), "coordinates": coordinate_transformation_mode,
        "cubic_coeff_a": cubic_coeff_a, "outside": flag("exclude_outside", exclude_outside),
        "extrapolation_value": extrapolation_value, "mode": mode, "nearest_mode": nearest_mode,
    }  # fmt: skip
    return resize_by(x, roi, scales, sizes, axes, keep_aspect_ratio_policy, options)


operator("Resize", 11)(resize)


@operator("Resize", 10)
def resize_by_scales(x: Any, scales: Any, *, mode: str = "nearest") -> Any:
    return resize(x, None, scales, mode=mode, coordinate_transformation_mode="asymmetric", nearest_mode="floor")


operator("Upsample", 9)(resize_by_scales)


@operator("Upsample", 7)
def upsample(x: Any, *, scales: Any, mode: str = "nearest") -> Any:
    return resize_by_scales(x, like(np.asarray(scales, np.float32), x), mode=mode)


# ---- sampling at places


@operator("GridSample", 16)
def grid_sample_as_it_was(
    x: Any, grid: Any, *, align_corners: int = 0, mode: str = "bilinear", padding_mode: str = "zeros"
) -> Any:
    mode = {"bilinear": "linear", "bicubic": "cubic", "nearest": "nearest"}.get(mode, mode)
    return grid_sample(x, grid, align_corners=align_corners, mode=mode, padding_mode=padding_mode)


@operator("GridSample", 20)
def grid_sample(x: Any, grid: Any, *, align_corners: int = 0, mode: str = "linear", padding_mode: str = "zeros") -> Any:
    """x (N, C, *in) at places grid (N, *out, axes) in [-1, 1], the last axis of x first -> (N, C, *out)."""
    one_of("mode", mode, ("linear", "nearest", "cubic"))
    one_of("padding_mode", padding_mode, ("zeros", "border", "reflection"))
    align, n = flag("align_corners", align_corners), x.ndim - 2
    if grid.shape[-1] != n or grid.ndim != x.ndim:
        raise ValueError(f"GridSample: expected a grid (N, *out, {n}) for {x.shape}, got {grid.shape}")
    places = []
    for axis in range(n):
        length, g = x.shape[2 + axis], grid[..., n - 1 - axis]
        places.append((g + 1) * ((length - 1) / 2) if align else ((g + 1) * length - 1) * 0.5)
    return sampled(x, places, mode, padding_mode, align)


@operator("RoiAlign", 10)
def roi_align_as_it_was(
    x: Any, rois: Any, batch: Any, *, mode: str = "avg", output_height: int = 1, output_width: int = 1,
    sampling_ratio: int = 0, spatial_scale: float = 1.0,
) -> Any:  # fmt: skip
    return roi_align(
        x, rois, batch, mode=mode, output_height=output_height, output_width=output_width,
        sampling_ratio=sampling_ratio, spatial_scale=spatial_scale,
        coordinate_transformation_mode="output_half_pixel",
    )  # fmt: skip


@operator("RoiAlign", 16)
def roi_align(
    x: Any, rois: Any, batch: Any, *, coordinate_transformation_mode: str = "half_pixel", mode: str = "avg",
    output_height: int = 1, output_width: int = 1, sampling_ratio: int = 0, spatial_scale: float = 1.0,
) -> Any:  # fmt: skip
    """The mean (or largest weighted corner) of bilinear samples in each bin of each box (He et al., 2017)."""
    one_of("mode", mode, ("avg", "max"))
    half = one_of("coordinate_transformation_mode", coordinate_transformation_mode,
                  ("half_pixel", "output_half_pixel")) == "half_pixel"  # fmt: skip
    height, width = x.shape[2:]
    out = []
    for (x1, y1, x2, y2), b in zip(host(rois).astype(np.float64) * spatial_scale - (0.5 if half else 0), ints(batch)):
        sides = []
        for start, end, bins, n in ((y1, y2, output_height, height), (x1, x2, output_width, width)):
            extent = end - start if half else max(end - start, 1.0)
            count = sampling_ratio or max(int(np.ceil(extent / bins)), 1)
            places = start + (np.arange(bins)[:, None] + (np.arange(count) + 0.5) / count) * extent / bins
            inside = (places >= -1) & (places <= n)
            low = np.clip(np.floor(np.maximum(places, 0)), 0, n - 1).astype(int)
            t = np.where(low >= n - 1, 0, np.clip(places, 0, None) - low)
            sides.append([(low, (1 - t) * inside), (np.minimum(low + 1, n - 1), t * inside)])  # (bins, count)
        corners = []
        for (i, wi), (j, wj) in itertools.product(*sides):
            weight = wi[:, None, :, None] * wj[None, :, None, :]  # (oh, ow, sh, sw)
            value = x[b][:, like(np.broadcast_to(i[:, None, :, None], weight.shape), x),
                         like(np.broadcast_to(j[None, :, None, :], weight.shape), x)]  # fmt: skip
            corners.append(value * like(weight.astype(x.dtype), x))
        if mode == "avg":
            total = corners[0] + corners[1] + corners[2] + corners[3]
            out.append(weft.mean(total, axis=(-2, -1)))
        else:
            out.append(weft.max(weft.stack(corners), axis=(0, -2, -1)))
    return weft.stack(out) if out else weft.zeros((0, x.shape[1], output_height, output_width), dtype=x.dtype)


@operator("NonMaxSuppression", 10)
def non_max_suppression(
    boxes: Any, scores: Any, most: Any = None, iou: Any = None, threshold: Any = None, *, center_point_box: int = 0
) -> Any:
    """Of boxes (N, B, 4) with scores (N, C, B), the best that do not overlap: rows of (batch, class, box)."""
    count = 0 if most is None else number(most)
    limit, least = 0.0 if iou is None else number(iou), None if threshold is None else number(threshold)
    corners, all_scores, found = host(boxes).astype(np.float64), host(scores), []
    if flag("center_point_box", center_point_box):
        middle, size = corners[..., :2], corners[..., 2:]
        corners = np.concatenate([middle - size / 2, middle + size / 2], axis=-1)
    low, high = np.minimum(corners[..., :2], corners[..., 2:]), np.maximum(corners[..., :2], corners[..., 2:])
    corners = np.concatenate([low, high], axis=-1)
    for b, c in itertools.product(*map(range, all_scores.shape[:2])):
        values = all_scores[b, c]
        able = np.arange(len(values)) if least is None else np.flatnonzero(values > least)
        found += [(b, c, able[i]) for i in suppress(corners[b, able], values[able], limit, count)]
    return like(np.asarray(found, np.int64).reshape(-1, 3), scores)


@operator("Col2Im", 18)
def col2im(
    x: Any, image_shape: Any, block_shape: Any, *, dilations: Any = None, pads: Any = None, strides: Any = None
) -> Any:
    """x (N, C prod(block), blocks) -> (N, C, *image): the sum of the blocks, each where it was taken."""
    image, block = ints(image_shape), ints(block_shape)
    n = len(image)
    steps, spread, flat = strides or [1] * n, dilations or [1] * n, pads or [0] * 2 * n
    whole = [m + flat[i] + flat[n + i] for i, m in enumerate(image)]
    counts = [(m - d * (k - 1) - 1) // s + 1 for m, d, k, s in zip(whole, spread, block, steps)]
    batch, channels = x.shape[0], x.shape[1] // int(np.prod(block))
    parts = x.reshape(batch, channels, *block, *counts)
    index: list[Any] = [slice(None), slice(None)]
    for i in range(n):
        places = np.arange(block[i])[:, None] * spread[i] + np.arange(counts[i]) * steps[i]
        line = [1] * (2 * n)
        line[i], line[n + i] = places.shape
        index.append(places.reshape(line))
    arrays = [like(a, x).data for a in np.broadcast_arrays(*index[2:])]
    total = put(parts, index=(slice(None), slice(None), *arrays), shape=(batch, channels, *whole))
    return total[(slice(None), slice(None), *(slice(flat[i], flat[i] + m) for i, m in enumerate(image)))]


@operator("DeformConv", 19)
def deform_conv(
    x: Any, weight: Any, offset: Any, bias: Any = None, mask: Any = None, *, dilations: Any = None, group: int = 1,
    kernel_shape: Any = None, offset_group: int = 1, pads: Any = None, strides: Any = None,
) -> Any:  # fmt: skip
    """A convolution of images whose taps are moved by `offset` and weighted by `mask` (Dai et al., 2017)."""
    from weft.onnx.operators.conv import check_kernel, geometry

    kh, kw = check_kernel(weight, kernel_shape)
    ((top, _), (left, _)), (sh, sw), (dh, dw) = geometry(x.shape[2:], (kh, kw), "NOTSET", pads, strides, dilations)
    N, C = x.shape[:2]
    oh, ow = offset.shape[2:]
    moved = offset.reshape(N, offset_group, kh * kw, 2, oh, ow)
    rows = np.arange(oh)[:, None] * sh - top + (np.arange(kh) * dh).repeat(kw)[:, None, None]  # (taps, oh, 1)
    columns = np.arange(ow)[None, :] * sw - left + np.tile(np.arange(kw) * dw, kh)[:, None, None]  # (taps, 1, ow)
    each, samples = C // offset_group, []
    for g in range(offset_group):
        y = moved[:, g, :, 0] + like(rows.astype(x.dtype), x)  # (N, taps, oh, ow)
        z = moved[:, g, :, 1] + like(columns.astype(x.dtype), x)
        part = sampled(x[:, g * each : (g + 1) * each], [y, z], "linear", "zeros", False)  # (N, each, taps, oh, ow)
        if mask is not None:
            part = part * weft.expand_dims(mask.reshape(N, offset_group, kh * kw, oh, ow)[:, g], axis=1)
        samples.append(part)
    taps = weft.concat(samples, axis=1).reshape(N, group, C // group * kh * kw, oh * ow)
    flat = weight.reshape(group, weight.shape[0] // group, -1)
    out = weft.matmul(flat, taps).reshape(N, weight.shape[0], oh, ow)
    return out if bias is None else out + bias.reshape(-1, 1, 1)
