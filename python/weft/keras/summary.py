"""Keras's table of a model."""

from __future__ import annotations

from typing import Any

from weft.keras.symbols import leaves

UNITS = ("B", "KB", "MB", "GB", "TB")


def size(n: float) -> str:
    """Bytes in words."""
    unit = 0
    while n >= 1024 and unit < len(UNITS) - 1:
        n, unit = n / 1024, unit + 1
    return f"{n:.2f} {UNITS[unit]}"


def shape_of(layer: Any) -> str:
    if layer._calls:
        shapes = [tuple(x.shape) for x in leaves(layer._calls[0].structure)]
        return str(shapes[0]) if len(shapes) == 1 else str(shapes)
    return "?" if layer.built else "? (unbuilt)"


def rows_of(layer: Any, nested: bool, depth: int) -> list[tuple[str, ...]]:
    count = f"{layer.count_params():,}" if layer.built else "0 (unbuilt)"
    indent = "  " * depth
    row = (f"{indent}{layer.name} ({type(layer).__name__})", shape_of(layer), count, "Y" if layer.trainable else "N")
    rows: list[tuple[str, ...]] = [row]
    if nested:
        for child in getattr(layer, "layers", ()):
            rows += rows_of(child, nested, depth + 1)
    return rows


def summary(model: Any, line_length: int | None, expand_nested: bool, show_trainable: bool) -> str:
    """The table: name and class, output shape, parameters; then totals with their sizes."""
    head: tuple[str, ...] = ("Layer (type)", "Output Shape", "Param #", "Trainable")
    functional = model.graph is not None and not hasattr(model, "chain")
    rows = [row for layer in model.layers for row in rows_of(layer, expand_nested, 0)]
    if functional and not expand_nested:
        head = (*head, "Connected to")
        rows = [(*row, ", ".join(f"{x.name}[{x.index}][0]" for call in layer._calls[:1] for x in call.inputs) or "-")
                for row, layer in zip(rows, model.layers)]  # fmt: skip
    shown = [i for i in range(len(head)) if head[i] != "Trainable" or show_trainable]
    least = {"Layer (type)": 31, "Output Shape": 22, "Param #": 13, "Trainable": 5, "Connected to": 17}
    widths = [max([least[head[i]], len(head[i]), *[len(row[i]) for row in rows]]) for i in shown]
    if line_length is not None:
        widths[0] = max(widths[0], line_length - sum(widths[1:]) - 3 * len(widths) - 1)

    def line(cells: Any, bar: str) -> str:
        texts = [c.rjust(w) if head[i] == "Param #" else c.ljust(w) for c, w, i in zip(cells, widths, shown)]
        return f"{bar} " + f" {bar} ".join(texts) + f" {bar}"

    def rule(left: str, cross: str, right: str, dash: str) -> str:
        return left + cross.join(dash * (w + 2) for w in widths) + right

    lines = [f'Model: "{model.name}"', rule("┏", "┳", "┓", "━"), line([head[i] for i in shown], "┃")]
    lines.append(rule("┡", "╇", "┩", "━"))
    for k, row in enumerate(rows):
        lines += [rule("├", "┼", "┤", "─")] * bool(k) + [line([row[i] for i in shown], "│")]
    lines.append(rule("└", "┴", "┘", "─"))
    moved, fixed = model.trainable_weights, model.non_trainable_weights
    optimizer = optimizer_arrays(model)
    totals = [("Total", [(w.size, w.nbytes) for w in (*moved, *fixed)] + optimizer)]
    totals += [("Trainable", [(w.size, w.nbytes) for w in moved]),
               ("Non-trainable", [(w.size, w.nbytes) for w in fixed])]  # fmt: skip
    totals += [("Optimizer", optimizer)] * bool(optimizer)
    for name, sizes in totals:
        lines.append(f" {name} params: {sum(n for n, _ in sizes):,} ({size(sum(b for _, b in sizes))})")
    return "\n".join(lines)


def optimizer_arrays(model: Any) -> list[tuple[int, int]]:
    """(elements, bytes) of what the optimizer keeps."""
    inner = getattr(getattr(model, "optimizer", None), "inner", None)
    if inner is None:
        return []
    return [(v.size, v.nbytes) for state in inner.state.values() for v in state.values() if hasattr(v, "nbytes")]
