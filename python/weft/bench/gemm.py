"""Matrix products: Weft's kernels beside cuBLAS on a GPU, beside NumPy and PyTorch on a CPU.

Layouts are named as BLAS names them for matrices in rows: the first letter says whether A (M, K) lies in memory
transposed, the second whether B (K, N) does. NT is what a linear layer computes and what keeps both operands contiguous
along K (cuBLAS, which thinks in columns, calls the same product TN).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from weft.bench.timing import alternate, alternate_on_gpu, in_turns

DTYPES = {
    "f32": np.dtype(np.float32),
    "tf32": np.dtype(np.float32),  # float32 operands, rounded by the tensor cores
    "f64": np.dtype(np.float64),
    "f16": np.dtype(np.float16),
    "bf16": np.dtype(ml_dtypes.bfloat16),
}
# What one rounding of the operands and the result may cost, relative to the norm of the product.
ERROR = {"f32": 1e-5, "tf32": 2e-3, "f64": 1e-13, "f16": 2e-3, "bf16": 1.2e-2}
CHECKED_ROWS = 256  # of the product, against float64
LAYOUTS = ("NN", "NT", "TN", "TT")


@dataclass(frozen=True)
class Product:
    """C (M, N) = A (M, K) B (K, N) of one type and layout."""

    m: int
    n: int
    k: int
    dtype: str
    layout: str

    @property
    def flops(self) -> float:
        return 2.0 * self.m * self.n * self.k

    @property
    def bytes(self) -> float:
        """The fewest bytes that must move: each matrix once."""
        return float(DTYPES[self.dtype].itemsize * (self.m * self.k + self.k * self.n + self.m * self.n))

    def __str__(self) -> str:
        return f"{self.m}x{self.n}x{self.k} {self.dtype} {self.layout}"

    def operands(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A and B with normal values, as views that lie in memory as the layout says."""
        make = lambda rows, columns, turned: (
            rng.standard_normal((columns, rows), dtype=np.float32).astype(DTYPES[self.dtype]).T
            if turned
            else rng.standard_normal((rows, columns), dtype=np.float32).astype(DTYPES[self.dtype])
        )
        return make(self.m, self.k, self.layout[0] == "T"), make(self.k, self.n, self.layout[1] == "T")


def cpu_products() -> Iterator[Product]:
    for dtype in ("f32", "f64"):
        for layout in LAYOUTS:
            yield Product(1024, 1024, 1024, dtype, layout)
    for m, n, k in ((2048, 256, 1024), (256, 256, 256), (32, 1024, 256), (64, 784, 576), (1000, 1001, 999)):
        yield Product(m, n, k, "f32", "NN")
        yield Product(m, n, k, "f32", "NT")


def gpu_products() -> Iterator[Product]:
    for dtype in ("bf16", "f16"):
        for size in (4096, 8192):
            for layout in LAYOUTS if dtype == "bf16" else ("NT",):
                yield Product(size, size, size, dtype, layout)
    for layout in LAYOUTS:
        yield Product(4096, 4096, 4096, "tf32", layout)
    yield Product(8192, 8192, 8192, "tf32", "NT")
    yield Product(4096, 4096, 4096, "f32", "NN")
    yield Product(4096, 4096, 4096, "f32", "NT")
    yield Product(2048, 2048, 2048, "f64", "NN")
    for dtype in ("bf16", "tf32", "f32"):
        yield Product(1000, 1001, 999, dtype, "NN")
        yield Product(8192, 50257, 768, dtype, "NT")
        yield Product(4096, 4096, 64, dtype, "NT")
        yield Product(1024, 1024, 1024, dtype, "NT")
        yield Product(2048, 4096, 4096, dtype, "NT")
    for m, n, k in ((16, 4096, 4096), (8192, 768, 3072), (768, 768, 32768)):
        yield Product(m, n, k, "bf16", "NT")


def error_of(got: np.ndarray, a: np.ndarray, b: np.ndarray) -> float:
    """The product's distance from float64's, of its norm, over some of its rows, the last ones among them."""
    m = a.shape[0]
    rows = np.unique(np.concatenate([np.linspace(0, m - 1, min(m, CHECKED_ROWS)).astype(int), [m - 1]]))
    want = a[rows].astype(np.float64) @ b.astype(np.float64)
    return float(np.linalg.norm(got[rows].astype(np.float64) - want) / np.linalg.norm(want))


