"""pool.cu against the references in float64: windows of every kind, channels that fill vectors and that do not."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import policy
from kernels.array_checks import ROUNDING, dtype, on, runs, same  # noqa: F401
from kernels.checked import same_under_every_schedule
from opcheck import never_waiting
from weft.backends import reference as K
from weft.backends.gpu.conv_layout import lies_channels_last

pytestmark = pytest.mark.gpu

NONE = ((0, 0), (0, 0))
#: kernel, stride, padding, dilation, image: side by side, overlapping, with gaps, uneven padding, one window, rows.
WINDOWS = {
    "2x2": ((2, 2), (2, 2), NONE, (1, 1), (6, 9)),
    "3x3 stride 2": ((3, 3), (2, 2), ((1, 1), (1, 1)), (1, 1), (8, 7)),
    "3x2 stride 1": ((3, 2), (1, 1), ((0, 2), (1, 0)), (1, 1), (5, 6)),
    "dilated": ((2, 3), (1, 2), ((1, 1), (2, 1)), (3, 2), (9, 8)),
    "gaps": ((1, 2), (3, 4), NONE, (1, 1), (7, 10)),
    "everything": ((5, 4), (5, 4), NONE, (1, 1), (5, 4)),
    "row": ((1, 5), (1, 1), ((0, 0), (4, 4)), (1, 1), (1, 5)),
}
CHANNELS = (3, 16)


def geometry(name, dilated=True):
    kernel, stride, padding, dilation, image = WINDOWS[name]
    options = dict(kernel=kernel, stride=stride, padding=padding)
    return (options | {"dilation": dilation} if dilated else options), image


def draw(rng, shape, char):
    """Values of which some are equal."""
    return np.round(rng.standard_normal(shape) * 4).astype(dtype(char)) / dtype(char).type(4)


def bounded(got, reference, exact):
    """Within twice the error of the reference in the same precision, and one rounding."""
    value = got.get()
    assert value.shape == exact.shape and value.dtype == reference.dtype
    unit = ROUNDING[value.dtype.char]
    allowed = 2 * np.abs(reference.astype("d") - exact).max(initial=0) + 2.02 * unit * np.abs(exact).max(initial=0)
    assert np.abs(value.astype("d") - exact).max(initial=0) <= allowed


@pytest.mark.sanitized
@pytest.mark.parametrize("char", ["f", "e", "E", "d"])
@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("name", WINDOWS)
def test_largest(name, channels, char, device, rng):
    options, image = geometry(name)
    x = draw(rng, (2, channels, *image), char)
    want, taps = K.max_pool2d.reference(x, **options)
    X = on(device, x)
    assert K.max_pool2d.select((X,)) is not K.max_pool2d.reference
    with never_waiting():
        out, where = K.max_pool2d(X, **options)
    same(out, want)
    same(where, taps)
    g = rng.standard_normal(want.shape).astype(dtype(char))
    exact = K.max_pool2d_backward.reference(g.astype("d"), taps, shape=x.shape, **options)
    back = K.max_pool2d_backward.reference(g, taps, shape=x.shape, **options)
    got = K.max_pool2d_backward(on(device, g), where, shape=x.shape, **options)
    bounded(got, back, exact)
    assert all(lies_channels_last(a) for a in (out, where, got)) or min(image) == 1


@pytest.mark.sanitized
@pytest.mark.parametrize("char", ["f", "e", "E", "d"])
@pytest.mark.parametrize("everything", [True, False])
@pytest.mark.parametrize("name", [n for n in WINDOWS if n != "dilated"])
def test_mean(name, everything, char, device, rng):
    options, image = geometry(name, dilated=False)
    options["count_include_pad"] = everything
    for channels in CHANNELS:
        x = draw(rng, (2, channels, *image), char)
        want = K.avg_pool2d.reference(x, **options)
        bounded(K.avg_pool2d(on(device, x), **options), want, K.avg_pool2d.reference(x.astype("d"), **options))
        g = rng.standard_normal(want.shape).astype(dtype(char))
        exact = K.avg_pool2d_backward.reference(g.astype("d"), shape=x.shape, **options)
        back = K.avg_pool2d_backward.reference(g, shape=x.shape, **options)
        bounded(K.avg_pool2d_backward(on(device, g), shape=x.shape, **options), back, exact)


def lying(device, x, kind):
    if kind == "channels last":
        return on(device, np.ascontiguousarray(x.transpose(0, 2, 3, 1))).transpose(0, 3, 1, 2)
    if kind == "columns first":
        return on(device, np.ascontiguousarray(x.transpose(3, 2, 1, 0))).transpose(3, 2, 1, 0)
    if kind == "gaps":
        wide = np.full((*x.shape[:3], 2 * x.shape[3]), np.nan, x.dtype)
        wide[..., ::2] = x
        return on(device, wide)[..., ::2]
    shifted = np.zeros(x.size + 1, x.dtype)  # channels last, but not from a multiple of 16 bytes on
    shifted[1:] = x.transpose(0, 2, 3, 1).ravel()
    N, C, H, W = x.shape
    return on(device, shifted)[1:].reshape(N, H, W, C).transpose(0, 3, 1, 2)


@pytest.mark.parametrize("kind", ["channels last", "columns first", "gaps", "shifted"])
@pytest.mark.parametrize("channels", CHANNELS)
def test_memory(channels, kind, device, rng):
    options, image = geometry("3x3 stride 2")
    x = draw(rng, (2, channels, *image), "f")
    want, taps = K.max_pool2d.reference(x, **options)
    out, where = K.max_pool2d(lying(device, x, kind), **options)
    same(out, want)
    g = draw(rng, want.shape, "f")
    back = K.max_pool2d_backward.reference(g, taps, shape=x.shape, **options)
    there = lying(device, g, kind), lying(device, taps, kind) if kind != "gaps" else where
    np.testing.assert_allclose(
        K.max_pool2d_backward(*there, shape=x.shape, **options).get(), back, rtol=1e-6, atol=1e-6
    )  # fmt: skip
    del options["dilation"]
    options["count_include_pad"] = False
    np.testing.assert_allclose(
        K.avg_pool2d(lying(device, x, kind), **options).get(), K.avg_pool2d.reference(x, **options), atol=1e-6
    )  # fmt: skip


def test_of_equal_values_the_first_of_nans_the_last(device):
    options, _ = geometry("2x2")
    x = np.array([[1, 1, -np.inf, -np.inf, np.nan, 3], [1, 1, -np.inf, -np.inf, np.nan, np.inf]], "f").reshape(
        1, 1, 2, 6
    )
    out, taps = K.max_pool2d(on(device, x), **options)
    assert taps.get().ravel().tolist() == [0, 0, 2]
    same(out, np.array([1, -np.inf, np.nan], "f").reshape(1, 1, 1, 3))


def test_windows_of_more_taps_than_a_byte_counts(device, rng):
    options = dict(kernel=(17, 16), stride=(3, 2), padding=((2, 3), (4, 1)), dilation=(1, 1))
    x = np.arange(1680, dtype="f").reshape(1, 4, 20, 21) + rng.standard_normal((1, 4, 20, 21)).astype("f")
    want, taps = K.max_pool2d.reference(x, **options)
    out, where = K.max_pool2d(on(device, x), **options)
    assert where.dtype == np.int32 and taps.max() > 255
    same(out, want)
    same(where, taps)
    g = rng.standard_normal(want.shape).astype("f")
    back = K.max_pool2d_backward(on(device, g), where, shape=x.shape, **options)
    exact = K.max_pool2d_backward.reference(g.astype("d"), taps, shape=x.shape, **options)
    np.testing.assert_allclose(back.get(), exact, rtol=1e-5, atol=1e-5)


def test_no_images(device):
    options, image = geometry("2x2")
    x = on(device, np.zeros((0, 3, *image), "f"))
    out, taps = K.max_pool2d(x, **options)
    assert out.shape == taps.shape == (0, 3, 3, 4)
    assert K.max_pool2d_backward(out, taps, shape=x.shape, **options).shape == x.shape


@policy.needs("emulator")
@pytest.mark.parametrize("char", ["f", "E"])
def test_checked_under_every_schedule(char, rng):
    """No report, and the same bits."""
    jobs = [
        (geometry(name)[0], rng.standard_normal((2, channels, *geometry(name)[1])).astype(dtype(char)))
        for name, channels in itertools.product(("2x2", "dilated"), CHANNELS)
    ]

    def run():
        found = []
        for options, x in jobs:
            out, taps = K.max_pool2d(on("emulated", x), **options)
            found += [out, taps, K.max_pool2d_backward(out, taps, shape=x.shape, **options)]
            plain = {k: v for k, v in options.items() if k != "dilation"} | {"count_include_pad": False}
            mean = K.avg_pool2d(on("emulated", x), **plain)
            found += [mean, K.avg_pool2d_backward(mean, shape=x.shape, **plain)]
        return found

    same_under_every_schedule(run)


def test_padding_never_wins(device):
    options = dict(kernel=(3, 3), stride=(2, 2), padding=((1, 1), (1, 1)), dilation=(1, 1))
    x = np.full((1, 1, 4, 4), -np.inf, "f")
    _, taps = K.max_pool2d(on(device, x), **options)
    assert taps.get().ravel().tolist() == [4, 3, 1, 0]  # the first pixel of each window that lies in the image
