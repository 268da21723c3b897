"""gemm_mma.cu: products on the tensor cores of every GPU since Turing, by mma.sync."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from weft.backends.gpu.gemm_choice import Configuration, Device, most_shared, register
from weft.backends.gpu.gemm_product import C_TYPES, Product
from weft.backends.gpu.gemm_simt import launcher

if TYPE_CHECKING:
    from weft.backends.gpu.gemm import Run

#: Tiles of 16-bit factors; tf32 takes half of tile_k, the same bytes. Warps own 64 x 64 sums where the tile allows:
#: they read the fewest bytes per multiplication.
ROWS: tuple[Configuration, ...] = (
    Configuration(128, 256, 32, 2, 4, 4),
    Configuration(256, 128, 32, 4, 2, 4),
    Configuration(128, 128, 32, 2, 2, 3, blocks=2),
    Configuration(128, 64, 32, 2, 2, 4, blocks=3),
    Configuration(64, 128, 32, 2, 2, 4, blocks=3),
    Configuration(64, 64, 64, 2, 2, 3, blocks=2),
    Configuration(32, 128, 64, 1, 4, 3, blocks=4),
    Configuration(128, 32, 64, 4, 1, 3, blocks=4),
    Configuration(16, 128, 64, 1, 4, 3, blocks=4),
    Configuration(32, 32, 64, 1, 1, 3, blocks=8),
)


class Mma:
    """A ring of slices in shared memory, filled by cp.async where there is one."""

    name = "gemm_mma"
    configurations = ROWS
    portable = True
    reads_shared = True

    def refusal(self, product: Product, configuration: Configuration) -> str:
        if product.dtype == "float32" and not product.tf32:
            return 'float32 without set_float32_matmul_precision("high")'
        least = {"float16": 75, "bfloat16": 80, "float32": 80}.get(product.dtype)
        if least is None or product.capability < least:
            return f"{product.dtype} on sm_{product.capability}"
        shared = self.shared_bytes(product, configuration) + self.static_bytes(product)
        most = most_shared(product.capability)
        if shared > most:
            return f"{shared} bytes of shared memory, of {most}"
        if narrow(product) and (configuration.sums == 128 or configuration.threads == 32):
            return "rows at no multiple of 16 bytes, which pass through registers that the sums of this tile take"
        return ""

    def rate(self, product: Product, device: Device) -> float:
        return device.half / (2 if product.dtype == "float32" else 1)

    def resident(self, product: Product, configuration: Configuration) -> int:
        blocks = max(1, configuration.blocks // 2) if narrow(product) else configuration.blocks
        reserved = 1024 if product.capability >= 80 else 0
        shared = self.shared_bytes(product, configuration) + self.static_bytes(product)
        return min(blocks, (most_shared(product.capability) + reserved) // (shared + reserved))

    def stages(self, product: Product, configuration: Configuration) -> int:
        return configuration.stages if product.capability >= 80 else 2

    def shared_bytes(self, product: Product, configuration: Configuration) -> int:
        """The ring, or the sums on their way out, 16 rows of each warp at a time."""
        c = configuration
        stage = (c.tile_m + c.tile_n) * c.tile_k * 2
        if product.dtype == "float32":  # rows along m or n are 32 bytes longer
            stage += 32 * c.tile_k // 2 * (product.a.transposed + (not product.b.transposed))
        return max(stage * self.stages(product, c), c.warps_m * c.warps_n * 16 * (c.tile_n // c.warps_n + 8) * 4)

    def static_bytes(self, product: Product) -> int:
        """What the kernel takes beside that, with the gap before the ring: float32 keeps the tile's index there."""
        return 128 if product.dtype == "float32" else 0

    def defines(self, product: Product, configuration: Configuration) -> dict[str, Any]:
        c, name = configuration, C_TYPES[product.dtype][0]
        return {
            "TYPE": name, "MMA": "tf32" if name == "float" else name, "TILE_M": c.tile_m, "TILE_N": c.tile_n,
            "TILE_K": c.tile_k * 2 // product.itemsize, "WARPS_M": c.warps_m, "WARPS_N": c.warps_n,
            "STAGES": self.stages(product, c), "BLOCKS": max(1, c.blocks // 2) if narrow(product) else c.blocks,
            "A_TRANSPOSED": int(product.a.transposed), "B_TRANSPOSED": int(product.b.transposed),
            "A_BYTES": product.a.bytes, "B_BYTES": product.b.bytes, **product.epilogue_defines(),
        }  # fmt: skip

    def prepare(self, product: Product, configuration: Configuration, splits: int) -> Run:
        shared = self.shared_bytes(product, configuration)
        return launcher(product, configuration, splits, self.name, self.defines(product, configuration), shared)


def narrow(product: Product) -> bool:
    """Whether some rows cannot be copied by 16 bytes."""
    return min(product.a.bytes, product.b.bytes) < 16


MMA = Mma()
register(MMA)
