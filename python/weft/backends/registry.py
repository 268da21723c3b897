"""The table of primitives: what a hot op means, and which faster entry runs for which arrays.

A primitive is its reference, array code that is right on every device. Entries registered with `on` replace it for one
array type and one pattern of dtypes. Arrays are the positional arguments of a primitive, parameters its keywords.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from operator import attrgetter
from typing import Any

dtype_char = attrgetter("dtype.char")
PRIMITIVES: dict[str, Primitive] = {}


class Primitive:
    """A reference and its entries, looked up by (type of the first array, dtype character of each array)."""

    def __init__(self, reference: Callable[..., Any]):
        self.reference = reference
        self.__name__ = reference.__name__
        self.__doc__ = reference.__doc__
        self.entries: list[tuple[type, re.Pattern[str], Callable[..., Any]]] = []
        self.found: dict[tuple[Any, ...], Callable[..., Any]] = {}

    def __call__(self, *arrays: Any, **params: Any) -> Any:
        try:
            entry = self.found.get((type(arrays[0]), *map(dtype_char, arrays)))
        except AttributeError:  # None or a list among the arguments
            entry = None
        return (entry or self.select(arrays))(*arrays, **params)

    def select(self, arrays: tuple[Any, ...]) -> Callable[..., Any]:
        """The callable that runs for these arrays: an entry, or the reference where none matches."""
        # multi-tensor primitives take lists of arrays; dtypes agree within a list
        heads = [a[0] if type(a) is list else a for a in arrays if a is not None and (type(a) is not list or a)]
        key = (type(heads[0]), *map(dtype_char, heads))
        entry = self.found.get(key)
        if entry is None:
            entry = self.match(key[0], "".join(key[1:]))
            if wrap is not None:
                entry = wrap(self.__name__, entry, entry is self.reference)
            self.found[key] = entry
        return entry

    def match(self, array_type: type, chars: str) -> Callable[..., Any]:
        load = getattr(array_type, "load_entries", None)  # those of devices are imported with their first array
        if load is not None:
            load()
        for kind, pattern, entry in self.entries:
            if kind is array_type and pattern.fullmatch(chars):
                return entry
        return self.reference

    def on(self, array_type: type, dtypes: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Register an entry for `array_type` where the dtype characters of all arrays match the regex `dtypes`."""

        def register(entry: Callable[..., Any]) -> Callable[..., Any]:
            self.entries.append((array_type, re.compile(dtypes), entry))
            self.found.clear()
            return entry

        return register


def primitive(reference: Callable[..., Any]) -> Primitive:
    """Make `reference` a primitive under its own name."""
    made = PRIMITIVES[reference.__name__] = Primitive(reference)
    return made


wrap: Callable[[str, Callable[..., Any], bool], Callable[..., Any]] | None = None


def wrap_entries(by: Callable[[str, Callable[..., Any], bool], Callable[..., Any]] | None) -> None:
    """Let `by(primitive, entry, whether it is the reference)` stand for every entry from here on; None: no more.

    What it gives has the entry as `__wrapped__`. Calls cost what they did: an entry is looked up once.
    """
    global wrap
    wrap = by
    for each in PRIMITIVES.values():
        each.found.clear()


def which(name: str, *arrays: Any) -> str:
    """Name what would run: the module of the entry, or "reference"; for a matrix product on a GPU its kernel and tile.

    name: a primitive; arrays: what it would be called with. KeyError names the known ones.

    >>> import numpy, weft
    >>> weft.which("softmax", numpy.ones((2, 3)))
    'reference'
    """
    if name not in PRIMITIVES:
        raise KeyError(f"which: expected one of {', '.join(sorted(PRIMITIVES))}, got {name!r}")
    chosen = PRIMITIVES[name]
    raw = tuple(a.data if hasattr(a, "requires_grad") else a for a in arrays)
    entry = chosen.select(raw)
    if wrap is not None:
        entry = getattr(entry, "__wrapped__", entry)
    if entry is chosen.reference:
        return "reference"
    module = entry.__module__.removeprefix("weft.backends.")
    describe = getattr(entry, "describe", None)  # of an entry that chooses among kernels
    return f"{module}: {describe(*raw)}" if describe else module
