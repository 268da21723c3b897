"""Which GEMM kernel, with which tile, computes a product: an analytic model of its cost on a GPU of each generation.

The cost of (family, tile, parts of K) in clock cycles is for each slice of tile_k, the longest of four things that
overlap:

    multiply   tile_m tile_n tile_k products at the family's rate, shared by the blocks on a multiprocessor
    shared     what the warps read of the slices from shared memory, at 128 bytes a cycle
    load       what the slices bring from L2, dearer where rows are not aligned for 16-byte accesses
    latency    of a slice on its way from L2, shared by the slices that are under way at a time

Besides: all operands pass the device's memory once; a wave starts with an empty ring and ends with its epilogue; and
parts of K write sums that a second kernel reads.

Only ratios matter: a figure here chooses between kernels, it promises nothing. Rates and bandwidths are of NVIDIA's
architecture papers and data sheets, L2's and the latencies round estimates. A measured choice (`weft tune`,
gemm_tune.py) comes before the model's.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weft.backends.gpu.gemm import Family, Run
    from weft.backends.gpu.gemm_product import Product


@dataclasses.dataclass(frozen=True)
class Configuration:
    """A tile of out and how a block computes it; one row of a family's table."""

    tile_m: int
    tile_n: int
    tile_k: int
    warps_m: int
    warps_n: int
    stages: int
    blocks: int = 1  #: that a multiprocessor should hold at a time: bounds their registers
    cluster: int = 1

    @property
    def name(self) -> str:
        return f"{self.tile_m}x{self.tile_n}x{self.tile_k}"

    @property
    def threads(self) -> int:
        return 32 * self.warps_m * self.warps_n

    @property
    def sums(self) -> int:
        """Of each thread."""
        return self.tile_m * self.tile_n // self.threads


@dataclasses.dataclass(frozen=True)
class Device:
    """What the model knows of a GPU; rates in multiply-adds per cycle and multiprocessor."""

    multiprocessors: int
    clock: float  #: cycles per microsecond
    bandwidth: float  #: bytes per microsecond of the device's memory
    f32: int
    f64: int
    half: int  #: f16 and bf16 by mma.sync; tf32 runs at half of it
    l2: int  #: bytes per cycle and multiprocessor from L2, all reading at once
    wgmma: int = 0


#: KiB of shared memory that a block may have; a multiprocessor has one more since 8.0, and each block takes one more.
SHARED = {75: 64, 80: 163, 86: 99, 87: 163, 88: 99, 90: 227, 120: 99}


def most_shared(capability: int) -> int:
    """Bytes of shared memory that a block may have."""
    return SHARED[max(c for c in SHARED if c <= capability)] << 10


# T4, A100, A10, L40S, H100 SXM, B200, RTX 5090: one typical device per generation. wgmma exists on 9.0 alone; mma.sync
# reaches about 0.6 of its rate there.
DEVICES = {
    75: Device(40, 1590, 320e3, 64, 2, 512, 20),
    80: Device(108, 1410, 2039e3, 64, 32, 1024, 40),
    86: Device(72, 1695, 600e3, 128, 2, 256, 16),
    89: Device(142, 2520, 864e3, 128, 2, 512, 16),
    90: Device(132, 1755, 3350e3, 128, 64, 1228, 40, 2048),
    100: Device(148, 1850, 8000e3, 128, 64, 1024, 32),
    120: Device(170, 2407, 1792e3, 128, 2, 512, 16),
}
SHARED_BYTES_PER_CYCLE = 128
LATENCY = 600  #: cycles from L2 to shared memory
BARRIER = 30  #: cycles that a slice costs its block besides
FILL = 1500  #: cycles of a block's start and end, without its stores
LAUNCH_CYCLES = 4000  # of the second kernel of a product in parts
PARTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)

FAMILIES: dict[str, Family] = {}
PRECISIONS = ("highest", "high")
MODES = ("auto", "portable", "vendor")
precision = "highest"
#: auto; portable: kernels that every generation since Turing has; vendor: cuBLAS on cuda.
kernels = os.environ.get("WEFT_KERNELS", "auto")
if kernels not in MODES:
    raise ValueError(f"WEFT_KERNELS: expected one of {', '.join(MODES)}, got {kernels!r}")


