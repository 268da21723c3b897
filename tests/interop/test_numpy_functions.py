"""NumPy's functions and ufuncs on Tensors: recorded, left to NumPy where nothing is lost, or refused."""

import numpy as np
import pytest

import weft
from weft.interop import functions


def draw(*shape):
    return np.random.default_rng(sum(shape) + 5).standard_normal(shape)


def apart(*shape):
    """Values no two of which are near: for kinks."""
    n = int(np.prod(shape))
    return np.random.default_rng(1).permutation((np.arange(n) - n / 2 + 0.3) * 0.1).reshape(shape)


HOST = draw(3, 4)
CALLS = {
    "sum": lambda x: np.sum(x, 0),
    "sum_of_dtype": lambda x: np.sum(x, axis=1, dtype=np.float64, keepdims=True),
    "mean": lambda x: np.mean(x, axis=(0, -1), keepdims=True),
    "prod": lambda x: np.prod(x, axis=1),
    "max": lambda x: np.max(x, axis=1),
    "amin": lambda x: np.amin(x),
    "var": lambda x: np.var(x, axis=1, ddof=1),
    "std": lambda x: np.std(x, 0),
    "ptp": lambda x: np.ptp(x, axis=0),
    "average": lambda x: np.average(x, axis=0, weights=HOST),
    "average_of_columns": lambda x: np.average(x, axis=0, weights=[1.0, 2.0, 5.0]),
    "average_of_two_axes": lambda x: np.average(x, axis=(1, 0), weights=HOST.T),
    "cumsum": lambda x: np.cumsum(x),
    "cumulative_sum": lambda x: np.cumulative_sum(x, axis=1),
    "reshape": lambda x: np.reshape(x, (4, -1)),
    "ravel": lambda x: np.ravel(x),
    "transpose": lambda x: np.transpose(x),
    "permute_dims": lambda x: np.permute_dims(x, (1, 0)),
    "matrix_transpose": lambda x: np.matrix_transpose(x),
    "squeeze": lambda x: np.squeeze(x[:, None]),
    "expand_dims": lambda x: np.expand_dims(x, (0, 2)),
    "swapaxes": lambda x: np.swapaxes(x, 0, 1),
    "moveaxis": lambda x: np.moveaxis(x, 0, -1),
    "broadcast_to": lambda x: np.broadcast_to(x, (2, 3, 4)),
    "flip": lambda x: np.flip(x, 0),
    "flipud": lambda x: np.flipud(x),
    "fliplr": lambda x: np.fliplr(x),
    "roll": lambda x: np.roll(x, 1, axis=1),
    "tile": lambda x: np.tile(x, (2, 1, 2)),
    "repeat": lambda x: np.repeat(x, 3, axis=1),
    "pad": lambda x: np.pad(x, ((1, 0), (0, 2)), constant_values=1.5),
    "tril": lambda x: np.tril(x, 1),
    "triu": lambda x: np.triu(x),
    "diagonal": lambda x: np.diagonal(x, 1),
    "diagonal_of_axes": lambda x: np.diagonal(np.stack([x, x * 2]), -1, 2, 1),
    "trace": lambda x: np.trace(x),
    "concatenate": lambda x: np.concatenate([x, HOST, x], 1),
    "concat": lambda x: np.concat((x, x)),
    "stack": lambda x: np.stack([HOST, x], 1),
    "atleast_2d": lambda x: np.atleast_2d(x[0]),
    "atleast_3d": lambda x: np.atleast_3d(x),
    "vstack": lambda x: np.vstack([x[0], x]),
    "hstack": lambda x: np.hstack([x[0], x[1]]),
    "dstack": lambda x: np.dstack([x, x]),
    "column_stack": lambda x: np.column_stack([x, x[:, 0]]),
    "split": lambda x: np.split(x, 2, axis=1)[1],
    "array_split_from_the_end": lambda x: np.array_split(x, [-9, 3, -2], axis=1)[2],
    "array_split": lambda x: np.array_split(x, [1, 3], axis=1)[1],
    "take": lambda x: np.take(x, np.array([2, 0]), axis=0),
    "take_along_axis": lambda x: np.take_along_axis(x, np.array([[2, 0]] * 3), axis=1),
    "sort": lambda x: np.sort(x, axis=0),
    "where": lambda x: np.where(HOST > 0, x, 2.0),
    "clip": lambda x: np.clip(x, -0.2, 0.3),
    "nan_to_num": lambda x: np.nan_to_num(x),
    "copy": lambda x: np.copy(x),
    "dot": lambda x: np.dot(x, HOST.T),
    "dot_of_many": lambda x: np.dot(x, draw(2, 4, 5)),
    "inner": lambda x: np.inner(x, HOST),
    "outer": lambda x: np.outer(x, HOST[0]),
    "vdot": lambda x: np.vdot(x, HOST),
    "tensordot": lambda x: np.tensordot(x, HOST, axes=(0, 0)),
    "einsum": lambda x: np.einsum("ij,kj->ik", x, HOST),
    "norm": lambda x: np.linalg.norm(x, axis=1),
    "diff": lambda x: np.diff(x, axis=1),
    "inv": lambda x: np.linalg.inv(np.matmul(x, np.transpose(x)) + np.eye(3)),
    "det": lambda x: np.linalg.det(x[:, :3]),
    "rfft": lambda x: np.abs(np.fft.rfft(x, axis=1)),
    "ufunc": lambda x: np.exp(x),
    "ufunc_of_two": lambda x: np.multiply(HOST, x),
    "array_operator": lambda x: HOST / x - np.float64(2.0) * x,
    "matmul": lambda x: HOST.T @ x,
    "reduce": lambda x: np.add.reduce(x, 1),
    "reduce_rows": lambda x: np.maximum.reduce(x, keepdims=True),
}


