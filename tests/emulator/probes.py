"""Probes: a kernel for every wrapper of kernels/ptx.cuh, its inputs, and what it must give, by NumPy alone.

A probe is a function of a `Bench`, which places arrays and launches on one device, and of `Data`, which makes inputs:
random ones for tests, or counters, the same everywhere, for vectors kept from silicon. It returns pairs of what came
out and what must; `Approximately` marks results that the hardware may round its own way.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from weft.backends import launch

KERNELS = Path(__file__).resolve().parent / "kernels"
BF16, F16, F32 = np.dtype(ml_dtypes.bfloat16), np.dtype(np.float16), np.dtype(np.float32)
TYPES = {"bf16": BF16, "f16": F16, "tf32": F32}


class Bench:
    """One device: "emulated", or "cuda:0"."""

    def __init__(self, device: str):
        self.device = device
        if device == "emulated":
            from weft.backends import emulator

            self.make = emulator.empty
        else:
            from weft.backends.gpu import cuda_array

            self.make = functools.partial(cuda_array.empty, device=device)

    def empty(self, shape: Any, dtype: Any) -> Any:
        return self.make(shape, dtype)

    def place(self, values: np.ndarray) -> Any:
        array = self.empty(values.shape, values.dtype)
        array.set(np.ascontiguousarray(values))
        return array

    def capability(self) -> int:
        return launch.capability(self.empty((1,), np.float32))

    def launch(self, file: str, name: str, grid: int, threads: int, arguments: Any, **options: Any) -> None:
        defines = options.pop("defines", {})
        made = launch.kernel(str(KERNELS / file), name, **defines)
        launch.launch(made, (grid,), (threads,), arguments, **options)


class Data:
    """Inputs: random, or, without a generator, counters."""

    def __init__(self, rng: np.random.Generator | None = None):
        self.rng = rng
        self.calls = 0

    def words(self, *shape: int) -> np.ndarray:
        if self.rng is not None:
            return self.rng.integers(0, 1 << 32, shape, np.uint32)
        self.calls += 1
        count = np.arange(math.prod(shape), dtype=np.uint64) + np.uint64(self.calls * 1000)
        return (count * np.uint64(2654435761) % np.uint64(1 << 32)).astype(np.uint32).reshape(shape)

    def floats(self, *shape: int, dtype: Any = F32) -> np.ndarray:
        """Normal numbers, or small multiples of 1/8, whose products and sums are exact."""
        if self.rng is not None:
            return self.rng.standard_normal(shape).astype(dtype)
        return (((self.words(*shape) >> 16) % 65 - 32.0) / 8).astype(dtype)


@dataclass
class Approximately:
    """A result that may be off by `tolerance`, absolute."""

    values: np.ndarray
    tolerance: Any


Pairs = list[tuple[np.ndarray, Any]]


@dataclass(frozen=True)
class Probe:
    """name: of the vector. file, defines: what is compiled, from capability `arch` on (`only`: nowhere else)."""

    name: str
    file: str
    run: Callable[..., Pairs]
    defines: dict[str, Any] = field(default_factory=dict)
    arch: int = 75
    only: int | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def __call__(self, bench: Bench, data: Data) -> Pairs:
        return self.run(bench, data, **self.options)

    def runs_on(self, capability: int) -> bool:
        return capability == self.only if self.only else capability >= self.arch


PROBES: list[Probe] = []


def check(pairs: Pairs) -> None:
    """AssertionError unless everything came out as it must. NaN equals NaN, whatever its bits."""
    for got, want in pairs:
        if isinstance(want, Approximately):
            difference = np.abs(got.astype(np.float64) - want.values)
            assert got.shape == want.values.shape and (difference <= want.tolerance).all(), difference.max()
        else:
            np.testing.assert_array_equal(*(x.astype(F32) if x.dtype == BF16 else x for x in (got, want)))


def swizzled(image: np.ndarray, span: int) -> np.ndarray:
    """Bytes of a box, in lines of 128, as a swizzle of `span` bytes lays them: chunks of 16 trade places by line."""
    if not span:
        return image
    chunk = np.arange(image.size // 16)
    source = chunk ^ (chunk // 8 & (span // 16 - 1))
    return image.reshape(-1, 16)[source].ravel()


def as_words(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image).view(np.uint8).ravel()


# ---- conversions


def special_floats() -> np.ndarray:
    """Every exponent with mantissas at and around ties of 16- and 19-bit types, both signs, infinities and NaN."""
    low = [0, 1, 0x0FFF, 0x1000, 0x1001, 0x2FFF, 0x3000, 0x7FFF, 0x8000, 0x8001, 0x17FFF, 0x18000]
    mantissas = [*low, 0x7FF000, 0x7FFFFF]
    exponents = np.arange(256, dtype=np.uint32)[:, None] << np.uint32(23)
    bits = (exponents | np.array(mantissas, np.uint32)).ravel()
    return np.concatenate([bits, bits | np.uint32(1 << 31)]).view(np.float32)


def to_16_bits(x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    with np.errstate(all="ignore"):
        bits = x.astype(dtype).view(np.uint16)
    return np.where(np.isnan(x), np.uint16(0x7FFF), bits)


def nearest_tf32(x: np.ndarray) -> np.ndarray:
    """Ties away from zero."""
    with np.errstate(all="ignore"):
        wide = x.astype(np.float64)
        place = 2.0 ** (np.maximum(np.frexp(np.where(np.isfinite(wide), wide, 0))[1], -125) - 11.0)
        rounded = np.copysign(np.floor(np.abs(wide) / place + 0.5) * place, wide).astype(np.float32)
    bits = np.where(np.isfinite(x), rounded, x).view(np.uint32)
    return np.where(np.isnan(x), np.uint32(0x7FFFFFFF), bits)


def convert(bench: Bench, data: Data) -> Pairs:
    x = np.concatenate([special_floats(), data.words(1000).view(np.float32), data.floats(1000)])
    fine = data.floats(1000) + data.floats(1000).astype(np.float64) * 2.0**-20  # where rounding twice would differ
    with np.errstate(invalid="ignore"):
        y = np.concatenate([x[:-1000].astype(np.float64), fine])
    n = len(x)
    shorts = [bench.empty((n,), t) for t in (BF16, F16, F16)]
    words = [bench.empty((n,), np.uint32) for _ in range(3)]
    powers = bench.empty((n,), F32)
    arguments = (bench.place(x), bench.place(y), *shorts, *words, powers, n)
    bench.launch("probe_convert.cu", "probe_convert", -(-n // 128), 128, arguments)
    bf16, f16, from_double = (array.get().view(np.uint16) for array in shorts)
    rounded, bf16_pairs, f16_pairs = (array.get() for array in words)

    def pairs(dtype: np.dtype) -> np.ndarray:
        low, high = to_16_bits(x, dtype), to_16_bits(x[::-1], dtype)
        return low.astype(np.uint32) | high.astype(np.uint32) << np.uint32(16)

    with np.errstate(all="ignore"):
        power = np.exp2(x.astype(np.float64))
        finite = power < 2.0**128
        power = np.where(power < 2.0**-126, 0, power)
        infinite = power[~finite].astype(F32)
    got = powers.get()
    outcome = [
        (bf16, to_16_bits(x, BF16)), (f16, to_16_bits(x, F16)), (from_double, to_16_bits(y, F16)),
        (rounded, nearest_tf32(x)), (bf16_pairs, pairs(BF16)), (f16_pairs, pairs(F16)),
        (got[~finite], infinite),
    ]  # fmt: skip
    return [*outcome, (got[finite], Approximately(power[finite], power[finite] * 2.0**-21 + 2.0**-126))]


def widen(bench: Bench, data: Data) -> Pairs:
    floats = [bench.empty((65536,), F32) for _ in range(2)]
    words = bench.empty((65536,), np.uint32)
    bench.launch("probe_convert.cu", "probe_widen", 512, 128, (*floats, words))
    every = np.arange(65536, dtype=np.uint32)
    short = every.astype(np.uint16)
    swapped = (65535 - every) | every << np.uint32(16)
    bf16, f16 = (array.get() for array in floats)
    with np.errstate(invalid="ignore"):
        return [(bf16, short.view(BF16).astype(F32)), (f16, short.view(F16).astype(F32)), (words.get(), swapped)]


PROBES += [Probe("convert", "probe_convert.cu", convert), Probe("widen", "probe_convert.cu", widen)]


# ---- copies of a warp


def cp_async(bench: Bench, data: Data) -> Pairs:
    words = data.words(224)
    out = bench.empty((224,), np.uint32)
    bench.launch("probe_copy.cu", "probe_cp_async", 1, 32, (bench.place(words.view(np.uint8)), out), shared=896)
    want = words.copy()
    lane = np.arange(32)
    for first, each in ((0, 1), (32, 2), (96, 4)):
        part = want[first : first + 32 * each].reshape(32, each)
        part[lane % 3 == 0] = 0
    return [(out.get(), want)]


def matrices(words: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(words).view(np.uint16).reshape(-1, 8, 8)


def fragments(matrix: np.ndarray) -> np.ndarray:
    """A register per lane: row lane / 4, columns lane % 4 * 2 and the next."""
    return np.ascontiguousarray(matrix).reshape(32, 2).view(np.uint32).ravel()


def ldmatrix(bench: Bench, data: Data) -> Pairs:
    words = data.words(128)
    out = bench.empty((32, 14), np.uint32)
    bench.launch("probe_copy.cu", "probe_ldmatrix", 1, 32, (bench.place(words), out), shared=512)
    four = matrices(words)
    plain, transposed = [fragments(m) for m in four], [fragments(m.T) for m in four]
    columns = [way[i] for way in (plain, transposed) for count in (1, 2, 4) for i in range(count)]
    return [(out.get(), np.stack(columns, 1))]


def stmatrix(bench: Bench, data: Data) -> Pairs:
    words = data.words(32, 4)
    out = bench.empty((14 * 32,), np.uint32)
    bench.launch("probe_copy.cu", "probe_stmatrix", 1, 32, (bench.place(words), out), shared=14 * 128)
    plain = [matrices(words[:, i])[0] for i in range(4)]
    want = [m if way == 0 else m.T for way in (0, 1) for count in (1, 2, 4) for m in plain[:count]]
    return [(matrices(out.get()), np.stack(want))]


PROBES += [
    Probe("cp_async", "probe_copy.cu", cp_async, arch=80),
    Probe("ldmatrix", "probe_copy.cu", ldmatrix),
    Probe("stmatrix", "probe_copy.cu", stmatrix, arch=90),
]


# ---- mma.sync


def as_read(x: np.ndarray, kind: str) -> np.ndarray:
    """What a tensor core makes of its operand, in float64: of a float the upper 19 bits."""
    if kind == "tf32":
        x = (x.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)
    return x.astype(np.float64)


def mma(bench: Bench, data: Data, kind: str, depth: int) -> Pairs:
    dtype = TYPES[kind]
    a, b, c = data.floats(16, depth, dtype=dtype), data.floats(depth, 8, dtype=dtype), data.floats(16, 8)
    d = bench.empty((16, 8), F32)
    defines = {"TYPE": kind, "DEPTH": depth, "STORED": "float" if kind == "tf32" else kind}
    bench.launch("probe_mma.cu", "probe_mma", 1, 32, (*map(bench.place, (a, b, c)), d), defines=defines)
    x, y = as_read(a, kind), as_read(b, kind)
    bound = np.abs(x) @ np.abs(y) + np.abs(c)
    return [(d.get(), Approximately(x @ y + c, depth * 2.0**-22 * bound))]


for kind, depth, arch in (("f16", 8, 75), ("bf16", 8, 80), ("tf32", 8, 80), ("f16", 16, 80), ("bf16", 16, 80)):
    defines = {"TYPE": kind, "DEPTH": depth, "STORED": "float" if kind == "tf32" else kind}
    options = {"kind": kind, "depth": depth}
    PROBES.append(Probe(f"mma_m16n8k{depth}_{kind}", "probe_mma.cu", mma, defines, arch, options=options))


# ---- barriers and order


def named_barrier(bench: Bench, data: Data) -> Pairs:
    words = data.words(4, 32)
    out = bench.empty((4, 32), np.uint32)
    bench.launch("probe_barrier.cu", "probe_named_barrier", 1, 128, (bench.place(words), out))
    want = words.copy()
    for warp in range(1, 4):
        want[warp] += want[warp - 1][::-1]
    return [(out.get(), want)]


def mbarrier(bench: Bench, data: Data) -> Pairs:
    words = data.words(4, 32)
    out = bench.empty((131,), np.uint32)
    bench.launch("probe_barrier.cu", "probe_mbarrier", 1, 64, (bench.place(words), out))
    return [(out.get(), np.concatenate([words[:, ::-1].ravel(), [2, 1, 2]]))]


def mbarrier_bytes(bench: Bench, data: Data) -> Pairs:
    words = data.words(4, 32)
    out = bench.empty((4, 32), np.uint32)
    bench.launch("probe_barrier.cu", "probe_mbarrier_bytes", 1, 32, (bench.place(words), out), shared=512)
    return [(out.get(), words[:, ::-1])]


def bulk_store(bench: Bench, data: Data) -> Pairs:
    x, before = data.floats(96), data.floats(96)
    stored, added = bench.empty((96,), F32), bench.place(before)
    bench.launch("probe_barrier.cu", "probe_bulk_store", 1, 96, (bench.place(x), stored, added), shared=384)
    return [(stored.get(), x), (added.get(), before + x)]


def order(bench: Bench, data: Data) -> Pairs:
    blocks = 6
    values = (data.words(blocks, 32) % 1000).astype(np.int32)
    partial, out = bench.empty((blocks, 32), np.int32), bench.empty((32 + blocks,), np.int32)
    counters = bench.place(np.zeros(3, np.int32))
    bench.launch("probe_memory.cu", "probe_order", blocks, 32, (bench.place(values), partial, counters, out))
    line = np.cumsum(values.ravel()[:blocks])
    want = np.concatenate([2 * values.sum(0), line]).astype(np.int32)
    last = np.array([blocks, blocks, blocks * (blocks + 1) // 2])
    return [(out.get(), want), (counters.get(), last.astype(np.int32))]


def dependent(bench: Bench, data: Data) -> Pairs:
    values = (data.words(256) % 1000).astype(np.int32)
    array = bench.place(values)
    for _ in range(2):
        bench.launch("probe_memory.cu", "probe_dependent", 4, 64, (array,), dependent=True)
    return [(array.get(), (values * 3 + 1) * 3 + 1)]


PROBES += [
    Probe("named_barrier", "probe_barrier.cu", named_barrier),
    Probe("mbarrier", "probe_barrier.cu", mbarrier, arch=90),
    Probe("mbarrier_bytes", "probe_barrier.cu", mbarrier_bytes, arch=90),
    Probe("bulk_store", "probe_barrier.cu", bulk_store, arch=90),
    Probe("order", "probe_memory.cu", order),
    Probe("dependent", "probe_memory.cu", dependent, arch=90),
]


# ---- clusters


def cluster(bench: Bench, data: Data, size: int) -> Pairs:
    blocks = 2 * size
    x = data.floats(blocks, 32)
    out = bench.empty((blocks, 12, 32), F32)
    bench.launch("probe_cluster.cu", "probe_cluster", blocks, 32, (bench.place(x), out), cluster=(size, 1, 1))
    got = out.get()
    first, rank = np.arange(blocks) // size * size, np.arange(blocks) % size
    right = x[first + (rank + 1) % size]  # what a block reads there, and what it is given from there
    lane = np.arange(32)
    pattern = np.stack([right, np.broadcast_to(1.0 + lane, right.shape), -right,
                        np.broadcast_to(((rank + 1) % size)[:, None], right.shape)], -1)  # fmt: skip
    third = (right.astype(np.float64) / 3).view(np.float32).reshape(blocks, 2, 32)
    want = np.concatenate([np.stack([right] * 4, 1), np.stack([right] * 2, 1), third,
                           pattern.reshape(blocks, 4, 32)], 1)  # fmt: skip
    return [(got.view(np.uint32), want.astype(F32).view(np.uint32))]


def cluster_split(bench: Bench, data: Data, size: int) -> Pairs:
    words = data.words(2 * size)
    out = bench.empty((2 * size, 32), np.uint32)
    arguments = (bench.place(words), out)
    bench.launch("probe_cluster.cu", "probe_cluster_split", 2 * size, 32, arguments, cluster=(size, 1, 1))
    want = words * np.uint32(7)
    for other in range(size):
        want = want * np.uint32(5) + words.reshape(2, size)[:, [other]].repeat(size, 1).ravel()
    want += np.tile(np.arange(size, dtype=np.uint32), 2) + np.uint32(100)  # one thread of a warp is elected
    return [(out.get(), np.broadcast_to(want[:, None], (2 * size, 32)))]


for size in (1, 2, 4, 8):
    PROBES.append(Probe(f"cluster_{size}", "probe_cluster.cu", cluster, arch=90, options={"size": size}))
PROBES.append(Probe("cluster_split", "probe_cluster.cu", cluster_split, arch=90, options={"size": 4}))
