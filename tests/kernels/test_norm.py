"""norm.cu against its references in float64: lengths, types of parameters, sums over rows, layouts, schedules, bugs."""

from __future__ import annotations

import numpy as np
import pytest

import policy
from kernels.array_checks import dtype, on, runs  # noqa: F401  (runs: a fixture)
from kernels.checked import same_under_every_schedule
from kernels.rows_checks import LAYOUTS, accurate, caught, lie
from weft.backends import reference as K
from weft.backends.gpu import norm

pytestmark = pytest.mark.gpu

#: Types of elements and parameters, length and number of rows: every team, one element and 16 bytes at a time, rows in
#: registers and read again.
COMMON = [("ff", 7, 40), ("ff", 64, 5), ("ff", 301, 6), ("ff", 1000, 9), ("ff", 8200, 20), ("Ef", 24, 70),
          ("Ef", 33000, 2), ("EE", 768, 5), ("ee", 9, 5), ("dd", 6, 5)]  # fmt: skip
REST = [("ff", 1, 3), ("ff", 32, 3000), ("ff", 2000, 3), ("ff", 4096, 4), ("ff", 12000, 20), ("ff", 33001, 3),
        ("Ef", 1024, 300), ("EE", 8192, 3), ("Ef", 1001, 4), ("ef", 40000, 9), ("dd", 512, 4),
        ("dd", 3000, 9)]  # fmt: skip
LENGTHS = [*COMMON, *(pytest.param(*case, marks=pytest.mark.slow) for case in REST)]


def some(rng, shape, char, mean=0.0):
    return (mean + rng.standard_normal(shape)).astype(dtype(char))


def parameters(rng, columns, char, which):
    return [some(rng, columns, char, 0.5) if letter in which else None for letter in "wb"]


def check_layer(x, g, weight, bias, device, place=on, eps=1e-5):
    """Value, statistics and gradients of layer norm; everything in NumPy. -> them, on the device"""
    lay = lambda v: v if v is None else place(device, v) if v.ndim > 1 else on(device, v)
    X, G, W, B = map(lay, (x, g, weight, bias))
    out, mean, rstd = K.layer_norm(X, W, B, eps=eps)
    wide = np.dtype("d" if x.dtype.char == "d" else "f")
    factor = 1 if weight is None else np.abs(weight.astype("d")).max()
    span = np.abs(x.astype("d")).max() * np.abs(rstd.get()).max() * factor
    kinds = [x.dtype, wide, wide]
    accurate((out, mean, rstd), K.layer_norm.reference, [x, weight, bias], {"eps": eps}, terms=span, kinds=kinds)
    found = K.layer_norm_backward(G, X, W, mean, rstd)
    arrays = [g, x, weight, mean.get(), rstd.get()]
    terms = terms_of(g, x, weight, mean.get(), rstd.get())
    kind = x.dtype if weight is None else weight.dtype
    accurate(found, K.layer_norm_backward.reference, arrays, {}, terms=terms, kinds=[x.dtype, kind, kind])
    return out, mean, rstd, *found


def check_rms(x, g, weight, device, place=on, eps=1e-5):
    lay = lambda v: v if v is None else place(device, v) if v.ndim > 1 else on(device, v)
    X, G, W = map(lay, (x, g, weight))
    out, rstd = K.rms_norm(X, W, eps=eps)
    wide = np.dtype("d" if x.dtype.char == "d" else "f")
    accurate((out, rstd), K.rms_norm.reference, [x, weight], {"eps": eps}, kinds=[x.dtype, wide])
    found = K.rms_norm_backward(G, X, W, rstd)
    terms = terms_of(g, x, weight, 0, rstd.get())
    kinds = [x.dtype, None if weight is None else weight.dtype]
    accurate(found, K.rms_norm_backward.reference, [g, x, weight, rstd.get()], {}, terms=terms, kinds=kinds)
    return out, rstd, *found


def terms_of(g, x, weight, mean, rstd):
    """The size of the terms of a gradient: of a row's, and of a root of as many as there are rows."""
    scaled = np.abs(g.astype("d")).max() * (1 if weight is None else np.abs(weight.astype("d")).max())
    normal = np.abs((x.astype("d") - mean) * rstd).max()
    rows = x.size // x.shape[-1]
    return max(np.abs(rstd).max() * scaled, np.abs(g.astype("d")).max() * rows**0.5) * max(normal, 1)


@pytest.mark.parametrize("which", ["wb", "w", "b", ""])
@pytest.mark.parametrize(("chars", "columns", "count"), LENGTHS)
def test_layer_norm(chars, columns, count, which, device, rng):
    x, g = some(rng, (count, columns), chars[0], 1), some(rng, (count, columns), chars[0])
    check_layer(x, g, *parameters(rng, columns, chars[1], which), device)


@pytest.mark.parametrize("which", ["w", ""])
@pytest.mark.parametrize(("chars", "columns", "count"), LENGTHS)
def test_rms_norm(chars, columns, count, which, device, rng):
    x, g = some(rng, (count, columns), chars[0], 1), some(rng, (count, columns), chars[0])
    check_rms(x, g, parameters(rng, columns, chars[1], which)[0], device)


@pytest.mark.sanitized
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout, device, rng):
    x, g, place = some(rng, (9, 8), "f"), some(rng, (9, 8), "f"), lambda d, v: lie(v, d, layout)
    check_layer(x, g, *parameters(rng, 8, "f", "wb"), device, place)
    check_rms(x, g, parameters(rng, 8, "f", "w")[0], device, place)


