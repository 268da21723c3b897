"""Modules that hold modules, and the ones that only change shapes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, overload

from weft.nn.module import Module


class Sequential(Module):
    """Calls its modules one after the other: `Sequential(a, b)` or `Sequential({"first": a, "second": b})`.

    State names are the positions ("0.weight"), or the keys.

    >>> import weft; from weft import nn
    >>> nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))(weft.zeros((5, 4))).shape
    (5, 2)
    """

    def __init__(self, *args: Module | Mapping[str, Module]):
        named = args[0].items() if len(args) == 1 and isinstance(args[0], Mapping) else enumerate(args)
        for name, module in named:
            setattr(self, checked(self, name), expect(self, name, module))

    def forward(self, x: Any) -> Any:
        for module in self.__dict__.values():
            if isinstance(module, Module):
                x = module(x)
        return x

    def append(self, module: Module) -> Sequential:
        numbers = [int(name) for name, _ in self.named_children() if name.isdecimal()]
        i = max([len(self), *[n + 1 for n in numbers]])  # a slice keeps the numbers that its modules had
        setattr(self, str(i), expect(self, i, module))
        return self

    def __len__(self) -> int:
        return len(list(self.children()))

    def __iter__(self) -> Iterator[Module]:
        return iter(list(self.children()))

    @overload
    def __getitem__(self, i: int) -> Module: ...
    @overload
    def __getitem__(self, i: slice) -> Sequential: ...
    def __getitem__(self, i: Any) -> Any:
        """The i-th module, or a Sequential of a slice, which shares the modules."""
        if isinstance(i, slice):
            return Sequential(dict(list(self.named_children())[i]))
        return list(self.children())[i]

    def __setitem__(self, i: int, module: Module) -> None:
        setattr(self, [name for name, _ in self.named_children()][i], expect(self, i, module))


class ModuleList(Module):
    """A list of modules that registers them; it is not called itself.

    >>> from weft import nn
    >>> len(nn.ModuleList(nn.Linear(4, 4) for _ in range(3)))
    3
    """

    def __init__(self, modules: Iterable[Module] | None = None):
        self.extend(() if modules is None else modules)

    def append(self, module: Module) -> ModuleList:
        return self.extend([module])

    def extend(self, modules: Iterable[Module]) -> ModuleList:
        for i, module in enumerate(modules, len(self)):
            setattr(self, str(i), expect(self, i, module))
        return self

    def insert(self, i: int, module: Module) -> None:
        self._refill([*list(self)[:i], expect(self, i, module), *list(self)[i:]])

    def _refill(self, modules: list[Module]) -> None:
        for name in [name for name, _ in self.named_children()]:
            delattr(self, name)
        self.extend(modules)

    def __len__(self) -> int:
        return len(list(self.children()))

    def __iter__(self) -> Iterator[Module]:
        return iter(list(self.children()))

    @overload
    def __getitem__(self, i: int) -> Module: ...
    @overload
    def __getitem__(self, i: slice) -> ModuleList: ...
    def __getitem__(self, i: Any) -> Any:
        found = list(self.children())[i]
        return ModuleList(found) if isinstance(i, slice) else found

    def __setitem__(self, i: int, module: Module) -> None:
        setattr(self, [name for name, _ in self.named_children()][i], expect(self, i, module))

    def __delitem__(self, i: int | slice) -> None:
        modules = list(self)
        del modules[i]
        self._refill(modules)


class ModuleDict(Module):
    """A dict of modules that registers them; it is not called itself.

    >>> heads = nn.ModuleDict({"age": nn.Linear(4, 1), "name": nn.Linear(4, 9)})
    >>> heads["name"](weft.ones((2, 4))).shape
    (2, 9)
    """

    def __init__(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] | None = None):
        self.update({} if modules is None else modules)

    def update(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]) -> None:
        for name, module in dict(modules).items():
            self[name] = module

    def __getitem__(self, name: str) -> Module:
        return dict(self.named_children())[name]

    def __setitem__(self, name: str, module: Module) -> None:
        setattr(self, checked(self, name), expect(self, name, module))

    def __delitem__(self, name: str) -> None:
        delattr(self, name)

    def __contains__(self, name: str) -> bool:
        return name in dict(self.named_children())

    def __len__(self) -> int:
        return len(list(self.children()))

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def keys(self) -> list[str]:
        return [name for name, _ in self.named_children()]

    def values(self) -> list[Module]:
        return list(self.children())

    def items(self) -> list[tuple[str, Module]]:
        return list(self.named_children())


class Identity(Module):
    """Returns its input; takes and ignores any arguments, so it can stand in for a layer.

    >>> nn.Identity()(weft.asarray([1.0, 2.0])).numpy()
    array([1., 2.], dtype=float32)
    """

    def __init__(self, *args: Any, **kwargs: Any):
        pass

    def forward(self, x: Any) -> Any:
        return x


class Flatten(Module):
    """Merges the dimensions from start_dim to end_dim.  (N, ...) -> (N, product) by default.

    >>> nn.Flatten()(weft.ones((2, 3, 4))).shape
    (2, 12)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1):
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Any) -> Any:
        from weft.nn.functional import flatten

        return flatten(x, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Splits dimension `dim` into `unflattened_size`, one of which may be -1.

    >>> nn.Unflatten(1, (2, 3))(weft.ones((4, 6))).shape
    (4, 2, 3)
    """

    def __init__(self, dim: int, unflattened_size: tuple[int, ...]):
        self.dim, self.unflattened_size = dim, tuple(unflattened_size)

    def forward(self, x: Any) -> Any:
        from weft.nn.functional import unflatten

        return unflatten(x, self.dim, self.unflattened_size)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"


def expect(owner: Module, name: Any, module: Any) -> Module:
    if not isinstance(module, Module):
        raise TypeError(f"{type(owner).__name__}: expected a Module at {name!r}, got {type(module).__name__}")
    return module


def checked(owner: Module, name: Any) -> str:
    """A name that can be an attribute and part of a path."""
    name = str(name)
    if not name or "." in name or hasattr(type(owner), name):
        raise KeyError(f"{type(owner).__name__}: expected a name without dots that is no method, got {name!r}")
    return name
