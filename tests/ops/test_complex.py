"""Complex numbers: values and gradients of any order, with real and imaginary parts as the real inputs and outputs."""

import numpy as np
import pytest

import weft
from opcheck import Case, checks
from weft import autograd, ops

NO_16_BITS = "there is no complex type of 16 bits"


def of_parts(f):
    """f of complex numbers as a function of their parts, which gives the parts of the result."""

    def function(*parts):
        out = f(*[re + 1j * im for re, im in zip(parts[::2], parts[1::2])])
        return ops.stack([ops.real(out), ops.imag(out)])

    return function


def oracle(f):
    def function(*parts):
        out = f(*[re + 1j * im for re, im in zip(parts[::2], parts[1::2])])
        return np.stack([out.real, out.imag])

    return function


def away(*shape):
    """Numbers from 0.3 to 1.5 with either sign: no pole, kink or branch cut of the functions below is near."""
    return lambda rng: rng.uniform(0.3, 1.5, shape) * rng.choice([-1, 1], shape)


def case(f, numpy_f, *shapes, name, order=2):
    inputs = [away(*s) for s in shapes for _ in range(2)]
    return Case(of_parts(f), *inputs, oracle=oracle(numpy_f), name=f"complex {name}", order=order, half=False,
                off_device="complex numbers live on the CPU", why=NO_16_BITS)  # fmt: skip


UNARY = """
acos acosh asin asinh atan atanh conj cos cosh exp expm1 imag log log1p log2 log10 negative positive real reciprocal
sign sin sinh sqrt square tan tanh abs
""".split()
CASES = [
    *[case(getattr(ops, n), getattr(np, n), (3, 4), name=n) for n in UNARY],
    *[case(getattr(ops, n), getattr(np, n), (3, 1), (4,), name=n)
      for n in ("add", "subtract", "multiply", "divide", "pow")],
    case(ops.matmul, np.matmul, (2, 3), (3, 4), name="matmul"),
    case(lambda z: ops.pow(z, 3), lambda z: z**3, (3,), name="pow(z,3)"),
    case(lambda z: ops.pow(z, 2j), lambda z: z**2j, (3,), name="pow(z,2j)"),
    case(lambda z: ops.pow(1 + 2j, z), lambda z: (1 + 2j) ** z, (3,), name="pow(1+2j,z)"),
    case(lambda z, w: ops.where(ops.real(z) > 0, z, w), lambda z, w: np.where(z.real > 0, z, w), (3,), (3,),
         name="where"),
    case(ops.linear, lambda x, w: x @ w.T, (2, 3), (4, 3), name="linear"),
    case(ops.vecdot, np.vecdot, (2, 3), (3,), name="vecdot"),
    case(lambda z: ops.sum(z * z, axis=0), lambda z: np.sum(z * z, axis=0), (2, 3), name="sum"),
    case(lambda z: ops.prod(z, axis=1), lambda z: np.prod(z, axis=1), (2, 3), name="prod"),
    case(lambda z: ops.mean(z, axis=0), lambda z: np.mean(z, axis=0), (2, 3), name="mean"),
    case(ops.cumulative_sum, np.cumulative_sum, (4,), name="cumulative_sum"),
    case(ops.cumulative_prod, np.cumulative_prod, (5,), name="cumulative_prod"),
    case(ops.diff, np.diff, (2, 4), name="diff"),
    case(lambda z, w: ops.concat([z, w[1:, ::-1]]), lambda z, w: np.concat([z, w[1:, ::-1]]), (2, 3), (2, 3),
         name="concat"),
    case(lambda z: ops.take(z, np.array([1, 0, 1]), axis=1), lambda z: z[:, [1, 0, 1]], (2, 2), name="take"),
    case(lambda z: ops.tril(ops.roll(z, 1)), lambda z: np.tril(np.roll(z, 1)), (3, 3), name="roll"),
    case(lambda z, w: ops.tensordot(z, w, axes=1), lambda z, w: np.tensordot(z, w, axes=1), (2, 3), (3, 2),
         name="tensordot"),
]  # fmt: skip
globals().update(checks(CASES))


