"""The fast entries of pooling and batch norm against their references in float64, on every instruction set."""

import numpy as np
import pytest

import weft
from backends.image_checks import close, elsewhere, poison, strided
from policy import needs
from weft.backends import reference as K

pytestmark = needs("native")

CONFIGS = range(120)
CHECK = """
from backends.test_pooling import CONFIGS, check_pooling, check_batch_norm
for i in CONFIGS[{first}::2]:
    check_pooling(i)
    check_batch_norm(i)
"""
DIGEST = """
from backends.test_pooling import CONFIGS, batch_norm_problem, normalise
"""
WINDOWS = [((2, 2), (2, 2), 0, 1), ((3, 3), (2, 2), 1, 1), ((3, 3), (1, 1), 1, 1), ((2, 2), (1, 1), 0, 2)]


def pooling_problem(i):
    """x, g and geometry: common windows, then random ones; NaN, infinities and many equal values among the pixels."""
    rng = np.random.default_rng(i)
    N, C = int(rng.integers(0 if i > 100 else 1, 4)), int(rng.integers(1, 6))
    image = tuple(int(n) for n in rng.integers(1, (12, 40, 90)[i % 3], 2))
    if i < 48:
        kernel, stride, pad, spread = WINDOWS[i % 4]
        dilation, padding = (spread, spread), ((pad, pad), (pad, pad))
    else:
        kernel, stride, dilation = (tuple(int(n) for n in rng.integers(1, high, 2)) for high in (6, 5, 4))
        padding = tuple(tuple(int(n) for n in side) for side in rng.integers(0, 3, (2, 2)))
    if i % 20 == 19:
        image = (int(rng.integers(17, 30)), 20)
        kernel, stride, padding, dilation = (17, 16), (1, 2), ((3, 0), (1, 5)), (1, 1)  # more taps than a byte counts
    if i % 20 == 18:
        kernel, stride, padding, dilation = image, image, ((0, 0), (0, 0)), (1, 1)  # global
    window = [d * (k - 1) + 1 for k, d in zip(kernel, dilation)]
    padding = tuple((a, b + max(0, w - n - a - b)) for (a, b), w, n in zip(padding, window, image))
    size = [(n + a + b - w) // s + 1 for n, (a, b), w, s in zip(image, padding, window, stride)]
    x = rng.standard_normal((N, C, *image), dtype=np.float32)
    if i % 2:
        x = np.round(x)
    if i % 5 == 4:
        x[rng.random(x.shape) < 0.2] = -np.inf
        x[rng.random(x.shape) < 0.05] = np.nan
    g = rng.standard_normal((N, C, *size), dtype=np.float32)
    geometry = {"kernel": kernel, "stride": stride, "padding": padding}
    return strided(x, i % 3), strided(g, (i + 1) % 3), geometry, dilation


def check_pooling(i):
    x, g, geometry, dilation = pooling_problem(i)
    what = f"{i}: {x.shape} {geometry} {dilation}"
    poison()
    out, taps = K.max_pool2d(x, **geometry, dilation=dilation)
    want, want_taps = K.max_pool2d.reference(x, **geometry, dilation=dilation)
    np.testing.assert_array_equal(out, want, what)
    assert taps.dtype == want_taps.dtype
    np.testing.assert_array_equal(taps, want_taps, what)
    gx = K.max_pool2d_backward(g, taps, shape=x.shape, **geometry, dilation=dilation)
    close(
        gx,
        K.max_pool2d_backward.reference(g.astype(np.float64), taps, shape=x.shape, **geometry, dilation=dilation),
        what,
    )
    plain = np.nan_to_num(x, nan=0.5, neginf=-1)
    for count in (True, False):
        more = {**geometry, "count_include_pad": count}
        poison()
        mean = K.avg_pool2d(plain, **more)
        close(mean, K.avg_pool2d.reference(plain.astype(np.float64), **more), what)
        gx, wide = K.avg_pool2d_backward(mean, shape=x.shape, **more), mean.astype(np.float64)
        close(gx, K.avg_pool2d_backward.reference(wide, shape=x.shape, **more), what)


def batch_norm_problem(i):
    """g, x, weight, bias: (N, C), sequences and images, some far from 0."""
    rng = np.random.default_rng(i)
    N, C = int(rng.integers(10 if i % 7 == 6 else 1, 40)), int(rng.integers(1, 50))
    rest = [(), (int(rng.integers(1, 60)),), tuple(int(n) for n in rng.integers(1, 20, 2))][i % 3]
    if i % 40 == 39:
        N, C, rest = 700, 40, ()
    x = rng.standard_normal((N, C, *rest), dtype=np.float32) * 0.7 + (300 if i % 7 == 6 else 1)
    g = rng.standard_normal((N, C, *rest), dtype=np.float32)
    weight, bias = rng.standard_normal((2, C), dtype=np.float32)
    return strided(g, i % 3), strided(x, (i + 1) % 3), None if i % 4 == 1 else weight, None if i % 4 == 2 else bias


def normalise(g, x, weight, bias, reference=False):
    forward, backward = K.batch_norm, K.batch_norm_backward
    if reference:
        forward, backward = forward.reference, backward.reference
    out, mean, var = forward(x, weight, bias, eps=1e-3)
    return out, mean, var, *backward(g, x, weight, mean, var, eps=1e-3)


def check_batch_norm(i):
    arrays = batch_norm_problem(i)
    poison()
    got = normalise(*arrays)
    want = normalise(*(a if a is None else a.astype(np.float64) for a in arrays), reference=True)
    far = 2e-4 if i % 7 == 6 else 1e-5  # a mean of 300 leaves 24 - 8 bits for what is normalised
    for name, a, b in zip(("out", "mean", "var", "gx", "gw", "gb"), got, want):
        close(a, b, f"{name} of {i}: {arrays[1].shape}", far)
    # with what may follow in the same pass, and by statistics that are given
    g, x, weight, bias = arrays
    mean, var = (a + np.float32(0.1) for a in got[1:3])
    options = {"eps": 1e-3, "relu": i % 2 == 0}
    residual = g if i % 3 else None
    for name, more in (("batch_norm_act", ()), ("batch_norm_inference", (mean, var))):
        run, given = getattr(K, name), (x, weight, bias, *more, residual)
        poison()
        out = run(*given, **options)
        wide = run.reference(*(a if a is None else a.astype(np.float64) for a in given), **options)
        for a, b in zip(out, wide) if more == () else [(out, wide)]:
            close(a, b, f"{name} of {i}: {x.shape}", far)


@pytest.mark.parametrize("i", CONFIGS)
def test_pooling_against_reference(i):
    x, g, geometry, dilation = pooling_problem(i)
    assert "reference" not in (weft.which("max_pool2d", x), weft.which("avg_pool2d_backward", g))
    check_pooling(i)


@pytest.mark.parametrize("i", CONFIGS)
def test_batch_norm_against_reference(i):
    g, x, weight, bias = batch_norm_problem(i)
    mean = np.zeros(x.shape[1], np.float32)
    assert weft.which("batch_norm", x, weight, bias) != "reference"
    assert weft.which("batch_norm_act", x, weight, bias, g) != "reference"
    assert weft.which("batch_norm_inference", x, weight, bias, mean, mean, None) != "reference"
    check_batch_norm(i)


def test_every_instruction_set():
    for first, isa in enumerate(weft._cpu.supported_isas()[1:]):
        elsewhere(CHECK.format(first=first), WEFT_ISA=isa)


def test_batch_norm_has_the_same_bits_for_every_number_of_threads():
    assert len({elsewhere(DIGEST, WEFT_NUM_THREADS=n) for n in ("1", "2", "5")}) == 1


def test_variance_does_not_cancel():
    x = (np.random.default_rng(0).standard_normal((64, 3, 32, 32)) * 1e-2 + 1000).astype(np.float32)
    _, mean, var = K.batch_norm(x, None, None, eps=1e-5)
    exact = x.astype(np.float64)
    np.testing.assert_allclose(mean, exact.mean((0, 2, 3)), rtol=1e-7)
    np.testing.assert_allclose(var, exact.var((0, 2, 3)), rtol=1e-3)


def test_bad_shapes_raise():
    x, g = np.ones((2, 3, 8, 8), "f"), np.ones((2, 3, 4, 4), "f")
    two = {"kernel": (2, 2), "stride": (2, 2), "padding": ((0, 0), (0, 0))}
    spread = {**two, "dilation": (1, 1)}
    _, taps = weft._cpu.max_pool2d(x, **spread)
    with pytest.raises(ValueError, match="max_pool2d_backward: expected"):
        weft._cpu.max_pool2d_backward(g[:, :, 1:], taps, shape=x.shape, **spread)
    with pytest.raises(ValueError, match="max_pool2d_backward: expected"):
        weft._cpu.max_pool2d_backward(g, taps[:, :2], shape=x.shape, **spread)
    with pytest.raises(TypeError, match="max_pool2d_backward: expected taps"):
        weft._cpu.max_pool2d_backward(g, taps.astype(np.int32), shape=x.shape, **spread)
    with pytest.raises(ValueError, match="avg_pool2d: expected"):
        weft._cpu.avg_pool2d(x, **{**two, "stride": (0, 1)}, count_include_pad=True)
    with pytest.raises(ValueError, match="avg_pool2d: expected an image"):
        weft._cpu.avg_pool2d(x, **{**two, "kernel": (9, 2)}, count_include_pad=True)
    with pytest.raises(ValueError, match="batch_norm: expected weight"):
        weft._cpu.batch_norm(x, np.ones(2, "f"), None, eps=1e-5)
    with pytest.raises(ValueError, match="batch_norm: expected residual of x's shape"):
        weft._cpu.batch_norm(x, None, None, g, eps=1e-5)
    with pytest.raises(ValueError, match="batch_norm: expected mean of one value per channel"):
        weft._cpu.batch_norm_inference(x, None, None, np.ones(2, "f"), np.ones(3, "f"), eps=1e-5)
    with pytest.raises(ValueError, match="batch_norm_backward: expected g"):
        weft._cpu.batch_norm_backward(g, x, None, np.ones(3, "f"), np.ones(3, "f"), eps=1e-5)
