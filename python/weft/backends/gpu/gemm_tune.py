"""Measured choices of GEMM kernels: `weft tune` times the candidates of a product and keeps the best.

They lie in one JSON file beside the compiled kernels, {"GPU, driver, hash of the kernels": {product: kernel}}: another
GPU, driver or source finds none of them and falls back on the model of gemm_choice. The file is replaced as a whole,
so that a reader never sees half of it; one that is not what was written is refused, not repaired.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from weft.backends import cache, source

if TYPE_CHECKING:
    from weft.backends.gpu.gemm_product import Product

SOURCES = ("gemm_simt.cu", "gemm_mma.cu", "gemm_sm90.cu", "gemm_split.cu")
#: timer(launch) -> seconds of one call of launch.
Timer = Callable[[Callable[[], None]], float]


def path() -> Path:
    return cache.wanted_folder() / "gemm.json"


@functools.cache
def source_hash() -> str:
    kernels = [source.read(name) for name in SOURCES if (source.folder("kernels") / name).is_file()]
    return cache.key(*[text for kernel in kernels for text in kernel.texts()])[:16]


def identity(device: str) -> str:
    """What measurements on a device hold for: its name, its driver, the sources of the kernels."""
    if device == "emulated":
        return f"emulated, {source_hash()}"
    import cupy

    name = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)["name"].decode()
    return f"{name}, driver {cupy.cuda.runtime.driverGetVersion()}, {source_hash()}"


def product_key(product: Product) -> str:
    """All that a choice depends on, in words."""
    extras = [name for name in ("aux", "residual") if getattr(product, name) is not None]
    extras += [f"bias by {product.bias}"] * (product.bias != "none") + ["beta"] * (product.beta != 0)
    extras += [product.activation] * (product.activation != "none") + ["tf32"] * product.tf32
    return (
        f"{product.layout} {product.dtype} to {product.out_dtype}, {product.m} x {product.n} x {product.k}, "
        f"batch {product.outer} x {product.inner}, rows at {product.a.bytes} and {product.b.bytes} bytes, "
        + " ".join(extras)
    )


@functools.lru_cache(maxsize=4)
def read(file: Path, changed: int) -> dict[str, dict[str, str]]:
    """What a file holds. ValueError if it is not of gemm_tune's making."""
    try:
        found = json.loads(file.read_text())
    except (ValueError, UnicodeDecodeError) as error:
        raise damaged(file, str(error)) from None
    rows = list(found.values()) if isinstance(found, dict) else [None]
    if not all(isinstance(row, dict) and all(isinstance(kernel, str) for kernel in row.values()) for row in rows):
        raise damaged(file, "something else")
    return found


def damaged(file: Path, what: str) -> ValueError:
    return ValueError(f"gemm_tune: expected measured kernels in {file}, got {what}; remove the file, then `weft tune`")


def stored() -> dict[str, dict[str, str]]:
    file = path()
    try:
        changed = file.stat().st_mtime_ns
    except OSError:
        return {}
    return read(file, changed)


def lookup(product: Product) -> str | None:
    """The measured kernel of a product, None if it was not measured here."""
    found = stored()
    return found.get(identity(product.device), {}).get(product_key(product)) if found else None


def save(device: str, measured: dict[str, str]) -> Path:
    """Add measured kernels to the file."""
    found = {name: dict(row) for name, row in stored().items()}
    found.setdefault(identity(device), {}).update(measured)
    file = path()
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=".gemm-", dir=file.parent)
    try:
        with os.fdopen(handle, "w") as out:
            json.dump(found, out, indent=1, sort_keys=True)
        os.replace(temporary, file)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    return file


def measure(product: Product, launch: Callable[[str], None], timer: Timer, most: int = 8) -> list[tuple[str, float]]:
    """(kernel, seconds) of the candidates that the model likes best, the fastest first; launch(kernel) runs one."""
    from weft.backends.gpu import gemm_choice

    found = sorted(
        gemm_choice.candidates(product),
        key=lambda c: gemm_choice.cycles(gemm_choice.FAMILIES[c[0]], c[1], product, c[2]),
    )
    names = [gemm_choice.spelled(*candidate) for candidate in found[:most]]
    return sorted(((name, timer(functools.partial(launch, name))) for name in names), key=lambda pair: pair[1])


def tune(m: int, n: int, k: int, layout: str, dtype: str, device: str, timer: Timer, *, batch: int = 1
         ) -> list[tuple[str, float]]:  # fmt: skip
    """Time the candidates of one product on random factors and keep the fastest; (kernel, seconds), fastest first.

    layout: NN, NT, TN or TT; device: "cuda:N" or "emulated". ValueError where a size is not positive.
    """
    from weft.backends.gpu import gemm_choice
    from weft.backends.gpu.array import empty
    from weft.backends.gpu.gemm import PLANS, describe, gemm

    if min(m, n, k, batch) < 1:
        raise ValueError(f"tune: expected sizes of 1 or more, got {m}, {n}, {k} and a batch of {batch}")
    a = random_factor((m, k), layout[0] == "T", batch, dtype, device)
    b = random_factor((k, n), layout[1] == "T", batch, dtype, device)
    out = empty(a.shape[:-1] + (n,), dtype, device)
    product = describe(a, b, out, 1.0, 0.0, None, None, None, None)
    if product is None:
        raise ValueError(f"tune: expected one batch axis, got {a.shape} and {b.shape}")
    def launch(kernel: str) -> None:
        gemm(a, b, out=out, kernel=kernel)

    rows = measure(product, launch, timer)
    save(product.device, {product_key(product): rows[0][0]})
    gemm_choice.choose.cache_clear()
    PLANS.clear()
    return rows


def random_factor(shape: tuple[int, int], flipped: bool, batch: int, dtype: str, device: str) -> Any:
    """Values between -1 and 1: zeros would run faster than any real product does."""
    from weft.backends.gpu.array import empty

    rows = shape[::-1] if flipped else shape
    values = np.random.default_rng(0).uniform(-1, 1, (batch, *rows) if batch > 1 else rows).astype(np.float32)
    x = empty(values.shape, dtype, device)
    x.set(values.astype(x.dtype))
    return x.swapaxes(-1, -2) if flipped else x


def events(repeats: int = 20) -> Timer:
    """A timer on the current CUDA device: the median of `repeats` launches, each after L2 was overwritten.

    RuntimeError where there is no GPU.
    """
    try:
        import cupy

        scratch = cupy.empty(1 << 28, cupy.uint8)
    except Exception as error:
        raise RuntimeError(f"tune: expected an NVIDIA GPU and CuPy, got {error}") from None

    def timer(launch: Callable[[], None]) -> float:
        launch()
        times = []
        for _ in range(repeats):
            scratch.fill(0)
            start, end = cupy.cuda.Event(), cupy.cuda.Event()
            start.record()
            launch()
            end.record()
            end.synchronize()
            times.append(cupy.cuda.get_elapsed_time(start, end) / 1e3)
        return statistics.median(times)

    return timer
