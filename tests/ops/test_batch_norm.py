"""Batch norm against its definition, and its running statistics."""

import numpy as np
import pytest

import weft
from opcheck import Case, checks, positive
from weft import ops
from weft.ops.batch_norm import normalise_batch


def column(values, x):
    return values.reshape(-1, *(1,) * (x.ndim - 2))


def training_norm(x, weight=None, bias=None):
    """The output alone: the running statistics are no function of the inputs that is differentiated."""
    return ops.batch_norm(x, weight, bias, None, None, training=True)[0]


def running_norm(x, weight, bias, mean, var):
    return ops.batch_norm(x, weight, bias, mean, var, training=False, eps=1e-2)[0]


def oracle(x, weight=None, bias=None):
    axes = (0, *range(2, x.ndim))
    return scaled(x, weight, bias, x.mean(axes), x.var(axes), 1e-5)


def scaled(x, weight, bias, mean, var, eps=1e-2):
    y = (x - column(mean, x)) / np.sqrt(column(var, x) + eps)
    y = y if weight is None else y * column(weight, x)
    return y if bias is None else y + column(bias, x)


def fused_norm(x, weight, bias, residual, relu=True):
    return ops.batch_norm(x, weight, bias, None, None, residual, training=True, relu=relu)[0]


def fused_oracle(x, weight, bias, residual, relu=True):
    y = oracle(x, weight, bias) + (0 if residual is None else residual)
    return np.maximum(y, 0) if relu else y


def fused_running_norm(x, weight, bias, mean, var, residual):
    return ops.batch_norm(x, weight, bias, mean, var, residual, training=False, eps=1e-2, relu=True)[0]


def fused_scaled(x, weight, bias, mean, var, residual):
    return np.maximum(scaled(x, weight, bias, mean, var) + (0 if residual is None else residual), 0)


def with_statistics(x, weight, bias, eps):
    axes = (0, *range(2, x.ndim))
    return scaled(x, weight, bias, x.mean(axes), x.var(axes), eps), x.mean(axes), x.var(axes)


CASES = [
    Case(training_norm, (4, 3, 2, 3), (3,), (3,), oracle=oracle, order=3),
    Case(training_norm, (5, 3), (3,), (3,), oracle=oracle),
    Case(training_norm, (3, 2, 4), oracle=oracle),
    Case(training_norm, (3, 2, 4), (2,), None, oracle=oracle),
    Case(normalise_batch, (3, 2, 4), (2,), (2,), oracle=with_statistics, params={"eps": 1e-3}),
    Case(running_norm, (3, 2, 4), (2,), (2,), (2,), positive(2), oracle=scaled),
    Case(running_norm, (3, 2), None, None, (2,), positive(2), oracle=scaled),
    Case(fused_norm, (4, 3, 2, 3), (3,), (3,), (4, 3, 2, 3), oracle=fused_oracle),
    Case(fused_norm, (5, 3), (3,), (3,), None, oracle=fused_oracle),
    Case(fused_norm, (3, 2, 4), None, None, (3, 2, 4), params={"relu": False}, oracle=fused_oracle),
    Case(fused_running_norm, (3, 2, 4), (2,), (2,), (2,), positive(2), (3, 2, 4), oracle=fused_scaled),
    Case(fused_running_norm, (3, 2), None, (2,), (2,), positive(2), None, oracle=fused_scaled),
]
globals().update(checks(CASES))


def test_running_statistics():
    rng = np.random.default_rng(0)
    x, mean, var = rng.standard_normal((4, 3, 5)) + 2, np.ones(3), np.full(3, 2.0)
    _, new_mean, new_var = ops.batch_norm(weft.Tensor(x), None, None, mean, var, training=True, momentum=0.25)
    np.testing.assert_allclose(new_mean.numpy(), 0.75 * mean + 0.25 * x.mean((0, 2)))
    np.testing.assert_allclose(new_var.numpy(), 0.75 * var + 0.25 * x.var((0, 2), ddof=1))
    np.testing.assert_array_equal(mean, np.ones(3))  # the old ones are not written to
    assert not new_mean.requires_grad
    _, same_mean, same_var = ops.batch_norm(weft.Tensor(x), None, None, mean, var, training=False)
    assert same_mean is mean and same_var is var
    assert ops.batch_norm(weft.Tensor(x), None, None, None, None, training=True)[1:] == (None, None)


def test_statistics_in_use_without_training():
    x = weft.Tensor(np.random.default_rng(0).standard_normal((4, 3, 5)))
    batch = ops.batch_norm(x, None, None, None, None, training=True)[0]
    np.testing.assert_array_equal(ops.batch_norm(x, None, None, None, None, training=False)[0].numpy(), batch.numpy())


def test_bfloat16_keeps_float32_statistics():
    x = np.random.default_rng(0).standard_normal((8, 3, 5)).astype(weft.bfloat16)
    mean, var = np.zeros(3, np.float32), np.ones(3, np.float32)
    for training in (True, False):
        out, new_mean, new_var = ops.batch_norm(weft.Tensor(x), None, None, mean, var, training=training)
        assert (out.dtype, new_mean.dtype, new_var.dtype) == (weft.bfloat16, np.float32, np.float32)


@pytest.mark.parametrize("training", [True, False])
def test_integers_are_refused(training):
    mean, var = np.zeros(3, np.float32), np.ones(3, np.float32)
    with pytest.raises(TypeError, match="batch_norm: expected a floating Tensor, got uint8"):
        ops.batch_norm(weft.Tensor(np.ones((4, 3), np.uint8)), None, None, mean, var, training=training)


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda x, v: ops.batch_norm(x[0], None, None, None, None, training=True),
            r"expected x \(N, C, ...\), got \(3,\)",
        ),
        (
            lambda x, v: ops.batch_norm(x, v, None, None, None, training=True),
            r"expected weight \(3,\) for x \(4, 3\), got",
        ),
        (
            lambda x, v: ops.batch_norm(x, None, None, v, v, training=False),
            r"expected running_mean \(3,\) for x \(4, 3\)",
        ),
        (
            lambda x, v: ops.batch_norm(x[:1], None, None, None, None, training=True),
            r"expected more than one value per",
        ),
        (
            lambda x, v: ops.batch_norm(x, None, None, None, None, v, training=True),
            r"expected residual float32 \(4, 3\), got float32 \(2,\)",
        ),
        (
            lambda x, v: ops.batch_norm(x, None, None, x[0], None, training=True),
            r"expected running_mean and running_var",
        ),
    ],
)
def test_errors_name_the_cause(call, message):
    with pytest.raises(ValueError, match="batch_norm: " + message):
        call(weft.Tensor(np.ones((4, 3), np.float32)), weft.Tensor(np.ones(2, np.float32)))
