"""Layer, RMS and group norm against their definitions."""

import numpy as np
import pytest

import weft
from opcheck import Case, checks
from weft import ops


def layer_norm(x, weight=None, bias=None, normalized_shape=None, eps=1e-5):
    n = len(normalized_shape) if normalized_shape else 1 if weight is None else weight.ndim
    axes = tuple(range(x.ndim - n, x.ndim))
    y = (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def rms_norm(x, weight=None, normalized_shape=None, eps=None):
    n = len(normalized_shape) if normalized_shape else 1 if weight is None else weight.ndim
    axes = tuple(range(x.ndim - n, x.ndim))
    y = x / np.sqrt((x**2).mean(axes, keepdims=True) + (np.finfo(x.dtype).eps if eps is None else eps))
    return y if weight is None else y * weight


def group_norm(x, weight=None, bias=None, num_groups=1, eps=1e-5):
    y = layer_norm(x.reshape(x.shape[0], num_groups, -1), eps=eps).reshape(x.shape)
    column = (-1,) + (1,) * (x.ndim - 2)
    y = y if weight is None else y * weight.reshape(column)
    return y if bias is None else y + bias.reshape(column)


CASES = [
    Case(ops.layer_norm, (4, 7), (7,), (7,), oracle=layer_norm, order=3),
    Case(ops.layer_norm, (2, 3, 5), (5,), (5,), oracle=layer_norm, params={"eps": 1e-2}),
    Case(ops.layer_norm, (4, 7), (7,), oracle=layer_norm),
    Case(ops.layer_norm, (4, 7), None, (7,), oracle=layer_norm),
    Case(ops.layer_norm, (4, 7), oracle=layer_norm),
    Case(ops.layer_norm, (7,), (7,), (7,), oracle=layer_norm),
    Case(ops.layer_norm, (3, 2, 3), (2, 3), (2, 3), oracle=layer_norm),
    Case(ops.layer_norm, (3, 2, 3), oracle=layer_norm, params={"normalized_shape": (2, 3)}),
    Case(ops.rms_norm, (4, 7), (7,), oracle=rms_norm, order=3, half=False, why="eps follows the dtype"),
    Case(ops.rms_norm, (2, 3, 5), (5,), oracle=rms_norm, params={"eps": 1e-2}),
    Case(ops.rms_norm, (4, 7), oracle=rms_norm, params={"eps": 1e-3}),
    Case(ops.rms_norm, (3, 2, 3), (2, 3), oracle=rms_norm, params={"eps": 1e-3}),
    Case(ops.group_norm, (2, 6, 3), (6,), (6,), oracle=group_norm, params={"num_groups": 2}, half=False),
    Case(ops.group_norm, (2, 4, 2, 3), (4,), (4,), oracle=group_norm, params={"num_groups": 4}, half=False),
    Case(ops.group_norm, (3, 8), oracle=group_norm, params={"num_groups": 2}),
]
globals().update(checks(CASES))


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_a_mean_far_from_zero_loses_no_variance(kind):
    x = np.random.default_rng(0).standard_normal((5, 300)) + 1000
    x = x.astype(np.float32).astype(kind)
    got = ops.layer_norm(weft.Tensor(x), eps=0.0).numpy()
    np.testing.assert_allclose(got, layer_norm(x.astype(np.float64), eps=0.0), atol=3e-4)


def test_no_rows():
    for op in (ops.layer_norm, ops.rms_norm):
        x = weft.Tensor(np.zeros((0, 4), np.float32), requires_grad=True)
        w = weft.Tensor(np.ones(4, np.float32), requires_grad=True)
        y = op(x, w)
        y.backward(np.zeros((0, 4), np.float32))
        assert y.shape == x.grad.shape == (0, 4)
        np.testing.assert_array_equal(w.grad.numpy(), np.zeros(4))


def test_shapes_are_checked():
    x, w = weft.Tensor(np.zeros((2, 3), np.float32)), weft.Tensor(np.ones(4, np.float32))
    with pytest.raises(ValueError, match=r"layer_norm: expected x \(..., 4\), got \(2, 3\)"):
        ops.layer_norm(x, w)
    with pytest.raises(ValueError, match=r"layer_norm: expected bias \(3,\) to match x \(2, 3\), got \(4,\)"):
        ops.layer_norm(x, None, w)
    with pytest.raises(ValueError, match=r"rms_norm: expected x \(..., 4\), got \(2, 3\)"):
        ops.rms_norm(x, w)
    with pytest.raises(ValueError, match=r"group_norm: expected \(N, C, ...\) with C a multiple of 2, got \(2, 3\)"):
        ops.group_norm(x, num_groups=2)


def test_float64_beside_float32_is_refused():
    """It would make the result float64, or cut it, unasked; 16 bits beside float32 are mixed precision."""
    wide, narrow = weft.Tensor(np.ones((4, 3))), weft.Tensor(np.ones((4, 3), "f"))
    calls = {
        "layer_norm": lambda x, p: ops.layer_norm(x, p, p),
        "rms_norm": ops.rms_norm,
        "group_norm": lambda x, p: ops.group_norm(x, p, p, num_groups=1),
        "batch_norm": lambda x, p: ops.batch_norm(x, p, p, None, None, training=True)[0],
    }
    for name, call in calls.items():
        for x, p in ((wide, narrow[0]), (narrow, wide[0])):
            with pytest.raises(TypeError, match=f"{name}: expected x and weight of one dtype, got {x.dtype}"):
                call(x, p)
        assert call(weft.astype(narrow, weft.bfloat16), narrow[0]).dtype in (weft.bfloat16, np.float32)
    with pytest.raises(TypeError, match="batch_norm: expected x and running_mean of one dtype"):
        ops.batch_norm(wide, wide[0], wide[0], narrow[0], narrow[0], training=True)
