"""Model and Sequential: layers together, with `compile`, `fit` and what belongs to them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from weft.keras import registry
from weft.keras.graph import Graph
from weft.keras.layer import Layer, dtype_policy, mapped_shapes, state
from weft.keras.layers.core import Input, InputLayer
from weft.keras.summary import summary
from weft.keras.symbols import KerasTensor, leaves, mapped
from weft.keras.training import Training


class Model(Training, Layer):
    """Layers together: `Model(inputs, outputs)` of symbols, or a subclass with layers in attributes and `call`.

    inputs, outputs: symbols, or lists or dicts of them. A Model is a layer, and a `weft.nn.Module`.

    >>> from weft import keras
    >>> x = keras.Input((4,))
    >>> model = keras.Model(x, keras.layers.Dense(2)(x))
    >>> model.predict(np.ones((3, 4), "f"), verbose=0).shape
    (3, 2)
    """

    floats = False
    texts = True
    supports_masking = True
    graph: Graph | None = None

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        if cls is Model and (len(args) > 1 or "inputs" in kwargs):
            return super().__new__(Functional, *args, **kwargs)
        return super().__new__(cls, *args, **kwargs)

    def __init__(self, inputs: Any = None, outputs: Any = None, *, name: str | None = None, trainable: bool = True,
                 dtype: Any = None, **kwargs: Any):  # fmt: skip
        if (inputs is None) != (outputs is None):
            raise TypeError("Model: expected inputs and outputs together, or neither in a subclass")
        Layer.__init__(self, name=name, trainable=trainable, dtype=dtype, **kwargs)
        self.begin_training()
        if inputs is not None:
            self.graph = Graph(inputs, outputs)
            self.built = True

    # ---- the graph

    def input_names(self) -> list[str]:
        """The names of a functional model's inputs."""
        return [] if self.graph is None else [x.name for x in self.graph.flat_inputs]

    @property
    def output_names(self) -> list[str]:
        """The names of the layers that make a functional model's outputs."""
        if self.graph is None:
            return []
        if isinstance(self.graph.outputs, dict):
            return sorted(self.graph.outputs)
        names: list[str] = []
        for x in leaves(self.graph.outputs):
            count = sum(other == x.name or other.startswith(f"{x.name}_") for other in names)
            names.append(f"{x.name}_{count}" if x.name in names else x.name)
        return names

    @property
    def inputs(self) -> list[KerasTensor]:
        return self.needed_graph().flat_inputs

    @property
    def outputs(self) -> list[KerasTensor]:
        return list(leaves(self.needed_graph().outputs))

    @property
    def input(self) -> Any:
        """The symbols that a functional model begins with, in the structure it was given."""
        return self.needed_graph().inputs

    @property
    def output(self) -> Any:
        """The symbols that a functional model ends with, in the structure it was given."""
        return self.needed_graph().outputs

    @property
    def input_shape(self) -> Any:
        return mapped(lambda x: x.shape, self.input)

    @property
    def output_shape(self) -> Any:
        return mapped(lambda x: x.shape, self.output)

    def needed_graph(self) -> Graph:
        if self.graph is None:
            raise AttributeError(f"{self.name}: expected a model of known inputs, got one whose `call` has not been "
                                 "traced; a functional Model or a Sequential with an Input has them")  # fmt: skip
        return self.graph

    @property
    def layers(self) -> list[Layer]:
        """The layers in it, in Keras's order."""
        return self.graph.layers if self.graph is not None else list(self.sublayers())

    def named_children(self) -> Any:
        if self.graph is None:
            yield from super().named_children()
            return
        names: set[str] = set()
        for layer in self.layers:
            name = layer.name
            while name in names:
                name += "_"
            names.add(name)
            yield name, layer

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """A layer by its name or its index.  ValueError lists the names there are."""
        layers = self.layers
        if index is not None:
            return layers[index]
        for layer in layers:
            if layer.name == name:
                return layer
        raise ValueError(f"get_layer: expected one of {', '.join(layer.name for layer in layers)}, got {name!r}")

    # ---- building and calling

    def build(self, input_shape: Any = None) -> None:
        """Make the weights of a subclass's layers, for inputs of a shape (or a list or dict of them)."""
        if self.graph is None and input_shape is not None:
            self.built = True
            self.probed((mapped_shapes(lambda s: KerasTensor(s, self.dtype), input_shape),), {})

    def build_for(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.finish_build()  # its layers build themselves as they are called

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        if self.graph is None:
            raise NotImplementedError(f"{type(self).__name__}: expected a method `call`, got none")
        return self.graph.run([check(x, symbol) for x, symbol in zip(self.ordered(inputs), self.graph.flat_inputs)])

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        return None  # the last layer has set it

    def ordered(self, inputs: Any) -> list[Any]:
        """Inputs given as one, a list, or a dict by name, in the order of the model's."""
        graph = self.needed_graph()
        symbols = graph.flat_inputs
        if isinstance(inputs, Mapping):
            keys = sorted(graph.inputs) if isinstance(graph.inputs, dict) else self.input_names()
            missing = [key for key in keys if key not in inputs]
            if missing:
                raise ValueError(f"{self.name}: expected inputs named {', '.join(keys)}, got {', '.join(inputs)}")
            return [inputs[key] for key in keys]
        flat = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
        if len(flat) != len(symbols):
            raise ValueError(f"{self.name}: expected {len(symbols)} inputs ({', '.join(self.input_names())}), "
                             f"got {len(flat)}")  # fmt: skip
        return flat

    def traced(self, args: tuple[Any, ...], kwargs: dict[str, Any], record: bool = False) -> Any:
        if self.graph is None:
            return super().traced(args, kwargs, record)
        outputs = self.graph.run(self.ordered(args[0]), lambda layer, a, k: layer.traced(a, k))
        outputs = mapped(lambda x: KerasTensor(x.shape, x.dtype), outputs)
        if record:
            self.remember(args, kwargs, outputs)
        return outputs

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the output for an input shape, whose unknown sizes are None."""
        symbols = mapped_shapes(lambda s: KerasTensor(s, self.dtype), input_shape)
        return mapped(lambda x: x.shape, self.traced((symbols,), {}))

    # ---- text and files

    def summary(  # type: ignore[override]
        self, line_length: int | None = None, positions: Any = None, print_fn: Any = None, expand_nested: bool = False,
        show_trainable: bool = False, layer_range: Any = None,
    ) -> None:  # fmt: skip
        """Print a table of the layers, their output shapes and how many parameters they have."""
        text = summary(self, line_length, expand_nested, show_trainable)
        (print if print_fn is None else print_fn)(text)

    def get_config(self) -> dict[str, Any]:
        """What `from_config` makes the model of: its layers and how they are connected, without weights."""
        if self.graph is None or type(self) not in (Functional, Sequential):
            return super().get_config()
        from weft.keras.saving import functional_config

        return functional_config(self)

    @classmethod
    def from_config(cls, config: Any, custom_objects: Any = None) -> Any:
        """A model from what `get_config` returned; weights are drawn anew."""
        from weft.keras.saving import functional_from_config

        with registry.custom_object_scope(custom_objects or {}):
            if "layers" in config and "input_layers" in config:
                return functional_from_config(cls if cls is not Model else Functional, config)
            return super().from_config(config)

    def to_json(self, **kwargs: Any) -> str:
        """The configuration as JSON, which `keras.models.model_from_json` reads, here and in Keras 3."""
        return json.dumps(registry.serialize(self), **kwargs)

    def save(self, filepath: Any, overwrite: bool = True, include_optimizer: bool = True) -> None:
        """Write configuration, weights and the optimizer's state to a .safetensors file, see `keras.saving`."""
        from weft.keras.saving import save_model

        save_model(self, filepath, overwrite, include_optimizer)

    def save_weights(self, filepath: Any, overwrite: bool = True) -> None:
        """Write the weights to a .safetensors file."""
        from weft.keras.saving import save_weights

        save_weights(self, filepath, overwrite)

    def load_weights(self, filepath: Any, skip_mismatch: bool = False) -> None:
        """Read the weights of a .safetensors file, all or nothing."""
        from weft.keras.saving import load_weights

        load_weights(self, filepath, skip_mismatch)


class Functional(Model):
    """What `Model(inputs, outputs)` makes."""


def check(x: Any, symbol: KerasTensor) -> Any:
    """An input as the Input of a symbol wants it."""
    layer = symbol.call.layer if symbol.call is not None else None
    return layer.check(x) if isinstance(layer, InputLayer) else x


class Sequential(Model):
    """Layers one after the other, in a list; the first may be `Input(shape)`, else the first data say the shape.

    >>> from weft import keras
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> model.count_params()
    10
    """

    def __init__(self, layers: Any = None, trainable: bool = True, name: str | None = None, **kwargs: Any):
        super().__init__(name=name, trainable=trainable, **kwargs)
        self.chain: list[Layer] = []
        self.start: Any = None
        self.strict = True
        for layer in layers or ():
            self.add(layer)

    def add(self, layer: Any) -> None:
        """Put a layer behind the others."""
        if isinstance(layer, KerasTensor) and layer.call is not None:
            layer = layer.call.layer
        if not isinstance(layer, Layer):
            hint = "; wrap a function in keras.layers.Lambda" if callable(layer) else ""
            raise TypeError(f"{self.name}: expected layers, got {type(layer).__name__}{hint}")
        if isinstance(layer, InputLayer):
            if self.chain or self.start is not None:
                raise ValueError(f"{self.name}: expected an Input as the first layer alone")
            self.start = layer
            return
        if any(layer.name == other.name for other in self.chain):
            raise ValueError(f"{self.name}: expected different names, got {layer.name!r} twice")
        self.chain.append(layer)
        if self.start is None and len(self.chain) == 1:
            shape = layer._first_shape
            if shape is None and isinstance(layer, Model) and layer.graph is not None:
                shape = layer.input_shape
            if shape is not None:
                self.start = Input(batch_shape=shape, dtype=layer.dtype).call.layer
        if self.start is not None:
            self.connect()

    def pop(self, rebuild: bool = True) -> Layer:
        """Take the last layer off."""
        layer = self.chain.pop()
        layer._calls = ()
        self.graph = None
        if self.start is not None and self.chain:
            self.connect()
        return layer

    def connect(self) -> None:
        """The graph of all layers; calls that are there already stay."""
        first = x = self.start._calls[0].outputs[0] if self.start._calls else self.start.symbol()
        scope, state.scope = state.scope, (*state.scope, self.name)
        try:
            for layer in self.chain:
                known = next((c for c in layer._calls if c.args and c.args[0] is x), None)
                x = known.structure if known is not None else layer(x)
        finally:
            state.scope = scope
        if not isinstance(x, KerasTensor):
            raise ValueError(f"{self.name}: expected layers of one output, got several of {self.chain[-1].name!r}")
        self.graph, self.built = Graph(first, x), True

    @property
    def layers(self) -> list[Layer]:
        return list(self.chain)

    def build(self, input_shape: Any = None) -> None:
        """Make the weights for inputs of a shape, batch size first."""
        if self.start is None and input_shape is not None and self.chain:
            self.start = InputLayer(batch_shape=tuple(input_shape), dtype=self.dtype)
            self.start.symbol()
            self.connect()

    def build_for(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not self.chain:
            raise ValueError(f"{self.name}: expected layers, got none")
        self.finish_build()
        self.seen_shape = (None, *args[0].shape[1:])

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        x = inputs
        if self.start is not None and self.strict:
            x = self.start.check(x)
        for layer in self.chain:
            x = layer(x)
        if self.graph is None and "seen_shape" in self.__dict__:
            self.start = InputLayer(batch_shape=self.seen_shape, dtype=self.dtype)
            self.start.symbol()
            self.strict = False  # the layers have shown that they take such data, in whatever dtype
            self.connect()
        return x

    def traced(self, args: tuple[Any, ...], kwargs: dict[str, Any], record: bool = False) -> Any:
        if self.graph is None:
            self.build(args[0].shape)
        return super().traced(args, kwargs, record)

    def named_children(self) -> Any:
        if "chain" in self.__dict__:
            yield from ((layer.name, layer) for layer in self.chain)

    def get_config(self) -> dict[str, Any]:
        """The layers' configurations, the Input's first where it is known."""
        layers = ([self.start] if self.start is not None else []) + self.chain
        config: dict[str, Any] = {"name": self.name, "trainable": self._trainable, "dtype": dtype_policy(self.dtype)}
        config["layers"] = [registry.serialize(layer) for layer in layers]
        if self.start is not None:
            config["build_input_shape"] = list(self.start.batch_shape)
        return config

    @classmethod
    def from_config(cls, config: Any, custom_objects: Any = None) -> Any:
        """A model from what `get_config` returned; weights are drawn anew."""
        with registry.custom_object_scope(custom_objects or {}):
            made = cls([registry.deserialize(layer) for layer in config["layers"]], name=config.get("name"),
                       trainable=config.get("trainable", True))  # fmt: skip
            if made.start is None and config.get("build_input_shape"):
                made.build(config["build_input_shape"])
            return made


def clone_model(model: Any, input_tensors: Any = None, clone_function: Any = None) -> Any:
    """A model of the same layers, with weights of its own.

    >>> from weft import keras
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> keras.models.clone_model(model).count_params()
    10
    """
    if input_tensors is not None or clone_function is not None:
        raise ValueError("clone_model: expected a model alone; input_tensors and clone_function are not there")
    return type(model).from_config(model.get_config())


def model_from_json(json_string: str, custom_objects: Any = None) -> Any:
    """A model from what `to_json` wrote, here or in Keras 3; weights are drawn anew.

    >>> from weft import keras
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> keras.models.model_from_json(model.to_json()).count_params()
    10
    """
    return registry.deserialize(json.loads(json_string), custom_objects)


def __getattr__(name: str) -> Any:
    if name in ("load_model", "save_model"):
        from weft.keras import saving

        return getattr(saving, name)
    raise AttributeError(f"module 'weft.keras.models' has no attribute {name!r}")
