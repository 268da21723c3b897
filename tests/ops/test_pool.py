"""Pooling against its definition, window by window."""

import itertools

import numpy as np
import pytest

import weft
from opcheck import Case, apart, checks
from weft import ops


def pair(n):
    return (n, n) if isinstance(n, int) else tuple(n)


def windows(x, size, kernel, stride, padding, dilation, function):
    """function(values of a window that lie in the image, (N, C, n)) for every window."""
    (H, W), out = x.shape[2:], np.zeros((*x.shape[:2], *size))
    for i, j in itertools.product(*map(range, size)):
        rows = [y for a in range(kernel[0]) if 0 <= (y := i * stride[0] - padding[0] + a * dilation[0]) < H]
        columns = [c for b in range(kernel[1]) if 0 <= (c := j * stride[1] - padding[1] + b * dilation[1]) < W]
        out[:, :, i, j] = function(x[:, :, rows][:, :, :, columns].reshape(*x.shape[:2], -1))
    return out


def sizes(x, kernel, stride, padding, dilation, ceil_mode=False):
    spans = [n + 2 * p - d * (k - 1) - 1 for n, k, p, d in zip(x.shape[2:], kernel, padding, dilation)]
    return [(-(-span // s) if ceil_mode else span // s) + 1 for span, s in zip(spans, stride)]


def max_pool2d(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    stride, padding, dilation = pair(stride or kernel_size), pair(padding), pair(dilation)
    size = sizes(x, kernel_size, stride, padding, dilation, ceil_mode)
    return windows(x, size, kernel_size, stride, padding, dilation, lambda v: v.max(-1))


def avg_pool2d(x, kernel_size, stride=None, padding=0, count_include_pad=True):
    stride, padding = pair(stride or kernel_size), pair(padding)
    mean = (lambda v: v.sum(-1) / np.prod(kernel_size)) if count_include_pad else (lambda v: v.mean(-1))
    size = sizes(x, kernel_size, stride, padding, (1, 1))
    return windows(x, size, kernel_size, stride, padding, (1, 1), mean)


def adaptive(x, output_size):
    out = np.zeros((*x.shape[:2], *(n if k is None else k for n, k in zip(x.shape[2:], pair(output_size)))))
    edges = [[(i * n // k, -(-(i + 1) * n // k)) for i in range(k)] for n, k in zip(x.shape[2:], out.shape[2:])]
    for (i, (a, b)), (j, (c, d)) in itertools.product(*map(enumerate, edges)):
        out[:, :, i, j] = x[:, :, a:b, c:d].mean((2, 3))
    return out


X = (2, 3, 6, 7)
CASES = [
    Case(ops.max_pool2d, apart(*X), oracle=max_pool2d, params={"kernel_size": (2, 3)}),
    Case(ops.max_pool2d, apart(*X), oracle=max_pool2d, params={"kernel_size": (2, 3), "stride": 1, "dilation": 2}),
    Case(ops.max_pool2d, apart(*X), oracle=max_pool2d, params={"kernel_size": (2, 3), "stride": 2, "padding": 1}),
    Case(ops.max_pool2d, apart(*X), oracle=max_pool2d, params={"kernel_size": (2, 3), "stride": 2, "ceil_mode": True}),
    Case(ops.max_pool2d, apart(*X), params={"kernel_size": (2, 3), "stride": 1, "padding": 1, "return_indices": True}),
    Case(ops.avg_pool2d, X, oracle=avg_pool2d, params={"kernel_size": (2, 3)}, order=3),
    Case(ops.avg_pool2d, X, oracle=avg_pool2d, params={"kernel_size": (2, 3), "stride": 1, "padding": (0, 1)}),
    Case(
        ops.avg_pool2d,
        X,
        oracle=avg_pool2d,
        params={"kernel_size": (2, 3), "stride": 2, "padding": 1, "count_include_pad": False},
    ),
    Case(ops.adaptive_avg_pool2d, X, oracle=adaptive, params={"output_size": (1, 1)}),
    Case(ops.adaptive_avg_pool2d, X, oracle=adaptive, params={"output_size": (3, None)}),
    Case(ops.adaptive_avg_pool2d, X, oracle=adaptive, params={"output_size": (4, 3)}),
    Case(ops.adaptive_avg_pool2d, X, oracle=adaptive, params={"output_size": (8, 10)}),
]
globals().update(checks(CASES))


def test_nan_and_padding():
    x = np.zeros((1, 1, 4, 4), np.float32) - 5
    x[0, 0, 1, 1] = np.nan
    out = ops.max_pool2d(weft.Tensor(x), 3, stride=2, padding=1).numpy()
    np.testing.assert_array_equal(out, [[[[np.nan, np.nan], [np.nan, np.nan]]]])
    assert (ops.max_pool2d(weft.Tensor(x[:, :, 2:]), 2, stride=1, padding=1).numpy() == -5).all()
    for kind in (np.int64, np.int8, np.uint8, np.bool):  # which have no infinity
        whole = np.arange(-30, 19).reshape(1, 1, 7, 7).astype(kind)
        out = ops.max_pool2d(weft.Tensor(whole), 3, stride=2, padding=1).numpy()
        assert out.dtype == kind
        np.testing.assert_array_equal(out, max_pool2d(whole.astype("d"), (3, 3), 2, 1).astype(kind))


def test_the_first_of_equal_values_gets_the_gradient():
    for kind in (np.float32, np.float64):
        x = weft.Tensor(np.ones((1, 1, 4, 4), kind), requires_grad=True)
        ops.max_pool2d(x, 2).sum().backward()
        np.testing.assert_array_equal(x.grad.numpy()[0, 0], [[1, 0, 1, 0], [0, 0, 0, 0]] * 2)


@pytest.mark.needs("torch")
def test_against_torch_with_ceil_mode():
    import torch

    rng = np.random.default_rng(0)
    for _ in range(60):
        image, kernel, stride = ([int(n) for n in rng.integers(low, 9, 2)] for low in (4, 1, 1))
        kernel = [min(k, 4) for k in kernel]
        padding = [int(rng.integers(0, k // 2 + 1)) for k in kernel]
        x = rng.standard_normal((2, 3, *image))
        options = {"stride": stride, "padding": padding, "ceil_mode": True}
        want = torch.nn.functional.max_pool2d(torch.tensor(x), kernel, **options)
        np.testing.assert_array_equal(ops.max_pool2d(weft.Tensor(x), kernel, **options).numpy(), want)
        for count in (True, False):
            want = torch.nn.functional.avg_pool2d(torch.tensor(x), kernel, **options, count_include_pad=count)
            got = ops.avg_pool2d(weft.Tensor(x), kernel, **options, count_include_pad=count)
            np.testing.assert_allclose(got.numpy(), want, atol=1e-12)


@pytest.mark.parametrize("dtype", ["uint8", "int64", "bool"])
def test_means_of_integers_are_refused(dtype):
    x = weft.Tensor(np.ones((1, 3, 8, 8), dtype))
    with pytest.raises(TypeError, match=f"avg_pool2d: expected a floating Tensor, got {dtype}"):
        ops.avg_pool2d(x, 2)
    with pytest.raises(TypeError, match=f"adaptive_avg_pool2d: expected a floating Tensor, got {dtype}"):
        ops.adaptive_avg_pool2d(x, 3)
    assert ops.max_pool2d(x, 2).dtype == dtype


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda x: ops.max_pool2d(x[0], 2), r"max_pool2d: expected x \(N, C, H, W\), got \(3, 6, 7\); add the batch"),
        (lambda x: ops.max_pool2d(x, 2, padding=2), r"max_pool2d: expected padding smaller than the window \(2, 2\)"),
        (lambda x: ops.avg_pool2d(x, 8), r"avg_pool2d: expected an image of at least \(8, 8\) pixels .* got \(6, 7\)"),
        (lambda x: ops.avg_pool2d(x, 0), r"avg_pool2d: expected kernel_size of at least 1, got 0"),
        (lambda x: ops.adaptive_avg_pool2d(x, (2, 0)), r"adaptive_avg_pool2d: expected output_size of at least 1"),
    ],
)
def test_errors_name_the_cause(call, message):
    with pytest.raises(ValueError, match=message):
        call(weft.Tensor(np.ones((2, 3, 6, 7), np.float32)))
