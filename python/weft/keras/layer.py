"""Layer: a `weft.nn.Module` with Keras's life: made, built when it first sees a shape, then called."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np

from weft import ops
from weft.autograd import Tensor, no_grad
from weft.backends.device import host_copy
from weft.keras import constraints, initializers, regularizers
from weft.keras.masks import MASKS, mask_of, set_mask
from weft.keras.registry import Configured, revive, snake, unique_name
from weft.keras.symbols import Call, KerasTensor, leaves, mapped
from weft.keras.texts import is_texts
from weft.keras.variables import Statistic, Weight, device_of
from weft.nn.module import Module, is_float


class State(threading.local):
    training: bool = False
    losses: list[Any] | None = None  # where a step collects what layers add to the loss
    scope: tuple[str, ...] = ()  # names of the layers that build or run around this one, for paths of weights


state = State()
OLD_SHAPES = ("input_shape", "batch_input_shape", "input_dim", "batch_shape")


class Layer(Configured, Module):
    """Base of all layers: subclass it, make weights in `build(input_shape)` and compute in `call(inputs)`.

    `call` may take `training` and `mask`. Weights come from `add_weight`; layers in attributes, and in lists and dicts
    of these, are found. name: unique within a model; trainable: false freezes the weights; dtype: of weights and
    floating inputs.

    >>> from weft import keras
    >>> class Scaled(keras.layers.Layer):
    ...     def build(self, input_shape):
    ...         self.scale = self.add_weight(shape=(input_shape[-1],), initializer="ones")
    ...     def call(self, inputs):
    ...         return inputs * self.scale
    >>> Scaled()(weft.asarray([[1.0, 2.0]])).tolist()
    [[1.0, 2.0]]
    """

    floats: ClassVar[bool] = True  # whether whole-numbered inputs become the layer's dtype
    texts: ClassVar[bool] = False  # whether texts may come in
    supports_masking: bool = False
    _takes: ClassVar[dict[type, frozenset[str]]] = {}

    def __init__(
        self, *, activity_regularizer: Any = None, trainable: bool = True, dtype: Any = None, autocast: bool = True,
        name: str | None = None, **kwargs: Any,
    ):  # fmt: skip
        shape = given_shape(kwargs)
        if kwargs:
            raise TypeError(f"{type(self).__name__}: expected the arguments of Keras's layer, "
                            f"got also {', '.join(sorted(kwargs))}")  # fmt: skip
        if name is not None and (not isinstance(name, str) or "/" in name or "." in name):
            raise ValueError(f"{type(self).__name__}: expected a name without '/' and '.', got {name!r}")
        self.name = unique_name(snake(type(self).__name__)) if name is None else name
        self.activity_regularizer = regularizers.get(activity_regularizer)
        self.dtype, self.autocast = checked_dtype(dtype), autocast
        self.built = self._ran = False
        self._trainable = bool(trainable)
        self._first_shape = shape
        self._own: tuple[Any, ...] = ()
        self._calls: tuple[Call, ...] = ()

    @property
    def started(self) -> bool:
        """Whether `__init__` of this class was called; a subclass may forget it."""
        return "_own" in self.__dict__

    def get_config(self) -> dict[str, Any]:
        """The arguments of the layer, the common ones first."""
        config = super().get_config()
        common = {"name": self.name, "trainable": self._trainable, "dtype": dtype_policy(self.dtype)}
        named = inspect.signature(type(self).__init__).parameters
        dropped = {"autocast", *(name for name in OLD_SHAPES if name not in named)}
        return common | {k: v for k, v in config.items() if k not in common and k not in dropped}

    @classmethod
    def from_config(cls, config: Any) -> Any:
        """What `get_config` was taken of, made anew; weights are drawn anew."""
        known = {*inspect.signature(cls.__init__).parameters, "name", "trainable", "dtype", "activity_regularizer"}
        # what Keras has besides, and is off
        given = {key: value for key, value in config.items() if key in known or value not in (None, False)}
        return cls(**{key: revive(value) for key, value in given.items()})

    # ---- what a subclass writes

    def build(self, *shapes: Any) -> None:
        """Make the weights for inputs of `input_shape`, whose batch size is None."""

    def call(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__}: expected a method `call`, got none")

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """The mask of the output: that of the input, where the layer passes it on."""
        return previous_mask if self.supports_masking else None

    def compute_output_shape(self, *shapes: Any, **named: Any) -> Any:
        """The shape of the output for an input shape, whose unknown sizes are None; worked out by calling the layer."""
        given = [mapped_shapes(lambda s: KerasTensor(s, self.dtype), shape) for shape in shapes]
        return mapped(lambda out: out.shape, self.traced(tuple(given), named))

    # ---- weights

    def add_weight(
        self, shape: Any = None, initializer: Any = None, dtype: Any = None, trainable: bool = True,
        autocast: bool = True, regularizer: Any = None, constraint: Any = None, aggregation: str = "none",
        overwrite_with_gradient: bool = False, name: str | None = None,
    ) -> Any:  # fmt: skip
        """A weight of this layer, drawn by `initializer` ("glorot_uniform" by default), and moved by training.

        shape: () by default. trainable: false for what only the layer itself writes. regularizer, constraint: by name.
        """
        if not self.started:
            raise RuntimeError(f"{type(self).__name__}: expected super().__init__() before add_weight")
        shape = () if shape is None else tuple(shape) if isinstance(shape, (tuple, list)) else (int(shape),)
        if any(n is None for n in shape):
            raise ValueError(f"{self.name}: expected a weight of known size, got shape {shape}; give Input all sizes "
                             "but the batch's")  # fmt: skip
        draw = initializers.get("glorot_uniform" if initializer is None else initializer)
        dtype = np_dtype(checked_dtype(dtype or self.dtype))
        values = draw(shape, dtype=dtype)
        values = values.data if isinstance(values, Tensor) else np.asarray(values, dtype)
        if tuple(values.shape) != shape:
            raise ValueError(f"{self.name}: expected an initializer that gives {shape}, got {values.shape}")
        variable = Weight(values) if trainable else Statistic(values)
        name = name or "variable" + (f"_{len(self._own)}" if self._own else "")
        variable.named(name, "/".join((*state.scope, self.name, name)))
        variable.regularizer, variable.constraint = regularizers.get(regularizer), constraints.get(constraint)
        if trainable and not self._trainable:
            variable.requires_grad = False
        self._own = (*self._own, variable)
        return variable

    @property
    def variables(self) -> list[Any]:
        return self.weights

    @property
    def compute_dtype(self) -> str:
        return self.dtype

    @property
    def variable_dtype(self) -> str:
        return self.dtype

    @property
    def weights(self) -> list[Any]:
        """All weights in Keras's order: a layer's trained ones, its others, then those of the layers in it."""
        own = [w for w in self._own if w.trainable] + [w for w in self._own if not w.trainable]
        for layer in self.sublayers():
            own += layer.weights
        return list({id(w): w for w in own}.values())

    @property
    def trainable_weights(self) -> list[Any]:
        """The weights that training moves."""
        return [w for w in self.weights if w.trainable and w.requires_grad]

    @property
    def non_trainable_weights(self) -> list[Any]:
        moved = {id(w) for w in self.trainable_weights}
        return [w for w in self.weights if id(w) not in moved]

    trainable_variables, non_trainable_variables = trainable_weights, non_trainable_weights

    @property
    def trainable(self) -> bool:
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = bool(value)
        for weight in self._own:
            if weight.trainable:
                weight.requires_grad = bool(value)
        for layer in self.sublayers():
            layer.trainable = value

    def get_weights(self) -> list[Any]:
        """The weights as NumPy arrays, in the order and layouts of Keras."""
        return [host_copy(w.data) for w in self.weights]

    def set_weights(self, weights: Any) -> None:
        """Write arrays into the weights, all or nothing; ValueError lists what does not fit."""
        own, given = self.weights, [np.asarray(w.data if isinstance(w, Tensor) else w) for w in weights]
        wrong = [f"{w.path}: expected shape {w.shape}, got {v.shape}" for w, v in zip(own, given) if w.shape != v.shape]
        if len(own) != len(given) or wrong:
            listed = "; ".join(wrong) or f"the shapes {[v.shape for v in given]}"
            hint = "" if own or self.built else " (the layer has none before it is built: call it, or give an Input)"
            raise ValueError(f"{self.name}: expected {len(own)} weights, got {len(given)}: {listed}{hint}")
        for weight, value in zip(own, given):
            weight.assign(value.astype(weight.dtype), by="set_weights")

    def count_params(self) -> int:
        return sum(w.size for w in self.weights)

    def sublayers(self) -> Iterator[Layer]:
        """The layers in attributes, and in lists, tuples and dicts of these, in order."""
        for _, child in self.named_children():
            if isinstance(child, Layer):
                yield child

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """(name, module) of the direct children, under the layers' own names, as paths of weights have them."""
        seen: set[int] = {id(self)}
        names: set[str] = set()
        for attribute, value in self.__dict__.items():
            if attribute in ("_given", "_calls"):
                continue
            for child in leaves(value) if isinstance(value, (list, tuple, dict, Module)) else ():
                if isinstance(child, Module) and id(child) not in seen:
                    seen.add(id(child))
                    name = child.name if isinstance(child, Layer) and child.started else attribute
                    while name in names:
                        name += "_"
                    names.add(name)
                    yield name, child

    # ---- losses

    def add_loss(self, loss: Any) -> None:
        """Add to the loss of this step, from inside `call`."""
        if state.losses is not None:
            state.losses.extend(loss if isinstance(loss, (list, tuple)) else [loss])

    @property
    def losses(self) -> list[Any]:
        """The penalties on weights as they are now."""
        return [w.regularizer(w) for w in self.weights if w.regularizer is not None and w.requires_grad]

    # ---- calling

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if not self.started:
            raise RuntimeError(f"{type(self).__name__}: expected super().__init__() in its __init__, got none")
        if symbolic(args, kwargs):
            return self.traced(args, kwargs, record=True)
        args = tuple([self.cast(a) for a in args])
        if not self.built:
            self.build_for(args, kwargs)
        return self.run(args, kwargs)

    def run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """`call` with `training`, and masks where there are any."""
        takes = self.takes()
        before, given, scope = state.training, kwargs.get("training"), state.scope
        if not self._ran:  # what is in it may be built now
            state.scope = (*scope, self.name)
        if given is not None:
            state.training = bool(given)
        if "training" in takes:
            kwargs["training"] = state.training
        else:
            kwargs.pop("training", None)
        mask = mapped(mask_of, args[0]) if MASKS.held and args else None
        if "mask" in takes and kwargs.get("mask") is None and mask is not None:
            kwargs["mask"] = mask
        try:
            out = self.call(*args, **kwargs)
            self._ran = True
        finally:
            state.training, state.scope = before, scope
        if kwargs.get("mask") is not None:
            mask = kwargs["mask"]
        if mask is not None or type(self).compute_mask is not Layer.compute_mask:
            masks = self.compute_mask(args[0], mask if any(m is not None for m in leaves(mask)) else None)
            if not isinstance(out, (list, tuple)):
                set_mask(out, masks)
            elif isinstance(masks, (list, tuple)):
                for x, m in zip(out, masks):
                    set_mask(x, m)
        if self.activity_regularizer is not None and state.losses is not None:
            for x in leaves(out):
                self.add_loss(self.activity_regularizer(x) / x.shape[0])
        return out

    def cast(self, value: Any) -> Any:
        """Arrays as Tensors, floating ones in the layer's dtype; whole numbers too, where it computes with them."""
        if type(value) is Tensor and value.data.dtype == np_dtype(self.dtype):
            return value
        if isinstance(value, (list, tuple, dict)) and any(isinstance(x, (Tensor, np.ndarray)) for x in leaves(value)):
            return mapped(self.cast, value)
        if isinstance(value, (list, tuple, np.ndarray)):
            value = np.asarray(value)
            if is_texts(value):
                if not self.texts:
                    raise TypeError(f"{self.name}: expected numbers, got texts of shape {value.shape}")
                return value
            value = ops.asarray(value, device=device_of(self))
        if isinstance(value, Tensor) and self.autocast and value.dtype.name != self.dtype:
            if is_float(value.dtype) or (self.floats and value.dtype.kind in "iub"):
                mask = mask_of(value)
                value = ops.astype(value, dtype=np_dtype(self.dtype))
                set_mask(value, mask)
        return value

    def build_for(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """`build` with the shapes of the arguments, each once."""
        shapes = [mapped(batch_free, a) for a in args if any(hasattr(x, "shape") for x in leaves(a))]
        wanted = inspect.signature(self.build).parameters
        if any(p.kind is p.VAR_POSITIONAL for p in wanted.values()):
            self.build(*shapes)
        elif len(wanted) > 1:
            named = {f"{k}_shape": mapped(batch_free, v) for k, v in kwargs.items() if hasattr(v, "shape")}
            self.build(*shapes[: len(wanted)], **{k: v for k, v in named.items() if k in wanted})
        else:
            self.build(*shapes[:1])
        self.finish_build()

    def build_child(self, layer: Any, *shapes: Any) -> None:
        """Build a layer that is part of this one."""
        scope, state.scope = state.scope, (*state.scope, self.name)
        try:
            if not layer.built:
                layer.build(*shapes)
                layer.finish_build()
        finally:
            state.scope = scope

    def finish_build(self) -> None:
        """Note that the weights are made."""
        self.built = True
        held = {id(value) for value in self.__dict__.values()}
        for i, weight in enumerate(self._own):  # one that is in no attribute is found under its name
            if id(weight) not in held:
                name = weight.name if weight.name not in self.__dict__ else f"{weight.name}_{i}"
                self.__dict__[name] = weight

    @classmethod
    def takes(cls) -> frozenset[str]:
        """Which of `training` and `mask` the layer's `call` takes."""
        known = Layer._takes.get(cls)
        if known is None:
            names = inspect.signature(cls.call).parameters
            known = Layer._takes[cls] = frozenset({"training", "mask"} & set(names))
        return known

    # ---- symbols

    def traced(self, args: tuple[Any, ...], kwargs: dict[str, Any], record: bool = False) -> Any:
        """What a call with symbols returns: symbols of the shapes that the output will have."""
        if not self.built:
            self.build_for(args, kwargs)
        rule = type(self).compute_output_shape
        simple = not kwargs or set(kwargs) <= {"training", "mask"}
        if rule is not Layer.compute_output_shape and simple:
            outputs: Any = mapped_shapes(
                lambda shape: KerasTensor(shape, self.output_dtype(args)),
                self.compute_output_shape(*[mapped(lambda x: x.shape, a) for a in args if a is not None]),
            )
        else:
            outputs = self.probed(args, kwargs)
        if record:
            self.remember(args, kwargs, outputs)
        return outputs

    def remember(self, args: tuple[Any, ...], kwargs: dict[str, Any], outputs: Any) -> None:
        """Note a call with symbols: the edge of a graph."""
        call = Call(self, args, kwargs)
        call.structure, call.outputs = outputs, [x for x in leaves(outputs) if isinstance(x, KerasTensor)]
        self._calls = (*self._calls, call)
        for i, x in enumerate(call.outputs):
            x.call, x.index, x.name = call, i, self.name

    def output_dtype(self, args: tuple[Any, ...]) -> str:
        if self.floats:
            return self.dtype
        first = next(leaves(args), None)
        return first.dtype if isinstance(first, KerasTensor) else self.dtype

    def probed(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Output symbols by calling the layer with zeros of two sizes: what differs between these is unknown."""
        found = []
        for sizes in PROBES:

            def zeros(x: Any, sizes: Any = sizes) -> Any:
                if not isinstance(x, KerasTensor):
                    return x
                shape = [sizes[min(i, 1)] if n is None else n for i, n in enumerate(x.shape)]
                return ops.asarray(np.zeros(shape, np_dtype(x.dtype)), device=device_of(self))

            held = [(w, host_copy(w.data)) for w in self.weights if not w.trainable]
            losses, state.losses = state.losses, None
            try:
                with no_grad():
                    found.append(self.run(tuple(mapped(self.cast, mapped(zeros, args))), mapped(zeros, kwargs)))
            finally:
                state.losses = losses
                for weight, value in held:
                    weight.assign(value, by="tracing")
            if all(n is not None for x in leaves((args, kwargs)) if isinstance(x, KerasTensor) for n in x.shape):
                found.append(found[0])
                break
        pairs = iter(list(zip(leaves(found[0]), leaves(found[1]))))

        def symbol(_: Any) -> Any:
            a, b = next(pairs)
            if not isinstance(a, Tensor):
                return a
            if a.ndim != b.ndim:
                raise ValueError(f"{self.name}: expected one number of dimensions, got {a.shape} and {b.shape}")
            return KerasTensor([n if n == m else None for n, m in zip(a.shape, b.shape)], a.dtype.name)

        return mapped(symbol, found[0])

    @property
    def input(self) -> Any:
        """The symbols that the layer was called with; where it was called once."""
        call = self.only_call()
        return call.args[0] if len(call.args) == 1 else list(call.args)

    @property
    def output(self) -> Any:
        """The symbols that the layer made; where it was called once."""
        return self.only_call().structure

    def only_call(self) -> Call:
        if len(self._calls) != 1:
            raise AttributeError(f"{self.name}: expected one call with symbols, got {len(self._calls)}")
        return self._calls[0]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.__dict__.get('name')}, built={self.__dict__.get('built', False)}>"


PROBES = ((2, 33), (3, 48))  # sizes of unknown axes, the batch's and others'; a convolution or two fits in


def symbolic(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    if len(args) == 1 and type(args[0]) is Tensor and not kwargs:
        return False
    return any(isinstance(x, KerasTensor) for x in leaves((args, kwargs)))


def batch_free(x: Any) -> Any:
    """The shape of an argument with the batch size left open."""
    shape = getattr(x, "shape", None)
    return None if shape is None else (None, *shape[1:])


def mapped_shapes(function: Callable[[Any], Any], shapes: Any) -> Any:
    """`function` of each shape in a structure: a shape is a tuple (or list) of ints and None."""
    if isinstance(shapes, dict):
        return {key: mapped_shapes(function, shape) for key, shape in shapes.items()}
    if isinstance(shapes, (list, tuple)) and any(isinstance(s, (list, tuple)) for s in shapes):
        return type(shapes)(mapped_shapes(function, shape) for shape in shapes)
    return function(tuple(shapes))


def given_shape(kwargs: dict[str, Any]) -> Any:
    """The batch shape that a first layer was given in the way of Keras 2, or None."""
    shape = None
    if "input_dim" in kwargs:
        shape = (None, kwargs.pop("input_dim"))
    if "input_shape" in kwargs:
        shape = (None, *kwargs.pop("input_shape"))
    for name in ("batch_input_shape", "batch_shape"):
        if name in kwargs:
            shape = tuple(kwargs.pop(name))
    return shape


def checked_dtype(dtype: Any) -> str:
    """The name of a dtype that a layer may have."""
    if dtype is None:
        return "float32"
    name = dtype.get("config", {}).get("name") if isinstance(dtype, dict) else dtype
    name = name if isinstance(name, str) else np.dtype(name).name
    if name.startswith("mixed_"):
        raise ValueError(f"dtype: expected one dtype, got {name!r}; products in 16 bits are `with weft.autocast(...)`")
    try:
        return name if name == "string" else np_dtype(name).name
    except TypeError:
        raise TypeError(f"dtype: expected one of numbers, or 'string' for an Input, got {name!r}") from None


@functools.cache
def np_dtype(name: str) -> Any:
    if name == "bfloat16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)


def dtype_policy(name: str) -> dict[str, Any]:
    return {"module": "keras", "class_name": "DTypePolicy", "config": {"name": name}, "registered_name": None}
