"""Batches of what `fit`, `evaluate` and `predict` are given: arrays, a DataLoader, a PyDataset, or an iterator."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from weft import ops, random
from weft.autograd import Tensor
from weft.backends.device import on_host
from weft.data import ArrayDataset, DataLoader
from weft.data.dataset import Dataset
from weft.keras.symbols import leaves, mapped
from weft.keras.texts import host_values, is_texts

Batch = tuple[Any, Any, Any]  # inputs, labels and sample weights; the last two may be None


class PyDataset:
    """Base of data sets of the user's own: define `__len__`, the number of batches, and `__getitem__(i)`, a batch.

    A batch is (x, y) or (x, y, sample_weight). `on_epoch_end` may shuffle. Batches are made in this process.

    >>> from weft import keras
    >>> class Squares(keras.utils.PyDataset):
    ...     def __len__(self):
    ...         return 3
    ...     def __getitem__(self, i):
    ...         x = np.arange(4.0)[:, None] + i
    ...         return x, x ** 2
    >>> len(Squares())
    3
    """

    def __init__(self, workers: int = 1, use_multiprocessing: bool = False, max_queue_size: int = 10):
        self.workers = workers

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__}: expected a method `__len__`, got none")

    def __getitem__(self, index: int) -> Any:
        raise NotImplementedError(f"{type(self).__name__}: expected a method `__getitem__`, got none")

    def on_epoch_end(self) -> None:
        """Called after each epoch."""


def as_array(x: Any) -> Any:
    """One array of data; float64, in which NumPy computes, becomes float32."""
    if isinstance(x, Tensor):
        return on_host(x.data)
    x = np.asarray(x)
    if is_texts(x):
        return host_values(x, "data")
    return x.astype(np.float32) if x.dtype == np.float64 else x


def is_arrays(x: Any) -> bool:
    """Whether data are in arrays: one, or a structure of them."""
    if isinstance(x, (list, tuple, Mapping)):
        items = list(x.values() if isinstance(x, Mapping) else x)
        return all(
            isinstance(next(leaves(item), 0), (int, float, np.generic)) if isinstance(item, (list, tuple))
            else isinstance(item, (np.ndarray, Tensor, int, float)) or hasattr(item, "__array__") for item in items
        )  # fmt: skip
    return isinstance(x, (np.ndarray, Tensor)) or (hasattr(x, "__array__") and not isinstance(x, Dataset))


def arrays_of(x: Any) -> Any:
    """Structures of arrays; a list of numbers, however nested, is one array."""
    if isinstance(x, (list, tuple)):
        first = next(leaves(x), None)
        if first is None or isinstance(first, (int, float, np.generic)):
            return as_array(x)
    return None if x is None else mapped(lambda a: None if a is None else as_array(a), x)


class Batches:
    """What there is to go through once per epoch.

    >>> Batches(np.ones((10, 3)), np.ones(10), None, 4).steps      # doctest: +SKIP
    3
    """

    def __init__(
        self, x: Any, y: Any = None, sample_weight: Any = None, batch_size: int | None = None, shuffle: bool = False,
        class_weight: Mapping[Any, float] | None = None, by: str = "fit",
    ):  # fmt: skip
        self.by, self.class_weight, self.source, self.loader = by, class_weight, x, None
        if class_weight is not None and sample_weight is not None:
            raise ValueError(f"{by}: expected class_weight or sample_weight, got both")
        self.steps: int | None = None
        if is_arrays(x):
            x, y, weight = arrays_of(x), arrays_of(y), arrays_of(sample_weight)
            if class_weight is not None:
                weight = self.class_weights(y)
            flat = [a for a in leaves((x, y, weight)) if a is not None]
            if any(a.ndim == 0 for a in flat) or len({len(a) for a in flat}) != 1:
                shapes = ", ".join(str(a.shape) for a in flat)
                raise ValueError(f"{by}: expected as many samples in each of inputs, labels and weights, got {shapes}")
            if not len(flat[0]):
                raise ValueError(f"{by}: expected at least one sample, got none")
            self.structure = (x, y, weight)
            seed = int(random.default_generator.integers_array(0, 2**62)) if shuffle else 0
            batch_size = min(batch_size or 32, len(flat[0]))
            # of texts the loader hands out their places, and `structured` looks them up
            self.texts = {i: a for i, a in enumerate(flat) if is_texts(a)}
            fields = [np.arange(len(a)) if is_texts(a) else a for a in flat]
            self.loader = DataLoader(ArrayDataset(*fields), batch_size, shuffle, seed=seed)
            self.steps, self.samples = len(self.loader), len(flat[0])
            return
        if y is not None or sample_weight is not None:
            raise ValueError(f"{by}: expected x to bring labels and weights with it, as it is a {type(x).__name__}")
        if isinstance(x, Dataset) and not isinstance(x, DataLoader):
            self.source = x = DataLoader(x, batch_size or 32, shuffle)
        if hasattr(x, "__len__"):
            self.steps = len(x)
        if not isinstance(x, (Iterable, PyDataset)):
            raise TypeError(f"{by}: expected arrays, a DataLoader, a PyDataset or an iterable, got {type(x).__name__}")

    def class_weights(self, y: Any) -> Any:
        """A weight for each sample, by its label."""
        if not isinstance(y, np.ndarray):
            raise ValueError(f"{self.by}: expected one array of labels with class_weight")
        labels = y.argmax(-1) if y.ndim > 1 and y.shape[-1] > 1 else y.reshape(len(y), -1)
        if labels.ndim == 2 and labels.shape[1] == 1:
            labels = labels[:, 0]
        if labels.ndim != 1:
            raise ValueError(f"{self.by}: expected one label per sample with class_weight, got {y.shape}")
        weights = np.ones(len(labels), np.float32)
        for label, weight in (self.class_weight or {}).items():
            weights[labels == label] = weight
        return weights

    def epoch(self, device: str) -> Iterator[Batch]:
        """The batches of one epoch, on a device."""
        if self.loader is not None:
            for tensors in self.loader.on(device):
                yield self.structured(tensors)
        elif isinstance(self.source, DataLoader):
            for batch in self.source.on(device):
                yield self.unpacked(batch, device)
        elif isinstance(self.source, PyDataset):
            for i in range(len(self.source)):
                yield self.unpacked(self.source[i], device)
            self.source.on_epoch_end()
        else:
            for batch in self.source:
                yield self.unpacked(batch, device)

    def structured(self, tensors: tuple[Any, ...]) -> Batch:
        rest = iter(self.texts[i][on_host(t.data)] if i in self.texts else t for i, t in enumerate(tensors))
        x, y, weight = mapped(lambda a: None if a is None else next(rest), self.structure)
        return x, y, weight

    def unpacked(self, batch: Any, device: str) -> Batch:
        """(x,), (x, y) or (x, y, sample_weight), whose arrays become Tensors on a device."""
        parts = batch if isinstance(batch, tuple) else (batch,)
        if not 1 <= len(parts) <= 3:
            raise ValueError(f"{self.by}: expected batches (x, y) or (x, y, sample_weight), got {len(parts)} parts")

        def tensor(a: Any) -> Any:
            if a is None or (isinstance(a, Tensor) and a.dtype != np.float64):
                return a
            a = as_array(a)
            return a if is_texts(a) else ops.asarray(a, device=device)

        x, y, weight = [mapped(tensor, part) for part in parts] + [None] * (3 - len(parts))
        if self.class_weight is not None:
            if weight is not None:
                raise ValueError(f"{self.by}: expected class_weight or weights in the batches, got both")
            weight = Tensor(self.class_weights(on_host(y.data) if isinstance(y, Tensor) else y))
        return x, y, weight


def split(x: Any, y: Any, weight: Any, share: float) -> tuple[Batch, Batch]:
    """The first samples for training, the last `share` of them for validation."""
    if not 0 < share < 1:
        raise ValueError(f"fit: expected validation_split in (0, 1), got {share}")
    if not is_arrays(x):
        raise ValueError(f"fit: expected arrays with validation_split, got {type(x).__name__}")
    parts = tuple(arrays_of(part) for part in (x, y, weight))
    n = len(next(leaves(parts)))
    cut = math.floor(n * (1.0 - share))  # rounded as in Keras, so that the same samples are kept apart
    if not 0 < cut < n:
        raise ValueError(f"fit: expected samples on both sides of validation_split={share}, got {n} in all")
    first = mapped(lambda a: None if a is None else a[:cut], parts)
    return first, mapped(lambda a: None if a is None else a[cut:], parts)
