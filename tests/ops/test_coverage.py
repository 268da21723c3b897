"""Every op of the package has a Case row, and every differentiable one is differentiated by it."""

import importlib
from collections import Counter
from pathlib import Path

from opcheck import SAMPLES
from weft import autograd, ops  # noqa: F401  (importing ops makes every op)

EXCUSED: dict[str, str] = {}  # body name: why no case runs it


def all_cases():
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        if path.stem != "test_coverage":
            spec = importlib.util.spec_from_file_location(f"cases_{path.stem}", path)
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            yield from getattr(module, "CASES", [])


def test_every_op_has_a_case():
    ran, differentiated = Counter(), Counter()
    cases = list(all_cases())

    def observer(body, arrays, out):
        ran[body] += 1

    autograd.observers.append(observer)
    try:
        for case in cases:
            out, _ = case.call(case.sample(0), recorded=case.grad)
            outs = out if isinstance(out, (tuple, list)) else [out]
            for node in autograd.forward_order([o.node for o in outs if getattr(o, "node", None) is not None]):
                differentiated[node.body] += 1
    finally:
        autograd.observers.remove(observer)
    ours = [b for b in autograd.bodies if b.__module__.startswith("weft.")]
    missing = sorted({f"{b.__module__}.{b.__qualname__}" for b in ours if b not in ran and b.__name__ not in EXCUSED})
    assert not missing, f"no Case row runs: {missing}"
    assert len(differentiated) >= 60
    third = {c.fn.__name__ for c in cases if c.grad and c.order >= 3}
    assert len(third) >= 10 and {"layer_norm", "dropout", "scaled_dot_product_attention"} <= third, sorted(third)
    assert SAMPLES >= 20
