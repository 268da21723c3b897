"""The fast entries of convolution and its gradients against their references in float64, on every instruction set."""

import zlib
from functools import cache

import numpy as np
import pytest

import weft
from backends.image_checks import close, elsewhere, poison, strided
from policy import needs
from weft.backends import reference as K

pytestmark = needs("native")

CONFIGS = range(170)
CHECK = """
from backends.test_conv import CONFIGS, check
for i in CONFIGS[{first}::3]:
    check(i)
"""
DIGEST = """
from backends.test_conv import CONFIGS, digest
print([digest(i) for i in CONFIGS[::4]])
"""
SHAPES = [  # N, C, O, groups, kernel, image: one for every way through the kernels
    (8, 1, 32, 1, (3, 3), (28, 28)),  # stem: folded taps
    (5, 3, 20, 1, (7, 7), (30, 41)),
    (33, 64, 64, 1, (3, 3), (8, 8)),  # whole images in groups
    (2, 70, 48, 1, (3, 3), (14, 14)),
    (1, 24, 40, 1, (3, 3), (40, 40)),  # fewer images than threads: rows are shared
    (3, 200, 100, 1, (3, 3), (7, 7)),  # more channels than one block
    (2, 160, 260, 1, (3, 3), (5, 5)),  # the weight's gradient in one sum
    (4, 300, 30, 1, (1, 1), (9, 9)),  # 1x1, deeper than one block
    (40, 16, 24, 1, (1, 1), (3, 3)),
    (2, 24, 36, 3, (3, 3), (12, 12)),
    (3, 8, 16, 8, (3, 3), (19, 19)),  # depthwise, two outputs per channel
    (2, 32, 32, 32, (5, 5), (40, 40)),
    (1, 9, 9, 1, (3, 3), (50, 60)),  # a slab is some rows
    (3, 130, 33, 1, (3, 3), (13, 17)),  # Winograd's tiles, some of them cut off
    (9, 50, 96, 2, (3, 3), (11, 8)),
    (1, 40, 48, 1, (3, 3), (21, 20)),
]


