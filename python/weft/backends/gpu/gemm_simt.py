"""gemm_simt.cu: products by multiply-adds of single threads, of every dtype and on every GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from weft.backends.gpu.gemm_choice import Configuration, Device, register
from weft.backends.gpu.gemm_product import C_TYPES, Product
from weft.backends.gpu.gemm_split import part_length
from weft.backends.launch import kernel, launch

if TYPE_CHECKING:
    from weft.backends.gpu.gemm import Run

#: A thread has 64 to 16 sums; of 8 bytes each, registers hold 32.
CONFIGURATIONS = (
    Configuration(128, 128, 8, 4, 2, 2, blocks=2),
    Configuration(128, 64, 8, 4, 1, 2, blocks=3),
    Configuration(64, 64, 16, 2, 2, 2, blocks=4),
    Configuration(32, 64, 16, 1, 2, 2, blocks=6),
    Configuration(16, 128, 16, 1, 2, 2, blocks=6),
    Configuration(32, 32, 16, 1, 1, 2, blocks=8),
)


class Simt:
    """Rows of 4 x 8 lanes own tiles in pieces of 16 bytes; see the kernel."""

    name = "gemm_simt"
    configurations = CONFIGURATIONS
    portable = True
    reads_shared = True

    def refusal(self, product: Product, configuration: Configuration) -> str:
        if wide(product) and configuration.sums > 32:
            return f"{configuration.sums} sums of 8 bytes a thread"
        if configuration.threads == 256 and not all(self.vectors(product)):
            return "rows at no multiple of 16 bytes, whose elements take the registers of this tile"
        return ""

    def resident(self, product: Product, configuration: Configuration) -> int:
        return max(1, configuration.blocks // 2) if wide(product) else configuration.blocks

    def rate(self, product: Product, device: Device) -> float:
        if product.dtype == "float64":
            return device.f64
        return device.f32 * (0.25 if product.dtype not in ("float16", "bfloat16", "float32") else 1.0)

    def vectors(self, product: Product) -> tuple[bool, bool]:
        """Whether the elements of a and b come in vectors as long as 16 bytes of sums."""
        needed = product.itemsize * (2 if wide(product) else 4)
        return product.a.bytes >= needed, product.b.bytes >= needed

    def defines(self, product: Product, configuration: Configuration) -> dict[str, Any]:
        c, (a_vector, b_vector) = configuration, self.vectors(product)
        return {
            "TYPE": C_TYPES[product.dtype][0], "TILE_M": c.tile_m, "TILE_N": c.tile_n, "TILE_K": c.tile_k,
            "WARPS_M": c.warps_m, "WARPS_N": c.warps_n, "BLOCKS": self.resident(product, c),
            "A_TRANSPOSED": int(product.a.transposed), "B_TRANSPOSED": int(product.b.transposed),
            "A_VECTOR": int(a_vector), "B_VECTOR": int(b_vector),
            **product.epilogue_defines(),
        }  # fmt: skip

    def prepare(self, product: Product, configuration: Configuration, splits: int) -> Run:
        return launcher(product, configuration, splits, self.name, self.defines(product, configuration))


def wide(product: Product) -> bool:
    """Whether sums are of 8 bytes."""
    return product.compute in ("float64", "uint64")


def launcher(
    product: Product, configuration: Configuration, splits: int, name: str, defines: dict[str, Any], shared: int = 0
) -> Run:
    """What launches the kernel `name` of {name}.cu, one block per tile, product and part of k."""
    k_split = part_length(product.k, splits, configuration.tile_k)
    problem = product.problem(configuration.tile_m, configuration.tile_n, splits=splits, k_split=k_split)
    function = kernel(f"{name}.cu", name, **defines)
    blocks = problem.tiles_m * problem.tiles_n * product.batch * splits
    threads = configuration.threads

    def run(a: Any, b: Any, out: Any, bias: Any, aux: Any, residual: Any) -> None:
        launch(function, (blocks,), (threads,), (a, b, out, bias, aux, residual, problem), shared=shared)

    return run


SIMT = Simt()
register(SIMT)
