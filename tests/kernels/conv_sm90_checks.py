"""What every test of conv_sm90 does: draw images and weights, run a pass on the emulated device, compare."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np

from kernels.gemm_checks import close
from weft.backends.gpu import conv_sm90, gemm_sm90
from weft.backends.gpu.array import from_host
from weft.backends.reference import conv as reference
from weft.backends.reference.windows import output_size

DTYPES = {"bfloat16": np.dtype(ml_dtypes.bfloat16), "float16": np.dtype(np.float16), "float32": np.dtype(np.float32)}
TILES = {tile.name: tile for tile in gemm_sm90.TILES}
LARGE, TURNS, PAIR, SMALL = "128x256x64s3c2x1", "128x128x64s5p", "256x128x64s4c1x2", "64x64x64s8"


def channels_last(values, margin=0):
    """A device view (N, C, H, W) of memory in the order (N, H, W, C), whose pixels, rows and images lie `margin`
    channels, pixels and rows further apart than they must; and the whole memory, NaN between them."""
    n, c, h, w = values.shape
    memory = np.full((n, h + margin, w + margin, c + 8 * margin), np.nan, values.dtype)
    memory[:, :h, :w, :c] = values.transpose(0, 2, 3, 1)
    buffer = from_host(memory)
    return buffer[:, :h, :w, :c].transpose(0, 3, 1, 2), buffer


def draw(rng, shape, dtype, scale=1.0):
    return (rng.uniform(-1, 1, shape) * scale).astype(np.float32).astype(dtype)


def check(
    rng, x_shape, outputs, taps, *, stride=(1, 1), padding=((0, 0), (0, 0)), dilation=(1, 1), grad=False,
    dtype="bfloat16", tile=SMALL, parts=1, bias="", activation="none", margin=0, infinite=False,
):  # fmt: skip
    """One pass; returns out's values. infinite: the last row of x is, and only what it meets may become so."""
    chosen = DTYPES[dtype]
    geometry = {"stride": stride, "padding": padding, "dilation": dilation, "groups": 1}
    weight = draw(rng, (outputs, x_shape[1], *taps), chosen, 1 / math.sqrt(x_shape[1] * math.prod(taps)))
    options = {"dtype": dtype, "out_dtype": dtype, "capability": 90, "device": "emulated"}
    if grad:
        launches = conv_sm90.input_grad_columns(x_shape, weight.shape, stride, padding, dilation, **options)
        size = output_size(x_shape[2:], taps, stride, padding, dilation)
        image, added = draw(rng, (x_shape[0], outputs, *size), chosen), None
        precise, narrow = (
            reference.conv2d_input_grad(image.astype(t), weight.astype(t), shape=x_shape, **geometry)
            for t in (np.float64, np.float32)
        )
    else:
        launches = [conv_sm90.forward_columns(
            x_shape, weight.shape, stride, padding, dilation, bias=bias, activation=activation, **options
        )]  # fmt: skip
        image = draw(rng, x_shape, chosen)
        image[:, :, x_shape[2] - infinite :] = np.inf
        added = draw(rng, (outputs,), DTYPES[bias]) if bias else None
        with np.errstate(invalid="ignore"):
            precise, narrow = (
                reference.conv2d(
                    image.astype(t), weight.astype(t), None if added is None else added.astype(t), **geometry
                )
                for t in (np.float64, np.float32)
            )
        if activation == "relu":
            precise, narrow = np.maximum(precise, 0), np.maximum(narrow, 0)
    pixels = sum(math.prod(columns.out_size) for columns in launches)
    nothing = np.nan if pixels == math.prod(precise.shape[2:]) else 0
    out, _ = channels_last(np.full(precise.shape, nothing, chosen))
    on_image, on_weight = channels_last(image, margin)[0], channels_last(weight)[0]
    for columns in launches:
        conv_sm90.compute(
            on_image, on_weight, out, None if added is None else from_host(added), columns, TILES[tile], parts
        )
    got = out.get()
    if infinite:
        finite = np.isfinite(precise)
        assert finite.any() and (np.isfinite(got.astype(np.float32)) == finite).all(), "infinite where there is none"
        return got
    close(got, precise, narrow.astype(chosen), dtype)
    return got
