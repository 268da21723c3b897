"""Losses against their definitions, and the mistakes that must not pass silently."""

import numpy as np
import pytest

import weft
from opcheck import Case, apart, checks, integers, positive, within
from weft import ops


def reduce(losses, reduction, count=None):
    if reduction == "none":
        return losses
    return losses.sum() if reduction == "sum" else losses.sum() / (losses.size if count is None else count)


def log_softmax(x):
    x = x - x.max(1, keepdims=True)
    return x - np.log(np.exp(x).sum(1, keepdims=True))


def nll(logp, labels, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0):
    C = logp.shape[1]
    w = np.ones(C) if weight is None else weight
    losses, each = np.zeros(labels.shape), np.zeros(labels.shape)
    for at in np.ndindex(labels.shape):
        y = labels[at]
        if y != ignore_index:
            row = logp[at[0], :, *at[1:]]
            losses[at] = -(1 - label_smoothing) * w[y] * row[y] - label_smoothing / C * (w * row).sum()
            each[at] = w[y]
    return reduce(losses, reduction, each.sum())


def cross_entropy(x, target, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0):
    if target.dtype.kind == "i":
        return nll(log_softmax(x), target, weight, ignore_index, reduction, label_smoothing)
    t = target * (1 - label_smoothing) + label_smoothing / x.shape[1]
    w = np.ones(x.shape[1]) if weight is None else weight
    return reduce(-(t * log_softmax(x) * w.reshape((-1,) + (1,) * (x.ndim - 2))).sum(1), reduction)


def smooth_l1(x, t, reduction="mean", beta=1.0):
    d = abs(x - t)
    return reduce(np.where(d < beta, d * d / 2 / beta, d - beta / 2) if beta else d, reduction)


def huber(x, t, reduction="mean", delta=1.0):
    d = abs(x - t)
    return reduce(np.where(d <= delta, d * d / 2, delta * (d - delta / 2)), reduction)


def bce(x, t, weight=None, reduction="mean"):
    losses = -(t * np.log(x) + (1 - t) * np.log(1 - x))
    return reduce(losses if weight is None else losses * weight, reduction)


def bce_with_logits(x, t, weight=None, pos_weight=None, reduction="mean"):
    p = 1 if pos_weight is None else pos_weight
    losses = p * t * np.log1p(np.exp(-x)) + (1 - t) * np.log1p(np.exp(x))
    return reduce(losses if weight is None else losses * weight, reduction)


def kl_div(x, t, reduction="mean", log_target=False):
    losses = np.exp(t) * (t - x) if log_target else t * (np.log(t) - x)
    return losses.sum() / x.shape[0] if reduction == "batchmean" else reduce(losses, reduction)


def with_ignored(*shape, classes):
    def make(rng):
        labels = rng.integers(0, classes, shape)
        labels[tuple(0 for _ in shape)] = -100
        return labels

    return make


def distribution(*shape):
    def make(rng):
        p = rng.uniform(0.1, 1, shape)
        return p / p.sum(1, keepdims=True)

    return make


def three(fn, *inputs, **options):
    params = options.pop("params", {})
    return [Case(fn, *inputs, params={**params, "reduction": r}, **options) for r in ("mean", "sum", "none")]


def with_pos_weight(x, t, w, reduction="mean"):
    return ops.binary_cross_entropy_with_logits(x, t, pos_weight=w, reduction=reduction)


def far(*shape):
    """A target that stays away from the input's kinks: d is never near 0, 1/2 or 1."""
    return lambda rng: np.full(shape, 20.0) + rng.integers(0, 2, shape) * 0.03


def near(*shape):
    return lambda rng: rng.choice([-3.0, -0.3, 0.25, 0.4, 2.5], shape) + rng.uniform(-0.03, 0.03, shape)


def zero(*shape):
    return lambda rng: rng.uniform(-0.01, 0.01, shape)


