"""Reductions, shapes, indexing and products, by their Case rows."""

import re

import numpy as np
import pytest

import weft
from opcheck import Case, apart, checks, positive
from weft import ops
from weft.ops import index
from weft.testing import gradcheck, gradgradcheck

LONG = np.array([2, 0, 1, 1])
MASK = np.array([[True, False, True], [False, True, True]])


def indexed(index, name):
    return Case(lambda x: x[index], (4, 3, 5), oracle=lambda x: x[index], name=f"getitem[{name}]")


def stacked(f):
    return lambda *arrays, **params: f(arrays, **params)


def put_oracle(g, index, shape):
    out = np.zeros(shape)
    np.add.at(out, index, g)
    return out


def replace_oracle(x, value, index):
    out = x.copy()
    out[index] = value
    return out


def zeros_among(*shape):
    return lambda rng: rng.standard_normal(shape) * rng.integers(0, 2, shape)


RAW = "what getitem's gradient calls, with a raw index of its device: the rows of getitem cover it"
CASES = [
    Case(ops.sum, (3, 4), oracle=np.sum),
    Case(ops.sum, (3, 4, 2), params={"axis": (0, -1)}, oracle=np.sum),
    Case(ops.sum, (3, 4, 2), params={"axis": 1, "keepdims": True}, oracle=np.sum),
    Case(ops.sum, (0, 3), params={"axis": 0}, oracle=np.sum),
    Case(ops.sum, (), oracle=np.sum),
    Case(ops.mean, (3, 4, 2), params={"axis": -2}, oracle=np.mean),
    Case(ops.mean, (3, 4), oracle=np.mean),
    Case(ops.max, apart(3, 4, 2), params={"axis": 1}, oracle=np.max),
    Case(ops.max, apart(3, 4), oracle=np.max),
    Case(ops.min, apart(3, 4, 2), params={"axis": (0, 2), "keepdims": True}, oracle=np.min),
    Case(ops.prod, (3, 4), params={"axis": 1}, oracle=np.prod),
    Case(ops.prod, (2, 3, 2), params={"axis": (0, 2)}, oracle=np.prod),
    Case(ops.var, (3, 4), params={"axis": 1, "correction": 1.0},
         oracle=lambda x, axis, correction: x.var(axis, ddof=1)),
    Case(ops.std, (3, 4), oracle=np.std),
    Case(ops.cumulative_sum, (3, 4), params={"axis": 1}, oracle=np.cumulative_sum),
    Case(ops.cumulative_sum, (5,), params={"include_initial": True}, oracle=np.cumulative_sum),
    Case(ops.cumulative_prod, (3, 4), params={"axis": 1}, oracle=np.cumulative_prod),
    Case(ops.cumulative_prod, (7, 2), params={"axis": 0, "include_initial": True}, oracle=np.cumulative_prod),
    Case(ops.cumulative_prod, (1,), oracle=np.cumulative_prod),
    Case(ops.diff, (3, 4), oracle=np.diff),
    Case(ops.diff, (5, 2), params={"axis": 0, "n": 2}, oracle=lambda x, axis, n: np.diff(x, n, axis)),
    Case(lambda x, y: ops.diff(x, prepend=y, append=y), (2, 3), (2, 1),
         oracle=lambda x, y: np.diff(x, prepend=y, append=y), name="diff[between]"),
    Case(ops.count_nonzero, zeros_among(3, 4), params={"axis": 1}, oracle=np.count_nonzero, grad=False),
    Case(ops.count_nonzero, zeros_among(3, 4), params={"keepdims": True},
         oracle=lambda x, keepdims: np.count_nonzero(x, keepdims=True), grad=False),
    Case(ops.all, (3, 4), params={"axis": 1}, oracle=np.all, grad=False),
    Case(ops.any, (3, 4), oracle=np.any, grad=False),
    Case(ops.argmax, (3, 4), params={"axis": 1}, oracle=np.argmax, grad=False),
    Case(ops.argmin, (3, 4), oracle=np.argmin, grad=False),
    Case(ops.reshape, (3, 4), params={"shape": (2, -1)}, oracle=lambda x, shape: x.reshape(shape)),
    Case(ops.permute_dims, (2, 3, 4), params={"axes": (2, 0, 1)}, oracle=lambda x, axes: x.transpose(axes)),
    Case(ops.swapaxes, (2, 3, 4), params={"axis1": 0, "axis2": -1}, oracle=np.swapaxes),
    Case(ops.moveaxis, (2, 3, 4), params={"source": 0, "destination": -1}, oracle=np.moveaxis),
    Case(ops.expand_dims, (2, 3), params={"axis": 1}, oracle=np.expand_dims),
    Case(ops.squeeze, (2, 1, 3), params={"axis": 1}, oracle=np.squeeze),
    Case(ops.broadcast_to, (2, 1, 3), params={"shape": (4, 2, 5, 3)}, oracle=np.broadcast_to),
    Case(ops.flip, (2, 3), params={"axis": 1}, oracle=np.flip),
    Case(ops.roll, (2, 3), params={"shift": 2, "axis": 1}, oracle=np.roll),
    Case(ops.roll, (2, 3), params={"shift": (1, -1), "axis": (0, 1)}, oracle=np.roll),
    Case(ops.tile, (2, 3), params={"repetitions": (2, 1, 3)}, oracle=lambda x, repetitions: np.tile(x, repetitions)),
    Case(ops.repeat, (2, 3), params={"repeats": 2, "axis": 0}, oracle=np.repeat),
    Case(ops.repeat, (2, 3), params={"repeats": 3}, oracle=np.repeat),
    Case(lambda x: ops.repeat(x, np.array([2, 3], np.uint64), axis=0), (2, 3),
         oracle=lambda x: np.repeat(x, [2, 3], 0), name="repeat[unsigned]"),
    Case(lambda x: ops.repeat(x, np.array([2, 0, 3]), axis=1), (2, 3),
         oracle=lambda x: np.repeat(x, [2, 0, 3], 1), name="repeat[each]"),
    Case(ops.reshape, (2, 3), params={"shape": (6,), "copy": True}, oracle=lambda x, shape, copy: x.reshape(shape)),
    Case(lambda x, y: ops.meshgrid(x, y), (3,), (2,), oracle=lambda x, y: np.meshgrid(x, y), name="meshgrid"),
    Case(lambda x, y, z: ops.meshgrid(x, y, z, indexing="ij"), (3,), (2,), (1,),
         oracle=lambda x, y, z: np.meshgrid(x, y, z, indexing="ij"), name="meshgrid[ij]"),
    Case(lambda x, y: ops.broadcast_arrays(x, y), (3, 1), (2,), oracle=np.broadcast_arrays, name="broadcast_arrays"),
    Case(ops.pad, (2, 3), params={"widths": ((1, 0), (2, 1))}, oracle=lambda x, widths: np.pad(x, widths)),
    Case(ops.tril, (3, 4), oracle=np.tril),
    Case(ops.triu, (2, 3, 4), params={"k": 1}, oracle=np.triu),
    Case(ops.matrix_transpose, (2, 3, 4), oracle=np.matrix_transpose),
    Case(stacked(ops.concat), (2, 3), (1, 3), oracle=stacked(np.concat), name="concat"),
    Case(stacked(ops.concat), (2, 3), (2, 2), params={"axis": -1}, oracle=stacked(np.concat), name="concat(axis=-1)"),
    Case(stacked(ops.stack), (2, 3), (2, 3), params={"axis": 1}, oracle=stacked(np.stack), name="stack"),
    Case(lambda x: ops.split(x, [1, 3], axis=1), (2, 4), oracle=lambda x: np.split(x, [1], 1), name="split"),
    Case(lambda x: ops.unstack(x), (2, 4), oracle=lambda x: list(x), name="unstack"),
    indexed(1, "1"),
    indexed((slice(None, None, -2), ..., slice(1, 3)), "steps"),
    indexed((None, 2, slice(1, None)), "None"),
    indexed(LONG, "integers"),
    indexed((LONG, slice(None), LONG), "two integers"),
    indexed(np.array([True, False, True, True]), "mask"),
    Case(lambda x: x[MASK], (2, 3), oracle=lambda x: x[MASK], name="getitem[full mask]"),
    Case(lambda x: ops.take(x, LONG, axis=1), (2, 3, 4), oracle=lambda x: np.take(x, LONG, 1), name="take"),
    Case(lambda x: ops.take(x, LONG[:, None] - 2, axis=0), (3, 4),
         oracle=lambda x: x[LONG[:, None] - 2], name="take<0"),
    Case(lambda x: ops.take_along_axis(x, LONG[None, :2], axis=1), (3, 4),
         oracle=lambda x: np.take_along_axis(x, LONG[None, :2], 1), name="take_along_axis"),
    Case(lambda x: ops.take_along_axis(x, LONG[None, :2], axis=1), (1, 4),
         oracle=lambda x: np.take_along_axis(x, LONG[None, :2], 1), name="take_along_axis[1]"),
    Case(lambda x: ops.take_along_axis(x, LONG[:, None], axis=1), (1, 4),
         oracle=lambda x: np.take_along_axis(np.broadcast_to(x, (4, 4)), LONG[:, None], 1), name="take_along_axis[x]"),
    Case(ops.nonzero, zeros_among(3, 4), oracle=np.nonzero, grad=False),
    Case(ops.searchsorted, lambda rng: np.sort(rng.standard_normal(9)), (2, 3), oracle=np.searchsorted, grad=False),
    Case(ops.unique_values, apart(3, 4), oracle=np.unique),
    Case(ops.unique_all, apart(2, 3), oracle=np.unique_all),
    Case(index.put, (3, 2), params={"index": (slice(None), LONG[:2]), "shape": (3, 4)}, oracle=put_oracle,
         off_device=RAW),
    Case(index.put, (4, 3), params={"index": LONG, "shape": (3, 3)}, oracle=put_oracle,
         off_device=RAW),
    Case(index.replace, (3, 4), (4,), params={"index": (slice(1, None), ...)}, oracle=replace_oracle),
    Case(ops.sort, apart(3, 4), params={"axis": 0}, oracle=np.sort),
    Case(ops.sort, apart(3, 4), params={"descending": True}, oracle=lambda x, descending: -np.sort(-x)),
    Case(ops.argsort, apart(3, 4), oracle=np.argsort, grad=False),
    Case(ops.matmul, (3, 4), (4, 2), oracle=np.matmul, order=3),
    Case(ops.matmul, (5, 1, 3, 4), (2, 4, 2), oracle=np.matmul),
    Case(ops.matmul, (4,), (2, 4, 3), oracle=np.matmul),
    Case(ops.matmul, (3, 4), (4,), oracle=np.matmul),
    Case(ops.matmul, (4,), (4,), oracle=np.matmul),
    Case(ops.matmul, (3, 0), (0, 2), oracle=np.matmul),
    Case(ops.linear, (2, 3, 4), (5, 4), (5,), oracle=lambda x, w, b: x @ w.T + b),
    Case(ops.linear, (3, 4), (5, 4), None, oracle=lambda x, w, b: x @ w.T),
    Case(ops.linear, (2, 3, 4), (4, 5), (5,), oracle=lambda x, w, b, transposed: x @ w + b,
         params={"transposed": True}),
    Case(ops.linear, (3, 4), (4, 5), None, oracle=lambda x, w, b, transposed: x @ w, params={"transposed": True}),
    Case(ops.vecdot, (3, 4), (3, 4), oracle=np.vecdot),
    Case(ops.tensordot, (2, 3, 4), (3, 4, 5), oracle=np.tensordot),
    Case(ops.tensordot, (2, 3, 4), (4, 5, 2), params={"axes": ([0, 2], [2, 0])}, oracle=np.tensordot),
]  # fmt: skip
globals().update(checks(CASES))


