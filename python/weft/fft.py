"""Fourier transforms: the `fft` extension of the Python array API standard, 2024.12, with gradients of any order.

They run on the CPU, where complex numbers live, in 32 or 64 bits as x has them.

>>> import weft
>>> signal = weft.asarray([0.0, 1.0, 0.0, -1.0])
>>> abs(weft.fft.rfft(signal)).numpy()
array([0., 2., 0.], dtype=float32)
"""

from __future__ import annotations

from weft.ops.fourier import (
    fft,
    fftfreq,
    fftn,
    fftshift,
    hfft,
    ifft,
    ifftn,
    ifftshift,
    ihfft,
    irfft,
    irfftn,
    rfft,
    rfftfreq,
    rfftn,
)

__all__ = [
    "fft",
    "fftfreq",
    "fftn",
    "fftshift",
    "hfft",
    "ifft",
    "ifftn",
    "ifftshift",
    "ihfft",
    "irfft",
    "irfftn",
    "rfft",
    "rfftfreq",
    "rfftn",
]
