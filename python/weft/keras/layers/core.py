"""Dense, Embedding, and the layers that only hold, name or pass on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from weft import ops
from weft.autograd import Tensor
from weft.keras import activations, constraints, initializers, regularizers
from weft.keras.layer import Layer, mapped_shapes, np_dtype
from weft.keras.masks import mask_of
from weft.keras.symbols import KerasTensor
from weft.keras.texts import host_values, kind_of
from weft.nn import functional as F


class Weighted(Layer):
    """What layers with a kernel and a bias share: their identifiers, as attributes of Keras's names."""

    def resolve(self, **given: Any) -> None:
        """Attributes of the identifiers of initializers, regularizers and constraints."""
        for name, value in given.items():
            table = {"initializer": initializers, "regularizer": regularizers, "constraint": constraints}
            setattr(self, name, table[name.rpartition("_")[2]].get(value))

    def weight(self, name: str, shape: tuple[Any, ...], part: str | None = None, trainable: bool = True) -> Any:
        """A weight, by the identifiers of `part` (the name by default), in the attribute of its name."""
        part = name if part is None else part
        made = self.add_weight(
            shape, getattr(self, f"{part}_initializer"), trainable=trainable, name=name,
            regularizer=getattr(self, f"{part}_regularizer", None),
            constraint=getattr(self, f"{part}_constraint", None),
        )  # fmt: skip
        setattr(self, name, made)
        return made

    def wrong_input(self, wanted: str, got: Any, hint: str = "") -> ValueError:
        return ValueError(f"{type(self).__name__} {self.name!r}: expected input {wanted}, got {tuple(got)}{hint}")


class Dense(Weighted):
    """activation(x @ kernel + bias).  (..., inputs) -> (..., units); kernel (inputs, units), bias (units,).

    >>> from weft import keras
    >>> keras.layers.Dense(2)(np.ones((3, 4), "f")).shape
    (3, 2)
    """

    def __init__(
        self, units: int, activation: Any = None, use_bias: bool = True, kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros", kernel_regularizer: Any = None, bias_regularizer: Any = None,
        activity_regularizer: Any = None, kernel_constraint: Any = None, bias_constraint: Any = None, **kwargs: Any,
    ):  # fmt: skip
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        if not isinstance(units, (int, np.integer)) or units < 1:
            raise ValueError(f"Dense: expected units >= 1, got {units!r}")
        self.units, self.activation, self.use_bias = int(units), activations.get(activation), use_bias
        self.resolve(kernel_initializer=kernel_initializer, bias_initializer=bias_initializer,
                     kernel_regularizer=kernel_regularizer, bias_regularizer=bias_regularizer,
                     kernel_constraint=kernel_constraint, bias_constraint=bias_constraint)  # fmt: skip

    supports_masking = True

    def build(self, input_shape: Any) -> None:
        if len(input_shape) < 2 or input_shape[-1] is None:
            raise self.wrong_input("(N, ..., features) with a known number of features", input_shape)
        self.kernel = self.weight("kernel", (input_shape[-1], self.units))
        self.bias = self.weight("bias", (self.units,)) if self.use_bias else None
        self.built = True

    def call(self, inputs: Any, training: Any = None) -> Any:
        if inputs.shape[-1] != self.kernel.shape[0]:
            flat = "; a Flatten layer before it is missing" if inputs.ndim > 2 else ""
            raise self.wrong_input(f"(..., {self.kernel.shape[0]})", inputs.shape, flat)
        return self.activation(ops.linear(inputs, self.kernel, self.bias, transposed=True))

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (*input_shape[:-1], self.units)


