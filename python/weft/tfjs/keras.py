"""`weft.keras.Sequential` as a layers model: the same layers under the same names, so only arguments are looked at.

Of each layer the arguments that both have are written; those that TensorFlow.js lacks must be at the value that it
assumes. Initializers, regularizers and constraints stay behind: they are of training, not of the model.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from weft.tfjs.layers import Layer, UnsupportedError

Array = np.ndarray[Any, Any]

# Keras's name -> theirs; hard_sigmoid is another function there, and what is missing they have not.
ACTIVATIONS = {
    name: name for name in ("linear", "relu", "relu6", "selu", "elu", "sigmoid", "softmax", "softplus", "softsign",
                            "tanh", "gelu", "mish", "swish")
} | {"silu": "swish", "log_softmax": "logSoftmax", None: "linear"}  # fmt: skip

FILTERS = "filters kernel_size strides padding dilation_rate activation use_bias"
POOL, NORM = "pool_size strides padding", "axis epsilon center scale"
LAST = {"data_format": (None, "channels_last")}
# class -> (the arguments that are written, what the others must be)
KINDS: dict[str, tuple[str, dict[str, tuple[Any, ...]]]] = {
    "Dense": ("units activation use_bias", {}),
    "Embedding": ("input_dim output_dim", {"mask_zero": (False,)}),
    "Conv1D": (FILTERS, {**LAST, "groups": (1,), "padding": ("valid", "same")}),  # causal: it loses the length
    "Conv2D": (FILTERS, {**LAST, "groups": (1,)}),
    "DepthwiseConv2D": ("kernel_size strides padding dilation_rate depth_multiplier activation use_bias", LAST),
    "Conv2DTranspose": ("filters kernel_size strides padding activation use_bias",
                        {**LAST, "output_padding": (None,), "dilation_rate": (1, (1, 1), [1, 1])}),
    **{f"{kind}Pooling{n}D": (POOL, LAST) for kind in ("Max", "Average") for n in (1, 2)},
    **{f"Global{kind}Pooling{n}D": ("", {**LAST, "keepdims": (False,)}) for kind in ("Max", "Average") for n in (1, 2)},
    "BatchNormalization": (f"momentum {NORM}", {}),
    "LayerNormalization": (NORM, {"rms_scaling": (False,)}),
    "Flatten": ("", LAST),
    "Reshape": ("target_shape", {}),
    "Permute": ("dims", {}),
    "RepeatVector": ("n", {}),
    "ZeroPadding2D": ("padding", LAST),
    "Cropping2D": ("cropping", LAST),
    "UpSampling2D": ("size", {**LAST, "interpolation": ("nearest",)}),
    "Rescaling": ("scale offset", {}),
    "Dropout": ("rate", {"noise_shape": (None,)}),
    "AlphaDropout": ("rate", {"noise_shape": (None,)}),
    "GaussianDropout": ("rate", {}),
    "GaussianNoise": ("stddev", {}),
    "Activation": ("activation", {}),
    "ReLU": ("max_value", {"negative_slope": (0,), "threshold": (0,)}),
    "LeakyReLU": ("negative_slope", {}),
    "PReLU": ("shared_axes", {}),
    "ELU": ("", {"alpha": (1,)}),
    "Softmax": ("axis", {}),
}  # fmt: skip
RENAMED = {("LeakyReLU", "negative_slope"): "alpha"}
WEIGHTS = {"DepthwiseConv2D": {"kernel": "depthwise_kernel"}}


def is_keras(module: Any) -> bool:
    """Whether this is a model of `weft.keras`, which is loaded if there is one."""
    keras = sys.modules.get("weft.keras")
    return keras is not None and isinstance(module, keras.Layer)


def flat(model: Any) -> Iterator[Any]:
    """The layers of a Sequential and of those in it, one after another."""
    if type(model).__name__ != "Sequential":
        raise UnsupportedError(f"tfjs.export: {model.name}: expected a keras.Sequential, got {type(model).__name__}")
    for layer in model.layers:
        if type(layer).__name__ == "Sequential":
            yield from flat(layer)
        elif type(layer).__name__ != "InputLayer":
            yield layer


def export(model: Any) -> tuple[list[Layer], list[tuple[str, Array]]]:
    """The configurations of a built Sequential's layers, the input's first, and their weights by name."""
    if not model.built:
        raise ValueError(
            f"tfjs.export: {model.name}: expected a model that is built, got one without an Input; call it"
        )
    layers, weights = [input_layer(model)], []
    for layer in flat(model):
        layers.append(configured(layer))
        weights += [(name, np.asarray(weight.numpy(), np.float32)) for name, weight in named_weights(layer)]
    names = [layer["config"]["name"] for layer in layers]
    if len(set(names)) < len(names):
        raise UnsupportedError(f"tfjs.export: {model.name}: expected layers of different names, got {names}")
    return layers, weights


def input_layer(model: Any) -> Layer:
    (symbol,) = model.inputs
    config = {"batch_input_shape": [None, *symbol.shape[1:]], "dtype": kind_of(symbol.dtype), "sparse": False,
              "name": "input"}  # fmt: skip
    return {"class_name": "InputLayer", "config": config}


def kind_of(dtype: Any) -> str:
    return "int32" if np.issubdtype(np.dtype(str(dtype)), np.integer) else "float32"


def named_weights(layer: Any) -> list[tuple[str, Any]]:
    """(name there, weight) of one layer."""
    names = WEIGHTS.get(type(layer).__name__, {})
    return [(f"{layer.name}/{names.get(own, own)}", w) for w in layer.weights for own in [w.path.rpartition("/")[2]]]


def configured(layer: Any) -> Layer:
    """One layer's configuration there.  UnsupportedError names the layer and what is expected of it."""
    kind = type(layer).__name__
    if kind not in KINDS:
        raise UnsupportedError(f"tfjs.export: {layer.name}: expected one of {', '.join(sorted(KINDS))}, got {kind}")
    given, (written, fixed) = layer.get_config(), KINDS[kind]
    for name, allowed in fixed.items():
        if given.get(name, allowed[0]) not in allowed:
            raise UnsupportedError(f"tfjs.export: {layer.name}: expected {name} of {allowed}, got {given[name]!r}")
    config: dict[str, Any] = {"name": layer.name, "trainable": True}
    for name in written.split():
        value = given[name]
        if name == "activation":
            if isinstance(value, (dict, list)) or value not in ACTIVATIONS:
                raise UnsupportedError(f"tfjs.export: {layer.name}: expected an activation of "
                                       f"{', '.join(filter(None, ACTIVATIONS))}, got {value!r}")  # fmt: skip
            value = ACTIVATIONS[value]
        if name == "strides" and value is None:
            value = given["pool_size"]
        if name == "size" and isinstance(value, int):
            value = [value, value]
        config[RENAMED.get((kind, name), name)] = value
    if "data_format" in fixed:
        config["data_format"] = "channels_last"
    return {"class_name": kind, "config": config}
