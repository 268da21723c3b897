"""Products whose k is cut into parts, for matrices too small to give every multiprocessor a tile.

The sums of each part go to a workspace, and a second kernel adds them in their order: the same bits every time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from weft.backends.gpu.array import empty_like
from weft.backends.gpu.gemm_choice import Configuration
from weft.backends.launch import kernel, launch

if TYPE_CHECKING:
    from weft.backends.gpu.gemm import Family, Run
    from weft.backends.gpu.gemm_product import Product

THREADS = 256


def part_length(k: int, splits: int, tile_k: int) -> int:
    """The k of every part but the last: whole slices."""
    return max(1, math.ceil(math.ceil(k / tile_k) / splits)) * tile_k


def prepare(family: Family, product: Product, configuration: Configuration, splits: int) -> Run:
    """Both passes: `family` computes the parts, gemm_split.cu adds them and applies the epilogue."""
    first_pass, add = family.prepare(product.partial(), configuration, splits), adder(product, splits)
    size = splits * product.batch * product.m * product.n

    def run(a: Any, b: Any, out: Any, bias: Any, aux: Any, residual: Any) -> None:
        sums = empty_like(a, (size,), product.compute)
        first_pass(a, b, sums, None, None, None)
        add(sums, out, bias, aux, residual)

    return run


def adder(product: Product, splits: int) -> Callable[[Any, Any, Any, Any, Any], None]:
    """The second pass: add(sums, out, bias, aux, residual), sums (splits, products, M, N)."""
    problem = product.problem(1, 1, splits=splits)
    second_pass = kernel("gemm_split.cu", "gemm_split", **product.epilogue_defines())
    vector = 16 // (8 if product.compute in ("float64", "uint64") else 4)
    blocks = math.ceil(product.batch * product.m * math.ceil(product.n / vector) / THREADS)

    def add(sums: Any, out: Any, bias: Any, aux: Any, residual: Any) -> None:
        aligned = product.n % vector == 0 and sums.pointer % 16 == 0
        launch(second_pass, (blocks,), (THREADS,), (sums, out, bias, aux, residual, problem, int(aligned)))

    return add
