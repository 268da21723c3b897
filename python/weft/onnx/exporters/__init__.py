"""Weft's ops as ONNX operators: one table, from the function of an op to what writes its nodes.

    @exports("softmax")
    def softmax(to, x, *, axis=-1):
        return to.node("Softmax", x, axis=axis)

An entry gets the Emitter, the op's inputs (Values; Python numbers and None as they are) and its parameters, in which a
number that follows a dynamic axis is a Sym. It returns the name of its output, or a tuple of names. An op without an
entry is written out as the smaller ops that it means on Tensors, where it can be.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from weft import autograd

Entry = Callable[..., Any]
TABLE: dict[Any, Entry] = {}  # the function of an op, or the name of one of weft.ops


def exports(*ops: Any) -> Callable[[Entry], Entry]:
    """Enter a function into the table, for ops of weft by the name of their function, or for an op of your own.

    >>> @weft.onnx.exports(cube)                                                            # doctest: +SKIP
    ... def cube_as_nodes(to, x):
    ...     return to.node("Pow", x, to.constant(3, x.dtype))
    """

    def enter(function: Entry) -> Entry:
        for op in ops:
            TABLE[getattr(op, "body", op)] = function
        return function

    return enter


def entry(body: Any) -> Entry | None:
    """What writes the nodes of an op, or None."""
    import_all()
    if body in TABLE:
        return TABLE[body]
    ours = body.__module__.startswith("weft.ops.") or body.__module__ == autograd.__name__
    return TABLE.get(body.__name__) if ours else None


def import_all() -> None:
    from weft.onnx.exporters import elementwise, layers, move, reduce, rnn  # noqa: F401