def test_leading_axes_and_parameters_that_are_views(device, rng):
    x = some(rng, (2, 3, 8), "f")
    values = some(rng, 17, "f")
    X, W = on(device, x), on(device, values)[1::2]
    out, mean, rstd = K.layer_norm(X, W, W[::-1], eps=1e-5)
    assert out.shape == (2, 3, 8) and mean.shape == rstd.shape == (2, 3, 1)
    w = values[1::2]
    accurate((out, mean, rstd), K.layer_norm.reference, [x, w, w[::-1]], {"eps": 1e-5}, terms=10)


def test_weight_and_bias_of_two_types(device, rng):
    x, w, b = some(rng, (5, 24), "E"), some(rng, 24, "f"), some(rng, 24, "E")
    out, *_ = K.layer_norm(on(device, x), on(device, w), on(device, b), eps=1e-5)
    want, *_ = K.layer_norm.reference(*(v.astype("d") for v in (x, w, b)), eps=1e-5)
    np.testing.assert_allclose(out.get().astype("d"), want, rtol=2**-8, atol=1e-5)


@pytest.mark.parametrize("columns", [7, 300, 3000, pytest.param(40000, marks=pytest.mark.slow)])
def test_a_mean_far_from_zero_loses_no_variance(columns, device, rng):
    x = (1000 + rng.standard_normal((3, columns))).astype("f")
    out, _, rstd = K.layer_norm(on(device, x), None, None, eps=0.0)
    want, _, exact = K.layer_norm.reference(x.astype("d"), None, None, eps=0.0)
    np.testing.assert_allclose(rstd.get(), exact, rtol=1e-5)
    rounding = 2.0**-24 * np.abs(x).max()  # of the mean, which is as large as the numbers, in each step of its joining
    assert (np.abs(out.get() - want) <= 6 * rounding * exact).all()


def test_nothing(device):
    x, w = on(device, np.zeros((0, 4), "f")), on(device, np.ones(4, "f"))
    out, mean, rstd = K.layer_norm(x, w, w, eps=1e-5)
    assert out.shape == (0, 4) and mean.shape == rstd.shape == (0, 1)
    gx, gw, gb = K.layer_norm_backward(x, x, w, mean, rstd)
    assert gx.shape == (0, 4)
    np.testing.assert_array_equal(gw.get(), np.zeros(4))
    np.testing.assert_array_equal(gb.get(), np.zeros(4))


def test_the_order_of_sums_is_that_of_shapes(device, rng):
    """More rows than blocks share: twice the same bits, and the parts are as many as the shapes say."""
    x, g, w = some(rng, (1200, 8), "f"), some(rng, (1200, 8), "f"), some(rng, 8, "f")
    team = norm.team_of(8, 4, backward=True)
    assert 1 < team.blocks(1200) <= norm.PARTS
    first, again = (check_layer(x, g, w, w, device) for _ in range(2))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a.get(), b.get())


CHECKED = [("f", 7, 40), ("f", 600, 3), pytest.param("f", 8200, 12, marks=pytest.mark.slow)]


@policy.needs("emulator")
@pytest.mark.parametrize(("char", "columns", "count"), CHECKED)
def test_checked_under_every_schedule(char, columns, count, rng, monkeypatch):
    monkeypatch.setattr(norm, "PARTS", 2)  # blocks take several rows
    x, g = some(rng, (count, columns), char), some(rng, (count, columns), char)
    w, b = parameters(rng, columns, char, "wb")

    def run():
        X, G, W, B = (on("emulated", v) for v in (x, g, w, b))
        out, mean, rstd = K.layer_norm(X, W, B, eps=1e-5)
        rms, root = K.rms_norm(X, W, eps=1e-5)
        found = K.layer_norm_backward(G, X, W, mean, rstd)
        return out, mean, rstd, rms, root, *found, *K.rms_norm_backward(G, X, W, root)

    same_under_every_schedule(run)


#: what is wrong -> file, text, its replacement, columns, rows, whether the checks are needed to see it
BUGS = {
    "scratch is written before it is read": (
        "rows.cuh", "    __syncthreads();  // what the call before left there is read\n", "", 600, 4, True),
    "teams do not wait for each other's sums": ("norm.cu", "if (t > 0) __syncthreads();", "", 7, 140, True),
    "a team's sums are left out": ("norm.cu", "if (t > 0) sums[k][v]", "if (t > 1) sums[k][v]", 7, 40, False),
    "a block's rows are left out": ("norm.cu", "for (int p = threadIdx.x / ACROSS;", "for (int p = 1;", 7, 140, False),
    "lines are joined before they are there": (
        "norm.cu", "scratch[threadIdx.x] = value;\n  __syncthreads();", "scratch[threadIdx.x] = value;", 7, 140, True),
    "the first vector's weight": (
        "norm.cu", "const Parameters w(weight, at, 1), b", "const Parameters w(weight, 0, 1), b", 64, 5, False),
    "the mean is not taken off": (
        "norm.cu", "d = Real(part[0].at[v]) - all.mean;", "d = Real(part[0].at[v]);", 64, 5, False),
    "parts are joined without their distance": (
        "norm.cu", "difference * difference * a.count * part", "0", 33001, 2, False),
}  # fmt: skip


@policy.needs("emulator")
@pytest.mark.parametrize("bug", BUGS)
def test_bugs_are_caught(bug, patched, rng, monkeypatch):
    monkeypatch.setattr(norm, "PARTS", 2)
    file, text, replacement, columns, count, checked = BUGS[bug]
    patched(file, text, replacement)
    x, g = some(rng, (count, columns), "f", 1), some(rng, (count, columns), "f")
    caught(lambda: check_layer(x, g, *parameters(rng, columns, "f", "wb"), "emulated"), checked)
