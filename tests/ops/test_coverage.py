"""Every op of the package has a Case row, and every differentiable one is differentiated by it."""

import importlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from opcheck import SAMPLES, gradients
from weft import autograd, ops  # noqa: F401  (importing ops makes every op)
from weft.backends.registry import PRIMITIVES

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
    ours = [b for b in autograd.bodies if b.__module__.startswith("weft.ops.")]
    missing = sorted({f"{b.__module__}.{b.__qualname__}" for b in ours if b not in ran and b.__name__ not in EXCUSED})
    assert not missing, f"no Case row runs: {missing}"
    assert len(differentiated) >= 60
    third = {c.fn.__name__ for c in cases if c.grad and c.order >= 3}
    assert len(third) >= 10 and {"layer_norm", "dropout", "scaled_dot_product_attention"} <= third, sorted(third)
    assert SAMPLES >= 20


# Primitives whose reference is meant to run in float32: they are cheap, or NumPy does them as well.
REFERENCE_SUFFICES = {
    "batch_norm_inference": "a few maps, which run on all threads",
    "running_statistics": "a number or two for each channel",
    **dict.fromkeys(
        ("linear_cross_entropy", "linear_cross_entropy_backward", "linear_cross_entropy_gradients"),
        "made of primitives that have native entries",
    ),
    "gated": "a product with an activation that has an entry",
    "gated_backward": "products with an activation and its gradient, which have entries",
}


@pytest.mark.needs("native")
def test_no_float32_case_falls_back(monkeypatch):
    """Every primitive that a case reaches with float32 arrays runs a native entry, forward and backward."""
    fell_back = Counter()

    def guarded(primitive, reference):
        def run(*arrays, **params):
            heads = [a[0] if isinstance(a, list) else a for a in arrays if a is not None and len(np.shape(a))]
            dtypes = (np.float32, np.int64, bool, np.uint8)
            if heads and all(type(a) is np.ndarray and a.dtype in dtypes for a in heads):
                fell_back[primitive.__name__] += 1
            return reference(*arrays, **params)

        return run

    for primitive in PRIMITIVES.values():
        monkeypatch.setattr(primitive, "reference", guarded(primitive, primitive.reference))
        monkeypatch.setattr(primitive, "found", {})
    for case in all_cases():
        gradients(case, case.sample(0, np.float32), 0)
    unexpected = {name: n for name, n in fell_back.items() if name not in REFERENCE_SUFFICES}
    assert not unexpected, f"float32 runs the reference of {unexpected}"
