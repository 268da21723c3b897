"""Weft as a backend of onnx's own tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx.backend.base
from onnx import TensorProto

from weft.autograd import Tensor, no_grad
from weft.backends.device import devices
from weft.onnx.module import OnnxModule, parsed
from weft.onnx.tensors import External, to_array


class Backend(onnx.backend.base.Backend):
    """`onnx.backend.base.Backend` on weft's ops: `weft.onnx.Backend.prepare(model).run(inputs)`.

    >>> outputs = weft.onnx.Backend.run_model(model, [x])                                   # doctest: +SKIP
    """

    @classmethod
    def prepare(cls, model: Any, device: str = "CPU", **kwargs: Any) -> Prepared:
        """The model (a ModelProto), checked and on a device; ValueError for what is wrong with it."""
        module = OnnxModule(parsed(model.SerializeToString(), "onnx.Backend"))
        return Prepared(module.to(device="cpu" if device == "CPU" else device.lower()))

    @classmethod
    def supports_device(cls, device: str) -> bool:
        return any(name.partition(":")[0] == device.lower().partition(":")[0] for name in devices())


class Prepared(onnx.backend.base.BackendRep):
    """A model that is ready to run on arrays."""

    def __init__(self, module: OnnxModule):
        self.module = module

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """NumPy arrays (or lists of them, or None) in the order of the graph -> its outputs as such."""
        if kwargs:
            raise ValueError(f"onnx.Backend: expected no options, got {', '.join(kwargs)}")
        with no_grad():
            out = self.module(*[given(x) for x in inputs])
        single = len(self.module.output_names) == 1
        return tuple(returned(x) for x in ((out,) if single else out))


def given(x: Any) -> Any:
    if isinstance(x, TensorProto):
        return to_array(x, External(None))
    if isinstance(x, (list, tuple)):
        return [given(y) for y in x]
    return x if x is None else np.asarray(x)


def returned(x: Any) -> Any:
    return x.numpy() if isinstance(x, Tensor) else [returned(y) for y in x] if isinstance(x, list) else x
