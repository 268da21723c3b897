"""Convolutions: every layer of ResNet-50 in its three passes, beside cuDNN through PyTorch (GPU) or oneDNN (CPU).

Images lie channels last on GPUs, for both, and as NumPy arrays in C order on a CPU. Layers: He et al., "Deep residual
learning for image recognition" (2016), with the stride in the 3x3 layer, as torchvision has it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from weft.backends import reference as K
from weft.bench.rowwise import DTYPES, as_torch
from weft.bench.timing import duration, in_turns

PASSES = ("forward", "input_grad", "weight_grad")
#: (channels, pixels along a side, outputs, kernel, stride, how often it occurs); the first has no image gradient.
RESNET50 = (
    (3, 224, 64, 7, 2, 1),
    (64, 56, 64, 1, 1, 1), (64, 56, 64, 3, 1, 3), (64, 56, 256, 1, 1, 4), (256, 56, 64, 1, 1, 2),
    (256, 56, 128, 1, 1, 1), (128, 56, 128, 3, 2, 1), (128, 28, 512, 1, 1, 4), (256, 56, 512, 1, 2, 1),
    (512, 28, 128, 1, 1, 3), (128, 28, 128, 3, 1, 3),
    (512, 28, 256, 1, 1, 1), (256, 28, 256, 3, 2, 1), (256, 14, 1024, 1, 1, 6), (512, 28, 1024, 1, 2, 1),
    (1024, 14, 256, 1, 1, 5), (256, 14, 256, 3, 1, 5),
    (1024, 14, 512, 1, 1, 1), (512, 14, 512, 3, 2, 1), (512, 7, 2048, 1, 1, 3), (1024, 14, 2048, 1, 2, 1),
    (2048, 7, 512, 1, 1, 2), (512, 7, 512, 3, 1, 2),
)  # fmt: skip
#: How far results may be from float64's, of the largest: one rounding of the type, and float32 sums of up to 800,000.
ERROR = {"f32": 1e-4, "bf16": 1e-2}
CHECKED = 4  # images, filters or channels


@dataclass(frozen=True)
class Layer:
    """One pass of one layer over a batch."""

    direction: str
    batch: int
    channels: int
    size: int
    outputs: int
    kernel: int
    stride: int
    dtype: str
    times: int = 1  #: that it occurs in the network

    @property
    def geometry(self) -> dict[str, Any]:
        side = self.kernel // 2
        return {
            "stride": (self.stride, self.stride), "padding": ((side, side), (side, side)), "dilation": (1, 1),
            "groups": 1,
        }  # fmt: skip

    @property
    def out(self) -> int:
        return (self.size + 2 * (self.kernel // 2) - self.kernel) // self.stride + 1

    @property
    def shapes(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """Of x, of the weight, of the result."""
        return (
            (self.batch, self.channels, self.size, self.size),
            (self.outputs, self.channels, self.kernel, self.kernel),
            (self.batch, self.outputs, self.out, self.out),
        )

    @property
    def flops(self) -> float:
        return 2.0 * math.prod(self.shapes[2]) * self.channels * self.kernel**2

    @property
    def bytes(self) -> float:
        """The fewest bytes that must move: each array once."""
        return float(DTYPES[self.dtype].itemsize * sum(map(math.prod, self.shapes)))

    def __str__(self) -> str:
        what = f"{self.kernel}x{self.kernel}" + (f"/{self.stride}" if self.stride > 1 else "")
        return f"{self.direction} {what} {self.channels}-{self.outputs} at {self.size} {self.dtype}"

    def operands(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """What the pass takes, normal values: x and weight, g and weight, or g and x."""
        x, weight, g = self.shapes
        first, second = {"forward": (x, weight), "input_grad": (g, weight), "weight_grad": (g, x)}[self.direction]
        a, b = (rng.standard_normal(size=shape, dtype=np.float32) for shape in (first, second))
        return a.astype(DTYPES[self.dtype]), b.astype(DTYPES[self.dtype])

    def call(self, a: Any, b: Any, reference: bool = False) -> Any:
        """The pass by what is registered for its arrays, or by its reference."""
        x, weight, _ = self.shapes
        if self.direction == "forward":
            run = K.conv2d.reference if reference else K.conv2d
            return run(a, b, None, **self.geometry)
        primitive = getattr(K, f"conv2d_{self.direction}")
        shape = x if self.direction == "input_grad" else weight
        return (primitive.reference if reference else primitive)(a, b, shape=shape, **self.geometry)


def layers(batch: int, dtype: str) -> Iterator[Layer]:
    for channels, size, outputs, kernel, stride, times in RESNET50:
        for direction in PASSES:
            if channels > 3 or direction != "input_grad":
                yield Layer(direction, batch, channels, size, outputs, kernel, stride, dtype, times)


def gpu_layers() -> Iterator[Layer]:
    yield from layers(64, "bf16")
    yield from layers(32, "f32")


def cpu_layers() -> Iterator[Layer]:
    yield from layers(2, "f32")


def error_of(layer: Layer, got: np.ndarray, a: np.ndarray, b: np.ndarray) -> float:
    """The distance from float64's, of the largest, of some images, filters or channels."""
    few, all_ = slice(0, CHECKED), slice(None)
    cut_a, cut_b, cut = {
        "forward": ((few,), (few,), (few, few)),
        "input_grad": ((few,), (all_, few), (few, few)),
        "weight_grad": ((all_, few), (all_, few), (few, few)),
    }[layer.direction]
    first, second = a[cut_a].astype(np.float64), b[cut_b].astype(np.float64)
    x, weight, _ = layer.shapes
    if layer.direction == "forward":
        want = K.conv2d.reference(first, second, None, **layer.geometry)
    else:
        lead = (min(CHECKED, layer.batch), second.shape[1]) if layer.direction == "input_grad" else (
            first.shape[1], second.shape[1]
        )  # fmt: skip
        tail = x[2:] if layer.direction == "input_grad" else weight[2:]
        primitive = getattr(K, f"conv2d_{layer.direction}")
        want = primitive.reference(first, second, shape=(*lead, *tail), **layer.geometry)
    return float(np.abs(got[cut].astype(np.float64) - want).max() / np.abs(want).max())