class EinsumDense(Weighted):
    """activation(einsum(equation, x, kernel) + bias), such as "abc,cde->abde"; "..." may stand for leading axes.

    output_shape: of the output without the batch, None where it is the input's. bias_axes: letters of the output that
    the bias has, none without one.

    >>> from weft import keras
    >>> keras.layers.EinsumDense("ab,bc->ac", 5, bias_axes="c")(np.ones((2, 3), "f")).shape
    (2, 5)
    """

    def __init__(
        self, equation: str, output_shape: Any, activation: Any = None, bias_axes: str | None = None,
        kernel_initializer: Any = "glorot_uniform", bias_initializer: Any = "zeros", kernel_regularizer: Any = None,
        bias_regularizer: Any = None, kernel_constraint: Any = None, bias_constraint: Any = None, **kwargs: Any,
    ):  # fmt: skip
        super().__init__(**kwargs)
        self.equation, self.bias_axes = equation.replace(" ", ""), bias_axes
        self.partial = tuple(output_shape) if isinstance(output_shape, (list, tuple)) else (output_shape,)
        self.activation = activations.get(activation)
        self.resolve(kernel_initializer=kernel_initializer, bias_initializer=bias_initializer,
                     kernel_regularizer=kernel_regularizer, bias_regularizer=bias_regularizer,
                     kernel_constraint=kernel_constraint, bias_constraint=bias_constraint)  # fmt: skip

    def build(self, input_shape: Any) -> None:
        left, arrow, out = self.equation.partition("->")
        x, comma, kernel = left.partition(",")
        x, out = x.removeprefix("..."), out.removeprefix("...")
        if not (arrow and comma and x and kernel and out):
            raise ValueError(f"EinsumDense {self.name!r}: expected an equation 'ab,bc->ac', got {self.equation!r}")
        sizes = dict(zip(reversed(x), reversed(input_shape)))
        for letter, n in zip(reversed(out), reversed(self.partial)):
            if n is not None:
                sizes[letter] = n
        inside = [i for i, letter in enumerate(kernel) if letter in x]
        outside = [i for i, letter in enumerate(kernel) if letter in out]
        initializer = self.kernel_initializer
        if isinstance(initializer, initializers.VarianceScaling) and initializer.input_axes is None:
            initializer = type(initializer).from_config(
                {**initializer.get_config(), "input_axes": inside, "output_axes": outside}
            )
        self.kernel = self.add_weight(
            [sizes[letter] for letter in kernel], initializer, name="kernel", regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )  # fmt: skip
        self.bias = None
        if self.bias_axes is not None:
            first = min(out.index(letter) for letter in self.bias_axes)
            self.weight("bias", tuple(sizes[c] if c in self.bias_axes else 1 for c in out[first:]))
        self.built = True

    def call(self, inputs: Any, training: Any = None) -> Any:
        out = ops.einsum(self.equation, inputs, self.kernel)
        return self.activation(out if self.bias is None else out + self.bias)


class Embedding(Weighted):
    """Rows of a table.  Whole numbers (N, ...) below input_dim -> (N, ..., output_dim).

    mask_zero: index 0 is padding, which the layers behind leave out.  IndexError for an index that is no row.

    >>> from weft import keras
    >>> keras.layers.Embedding(10, 3)(np.array([[1, 2]])).shape
    (1, 2, 3)
    """

    floats = False
    supports_masking = True

    def __init__(
        self, input_dim: int, output_dim: int, embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None, embeddings_constraint: Any = None, mask_zero: bool = False,
        weights: Any = None, **kwargs: Any,
    ):  # fmt: skip
        length = kwargs.pop("input_length", None)
        super().__init__(**{**kwargs, **({} if length is None else {"input_shape": (length,)})})
        self.input_dim, self.output_dim, self.mask_zero = input_dim, output_dim, mask_zero
        self.resolve(embeddings_initializer=embeddings_initializer, embeddings_regularizer=embeddings_regularizer,
                     embeddings_constraint=embeddings_constraint)  # fmt: skip
        self.autocast = False
        if weights is not None:
            self.build()
            self.set_weights(weights if isinstance(weights, (list, tuple)) else [weights])

    def build(self, input_shape: Any = None) -> None:
        if not self.built:
            self.weight("embeddings", (self.input_dim, self.output_dim))
            self.built = True

    def call(self, inputs: Any) -> Any:
        if inputs.dtype.kind not in "iu":
            whole = ops.astype(inputs, dtype=np.int64)
            if bool(ops.any(whole != inputs)):
                raise ValueError(f"Embedding {self.name!r}: expected whole numbers, got {inputs.dtype} with fractions")
            inputs = whole
        return F.embedding(inputs, self.embeddings)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        return inputs != 0 if self.mask_zero else None

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (*input_shape, self.output_dim)

    def output_dtype(self, args: tuple[Any, ...]) -> str:
        return self.dtype


class Activation(Layer):
    """A function of each element, by name or itself.

    >>> from weft import keras
    >>> keras.layers.Activation("relu")(weft.asarray([[-1.0, 2.0]])).tolist()
    [[0.0, 2.0]]
    """

    supports_masking = True

    def __init__(self, activation: Any, **kwargs: Any):
        super().__init__(**kwargs)
        self.activation = activations.get(activation)

    def call(self, inputs: Any) -> Any:
        return in_memory_order(self.activation, inputs)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return tuple(input_shape)


def in_memory_order(function: Callable[[Any], Any], x: Any) -> Any:
    """`function` of each element, along x's memory: behind a convolution the channels lie first in it."""
    if x.ndim == 4 and type(x.data) is np.ndarray and not x.data.flags.c_contiguous:
        back = ops.permute_dims(x, (0, 3, 1, 2))
        if back.data.flags.c_contiguous:
            return ops.permute_dims(function(back), (0, 2, 3, 1))
    return function(x)


