"""Fourier transforms, by Case rows: values against NumPy, gradients of any order against differences."""

import numpy as np
import pytest

import weft
from opcheck import Case, checks
from weft import fft, ops


def both_parts(xp, z):
    return xp.stack([xp.real(z), xp.imag(z)])


def case(name, shape, **options):
    """Of a transform, with the parts of complex inputs as real inputs, and those of complex outputs as outputs."""
    of_real = name in ("rfft", "rfftn", "ihfft")

    def run(xp, transform, *parts):
        out = transform(parts[0] if of_real else parts[0] + 1j * parts[1], **options)
        return both_parts(xp, out) if out.dtype.kind == "c" else out

    ours, numpys = getattr(fft, name), getattr(np.fft, name)
    words = ",".join(f"{k}={v}" for k, v in options.items())
    return Case(lambda *x: run(ops, ours, *x), *[shape] * (1 if of_real else 2), name=f"{name} {shape} {words}",
                oracle=lambda *x: run(np, numpys, *x), half=False, off_device="complex numbers live on the CPU",
                why="there is no complex type of 16 bits")  # fmt: skip


CASES = [
    *[case(name, (2, 5)) for name in ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft")],
    *[case(name, (4, 2), axis=0, norm="ortho") for name in ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft")],
    *[case(name, (6,), n=n, norm="forward") for name in ("fft", "rfft", "irfft") for n in (4, 7)],
    *[case(name, (5,), n=n) for name in ("ifft", "hfft", "ihfft") for n in (3, 8)],
    case("irfft", (1,), n=1),
    *[case(name, (2, 3, 4)) for name in ("fftn", "rfftn", "irfftn")],
    *[case(name, (3, 2, 3), s=(2, 5), axes=(2, 0), norm="ortho") for name in ("fftn", "ifftn", "rfftn", "irfftn")],
    case("rfftn", (3, 4), axes=(1,)),
    Case(fft.fftshift, (3, 4), oracle=np.fft.fftshift),
    Case(fft.ifftshift, (3, 5), params={"axes": 1}, oracle=np.fft.ifftshift),
]
globals().update(checks(CASES))


@pytest.mark.parametrize("name", ["fft", "ifft", "fftn", "irfft", "hfft", "irfftn"])
def test_gradcheck_with_complex_inputs(name):
    rng = np.random.default_rng(0)
    z = rng.standard_normal((3, 4)) + 1j * rng.standard_normal((3, 4))
    weft.testing.gradcheck(getattr(fft, name), [z])
    weft.testing.gradgradcheck(getattr(fft, name), [z])


@pytest.mark.needs("torch")
def test_gradients_agree_with_torch():
    import torch

    rng = np.random.default_rng(1)
    x = rng.standard_normal((3, 5))
    for name, n in (("rfft", 8), ("fft", 4), ("ihfft", 5)):
        found = []
        for library, transforms, leaf in ((ops, fft, weft.Tensor(x, True)), (torch, torch.fft, torch.tensor(x))):
            leaf.requires_grad = True
            (library.abs(getattr(transforms, name)(leaf, n=n)) ** 3).sum().backward()
            found.append(leaf.grad.numpy())
        np.testing.assert_allclose(*found, rtol=1e-10)


def test_dtypes():
    for real, complex_ in ((np.float32, np.complex64), (np.float64, np.complex128), (np.float16, np.complex64)):
        x = weft.asarray(np.ones(4, real))
        assert fft.fft(x).dtype == fft.rfft(x).dtype == fft.ihfft(x).dtype == complex_
    for real, complex_ in ((np.float32, np.complex64), (np.float64, np.complex128)):
        z = weft.asarray(np.ones(4, complex_))
        assert fft.irfft(z).dtype == fft.hfft(z).dtype == real and fft.fft(z).dtype == complex_
    assert fft.fftfreq(5).dtype == np.float32 and fft.rfftfreq(5, dtype=np.float64).dtype == np.float64


@pytest.mark.parametrize("n", [1, 4, 7])
def test_frequencies(n):
    np.testing.assert_allclose(fft.fftfreq(n, d=0.3, dtype=weft.float64).numpy(), np.fft.fftfreq(n, 0.3))
    np.testing.assert_allclose(fft.rfftfreq(n, d=0.3, dtype=weft.float64).numpy(), np.fft.rfftfreq(n, 0.3))


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda x: fft.fft(x, norm="half"), ValueError, "fft: expected norm 'backward', .* got 'half'"),
        (lambda x: fft.fft(x, axis=2), IndexError, "fft: expected axes of an array of 2, got 2"),
        (lambda x: fft.rfft(x, n=0), ValueError, "rfft: expected a length of at least 1 along axis 1, got 0"),
        (lambda x: fft.irfft(x[:, :1]), ValueError, "irfft: expected a length of at least 1"),
        (lambda x: fft.rfft(x * 1j), TypeError, "rfft: expected real numbers, got complex64"),
        (lambda x: fft.fftn(x, axes=(1, 1)), ValueError, r"fftn: expected each axis once, got \(1, 1\)"),
        (lambda x: fft.fftn(x, s=(2,), axes=(0, 1)), ValueError, "fftn: expected .* a length for each"),
        (lambda x: fft.fftfreq(0), ValueError, "fftfreq: expected a length of at least 1, got 0"),
        (lambda x: fft.fftfreq(4, dtype=weft.int32), TypeError, "fftfreq: expected a real floating dtype, got int32"),
    ],
)
def test_errors(call, error, words):
    with pytest.raises(error, match=words):
        call(weft.ones((3, 4)))


@pytest.mark.needs("emulator")
def test_devices_are_refused():
    with pytest.raises(TypeError, match="rfft: expected a Tensor on cpu, got one on emulated"):
        fft.rfft(weft.ones((3,), device="emulated"))
