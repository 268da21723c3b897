"""What a matrix product is to the GEMM kernels: shapes, how each matrix lies in memory, and the epilogue.

A matrix is row-major in storage: `stride` elements between rows, the elements of a row together. A factor is the
storage or its transpose; the layouts NN, NT, TN, TT say so for A, stored (M, K) or (K, M), and B, (K, N) or (N, K).
"""

from __future__ import annotations

import ctypes
import dataclasses
import math
from typing import Any

import numpy as np

BFLOAT16 = "bfloat16"

#: Types of kernels by NumPy's name: (in CUDA C++, of the sums).
C_TYPES = {
    "float16": ("f16", "float"), "bfloat16": ("bf16", "float"), "float32": ("float", "float"),
    "float64": ("double", "double"), "bool": ("bool", "unsigned"),
    "int8": ("int8_t", "unsigned"), "uint8": ("uint8_t", "unsigned"),
    "int16": ("int16_t", "unsigned"), "uint16": ("uint16_t", "unsigned"),
    "int32": ("int", "unsigned"), "uint32": ("unsigned", "unsigned"),
    "int64": ("int64_t", "uint64_t"), "uint64": ("uint64_t", "uint64_t"),
}  # fmt: skip
ACTIVATIONS = ("none", "relu", "gelu", "gelu_tanh", "silu")


class Problem(ctypes.Structure):
    """`Problem` of kernels/epilogue.cuh."""

    _fields_ = [
        *[(f"{matrix}_{stride}", ctypes.c_longlong) for matrix in ("a", "b", "out", "aux", "residual")
          for stride in ("stride", "outer", "inner")],
        ("split_stride", ctypes.c_longlong),
        *[(name, ctypes.c_double) for name in ("alpha", "beta")],
        *[(name, ctypes.c_int) for name in (
            "m", "n", "k", "batch", "inner", "splits", "k_split", "tiles_m", "tiles_n", "aligned")],
    ]  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Matrix:
    """Where the elements of a matrix, or of a batch of them, lie; strides in elements."""

    transposed: bool = False
    stride: int = 0
    outer: int = 0
    inner: int = 0
    bytes: int = 16  #: the widest access for which pointer, strides and length of the rows are multiples
    pitched: bool = True  #: pointer and strides are multiples of 16 bytes, whatever the length of the rows


@dataclasses.dataclass(frozen=True)
class Product:
    """One call of gemm as the kernels see it; hashable, and free of pointers."""

    m: int
    n: int
    k: int
    outer: int
    inner: int
    dtype: str
    out_dtype: str
    a: Matrix
    b: Matrix
    out: Matrix
    capability: int
    device: str  #: "cuda" or "emulated"
    multiprocessors: int = 0  #: of the GPU; 0 stands for a typical one of its generation
    tf32: bool = False  #: float32 operands may be rounded to tf32
    bias: str = "none"  #: none, column or row
    bias_dtype: str = ""
    activation: str = "none"
    aux: Matrix | None = None
    residual: Matrix | None = None
    alpha: float = 1.0
    beta: float = 0.0
    aligned: bool = False  #: rows of out, aux, residual and bias start at multiples of 16 bytes

    @property
    def batch(self) -> int:
        return self.outer * self.inner

    @property
    def layout(self) -> str:
        """NN, NT, TN or TT."""
        return "NT"[self.a.transposed] + "NT"[self.b.transposed]

    @property
    def itemsize(self) -> int:
        return 2 if self.dtype == BFLOAT16 else np.dtype(self.dtype).itemsize

    @property
    def compute(self) -> str:
        """NumPy's name of the type of the sums."""
        return {"float": "float32", "double": "float64", "unsigned": "uint32"}.get(C_TYPES[self.dtype][1], "uint64")

    def partial(self) -> Product:
        """The product without its epilogue, into contiguous sums: what one part of K contributes."""
        size = self.m * self.n
        aligned = self.n * np.dtype(self.compute).itemsize % 16 == 0
        return dataclasses.replace(
            self, out_dtype=self.compute, bias="none",
            out=Matrix(stride=self.n, outer=self.inner * size, inner=size, pitched=aligned),
            bias_dtype="", activation="none", aux=None, residual=None, alpha=1.0, beta=0.0, aligned=aligned,
        )  # fmt: skip

    def problem(self, tile_m: int, tile_n: int, *, splits: int = 1, k_split: int | None = None) -> Problem:
        """The argument of a kernel whose blocks own tiles of tile_m x tile_n."""
        nothing = Matrix()
        matrices = (self.a, self.b, self.out, self.aux or nothing, self.residual or nothing)
        strides = [value for x in matrices for value in (x.stride, x.outer, x.inner)]
        return Problem(
            *strides, self.batch * self.m * self.n, self.alpha, self.beta, self.m, self.n, self.k, self.batch,
            self.inner, splits, self.k if k_split is None else k_split, -(-self.m // tile_m), -(-self.n // tile_n),
            self.aligned,
        )  # fmt: skip

    def epilogue_defines(self) -> dict[str, Any]:
        """The defines of kernels/epilogue.cuh."""
        return {
            "COMPUTE": C_TYPES[self.dtype][1], "OUT": C_TYPES[self.out_dtype][0], "BIAS": self.bias,
            "BIAS_TYPE": C_TYPES[self.bias_dtype or self.out_dtype][0], "ACTIVATION": self.activation,
            "BETA": int(self.beta != 0), "AUX": int(self.aux is not None),
            "RESIDUAL": int(self.residual is not None),
        }  # fmt: skip


def name_of(dtype: Any) -> str:
    """NumPy's name of a dtype that the kernels take."""
    return str(np.dtype(dtype).name)


def widest_access(itemsize: int, pointer: int, *elements: int) -> int:
    """The largest of 16, 8, 4, 2, 1 bytes that divides a pointer and lengths or strides given in elements."""
    return math.gcd(16, pointer, *[count * itemsize for count in elements])
