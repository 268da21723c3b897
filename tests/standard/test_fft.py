"""weft.fft beside the standard's reference: values, dtypes, lengths, axes and the scale of either direction."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import weft
from standard.strict import COMPLEX, FLOATS, Dtype, arrays, axis_of, compare, examples, shapes, strict

NORMS = st.sampled_from(["backward", "ortho", "forward"])
SIDES = shapes(min_dims=1, min_side=2)


def test_every_function_is_there_with_its_signature():
    for name in strict.fft.__all__:
        ours, theirs = (inspect.signature(getattr(module, name)) for module in (weft.fft, strict.fft))
        for mine, other in zip(ours.parameters.values(), theirs.parameters.values(), strict=True):
            assert mine.kind == other.kind, (name, mine, other)
            if mine.kind is mine.KEYWORD_ONLY:
                assert (mine.name, mine.default) == (other.name, other.default), (name, mine, other)
    assert set(strict.fft.__all__) == set(weft.fft.__all__)


@pytest.mark.parametrize("name", ["fft", "ifft", "rfft", "irfft", "hfft", "ihfft"])
@examples(6)
@given(data=st.data())
def test_along_one_axis(name, data):
    x = data.draw(arrays(FLOATS if name in ("rfft", "ihfft") else COMPLEX, SIDES))
    options = {"n": data.draw(st.none() | st.integers(1, 9)), "axis": data.draw(axis_of(x)), "norm": data.draw(NORMS)}
    compare(f"fft.{name}", x, exact=False, **options)


@pytest.mark.parametrize("name", ["fftn", "ifftn", "rfftn", "irfftn"])
@examples(6)
@given(data=st.data())
def test_along_several_axes(name, data):
    x = data.draw(arrays(FLOATS if name == "rfftn" else COMPLEX, SIDES))
    axes = data.draw(st.none() | st.permutations(range(x.ndim)).map(lambda p: p[: max(1, len(p) - 1)]))
    count = x.ndim if axes is None else len(axes)
    lengths = st.lists(st.integers(1, 6), min_size=count, max_size=count)
    s = data.draw(lengths if axes is not None else st.none())
    compare(f"fft.{name}", x, exact=False, s=s, axes=axes, norm=data.draw(NORMS))


@examples(12)
@given(data=st.data())
def test_frequencies(data):
    n, d = data.draw(st.integers(1, 12)), data.draw(st.sampled_from([1.0, 0.25, 3.0]))
    for name in ("fft.fftfreq", "fft.rfftfreq"):
        compare(name, n, d=d, dtype=Dtype(data.draw(st.sampled_from(FLOATS))), exact=False)
    x = data.draw(arrays([*FLOATS, *COMPLEX], SIDES))
    axes = data.draw(st.none() | axis_of(x) | st.just(tuple(range(x.ndim))))
    for name in ("fft.fftshift", "fft.ifftshift"):
        compare(name, x, axes=axes)


def test_transforms_undo_each_other():
    rng = np.random.default_rng()
    x = weft.asarray(rng.standard_normal((3, 5)))
    for norm in ("backward", "ortho", "forward"):
        np.testing.assert_allclose(weft.fft.ifft(weft.fft.fft(x, norm=norm), norm=norm).numpy().real, x.numpy())
        np.testing.assert_allclose(weft.fft.irfft(weft.fft.rfft(x, norm=norm), n=5, norm=norm).numpy(), x.numpy())
        np.testing.assert_allclose(weft.fft.hfft(weft.fft.ihfft(x, norm=norm), n=5, norm=norm).numpy(), x.numpy())
        back = weft.fft.irfftn(weft.fft.rfftn(x, norm=norm), s=(3, 5), axes=(0, 1), norm=norm)
        np.testing.assert_allclose(back.numpy(), x.numpy())
    np.testing.assert_array_equal(weft.fft.ifftshift(weft.fft.fftshift(x)).numpy(), x.numpy())