def test_prod_with_zeros():
    x = weft.Tensor(np.array([0.0, 2.0, 3.0]), requires_grad=True)
    ops.prod(x).backward()
    np.testing.assert_array_equal(x.grad.numpy(), [6, 0, 0])


@pytest.mark.parametrize("function", [ops.prod, ops.cumulative_prod])
def test_products_with_zeros_at_all_orders(function):
    """Where quotients of products would be NaN or 0."""
    for values in ([2.0, 0.0, 3.0, -1.0], [2.0, 0.0, 3.0, 0.0, 4.0], [0.0, 0.0]):
        gradcheck(function, [np.array(values)])
        gradgradcheck(function, [np.array(values)])


def test_gradient_of_a_long_product():
    """In memory of a few times the row, not of its square."""
    rng = np.random.default_rng()
    values = rng.permutation(np.repeat([0.5, 2.0], 50_000))  # exact in any order, and far from overflow
    values[7] = 0
    x = weft.Tensor(values, requires_grad=True)
    ops.prod(x).backward()
    grad = x.grad.numpy()
    others = np.arange(x.size) != 7
    assert grad[7] == np.prod(values[others]) and not grad[others].any()


def test_max_shares_ties():
    x = weft.Tensor(np.array([1.0, 1.0, 0.0]), requires_grad=True)
    x.max().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [0.5, 0.5, 0])


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda x: x @ x, ValueError, r"matmul: expected .* got \(2, 3\) and \(2, 3\)"),
        (lambda x: ops.reshape(x, (4, 2)), ValueError, r"reshape: expected .*6 values \(2, 3\), got \(4, 2\)"),
        (lambda x: ops.take(x, np.array([3]), axis=1), IndexError, "take: expected indices below 3 along axis 1"),
        (lambda x: ops.take(x, np.array([0.5]), axis=1), TypeError, "take: expected integer indices, got float64"),
        (lambda x: ops.take(x, np.array([True]), axis=1), TypeError, "take: expected integer indices, got bool"),
        (lambda x: ops.take(x, [0], axis=2), IndexError, "take: expected axes of an array of 2, got 2"),
        (lambda x: ops.take_along_axis(x, ops.ones((2, 1)), axis=1), TypeError, "take_along_axis: expected integer"),
        (lambda x: ops.unstack(x, axis=-3), IndexError, "unstack: expected axes of an array of 2, got -3"),
        (lambda x: ops.concat([x, x], axis=2), IndexError, "concat: expected axes of an array of 2, got 2"),
        (lambda x: ops.split(x, 1, axis=2), IndexError, "split: expected axes of an array of 2, got 2"),
        (lambda x: ops.sort(x, axis=2), IndexError, "sort: expected axes of an array of 2, got 2"),
        (lambda x: ops.moveaxis(x, (0, 1), 0), ValueError, r"moveaxis: expected as many destinations as sources"),
        (lambda x: ops.permute_dims(x, (0, 0)), ValueError, r"permute_dims: expected each axis once, got \(0, 0\)"),
        (lambda x: ops.roll(x, 1.5), TypeError, "roll: expected shift as an int or a tuple of them, got 1.5"),
        (lambda x: ops.reshape(x, (6,), True), TypeError, "reshape: expected at most 2 positional arguments, got 3"),
        (
            lambda x: ops.reshape(x.T, (6,), copy=False),
            ValueError,
            r"reshape: expected copy allowed .*\(3, 2\) to \(6,\)",
        ),
        (lambda x: ops.cumulative_sum(x), ValueError, r"cumulative_sum: expected axis= for an array of shape \(2, 3\)"),
        (lambda x: ops.diff(x > 0), TypeError, "diff: expected numbers, got bool"),
        (lambda x: ops.diff(x, n=-1), ValueError, "diff: expected n of 0 or more, got -1"),
        (lambda x: ops.nonzero(x[0, 0]), ValueError, "nonzero: expected at least one axis, got a 0-d array"),
        (lambda x: ops.searchsorted(x, x), ValueError, r"searchsorted: expected a sorted vector, got shape \(2, 3\)"),
        (lambda x: ops.searchsorted(x[0], x, side="up"), ValueError, "searchsorted: expected side 'left' or 'right'"),
        (lambda x: ops.repeat(x, -1), ValueError, "repeat: expected repeats of 0 or more, got -1"),
        (lambda x: ops.repeat(x, np.array([2**63, 0], "u8"), axis=0), ValueError, r"repeats of at most \d+"),
        (lambda x: ops.repeat(x, [1], axis=0), TypeError, "repeat: expected repeats as an int or an array"),
        (lambda x: ops.repeat(x, np.ones(2), axis=0), TypeError, "repeat: expected repeats as integers, got float64"),
        (lambda x: ops.arange(0, 3, 0), ValueError, "arange: expected a step other than 0, got 0"),
        (lambda x: ops.tril(x[0]), ValueError, r"tril: expected at least two axes, got shape \(3,\)"),
        (lambda x: ops.broadcast_arrays(x, ops.ones(2)), ValueError, r"broadcast_arrays: .* got \(2, 3\), \(2,\)"),
        (lambda x: ops.concat([x, ops.ones((3, 2))]), ValueError, r"concat: .*\(2, 3\) and \(3, 2\)"),
        (lambda x: ops.linear(x, ops.ones((4, 5))), ValueError, r"linear: expected x \(..., 5\).*got \(2, 3\)"),
        (lambda x: x[5], IndexError, r"getitem: expected parameters that fit \(2, 3\), but .* out of bounds"),
        (lambda x: x + ops.ones((4,)), ValueError, r"add: expected shapes that broadcast .* \(2, 3\) and \(4,\)"),
        (lambda x: ops.sum(x, axis=5), IndexError, r"sum: expected parameters that fit \(2, 3\), but axis 5"),
        (lambda x: ops.exp("a"), TypeError, "exp: expected arrays or numbers, got str"),
        (lambda x: weft.asarray([1, 2]).__setitem__(0, 1.5), TypeError, "setitem: expected values that int64 can hold"),
        (lambda x: x.item(), ValueError, r"item: expected a Tensor of one value, got shape \(2, 3\)"),
        (lambda x: list(weft.asarray(1.0)), TypeError, "unstack: expected at least one axis, got a 0-d Tensor"),
        (lambda x: bool(x), ValueError, r"bool: expected a Tensor of one value"),
        (lambda x: weft.asarray("a"), TypeError, "expected numbers"),
        (lambda x: weft.asarray([1], device="cuda:0"), ValueError, "expected one of cpu, emulated, got 'cuda:0'"),
    ],
)
def test_errors_name_op_and_shapes(call, error, words):
    with pytest.raises(error, match=words):
        call(ops.ones((2, 3)))