CASES = [
    *three(ops.cross_entropy, (5, 4), integers(4, 5), oracle=cross_entropy, order=3, half=False),
    *three(ops.cross_entropy, (5, 4), with_ignored(5, classes=4), positive(4), oracle=cross_entropy, half=False),
    Case(
        ops.cross_entropy,
        (5, 4),
        with_ignored(5, classes=4),
        positive(4),
        params={"label_smoothing": 0.3},
        oracle=cross_entropy,
    ),
    Case(ops.cross_entropy, (5, 4), integers(4, 5), params={"label_smoothing": 0.1}, oracle=cross_entropy),
    Case(ops.cross_entropy, (3, 4), integers(4, 3), params={"ignore_index": 2}, oracle=cross_entropy),
    *three(ops.cross_entropy, (2, 3, 2, 2), integers(3, 2, 2, 2), oracle=cross_entropy),
    *three(ops.cross_entropy, (4, 3), distribution(4, 3), oracle=cross_entropy),
    Case(
        ops.cross_entropy,
        (2, 3, 4),
        distribution(2, 3, 4),
        positive(3),
        params={"label_smoothing": 0.2},
        oracle=lambda x, t, w, label_smoothing: cross_entropy(x, t, w, label_smoothing=label_smoothing),
    ),
    *three(ops.nll_loss, (5, 4), with_ignored(5, classes=4), positive(4), oracle=nll),
    Case(ops.nll_loss, (2, 3, 2), integers(3, 2, 2), oracle=nll),
    *three(ops.mse_loss, (3, 4), (3, 4), oracle=lambda x, t, reduction: reduce((x - t) ** 2, reduction), order=3),
    *three(ops.l1_loss, (3, 4), far(3, 4), oracle=lambda x, t, reduction: reduce(abs(x - t), reduction)),
    *three(ops.smooth_l1_loss, near(3, 4), zero(3, 4), oracle=smooth_l1),
    Case(ops.smooth_l1_loss, near(3, 4), zero(3, 4), params={"beta": 0.5}, oracle=smooth_l1),
    Case(ops.smooth_l1_loss, near(3, 4), zero(3, 4), params={"beta": 0.0}, oracle=smooth_l1),
    *three(ops.huber_loss, near(3, 4), zero(3, 4), oracle=huber),
    Case(ops.huber_loss, near(3, 4), zero(3, 4), params={"delta": 0.7}, oracle=huber),
    *three(ops.binary_cross_entropy, within(0.1, 0.9, 3, 4), within(0, 1, 3, 4), oracle=bce, half=False),
    Case(ops.binary_cross_entropy, within(0.1, 0.9, 3, 4), within(0, 1, 3, 4), positive(4), oracle=bce, half=False),
    *three(ops.binary_cross_entropy_with_logits, (3, 4), within(0, 1, 3, 4), oracle=bce_with_logits),
    Case(ops.binary_cross_entropy_with_logits, (3, 4), within(0, 1, 3, 4), positive(4), oracle=bce_with_logits),
    Case(
        with_pos_weight,
        (3, 4),
        within(0, 1, 3, 4),
        positive(4),
        oracle=lambda x, t, w: bce_with_logits(x, t, pos_weight=w),
    ),
    *three(ops.kl_div, (3, 4), positive(3, 4), oracle=kl_div),
    Case(ops.kl_div, (3, 4), positive(3, 4), params={"reduction": "batchmean"}, oracle=kl_div),
    Case(ops.kl_div, (3, 4), (3, 4), params={"log_target": True}, oracle=kl_div),
]
globals().update(checks(CASES))


def logits(*shape, kind=np.float32):
    return weft.Tensor(np.random.default_rng(0).standard_normal(shape).astype(kind))


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("loss", [ops.cross_entropy, ops.nll_loss])
def test_a_label_out_of_range_is_named(loss, kind):
    name = loss.__name__
    for bad in (10, -1, 2**40):
        labels = np.array([1, 2, bad, 3])
        with pytest.raises(IndexError, match=rf"{name}: expected labels in \[0, 10\), got {bad} at position 2"):
            loss(logits(4, 10, kind=kind), labels)
    with pytest.raises(IndexError, match=rf"{name}: expected labels in \[0, 3\), got 3 at position \(1, 0\)"):
        loss(logits(2, 3, 2, kind=kind), np.array([[0, 1], [3, 9]]))


@pytest.mark.parametrize(
    "loss",
    [
        ops.mse_loss,
        ops.l1_loss,
        ops.smooth_l1_loss,
        ops.huber_loss,
        ops.binary_cross_entropy,
        ops.binary_cross_entropy_with_logits,
        ops.kl_div,
    ],
)
def test_shapes_that_would_broadcast_are_refused(loss):
    a, b = weft.Tensor(np.full((4, 1), 0.5, np.float32)), weft.Tensor(np.full(4, 0.5, np.float32))
    with pytest.raises(
        ValueError, match=rf"{loss.__name__}: expected input and target of one shape, got \(4, 1\) and \(4,\)"
    ):
        loss(a, b)
    with pytest.raises(ValueError, match="expected reduction in"):
        loss(a, a, reduction="average")


