"""An export, run by onnxruntime and by Weft's own importer, at the sizes it was made with and at others."""

from __future__ import annotations

import numpy as np

import weft
from weft.autograd import Tensor


def arrays(out):
    """The Tensors in what a module returned, as arrays."""
    if isinstance(out, Tensor):
        return [out.numpy()]
    if isinstance(out, dict):
        out = list(out.values())
    return [a for part in out for a in arrays(part)] if isinstance(out, (tuple, list)) else []


def session(path):
    import onnxruntime

    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def run_ort(runtime, inputs):
    return runtime.run(None, {i.name: x for i, x in zip(runtime.get_inputs(), inputs, strict=True)})


def longer(x, axes, more=3):
    """x with `more` of its own entries again along some axes."""
    for axis in axes:
        x = np.take(x, np.arange(x.shape[axis] + more) % x.shape[axis], axis=axis)
    return x


def check_export(module, inputs, path, opset, dynamic=None, tolerance=1e-4):
    """Export, then compare onnxruntime's and the importer's outputs with the module's, for two lengths."""
    options = {} if dynamic is None else {"dynamic_axes": dynamic}
    weft.onnx.export(module, inputs, path, opset=opset, **options)
    runtime, back = session(path), weft.onnx.load(path)
    module.eval()
    given = [x for x in inputs if x is not None]
    names = [i.name for i in runtime.get_inputs()]
    if dynamic is None:
        grown = [longer(x, (0,) if x.ndim else ()) for x in given]
    else:
        grown = [longer(x, sorted(dynamic.get(name, ()))) for name, x in zip(names, given, strict=True)]
    for values in (given, grown):
        rest = iter(values)
        with weft.no_grad():
            want = arrays(module(*[None if x is None else weft.asarray(next(rest)) for x in inputs]))
            ours = arrays(back(*values))
        found = run_ort(runtime, values)
        assert len(want) == len(found) == len(ours)
        for a, b, c in zip(want, found, ours):
            assert a.dtype == b.dtype == c.dtype
            scale = max(np.abs(a[np.isfinite(a)]).max(initial=0), 1) if a.dtype.kind == "f" else 1
            np.testing.assert_allclose(b, a, rtol=tolerance, atol=tolerance * scale)
            np.testing.assert_allclose(c, a, rtol=tolerance, atol=tolerance * scale)
    return runtime
