"""The GEMM kernels in their shipped tiles, for configurations.py."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from weft.backends.gpu import gemm_choice, gemm_mma, gemm_simt  # noqa: F401  (they register themselves)
from weft.backends.gpu.gemm_product import Matrix, Product

Compiled = tuple[str, str, dict[str, Any], int, int]
REGISTERS = 65536
LAYOUTS = {"NN": (False, False), "NT": (False, True), "TN": (True, False), "TT": (True, True)}
FULL = {
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


def simt() -> Iterator[Compiled]:
    family = gemm_choice.FAMILIES["gemm_simt"]
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


def mma() -> Iterator[Compiled]:
    family = gemm_choice.FAMILIES["gemm_mma"]
    for dtype, least in (("float16", 75), ("bfloat16", 80), ("float32", 80)):
        for layout in LAYOUTS:
            for access in (16, 4, 2) if dtype != "float32" else (16, 4):
                options = FULL if (layout == "TN") == (access == 16) else {}
                for capability in sorted({least, 80}):
                    made = product(dtype, layout, capability, access, **options)
                    for c in family.configurations:
                        if not family.refusal(made, c):
                            defines = family.defines(made, c)
                            yield "gemm_mma.cu", "gemm_mma", defines, capability, ceiling(c.threads, defines["BLOCKS"])


def split() -> Iterator[Compiled]:
    for dtype in ("bfloat16", "float32", "float64"):
        for options in ({}, FULL):
            defines = product(dtype, "NN", 75, **options).epilogue_defines()
            yield "gemm_split.cu", "gemm_split", defines, 75, 64