def test_no_indices_take_nothing():
    assert ops.ones((2, 3))[[]].shape == (0, 3)
    assert ops.take(ops.ones((2, 3)), [], axis=1).shape == (2, 0)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "uint32", "uint64"])
def test_indices_of_every_integer_type(dtype):
    """Also where the axis is longer than the type counts."""
    x = weft.Tensor(np.arange(600.0).reshape(2, 300), requires_grad=True)
    at = np.array([100, 3, 100], dtype)
    taken = ops.take(x, at, axis=1) * 2 + ops.take_along_axis(x, at[None], axis=1)
    np.testing.assert_array_equal(taken.numpy(), 3 * x.numpy()[:, at])
    taken.sum().backward()
    want = np.zeros((2, 300))
    want[:, 3], want[:, 100] = 3, 6
    np.testing.assert_array_equal(x.grad.numpy(), want)


def test_huge_unsigned_indices_are_out_of_range():
    for at in (2**64 - 1, 2**63):
        with pytest.raises(IndexError, match="take: expected indices below 3 along axis 0"):
            ops.take(ops.ones(3), np.array([at], np.uint64), axis=0)


@pytest.mark.parametrize("values", [np.array([0, 1, 2], "u1"), np.array([-128, 1, 2], "i1"), np.array([True, False])])
def test_integers_sort_downwards(values):
    x = weft.asarray(values)
    np.testing.assert_array_equal(ops.sort(x, descending=True).numpy(), np.sort(values)[::-1])
    np.testing.assert_array_equal(values[ops.argsort(x, descending=True).numpy()], np.sort(values)[::-1])


