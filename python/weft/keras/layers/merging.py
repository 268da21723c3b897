"""Layers of several inputs."""

from __future__ import annotations

from typing import Any

from weft import ops
from weft.keras.layer import Layer
from weft.keras.masks import both
from weft.nn import functional as F


class Merge(Layer):
    """Inputs of shapes that fit, in a list, as one."""

    supports_masking = True

    def merge(self, a: Any, b: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__}: expected a method `merge`, got none")

    def call(self, inputs: Any) -> Any:
        out = self.several(inputs)[0]
        shapes = [tuple(x.shape) for x in inputs]
        for x in inputs[1:]:
            if any(n != m and 1 not in (n, m) for n, m in zip(out.shape[1:][::-1], x.shape[1:][::-1])):
                raise ValueError(f"{type(self).__name__} {self.name!r}: expected shapes that fit, got {shapes}")
            out = self.merge(out, x)
        return out

    def several(self, inputs: Any) -> Any:
        if not isinstance(inputs, (list, tuple)) or len(inputs) < 2:
            got = f"{len(inputs)} of them" if isinstance(inputs, (list, tuple)) else type(inputs).__name__
            raise ValueError(f"{type(self).__name__} {self.name!r}: expected a list of at least two inputs, got {got}")
        return inputs

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        mask = None
        for one in previous_mask or ():
            mask = both(mask, one)
        return mask

    def compute_output_shape(self, input_shape: Any) -> Any:
        out = tuple(input_shape[0])
        for shape in input_shape[1:]:
            a, b = ((1,) * (max(len(out), len(shape)) - len(s)) + tuple(s) for s in (out, shape))
            if any(None not in (n, m) and n != m and 1 not in (n, m) for n, m in zip(a[1:], b[1:])):
                raise ValueError(f"{type(self).__name__} {self.name!r}: expected shapes that fit, got {input_shape}")
            out = tuple(m if n == 1 else n if m in (1, None) else m for n, m in zip(a, b))
        return out


class Add(Merge):
    """The sum.

    >>> from weft import keras
    >>> keras.layers.Add()([weft.asarray([[1.0]]), weft.asarray([[2.0]])]).tolist()
    [[3.0]]
    """

    def merge(self, a: Any, b: Any) -> Any:
        return a + b


class Subtract(Merge):
    """The first of two without the second.

    >>> from weft import keras
    >>> keras.layers.Subtract()([weft.asarray([[1.0]]), weft.asarray([[2.0]])]).tolist()
    [[-1.0]]
    """

    def merge(self, a: Any, b: Any) -> Any:
        return a - b

    def several(self, inputs: Any) -> Any:
        if len(super().several(inputs)) != 2:
            raise ValueError(f"Subtract {self.name!r}: expected two inputs, got {len(inputs)}")
        return inputs


class Multiply(Merge):
    """The product.

    >>> from weft import keras
    >>> keras.layers.Multiply()([weft.asarray([[3.0]]), weft.asarray([[2.0]])]).tolist()
    [[6.0]]
    """

    def merge(self, a: Any, b: Any) -> Any:
        return a * b


class Average(Merge):
    """The mean.

    >>> from weft import keras
    >>> keras.layers.Average()([weft.asarray([[3.0]]), weft.asarray([[2.0]])]).tolist()
    [[2.5]]
    """

    def merge(self, a: Any, b: Any) -> Any:
        return a + b

    def call(self, inputs: Any) -> Any:
        return super().call(inputs) / len(inputs)


class Maximum(Merge):
    """The largest, element by element.

    >>> from weft import keras
    >>> keras.layers.Maximum()([weft.asarray([[3.0]]), weft.asarray([[2.0]])]).tolist()
    [[3.0]]
    """

    def merge(self, a: Any, b: Any) -> Any:
        return ops.maximum(a, b)


class Minimum(Merge):
    """The smallest, element by element.

    >>> from weft import keras
    >>> keras.layers.Minimum()([weft.asarray([[3.0]]), weft.asarray([[2.0]])]).tolist()
    [[2.0]]
    """

    def merge(self, a: Any, b: Any) -> Any:
        return ops.minimum(a, b)