@pytest.mark.parametrize("name", CALLS)
def test_numpys_function_is_recorded(name):
    call, values = CALLS[name], apart(3, 4)
    expected = call(values)
    x = weft.Tensor(values, requires_grad=True)
    out = call(x)
    assert isinstance(out, weft.Tensor) and out.requires_grad
    np.testing.assert_allclose(out.numpy(), expected, rtol=1e-12)
    weights = draw(*expected.shape) if expected.shape else np.asarray(1.0)
    (out * weights).sum().backward()
    direction, eps = draw(4, 3).T, 1e-6
    ahead, behind = (np.sum(call(values + sign * eps * direction) * weights) for sign in (1, -1))
    np.testing.assert_allclose((x.grad.numpy() * direction).sum(), (ahead - behind) / (2 * eps), rtol=1e-6, atol=1e-7)


def test_every_entry_has_a_call():
    """What the table does for NumPy is tried above, or has nothing to differentiate."""
    called = {own.__name__ for own in functions.TABLE.values()}
    constant = {"all", "any", "argmax", "argmin", "argsort", "shape", "ndim", "size", "zeros_like", "ones_like"}
    constant |= {"empty_like", "full_like", "round"}
    tried = set(CALLS) | {"min", "amax", "atleast_1d"}
    assert called - constant - tried == set()


def test_what_has_no_gradient():
    x = weft.Tensor(apart(3, 4), requires_grad=True)
    assert np.shape(x) == (3, 4) and np.ndim(x) == 2 and np.size(x) == 12 and np.size(x, 1) == 4
    assert np.argmax(x).item() == np.argmax(x.numpy()) and np.all(x < 9).item() and not np.any(x > 9).item()
    np.testing.assert_array_equal(np.argsort(x, axis=0).numpy(), np.argsort(x.numpy(), axis=0))
    assert np.allclose(x, x.detach()) and np.array_equal(x, x) and np.result_type(x, np.float32) == np.float64
    assert np.zeros_like(x).tolist() == [[0.0] * 4] * 3 and np.full_like(x, 2, dtype=np.int64).dtype == np.int64
    np.testing.assert_array_equal(np.round(x * 100, 1).detach().numpy(), np.round(x.numpy() * 100, 1))
    assert np.round(weft.asarray([123456789]), -1).tolist() == [123456790]  # which float32 does not hold


OF_OTHER_NUMBERS = {
    "vdot": (lambda x, y: np.vdot(x, y), np.complex128),
    "norm": (lambda x, y: np.linalg.norm(x, axis=1), np.complex128),
    "norm_of_integers": (lambda x, y: np.linalg.norm(x), np.int8),  # their squares leave the type
}


