"""Kernels that only move data: softmax, cross-entropy, layer, RMS and batch norm, in bytes per second beside a copy.

Bytes are the fewest that must move: each input read once, each output written once (batch norm's input is read twice,
for its statistics and for its values). Peers are PyTorch, and NumPy's reference on a CPU.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from weft.bench.timing import duration, in_turns

DTYPES = {"f32": np.dtype(np.float32), "bf16": np.dtype(ml_dtypes.bfloat16)}
#: How far results may be from float64's, of the largest: one rounding of the type, and float32 arithmetic.
ERROR = {"f32": 1e-5, "bf16": 1e-2}
NAMES = ("softmax", "log_softmax", "cross_entropy", "layer_norm", "rms_norm", "batch_norm", "batch_norm_relu")
CHECKED = 4  # rows, or channels, from both ends

Calls = dict[str, Callable[[], Any]]


@dataclass(frozen=True)
class Case:
    """One function, forward or backward; rows (N, C), or images (N, C, H, W) channels-last for batch norm."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    backward: bool = False

    @property
    def bytes(self) -> float:
        """Arrays of the shape that are read and written; what is a number per row or column is not counted."""
        arrays = {
            "softmax": (2, 3), "log_softmax": (2, 3), "cross_entropy": (1, 2), "layer_norm": (2, 3), "rms_norm": (2, 3),
            "batch_norm": (3, 5), "batch_norm_relu": (4, 8),
        }[self.name][self.backward]  # fmt: skip
        return float(arrays * np.prod(self.shape) * DTYPES[self.dtype].itemsize)

    def __str__(self) -> str:
        size = "x".join(map(str, self.shape))
        return f"{self.name} {'backward' if self.backward else 'forward'} {size} {self.dtype}"

    def inputs(self) -> dict[str, np.ndarray]:
        """Normal values, a few million that repeat: x, a gradient, a residual, labels, weight and bias (float32)."""
        rng = np.random.default_rng([*self.shape, len(self.name)])
        count = min(int(np.prod(self.shape)), (1 << 22) + 1)
        normal = lambda: np.resize(rng.standard_normal(count, dtype=np.float32).astype(DTYPES[self.dtype]), self.shape)
        made = {"x": normal()}
        if self.name == "cross_entropy":
            made["labels"] = rng.integers(0, self.shape[1], self.shape[0])
            made["g"] = np.full(1, 1 / self.shape[0], np.float32)
        elif self.backward:
            made["g"] = normal()
        if self.name == "batch_norm_relu":
            made["residual"] = normal()
        if "norm" in self.name:
            columns = self.shape[1]
            made["weight"], made["bias"] = (rng.standard_normal(columns, dtype=np.float32) + 1 for _ in range(2))
        if self.name.startswith("batch_norm"):  # in memory as convolutions leave them
            made = {k: v if v.ndim < 4 else last(v) for k, v in made.items()}
        return made


