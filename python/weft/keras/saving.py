"""Models as JSON and files: a .safetensors file with the arrays by their paths and the configuration as JSON.

Nothing is pickled, and nothing in a file names code: classes come from closed tables and from `custom_objects`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from weft.io import CheckpointError
from weft.io.state import load_with_metadata, save
from weft.keras import registry
from weft.keras.layers.core import InputLayer
from weft.keras.symbols import Call, KerasTensor, mapped

FORMAT = 1


def checked_path(filepath: Any, by: str) -> Path:
    """A path that Weft writes and reads; ValueError for Keras's own files, with what to do."""
    path = Path(filepath)
    if path.name.endswith((".h5", ".hdf5", ".keras")):
        raise ValueError(
            f"{by}: expected a .safetensors file, got {path.name!r}: HDF5 and .keras files are not read or written "
            "here. From Keras: weft.keras model.set_weights(keras_model.get_weights()), and "
            "keras.models.model_from_json(keras_model.to_json()) for the architecture"
        )
    if path.suffix != ".safetensors":
        raise ValueError(f"{by}: expected a .safetensors file, got {path.name!r}")
    return path


# ---- weights


def paths_of(model: Any) -> dict[str, Any]:
    """Weights by their place in the model, unique: "dense/kernel", "bidirectional/forward_lstm/lstm_cell/kernel".

    Layers with names that were made up are counted anew in each model: "dense" and "dense_1", whatever their numbers.
    """
    found: dict[str, Any] = {}
    seen: set[int] = set()

    def place(name: str, taken: Any) -> str:
        return next(n for n in (name, *(f"{name}_{i}" for i in range(1, len(taken) + 2))) if n not in taken)

    def walk(layer: Any, prefix: str) -> None:
        for weight in layer._own:
            if id(weight) not in seen:
                seen.add(id(weight))
                found[place(prefix + weight.name, found)] = weight
        names: set[str] = set()
        for child in layer.layers if hasattr(layer, "layers") else layer.sublayers():
            made_up = rf"((?:forward_|backward_)?{registry.snake(type(child).__name__)})_\d+"
            match = re.fullmatch(made_up, child.name)
            names.add(name := place(match[1] if match else child.name, names))
            walk(child, f"{prefix}{name}/")

    walk(model, "")
    return found


def save_weights(model: Any, filepath: Any, overwrite: bool = True) -> None:
    """Write a model's weights, in Keras's layouts, under their paths.  ValueError where it has none yet."""
    path = checked_path(filepath, "save_weights")
    refuse_overwriting(path, overwrite)
    weights = paths_of(model)
    if not weights:
        raise ValueError(f"save_weights: expected a model with weights, got {model.name!r}, which has none (yet)")
    save(path, {name: weight.numpy() for name, weight in weights.items()}, {"keras_weights": FORMAT})


def load_weights(model: Any, filepath: Any, skip_mismatch: bool = False) -> None:
    """Read weights by their paths, all or nothing; skip_mismatch: leave out what does not fit."""
    state, metadata = load_with_metadata(checked_path(filepath, "load_weights"))
    if "keras_model" in metadata:
        state = state["weights"]
    own = paths_of(model)
    missing = [name for name in own if name not in state]
    unexpected = [name for name in state if name not in own]
    wrong = [f"{name}: expected {own[name].shape}, got {tuple(value.shape)}" for name, value in state.items()
             if name in own and tuple(value.shape) != own[name].shape]  # fmt: skip
    if (missing or unexpected or wrong) and not skip_mismatch:
        lines = [*wrong, *(f"{name}: missing" for name in missing), *(f"{name}: unexpected" for name in unexpected)]
        raise ValueError(f"load_weights: expected the weights of {model.name!r}, got\n  " + "\n  ".join(lines))
    for name, weight in own.items():
        if name in state and tuple(state[name].shape) == weight.shape:
            weight.assign(state[name].astype(weight.dtype), by="load_weights")


def refuse_overwriting(path: Path, overwrite: bool) -> None:
    if not overwrite and path.exists():
        raise FileExistsError(f"save: expected a new file with overwrite=False, {path} is there")


# ---- models


def save_model(model: Any, filepath: Any, overwrite: bool = True, include_optimizer: bool = True) -> None:
    """Write configuration, weights, what `compile` was given, and the optimizer's state.

    >>> keras.saving.save_model(model, "model.safetensors")                                 # doctest: +SKIP
    """
    path = checked_path(filepath, "save")
    refuse_overwriting(path, overwrite)
    described: dict[str, Any] = {"keras_model": FORMAT, "config": registry.serialize(model)}
    state: dict[str, Any] = {"weights": {name: weight.numpy() for name, weight in paths_of(model).items()}}
    if include_optimizer and model.compiled:
        described["compile"] = registry.serialize(model.compile_arguments)
        if model.optimizer.inner is not None:
            state["optimizer"] = model.optimizer.state_dict()
    save(path, state, described)


