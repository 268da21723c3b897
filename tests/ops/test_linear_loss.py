"""The linear layer fused with its cross-entropy, against the two one after the other."""

import tracemalloc

import numpy as np
import pytest

import weft
from opcheck import Case, checks, integers, positive
from weft import nn, ops
from weft.backends.reference import linear_loss


def fused(x, weight, bias, labels, classes=None, **params):
    return ops.linear_cross_entropy(x, weight, labels, bias, classes, **params)


def apart(x, weight, bias, labels, classes=None, chunk_size=None, **params):
    """The oracle: in NumPy, with all logits."""
    logits = x @ weight.T + (0 if bias is None else bias)
    rows = logits.reshape(-1, weight.shape[0])
    arrays = [None if a is None else weft.Tensor(a) for a in (rows, labels.reshape(-1), classes)]
    out = ops.cross_entropy(*arrays, **params).numpy()
    return out.reshape(labels.shape) if params.get("reduction") == "none" else out


def some_ignored(high, *shape):
    def make(rng):
        labels = rng.integers(0, high, shape)
        labels.reshape(-1)[0] = -100
        return labels

    return make


CASES = [
    Case(fused, (5, 3), (7, 3), None, integers(7, 5), params={"chunk_size": 2}, oracle=apart),
    Case(fused, (5, 3), (7, 3), (7,), integers(7, 5), params={"reduction": "sum"}, oracle=apart),
    Case(fused, (5, 3), (4, 3), (4,), some_ignored(4, 5), params={"reduction": "none", "chunk_size": 2}, oracle=apart),
    Case(fused, (2, 3, 2), (4, 2), None, integers(4, 2, 3), params={"reduction": "none"}, oracle=apart),
    Case(fused, (5, 3), (4, 3), (4,), integers(4, 5), params={"label_smoothing": 0.2, "chunk_size": 3}, oracle=apart),
]
globals().update(checks(CASES))

CHUNKS = [None, 1, 4, 100]


def run(loss, x, weight, bias, **options):
    arrays = [None if a is None else weft.Tensor(a, requires_grad=True) for a in (x, weight, bias)]
    out = loss(*arrays, **options)
    out.sum().backward()
    return [out.numpy()] + [a.grad.numpy() for a in arrays if a is not None]


@pytest.mark.parametrize("chunk", CHUNKS)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weighted", [False, True])
def test_as_the_two_ops_apart(chunk, reduction, weighted):
    rng = np.random.default_rng()
    x, w, b = (rng.standard_normal(s).astype("f") for s in ((9, 6), (11, 6), (11,)))
    labels = rng.integers(0, 11, 9)
    labels[2] = -7
    options = {"ignore_index": -7, "reduction": reduction, "label_smoothing": 0.1}
    classes = positive(11)(rng).astype("f") if weighted else None
    got = run(lambda x, w, b: ops.linear_cross_entropy(x, w, labels, b, classes, chunk_size=chunk, **options), x, w, b)
    want = run(lambda x, w, b: ops.cross_entropy(ops.linear(x, w, b), labels, classes, **options), x, w, b)
    for a, e in zip(got, want, strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-5, atol=1e-6)


def test_what_is_frozen_costs_and_gets_no_gradient():
    rng = np.random.default_rng()
    x, w = weft.Tensor(rng.standard_normal((4, 3)), requires_grad=True), weft.Tensor(rng.standard_normal((5, 3)))
    ops.linear_cross_entropy(x, w, np.arange(4)).backward()
    assert x.grad is not None and w.grad is None
    with weft.no_grad():
        assert not ops.linear_cross_entropy(x, w, np.arange(4)).requires_grad


def test_backward_twice_and_with_a_scale():
    x = weft.Tensor(np.random.default_rng().standard_normal((4, 3)), requires_grad=True)
    w = weft.Tensor(np.random.default_rng().standard_normal((5, 3)), requires_grad=True)
    loss = ops.linear_cross_entropy(x, w, np.arange(4)) * 8
    loss.backward(retain_graph=True)
    first = x.grad.numpy().copy(), w.grad.numpy().copy()
    loss.backward()
    np.testing.assert_array_equal(x.grad.numpy(), 2 * first[0])
    np.testing.assert_array_equal(w.grad.numpy(), 2 * first[1])


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_memory_is_that_of_a_chunk(reduction):
    """The logits, 64 MB of them, never exist at once."""
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(s).astype("f") for s in ((2000, 16), (8000, 16)))
    labels = rng.integers(0, 8000, 2000)
    tracemalloc.start()
    try:
        run(lambda x, w, b: ops.linear_cross_entropy(x, w, labels, reduction=reduction, chunk_size=50), x, w, None)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16e6
    assert linear_loss.BUFFER < 1 << 26


