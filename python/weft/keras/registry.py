"""Names and configurations: what an identifier such as "glorot_uniform" stands for, and what an object is as JSON.

The JSON has the form of Keras 3 (`module`, `class_name`, `config`, `registered_name`), so a configuration written by
either is read by the other. It names classes out of closed tables, those of this package and what the user registers or
hands over: a file can never name code.
"""

from __future__ import annotations

import contextlib
import difflib
import inspect
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

import numpy as np

TABLES: dict[str, Table] = {}
CUSTOM: dict[str, Any] = {}
MODELS = {"Functional": ("keras.src.models.functional", "Functional")}


class Configured:
    """Remembers the arguments it was made with: `get_config` and `from_config` need no code of a class's own."""

    _given: dict[str, Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        made = object.__new__(cls)
        with contextlib.suppress(TypeError):  # wrong arguments: `__init__` says which
            bound = inspect.signature(cls.__init__).bind(made, *args, **kwargs)
            bound.apply_defaults()
            given = dict(list(bound.arguments.items())[1:])
            for name, parameter in inspect.signature(cls.__init__).parameters.items():
                if parameter.kind is parameter.VAR_KEYWORD:
                    given |= given.pop(name, {})
                elif parameter.kind is parameter.VAR_POSITIONAL:
                    given.pop(name, None)
            object.__setattr__(made, "_given", given)
        return made

    def get_config(self) -> dict[str, Any]:
        """The arguments it was made with, as JSON can hold them."""
        return {name: serialize(value) for name, value in self._given.items()}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """What `get_config` was taken of, made anew."""
        return cls(**{name: revive(value) for name, value in config.items()})


class Table:
    """The objects of one kind: classes or functions, found by their names in either spelling.

    module: as in Keras's JSON. suffixless: whether an instance is made of a class that is found by name.
    """

    def __init__(self, what: str, module: str, entries: Mapping[str, Any], aliases: Mapping[str, str] | None = None):
        self.what, self.module, self.entries = what, module, dict(entries)
        self.aliases = {alias.lower(): name for alias, name in (aliases or {}).items()}
        self.spellings = {plain(name): name for name in entries}
        TABLES[module] = self

    def find(self, name: str) -> Any:
        """The class or function of a name; ValueError lists those there are."""
        if name in CUSTOM:
            return CUSTOM[name]
        known = self.aliases.get(name.lower()) or self.spellings.get(plain(name))
        if known is None:
            near = difflib.get_close_matches(plain(name), self.spellings, 1)
            hint = f" (nearest: {self.spellings[near[0]]})" if near else ""
            names = ", ".join(sorted({snake(name) if inspect.isclass(e) else name for name, e in self.entries.items()}))
            raise ValueError(f"{self.what}: expected one of {names}; got {name!r}{hint}")
        return self.entries[known]

    def get(self, identifier: Any) -> Any:
        """None, a name, a configuration, a class or an object of this kind -> the object, or None."""
        if isinstance(identifier, str):
            identifier = self.find(identifier)
        elif isinstance(identifier, Mapping):
            return deserialize(identifier)
        if inspect.isclass(identifier):
            return identifier()
        if identifier is not None and not callable(identifier) and not isinstance(identifier, Configured):
            raise TypeError(f"{self.what}: expected a name, an object or None, got {type(identifier).__name__}")
        return identifier


def plain(name: str) -> str:
    return name.replace("_", "").lower()


def snake(name: str) -> str:
    """The name of a class in small letters: "separable_conv2d" of "SeparableConv2D"."""
    name = re.sub(r"\W+", "", name)
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


counts: Counter[str] = Counter()


def unique_name(kind: str) -> str:
    """A name where none was given: "dense", "dense_1" and so on."""
    counts[kind] += 1
    return kind if counts[kind] == 1 else f"{kind}_{counts[kind] - 1}"


# ---- the user's own


def register_keras_serializable(package: str = "Custom", name: str | None = None) -> Callable[[Any], Any]:
    """A decorator that lets configurations name a class or function of the user's.

    >>> from weft import keras
    >>> @keras.utils.register_keras_serializable()
    ... def twice(x):
    ...     return 2 * x
    >>> keras.layers.deserialize(keras.layers.serialize(keras.layers.Activation(twice))).activation is twice
    True
    """

    def register(thing: Any) -> Any:
        CUSTOM[f"{package}>{name or thing.__name__}"] = CUSTOM[name or thing.__name__] = thing
        thing.registered_name = f"{package}>{name or thing.__name__}"
        return thing

    return register


@contextlib.contextmanager
def custom_object_scope(objects: Mapping[str, Any]) -> Iterator[None]:
    """Classes and functions by name that configurations may use inside.

    >>> from weft import keras
    >>> with keras.utils.custom_object_scope({"twice": lambda x: 2 * x}):
    ...     keras.activations.get("twice")(3)
    6
    """
    before = dict(CUSTOM)
    CUSTOM.update(objects)
    try:
        yield
    finally:
        CUSTOM.clear()
        CUSTOM.update(before)


# ---- JSON


def serialize(value: Any) -> Any:
    """A value of a configuration as JSON; TypeError names what cannot be written."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (list, tuple)):
        return [serialize(item) for item in value]
    if isinstance(value, Mapping):
        return {key: serialize(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, slice):
        parts = {"start": value.start, "stop": value.stop, "step": value.step}
        return {"class_name": "__slice__", "config": {name: serialize(part) for name, part in parts.items()}}
    if value is Ellipsis:
        return {"class_name": "__ellipsis__", "config": {}}
    if isinstance(value, (type, np.dtype)) and not isinstance(value, type(Configured)):
        return np.dtype(value).name
    if isinstance(value, Configured):
        kind = type(value)
        module = next((t.module for t in TABLES.values() if kind in t.entries.values()), None)
        registered = getattr(kind, "registered_name", None)
        if kind.__module__ == "weft.keras.models":  # Keras's own words for these
            module, registered = MODELS.get(kind.__name__, ("keras", None))
        config = value.get_config()
        return {"module": module, "class_name": kind.__name__, "config": config, "registered_name": registered}
    if callable(value):
        name = getattr(value, "__name__", type(value).__name__)
        builtin = any(value is entry for table in TABLES.values() for entry in table.entries.values())
        if builtin or not name.startswith("<"):
            return name if builtin else getattr(value, "registered_name", name)
    raise TypeError(f"get_config: expected numbers, texts, lists and named objects, got {value!r:.80}")


def revive(value: Any) -> Any:
    """A value of a configuration with the objects it describes."""
    if isinstance(value, Mapping) and "class_name" in value and "config" in value:
        return deserialize(value)
    if isinstance(value, (list, tuple)):
        return [revive(item) for item in value]
    return value


def deserialize(config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Any:
    """The object that a configuration describes; ValueError for a class that no table has."""
    if not isinstance(config, Mapping) or not isinstance(config.get("class_name"), str):
        raise ValueError(f"deserialize: expected a dict with class_name and config, got {config!r:.80}")
    with custom_object_scope(custom_objects or {}):
        name, module, inner = config["class_name"], config.get("module"), config.get("config")
        if name == "DTypePolicy":
            return inner["name"] if isinstance(inner, Mapping) else "float32"
        if name == "__slice__" and isinstance(inner, Mapping):
            return slice(inner.get("start"), inner.get("stop"), inner.get("step"))
        if name == "__ellipsis__":
            return Ellipsis
        if name == "__tuple__" and isinstance(inner, Mapping):
            return tuple(revive(inner.get("value", ())))
        if name == "function" and isinstance(inner, str):
            name, inner = inner, None
        found = CUSTOM.get(config.get("registered_name") or name, CUSTOM.get(name))
        tables = [TABLES[module]] if module in TABLES else list(TABLES.values())
        for table in tables:
            found = table.entries.get(name) if found is None else found
        if found is None:
            models = sys.modules.get("weft.keras.models")
            found = {k: getattr(models, k, None) for k in ("Sequential", "Functional", "Model")}.get(name)
        if found is None:
            known = ", ".join(sorted({entry for table in tables for entry in table.entries}))
            raise ValueError(
                f"deserialize: expected a class out of {known}, or one in custom_objects; got {name!r} of {module}"
            )
        return found.from_config(inner or {}) if hasattr(found, "from_config") else found