def cpu_contenders(product: Product, a: np.ndarray, b: np.ndarray) -> dict[str, Callable[[], Any]]:
    from weft.backends import reference as K

    found: dict[str, Callable[[], Any]] = {"weft": lambda: K.matmul(a, b), "numpy": lambda: np.matmul(a, b)}
    try:
        import torch
    except ImportError:
        return found
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    p, q = torch.from_numpy(a), torch.from_numpy(b)
    found["torch"] = lambda: torch.mm(p, q)
    return found


def gpu_contenders(product: Product, a: Any, b: Any) -> dict[str, Callable[[], Any]]:
    """Weft's choice, cuBLAS through CuPy where CuPy offers the type, and through PyTorch with its precision matched."""
    import cupy

    import weft
    from weft.backends.gpu.gemm import gemm

    weft.set_float32_matmul_precision("high" if product.dtype == "tf32" else "highest")
    found: dict[str, Callable[[], Any]] = {"weft": lambda: gemm(a, b)}
    if product.dtype in ("f32", "f64", "f16"):
        x, y = a.view(cupy.ndarray), b.view(cupy.ndarray)
        found["cupy"] = lambda: cupy.matmul(x, y)
    try:
        import torch
    except ImportError:
        return found
    torch.backends.cuda.matmul.allow_tf32 = product.dtype == "tf32"
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
    p, q = (as_torch(x, product.dtype) for x in (a, b))
    found["torch"] = lambda: torch.mm(p, q)
    return found


def as_torch(x: Any, dtype: str) -> Any:
    """The same device memory as a torch Tensor; bfloat16 crosses as 16-bit integers."""
    import cupy
    import torch

    if dtype != "bf16":
        return torch.from_dlpack(x.view(cupy.ndarray))
    bits = x.T if x.flags.f_contiguous and not x.flags.c_contiguous else x
    shared = torch.from_dlpack(bits.view(cupy.ndarray).view(cupy.int16)).view(torch.bfloat16)
    return shared if bits is x else shared.T


def to_host(x: Any) -> np.ndarray:
    if isinstance(x, np.ndarray):
        return x
    if type(x).__module__.startswith("torch"):
        return x.float().cpu().numpy()
    return np.asarray(x.get())


def measured(product: Product, device: str, seconds: float) -> dict[str, Any]:
    """One row: every contender checked against float64, then timed in turns."""
    rng = np.random.default_rng([product.m, product.n, product.k])
    a, b = product.operands(rng)
    if device == "cpu":
        contenders = cpu_contenders(product, a, b)
    else:
        import weft

        x, y = (weft.asarray(v, device=device).data for v in (a, b))  # views of transposed memory stay transposed
        contenders = gpu_contenders(product, x, y)
    errors = {name: error_of(to_host(f()), a, b) for name, f in contenders.items()}
    limit = max(ERROR[product.dtype], 2 * max((e for n, e in errors.items() if n != "weft"), default=0.0))
    if not errors["weft"] <= limit:
        raise ArithmeticError(f"gemm: {product}: expected an error below {limit:.1e}, got {errors['weft']:.1e}")
    times = in_turns(contenders, device, seconds)
    peers = [t["median"] for name, t in times.items() if name != "weft"]
    return {
        "what": str(product),
        "flops": product.flops,
        "bytes": product.bytes,
        "dtype": product.dtype,
        "times": times,
        "errors": errors,
        "ratio": min(peers) / times["weft"]["median"] if peers else None,  # above 1: Weft is faster than the best peer
    }


def copy_rate(device: str) -> float:
    """Bytes per second of a large copy, read plus written: the ceiling of what only moves data."""
    count = (1 << 26) if device == "cpu" else (1 << 28)
    if device == "cpu":
        source = np.random.default_rng(0).standard_normal(count, dtype=np.float32)
        target = np.empty_like(source)
        half = count // 2

        def copy() -> None:  # two threads: NumPy copies with one, and lets the other run
            with ThreadPoolExecutor(2) as pool:
                list(pool.map(lambda s: np.copyto(target[s], source[s]), (slice(0, half), slice(half, None))))

        return 2 * source.nbytes / alternate({"copy": copy}, seconds=1.0)["copy"]["median"]
    import cupy

    source = cupy.random.standard_normal(count, dtype=cupy.float32)
    target = cupy.empty_like(source)
    return 2 * source.nbytes / alternate_on_gpu({"copy": lambda: cupy.copyto(target, source)})["copy"]["median"]
