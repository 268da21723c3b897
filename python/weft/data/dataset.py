"""Datasets: anything with a length and an index; those over arrays also hand out whole batches at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from weft.autograd import Tensor
from weft.random import Generator, fold

Array = np.ndarray[Any, Any]
Layout = list[tuple[tuple[int, ...], Any]]  # (shape, dtype) of each field of a sample


class Dataset:
    """Base of datasets: define `__len__` and either `__getitem__(i)` or, for random samples, `get(i, rng)`.

    A sample is an array, a number, or a tuple or dict of them. `rng` is a `weft.random.Generator` that belongs to this
    sample of this epoch, so a sample is the same whichever worker makes it, and again after a resume.

    >>> class Noisy(Dataset):
    ...     def __len__(self):
    ...         return 100
    ...     def get(self, i, rng):
    ...         return rng.normal_array((3,)), i % 10
    """

    layout: Layout | None = None  # of a dataset that has `batch`

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__}: expected a method `__len__`, got none")

    def __getitem__(self, i: int) -> Any:
        if type(self).get is Dataset.get:
            raise NotImplementedError(f"{type(self).__name__}: expected a method `__getitem__` or `get`, got none")
        return self.get(i, Generator(fold(0, i)))

    def get(self, i: int, rng: Any) -> Any:
        """Sample `i`, with the random numbers that it may use."""
        return self[i]

    def batch(self, indices: Array, out: Sequence[Array]) -> None:
        """Write the samples at `indices` (n,) into `out`, one array (n, *shape) per field of `layout`."""
        raise NotImplementedError(f"{type(self).__name__}: expected a method `batch` beside `layout`, got none")


class ArrayDataset(Dataset):
    """Samples that are rows of arrays: `ArrayDataset(images, labels)[i]` is `(images[i], labels[i])`.

    arrays: NumPy arrays or Tensors of one length.  ValueError if the lengths differ.

    >>> len(ArrayDataset(numpy.zeros((5, 3)), numpy.arange(5)))                             # doctest: +SKIP
    5
    """

    def __init__(self, *arrays: Any):
        raw = [array.data if isinstance(array, Tensor) else array for array in arrays]
        self.arrays: tuple[Array, ...] = tuple(np.asarray(array) for array in raw)
        if not arrays or any(array.ndim == 0 for array in self.arrays):
            raise ValueError("ArrayDataset: expected arrays with rows, got "
                             + (", ".join(str(array.shape) for array in self.arrays) or "none"))  # fmt: skip
        if len({len(array) for array in self.arrays}) > 1:
            shapes = ", ".join(str(array.shape) for array in self.arrays)
            raise ValueError(f"ArrayDataset: expected arrays of one length, got {shapes}")
        self.layout = [(array.shape[1:], array.dtype) for array in self.arrays]

    def __len__(self) -> int:
        return len(self.arrays[0])

    def __getitem__(self, i: int) -> Any:
        return tuple(array[i] for array in self.arrays)

    def batch(self, indices: Array, out: Sequence[Array]) -> None:
        check_indices("ArrayDataset", indices, len(self))
        for array, target in zip(self.arrays, out):
            np.take(array, indices, axis=0, out=target, mode="clip")  # checked above; "raise" would buffer `out`


class Subset(Dataset):
    """The samples of `dataset` at `indices`, in that order.

    >>> samples = ArrayDataset(np.arange(5))
    >>> Subset(samples, [3, 1])[0]
    (np.int64(3),)
    """

    def __init__(self, dataset: Any, indices: Any):
        chosen = np.asarray(indices)
        if chosen.ndim != 1 or chosen.size and chosen.dtype.kind not in "iu":
            hint = "; numpy.flatnonzero turns a mask into indices" if chosen.dtype == bool else ""
            raise TypeError(f"Subset: expected integer indices (n,), got {chosen.dtype} {chosen.shape}{hint}")
        self.dataset, self.indices = dataset, chosen.astype(np.int64)
        check_indices("Subset", self.indices, len(dataset))
        self.layout = getattr(dataset, "layout", None)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, i: int) -> Any:
        return self.dataset[int(self.indices[i])]

    def get(self, i: int, rng: Any) -> Any:
        return get_sample(self.dataset, int(self.indices[i]), rng)

    def batch(self, indices: Array, out: Sequence[Array]) -> None:
        check_indices("Subset", indices, len(self))
        self.dataset.batch(self.indices[indices], out)


class Windows(Dataset):
    """Next-token samples of a long sequence: (tokens[s : s + block], tokens[s + 1 : s + block + 1]) for s = i * stride.

    tokens: (n,) integers, n > block.

    >>> len(Windows(numpy.arange(10), block=4, stride=4))                                   # doctest: +SKIP
    2
    """

    def __init__(self, tokens: Any, block: int, stride: int = 1):
        tokens = np.asarray(tokens)
        if tokens.ndim != 1 or tokens.dtype.kind not in "iu":
            raise ValueError(f"Windows: expected integer tokens (n,), got {tokens.dtype} {tokens.shape}")
        if not (block > 0 and stride > 0 and len(tokens) > block):
            raise ValueError(f"Windows: expected block > 0, stride > 0 and more tokens than block, "
                             f"got block {block}, stride {stride} and {len(tokens)} tokens")  # fmt: skip
        self.tokens, self.block, self.stride = tokens, block, stride
        self.layout = [((block,), np.dtype(np.int64))] * 2

    def __len__(self) -> int:
        return (len(self.tokens) - self.block - 1) // self.stride + 1

    def __getitem__(self, i: int) -> Any:
        check_indices("Windows", np.array([i]), len(self))
        window = self.tokens[i * self.stride : i * self.stride + self.block + 1].astype(np.int64)
        return window[:-1], window[1:]

    def batch(self, indices: Array, out: Sequence[Array]) -> None:
        check_indices("Windows", indices, len(self))
        places = (indices * self.stride)[:, None] + np.arange(self.block + 1)  # (n, block + 1)
        windows = self.tokens[places]
        out[0][...], out[1][...] = windows[:, :-1], windows[:, 1:]


def get_sample(dataset: Any, i: int, rng: Any) -> Any:
    """Sample `i` of a Dataset, or of anything with an index."""
    return dataset.get(i, rng) if isinstance(dataset, Dataset) else dataset[i]


def check_indices(name: str, indices: Array, n: int) -> None:
    if indices.size and not (0 <= indices.min() and indices.max() < n):
        raise IndexError(f"{name}: expected indices in [0, {n}), got {indices.min()} to {indices.max()}")


def random_split(dataset: Any, lengths: Sequence[float], *, seed: int = 0, stratify: Any = None) -> list[Subset]:
    """Split a dataset at random into disjoint subsets that cover it.

    lengths: sizes that sum to len(dataset), or fractions that sum to 1. stratify: labels (n,); every part then holds
    each class in the same share, to within one or two samples. The parts depend on `seed` alone.

    >>> train, test = random_split(ArrayDataset(numpy.arange(10)), [0.8, 0.2])              # doctest: +SKIP
    """
    n = len(dataset)
    sizes = split_sizes(n, lengths)
    order = Generator(fold(seed)).permutation_array(n)
    if stratify is None:
        ends = np.cumsum(sizes)
        return [Subset(dataset, order[end - size : end]) for size, end in zip(sizes, ends)]
    labels = np.asarray(stratify)
    if labels.shape != (n,):
        raise ValueError(f"random_split: expected stratify ({n},), one label per sample, got {labels.shape}")
    order = order[np.argsort(labels[order], kind="stable")]  # class by class, at random within each
    # Part p takes places spread evenly over that order: the k-th of its s at (k + 1/2) / s.
    places = np.concatenate([(np.arange(size) + 0.5) / size for size in sizes if size])
    part = np.repeat(np.arange(len(sizes)), sizes)[np.argsort(places, kind="stable")]
    return [Subset(dataset, np.sort(order[part == p])) for p in range(len(sizes))]


def split_sizes(n: int, lengths: Sequence[float]) -> list[int]:
    """Whole sizes out of sizes or fractions; what rounding leaves goes to the largest remainders."""
    if all(isinstance(length, (int, np.integer)) for length in lengths) and sum(lengths) == n and min(lengths) >= 0:
        return [int(length) for length in lengths]
    if not lengths or min(lengths) < 0 or not math.isclose(sum(lengths), 1.0, abs_tol=1e-6):
        raise ValueError(f"random_split: expected sizes that sum to {n} or fractions that sum to 1, got {lengths}")
    sizes = [int(length * n) for length in lengths]
    by_remainder = sorted(range(len(sizes)), key=lambda p: sizes[p] - lengths[p] * n)
    for p in by_remainder[: n - sum(sizes)]:
        sizes[p] += 1
    return sizes