class ActivityRegularization(Layer):
    """Passes its input on, and adds l1 sum(|x|) + l2 sum(x^2) of each sample, in the mean, to the loss.

    >>> from weft import keras
    >>> keras.layers.ActivityRegularization(l2=0.1)(weft.asarray([[2.0]])).tolist()
    [[2.0]]
    """

    supports_masking = True

    def __init__(self, l1: float = 0.0, l2: float = 0.0, **kwargs: Any):
        super().__init__(activity_regularizer=regularizers.L1L2(l1, l2), **kwargs)

    def call(self, inputs: Any) -> Any:
        return inputs

    def compute_output_shape(self, input_shape: Any) -> Any:
        return tuple(input_shape)


class Identity(Layer):
    """Passes its input on.

    >>> from weft import keras
    >>> keras.layers.Identity()(weft.asarray([[2.0]])).tolist()
    [[2.0]]
    """

    floats = False
    supports_masking = True

    def call(self, inputs: Any) -> Any:
        return inputs

    def compute_output_shape(self, input_shape: Any) -> Any:
        return mapped_shapes(tuple, input_shape)


class Masking(Layer):
    """Marks the steps (N, T, F) all of whose features are mask_value as padding, and sets them to 0.

    >>> from weft import keras
    >>> keras.layers.Masking(-1.0)(weft.asarray([[[-1.0], [3.0]]])).tolist()
    [[[0.0], [3.0]]]
    """

    def __init__(self, mask_value: float = 0.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.mask_value = mask_value

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        return ops.any(inputs != self.mask_value, axis=-1)

    def call(self, inputs: Any) -> Any:
        kept = ops.any(inputs != self.mask_value, axis=-1, keepdims=True)
        return inputs * ops.astype(kept, dtype=inputs.dtype)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return tuple(input_shape)


class Lambda(Layer):
    """A Python function as a layer. It cannot be saved with a model unless its name is in `custom_objects`.

    arguments: keyword arguments of it. output_shape: of the output, without the batch; worked out where it is None.

    >>> from weft import keras
    >>> keras.layers.Lambda(lambda x: x * 2)(weft.asarray([[2.0]])).tolist()
    [[4.0]]
    """

    floats = False

    def __init__(self, function: Any, output_shape: Any = None, mask: Any = None, arguments: Any = None, **kwargs: Any):
        super().__init__(**kwargs)
        if isinstance(function, str):
            from weft.keras.registry import CUSTOM

            if function not in CUSTOM:
                raise ValueError(f"Lambda {self.name!r}: expected the function {function!r} in custom_objects; "
                                 "a file holds its name alone")  # fmt: skip
            function = CUSTOM[function]
        if not callable(function):
            raise TypeError(f"Lambda: expected a function, got {type(function).__name__}")
        self.function, self.arguments, self.mask = function, dict(arguments or {}), mask
        self.given_shape = output_shape

    def call(self, inputs: Any) -> Any:
        return self.function(inputs, **self.arguments)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        return self.mask(inputs, previous_mask) if callable(self.mask) else self.mask


class InputLayer(Layer):
    """Where a model's input comes in: refuses other shapes, and casts to the dtype.

    shape: of a sample. batch_shape: with the batch size in front.

    >>> from weft import keras
    >>> keras.layers.InputLayer((28, 28)).batch_shape
    (None, 28, 28)
    """

    floats = False
    supports_masking = True

    def __init__(
        self, shape: Any = None, batch_size: int | None = None, dtype: Any = None, sparse: Any = None,
        ragged: Any = None, batch_shape: Any = None, input_tensor: Any = None, optional: bool = False,
        name: str | None = None, **kwargs: Any,
    ):  # fmt: skip
        if "input_shape" in kwargs:
            shape = kwargs.pop("input_shape")
        if sparse or ragged or input_tensor is not None or optional:
            raise ValueError("InputLayer: expected a dense input that is always given; sparse, ragged, input_tensor "
                             "and optional are not there")  # fmt: skip
        if (shape is None) == (batch_shape is None):
            raise ValueError(f"InputLayer: expected shape or batch_shape, got {shape} and {batch_shape}")
        super().__init__(name=name, dtype=dtype, **kwargs)
        shape = (shape,) if isinstance(shape, int) else shape
        self.batch_shape = (batch_size, *shape) if shape is not None else tuple(batch_shape)
        self.built = True

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        return {k: config[k] for k in ("name", "dtype")} | {"batch_shape": list(self.batch_shape), "dtype": self.dtype}

    def call(self, inputs: Any) -> Any:
        return inputs

    def compute_output_shape(self, input_shape: Any = None) -> Any:
        return self.batch_shape

    def symbol(self) -> KerasTensor:
        out = KerasTensor(self.batch_shape, self.dtype)
        self.traced_input(out)
        return out

    def traced_input(self, out: KerasTensor) -> None:
        from weft.keras.symbols import Call

        call = Call(self, (), {})
        call.outputs, call.structure = [out], out
        out.call, out.name = call, self.name
        self._calls = (call,)

    def check(self, x: Any) -> Any:
        """The input as a Tensor of the dtype, its last axis of size 1 added or taken off where that makes it fit."""
        if self.dtype == "string":
            x = host_values(x, self.name)
            if x.dtype.kind != "O":
                raise TypeError(f"{self.name}: expected texts, got {kind_of(x)}")
        else:
            x = x if isinstance(x, Tensor) else Tensor(np.asarray(x))
        wanted = self.batch_shape
        if x.ndim == len(wanted) - 1 and wanted[-1] == 1:
            x = x[..., None]
        elif x.ndim == len(wanted) + 1 and x.shape[-1] == 1:
            x = x[..., 0]
        if x.ndim != len(wanted) or any(n not in (None, m) for n, m in zip(wanted, x.shape)):
            raise ValueError(f"{self.name}: expected input {text_of(wanted)}, got {tuple(x.shape)}{nchw(wanted, x)}")
        if self.dtype != "string" and x.dtype != np_dtype(self.dtype):
            mask = mask_of(x)
            x = ops.astype(x, dtype=self.dtype)
            if mask is not None:
                raise ValueError(f"{self.name}: expected {self.dtype} beside a mask, got {x.dtype}")
        return x


def text_of(shape: Any) -> str:
    return "(" + ", ".join("N" if i == 0 and n is None else str(n) for i, n in enumerate(shape)) + ")"


def nchw(wanted: Any, x: Any) -> str:
    """The likely cause, where the channels stand first instead of last."""
    if x.ndim == len(wanted) > 2 and x.shape[1] == wanted[-1] and tuple(x.shape[2:]) == tuple(wanted[1:-1]):
        return "; the channels stand first: images are (N, H, W, C) here, x.transpose(0, 2, 3, 1) makes them so"
    return ""


def Input(  # noqa: N802  (Keras's name)
    shape: Any = None, batch_size: int | None = None, dtype: Any = None, sparse: Any = None, batch_shape: Any = None,
    name: str | None = None, tensor: Any = None, optional: bool = False,
) -> Any:  # fmt: skip
    """The symbol that a functional model begins with; `shape` is that of a sample, None where it is not known.

    >>> from weft import keras
    >>> keras.Input((28, 28)).shape
    (None, 28, 28)
    """
    layer = InputLayer(shape, batch_size, dtype, sparse, None, batch_shape, tensor, optional, name)
    return layer.symbol()


class Wrapper(Layer):
    """Base of layers around a layer.

    >>> from weft import keras
    >>> keras.layers.Wrapper(keras.layers.Dense(2)).layer.units
    2
    """

    def __init__(self, layer: Any, **kwargs: Any):
        if not isinstance(layer, Layer):
            raise TypeError(f"{type(self).__name__}: expected a layer, got {type(layer).__name__}")
        super().__init__(**kwargs)
        self.layer = layer

    def build(self, input_shape: Any = None) -> None:
        self.build_child(self.layer, input_shape)
        self.built = True


class TimeDistributed(Wrapper):
    """A layer at each step.  (N, T, ...) -> (N, T, ...)

    >>> from weft import keras
    >>> keras.layers.TimeDistributed(keras.layers.Dense(2))(np.ones((3, 5, 4), "f")).shape
    (3, 5, 2)
    """

    supports_masking = True

    def build(self, input_shape: Any = None) -> None:
        super().build((input_shape[0], *input_shape[2:]))

    def call(self, inputs: Any, training: Any = None) -> Any:
        N, T = inputs.shape[:2]
        out = self.layer(ops.reshape(inputs, (N * T, *inputs.shape[2:])))
        return ops.reshape(out, (N, T, *out.shape[1:]))

    def compute_output_shape(self, input_shape: Any) -> Any:
        inner = self.layer.compute_output_shape((input_shape[0], *input_shape[2:]))
        return (*input_shape[:2], *inner[1:])


__all__ = ["Activation", "ActivityRegularization", "Dense", "EinsumDense", "Embedding", "Identity", "Input",
           "InputLayer", "Lambda", "Masking", "TimeDistributed", "Weighted", "Wrapper"]  # fmt: skip