def test_labels_of_another_shape_or_type_are_refused():
    with pytest.raises(ValueError, match=r"cross_entropy: expected .* got \(4, 3\) and int64 \(4, 1\)"):
        ops.cross_entropy(logits(4, 3), np.zeros((4, 1), np.int64))
    with pytest.raises(ValueError, match=r"cross_entropy: expected .* got \(4, 3\) and float32 \(4,\)"):
        ops.cross_entropy(logits(4, 3), np.zeros(4, np.float32))
    with pytest.raises(ValueError, match=r"expected weight \(3,\) for input \(4, 3\), got \(4,\)"):
        ops.cross_entropy(logits(4, 3), np.zeros(4, np.int64), np.ones(4, np.float32))
    with pytest.raises(ValueError, match=r"label_smoothing in \[0, 1\], got 2"):
        ops.cross_entropy(logits(4, 3), np.zeros(4, np.int64), label_smoothing=2)


def test_probabilities_outside_0_and_1_are_refused():
    with pytest.raises(ValueError, match=r"binary_cross_entropy: expected probabilities in \[0, 1\]"):
        ops.binary_cross_entropy(logits(9), weft.Tensor(np.ones(9, np.float32)))


def test_certain_probabilities_have_a_finite_loss():
    x = weft.Tensor(np.array([0.0, 1.0, 0.0, 1.0], np.float32), requires_grad=True)
    loss = ops.binary_cross_entropy(x, weft.Tensor(np.array([0.0, 1.0, 1.0, 0.0], np.float32)), reduction="none")
    np.testing.assert_array_equal(loss.numpy(), [0, 0, 100, 100])
    loss.sum().backward()
    assert np.isfinite(x.grad.numpy()).all()


def test_one_sample_without_a_batch():
    x = logits(5)
    want = ops.cross_entropy(x.reshape((1, 5)), np.array([3]))
    for reduction in ("mean", "none"):
        got = ops.cross_entropy(x, np.array(3), reduction=reduction)
        assert got.shape == ()
        assert got.item() == want.item()


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_ignored_samples_have_no_say(kind):
    x = weft.Tensor(np.array([[1.0, 2.0], [np.nan, np.inf]], kind), requires_grad=True)
    loss = ops.cross_entropy(x, np.array([0, -100]), label_smoothing=0.1)
    loss.backward()
    assert np.isfinite(loss.item())
    np.testing.assert_array_equal(x.grad.numpy()[1], [0, 0])
    nothing = ops.cross_entropy(logits(2, 3, kind=kind), np.array([-100, -100]))
    assert np.isnan(nothing.item())  # the mean of nothing


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_an_empty_batch(kind):
    x = weft.Tensor(np.zeros((0, 3), kind), requires_grad=True)
    assert ops.cross_entropy(x, np.zeros(0, np.int64), reduction="sum").item() == 0
    assert np.isnan(ops.mse_loss(x, ops.zeros_like(x)).item())
    loss = ops.cross_entropy(x, np.zeros(0, np.int64), reduction="none")
    loss.backward(np.zeros(0, kind))
    assert loss.shape == (0,) and x.grad.shape == (0, 3)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_huge_and_infinite_logits(kind):
    x = weft.Tensor(np.array([[1e4, -1e4, 0], [-np.inf, 0, 0], [-np.inf, 5, -np.inf]], kind), requires_grad=True)
    loss = ops.cross_entropy(x, np.array([1, 2, 1]), reduction="none")
    np.testing.assert_allclose(loss.numpy(), [2e4, np.log(2), 0], rtol=1e-6)
    loss.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), [[1, -1, 0], [0, 0.5, -0.5], [0, 0, 0]], atol=1e-6)


def test_labels_that_int64_does_not_hold():
    with pytest.raises(IndexError, match="got 18446744073709551516 at position 0"):  # -100, which would be ignored
        ops.cross_entropy(logits(1, 3), np.array([2**64 - 100], np.uint64))


def test_labels_of_any_integer_type():
    x = logits(3, 4)
    want = ops.cross_entropy(x, np.array([0, 3, 1])).item()
    for kind in (np.int32, np.uint8, np.int16):
        assert ops.cross_entropy(x, np.array([0, 3, 1], kind)).item() == want
    assert ops.cross_entropy(x, weft.Tensor(np.array([0, 3, 1]))).item() == want
    assert ops.cross_entropy(x, [0, 3, 1]).item() == want


def test_apart_from_kinks():
    """The gradient of |d| at 0 is 0, in the middle of its two slopes."""
    x = weft.Tensor(np.zeros(2, np.float32), requires_grad=True)
    ops.l1_loss(x, weft.Tensor(np.zeros(2, np.float32)), reduction="sum").backward()
    np.testing.assert_array_equal(x.grad.numpy(), [0, 0])
    assert apart(3)(np.random.default_rng(0)).shape == (3,)
