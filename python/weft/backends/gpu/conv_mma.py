"""conv_mma.cu: convolutions on the tensor cores of every GPU since Turing, by mma.sync."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from weft.backends.gpu.conv_choice import register
from weft.backends.gpu.conv_problem import Convolution
from weft.backends.gpu.conv_simt import launcher, windowed
from weft.backends.gpu.gemm_choice import Configuration
from weft.backends.gpu.gemm_mma import Mma
from weft.backends.gpu.gemm_product import Product

if TYPE_CHECKING:
    from weft.backends.gpu.conv_choice import Run

#: As gemm_mma's, but that what is kept of the windows takes registers: a thread has 64 sums, or few neighbours.
ROWS: tuple[Configuration, ...] = (
    Configuration(128, 256, 32, 2, 4, 4),
    Configuration(128, 128, 32, 2, 4, 4),
    Configuration(128, 64, 32, 2, 2, 4, blocks=2),
    Configuration(64, 128, 32, 2, 2, 4, blocks=2),
    Configuration(64, 64, 64, 2, 2, 3, blocks=2),
    Configuration(32, 128, 64, 1, 4, 3, blocks=3),
    Configuration(128, 32, 32, 4, 1, 4, blocks=3),
    Configuration(32, 32, 64, 1, 1, 3, blocks=8),
)
TAPS = 32  #: rows and columns of a kernel, a bit for each


class ConvMma(Mma):
    """The ring of gemm_mma, its slices gathered."""

    name = "conv_mma"
    configurations = ROWS

    def refusal(self, product: Product, configuration: Configuration) -> str:
        if isinstance(product, Convolution) and sum(product.shape.kernel) > TAPS:
            return f"a kernel of {product.shape.kernel} taps"
        if product.dtype == "float32" and configuration.sums == 128:
            return "128 sums of a thread beside elements that pass through registers"
        return super().refusal(product, configuration)

    def static_bytes(self, product: Product) -> int:
        return 0

    def defines(self, product: Product, configuration: Configuration, splits: int = 1) -> dict[str, Any]:
        return windowed(super().defines, product, configuration, splits)

    def prepare(self, product: Any, configuration: Configuration, splits: int) -> Run:  # type: ignore[override]
        defines, shared = self.defines(product, configuration, splits), self.shared_bytes(product, configuration)
        return launcher(product, configuration, splits, self.name, defines, shared)


MMA = ConvMma()
register(MMA)
