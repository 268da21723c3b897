"""Where in a program a text or a function was written, so that what a compiler says of it names the user's own line."""

from __future__ import annotations

import ast
import linecache
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

PACKAGE = str(Path(__file__).resolve().parents[1])


def caller() -> FrameType | None:
    """The innermost frame outside of Weft."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(PACKAGE):
        frame = frame.f_back
    return frame


def text_in(frame: FrameType | None, text: str) -> tuple[str, int] | None:
    """(file, line) of the first line of `text`, a string literal (dedented or not) of the file that `frame` runs.

    The last literal that starts at or before the running line counts, else the first after it. None where the file is
    not to be had, or nothing in it is that text.
    """
    if frame is None:
        return None
    file = frame.f_code.co_filename
    try:
        tree = ast.parse("".join(linecache.getlines(file)))
    except SyntaxError:
        return None
    lines = sorted(
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and text in (node.value, textwrap.dedent(node.value))
    )
    if not lines:
        return None
    before = [line for line in lines if line <= frame.f_lineno]
    return file, before[-1] if before else lines[0]


def place_of(function: Any) -> str:
    """`file:line` of a function, for messages."""
    code = getattr(function, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else "an unknown place"


def wanted(function: Any) -> tuple[str, ...]:
    """The names of a Python function's parameters."""
    code = function.__code__
    return tuple(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])


def call(function: Any, values: Mapping[str, Any], what: str) -> Any:
    """`function` with those of `values` that its parameters name; TypeError names the one that does not exist."""
    names = wanted(function)
    unknown = [name for name in names if name not in values]
    if unknown:
        known = ", ".join(values)
        raise TypeError(f"{what} ({place_of(function)}): expected parameters among {known}, got {unknown[0]!r}")
    return function(**{name: values[name] for name in names})
