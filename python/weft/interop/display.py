"""Tensors and Modules as HTML, for notebooks: what Jupyter shows of the last value of a cell."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from weft.backends.device import on_host

if TYPE_CHECKING:
    from weft.autograd import Tensor
    from weft.nn.module import Module

EDGE = 4  # rows and columns shown at each end of a long axis
CELL = "padding:2px 8px;text-align:right;font-family:monospace"
HEAD = "padding:2px 8px;text-align:left;opacity:0.6;font-weight:normal"


def ends(n: int) -> list[int | None]:
    """The positions along an axis of length n that are shown, None for those left out."""
    return list(range(n)) if n <= 2 * EDGE + 1 else [*range(EDGE), None, *range(n - EDGE, n)]


def number(value: Any) -> str:
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value))
    return f"{value:d}" if isinstance(value, (int, np.integer)) else f"{value:.5g}"


def table(values: Any) -> str:
    """A matrix (R, C) as an HTML table with the indices of its rows and columns."""
    rows, columns = map(ends, values.shape)
    head = "".join(f'<th style="{HEAD};text-align:right">{"…" if j is None else j}</th>' for j in columns)
    lines = [f"<tr><th></th>{head}</tr>"]
    for i in rows:
        cells = [escape("…" if i is None or j is None else number(values[i, j].item())) for j in columns]
        lines.append(
            f'<tr><th style="{HEAD}">{"…" if i is None else i}</th>'
            + "".join(f'<td style="{CELL}">{cell}</td>' for cell in cells)
            + "</tr>"
        )
    return f'<table style="border-collapse:collapse;margin-top:4px">{"".join(lines)}</table>'


def tensor_html(x: Tensor) -> str:
    """Shape, dtype, device and origin, the range of the values, and those of the first matrix."""
    facts = [" × ".join(map(str, x.shape)) or "no axes", str(x.dtype), x.device]
    facts += [f"from {x.node.name}"] if x.node is not None else ["requires a gradient"] if x.requires_grad else []
    line = f"<b>{escape(type(x).__name__)}</b> " + escape(" · ".join(facts))
    if not x.size:
        return f"<div>{line}</div>"
    raw = on_host(x.data)
    values = raw.astype(np.float32) if raw.dtype.kind == "V" else raw
    if x.size > 1 and values.dtype.kind in "iuf":
        line += f" · from {number(values.min().item())} to {number(values.max().item())}"
    title = ""
    if values.ndim > 2:
        title = f'<div style="opacity:0.6">[{", ".join("0" * (values.ndim - 2))}, :, :]</div>'
        values = values[(0,) * (values.ndim - 2)]
    return f"<div>{line}{title}{table(values.reshape(1, -1) if values.ndim < 2 else values)}</div>"


def layer_html(name: str, module: Module) -> str:
    """One layer with its children folded inside it."""
    count = sum(p.size for p in module.parameters())
    text = f"<b>{escape(type(module).__name__)}</b>({escape(module.extra_repr())})"
    text = (f"{escape(name)}: " if name else "") + text + f' <span style="opacity:0.6">{count:,} parameters</span>'
    children = [layer_html(path, child) for path, child in module.named_children()]
    if not children:
        return f'<div style="font-family:monospace;margin-left:16px">{text}</div>'
    is_open = " open" if not name else ""
    return (
        f'<details{is_open} style="font-family:monospace;margin-left:{16 if name else 0}px"><summary>{text}</summary>'
        f"{''.join(children)}</details>"
    )


def module_html(module: Module) -> str:
    """The tree of layers, to be unfolded, each with its parameters counted."""
    return layer_html("", module)
