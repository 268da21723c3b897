"""Fourier transforms, windows, and mel filters."""

from __future__ import annotations

from typing import Any

import numpy as np

import weft
from weft.onnx.dtypes import dtype_of
from weft.onnx.operators import operator
from weft.onnx.operators.common import axis_of, flag, like, number


def transform(x: Any, length: int, axis: int, inverse: bool, onesided: bool) -> Any:
    """x (..., 1 or 2) -> (..., 2) along `axis`, cut or filled with zeros to `length` first; (..., 1) from half a
    spectrum, which is that of a real signal."""
    dtype = x.dtype
    if dtype.itemsize < 4:  # complex numbers have no halves
        x = x.astype(np.float32)
    real = x[..., 0]
    signal = real if x.shape[-1] == 1 else weft.astype(real, np.result_type(real.dtype, np.complex64)) + x[..., 1] * 1j
    if inverse and onesided:
        return weft.expand_dims(weft.fft.irfft(signal, n=length, axis=axis), axis=-1).astype(dtype)
    if onesided and x.shape[-1] == 1:
        out = weft.fft.rfft(signal, n=length, axis=axis)
    else:
        signal = weft.astype(signal, np.result_type(signal.dtype, np.complex64))
        out = (weft.fft.ifft if inverse else weft.fft.fft)(signal, n=length, axis=axis)
        out = out[(slice(None),) * axis + (slice(0, length // 2 + 1),)] if onesided else out
    return weft.stack([weft.real(out), weft.imag(out)], axis=-1).astype(dtype)


def dft(x: Any, length: Any, axis: int, inverse: int, onesided: int) -> Any:
    axis = axis_of(axis, x.ndim)
    if axis == x.ndim - 1 or x.shape[-1] not in (1, 2):
        raise ValueError(f"DFT: expected (..., 1 or 2) and an axis before the last, got {x.shape} and {axis}")
    back, half = flag("inverse", inverse), flag("onesided", onesided)
    n = number(length) if length is not None else 2 * (x.shape[axis] - 1) if back and half else x.shape[axis]
    return transform(x, n, axis, back, half)


@operator("DFT", 17)
def dft_by_attribute(x: Any, length: Any = None, *, axis: int = 1, inverse: int = 0, onesided: int = 0) -> Any:
    return dft(x, length, axis, inverse, onesided)


@operator("DFT", 20)
def dft_by_input(x: Any, length: Any = None, axis: Any = None, *, inverse: int = 0, onesided: int = 0) -> Any:
    return dft(x, length, -2 if axis is None else number(axis), inverse, onesided)


@operator("STFT", 17)
def stft(signal: Any, step: Any, window: Any = None, length: Any = None, *, onesided: int = 1) -> Any:
    """signal (N, L, 1 or 2) -> (N, frames, bins, 2)."""
    if length is None and window is None:
        raise ValueError("STFT: expected a window or a frame_length, got neither")
    n = number(length) if length is not None else window.shape[0]
    hop, total = number(step), signal.shape[1]
    if hop < 1 or not 1 <= n <= total:
        raise ValueError(f"STFT: expected a step of at least 1 and frames within {total}, got {hop} and {n}")
    places = np.arange((total - n) // hop + 1)[:, None] * hop + np.arange(n)
    frames = weft.take(signal, like(places, signal), axis=1)  # (N, frames, n, 1 or 2)
    if window is not None:
        frames = frames * window.reshape(-1, 1)
    return transform(frames, n, 2, False, flag("onesided", onesided))


def cosine_window(*terms: float) -> Any:
    """A window that is a sum of cosines, over one period, or up to its last value where not `periodic`."""

    def run(size: Any, *, output_datatype: int = 1, periodic: int = 1) -> Any:
        n = number(size)
        period = n if flag("periodic", periodic) else n - 1
        angles = 2 * np.pi * np.arange(n) / max(period, 1)
        values = sum(a * np.cos(k * angles) for k, a in enumerate(terms))
        return like(np.asarray(values, dtype_of(output_datatype)), size)

    return run


operator("HannWindow", 17)(cosine_window(0.5, -0.5))
operator("HammingWindow", 17)(cosine_window(25 / 46, -21 / 46))
operator("BlackmanWindow", 17)(cosine_window(0.42, -0.5, 0.08))


@operator("MelWeightMatrix", 17)
def mel_weight_matrix(
    count: Any, length: Any, rate: Any, lowest: Any, highest: Any, *, output_datatype: int = 1
) -> Any:
    """Triangles over the bins of a spectrum, evenly spaced in mel: (bins, count)."""
    n, size, sampled = number(count), number(length), number(rate)
    low, high = (2595 * np.log10(1 + number(edge) / 700) for edge in (lowest, highest))
    mels = low + np.arange(n + 2) * (high - low) / (n + 2)
    edges = ((size + 1) * 700 * (10 ** (mels / 2595) - 1) // sampled).astype(int)
    bins = np.arange(size // 2 + 1)[:, None]
    left, peak, right = edges[:-2], edges[1:-1], edges[2:]
    rising = np.where(peak > left, (bins - left) / np.maximum(peak - left, 1), bins == peak)
    falling = (right - bins) / np.maximum(right - peak, 1)
    values = np.where((bins >= left) & (bins <= peak), rising, 0) * (bins <= peak)
    values = np.where((bins >= peak) & (bins < right) & (right > peak), falling, values)
    return like(values.astype(dtype_of(output_datatype)), count)