def test_spread_of_sixteen_bits():
    """200^2 times a few values is past float16; the deviation is not."""
    x = np.linspace(0, 200, 500).astype(np.float16)
    np.testing.assert_allclose(ops.std(weft.asarray(x)).numpy(), np.std(x.astype(float)), 1e-3)
    x = np.linspace(0, 1000, 500).astype(np.float16)  # and here the variance itself is
    np.testing.assert_allclose(ops.std(weft.asarray(x)).numpy(), np.std(x.astype(float)), 1e-3)
    assert ops.var(weft.asarray(x / 100)).dtype == np.float16


def test_arrays_of_the_other_byte_order():
    x = weft.asarray(np.arange(6, dtype=">f4").reshape(2, 3))
    assert x.dtype.isnative
    np.testing.assert_array_equal(ops.softmax(x).numpy(), ops.softmax(weft.asarray(x.numpy())).numpy())


def test_setitem_outside_and_inside_the_tape():
    x = ops.zeros((2, 3))
    x[0, 1] = 5.0
    assert x.numpy()[0, 1] == 5
    leaf = weft.Tensor(np.ones((2, 3)), requires_grad=True)
    with pytest.raises(RuntimeError, match="leaf"):
        leaf[0] = 1.0
    value = weft.Tensor(np.full(3, 2.0), requires_grad=True)
    y = leaf * 3
    y[0] = value
    (y * y).sum().backward()
    np.testing.assert_array_equal(leaf.grad.numpy(), [[0, 0, 0], [18, 18, 18]])
    np.testing.assert_array_equal(value.grad.numpy(), [4, 4, 4])
    assert positive(2)(np.random.default_rng(0)).min() > 0


