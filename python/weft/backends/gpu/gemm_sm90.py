"""gemm_sm90.cu: products on Hopper's tensor cores, TMA feeding wgmma.

TMA wants matrices that start at multiples of 16 bytes, with rows that do, and wgmma wants float32 factors whose rows
run along K. Where the arrays are otherwise, gemm_pack.cu copies them once into place, if the model finds that it pays.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from weft.backends.gpu.array import empty_like
from weft.backends.gpu.gemm_choice import (
    FILL,
    LATENCY,
    LAUNCH_CYCLES,
    SHARED_BYTES_PER_CYCLE,
    Configuration,
    Device,
    device_of,
    register,
)
from weft.backends.gpu.gemm_product import C_TYPES, Matrix, Product
from weft.backends.launch import kernel, launch, tensor_map

if TYPE_CHECKING:
    from weft.backends.gpu.gemm import Run

ROW = 128  #: bytes of a swizzled row of shared memory
BOX = 64 * ROW
SHARED = 232_448  #: bytes that a block may have
# Estimates, which only compare tiles.
EPILOGUE = 300  #: cycles of a tile's end besides
INSTRUCTIONS_OF_A_ROW = 14  #: of 128 bytes that are stored by elements
#: Instructions of the epilogue for one sum, as SASS has them.
INSTRUCTIONS = {"none": 4, "relu": 5, "silu": 27, "gelu_tanh": 26, "gelu": 28}


@dataclasses.dataclass(frozen=True)
class Tile(Configuration):
    """A tile and the warpgroups that compute it: see kernels/gemm_sm90/tile.cuh."""

    consumers: int = 1  #: warpgroups that share a tile
    pingpong: bool = False  #: two teams of them take turns
    cluster_m: int = 1
    cluster_n: int = 1
    store_buffers: int = 2

    @property
    def name(self) -> str:
        """128x256x64s3c2x1: the tile, stages, p for pingpong, the cluster."""
        cluster = f"c{self.cluster_m}x{self.cluster_n}" if self.cluster > 1 else ""
        pingpong = "p" if self.pingpong else ""
        return f"{self.tile_m}x{self.tile_n}x{self.tile_k}s{self.stages}{pingpong}{cluster}"

    @property
    def warpgroups(self) -> int:
        return self.consumers * (2 if self.pingpong else 1)

    @property
    def threads(self) -> int:
        return 128 * (1 + self.warpgroups)


def tile(m: int, n: int, stages: int, buffers: int, *, consumers: int = 1, pingpong: bool = False,
         cluster: tuple[int, int] = (1, 1)) -> Tile:  # fmt: skip
    # wgmma reads A once, and B once for every 64 rows of A
    return Tile(m, n, 64, m // 64, 1, stages, 1, math.prod(cluster), consumers, pingpong, *cluster, buffers)


#: Tiles of 16-bit factors; tf32 takes half of tile_k, the same bytes. The large ones keep the tensor cores busiest; the
#: pairs that take turns hide their epilogue, which counts where K is short; the small ones are for few tiles.
TILES = (
    tile(128, 256, 3, 4, consumers=2, cluster=(2, 1)),
    tile(128, 256, 4, 2, consumers=2, cluster=(2, 1)),
    tile(128, 256, 3, 4, consumers=2),
    tile(256, 128, 4, 2, consumers=2, cluster=(1, 2)),
    tile(256, 128, 4, 2, consumers=2),
    tile(128, 192, 4, 4, consumers=2, cluster=(2, 1)),
    tile(128, 192, 4, 4, pingpong=True, cluster=(2, 1)),
    tile(128, 128, 5, 4, pingpong=True, cluster=(2, 1)),
    tile(128, 128, 5, 4, pingpong=True),
    tile(64, 256, 4, 4, pingpong=True),
    tile(128, 128, 6, 2, consumers=2),
    tile(64, 256, 4, 4),
    tile(64, 128, 8, 2),
    tile(64, 64, 8, 2),
)


class Sm90:
    """Persistent blocks: a producer warp and warpgroups that multiply."""

    name = "gemm_sm90"
    configurations: Sequence[Configuration] = TILES
    portable = False
    reads_shared = True

    def refusal(self, product: Product, configuration: Configuration) -> str:
        if not 90 <= product.capability < 100:
            return f"wgmma on sm_{product.capability}"
        if product.dtype == "float32" and not product.tf32:
            return 'float32 without set_float32_matmul_precision("high")'
        if product.dtype not in ("float16", "bfloat16", "float32"):
            return f"{product.dtype} on tensor cores"
        if product.k == 0:
            return "nothing to load"
        extras = [x for x in (product.aux, product.residual) if x is not None]
        if len(extras) + reads_out(product) > 1:
            return "more than one of beta, aux and residual"
        if (extras or product.beta) and not all(x.pitched for x in (product.out, *extras)):
            return "rows of out, aux or residual that do not start at multiples of 16 bytes"
        if any(shared_by_batch(x, product) for x in extras):
            return "a residual that the batch shares"
        return ""

    def rate(self, product: Product, device: Device) -> float:
        return device.wgmma / (2 if product.dtype == "float32" else 1)

    def resident(self, product: Product, configuration: Configuration) -> int:
        return 1

    def copied(self, product: Product) -> int:
        """Bytes read and written to bring factors into place."""
        sizes = (product.m * product.k, product.k * product.n)
        return sum(
            0 if ready(product, i) else 2 * product.itemsize * size * matrices(product, x)
            for i, (x, size) in enumerate(zip((product.a, product.b), sizes))
        )

    def busy(self, configuration: Configuration, product: Product, splits: int) -> float:
        """Cycles of the busiest multiprocessor: blocks are persistent, the loads of a tile run behind the tile before,
        and with pingpong its epilogue runs behind the next."""
        tile: Any = configuration
        device = device_of(product)
        depth = tile.tile_k * 2 // product.itemsize
        steps = math.ceil(math.ceil(product.k / depth) / splits)
        multiply = tile.tile_m * tile.tile_n * depth / self.rate(product, device)
        shared = (tile.tile_m + tile.tile_m / 64 * tile.tile_n) * ROW / SHARED_BYTES_PER_CYCLE
        load = (tile.tile_m / tile.cluster_n + tile.tile_n / tile.cluster_m) * ROW / device.l2
        together = (multiply**4 + shared**4 + load**4) ** 0.25  # nearly the longest: they overlap, but not quite
        step = max(together, LATENCY / (tile.stages - 1))
        sums = tile.tile_m * tile.tile_n / 128  # of four lanes, one in each quarter of the multiprocessor
        epilogue = EPILOGUE + sums * INSTRUCTIONS[product.activation]
        if store(product) == "elements":  # a row of a buffer at a time
            epilogue += tile.tile_m * tile.tile_n * itemsize(product.out_dtype) / ROW / 4 * INSTRUCTIONS_OF_A_ROW
        if product.residual is not None or reads_out(product):  # what finds no free buffer comes late
            chunks = tile.tile_m * tile.tile_n * itemsize(product.out_dtype) // (BOX * tile.consumers)
            epilogue += max(0, chunks - tile.store_buffers) * LATENCY
        clusters = math.ceil(product.m / (tile.tile_m * tile.cluster_m))
        clusters *= math.ceil(product.n / (tile.tile_n * tile.cluster_n)) * product.batch * splits
        tiles = math.ceil(clusters / max(1, device.multiprocessors // tile.cluster))
        main = steps * step
        each = max(main, (main + epilogue) / 2) if tile.pingpong else main + epilogue
        copies = self.copied(product) / device.bandwidth * device.clock
        return FILL + tiles * each + epilogue * tile.pingpong + copies + LAUNCH_CYCLES * (copies > 0)

    def shared_bytes(self, product: Product, tile: Tile) -> int:
        """As kernels/gemm_sm90/tile.cuh lays it out."""
        bias = tile.tile_n * 4 if product.bias == "column" else 0
        return (tile.stages * ((tile.tile_m + tile.tile_n) * ROW + 16)
                + tile.warpgroups * (tile.store_buffers * (BOX + 8) + bias) + 16 * tile.pingpong)  # fmt: skip

    def defines(self, product: Product, tile: Tile, splits: int = 1) -> dict[str, Any]:
        return {
            **product.epilogue_defines(),
            "TYPE": "tf32" if product.dtype == "float32" else C_TYPES[product.dtype][0],
            "A_ROWS_K": int(not product.a.transposed), "B_ROWS_K": int(product.b.transposed),
            "TILE_M": tile.tile_m, "TILE_N": tile.tile_n, "CONSUMERS": tile.consumers, "PINGPONG": int(tile.pingpong),
            "CLUSTER_M": tile.cluster_m, "CLUSTER_N": tile.cluster_n, "STAGES": tile.stages,
            "STORE_BUFFERS": tile.store_buffers, "STORE": store(product), "BETA": int(reads_out(product)),
            "SCALED": int(product.alpha != 1),
            "BATCHED": int(product.batch * splits > 1), "SHARED_BYTES": self.shared_bytes(product, tile),
        }  # fmt: skip

    def prepare(self, product: Product, configuration: Configuration, splits: int) -> Run:
        tile: Any = configuration
        to_copy = [not ready(product, i) for i in (0, 1)]
        if any(to_copy):
            return self.prepare_copied(product, tile, splits, to_copy)
        depth = tile.tile_k * 2 // product.itemsize
        if splits > math.ceil(product.k / depth):
            raise ValueError(f"gemm: expected at most {math.ceil(product.k / depth)} parts of K, got {splits}")
        problem = product.problem(tile.tile_m, tile.tile_n, splits=splits)
        function = kernel("gemm_sm90.cu", "gemm_sm90", **self.defines(product, tile, splits))
        shared, band = self.shared_bytes(product, tile), band_height(tile)
        clusters = math.ceil(problem.tiles_m / tile.cluster_m) * math.ceil(problem.tiles_n / tile.cluster_n)
        clusters *= product.batch * splits
        batched = product.batch * splits > 1
        a_box = (64, depth) if product.a.transposed else (depth, tile.tile_m // tile.cluster_n)
        b_box = (depth, tile.tile_n // tile.cluster_m) if product.b.transposed else (64, depth)
        out_box = (ROW // itemsize(product.out_dtype), 64)
        by_tma = store(product) != "elements"

        def run(a: Any, b: Any, out: Any, bias: Any, aux: Any, residual: Any) -> None:
            map_a = matrix_map(a, product, product.a, (product.m, product.k), a_box, batched, factor=True)
            map_b = matrix_map(b, product, product.b, (product.k, product.n), b_box, batched, factor=True)
            map_out = map_extra = map_a
            size = (product.m, product.n)
            if by_tma:
                map_out = map_extra = matrix_map(out, product, product.out, size, out_box, batched, splits=splits)
            if aux is not None and product.aux is not None:
                map_extra = matrix_map(aux, product, product.aux, size, out_box, batched)
            if residual is not None and product.residual is not None:
                map_extra = matrix_map(residual, product, product.residual, size, out_box, batched)
            blocks = min(clusters, max(1, multiprocessors(a) // tile.cluster)) * tile.cluster
            launch(
                function, (blocks,), (tile.threads,),
                (map_a, map_b, map_out, map_extra, out, bias, problem, band),
                shared=shared, cluster=(tile.cluster, 1, 1),
            )  # fmt: skip

        return run

    def prepare_copied(self, product: Product, tile: Tile, splits: int, to_copy: list[bool]) -> Run:
        """The product of copies of those factors that TMA cannot load."""
        shapes = ((product.m, product.k), (product.k, product.n))
        copies = [copier(product, x, shape, along_k) if copied else (x, None)
                  for x, shape, along_k, copied in zip((product.a, product.b), shapes, (1, 0), to_copy)]  # fmt: skip
        (placed_a, copy_a), (placed_b, copy_b) = copies
        multiply = self.prepare(dataclasses.replace(product, a=placed_a, b=placed_b), tile, splits)

        def run(a: Any, b: Any, out: Any, bias: Any, aux: Any, residual: Any) -> None:
            multiply(copy_a(a) if copy_a else a, copy_b(b) if copy_b else b, out, bias, aux, residual)

        return run


def multiprocessors(x: Any) -> int:
    """Of the device of x; as many blocks run at a time."""
    if x.device_name == "emulated":
        from weft.backends import emulator

        return emulator.config.multiprocessors
    from weft.backends import driver

    return driver.multiprocessors(int(x.device_name.removeprefix("cuda:")))


def itemsize(dtype: str) -> int:
    return 2 if dtype in ("float16", "bfloat16") else 4


def accumulates(product: Product) -> bool:
    """Whether out is only added to, which TMA does by itself."""
    return (product.beta == 1 and product.out_dtype == "float32" and product.activation == "none"
            and product.residual is None and product.aux is None)  # fmt: skip


def reads_out(product: Product) -> bool:
    return product.beta != 0 and not accumulates(product)


def store(product: Product) -> str:
    if accumulates(product):
        return "add"
    return "tensor" if product.out.pitched else "elements"


def ready(product: Product, i: int) -> bool:
    """Whether factor i can be loaded as it lies; rows of tf32 must run along K."""
    matrix = (product.a, product.b)[i]
    return matrix.pitched and (product.dtype != "float32" or matrix.transposed == (i == 1))


def matrices(product: Product, matrix: Matrix) -> int:
    """How many different ones a batch has."""
    return (product.outer if matrix.outer else 1) * (product.inner if matrix.inner else 1)


def shared_by_batch(matrix: Matrix, product: Product) -> bool:
    return matrices(product, matrix) != product.batch


def band_height(tile: Tile) -> int:
    """Tile rows of a band, in clusters: the tiles in flight on a GPU form about a square."""
    in_flight = 132 * tile.tile_m * tile.tile_n
    return max(1, round(math.sqrt(in_flight) / (tile.tile_m * tile.cluster_m)))


def matrix_map(x: Any, product: Product, matrix: Matrix, shape: tuple[int, int], box: tuple[int, int], batched: bool,
               *, factor: bool = False, splits: int = 1) -> Any:  # fmt: skip
    """The tensor map of a matrix of `shape`: two dimensions, four with a batch (parts of K are batches, too)."""
    size = x.dtype.itemsize
    dtype = "tf32" if factor and size == 4 else None
    rows, columns = shape[::-1] if matrix.transposed else shape
    if not batched:
        return tensor_map(x, (columns, rows), (matrix.stride * size,), box, swizzle=128, dtype=dtype)
    inner = product.inner if matrix.inner else 1
    outer = product.outer * splits if matrix.outer or splits > 1 else 1
    row = matrix.stride * size
    strides = (row, matrix.inner * size or row, matrix.outer * size or row)
    return tensor_map(x, (columns, rows, inner, outer), strides, (*box, 1, 1), swizzle=128, dtype=dtype)


def copier(product: Product, matrix: Matrix, shape: tuple[int, int], along_k: int) -> tuple[Matrix, Any]:
    """Where a factor lies once copied, and what copies it. Rows of 16-bit factors stay rows; of tf32 they run along K,
    which is axis `along_k` of `shape`."""
    rows, columns = shape[::-1] if matrix.transposed else shape
    turn = product.dtype == "float32" and matrix.transposed == (along_k == 1)
    size = itemsize(product.dtype)
    lines, length = (columns, rows) if turn else (rows, columns)
    stride = math.ceil(length * size / 16) * 16 // size
    outer, inner = (product.outer if matrix.outer else 1), (product.inner if matrix.inner else 1)
    placed = Matrix(
        matrix.transposed != turn, stride, lines * stride * inner if matrix.outer else 0,
        lines * stride if matrix.inner else 0, 16,
    )  # fmt: skip
    pack = kernel("gemm_pack.cu", "gemm_pack", TYPE="unsigned short" if size == 2 else "float", TRANSPOSED=int(turn))
    blocks = math.ceil(rows / 64) * math.ceil(columns / 64) * outer * inner

    def copy(x: Any) -> Any:
        to = empty_like(x, (outer * inner * lines * stride,), x.dtype)
        launch(pack, (blocks,), (256,),
               (x, to, matrix.stride, matrix.outer, matrix.inner, rows, columns, inner, stride))  # fmt: skip
        return to

    return placed, copy


SM90 = Sm90()
register(SM90)