def last(x: np.ndarray) -> np.ndarray:
    """(N, C, H, W) in channels-last memory."""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def gpu_cases() -> Iterator[Case]:
    total = 1 << 26
    for dtype in ("bf16", "f32"):
        for columns in (256, 1024, 4096, 32768, 65536) if dtype == "bf16" else (4096,):
            for backward in (False, True):
                yield Case("softmax", (total // columns, columns), dtype, backward)
        for columns in (1024, 32768, 50257, 50304) if dtype == "bf16" else (50304,):
            for backward in (False, True):
                yield Case("cross_entropy", (total // columns // 8 * 8, columns), dtype, backward)
        for columns in (768, 4096, 8192, 16384) if dtype == "bf16" else (4096,):
            for name in ("layer_norm", "rms_norm"):
                for backward in (False, True):
                    yield Case(name, (total // columns, columns), dtype, backward)
        for shape in ((64, 64, 56, 56), (64, 256, 56, 56), (256, 2048, 7, 7))[: 3 if dtype == "bf16" else 1]:
            for name in ("batch_norm", "batch_norm_relu"):
                for backward in (False, True):
                    yield Case(name, shape, dtype, backward)


def cpu_cases() -> Iterator[Case]:
    for name, shape in (("softmax", (8192, 1024)), ("softmax", (256, 32768)), ("log_softmax", (65536, 64)),
                        ("cross_entropy", (256, 32768)), ("layer_norm", (8192, 768)), ("rms_norm", (8192, 768)),
                        ("batch_norm", (32, 64, 56, 56)), ("batch_norm_relu", (32, 64, 56, 56))):  # fmt: skip
        for backward in (False, True):
            yield Case(name, shape, "f32", backward)


# ---- the contenders


def calls_of(case: Case, K: Any, made: dict[str, Any]) -> Callable[[], Any]:
    """The primitive of the table `K`, or of its references, on arrays of any device."""
    x, g, weight, bias = (made.get(name) for name in ("x", "g", "weight", "bias"))
    residual, labels, eps = made.get("residual"), made.get("labels"), 1e-5
    if case.name in ("softmax", "log_softmax"):
        forward, backward = K(case.name), K(f"{case.name}_backward")
        if not case.backward:
            return lambda: forward(x, axis=1)
        y = forward(x, axis=1)
        return lambda: backward(g, y, axis=1)
    if case.name == "cross_entropy":
        options = {"ignore_index": -100, "label_smoothing": 0.0}
        forward, backward = K("cross_entropy"), K("cross_entropy_backward")
        if not case.backward:
            return lambda: forward(x, labels, None, **options)
        _, lse = forward(x, labels, None, **options)
        return lambda: backward(g, x, labels, None, lse, **options)
    if case.name in ("layer_norm", "rms_norm"):
        parameters = (weight, bias) if case.name == "layer_norm" else (weight,)
        forward, backward = K(case.name), K(f"{case.name}_backward")
        if not case.backward:
            return lambda: forward(x, *parameters, eps=eps)
        _, *statistics = forward(x, *parameters, eps=eps)
        return lambda: backward(g, x, weight, *statistics)
    relu = case.name == "batch_norm_relu"
    forward, backward = K("batch_norm_act"), K("batch_norm_act_backward")
    if not case.backward:
        return lambda: forward(x, weight, bias, residual, eps=eps, relu=relu)
    out, mean, var = forward(x, weight, bias, residual, eps=eps, relu=relu)
    behind = out if relu else None
    return lambda: backward(g, x, weight, mean, var, behind, eps=eps, residual=relu)


def entries(name: str) -> Any:
    from weft.backends import reference

    return getattr(reference, name)


def references(name: str) -> Any:
    return entries(name).reference


def torch_call(case: Case, made: dict[str, Any]) -> Callable[[], Any]:
    """PyTorch's function on its tensors, or its gradient."""
    import torch
    import torch.nn.functional as F

    x: Any
    weight: Any
    bias: Any
    x, weight, bias, residual = (made.get(name) for name in ("x", "weight", "bias", "residual"))

    def forward() -> Any:
        if case.name in ("softmax", "log_softmax"):
            return getattr(F, case.name)(x, dim=1)
        if case.name == "cross_entropy":
            return F.cross_entropy(x, made["labels"])
        if case.name == "layer_norm":
            return F.layer_norm(x, case.shape[1:], weight.to(x.dtype), bias.to(x.dtype))
        if case.name == "rms_norm":
            return F.rms_norm(x, case.shape[1:], weight.to(x.dtype), 1e-5)
        y = F.batch_norm(x, None, None, weight, bias, training=True)
        return F.relu(y + residual) if residual is not None else y

    if not case.backward:
        return forward
    leaves = [t.requires_grad_() for t in (x, weight, bias, residual) if t is not None]
    if case.name == "rms_norm":
        leaves = leaves[:2]
    out = forward()
    g = made["g"] if case.name != "cross_entropy" else torch.ones_like(out)
    return lambda: torch.autograd.grad(out, leaves, g, retain_graph=True)


def as_torch(values: Any) -> Any:
    """The same memory as a tensor, on the CPU or on a GPU; bfloat16 crosses as 16-bit integers."""
    import torch

    if isinstance(values, np.ndarray):
        bits = values.view(np.int16) if values.dtype == DTYPES["bf16"] else values
        made = torch.from_numpy(bits)
    else:
        import cupy

        plain = values.transpose(0, 2, 3, 1) if values.ndim == 4 else values
        bits = plain.view(cupy.ndarray)
        made = torch.from_dlpack(bits.view(cupy.int16) if values.dtype == DTYPES["bf16"] else bits)
        made = made.permute(0, 3, 1, 2) if values.ndim == 4 else made
    return made.view(torch.bfloat16) if values.dtype == DTYPES["bf16"] else made


def error_of(case: Case, got: Any, made: dict[str, np.ndarray]) -> float:
    """The first result's distance from float64's, of the largest, for some rows or channels from both ends."""
    first = got[0] if isinstance(got, tuple) else got
    axis = 1 if case.name.startswith("batch_norm") else 0
    ends = np.r_[0:CHECKED, case.shape[axis] - CHECKED : case.shape[axis]]
    part = {}
    for name, values in made.items():
        along = axis if values.ndim == len(case.shape) else None if values.shape[0] != case.shape[axis] else 0
        cut = values if along is None or name == "bias" and axis == 0 else values.take(ends, axis=along)
        part[name] = cut if cut.dtype.kind in "iu" else cut.astype(np.float64)
    want = calls_of(case, references, part)()
    want = want[0] if isinstance(want, tuple) else want
    values = first if isinstance(first, np.ndarray) else first.get()
    worst = np.abs(values.take(ends, axis=axis).astype(np.float64) - want).max()
    return float(worst / np.abs(want).max())


def measured(case: Case, device: str, seconds: float) -> dict[str, Any]:
    """One row: the result checked against float64, then every contender timed in turns."""
    made = case.inputs()
    if device == "cpu":
        contenders: Calls = {"weft": calls_of(case, entries, made), "numpy": calls_of(case, references, made)}
        arrays: dict[str, Any] = made
    else:
        import weft

        arrays = {name: weft.asarray(values, device=device).data for name, values in made.items()}
        contenders = {"weft": calls_of(case, entries, arrays)}
    error = error_of(case, contenders["weft"](), made)
    if not error <= ERROR[case.dtype]:
        raise ArithmeticError(f"rowwise: {case}: expected an error below {ERROR[case.dtype]:.0e}, got {error:.1e}")
    try:
        import torch

        if device == "cpu":
            torch.set_num_threads(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1)
        contenders["torch"] = torch_call(case, {name: as_torch(values) for name, values in arrays.items()})
    except ImportError:
        pass
    times = in_turns(contenders, device, seconds)
    peers = [t["median"] for name, t in times.items() if name != "weft"]
    return {
        "what": str(case),
        "bytes": case.bytes,
        "flops": 0.0,
        "dtype": case.dtype,
        "times": times,
        "errors": {"weft": error},
        "ratio": min(peers) / times["weft"]["median"] if peers else None,  # above 1: Weft is faster than the best peer
    }


def line(row: dict[str, Any], copy: float) -> str:
    """A row of the table: times, GB/s, that as a part of a copy's, the ratio to the best peer."""
    cells = " ".join(f"{name} {duration(t['median']):>8s}" for name, t in row["times"].items())
    rate = row["bytes"] / row["times"]["weft"]["median"]
    ratio = "" if row["ratio"] is None else f" {row['ratio']:5.2f}x to best"
    return f"  {row['what']:48s} {rate / 1e9:7.0f} GB/s {rate / copy:5.2f} of a copy{ratio}  {cells}"