def load_model(filepath: Any, custom_objects: Any = None, compile: bool = True, safe_mode: bool = True) -> Any:
    """The model that `save` wrote, compiled as it was; custom_objects: the user's own classes and functions by name.

    CheckpointError for a damaged file.  ValueError for a class that no table has.

    >>> model = keras.models.load_model("model.safetensors")                                # doctest: +SKIP
    """
    path = checked_path(filepath, "load_model")
    state, described = load_with_metadata(path, checksums=True)
    if described.get("keras_model") != FORMAT:
        raise CheckpointError(f"{path}: expected a file that keras's model.save wrote here, got one without its "
                              "configuration; load_weights reads plain weights")  # fmt: skip
    with registry.custom_object_scope(custom_objects or {}):
        model = registry.deserialize(described["config"])
        arguments = described.get("compile")
        if compile and arguments:
            model.compile(**{name: revived(value) for name, value in arguments.items()})
    load_weights(model, path)
    if compile and arguments and "optimizer" in state:
        model.optimizer.build([w for w in model.weights if w.trainable])
        model.optimizer.load_state_dict(state["optimizer"])
    return model


def revived(value: Any) -> Any:
    """Arguments of `compile`, objects again."""
    if isinstance(value, Mapping) and "class_name" not in value:
        return {key: revived(item) for key, item in value.items()}
    return registry.revive(value)


# ---- functional models as JSON, in Keras 3's form


def place_of(x: KerasTensor) -> list[Any]:
    """[layer's name, which of its calls, which of the outputs]."""
    call = x.call
    if call is None:
        raise ValueError(f"get_config: expected a symbol of a layer, got {x!r}")
    return [call.layer.name, call.layer._calls.index(call), x.index]


def functional_config(model: Any) -> dict[str, Any]:
    """Layers with the calls that connect them."""
    graph = model.graph
    used = {id(call) for call in graph.calls} | {id(x.call) for x in graph.flat_inputs}

    def argument(x: Any) -> Any:
        if isinstance(x, KerasTensor):
            config = {"shape": list(x.shape), "dtype": x.dtype, "keras_history": place_of(x)}
            return {"class_name": "__keras_tensor__", "config": config}
        return registry.serialize(x)

    layers = []
    for layer in graph.layers:
        nodes = [{"args": [mapped(argument, a) for a in call.args], "kwargs": mapped(argument, call.kwargs)}
                 for call in layer._calls if id(call) in used and call.args]  # fmt: skip
        layers.append({**registry.serialize(layer), "name": layer.name, "inbound_nodes": nodes})
    return {
        "name": model.name, "trainable": model._trainable, "layers": layers,
        "input_layers": mapped(place_of, graph.inputs), "output_layers": mapped(place_of, graph.outputs),
    }  # fmt: skip


def functional_from_config(cls: Any, config: Mapping[str, Any]) -> Any:
    """A model of its layers' configurations and calls."""
    layers: dict[str, Any] = {}
    waiting: list[tuple[Any, int, Mapping[str, Any]]] = []
    made: dict[tuple[str, int], Call] = {}
    for entry in config["layers"]:
        layer = registry.deserialize(entry)
        layers[layer.name] = layer
        if isinstance(layer, InputLayer):
            layer.symbol()
            made[layer.name, 0] = layer._calls[0]
        waiting += [(layer, i, node) for i, node in enumerate(entry.get("inbound_nodes", ()))]

    def symbol(place: Any) -> KerasTensor:
        name, call, output = place
        return made[name, call].outputs[output]

    def argument(x: Any) -> Any:
        if isinstance(x, Mapping) and x.get("class_name") == "__keras_tensor__":
            return symbol(x["config"]["keras_history"])
        if isinstance(x, Mapping) and "class_name" in x:
            return registry.revive(x)
        if isinstance(x, Mapping):
            return {key: argument(item) for key, item in x.items()}
        return [argument(item) for item in x] if isinstance(x, (list, tuple)) else x

    def needs(node: Any) -> list[tuple[str, int]]:
        if isinstance(node, Mapping):
            if node.get("class_name") == "__keras_tensor__":
                name, call, _ = node["config"]["keras_history"]
                return [(name, call)]
            return [need for item in node.values() for need in needs(item)]
        return [need for item in node for need in needs(item)] if isinstance(node, (list, tuple)) else []

    while waiting:
        ready = [entry for entry in waiting if all(need in made for need in needs(entry[2]))]
        if not ready:
            names = ", ".join(layer.name for layer, _, _ in waiting)
            raise ValueError(f"from_config: expected calls that can be put in an order, got a circle among {names}")
        for layer, i, node in ready:
            kwargs = {k: v for k, v in node.get("kwargs", {}).items() if v is not None}
            layer(*argument(node["args"]), **argument(kwargs))
            made[layer.name, i] = layer._calls[-1]
        waiting = [entry for entry in waiting if entry not in ready]

    def structure(places: Any) -> Any:
        if isinstance(places, Mapping):
            return {key: structure(item) for key, item in places.items()}
        if len(places) == 3 and isinstance(places[0], str):
            return symbol(places)
        return [structure(item) for item in places]

    return cls(inputs=structure(config["input_layers"]), outputs=structure(config["output_layers"]),
               name=config.get("name"), trainable=config.get("trainable", True))  # fmt: skip


__all__ = ["load_model", "load_weights", "save_model", "save_weights"]