def torch_call(layer: Layer, a: Any, b: Any) -> Callable[[], Any]:
    """The same pass by PyTorch, on the same memory; float32 is not rounded to tf32."""
    import torch

    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    side, step = [layer.kernel // 2] * 2, [layer.stride] * 2
    if layer.direction == "forward":
        return lambda: torch.nn.functional.conv2d(a, b, None, step, side)
    mask = [layer.direction == "input_grad", layer.direction == "weight_grad", False]
    x, weight, _ = layer.shapes
    other = torch.empty(x if mask[0] else weight, dtype=a.dtype, device=a.device)
    if a.is_cuda:
        other = other.contiguous(memory_format=torch.channels_last)
    image, filters = (other, b) if mask[0] else (b, other)
    backward = torch.ops.aten.convolution_backward
    return lambda: backward(a, image, filters, None, step, side, [1, 1], False, [0, 0], 1, mask)


def measured(layer: Layer, device: str, seconds: float) -> dict[str, Any]:
    """One row: the result checked against float64, then every contender timed in turns."""
    rng = np.random.default_rng([layer.channels, layer.size, layer.outputs, PASSES.index(layer.direction)])
    a, b = layer.operands(rng)
    x, y = a, b
    if device != "cpu":
        import weft

        def last(values: np.ndarray) -> Any:
            return weft.asarray(np.ascontiguousarray(values.transpose(0, 2, 3, 1)), device=device).data.transpose(
                0, 3, 1, 2
            )

        x, y = last(a), last(b)
    contenders: dict[str, Callable[[], Any]] = {"weft": lambda: layer.call(x, y)}
    got = contenders["weft"]()
    error = error_of(layer, got if isinstance(got, np.ndarray) else got.get(), a, b)
    if not error <= ERROR[layer.dtype]:
        raise ArithmeticError(f"conv: {layer}: expected an error below {ERROR[layer.dtype]:.0e}, got {error:.1e}")
    try:
        import torch

        if device == "cpu":
            torch.set_num_threads(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1)
        contenders["torch"] = torch_call(layer, as_torch(x), as_torch(y))
    except ImportError:
        if device == "cpu":
            contenders["numpy"] = lambda: layer.call(a, b, reference=True)
    times = in_turns(contenders, device, seconds)
    peers = [t["median"] for name, t in times.items() if name != "weft"]
    return {
        "what": str(layer),
        "direction": layer.direction,
        "layers": layer.times,
        "flops": layer.flops,
        "bytes": layer.bytes,
        "dtype": layer.dtype,
        "times": times,
        "errors": {"weft": error},
        "ratio": min(peers) / times["weft"]["median"] if peers else None,  # above 1: Weft is faster than the best peer
    }


def line(row: dict[str, Any]) -> str:
    """A row of the table: rate, ratio to the best peer, times."""
    cells = " ".join(f"{name} {duration(t['median']):>8s}" for name, t in row["times"].items())
    rate = row["flops"] / row["times"]["weft"]["median"]
    ratio = "" if row["ratio"] is None else f" {row['ratio']:5.2f}x to best"
    return f"  {row['what']:40s} {rate / 1e12:8.3g} TFLOP/s{ratio}  {cells}"


def summary(rows: list[dict[str, Any]]) -> list[str]:
    """Of each type and pass: the geometric mean of the ratios over layers, and of one network the time in all."""
    said = []
    for dtype in dict.fromkeys(row["dtype"] for row in rows):
        for direction in PASSES:
            mine = [row for row in rows if (row["dtype"], row["direction"]) == (dtype, direction)]
            if not mine or any(row["ratio"] is None for row in mine):
                continue
            mean = math.exp(sum(math.log(row["ratio"]) for row in mine) / len(mine))
            total = sum(row["layers"] * row["times"]["weft"]["median"] for row in mine)
            said.append(f"  {dtype} {direction}: {mean:.2f}x to best (geometric mean), {duration(total)} a network")
    return said