def test_16_bit_gradients_of_the_weight_are_summed_in_float32():
    """A thousand chunks whose parts would vanish in a sum of 8 bits."""
    x, w = np.ones((2000, 1), weft.bfloat16), np.zeros((2, 1), weft.bfloat16)
    _, gx, gw = run(
        lambda x, w, b: ops.linear_cross_entropy(x, w, np.zeros(2000, int), reduction="sum", chunk_size=2), x, w, None
    )
    assert gx.dtype == gw.dtype == weft.bfloat16
    np.testing.assert_array_equal(gw.astype("f"), [[-1000], [1000]])


def test_autocast_runs_the_products_narrow_and_returns_a_wide_loss():
    rng = np.random.default_rng(0)
    x = weft.Tensor(rng.standard_normal((6, 4)).astype("f"), requires_grad=True)
    w = weft.Tensor(rng.standard_normal((5, 4)).astype("f"), requires_grad=True)
    with weft.autocast("bfloat16"):
        loss = ops.linear_cross_entropy(x, w, np.arange(6) % 5)
    loss.backward()
    assert loss.dtype == x.grad.dtype == w.grad.dtype == np.float32
    want = ops.linear_cross_entropy(x, w, np.arange(6) % 5)
    assert 0 < abs(loss.item() - want.item()) < 0.05


def test_the_module():
    layer = nn.LinearCrossEntropyLoss(4, 10, bias=True, label_smoothing=0.1, chunk_size=2)
    assert sorted(layer.state_dict()) == ["linear.bias", "linear.weight"]
    x, labels = weft.Tensor(np.random.default_rng().standard_normal((3, 2, 4)).astype("f")), np.arange(6).reshape(3, 2)
    want = nn.CrossEntropyLoss(label_smoothing=0.1)(layer.linear(x).reshape((6, 10)), labels.reshape(-1))
    assert abs(layer(x, labels).item() - want.item()) < 1e-5


def test_probabilities_and_single_samples():
    rng = np.random.default_rng()
    x, w = weft.Tensor(rng.standard_normal((4, 3))), weft.Tensor(rng.standard_normal((5, 3)))
    p = rng.random((4, 5))
    p = weft.Tensor(p / p.sum(1, keepdims=True))
    got = ops.linear_cross_entropy(x, w, p)
    assert abs(got.item() - ops.cross_entropy(ops.linear(x, w), p).item()) < 1e-12
    one = ops.linear_cross_entropy(x[0], w, weft.Tensor(np.array(3)), reduction="none")
    assert one.shape == ()
    assert abs(one.item() - ops.cross_entropy(ops.linear(x[0], w), np.array(3)).item()) < 1e-12


def test_an_empty_batch():
    x = weft.Tensor(np.zeros((0, 3), "f"), requires_grad=True)
    w = weft.Tensor(np.ones((4, 3), "f"), requires_grad=True)
    loss = ops.linear_cross_entropy(x, w, np.zeros(0, int), reduction="sum")
    loss.backward()
    assert loss.item() == 0 and x.grad.shape == (0, 3)
    np.testing.assert_array_equal(w.grad.numpy(), np.zeros((4, 3)))


def test_errors_name_the_cause():
    x, w = weft.Tensor(np.zeros((4, 3), "f")), weft.Tensor(np.zeros((5, 3), "f"))
    with pytest.raises(IndexError, match=r"linear_cross_entropy: expected labels in \[0, 5\), got 5 at position 2"):
        ops.linear_cross_entropy(x, w, np.array([0, 1, 5, 2]), chunk_size=1)
    with pytest.raises(ValueError, match=r"expected input .* got \(4, 3\), \(5, 3\) and int64 \(3,\)"):
        ops.linear_cross_entropy(x, w, np.zeros(3, int))
    with pytest.raises(ValueError, match=r"expected linear_bias \(5,\), got \(4,\)"):
        ops.linear_cross_entropy(x, w, np.zeros(4, int), np.zeros(4, "f"))
    with pytest.raises(ValueError, match="chunk_size of at least 1, got 0"):
        ops.linear_cross_entropy(x, w, np.zeros(4, int), chunk_size=0)


def test_against_pytorch():
    torch = pytest.importorskip("torch")
    if not hasattr(torch.nn.functional, "linear_cross_entropy"):
        pytest.skip("this PyTorch has no linear_cross_entropy")
    rng = np.random.default_rng()
    x, w, b = (rng.standard_normal(s) for s in ((6, 4), (9, 4), (9,)))
    labels, options = rng.integers(0, 9, 6), {"label_smoothing": 0.1, "ignore_index": 2}
    got = run(lambda x, w, b: ops.linear_cross_entropy(x, w, labels, b, **options), x, w, b)
    leaves = [torch.tensor(a, requires_grad=True) for a in (x, w, b)]
    loss = torch.nn.functional.linear_cross_entropy(
        leaves[0], leaves[1], torch.tensor(labels), linear_bias=leaves[2], **options
    )
    loss.backward()
    for a, e in zip(got, [loss, *(leaf.grad for leaf in leaves)], strict=True):
        np.testing.assert_allclose(a, e.detach().numpy(), rtol=1e-9, atol=1e-12)
