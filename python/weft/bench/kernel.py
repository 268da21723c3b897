"""`weft bench kernel FILE:NAME`: a kernel of a user's own, beside its reference and a copy of as many bytes on a GPU;
on a CPU its reference alone. What the compiler makes of it needs no GPU.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from weft.bench.timing import in_turns
from weft.custom import declaration
from weft.custom.cuda_kernel import CudaKernel
from weft.custom.scalar_op import Elementwise

ELEMENTS = 1 << 20
CAPABILITIES = (75, 80, 86, 89, 90, 100, 120)


def find(words: str) -> tuple[str, Any]:
    """(NAME, what FILE calls so) of "FILE:NAME"; the file is run for it. ValueError names the kernels there are."""
    file, _, name = words.rpartition(":")
    path = Path(file)
    if not path.is_file() or path.suffix != ".py":
        raise ValueError(f"bench kernel: expected FILE.py:NAME, got {words!r}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"bench kernel: expected a Python file, got {file!r}")
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    kernel = getattr(module, name, None)
    kinds = (CudaKernel, Elementwise)
    if not isinstance(kernel, kinds):
        known = ", ".join(key for key, value in vars(module).items() if isinstance(value, kinds)) or "none"
        raise ValueError(f"bench kernel: expected a kernel of {file} ({known}), got {name!r}")
    return name, kernel


def measured_function(function: Elementwise, dtype: str, device: str, seconds: float) -> dict[str, Any]:
    """One row: a scalar function over a million elements, and the same as one array function after the other."""
    from weft import no_grad
    from weft.autograd import Tensor
    from weft.backends.device import place

    scalar, plain = function.scalar({}), function.scalar({}, interpreted=True)
    rng = np.random.default_rng(0)
    arity = len(scalar.program.parameters)
    values = [rng.standard_normal(ELEMENTS, dtype=np.float32).astype(declaration.DTYPES[dtype]) for _ in range(arity)]
    arrays = [Tensor(place(x, device)) for x in values]
    with no_grad():
        out = scalar.op(*arrays)
        runs = {"weft": lambda: scalar.op(*arrays), "arrays": lambda: plain.op(*arrays)}
        times = in_turns(runs, device, seconds)
    bytes_ = sum(x.nbytes for x in (*arrays, out))
    return {"what": f"{scalar.program.name} {dtype} {ELEMENTS}", "dtype": dtype, "bytes": bytes_, "times": times}


def inputs(kernel: CudaKernel, dtype: str) -> list[np.ndarray[Any, Any]]:
    """Random inputs of the example's sizes; type variables are `dtype`."""
    unknown = [
        size
        for array in kernel.inputs.values()
        for size in array.sizes
        if not size.isdigit() and size.lstrip("*") not in kernel.example
    ]
    if unknown:
        name = unknown[0].lstrip("*")
        raise ValueError(f"{kernel.name}: expected example={{{name!r}: ...}} to measure with, got {kernel.example}")
    rng = np.random.default_rng(0)
    sizes = {prefix + key: value for key, value in kernel.example.items() for prefix in ("", "*")}
    made = []
    for array in kernel.inputs.values():
        kind = declaration.DTYPES[dtype if array.type in kernel.types else array.type]
        shape = declaration.shape_of(array, sizes)
        values = rng.integers(0, 2, shape) if kind.kind in "biu" else rng.standard_normal(shape, dtype=np.float32)
        made.append(values.astype(kind))
    return made


def dtypes(kernel: CudaKernel | Elementwise) -> tuple[str, ...]:
    """The types to measure: those that the first type variable may be."""
    if isinstance(kernel, Elementwise):
        return ("float32", "bfloat16", "float64")
    return next(iter(kernel.types.values()), ("float32",))


def compiled(kernel: CudaKernel | Elementwise) -> Iterator[str]:
    """What NVRTC makes of the kernel, a line for each dtype and capability; functions have times alone."""
    if isinstance(kernel, Elementwise):
        return
    for dtype in dtypes(kernel):
        made = kernel.specialised(dict.fromkeys(kernel.types, dtype))
        for capability in CAPABILITIES:
            uses = made.code(capability).resources.get(kernel.name)
            if uses is not None:
                yield (
                    f"  {dtype:10s} sm_{capability:<4d} {uses.registers:4d} registers {uses.shared:7d} B shared "
                    f"{uses.stack:5d} B stack {uses.spill_stores + uses.spill_loads:5d} B spilled"
                )


def measured(kernel: CudaKernel | Elementwise, dtype: str, device: str, seconds: float) -> dict[str, Any] | None:
    """One row: the kernel and its reference, timed in turns; None where nothing runs."""
    if isinstance(kernel, Elementwise):
        return measured_function(kernel, dtype, device, seconds)
    from weft import no_grad
    from weft.autograd import Tensor
    from weft.backends.device import place

    arrays = [Tensor(place(x, device)) for x in inputs(kernel, dtype)]
    scalars = {name: 1.0 if value is None else value for name, value in kernel.scalars.items()}
    runs: dict[str, Any] = {}
    if device != "cpu":
        runs["weft"] = lambda: kernel(*arrays, **scalars)
    if kernel.reference is not None:
        named = {**dict(zip(kernel.inputs, arrays)), **scalars}
        from weft.custom import written

        runs["reference"] = lambda: written.call(kernel.reference, named, kernel.name)
    if not runs:
        return None
    with no_grad():
        out = next(iter(runs.values()))()
        times = in_turns(runs, device, seconds)
    outs = out if isinstance(out, (tuple, list)) else (out,)
    sizes = " ".join(f"{key}={value}" for key, value in kernel.example.items())
    bytes_ = sum(x.nbytes for x in (*arrays, *outs))
    return {"what": f"{kernel.name} {dtype} {sizes}", "dtype": dtype, "bytes": bytes_, "times": times}


def line(row: dict[str, Any], copy: float | None) -> str:
    """A row for the terminal. copy: bytes per second of a copy, which the rate is compared with."""
    from weft.bench.report import swing
    from weft.bench.timing import duration

    cells = [f"{name} {duration(t['median'])} {swing(t)}" for name, t in row["times"].items()]
    first = next(iter(row["times"].values()))["median"]
    rate = row["bytes"] / first
    against = f"   {rate / 1e9:.1f} GB/s, {rate / copy:.2f} of a copy" if copy else ""
    return f"  {row['what']:36s} {'  '.join(cells)}{against}"
