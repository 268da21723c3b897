"""Which kernel computes a pass of a convolution, with which tile: gemm's model of cost, with the traffic of windows.

Kernels of one generation register themselves as the portable ones do: `register(family)`, from a module that `load`
imports. What a family is, `Family` says; it refuses what it cannot do, and the cheapest candidate runs.
"""

from __future__ import annotations

import functools
import importlib
import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from weft.backends.gpu import gemm_choice, gemm_split
from weft.backends.gpu.array import empty_like
from weft.backends.gpu.conv_problem import Convolution, padded
from weft.backends.gpu.gemm_choice import LAUNCH_CYCLES, Configuration, Device

#: run(a, b, out, bias): launches a plan on operands that lie as conv_problem.py says: a is the image, b the filters;
#: for the weight's gradient, a is g and b is x.
Run = Callable[[Any, Any, Any, Any], None]

#: Of K; the weight's gradient has few tiles and a long K.
PARTS = (*gemm_choice.PARTS, 96, 128, 192, 256)


class Family(Protocol):
    """A kernel with its tiles; as a `Family` of gemm.py, but for how it launches."""

    name: str
    portable: bool  #: whether WEFT_KERNELS=portable allows it
    reads_shared: bool

    @property
    def configurations(self) -> Sequence[Configuration]: ...

    def refusal(self, convolution: Convolution, configuration: Configuration) -> str:
        """Why the configuration cannot compute the convolution, or "" if it can."""

    def rate(self, convolution: Convolution, device: Device) -> float:
        """Multiply-adds per cycle and multiprocessor that it reaches at best."""

    def resident(self, convolution: Convolution, configuration: Configuration) -> int:
        """Blocks that a multiprocessor holds at a time."""

    def prepare(self, convolution: Convolution, configuration: Configuration, splits: int) -> Run:
        """What launches it; with splits > 1 the sums of part s of K go to out + s * groups * m * n, float32, and are
        neither scaled nor biased."""


FAMILIES: dict[str, Family] = {}
MODULES = ("conv_simt", "conv_mma", "conv_sm90")  # of this package, which register families


def register(family: Family) -> Family:
    FAMILIES[family.name] = family
    return family


@functools.cache
def load() -> None:
    for module in MODULES:
        importlib.import_module(f"weft.backends.gpu.{module}")


def traffic(convolution: Convolution) -> float:
    """Bytes that must pass the device's memory: each operand once, windows as the image that they overlap in."""
    s, size = convolution.shape, convolution.itemsize
    x = s.images * math.prod(s.image) * padded(size, s.channels)
    g = s.images * math.prod(s.out) * padded(size, s.outputs)
    return float(s.groups * (x + g + s.outputs * s.channels * math.prod(s.kernel)) * size)


def cycles(family: Family, configuration: Configuration, convolution: Convolution, splits: int = 1) -> float:
    """The model's cost in cycles; see gemm_choice.py."""
    device = gemm_choice.device_of(convolution)
    waves = functools.partial(gemm_choice.waves, family)  # type: ignore[arg-type]
    busy = getattr(family, "busy", waves)(configuration, convolution, splits)
    memory = traffic(convolution) / device.bandwidth * device.clock
    sums = 4.0 * convolution.m * convolution.n * convolution.inner
    reduce = 0.0 if splits == 1 else 2 * splits * sums / device.bandwidth * device.clock + LAUNCH_CYCLES
    return float(max(busy, memory) + 0.1 * min(busy, memory) + reduce)


def candidates(convolution: Convolution, kernel: str | None = None) -> list[tuple[str, Configuration, int]]:
    """The (family, configuration, parts of K) that can compute it, of those that `kernel` names."""
    load()
    what = f"{convolution.direction} of {convolution.dtype}"
    whole = "" if convolution.splittable else "phases, or a bias by group, in parts"
    allows = lambda family: family.portable or gemm_choice.kernels != "portable"
    return gemm_choice.listed("conv2d", what, FAMILIES, convolution, kernel, allows, PARTS, whole)


@functools.lru_cache(maxsize=4096)
def choose(convolution: Convolution, kernel: str | None, settings: tuple[str, ...]) -> tuple[str, Configuration, int]:
    """The cheapest candidate by the model."""
    found = candidates(convolution, kernel)
    return min(found, key=lambda c: cycles(FAMILIES[c[0]], c[1], convolution, c[2]))


def describe(convolution: Convolution, kernel: str | None = None) -> str:
    """The name of what would run: "conv_mma/128x128x32", or "conv_mma/64x64x64/8" with K in eight parts."""
    return gemm_choice.spelled(*choose(convolution, kernel, gemm_choice.settings()))


def prepare(convolution: Convolution, kernel: str | None = None) -> Run:
    """What launches the chosen kernel."""
    name, configuration, parts = choose(convolution, kernel, gemm_choice.settings())
    family = FAMILIES[name]
    if parts == 1:
        return family.prepare(convolution, configuration, 1)
    first_pass, add = family.prepare(convolution, configuration, parts), gemm_split.adder(convolution, parts)
    size = parts * convolution.inner * convolution.m * convolution.n

    def run(a: Any, b: Any, out: Any, bias: Any) -> None:
        sums = empty_like(out, (size,), convolution.compute)
        first_pass(a, b, sums, None)
        add(sums, out, bias, None, None)

    return run
