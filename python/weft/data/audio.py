"""Sound: wav files, and what a network hears of them, log-mel spectrograms."""

from __future__ import annotations

import io
import wave
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]
MAX_SAMPLES = 1 << 28  # of one file


class Sound(NamedTuple):
    """Samples float32, (n,) or (n, channels), from -1 to 1, and how many there are in a second.

    >>> Sound(np.zeros(8000, np.float32), 8000).rate
    8000
    """

    samples: Array
    rate: int


def read_wav(path: Path | str | bytes | BinaryIO) -> Sound:
    """The sound in a wav file of whole numbers (8, 16, 24 or 32 bits), or in its bytes.

    One channel gives samples (n,), more (n, channels). ValueError if the file is no such wav, or is cut.

    >>> import io, wave
    >>> with wave.open(file := io.BytesIO(), "wb") as out:
    ...     out.setparams((1, 2, 8000, 0, "NONE", ""))
    ...     out.writeframes(np.array([0, 16384, -32768], "<i2").tobytes())
    >>> read_wav(file.getvalue())
    Sound(samples=array([ 0. ,  0.5, -1. ], dtype=float32), rate=8000)
    """
    name = str(path) if isinstance(path, (str, Path)) else "bytes"
    source: Any = io.BytesIO(path) if isinstance(path, bytes) else str(path) if isinstance(path, Path) else path
    try:
        with wave.open(source, "rb") as file:
            channels, width, rate, frames = file.getparams()[:4]
            if not 0 < channels <= 64 or not 1 <= width <= 4 or rate < 1 or frames * channels > MAX_SAMPLES:
                raise ValueError(f"{channels} channels of {width} bytes, {frames} samples, {rate} Hz")
            data = file.readframes(frames)
    except (wave.Error, EOFError, ValueError, RuntimeError) as error:
        raise ValueError(f"read_wav: expected a wav file of 8 to 32 bits, got {name}: {error or 'cut'}") from None
    if len(data) != frames * channels * width:
        raise ValueError(f"read_wav: expected {frames} samples in {name}, as its header says, got {len(data)} bytes")
    if width == 1:
        whole = np.frombuffer(data, np.uint8).astype(np.int32) - 128
    else:
        padded = np.zeros((frames * channels, 4), np.uint8)  # the bytes that there are are the upper ones
        padded[:, 4 - width :] = np.frombuffer(data, np.uint8).reshape(-1, width)
        whole = padded.view("<i4")[:, 0] >> (8 * (4 - width))
    samples = (whole / float(1 << (8 * width - 1))).astype(np.float32)
    return Sound(samples if channels == 1 else samples.reshape(-1, channels), rate)