def register(family: Family) -> Family:
    FAMILIES[family.name] = family
    return family


def set_float32_matmul_precision(value: str) -> None:
    """How products of float32 matrices are computed on GPUs: "highest" in IEEE float32, the default; "high" may round
    the factors to tf32 (10 bits of mantissa) and run on tensor cores.  ValueError for anything else.

    >>> import weft
    >>> weft.set_float32_matmul_precision("high")
    >>> weft.get_float32_matmul_precision()
    'high'
    >>> weft.set_float32_matmul_precision("highest")
    """
    global precision
    if value not in PRECISIONS:
        raise ValueError(f"set_float32_matmul_precision: expected {' or '.join(PRECISIONS)}, got {value!r}")
    precision = value


def get_float32_matmul_precision() -> str:
    """"highest" or "high"; see set_float32_matmul_precision."""
    return precision


def tf32_allowed() -> bool:
    return precision == "high"


def settings() -> tuple[str, ...]:
    """All that changes a choice besides the arrays: the part of a plan's key that is not theirs."""
    return precision, kernels


def device_of(product: Product) -> Device:
    """What the model knows of the product's GPU: the row of the newest generation that is not newer, with as many
    multiprocessors as it has, and its share of that row's bandwidth."""
    typical = DEVICES[max((c for c in DEVICES if c <= product.capability), default=min(DEVICES))]
    count = product.multiprocessors or typical.multiprocessors
    share = count / typical.multiprocessors
    return dataclasses.replace(typical, multiprocessors=count, bandwidth=typical.bandwidth * share)


def cycles(family: Family, configuration: Configuration, product: Product, splits: int = 1) -> float:
    """The model's cost of a product in cycles; see the head of this file."""
    device = device_of(product)
    busy = getattr(family, "busy", functools.partial(waves, family))(configuration, product, splits)
    a_bytes = product.m * product.k * (product.batch if product.a.outer or product.a.inner else 1) * product.itemsize
    b_bytes = product.k * product.n * (product.batch if product.b.outer or product.b.inner else 1) * product.itemsize
    sums = product.m * product.n * product.batch * 4
    memory = (a_bytes + b_bytes + sums) / device.bandwidth * device.clock
    reduce = 0.0 if splits == 1 else 2 * splits * sums / device.bandwidth * device.clock + LAUNCH_CYCLES
    return max(busy, memory) + 0.1 * min(busy, memory) + reduce  # they overlap, but not quite


def waves(family: Family, configuration: Configuration, product: Product, splits: int) -> float:
    """Cycles of the busiest multiprocessor, whose blocks come in waves. A family of other habits has its own `busy`."""
    device = device_of(product)
    tile_m, tile_n, tile_k = configuration.tile_m, configuration.tile_n, configuration.tile_k
    tiles = math.ceil(product.m / tile_m) * math.ceil(product.n / tile_n) * product.batch * splits
    steps = math.ceil(math.ceil(product.k / splits) / tile_k)
    blocks = family.resident(product, configuration)
    whole, left = divmod(tiles, device.multiprocessors * blocks)
    sharing = math.ceil(left / device.multiprocessors)

    multiply = tile_m * tile_n * tile_k / family.rate(product, device)
    read = (configuration.warps_n * tile_m + configuration.warps_m * tile_n) * tile_k * product.itemsize
    shared = read / SHARED_BYTES_PER_CYCLE if family.reads_shared else 0.0
    load = (load_cycles(tile_m * tile_k * product.itemsize, product.a.bytes, device.l2)
            + load_cycles(tile_n * tile_k * product.itemsize, product.b.bytes, device.l2))  # fmt: skip
    load /= 1 + (configuration.cluster - 1) / 2  # half of the slices is shared by a cluster
    step, latency = max(multiply, shared, load) + BARRIER, LATENCY / (configuration.stages - 1)

    def wave(together: int) -> float:  # of blocks on each multiprocessor: they share its rates and hide its latency
        fill = FILL + together * tile_m * tile_n * 4 / device.l2
        return steps * max(together * step, latency) + fill

    return whole * wave(blocks) + (wave(sharing) if left else 0.0)


