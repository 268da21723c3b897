"""cuBLAS through CuPy, in place of the kernels of this project: WEFT_KERNELS=vendor, to compare with them.

The epilogue is array code after the product, and the product is rounded to its dtype before it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from weft.backends.array import namespace
from weft.backends.gpu.gemm_choice import Configuration, Device, register

if TYPE_CHECKING:
    from weft.backends.gpu.gemm import Run
    from weft.backends.gpu.gemm_product import Product


def multiply(a: Any, b: Any) -> Any:
    import cupy

    return cupy.matmul(a, b)


class Vendor:
    """One choice for every product; what it does inside is the vendor's."""

    name = "vendor"
    configurations = (Configuration(1, 1, 2**31 - 1, 1, 1, 2),)
    portable = False
    reads_shared = False

    def refusal(self, product: Product, configuration: Configuration) -> str:
        if product.device != "cuda":
            return f"cuBLAS on {product.device}"
        return "" if product.dtype in ("float16", "bfloat16", "float32", "float64") else f"{product.dtype} in cuBLAS"

    def rate(self, product: Product, device: Device) -> float:
        return device.f64 if product.dtype == "float64" else device.f32 if product.dtype == "float32" else device.half

    def resident(self, product: Product, configuration: Configuration) -> int:
        return 1

    def prepare(self, product: Product, configuration: Configuration, splits: int) -> Run:
        def run(a: Any, b: Any, out: Any, bias: Any, aux: Any, residual: Any) -> None:
            xp = namespace(out)
            y = xp.astype(multiply(a, b), out.dtype)
            if product.alpha != 1:
                y = y * product.alpha
            if product.beta:
                y = y + out * product.beta
            if bias is not None:
                y = y + bias
            if aux is not None:
                aux[...] = y
            if product.activation != "none":
                y = ACTIVATIONS[product.activation](xp, y)
            out[...] = y if residual is None else y + residual

        return run


ACTIVATIONS = {
    "relu": lambda xp, x: xp.maximum(x, 0),
    "gelu": lambda xp, x: x * (xp.erf(x * 0.5**0.5) + 1) * 0.5,
    "gelu_tanh": lambda xp, x: x * (xp.tanh((x + x * x * x * 0.044715) * 0.7978845608028654) + 1) * 0.5,
    "silu": lambda xp, x: x * xp.sigmoid(x),
}
VENDOR = Vendor()
register(VENDOR)
