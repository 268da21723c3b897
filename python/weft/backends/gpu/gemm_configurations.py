"""The GEMM kernels in their shipped tiles, for configurations.py."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from weft.backends.gpu import gemm_mma, gemm_simt, gemm_sm90
from weft.backends.gpu.gemm_product import Matrix, Product

REGISTERS = 65536
LAYOUTS = {"NN": (False, False), "NT": (False, True), "TN": (True, False), "TT": (True, True)}
FULL: dict[str, Any] = {
    "bias": "column", "activation": "gelu_tanh", "aux": Matrix(), "residual": Matrix(), "beta": 1.0,
}  # fmt: skip


def product(dtype: str, layout: str, capability: int, access: int = 16, **options: Any) -> Product:
    """A product that stands for all of its dtype, layout, widest access and epilogue."""
    a, b = (Matrix(flipped, bytes=access) for flipped in LAYOUTS[layout])
    plain = Product(
        m=4096, n=4096, k=4096, outer=1, inner=1, dtype=dtype, out_dtype=dtype, a=a, b=b, out=Matrix(),
        capability=capability, device="cuda", tf32=True, aligned=True,
    )  # fmt: skip
    return dataclasses.replace(plain, **options)


def ceiling(threads: int, blocks: int) -> int:
    """The most registers of a thread with which `blocks` blocks fit a multiprocessor; they come by eights, to 255."""
    return min(255, REGISTERS // (threads * blocks) // 8 * 8)


def simt() -> Iterator[tuple[Any, ...]]:
    family = gemm_simt.SIMT
    for dtype, layouts, access in (
        ("float32", ("NN", "NT", "TN", "TT"), 16), ("float32", ("NN",), 4), ("float64", ("NN", "TT"), 16),
        ("bfloat16", ("NT",), 16), ("int32", ("TN",), 16), ("int64", ("NN",), 8), ("bool", ("NN",), 1),
    ):  # fmt: skip
        for layout in layouts:
            plain = product(dtype, layout, 75, access)
            whole = product(dtype, layout, 75, access, **FULL) if dtype[0] != "i" and dtype != "bool" else plain
            for c in family.configurations:
                if not family.refusal(plain, c):
                    defines = family.defines(whole if layout == "NN" else plain, c)
                    yield "gemm_simt.cu", "gemm_simt", defines, 75, ceiling(c.threads, defines["BLOCKS"])


#: (dtype, capability, layouts, widest access): Turing has a path of its own.
MMA = (
    ("bfloat16", 80, ("NN", "NT", "TN", "TT"), 16), ("bfloat16", 80, ("NN",), 4), ("bfloat16", 80, ("TN",), 2),
    ("float16", 75, ("NN", "TN"), 16), ("float16", 75, ("NT",), 2), ("float16", 80, ("NT",), 16),
    ("float32", 80, ("NN", "NT", "TN", "TT"), 16), ("float32", 80, ("NN",), 4),
)  # fmt: skip


def mma() -> Iterator[tuple[Any, ...]]:
    family = gemm_mma.MMA
    for dtype, capability, layouts, access in MMA:
        for layout in layouts:
            made = product(dtype, layout, capability, access, **(FULL if layout in ("NN", "TN") else {}))
            for c in family.configurations:
                if not family.refusal(made, c):
                    defines = family.defines(made, c)
                    row = ("gemm_mma.cu", "gemm_mma", defines, capability, ceiling(c.threads, defines["BLOCKS"]))
                    yield (*row, 79) if capability < 80 else row


def split() -> Iterator[tuple[Any, ...]]:
    for dtype in ("bfloat16", "float32", "float64"):
        for options in ({}, FULL):
            defines = product(dtype, "NN", 75, **options).epilogue_defines()
            yield "gemm_split.cu", "gemm_split", defines, 75, 64


#: Epilogues of gemm_sm90, which reads or writes one matrix besides out.
EPILOGUES: tuple[dict[str, Any], ...] = (
    {"bias": "column", "activation": "gelu", "aux": Matrix()},
    {"bias": "row", "activation": "silu", "alpha": 2.0},
    {"residual": Matrix(), "bias": "column"},
    {"beta": 0.5, "out_dtype": "float32"},
    {"beta": 1.0, "out_dtype": "float32"},
    {"out": Matrix(pitched=False), "bias": "column"},
    {"outer": 4, "activation": "relu"},
)


def sm90() -> Iterator[tuple[Any, ...]]:
    """Every tile, the first in every layout and epilogue, the others in some of them."""
    family, layouts = gemm_sm90.SM90, tuple(LAYOUTS)
    for i, tile in enumerate(gemm_sm90.TILES):
        made = [product("bfloat16", layout, 90) for layout in (layouts if i < 2 else ("NT",))]
        epilogues = list(enumerate(EPILOGUES))
        made += [product("bfloat16", layouts[(i + j) % 4], 90, **options)
                 for j, options in (epilogues if i == 0 else epilogues[i % 3 :: 3])]  # fmt: skip
        made.append(product("float32", "NT", 90) if i % 2 else product("float16", layouts[i % 4], 90))
        for one in made:
            if not family.refusal(one, tile):
                yield "gemm_sm90.cu", "gemm_sm90", family.defines(one, tile), 90, ceiling(tile.threads, 1), 99
    for size in ("unsigned short", "float"):
        for turn in (0, 1):
            yield "gemm_pack.cu", "gemm_pack", {"TYPE": size, "TRANSPOSED": turn}, 75, 64
