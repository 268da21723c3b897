"""conv_simt.cu: convolutions by multiply-adds of single threads, of every float dtype and on every GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from weft.backends.gpu.conv_choice import register
from weft.backends.gpu.conv_problem import WEIGHT_GRAD, Convolution
from weft.backends.gpu.gemm_choice import Configuration, Device
from weft.backends.gpu.gemm_product import C_TYPES
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


class ConvSimt:
    """The tiles of gemm_simt, their slices gathered; see the kernel."""

    name = "conv_simt"
    configurations = CONFIGURATIONS
    portable = True
    reads_shared = True

    def refusal(self, convolution: Convolution, configuration: Configuration) -> str:
        if convolution.dtype == "float64" and configuration.sums > 32:
            return f"{configuration.sums} sums of 8 bytes a thread"
        return ""

    def resident(self, convolution: Convolution, configuration: Configuration) -> int:
        return max(1, configuration.blocks // 2) if convolution.dtype == "float64" else configuration.blocks

    def rate(self, convolution: Convolution, device: Device) -> float:
        return device.f64 if convolution.dtype == "float64" else device.f32

    def defines(self, convolution: Convolution, configuration: Configuration, splits: int = 1) -> dict[str, Any]:
        c, product = configuration, convolution.partial() if splits > 1 else convolution
        return {
            "TYPE": C_TYPES[convolution.dtype][0], "PASS": convolution.direction, "TILE_M": c.tile_m,
            "TILE_N": c.tile_n, "TILE_K": c.tile_k, "WARPS_M": c.warps_m, "WARPS_N": c.warps_n,
            "BLOCKS": self.resident(convolution, c), **product.epilogue_defines(),
        }  # fmt: skip

    def prepare(self, convolution: Convolution, configuration: Configuration, splits: int) -> Run:
        return launcher(convolution, configuration, splits, self.name, self.defines(convolution, configuration, splits))


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
