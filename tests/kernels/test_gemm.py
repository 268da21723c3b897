"""gemm_simt.cu, gemm_mma.cu and gemm_split.cu in their shipped tiles, on the emulated device, against float64."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import policy
from kernels.checked import same_bits
from kernels.gemm_checks import check
from weft.backends import emulator
from weft.backends.gpu import gemm_choice, gemm_mma, gemm_simt

LAYOUTS = ("NN", "NT", "TN", "TT")
EPILOGUES = (
    {},
    {"bias": "column", "activation": "relu"},
    {"bias": "column", "activation": "gelu_tanh", "aux": True},
    {"alpha": 0.5, "beta": -0.25},
    {"bias": "row", "activation": "silu", "residual": True},
    {"bias": "column", "activation": "gelu", "beta": 1.0, "residual": True, "aux": True},
    {"residual": True},
)

pytestmark = policy.needs("emulator")


@pytest.fixture(autouse=True)
def device(request):
    with emulator.settings(arch=getattr(request, "param", 80)):
        yield
    gemm_choice.set_float32_matmul_precision("highest")


def tensor_core_cases():
    """(arch, dtype, tile, layout, bytes that rows are multiples of, epilogue): each compiles a kernel of its own."""
    rotation = itertools.cycle(EPILOGUES)
    for tile in gemm_mma.ROWS:
        for dtype, layout in itertools.product(("bfloat16", "float32"), LAYOUTS):
            yield 80, dtype, tile, layout, 16, next(rotation)
        for layout in ("NT", "TN"):
            yield 75, "float16", tile, layout, 16, next(rotation)
        if tile.sums < 128 and tile.threads > 32:
            for arch, dtype, layout, width in (
                (80, "bfloat16", "NN", 2), (80, "float16", "TT", 4), (80, "float32", "TN", 4), (75, "float16", "NN", 2),
            ):  # fmt: skip
                yield arch, dtype, tile, layout, width, next(rotation)


def every_time(case):
    """Of each tile a layout in bfloat16 and one of narrow rows, and one in tf32 or on Turing; others of the next."""
    arch, dtype, tile, layout, width, _ = case
    i, narrow_turing = gemm_mma.ROWS.index(tile), width < 16 and arch == 75  # NN too, as bfloat16
    turn = i + (1 if narrow_turing else LAYOUTS.index(layout))
    if width < 16 or dtype == "bfloat16":
        return turn % 4 == 0
    turn = i // 2 + LAYOUTS.index(layout)
    return i % 2 == 1 and turn % 2 == 0 if arch == 75 else i % 2 == 0 and turn % 4 == 3


def label(case):
    arch, dtype, tile, layout, width, epilogue = case
    return "-".join([f"sm{arch}", dtype, tile.name, layout, f"{width}bytes", *epilogue])


@pytest.mark.parametrize("case", policy.mostly_slow(tensor_core_cases(), every_time), ids=label)
def test_tensor_cores(case, rng):
    arch, dtype, tile, layout, width, epilogue = case
    tf32 = dtype == "float32"
    size = 4 if tf32 else 2
    step = width // size
    ragged = step if width == 16 else 3 * step  # beyond one tile, and no multiple of a wider access
    depth = tile.tile_k * 2 // size
    shapes = [(tile.tile_m + ragged, tile.tile_n + ragged, 2 * depth + ragged), (step, 5 * step, 3 * step)]
    if tf32:
        gemm_choice.set_float32_matmul_precision("high")
    with emulator.settings(arch=arch):
        for m, n, k in shapes:
            check(rng, m, n, k, dtype, layout, kernel=f"gemm_mma/{tile.name}", tf32=tf32, **epilogue)


def simt_cases():
    rotation = itertools.cycle(EPILOGUES)
    for tile in gemm_simt.CONFIGURATIONS:
        for layout in LAYOUTS:
            yield "float32", tile, layout, 4, next(rotation)
        if tile.sums <= 32:
            yield "float64", tile, "NN", 2, next(rotation)
            yield "float64", tile, "TT", 1, next(rotation)
        if tile.threads < 256:
            yield "float32", tile, "NT", 1, next(rotation)
    yield "bfloat16", gemm_simt.CONFIGURATIONS[2], "TN", 4, next(rotation)


def one_layout(case):
    """Of each tile, another of the next; and of every second what is not float32 in vectors."""
    dtype, tile, layout, step, _ = case
    i, layout = gemm_simt.CONFIGURATIONS.index(tile), LAYOUTS.index(layout)
    if dtype == "float64":  # in NN or TT
        return (layout == 0) == (i % 2 == 0)
    return dtype == "bfloat16" or (i % 2 == 1 if step == 1 else (i + layout) % 4 == 0)


@pytest.mark.parametrize(
    "case",
    policy.mostly_slow(simt_cases(), one_layout),
    ids=lambda c: "-".join([c[0], c[1].name, c[2], f"{c[3]}elements", *c[4]]),
)
def test_simt(case, rng):
    dtype, tile, layout, step, epilogue = case
    ragged = step if step > 1 else 3
    shapes = [(tile.tile_m + ragged, tile.tile_n + ragged, 2 * tile.tile_k + ragged), (step, 3 * step, step)]
    for m, n, k in shapes:
        check(rng, m, n, k, dtype, layout, kernel=f"gemm_simt/{tile.name}", **epilogue)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "uint32", "int64", "uint64", "bool"])
def test_integers_wrap_around_as_numpy_does(dtype, rng):
    check(rng, 37, 41, 43, dtype, "NN")
    check(rng, 5, 3, 0, dtype, "NN")


SMALL = ("gemm_simt/32x32x16", "gemm_mma/32x32x64")
SHAPES = [(1, 1, 1), (1, 37, 5), (37, 1, 5), (33, 31, 1), (2, 3, 0), (0, 3, 4), (3, 0, 4), (0, 0, 0), (33, 65, 17)]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: "x".join(map(str, s)))
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", pytest.param("float64", marks=pytest.mark.slow)])
def test_every_size(shape, dtype, rng):
    for layout in ("NN", "TT"):
        check(rng, *shape, dtype, layout)
        check(rng, *shape, dtype, layout, bias="column", activation="relu", beta=0.5)


@pytest.mark.parametrize("epilogue", EPILOGUES, ids=lambda e: "-".join(e) or "plain")
@pytest.mark.parametrize(
    "dtype,kernel",
    [("float32", "gemm_simt/32x32x16/3"), ("bfloat16", "gemm_mma/64x64x64/2"), ("float64", "gemm_simt/32x32x16/5")],
)
def test_parts_of_k(dtype, kernel, epilogue, rng):
    check(rng, 35, 67, 200, dtype, "TN", kernel=kernel, **epilogue)
    check(rng, 40, 72, 200, dtype, "TN", kernel=kernel, batch=(2,), **epilogue)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_narrow_factors_accumulate_into_float32(dtype, rng):
    for kernel in ("gemm_mma/64x64x64", "gemm_mma/64x64x64/2"):
        check(rng, 72, 40, 200, dtype, "TN", kernel=kernel, out_dtype="float32", beta=1.0)
        check(rng, 72, 37, 200, dtype, "TN", kernel=kernel, out_dtype="float32", bias="column")


MARGINS = [(3, 0, 0), (8, 8, 8), (0, 1, 0), (5, 3, 1), (2, 2, 2)]


def in_turn(view):
    """Each place in each layout, in one of the two types."""
    dtype, margins, layout = view
    return (MARGINS.index(margins) + LAYOUTS.index(layout) + (dtype == "float32")) % 2 == 0


@pytest.mark.parametrize(
    "view",
    policy.mostly_slow(itertools.product(("float32", "bfloat16"), MARGINS, LAYOUTS), in_turn),
    ids=lambda v: "-".join(map(str, (v[0], *v[1], v[2]))),
)
def test_views(view, rng):
    dtype, (margin, offset, out_margin), layout = view
    check(
        rng, 48, 40, 56, dtype, layout, margin=margin, offset=offset, out_margin=out_margin, residual=True, aux=True,
        activation="relu",
    )  # fmt: skip


@pytest.mark.parametrize(
    "batch,b_batch",
    [((3,), None), ((3,), ()), ((2, 3), (3,)), ((2, 1), (1, 3)), ((2, 1, 2), (3, 1)), ((1,), (4,)), ((0,), ())],
)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_batches(batch, b_batch, dtype, rng):
    for layout in ("NN", "TT"):
        check(rng, 9, 7, 12, dtype, layout, batch=batch, b_batch=b_batch)
        check(rng, 9, 7, 12, dtype, layout, batch=batch, b_batch=b_batch, bias="row", residual=True, beta=1.0)


# -- checked: every access is looked at, in every order


CHECKED = [
    (80, "bfloat16", "NT", "gemm_mma/64x64x64", 8, {}),
    (80, "bfloat16", "NN", "gemm_mma/32x128x64", 1, {"bias": "column", "activation": "relu"}),
    (80, "float16", "TN", "gemm_mma/128x64x32/2", 8, {"residual": True}),
    (80, "float32", "TN", "gemm_mma/64x64x64", 4, {"aux": True, "activation": "silu"}),
    (75, "float16", "TT", "gemm_mma/64x128x32", 8, {}),
    (80, "float32", "NT", "gemm_simt/64x64x16", 4, {}),
    (80, "float32", "TN", "gemm_simt/32x32x16/2", 1, {"beta": 1.0}),
    (75, "float64", "NN", "gemm_simt/32x64x16", 2, {"bias": "row"}),
]


@pytest.mark.parametrize("arch,dtype,layout,kernel,step,epilogue", CHECKED, ids=lambda x: str(x) if x else "plain")
def test_checked_in_every_order(arch, dtype, layout, kernel, step, epilogue):
    tf32 = kernel.startswith("gemm_mma") and dtype == "float32"
    if tf32:
        gemm_choice.set_float32_matmul_precision("high")

    def run():
        rng = np.random.default_rng(7)  # one product in all orders
        return check(rng, 64 + step, 64 + step, 96 + step, dtype, layout, kernel=kernel, tf32=tf32, **epilogue)

    same_bits(run, arch=arch)
