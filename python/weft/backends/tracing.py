"""Who is told what runs while `weft.profile` is on: nobody, as a rule, and then asking costs one comparison.

`tracer` is asked by ops (autograd) and launches (launch); entries of primitives are wrapped by `registry.wrap`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol


class Tracer(Protocol):
    def op(self, name: str, body: Callable[..., Any], arrays: list[Any], params: dict[str, Any]) -> tuple[Any, Any]:
        """The result of body(*arrays, **params), and its vjp."""

    def launch(self, way: Callable[..., None], kernel: Any, grid: Any, block: Any, arguments: Any, *rest: Any) -> None:
        """Launch a kernel by way(kernel, grid, block, arguments, *rest)."""


class State:
    tracer: Tracer | None = None


state = State()
