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
Test = Callable[[dict[str, Any]], bool]
TABLE: dict[Any, tuple[Entry, Test | None]] = {}  # the function of an op, or the name of one of weft.ops


def exports(*ops: Any, when: Test | None = None) -> Callable[[Entry], Entry]:
    """Enter a function into the table, for ops of weft by the name of their function, or for an op of your own.

    when: whether it can write an op with these parameters; the op is written out as smaller ones where it cannot.

    >>> @weft.onnx.exports(cube)                                                            # doctest: +SKIP
    ... def cube_as_nodes(to, x):
    ...     return to.node("Pow", x, to.constant(3, x.dtype))
    """

    def enter(function: Entry) -> Entry:
        for op in ops:
            TABLE[getattr(op, "body", op)] = function, when
        return function

    return enter


def entry(body: Any, params: dict[str, Any]) -> Entry | None:
    """What writes the nodes of an op, or None."""
    import_all()
    ours = body.__module__.startswith("weft.ops.") or body.__module__ == autograd.__name__
    function, when = TABLE.get(body) or TABLE.get(body.__name__ if ours else None) or (None, None)
    return function if when is None or when(params) else None


def import_all() -> None:
    from weft.onnx.exporters import elementwise, layers, move, reduce, rnn  # noqa: F401
