"""Keras's helpers: labels as vectors, seeds, padded sequences, names of the user's own classes."""

from __future__ import annotations

from typing import Any

import numpy as np

from weft import random
from weft.autograd import Tensor
from weft.backends.device import on_host
from weft.keras.batches import PyDataset
from weft.keras.files import (
    array_to_img,
    image_dataset_from_directory,
    img_to_array,
    load_img,
    save_img,
    text_dataset_from_directory,
    timeseries_dataset_from_array,
)
from weft.keras.registry import (
    CUSTOM,
    counts,
    custom_object_scope,
    deserialize,
    register_keras_serializable,
    serialize,
)
from weft.keras.symbols import KerasTensor

Sequence = PyDataset
CustomObjectScope = custom_object_scope
serialize_keras_object, deserialize_keras_object = serialize, deserialize


def to_categorical(x: Any, num_classes: int | None = None) -> np.ndarray[Any, Any]:
    """Class numbers (N, ...) as vectors (N, ..., num_classes) with a single 1.  ValueError for a number out of range.

    >>> from weft import keras
    >>> keras.utils.to_categorical([0, 2]).tolist()
    [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    labels = np.asarray(on_host(x.data) if isinstance(x, Tensor) else x)
    if labels.ndim > 1 and labels.shape[-1] == 1:
        labels = labels[..., 0]
    whole = labels.astype(np.int64)
    if (whole != labels).any():
        raise ValueError(f"to_categorical: expected whole numbers, got {labels.dtype} with fractions")
    classes = int(whole.max(initial=-1)) + 1 if num_classes is None else num_classes
    if whole.size and not (whole.min() >= 0 and whole.max() < classes):
        raise ValueError(f"to_categorical: expected classes 0 to {classes - 1}, got {whole.min()} to {whole.max()}")
    return np.eye(classes, dtype=np.float32)[whole]


def set_random_seed(seed: int) -> None:
    """Seed Weft's, NumPy's and Python's random numbers.

    >>> from weft import keras
    >>> keras.utils.set_random_seed(1)
    """
    import random as python_random

    if not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ValueError(f"set_random_seed: expected an integer >= 0, got {seed!r}")
    random.seed(int(seed))
    np.random.seed(int(seed) % 2**32)
    python_random.seed(int(seed))


def normalize(x: Any, axis: int = -1, order: int = 2) -> np.ndarray[Any, Any]:
    """An array with vectors of norm 1 along an axis.

    >>> from weft import keras
    >>> keras.utils.normalize(np.array([[3.0, 4.0]])).tolist()
    [[0.6, 0.8]]
    """
    x = np.asarray(x)
    norms = np.linalg.norm(x, order, axis, keepdims=True)
    return x / np.where(norms == 0, 1, norms)


def pad_sequences(
    sequences: Any, maxlen: int | None = None, dtype: Any = "int32", padding: str = "pre", truncating: str = "pre",
    value: float = 0.0,
) -> np.ndarray[Any, Any]:  # fmt: skip
    """Lists of different lengths as one array (N, maxlen), filled up and cut off in front ("pre") or behind ("post").

    >>> from weft import keras
    >>> keras.utils.pad_sequences([[1], [2, 3]]).tolist()
    [[0, 1], [2, 3]]
    """
    if padding not in ("pre", "post") or truncating not in ("pre", "post"):
        raise ValueError(f"pad_sequences: expected padding and truncating pre or post, got {padding!r}, {truncating!r}")
    rows = [np.asarray(row) for row in sequences]
    length = max((len(row) for row in rows), default=0) if maxlen is None else maxlen
    inner = next((row.shape[1:] for row in rows if len(row)), ())
    out = np.full((len(rows), length, *inner), value, dtype)
    for i, row in enumerate(rows):
        kept = row[len(row) - min(length, len(row)) :] if truncating == "pre" else row[:length]
        if len(kept):
            out[i, length - len(kept) :] = kept if padding == "pre" else out[i, length - len(kept) :]
            if padding == "post":
                out[i, : len(kept)] = kept
    return out


def clear_session(free_memory: bool = True) -> None:
    """Let names begin anew: the next Dense is "dense" again.

    >>> from weft import keras
    >>> keras.utils.clear_session()
    >>> keras.layers.Dense(2).name
    'dense'
    """
    counts.clear()


def is_keras_tensor(x: Any) -> bool:
    """Whether this is a symbol of a functional model.

    >>> from weft import keras
    >>> keras.utils.is_keras_tensor(keras.Input((4,)))
    True
    """
    return isinstance(x, KerasTensor)


def get_custom_objects() -> dict[str, Any]:
    """The classes and functions of the user's own that configurations may name, to be changed in place.

    >>> from weft import keras
    >>> "nothing of this name" in keras.utils.get_custom_objects()
    False
    """
    return CUSTOM


def pack_x_y_sample_weight(x: Any, y: Any = None, sample_weight: Any = None) -> Any:
    """A batch as `fit` takes it: x, (x, y) or (x, y, sample_weight).

    >>> from weft import keras
    >>> keras.utils.pack_x_y_sample_weight(1, 2)
    (1, 2)
    """
    if y is None:
        return (x,) if isinstance(x, (list, tuple)) else x
    return (x, y) if sample_weight is None else (x, y, sample_weight)


def unpack_x_y_sample_weight(data: Any) -> tuple[Any, Any, Any]:
    """A batch x, (x,), (x, y) or (x, y, sample_weight) as three, None for what is not there.

    >>> from weft import keras
    >>> keras.utils.unpack_x_y_sample_weight((1, 2))
    (1, 2, None)
    """
    parts = tuple(data) if isinstance(data, (list, tuple)) else (data,)
    if not 1 <= len(parts) <= 3:
        raise ValueError(f"unpack_x_y_sample_weight: expected (x,), (x, y) or (x, y, sample_weight), got {len(parts)}")
    x, y, sample_weight = (*parts, None, None)[:3]
    return x, y, sample_weight


__all__ = ["CustomObjectScope", "PyDataset", "Sequence", "array_to_img", "clear_session", "custom_object_scope",
           "deserialize_keras_object", "get_custom_objects", "image_dataset_from_directory", "img_to_array",
           "is_keras_tensor", "load_img", "normalize", "pack_x_y_sample_weight", "pad_sequences",
           "register_keras_serializable", "save_img", "serialize_keras_object", "set_random_seed",
           "text_dataset_from_directory", "timeseries_dataset_from_array", "to_categorical",
           "unpack_x_y_sample_weight"]  # fmt: skip
