"""Convolution against its definition, loop by loop."""

import itertools

import numpy as np
import pytest

import weft
from opcheck import Case, checks
from weft import ops
from weft.ops.conv import correlate_input_grad, correlate_weight_grad


def conv2d(x, weight, bias=None, stride=(1, 1), padding=((0, 0), (0, 0)), dilation=(1, 1), groups=1):
    x = np.pad(x, ((0, 0), (0, 0), *padding))
    (N, C, *image), (O, _, *kernel) = x.shape, weight.shape
    size = [(n - d * (k - 1) - 1) // s + 1 for n, k, s, d in zip(image, kernel, stride, dilation)]
    out = np.zeros((N, O, *size))
    for o, i, j in itertools.product(range(O), *map(range, size)):
        first = o // (O // groups) * (C // groups)
        rows = slice(i * stride[0], i * stride[0] + dilation[0] * kernel[0], dilation[0])
        columns = slice(j * stride[1], j * stride[1] + dilation[1] * kernel[1], dilation[1])
        window = x[:, first : first + C // groups, rows, columns][:, :, : kernel[0], : kernel[1]]
        out[:, o, i, j] = (window * weight[o]).sum((1, 2, 3)) + (0 if bias is None else bias[o])
    return out


def conv2d_same(x, weight, bias=None, padding="same"):
    return conv2d(x, weight, bias, padding=((1, 1), (0, 1)))


def inner_product(linear, *shape):
    """The gradient of `linear`, a linear function of an array of this shape, by the image of every unit array."""
    return lambda g: np.array([(linear(e.reshape(shape)) * g).sum() for e in np.eye(int(np.prod(shape)))]).reshape(
        shape
    )


def input_grad(g, weight, shape, **geometry):
    return inner_product(lambda x: conv2d(x, weight, **geometry), *shape)(g)


def weight_grad(g, x, shape, **geometry):
    return inner_product(lambda weight: conv2d(x, weight, **geometry), *shape)(g)


def conv_transpose2d(x, weight, bias=None, stride=1, padding=0, output_padding=0, dilation=1, groups=1):
    """Every pixel spread over its window, and the edges cut off."""
    (N, C, H, W), (_, o, *kernel) = x.shape, weight.shape
    full = [(n - 1) * stride + dilation * (k - 1) + output_padding + 1 for n, k in zip((H, W), kernel)]
    out = np.zeros((N, o * groups, *full))
    for c, i, j, a, b in itertools.product(range(C), range(H), range(W), *map(range, kernel)):
        first = c // (C // groups) * o
        at = i * stride + a * dilation, j * stride + b * dilation
        out[:, first : first + o, at[0], at[1]] += x[:, c, i, j, None] * weight[c, :, a, b]
    out = out[:, :, padding : full[0] - padding, padding : full[1] - padding]
    return out if bias is None else out + bias[:, None, None]


def conv3d(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    x = np.pad(x, ((0, 0), (0, 0), *[(padding, padding)] * 3))
    planes = (x.shape[2] - dilation * (weight.shape[2] - 1) - 1) // stride + 1
    geometry = {"stride": (stride, stride), "dilation": (dilation, dilation), "groups": groups}
    out = [sum(conv2d(x[:, :, i * stride + t * dilation], weight[:, :, t], **geometry) for t in range(weight.shape[2]))
           for i in range(planes)]  # fmt: skip
    return np.stack(out, axis=2) + (0 if bias is None else bias[:, None, None, None])


ODD = {"stride": (2, 1), "padding": ((1, 0), (0, 2)), "dilation": (1, 2), "groups": 2}
CASES = [
    Case(ops.conv2d, (2, 3, 5, 4), (4, 3, 3, 2), (4,), oracle=conv2d, order=3),
    Case(ops.conv2d, (2, 3, 5, 4), (4, 3, 3, 2), oracle=conv2d),
    Case(ops.conv2d, (1, 4, 5, 4), (2, 2, 3, 2), (2,), oracle=conv2d, params=ODD),
    Case(ops.conv2d, (1, 3, 4, 5), (6, 1, 3, 3), (6,), oracle=conv2d, params={"groups": 3}),
    Case(ops.conv2d, (2, 3, 4, 4), (2, 3, 1, 1), (2,), oracle=conv2d, params={"stride": (2, 2)}),
    Case(ops.conv2d, (1, 2, 4, 3), (2, 2, 3, 2), (2,), oracle=conv2d_same, params={"padding": "same"}),
    Case(ops.conv_transpose2d, (2, 3, 3, 4), (3, 2, 3, 2), (2,), oracle=conv_transpose2d, params={"stride": 2}),
    Case(ops.conv_transpose2d, (1, 4, 3, 3), (4, 1, 2, 3), (2,), oracle=conv_transpose2d,
         params={"stride": 2, "dilation": 3, "padding": 1, "output_padding": 2, "groups": 2}),
    Case(ops.conv3d, (1, 2, 3, 4, 3), (2, 1, 2, 3, 2), (2,), oracle=conv3d,
         params={"stride": 2, "padding": 1, "groups": 2}),
    Case(correlate_input_grad, (1, 2, 3, 4), (2, 2, 3, 2), oracle=input_grad, params={**ODD, "shape": (1, 4, 6, 4)}),
    Case(correlate_weight_grad, (1, 2, 3, 4), (1, 4, 6, 4), oracle=weight_grad, params={**ODD, "shape": (2, 2, 3, 2)}),
]
globals().update(checks(CASES))


def test_spellings_of_a_geometry():
    rng = np.random.default_rng(0)
    x, w = weft.Tensor(rng.standard_normal((2, 3, 9, 8))), weft.Tensor(rng.standard_normal((4, 3, 4, 3)))
    same = ops.conv2d(x, w, padding="same")
    assert same.shape == (2, 4, 9, 8)
    for padding in (((1, 2), (1, 1)), [[1, 2], 1], ((1, 2), np.int64(1))):
        np.testing.assert_array_equal(ops.conv2d(x, w, padding=padding).numpy(), same.numpy())
    valid = ops.conv2d(x, w, padding="valid").numpy()
    for padding in (0, (0, 0), np.int64(0)):
        np.testing.assert_array_equal(ops.conv2d(x, w, padding=padding, stride=(1, 1)).numpy(), valid)


def test_empty_batches_and_channels():
    x = weft.Tensor(np.zeros((0, 3, 5, 5), np.float32), requires_grad=True)
    w = weft.Tensor(np.ones((4, 3, 3, 3), np.float32), requires_grad=True)
    out = ops.conv2d(x, w, weft.Tensor(np.ones(4, np.float32)))
    out.backward(np.zeros((0, 4, 3, 3), np.float32))
    assert out.shape == (0, 4, 3, 3) and x.grad.shape == (0, 3, 5, 5)
    np.testing.assert_array_equal(w.grad.numpy(), np.zeros((4, 3, 3, 3)))
    nothing = ops.conv2d(np.zeros((2, 0, 3, 3), np.float32), np.zeros((2, 0, 2, 2), np.float32), np.float32([1, 2]))
    np.testing.assert_array_equal(nothing.numpy(), np.broadcast_to(np.float32([1, 2])[:, None, None], (2, 2, 2, 2)))


@pytest.mark.parametrize(
    "shapes, params, message",
    [
        (((2, 8, 8, 3), (4, 3, 3, 3)), {}, r"expected x with 3 channels .* got x \(2, 8, 8, 3\); is the batch NHWC"),
        (((2, 5, 8, 8), (4, 3, 3, 3)), {}, r"expected x with 3 channels .* got x \(2, 5, 8, 8\)$"),
        (((3, 8, 8), (4, 3, 3, 3)), {}, r"expected x \(N, C, H, W\), got \(3, 8, 8\); add the batch axis"),
        (((2, 3, 8, 8), (4, 3, 3)), {}, r"expected weight \(O, C/groups, KH, KW\), got \(4, 3, 3\)"),
        (((2, 3, 8, 8), (4, 3, 3, 3), (3,)), {}, r"expected bias \(4,\), got \(3,\)"),
        (((2, 6, 8, 8), (4, 2, 3, 3)), {"groups": 3}, r"expected groups to divide 4 output channels, got groups 3"),
        (((2, 3, 2, 8), (4, 3, 3, 3)), {}, r"expected an image of at least \(3, 3\) pixels .* got \(2, 8\)"),
        (((2, 3, 8, 8), (4, 3, 3, 3)), {"stride": 0}, r"expected stride of at least 1, got 0"),
        (((2, 3, 8, 8), (4, 3, 3, 3)), {"stride": 1.5}, r"expected stride to be an int or a pair of ints, got 1.5"),
        (((2, 3, 8, 8), (4, 3, 3, 3)), {"padding": "full"}, r"expected padding .* got 'full'"),
        (((2, 3, 8, 8), (4, 3, 3, 3)), {"padding": -1}, r"expected padding of at least 0, got -1"),
        (((2, 3, 8, 8), (4, 3, 3, 3)), {"padding": "same", "stride": 2}, r"expected stride 1 with padding=\"same\""),
    ],
)
def test_errors_name_the_cause(shapes, params, message):
    with pytest.raises(ValueError, match="conv2d: " + message):
        ops.conv2d(*(weft.Tensor(np.ones(s, np.float32)) for s in shapes), **params)


@pytest.mark.parametrize("dtype", ["uint8", "int64", "bool", "float64"])
def test_pixels_of_another_dtype_are_refused(dtype):
    """The weights would be cut to integers, or the whole network would turn to float64."""
    x, w = weft.Tensor(np.ones((1, 3, 8, 8), dtype)), weft.Tensor(np.ones((4, 3, 3, 3), np.float32))
    with pytest.raises(TypeError, match=f"conv2d: expected .* got {dtype}"):
        ops.conv2d(x, w)


def test_higher_orders_record_convolutions():
    """The second derivative is made of the three fast maps, not of the reference's many small ops."""
    x = weft.Tensor(np.ones((1, 2, 5, 5)), requires_grad=True)
    w = weft.Tensor(np.ones((3, 2, 3, 3)), requires_grad=True)
    (gx,) = weft.autograd.grad((ops.conv2d(x, w) ** 2).sum(), [x], create_graph=True)
    ran = {node.name for node in weft.autograd.forward_order([gx.node])}
    assert "conv_transpose2d" in ran and not ran & {"stack", "pad", "matmul"}
