"""What makes spectrograms of one speaker look like those of another: pitch, tempo, gaps; and what evens them out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from weft.data.samplerandom import SampleRandom

Array = np.ndarray[Any, Any]


def trim_silence(power: Any, decibels: float = 24.0, margin: int = 1) -> Array:
    """The frames from the first to the last that is at most `decibels` below the loudest, and `margin` around them.

    power (frames, bins) -> (fewer frames, bins). ValueError unless decibels > 0 and there is a frame.

    >>> trim_silence(np.array([[0.0], [0.0], [9.0], [0.0], [8.0], [0.0], [0.0]])).shape
    (5, 1)
    """
    power = np.asarray(power)
    if power.ndim != 2 or not len(power) or not decibels > 0:
        raise ValueError(f"trim_silence: expected power (frames, bins) and decibels > 0, got {power.shape}, {decibels}")
    loudness = power.sum(axis=1)
    loud = np.flatnonzero(loudness >= loudness.max() * 10 ** (-decibels / 10))
    return power[max(0, loud[0] - margin) : loud[-1] + 1 + margin]


def pad_frames(sequences: Sequence[Any], frames: int | None = None) -> tuple[Array, Array]:
    """Sequences (t, D) of different lengths as one array (N, frames, D), zeros behind them, and their lengths (N,).

    frames: what is longer is cut there; by default the longest. ValueError unless each has D columns.

    >>> x, lengths = pad_frames([np.ones((2, 3)), np.ones((5, 3))], frames=4)
    >>> x.shape, lengths.tolist()
    ((2, 4, 3), [2, 4])
    """
    arrays = [np.asarray(sequence) for sequence in sequences]
    if not arrays or any(array.ndim != 2 or array.shape[1:] != arrays[0].shape[1:] for array in arrays):
        shapes = sorted({array.shape[1:] for array in arrays})
        raise ValueError(f"pad_frames: expected sequences (t, D) of one D, got {shapes[:5] or 'none'}")
    frames = max(map(len, arrays)) if frames is None else frames
    lengths = np.array([min(len(array), frames) for array in arrays])
    out = np.zeros((len(arrays), frames, arrays[0].shape[1]), np.result_type(*arrays))
    for row, array, length in zip(out, arrays, lengths):
        row[:length] = array[:length]
    return out, lengths


def warp_filters(filters: Any, factor: float) -> Array:
    """Mel filters as they are for a voice whose frequencies are all `factor` times as high; what leaves the range is 0.

    filters (bins, mels) -> (bins, mels). A power spectrogram times these is that of a longer (factor < 1) or shorter
    vocal tract. ValueError unless factor > 0. Jaitly and Hinton, "Vocal tract length perturbation" (2013).

    >>> warp_filters(np.eye(5), 2.0)[:, 4].tolist()  # twice as high: band 4 hears what was in bin 2
    [0.0, 0.0, 1.0, 0.0, 0.0]
    """
    filters = np.asarray(filters)
    if filters.ndim != 2 or not factor > 0:
        raise ValueError(f"warp_filters: expected filters (bins, mels) and a factor > 0, got {filters.shape}, {factor}")
    bins = np.arange(len(filters))
    return np.stack([np.interp(bins * factor, bins, f, right=0.0) for f in filters.T], axis=1).astype(filters.dtype)


def stretch_frames(x: Any, lengths: Any, factors: Any) -> tuple[Array, Array]:
    """Sequences made longer (factor > 1) or shorter, values between frames interpolated linearly.

    x (N, T, D) floating, lengths (N,), factors (N,) -> (N, T, D) and the new lengths, at most T. ValueError for factors
    <= 0 and lengths out of 1 to T.

    >>> x, lengths = stretch_frames(np.arange(4.0).reshape(1, 4, 1), [2], [2.0])
    >>> x[0, :, 0].tolist(), lengths.tolist()
    ([0.0, 0.5, 1.0, 1.5], [4])
    """
    x, lengths = check_frames("stretch_frames", x, lengths)
    factors = np.asarray(factors, np.float32)
    if factors.shape != lengths.shape or not (factors > 0).all():
        raise ValueError(f"stretch_frames: expected factors {lengths.shape} > 0, got {factors.shape}")
    place = np.minimum(np.arange(x.shape[1]) / factors[:, None], x.shape[1] - 1)  # (N, T)
    before = np.minimum(place.astype(np.int64), max(0, x.shape[1] - 2))
    between = (place - before)[..., None].astype(x.dtype)
    row = np.arange(len(x))[:, None]
    after = np.minimum(before + 1, x.shape[1] - 1)
    longer = np.minimum(x.shape[1], np.rint(lengths * factors)).astype(np.int64)
    return x[row, before] * (1 - between) + x[row, after] * between, np.maximum(longer, 1)


def normalise_frames(x: Any, lengths: Any) -> Array:
    """Each band's mean over the frames taken off and all divided by their deviation, sequence by sequence.

    x (N, T, D) floating, lengths (N,) -> (N, T, D), zeros behind each length: neither gain nor microphone is left.
    ValueError where shapes do not fit, and for lengths out of 1 to T.

    >>> normalise_frames(np.array([[[1.0], [3.0], [9.0]]]), [2])[0, :, 0].tolist()
    [-1.0, 1.0, 0.0]
    """
    x, lengths = check_frames("normalise_frames", x, lengths)
    inside = (np.arange(x.shape[1]) < lengths[:, None])[..., None]  # (N, T, 1)
    count = lengths[:, None, None].astype(x.dtype)
    x = np.where(inside, x - np.where(inside, x, 0).sum(axis=1, keepdims=True) / count, 0)
    deviation = np.sqrt((x**2).sum(axis=(1, 2), keepdims=True) / (count * x.shape[2]))
    return x / np.maximum(deviation, np.finfo(x.dtype).tiny)


def check_frames(name: str, x: Any, lengths: Any) -> tuple[Array, Array]:
    x, lengths = np.asarray(x), np.asarray(lengths)
    if x.ndim != 3 or x.dtype.kind != "f" or lengths.shape != x.shape[:1]:
        raise ValueError(f"{name}: expected floating x (N, T, D) and lengths (N,), got {x.dtype} {x.shape} and "
                         f"{lengths.shape}")  # fmt: skip
    if lengths.size and not 0 < lengths.min() <= lengths.max() <= x.shape[1]:
        raise ValueError(f"{name}: expected lengths of 1 to {x.shape[1]}, got {lengths.min()} to {lengths.max()}")
    return x, lengths


class SpecAugment:
    """Stretches of frames and of bands set to zero, at random.  Source: Park et al., arXiv:1904.08779.

    frames, bands: the longest stretch of each, 0 for none; count: how many of each. x (N, T, D) -> (N, T, D).

    >>> x = SpecAugment(frames=3, bands=2)(np.ones((2, 20, 8), np.float32), SampleRandom(0, 0, np.arange(2)))
    >>> x.shape, x.min()
    ((2, 20, 8), np.float32(0.0))
    """

    def __init__(self, frames: int, bands: int, count: int = 1):
        if frames < 0 or bands < 0 or count < 1:
            raise ValueError("SpecAugment: expected frames and bands >= 0 and count >= 1, "
                             f"got {frames}, {bands} and {count}")  # fmt: skip
        self.frames, self.bands, self.count = frames, bands, count

    def __call__(self, x: Array, rng: SampleRandom) -> Array:
        if x.ndim != 3 or len(x) != len(rng):
            raise ValueError(f"SpecAugment: expected x ({len(rng)}, T, D), got {x.shape}")
        kept = [self.kept(length, longest, rng) for length, longest in zip(x.shape[1:], (self.frames, self.bands))]
        return np.where(kept[0][:, :, None] & kept[1][:, None, :], x, x.dtype.type(0))

    def kept(self, length: int, longest: int, rng: SampleRandom) -> Array:
        """Which of `length` places stay, bool (N, length)."""
        kept = np.ones((len(rng), length), bool)
        for _ in range(self.count if longest else 0):
            width = rng.integers(0, min(longest, length) + 1)[:, None]
            first = np.floor(rng.uniform()[:, None] * (length - width + 1))
            place = np.arange(length)
            kept &= (place < first) | (place >= first + width)
        return kept