@cache
def problem(i):
    """Arrays (x, weight, bias, g) and geometry; the first configurations are the shapes above, the rest random."""
    rng = np.random.default_rng(i)
    pick = lambda *choices: choices[int(rng.integers(len(choices)))]  # noqa: E731
    if i < 4 * len(SHAPES):
        N, C, O, groups, kernel, image = SHAPES[i // 4]
        stride, padding, dilation = [
            ((1, 1), tuple((k // 2, k // 2) for k in kernel), (1, 1)),
            ((2, 2), tuple((k // 2, k // 2) for k in kernel), (1, 1)),
            ((1, 1), ((0, 0), (0, 0)), (1, 1)),
            ((2, 3), ((1, 2), (0, 3)), (2, 1)),
        ][i % 4]
    else:
        groups = pick(1, 1, 1, 2, 3, 5)
        C, O = groups * pick(1, 2, 3, 7, 8, 17, 33), groups * pick(1, 2, 3, 8, 15, 17, 40)
        N, image = pick(0, 1, 2, 3, 6), tuple(int(n) for n in rng.integers(1, 24, 2))
        kernel, stride, dilation = (tuple(int(n) for n in rng.integers(1, high, 2)) for high in (5, 4, 3))
        padding = tuple(tuple(int(n) for n in side) for side in rng.integers(0, 4, (2, 2)))
    window = [d * (k - 1) + 1 for k, d in zip(kernel, dilation)]
    padding = tuple((a, b + max(0, w - n - a - b)) for (a, b), w, n in zip(padding, window, image))
    size = [(n + a + b - w) // s + 1 for n, (a, b), w, s in zip(image, padding, window, stride)]
    shapes = (N, C, *image), (O, C // groups, *kernel), (O,), (N, O, *size)
    x, weight, bias, g = (rng.standard_normal(s, dtype=np.float32) for s in shapes)
    arrays = strided(x, i % 3), strided(weight, (i + 1) % 3), None if i % 4 == 1 else bias, strided(g, (i + 2) % 3)
    return arrays, {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}


def three(arrays, geometry, reference=False):
    x, weight, bias, g = arrays
    entries = [p.reference if reference else p for p in (K.conv2d, K.conv2d_input_grad, K.conv2d_weight_grad)]
    out = entries[0](x, weight, bias, **geometry)
    gx = entries[1](g, weight, shape=x.shape, **geometry)
    return out, gx, entries[2](g, x, shape=weight.shape, **geometry)


def check(i):
    arrays, geometry = problem(i)
    poison()
    got = three(arrays, geometry)
    want = three([a if a is None else a.astype(np.float64) for a in arrays], geometry, reference=True)
    for name, a, b in zip(("out", "gx", "gw"), got, want):
        close(a, b, f"{name} of {i}: {[a if a is None else a.shape for a in arrays]} {geometry}", 5e-6)


def digest(i):
    return [zlib.crc32(a.tobytes()) for a in three(*problem(i))]


@pytest.mark.parametrize("i", CONFIGS)
def test_against_reference(i):
    (x, weight, bias, g), _ = problem(i)
    ran = weft.which("conv2d", x, weight, bias), weft.which("conv2d_input_grad", g, weight)
    assert "reference" not in (*ran, weft.which("conv2d_weight_grad", g, x))
    check(i)


def test_every_instruction_set():
    for first, isa in enumerate(weft._cpu.supported_isas()[1:]):
        elsewhere(CHECK.format(first=first), WEFT_ISA=isa)


def test_same_bits_for_every_number_of_threads():
    assert len({elsewhere(DIGEST, WEFT_NUM_THREADS=n) for n in ("1", "2", "5")}) == 1


def test_infinities_stay_where_windows_reach():
    """0 * inf is NaN: padding, empty lanes of vectors and skipped taps must not meet one."""
    geometry = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1)}
    for C, O, groups in ((3, 5, 1), (16, 16, 1), (9, 9, 9), (20, 17, 1)):
        x, g = np.ones((1, C, 11, 13), np.float32), np.ones((1, O, 11, 13), np.float32)
        x[0, 0, 4, 5] = np.inf
        arrays = x, np.ones((O, C // groups, 3, 3), np.float32), None, g
        want = three(arrays, {**geometry, "groups": groups}, reference=True)
        for a, b in zip(three(arrays, {**geometry, "groups": groups}), want):
            np.testing.assert_array_equal(a, b)


def test_winograd_keeps_an_infinity_in_its_tiles():
    """Every output that reads it is inf or NaN; of the others only those of the 2x2 tiles around are."""
    x, weight = np.ones((8, 16, 16, 16), np.float32), np.ones((16, 16, 3, 3), np.float32)
    x[2, 3, 8, 9] = np.inf
    geometry = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1}
    lost = ~np.isfinite(K.conv2d(x, weight, None, **geometry))
    assert lost[2, :, 7:10, 8:11].all()
    lost[2, :, 6:12, 6:12] = False
    assert not lost.any()


@pytest.mark.parametrize("entry", ["conv2d", "conv2d_input_grad", "conv2d_weight_grad"])
def test_bad_shapes_raise(entry):
    """The extension checks what it computes with, whatever calls it."""
    x, weight, g = np.ones((2, 3, 8, 8), "f"), np.ones((4, 3, 3, 3), "f"), np.ones((2, 4, 6, 6), "f")
    run = getattr(weft._cpu, entry)
    geometry = {"stride": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1), "groups": 1}
    if entry == "conv2d":
        calls = [((x, weight[:, :2], None), {}), ((x, weight, np.ones(3, "f")), {}), ((x[0], weight, None), {})]
    elif entry == "conv2d_input_grad":
        calls = [((g[:, :, 1:], weight), {"shape": x.shape}), ((g, weight), {"shape": (2, 3, 2, 2)})]
    else:
        calls = [((g[:, :, 1:], x), {"shape": weight.shape}), ((g, x), {"shape": (4, 3, 9, 9)})]
    for arrays, more in calls:
        with pytest.raises(ValueError, match=f"{entry}: expected"):
            run(*arrays, **more, **geometry)
    for wrong in ({"stride": (0, 1)}, {"dilation": (1, -1)}, {"groups": 0}, {"padding": ((0, -1), (0, 0))}):
        with pytest.raises(ValueError, match=f"{entry}: expected"):
            run(*calls[-1][0], **calls[-1][1], **{**geometry, **wrong})