def spectrogram(x: Any, size: int, hop: int, *, center: bool = True) -> Array:
    """The power of each frequency over time: |FFT|^2 of frames of `size` samples under a Hann window.

    x (..., n) -> (..., frames, size // 2 + 1), float32, or float64 for float64. hop: samples from one frame to the
    next. center: frame t has sample t * hop in its middle, the ends mirrored; else it begins there. ValueError if a
    frame does not fit. The window is periodic, 0.5 - 0.5 cos(2 pi k / size).

    >>> spectrogram(np.sin(np.arange(800) * 2 * np.pi / 8), size=64, hop=32)[10].argmax()   # 64 / 8 = bin 8
    np.int64(8)
    """
    x = np.asarray(x)
    if x.dtype.kind != "f" or x.ndim == 0:
        raise ValueError(f"spectrogram: expected samples (..., n) of floats, got {x.dtype} {x.shape}")
    if size < 2 or hop < 1:
        raise ValueError(f"spectrogram: expected size >= 2 and hop >= 1, got {size} and {hop}")
    least = size // 2 + 1 if center else size
    if x.shape[-1] < least:
        raise ValueError(f"spectrogram: expected at least {least} samples for frames of {size}, got {x.shape[-1]}")
    if center:
        x = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(size // 2, size // 2)], mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi / size * np.arange(size))
    frames = np.lib.stride_tricks.sliding_window_view(x, size, axis=-1)[..., ::hop, :]  # (..., frames, size)
    found = np.fft.rfft(frames * window.astype(x.dtype))
    return found.real**2 + found.imag**2


def hertz_to_mel(hertz: Any, scale: str = "htk") -> Array:
    """Frequencies as pitches that people hear as evenly spaced.

    scale: "htk", 2595 log10(1 + f / 700) (O'Shaughnessy, 1987); "slaney", 3 f / 200 below 1000 Hz and 27 steps for each
    factor of 6.4 above (Slaney, Auditory Toolbox, 1998). ValueError for another.

    >>> round(float(hertz_to_mel(1000.0)), 2), float(hertz_to_mel(1000.0, "slaney"))
    (999.99, 15.0)
    """
    hertz = np.asarray(hertz, np.float64)
    if scale == "htk":
        return 2595 * np.log10(1 + hertz / 700)
    if scale != "slaney":
        raise ValueError(f"hertz_to_mel: expected scale htk or slaney, got {scale!r}")
    return np.where(hertz < 1000, 3 * hertz / 200, 15 + 27 * np.log(np.maximum(hertz, 1000) / 1000) / np.log(6.4))


def mel_to_hertz(mel: Any, scale: str = "htk") -> Array:
    """The inverse of `hertz_to_mel`.

    >>> round(float(mel_to_hertz(hertz_to_mel(440.0))), 6)
    440.0
    """
    mel = np.asarray(mel, np.float64)
    if scale == "htk":
        return 700 * (10 ** (mel / 2595) - 1)
    if scale != "slaney":
        raise ValueError(f"mel_to_hertz: expected scale htk or slaney, got {scale!r}")
    return np.where(mel < 15, 200 * mel / 3, 1000 * 6.4 ** ((np.maximum(mel, 15) - 15) / 27))


def mel_filterbank(
    bins: int, mels: int, rate: int, *, low: float = 0.0, high: float | None = None, scale: str = "htk",
    norm: str | None = None,
) -> Array:  # fmt: skip
    """Triangles over the frequencies of a spectrogram, evenly spaced in mel, each from its neighbour's top to the next.

    bins: frequencies of the spectrogram, 0 to rate / 2; mels: triangles from `low` to `high` Hz (default: rate / 2)
    -> (bins, mels), float64. scale: as `hertz_to_mel`. norm: None, every top is 1; "slaney", every area is 1 Hz.
    ValueError if the range is none, or so narrow that a triangle holds no frequency of the spectrogram.

    >>> mel_filterbank(129, 20, 8000).shape
    (129, 20)
    """
    high = rate / 2 if high is None else high
    if bins < 2 or mels < 1 or not 0 <= low < high <= rate / 2 or norm not in (None, "slaney"):
        raise ValueError("mel_filterbank: expected bins >= 2, mels >= 1, 0 <= low < high <= rate / 2 and norm None or "
                         f"slaney, got {bins}, {mels}, {low} to {high} of {rate} and {norm!r}")  # fmt: skip
    corners = mel_to_hertz(np.linspace(hertz_to_mel(low, scale), hertz_to_mel(high, scale), mels + 2), scale)
    hertz = np.linspace(0, rate / 2, bins)[:, None]  # (bins, 1)
    left, top, right = corners[:-2], corners[1:-1], corners[2:]
    filters = np.maximum(0, np.minimum((hertz - left) / (top - left), (right - hertz) / (right - top)))
    empty = np.flatnonzero(filters.max(axis=0) == 0)
    if len(empty):
        raise ValueError(f"mel_filterbank: expected a frequency in every triangle, got none in {len(empty)} of {mels} "
                         f"for {bins} bins; fewer mels or longer frames help")  # fmt: skip
    return filters * (2 / (right - left)) if norm else filters


def log_mel(
    x: Any, rate: int, *, size: int = 256, hop: int = 80, mels: int = 40, low: float = 0.0, high: float | None = None,
    scale: str = "htk", norm: str | None = None, floor: float = 1e-10, center: bool = True,
) -> Array:  # fmt: skip
    """The log-mel spectrogram: the natural logarithm of the power in each of `mels` bands over time.

    x (..., n) samples at `rate` Hz -> (..., frames, mels) in x's dtype. size, hop, center: as `spectrogram`; low, high,
    scale, norm: as `mel_filterbank`; power below `floor` counts as `floor`. Errors as theirs.

    >>> log_mel(np.zeros(8000, np.float32), rate=8000).shape
    (101, 40)
    """
    power = spectrogram(x, size, hop, center=center)
    filters = mel_filterbank(power.shape[-1], mels, rate, low=low, high=high, scale=scale, norm=norm)
    return np.log(np.maximum(power @ filters.astype(power.dtype), power.dtype.type(floor)))