@pytest.mark.parametrize("name", ["abs", "acosh", "conj", "imag", "log1p", "sign", "sqrt", "multiply", "divide", "pow"])
def test_gradcheck_with_complex_inputs(name):
    rng = np.random.default_rng(0)
    z, w = (away(2, 3)(rng) + 1j * away(2, 3)(rng) for _ in range(2))
    inputs = [z] if name in UNARY else [z, w]
    weft.testing.gradcheck(getattr(ops, name), inputs)
    weft.testing.gradgradcheck(getattr(ops, name), inputs)


def test_the_gradient_points_where_the_loss_grows():
    z = weft.asarray([3 + 4j])
    z.requires_grad = True
    (ops.abs(z) ** 2).sum().backward()
    np.testing.assert_allclose(z.grad.numpy(), [6 + 8j], rtol=1e-6)


@pytest.mark.needs("torch")
def test_gradients_agree_with_torch():
    import torch

    rng = np.random.default_rng(1)
    a, b = (rng.standard_normal((3, 3)) + 1j * rng.standard_normal((3, 3)) for _ in range(2))
    x = rng.standard_normal((3, 3))

    def loss(xp, a, b, x):
        y = xp.exp(a * 0.3) @ b / (a + 2) + x * xp.conj(a)
        return (xp.abs(y) * xp.real(y) + xp.imag(y * y)).sum()

    ours = [weft.Tensor(v, True) for v in (a, b, x)]
    theirs = [torch.tensor(v, requires_grad=True) for v in (a, b, x)]
    loss(ops, *ours).backward()
    loss(torch, *theirs).backward()
    for mine, other in zip(ours, theirs):
        assert mine.grad.dtype == mine.dtype
        np.testing.assert_allclose(mine.grad.numpy(), other.grad.numpy(), rtol=1e-10)


def test_a_real_input_gets_a_real_gradient():
    x = weft.Tensor(np.ones(3, np.float32), True)
    y = ops.real(x * (2 + 5j)) + ops.imag(x * 1j)
    (g,) = autograd.grad(y.sum(), [x], create_graph=True)
    assert g.dtype == np.float32
    np.testing.assert_array_equal(g.numpy(), [3, 3, 3])


def test_gradients_where_functions_have_corners():
    z = weft.Tensor(np.zeros(2, np.complex128), True)
    for f in (ops.abs, ops.sign):
        (g,) = autograd.grad(f(z), [z], weft.asarray(np.ones(2, f(z).dtype)))
        np.testing.assert_array_equal(g.numpy(), [0, 0])


def test_only_real_losses_have_a_slope():
    z = weft.Tensor(np.ones((), np.complex128), True)
    with pytest.raises(TypeError, match="complex"):
        (z * z).backward()


@pytest.mark.parametrize("name", "less less_equal greater greater_equal maximum minimum remainder floor_divide".split())
def test_complex_numbers_have_no_order(name):
    z = weft.asarray([1 + 2j])
    with pytest.raises(TypeError, match=name):
        getattr(weft, name)(z, z)
    with pytest.raises(TypeError, match="clip"):
        weft.clip(z, 0.0, 1.0)


def test_promotion_with_complex():
    half, single, double = (weft.asarray(np.ones(2, t)) for t in (np.float16, np.float32, np.float64))
    z = weft.asarray(np.ones(2, np.complex64))
    assert (single * 1j).dtype == (half * 1j).dtype == (z * 2.0).dtype == (z * single).dtype == np.complex64
    assert (weft.asarray([1, 2]) * 1j).dtype == np.complex64
    assert (double * 1j).dtype == (z * double).dtype == np.complex128


@pytest.mark.needs("emulator")
def test_complex_numbers_live_on_the_cpu():
    z = weft.asarray([1 + 2j], device="cpu")
    with pytest.raises(TypeError, match="expected real numbers on emulated, got complex"):
        z.to_device("emulated")