@pytest.mark.parametrize("name", OF_OTHER_NUMBERS)
def test_complex_numbers_and_integers_are_as_numpy_has_them(name):
    call, dtype = OF_OTHER_NUMBERS[name]
    z = 100 * (draw(3, 4) + 1j * draw(4, 3).T)
    x = z if dtype is np.complex128 else z.real.clip(-120, 120).astype(dtype)
    y = x[::-1]
    np.testing.assert_allclose(call(weft.Tensor(x), weft.Tensor(y)).numpy(), call(x, y), rtol=1e-6)


def test_weights_have_to_fit_what_is_averaged():
    x = weft.Tensor(apart(3, 3))
    with pytest.raises(TypeError, match=r"average: expected axis= or weights of shape \(3, 3\), got weights of \(3,\)"):
        np.average(x, weights=[1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match=r"average: expected weights of shape \(3, 3\) or \(3,\), got \(1,\)"):
        np.average(x, axis=0, weights=[1.0])


REFUSED = {
    "asarray": lambda x: np.asarray(x),
    "array": lambda x: np.array(x, copy=True),
    "unknown_function": lambda x: np.histogram(x),
    "unknown_ufunc": lambda x: np.cbrt(x),
    "accumulate": lambda x: np.add.accumulate(x),
    "unknown_argument": lambda x: np.sum(x, initial=1.0),
    "casting": lambda x: np.exp(x, casting="same_kind"),
    "out": lambda x: np.add(HOST, x, out=np.zeros((3, 4))),
    "in_place": lambda x: operator_iadd(np.zeros((3, 4)), x),
    "pad_mode": lambda x: np.pad(x, 1, mode="reflect"),
    "norm_order": lambda x: np.linalg.norm(x, 1),
}


def operator_iadd(a, b):
    a += b
    return a


@pytest.mark.parametrize("name", REFUSED)
def test_a_gradient_is_never_dropped(name):
    x = weft.Tensor(draw(3, 4), requires_grad=True)
    call = REFUSED[name]
    for recorded in (x, x * 2):
        with pytest.raises(TypeError, match=r"detach\(\)|expected arguments"):
            call(recorded)
    expected = call(x.numpy())
    got = call(x.detach())
    for g, e in zip(got, expected) if isinstance(expected, tuple) else [(got, expected)]:
        np.testing.assert_array_equal(np.asarray(g), e)


def test_reading_is_meant_under_no_grad():
    x = weft.Tensor(draw(3), requires_grad=True)
    with weft.no_grad():
        np.testing.assert_array_equal(np.asarray(x), x.numpy())


def test_functions_that_weft_lacks_work_on_values():
    x = weft.Tensor(draw(4, 4).astype(np.float32))
    got = np.linalg.eigvals(x)
    assert isinstance(got, weft.Tensor)
    counts, edges = np.histogram(x, bins=3)
    assert isinstance(counts, weft.Tensor) and counts.sum().item() == 16 and edges.shape == (4,)
    assert np.cbrt(x).dtype == np.float32
    out = weft.zeros((4, 4))
    assert np.cbrt(x, out=out) is out
    np.testing.assert_array_equal(out.numpy(), np.cbrt(x.numpy()))
    with pytest.raises(TypeError, match="out of a dtype for float32"):
        np.cbrt(x, out=weft.zeros((4, 4), dtype=np.int64))
    with pytest.raises(ValueError, match=r"out of shape \(4, 4\), got \(3,\)"):
        np.cbrt(x, out=weft.zeros((3,)))


def test_devices():
    x = weft.asarray(draw(3, 4), device="emulated", dtype=np.float32)
    for out in (np.concatenate([x, x]), np.sum(x, axis=0), np.exp(x), np.where(x > 0, x, 0.0)):
        assert out.device == "emulated"
    for call in (np.cbrt, np.histogram, np.asarray):
        with pytest.raises(TypeError, match="got (one on )?emulated"):
            call(x)


def test_strangers_are_left_alone():
    class Other:
        def __array_function__(self, function, types, args, kwargs):
            return "theirs"

    assert np.concatenate([weft.ones((2,)), Other()]) == "theirs"