FROM_NOTHING = {
    "zeros": lambda d: weft.zeros(2, dtype=d),
    "ones": lambda d: weft.ones(2, dtype=d),
    "empty": lambda d: weft.empty(2, dtype=d),
    "full": lambda d: weft.full(2, 1, dtype=d),
    "zeros_like": lambda d: weft.zeros_like(weft.ones(2), dtype=d),
    "ones_like": lambda d: weft.ones_like(weft.ones(2), dtype=d),
    "empty_like": lambda d: weft.empty_like(weft.ones(2), dtype=d),
    "full_like": lambda d: weft.full_like(weft.ones(2), 1, dtype=d),
    "arange": lambda d: weft.arange(3, dtype=d),
    "linspace": lambda d: weft.linspace(0, 1, 3, dtype=d),
    "eye": lambda d: weft.eye(2, dtype=d),
    "asarray": lambda d: weft.asarray([1], dtype=d),
    "astype": lambda d: weft.astype(weft.ones(2), d),
}


@pytest.mark.parametrize("name", FROM_NOTHING)
def test_a_dtype_that_is_none_is_named(name):
    for wrong in ("float8", "str", object, 3):
        with pytest.raises(TypeError, match=f"^{name}: expected a dtype.*, got {wrong!r}"):
            FROM_NOTHING[name](wrong)


def test_text_is_no_array():
    for make, name in ((weft.asarray, "asarray"), (weft.Tensor, "Tensor")):
        for wrong in (np.array(["a"]), np.array([None]), np.array(["2026-01-01"], "M8[D]")):
            with pytest.raises(TypeError, match=re.escape(f"{name}: expected numbers, got an array of {wrong.dtype}")):
                make(wrong)
