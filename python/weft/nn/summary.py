"""The table that `Module.summary` prints."""

from __future__ import annotations

from typing import Any

from weft import ops
from weft.autograd import no_grad
from weft.nn.module import Module, evaluating


def summary(module: Module, *inputs: Any) -> str:
    rows: dict[int, list[Any]] = {}
    counted: set[int] = set()
    for path, layer in module.named_modules():
        own = [p for p in layer.parameters(recurse=False) if id(p) not in counted]
        counted.update(map(id, own))  # a shared parameter counts where it appears first
        rows[id(layer)] = [
            f"{path} ({type(layer).__name__})" if path else type(layer).__name__,
            "-",
            sum(p.size for p in own),
        ]

    def note(layer: Module, args: Any, out: Any) -> None:
        rows[id(layer)][1] = shapes(out)

    handles = [layer.register_forward_hook(note) for layer in module.modules()]
    try:
        with evaluating(module), no_grad():
            first = next(iter(module.parameters()), None)
            device = None if first is None else first.device
            module(*[ops.zeros(x, device=device) if isinstance(x, tuple) else x for x in inputs])
    finally:
        for handle in handles:
            handle.remove()
    total = sum(p.size for p in module.parameters())
    trained = sum(p.size for p in module.parameters() if p.requires_grad)
    table = [("layer", "output", "parameters"), *[(name, shape, f"{n:,}") for name, shape, n in rows.values()]]
    left, middle, right = (max(len(row[i]) for row in table) for i in range(3))
    lines = [f"{a:<{left}}  {b:<{middle}}  {c:>{right}}" for a, b, c in table]
    lines.insert(1, "-" * len(lines[0]))
    ending = f"{total:,} parameters" + (f", {trained:,} of them trained" if trained != total else "")
    return "\n".join([*lines, lines[1], ending])


def shapes(out: Any) -> str:
    if isinstance(out, (tuple, list)):
        return ", ".join(shapes(o) for o in out if o is not None)
    return str(tuple(out.shape)) if hasattr(out, "shape") else type(out).__name__
