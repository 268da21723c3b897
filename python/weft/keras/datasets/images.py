"""The readers of `weft.data` in Keras's layouts."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from weft import data

Split = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


def load(name: str, path: Any) -> tuple[Split, Split]:
    """Images with their channels last, grey ones without, and labels uint8."""
    folder = Path(path) if path is not None and Path(path).is_dir() else None  # Keras's "mnist.npz" names a cache file
    found = getattr(data, name)(folder)
    if "JPEG" in found.name:
        warnings.warn(f"{found.name}: lossy images, results are not comparable with published ones", stacklevel=3)
    parts = []
    for samples in (found.train, found.test):
        images, labels = samples.arrays
        labels = labels.astype(np.uint8)
        colour = images.shape[1] == 3
        images = np.ascontiguousarray(images.transpose(0, 2, 3, 1)) if colour else images[:, 0]
        parts.append((images, labels[:, None] if colour else labels))
    return parts[0], parts[1]
