"""Layers that make whole numbers of texts, numbers and ranges, and vectors of whole numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from weft import ops
from weft.autograd import Tensor
from weft.backends.device import beside, on_host
from weft.keras.fingerprints import farmhash, siphash
from weft.keras.layer import Layer
from weft.keras.texts import host_values
from weft.nn import functional as F

Array = np.ndarray[Any, Any]
MODES = ("int", "one_hot", "multi_hot", "count")


def checked_mode(name: str, mode: Any, modes: tuple[str, ...]) -> str:
    mode = {"binary": "multi_hot", "tf-idf": "tf_idf"}.get(mode, mode)  # Keras's older words for these
    if mode not in modes:
        raise ValueError(f"{name}: expected output_mode out of {', '.join(modes)}, got {mode!r}")
    return str(mode)


def dense_alone(name: str, sparse: Any) -> None:
    if sparse:
        raise ValueError(f"{name}: expected sparse=False, got {sparse}: outputs are dense here")


def encoded(indices: Any, mode: str, depth: int, dtype: str, weights: Any = None) -> Any:
    """Whole numbers (..., T) below depth -> (..., depth) of "multi_hot" or "count"; of "one_hot" (..., T, depth).

    "one_hot" replaces a last axis of size 1. weights: what each number counts, in "count".  IndexError out of range.
    """
    if mode == "int":
        return ops.astype(indices, dtype=dtype)
    if mode == "one_hot":
        indices = ops.squeeze(indices, axis=-1) if indices.ndim > 1 and indices.shape[-1] == 1 else indices
        return ops.astype(F.one_hot(indices, depth), dtype=dtype)
    if indices.ndim == 0:
        indices = ops.reshape(indices, (1,))
    low, high = (int(f(indices)) if indices.size else 0 for f in (ops.min, ops.max))
    if low < 0 or high >= depth:
        raise IndexError(f"{mode}: expected whole numbers in [0, {depth}), got {low} to {high}")
    lead = indices.shape[:-1]
    rows = int(np.prod(lead))
    starts = Tensor(beside(np.arange(rows)[:, None] * depth, indices.data))
    flat = ops.reshape(indices, (rows, indices.shape[-1])) + starts
    if weights is None:
        weights = ops.ones(indices.shape, dtype=np.float32, device=indices.device)
    counts = ops.scatter_add(ops.reshape(weights, (*flat.shape, 1)), flat, rows=rows * depth)
    counts = ops.reshape(counts, (*lead, depth))
    return ops.astype(counts > 0 if mode == "multi_hot" else counts, dtype=dtype)


def encoded_shape(input_shape: Any, mode: str, depth: int | None) -> Any:
    """The shape of what `encoded` returns."""
    shape = tuple(input_shape)
    if mode == "int":
        return shape
    if mode == "one_hot" and not (len(shape) > 1 and shape[-1] == 1):
        return (*shape, depth)
    return (*shape[:-1], depth)


class CategoryEncoding(Layer):
    """Whole numbers below num_tokens as "one_hot", "multi_hot" or "count" vectors.

    count_weights, of the call: what each number counts, in "count".  IndexError for a number out of range.

    >>> from weft import keras
    >>> keras.layers.CategoryEncoding(3)(np.array([[0, 2]])).tolist()
    [[1.0, 0.0, 1.0]]
    """

    floats = False

    def __init__(self, num_tokens: int, output_mode: str = "multi_hot", sparse: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        dense_alone("CategoryEncoding", sparse)
        if num_tokens < 1:
            raise ValueError(f"CategoryEncoding: expected num_tokens >= 1, got {num_tokens}")
        self.num_tokens, self.output_mode = num_tokens, checked_mode("CategoryEncoding", output_mode, MODES[1:])

    def call(self, inputs: Any, count_weights: Any = None) -> Any:
        if inputs.dtype.kind not in "iu":
            inputs = ops.astype(inputs, dtype=np.int64)
        if count_weights is not None:
            if self.output_mode != "count":
                raise ValueError(
                    f"CategoryEncoding: expected output_mode count beside count_weights, got {self.output_mode!r}"
                )
            if not isinstance(count_weights, Tensor):
                count_weights = Tensor(beside(np.asarray(count_weights), inputs.data))
            count_weights = ops.astype(count_weights, dtype=self.dtype)
        return encoded(inputs, self.output_mode, self.num_tokens, self.dtype, count_weights)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return encoded_shape(input_shape, self.output_mode, self.num_tokens)

    def output_dtype(self, args: tuple[Any, ...]) -> str:
        return self.dtype


class Discretization(Layer):
    """The number of the range that each value lies in: range i is [bin_boundaries[i - 1], bin_boundaries[i]).

    num_bins in place of bin_boundaries: `adapt` takes the boundaries from data, as quantiles, each to within `epsilon`
    of all values. output_mode: "int", or vectors as CategoryEncoding has them.

    >>> from weft import keras
    >>> keras.layers.Discretization([0.0, 1.0])(np.array([[-1.5, 0.0, 3.0]])).tolist()
    [[0, 1, 2]]
    """

    def __init__(self, bin_boundaries: Any = None, num_bins: int | None = None, epsilon: float = 0.01,
                 output_mode: str = "int", sparse: bool = False, dtype: Any = None, name: str | None = None,
                 **kwargs: Any):  # fmt: skip
        super().__init__(dtype=dtype, name=name, **kwargs)
        dense_alone("Discretization", sparse)
        if (num_bins is None) == (bin_boundaries is None) or (num_bins is not None and num_bins < 1):
            raise ValueError(
                f"Discretization: expected bin_boundaries or num_bins >= 1, got {bin_boundaries}, {num_bins}"
            )
        self.bin_boundaries = None if bin_boundaries is None else [float(b) for b in bin_boundaries]
        if self.bin_boundaries is not None and not (np.diff(self.bin_boundaries) >= 0).all():
            raise ValueError(f"Discretization: expected bin_boundaries in rising order, got {bin_boundaries}")
        self.num_bins, self.epsilon = num_bins, epsilon
        self.output_mode = checked_mode("Discretization", output_mode, MODES)
        self.reset_state()

    def get_config(self) -> dict[str, Any]:
        """The arguments; what `adapt` found, too."""
        return super().get_config() | {"bin_boundaries": self.bin_boundaries}

    @classmethod
    def from_config(cls, config: Any) -> Any:
        """What `get_config` was taken of, made anew, with what it had learned."""
        found = config.get("bin_boundaries") if config.get("num_bins") is not None else None
        made = super().from_config({**config, "bin_boundaries": None} if found is not None else config)
        made.bin_boundaries = found if found is not None else made.bin_boundaries
        return made

    def adapt(self, data: Any, steps: int | None = None) -> None:
        """Take the boundaries from an array, or from an iterable of batches (of which `steps`)."""
        if self.num_bins is None:
            raise ValueError(f"Discretization {self.name!r}: expected num_bins before adapt, got bin_boundaries")
        self.reset_state()
        for batch in batches_of(data, steps, lists=False):
            self.update_state(batch)
        self.finalize_state()

    def reset_state(self) -> None:
        """Forget the data seen, not the boundaries."""
        self.seen = np.zeros((2, 0), np.float32)  # values in order, and how many each stands for

    def update_state(self, data: Any) -> None:
        """Let the boundaries see a batch."""
        values = np.sort(np.asarray(on_host(data.data) if isinstance(data, Tensor) else data, np.float32).ravel())
        step = max(len(values) * self.epsilon, 1)
        kept = values[int(step - 1) :: int(step)]
        both = np.concatenate([np.stack([kept, np.full_like(kept, step)]), self.seen], axis=1)
        self.seen = thinned(both[:, np.argsort(both[0], kind="stable")], self.epsilon)

    def finalize_state(self) -> None:
        """Let the boundaries be those of what was seen."""
        if self.num_bins is not None:
            if not self.seen.size:
                raise ValueError(f"Discretization {self.name!r}: expected values to take boundaries from, got none")
            self.bin_boundaries = thinned(self.seen, 1 / self.num_bins)[0, :-1].tolist()

    def call(self, inputs: Any) -> Any:
        if self.bin_boundaries is None:
            raise ValueError(f"Discretization {self.name!r}: expected boundaries, got none; call adapt(data) first")
        bounds = Tensor(beside(np.asarray(self.bin_boundaries, inputs.dtype), inputs.data))
        indices = ops.searchsorted(bounds, inputs, side="right")
        return encoded(indices, self.output_mode, len(self.bin_boundaries) + 1, self.output_dtype(()))

    def compute_output_shape(self, input_shape: Any) -> Any:
        depth = self.num_bins if self.bin_boundaries is None else len(self.bin_boundaries) + 1
        return encoded_shape(input_shape, self.output_mode, depth)

    def output_dtype(self, args: tuple[Any, ...]) -> str:
        return "int32" if self.output_mode == "int" else self.dtype


def thinned(seen: Array, epsilon: float) -> Array:
    """Values and their weights (2, n), by interpolation between them as 1 / epsilon ones, where there are more."""
    if seen.shape[1] * epsilon < 1:
        return seen
    shares = epsilon + np.arange(0.0, 1.0, epsilon)
    total = np.cumsum(seen[1])
    values, upto = (np.interp(shares, total / total[-1], column) for column in (seen[0], total))
    return np.stack([values, np.diff(upto, prepend=0)]).astype(np.float32)


class Hashing(Layer):
    """The bin that a hash puts each text or whole number in, below num_bins; the same ones as Keras's.

    FarmHash's fingerprint, or with `salt`, one or two whole numbers, SipHash-2-4. mask_value: what goes to bin 0, which
    nothing else does then. output_mode: "int", or vectors as CategoryEncoding has them.

    >>> from weft import keras
    >>> keras.layers.Hashing(5)([["A"], ["B"], ["C"]]).tolist()
    [[4], [3], [2]]
    """

    floats = False

    def __init__(self, num_bins: int, mask_value: Any = None, salt: Any = None, output_mode: str = "int",
                 sparse: bool = False, **kwargs: Any):  # fmt: skip
        mode = checked_mode("Hashing", output_mode, MODES)
        super().__init__(**{**kwargs, "dtype": kwargs.get("dtype") or ("int64" if mode == "int" else None)})
        dense_alone("Hashing", sparse)
        if num_bins is None or num_bins < 1:
            raise ValueError(f"Hashing: expected num_bins >= 1, got {num_bins}")
        if mode == "int" and self.dtype not in ("int32", "int64"):
            raise ValueError(f"Hashing: expected dtype int32 or int64 of output_mode int, got {self.dtype}")
        self.num_bins, self.mask_value, self.output_mode = num_bins, mask_value, mode
        self.salt = checked_salt("Hashing", salt)

    def cast(self, value: Any) -> Any:
        return value

    def call(self, inputs: Any) -> Any:
        values = host_values(inputs, self.name)
        if values.dtype.kind == "f":
            values = np.trunc(values).astype(np.int64)
        if self.output_mode == "one_hot" and values.ndim and values.shape[-1] == 1:
            values = values[..., 0]
        masked = self.mask_value is not None and self.num_bins > 1
        bins = hashed(values, self.num_bins - masked, self.salt)
        if masked:
            bins = np.where(values == self.mask_value, 0, bins + 1)
        return encoded(placed(bins, inputs), self.output_mode, self.num_bins, self.dtype)

    def compute_output_shape(self, input_shape: Any) -> Any:
        if self.output_mode == "one_hot" and input_shape and input_shape[-1] == 1:
            return (*input_shape[:-1], self.num_bins)
        return encoded_shape(input_shape, self.output_mode, self.num_bins)

    def output_dtype(self, args: tuple[Any, ...]) -> str:
        return self.dtype


def checked_salt(name: str, salt: Any) -> tuple[int, int] | None:
    if salt is None:
        return None
    pair = tuple(salt) if isinstance(salt, (list, tuple)) else (salt, salt)
    if len(pair) != 2 or not all(isinstance(s, (int, np.integer)) for s in pair):
        raise ValueError(f"{name}: expected salt to be one or two whole numbers, got {salt!r}")
    return int(pair[0]), int(pair[1])


def hashed(values: Array, bins: int, salt: tuple[int, int] | None) -> Array:
    """Texts or whole numbers, as their digits -> bins of the same shape."""
    unique, where = np.unique(values, return_inverse=True)
    words = [str(u).encode() for u in unique.tolist()]
    hashes = [farmhash(word) if salt is None else siphash(word, salt) for word in words]
    return np.asarray([h % bins for h in hashes], np.int64)[where].reshape(values.shape)


# ---- data of the host


def placed(values: Array, x: Any) -> Any:
    """Values made on the host as a Tensor, on the device of x where that is one, else on the default device."""
    return ops.asarray(values, device=x.device if isinstance(x, Tensor) else None)


def batches_of(data: Any, steps: int | None, lists: bool = True) -> Iterable[Any]:
    """What `adapt` was given, in batches: an array (or, where they are data, a list) is one."""
    if isinstance(data, (np.ndarray, Tensor, str)) or (lists and isinstance(data, (list, tuple))):
        return [data]
    if not isinstance(data, Iterable) or isinstance(data, Mapping):
        raise TypeError(f"adapt: expected an array or an iterable of batches, got {type(data).__name__}")
    return (batch for _, batch in zip(range(steps), data)) if steps is not None else data


__all__ = ["CategoryEncoding", "Discretization", "Hashing"]