def load_cycles(size: int, access: int, l2: int) -> float:
    """Cycles to bring `size` bytes by accesses of `access`: L2 bounds wide ones, 16 lanes a cycle narrow ones."""
    return max(size / l2, size / access / 16)


def allowed(family: Family, product: Product) -> bool:
    """Whether WEFT_KERNELS lets the model choose the family."""
    vendor = FAMILIES.get("vendor")
    if kernels == "vendor" and vendor and not vendor.refusal(product, vendor.configurations[0]):
        return family is vendor
    return family is not vendor and (family.portable or kernels != "portable")


def candidates(product: Product, kernel: str | None = None) -> list[tuple[str, Configuration, int]]:
    """The (family, configuration, parts of K) that can compute the product, of those that `kernel` names."""
    allows = functools.partial(allowed, product=product)
    return listed("gemm", f"{product.layout} {product.dtype}", FAMILIES, product, kernel, allows, PARTS)


def listed(
    op: str,
    what: str,
    families: Mapping[str, Any],
    product: Product,
    kernel: str | None,
    allows: Callable[[Any], bool],
    parts_of_k: Sequence[int],
    whole: str = "",
) -> list[tuple[str, Configuration, int]]:
    """The candidates among `families` that `allows` lets in. whole: why K may not be in parts; op, what: for errors."""
    name, tile, parts = ([*kernel.split("/"), None, None][:3]) if kernel else (None, None, None)
    if name is not None and name not in families:
        raise ValueError(f"{op}: expected a kernel of {', '.join(families)}, got {kernel!r}")
    refusals: list[str] = []
    found: list[tuple[str, Configuration, int]] = []
    few = product.batch * product.m * product.n < 2**31  # gemm_split.cu counts in 32 bits
    for family in families.values():
        if name != family.name if name else not allows(family):
            continue
        for configuration in family.configurations:
            if tile not in (None, configuration.name):
                continue
            refusal = family.refusal(product, configuration) or (whole if parts not in (None, "1") else "")
            if refusal:
                refusals.append(f"{family.name}/{configuration.name}: {refusal}")
                continue
            steps = math.ceil(product.k / configuration.tile_k)
            fits = [p for p in parts_of_k if p == 1 or (few and not whole and steps // p >= 4)]
            found += [(family.name, configuration, p) for p in (fits if parts is None else [int(parts)])]
    if not found:
        reasons = "; ".join(refusals) or f"no tile {tile} in {name}"
        raise ValueError(f"{op}: expected a kernel for {what}, got none ({reasons})")
    return found


@functools.lru_cache(maxsize=4096)
def choose(product: Product, kernel: str | None, settings: tuple[str, ...]) -> tuple[str, Configuration, int]:
    """The cheapest candidate: measured, if the product was tuned, else by the model."""
    from weft.backends.gpu import gemm_tune

    found = candidates(product, kernel)
    measured = gemm_tune.lookup(product) if kernel is None else None
    for name, configuration, parts in found:
        if measured == spelled(name, configuration, parts):
            return name, configuration, parts
    return min(found, key=lambda c: cycles(FAMILIES[c[0]], c[1], product, c[2]))


def spelled(name: str, configuration: Configuration, parts: int) -> str:
    return f"{name}/{configuration.name}" + (f"/{parts}" if parts > 1 else "")


def describe(product: Product, kernel: str | None = None) -> str:
    """The name of what would run: "gemm_mma/128x128x32", or "gemm_mma/64x64x64/8" with K in eight parts."""
    return spelled(*choose(product, kernel, settings()))


def prepare(product: Product, kernel: str | None) -> Run:
    """What launches the chosen kernel on arrays that lie as the product says."""
    from weft.backends.gpu import gemm_split

    name, configuration, parts = choose(product, kernel, settings())
    family = FAMILIES[name]
    if parts == 1:
        return family.prepare(product, configuration, 1)
    return gemm_split.prepare(family, product, configuration, parts)
