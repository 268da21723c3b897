"""A user's kernel under every check of the emulated device."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from weft.autograd import Tensor, no_grad
from weft.backends import emulator
from weft.backends.device import on_host, place
from weft.custom.declaration import DTYPES

if TYPE_CHECKING:
    from weft.custom.cuda_kernel import CudaKernel

#: How far a kernel may be from its reference, of the largest value.
CLOSE = {"d": 1e-12, "f": 1e-5, "e": 4e-3, "E": 3e-2}


def check(kernel: CudaKernel, inputs: Sequence[Any], scalars: Mapping[str, Any]) -> Any:
    """Run `kernel` on the emulated device: checked (races, bounds, uninitialised values) under every schedule, with
    async copies early and late, and as it runs there otherwise; all results must be bitwise equal. Compare them with
    the reference, and the vjp with differences where float64 is among the types.

    inputs: Tensors or NumPy arrays, on any device -> the outputs, on "emulated".  `EmulatorError` names block, thread
    and the user's line; AssertionError names two runs, or a result and the reference, that differ.
    """
    values = [on_host(x.data if isinstance(x, Tensor) else x) for x in inputs]
    ways: list[dict[str, Any]] = []
    for schedule, late in itertools.product(emulator.SCHEDULES, (True, False)):
        ways.append({"checked": True, "schedule": schedule, "late": late, "seed": len(ways)})
    ways.append({"checked": False})
    first: Any = None
    with no_grad():
        for way in ways:
            with emulator.settings(**way):
                got = kernel(*[Tensor(place(x, "emulated")) for x in values], **scalars)
            many = got if isinstance(got, tuple) else (got,)
            found = [on_host(x.data) for x in many]
            if first is None:
                first, results = got, found
            for name, a, b in zip(kernel.outputs, results, found):
                if a.tobytes() != b.tobytes():
                    raise AssertionError(f"{kernel.name}: {name}: expected one result, got two: with {ways[0]}, {way}")
    if kernel.reference is not None:
        compare(kernel, results, values, scalars)
    if kernel.vjp is not None:
        check_gradient(kernel, values, scalars)
    return first


def compare(kernel: CudaKernel, results: Sequence[Any], values: Sequence[Any], scalars: Mapping[str, Any]) -> None:
    """Hold results against the reference's."""
    with no_grad():
        wanted = kernel(*[Tensor(place(x, "cpu")) for x in values], **scalars)
    wanted = wanted if isinstance(wanted, tuple) else (wanted,)
    for name, a, b in zip(kernel.outputs, results, wanted):
        if a.shape != b.shape or a.dtype != b.dtype:
            raise AssertionError(
                f"{kernel.name}: {name}: expected the reference to give {a.dtype} {a.shape}, got {b.dtype} {b.shape}"
            )
        exact, got = np.asarray(b.data, np.float64), a.astype(np.float64)
        distance = np.abs(got - exact).max(initial=0.0)
        if not distance <= CLOSE.get(a.dtype.char, 0) * max(np.abs(exact).max(initial=0.0), 1e-30):
            where = np.unravel_index(np.abs(got - exact).argmax(), a.shape)
            raise AssertionError(
                f"{kernel.name}: {name}: expected the reference's {exact[where]:.9g} at {tuple(map(int, where))}, "
                f"got {got[where]:.9g}"
            )


def check_gradient(kernel: CudaKernel, values: Sequence[Any], scalars: Mapping[str, Any]) -> None:
    """Hold the vjp against differences, in float64, where the kernel can be compiled for it."""
    from weft import testing

    doubles = []
    for array, x in zip(kernel.inputs.values(), values):
        choices = kernel.types.get(array.type, (array.type,))
        if x.dtype.kind in "fV" and "float64" not in choices:
            return
        doubles.append(x.astype(np.float64) if DTYPES["float64"] in [DTYPES[c] for c in choices] else x)

    def on_device(*tensors: Tensor) -> Any:
        out = kernel(*[t.to_device("emulated") for t in tensors], **scalars)
        return tuple([x.to_device("cpu") for x in (out if isinstance(out, tuple) else (out,))])

    on_device.__name__ = kernel.name
    testing.gradcheck(on_device, doubles)
