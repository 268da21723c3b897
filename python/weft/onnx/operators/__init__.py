"""ONNX's operators as functions over weft's ops: one table, (domain, name) and the opset from which it holds.

    @operator("Elu", 6)
    def elu(x, *, alpha=1.0): ...

Positional parameters are the node's inputs, None for one that is left out; keyword parameters are its attributes, by
name, with the standard's defaults, so an attribute that a function does not take is refused and never ignored. A
function that wants `context` gets the number of outputs, the opset and what runs inner graphs. Integers that say how
(axes, shapes) are read on the host; floating values go through weft's ops, so gradients flow.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any, NamedTuple


class Operator(NamedTuple):
    """One entry of the table."""

    since: int
    function: Callable[..., Any]
    attributes: dict[str, bool]  # name -> whether it must be given
    least: int
    most: float  # inputs; infinite for a variable number
    wants_context: bool


TABLE: dict[tuple[str, str], list[Operator]] = {}


def operator(name: str, since: int = 1, *, domain: str = "") -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter a function into the table, as `name` from opset `since` up to the next entry of that name."""

    def enter(function: Callable[..., Any]) -> Callable[..., Any]:
        parameters = inspect.signature(function).parameters.values()
        inputs = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        many = any(p.kind is p.VAR_POSITIONAL for p in parameters)
        attributes = {p.name: p.default is p.empty for p in parameters if p.kind is p.KEYWORD_ONLY}
        wants_context = attributes.pop("context", None) is not None
        least = sum(p.default is p.empty for p in inputs)
        entry = Operator(since, function, attributes, least, math.inf if many else len(inputs), wants_context)
        entries = TABLE.setdefault((domain, name), [])
        if any(e.since == since for e in entries):
            raise ValueError(f"operator: expected {name} from opset {since} once, got it twice")
        entries.append(entry)
        entries.sort(key=lambda e: e.since)
        return function

    return enter


def find(domain: str, name: str, version: int) -> Operator | None:
    """The entry that holds at an opset, or None."""
    import_all()
    found = [e for e in TABLE.get((domain, name), ()) if e.since <= version]
    return found[-1] if found else None


def import_all() -> None:
    from weft.onnx.operators import (  # noqa: F401
        activation,
        attention,
        cast,
        control,
        conv,
        elementwise,
        image,
        index,
        norm,
        pool,
        quantise,
        reduce,
        rnn,
        shape,
        signal,
        training,
    )