class Concatenate(Merge):
    """One behind the other along an axis.

    >>> from weft import keras
    >>> keras.layers.Concatenate()([np.ones((2, 3), "f"), np.ones((2, 4), "f")]).shape
    (2, 7)
    """

    floats = False

    def __init__(self, axis: int = -1, **kwargs: Any):
        super().__init__(**kwargs)
        self.axis = axis

    def call(self, inputs: Any) -> Any:
        return ops.concat(list(self.several(inputs)), axis=self.axis)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        if self.axis in (1, 1 - inputs[0].ndim) and previous_mask and any(m is not None for m in previous_mask):
            whole = [ops.ones(x.shape[:2], dtype=bool) if m is None else m for x, m in zip(inputs, previous_mask)]
            return ops.concat(whole, axis=1)
        return super().compute_mask(inputs, previous_mask)

    def compute_output_shape(self, input_shape: Any) -> Any:
        shapes = [tuple(shape) for shape in input_shape]
        axis = self.axis % len(shapes[0])
        rest = [[n for i, n in enumerate(shape) if i not in (0, axis)] for shape in shapes]
        if any(len(shape) != len(shapes[0]) for shape in shapes) or any(
            None not in (n, m) and n != m for other in rest for n, m in zip(rest[0], other)
        ):
            raise ValueError(f"Concatenate {self.name!r}: expected shapes that differ along axis {self.axis} alone, "
                             f"got {shapes}")  # fmt: skip
        sizes = [shape[axis] for shape in shapes]
        total = None if None in sizes else sum(sizes)
        return (*shapes[0][:axis], total, *shapes[0][axis + 1 :])


class Dot(Merge):
    """The product summed over an axis of each of two inputs; normalize: of their unit vectors, a cosine.

    >>> from weft import keras
    >>> keras.layers.Dot(axes=1)([weft.asarray([[1.0, 2.0]]), weft.asarray([[3.0, 4.0]])]).tolist()
    [[11.0]]
    """

    def __init__(self, axes: Any, normalize: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.axes, self.normalize = (axes, axes) if isinstance(axes, int) else tuple(axes), normalize

    def call(self, inputs: Any) -> Any:
        if len(self.several(inputs)) != 2:
            raise ValueError(f"Dot {self.name!r}: expected two inputs, got {len(inputs)}")
        moved = [ops.moveaxis(x, axis % x.ndim, -1) for x, axis in zip(inputs, self.axes)]
        if moved[0].shape[-1] != moved[1].shape[-1]:
            raise ValueError(f"Dot {self.name!r}: expected equal sizes along {self.axes}, got "
                             f"{[tuple(x.shape) for x in inputs]}")  # fmt: skip
        if self.normalize:
            moved = [F.normalize(x, dim=-1) for x in moved]
        rows = [ops.reshape(x, (x.shape[0], -1, x.shape[-1])) for x in moved]
        out = rows[0] @ rows[1].mT
        rest = (*moved[0].shape[1:-1], *moved[1].shape[1:-1])
        return ops.reshape(out, (out.shape[0], *rest)) if rest else ops.reshape(out, (out.shape[0], 1))

    def compute_output_shape(self, input_shape: Any) -> Any:
        rests = [[n for i, n in enumerate(shape) if i not in (0, axis % len(shape))]
                 for shape, axis in zip(input_shape, self.axes)]  # fmt: skip
        return (input_shape[0][0], *(rests[0] + rests[1] or [1]))


def add(inputs: Any, **kwargs: Any) -> Any:
    """`Add` of inputs."""
    return Add(**kwargs)(inputs)


def subtract(inputs: Any, **kwargs: Any) -> Any:
    """`Subtract` of two inputs."""
    return Subtract(**kwargs)(inputs)


def multiply(inputs: Any, **kwargs: Any) -> Any:
    """`Multiply` of inputs."""
    return Multiply(**kwargs)(inputs)


def average(inputs: Any, **kwargs: Any) -> Any:
    """`Average` of inputs."""
    return Average(**kwargs)(inputs)


def maximum(inputs: Any, **kwargs: Any) -> Any:
    """`Maximum` of inputs."""
    return Maximum(**kwargs)(inputs)


def minimum(inputs: Any, **kwargs: Any) -> Any:
    """`Minimum` of inputs."""
    return Minimum(**kwargs)(inputs)


def concatenate(inputs: Any, axis: int = -1, **kwargs: Any) -> Any:
    """`Concatenate` of inputs."""
    return Concatenate(axis, **kwargs)(inputs)


def dot(inputs: Any, axes: Any = -1, **kwargs: Any) -> Any:
    """`Dot` of two inputs."""
    return Dot(axes, **kwargs)(inputs)
