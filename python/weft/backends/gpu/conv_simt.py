"""conv_simt.cu: convolutions by multiply-adds of single threads, of every float dtype and on every GPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from weft.backends.gpu.conv_choice import register
from weft.backends.gpu.conv_problem import WEIGHT_GRAD, Convolution
from weft.backends.gpu.gemm_choice import Configuration
from weft.backends.gpu.gemm_product import Product
from weft.backends.gpu.gemm_simt import Simt
from weft.backends.launch import kernel, launch

if TYPE_CHECKING:
    from weft.backends.gpu.conv_choice import Run

#: A thread has 64 to 16 sums. Where windows lie takes registers: with 64 sums, no more than 128 threads share them.
CONFIGURATIONS = (
    Configuration(128, 64, 8, 4, 1, 2, blocks=3),
    Configuration(64, 128, 8, 2, 2, 2, blocks=3),
    Configuration(64, 64, 16, 2, 2, 2, blocks=4),
    Configuration(64, 32, 16, 2, 1, 2, blocks=6),
    Configuration(32, 64, 16, 1, 2, 2, blocks=6),
    Configuration(32, 32, 16, 1, 1, 2, blocks=8),
)


class ConvSimt(Simt):
    """The tiles of gemm_simt, their slices gathered; see the kernel."""

    name = "conv_simt"
    configurations = CONFIGURATIONS

    def defines(self, product: Product, configuration: Configuration, splits: int = 1) -> dict[str, Any]:
        return windowed(super().defines, product, configuration, splits)

    def prepare(self, product: Any, configuration: Configuration, splits: int) -> Run:  # type: ignore[override]
        return launcher(product, configuration, splits, self.name, self.defines(product, configuration, splits))


def windowed(
    of_gemm: Callable[..., dict[str, Any]], product: Product, configuration: Configuration, splits: int
) -> dict[str, Any]:
    """A convolution's definitions: those of GEMM's kernel, but how its factors lie, which follows from the pass."""
    if not isinstance(product, Convolution):
        raise TypeError(f"convolution: expected a Convolution, got {type(product).__name__}")
    made = of_gemm(product.partial() if splits > 1 else product, configuration)
    return {**{k: v for k, v in made.items() if not k.endswith(("_TRANSPOSED", "_VECTOR"))}, "PASS": product.direction}


def launcher(
    convolution: Convolution, configuration: Configuration, splits: int, name: str, defines: dict[str, Any],
    shared: int = 0,
) -> Run:  # fmt: skip
    """What launches the kernel `name` of {name}.cu, one block per tile, group, phase and part of k."""
    c = configuration
    depth = int(defines["TILE_K"])
    problem, blocks = convolution.tiled(c.tile_m, c.tile_n, depth, splits)
    geometry = convolution.geometry()
    function = kernel(f"{name}.cu", name, **defines)
    image_second = convolution.direction == WEIGHT_GRAD

    def run(a: Any, b: Any, out: Any, bias: Any) -> None:
        image, other = (b, a) if image_second else (a, b)
        launch(function, (blocks,), (c.threads,), (image, other, out, bias, problem, geometry), shared=shared)

    return run


SIMT = ConvSimt()
register(SIMT)
