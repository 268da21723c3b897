"""Autocast: what runs in which dtype, gradients, cached casts, regions; on the CPU and on devices."""

from __future__ import annotations

import threading

import ml_dtypes
import numpy as np
import pytest

import weft
from policy import needs
from weft import autograd, casting, nn

BF16 = np.dtype(ml_dtypes.bfloat16)
HALVES = {"bfloat16": BF16, "float16": np.dtype(np.float16)}
DEVICES = ["cpu", pytest.param("kernels", marks=[needs("emulator"), pytest.mark.gpu])]


@pytest.fixture(params=DEVICES)
def where(request, device):
    return "cpu" if request.param == "cpu" else device


def normal(rng, *shape, device="cpu", grad=False):
    return weft.Tensor(weft.asarray(rng.standard_normal(shape).astype("f"), device=device).data, requires_grad=grad)


def test_the_table_names_ops_that_there_are():
    names = {body.__name__ for body in autograd.bodies}
    assert casting.NARROW | casting.WIDE <= names
    assert not casting.NARROW & casting.WIDE


@pytest.mark.parametrize("name", HALVES)
def test_what_runs_in_what(where, name):
    rng = np.random.default_rng()
    x, w = normal(rng, 5, 7, device=where), normal(rng, 3, 7, device=where)
    with weft.autocast(name):
        y = weft.linear(x, w)
        assert y.dtype == HALVES[name] and weft.relu(y).dtype == HALVES[name]
        assert {f(y).dtype for f in (weft.exp, weft.sum, weft.var, weft.std, weft.log_softmax)} == {np.dtype("f")}
        assert {f(y).dtype for f in (weft.softmax, weft.layer_norm, weft.rms_norm)} == {HALVES[name]}
        assert (y + weft.sum(y)).dtype == np.float32  # where inputs differ: the widest
        assert nn.functional.mse_loss(y, weft.zeros_like(y)).dtype == np.float32
        assert (x @ w.mT).dtype == HALVES[name] and x.dtype == w.dtype == np.float32
        assert weft.zeros((2, 2), device=where).dtype == np.float32
    assert weft.linear(x, w).dtype == np.float32
    expected = (x.numpy().astype(HALVES[name]).astype("d") @ w.numpy().astype(HALVES[name]).astype("d").T)
    np.testing.assert_allclose(y.numpy().astype("d"), expected, rtol=2.0**-7, atol=2.0**-7)


def test_gradients_are_those_of_the_casts_written_out(where):
    rng = np.random.default_rng()
    x, w, b = normal(rng, 4, 6, device=where), *(normal(rng, *s, device=where, grad=True) for s in ((5, 6), (5,)))
    with weft.autocast("bfloat16"):
        loss = weft.exp(weft.linear(x, w, b)).mean()
    loss.backward()
    got = [t.grad for t in (w, b)]
    w.grad = b.grad = None
    y = weft.linear(*(weft.astype(t, dtype=BF16) for t in (x, w, b)))
    other = weft.exp(weft.astype(y, dtype=np.float32)).mean()
    other.backward()
    assert loss.item() == other.item()
    for t, g in zip((w, b), got, strict=True):
        assert g.dtype == np.float32
        np.testing.assert_array_equal(g.numpy(), t.grad.numpy())


def test_a_weight_is_cast_once_until_it_is_written(where):
    w, x = weft.Tensor(weft.ones((3, 3), device=where).data, requires_grad=True), weft.ones((2, 3), device=where)
    casts = []
    observer = lambda body, arrays, out: casts.append(arrays[0]) if body.__name__ == "astype" else None  # noqa: E731
    autograd.observers.append(observer)
    try:
        with weft.autocast("bfloat16"):
            first = weft.linear(x, w)
            second = weft.linear(x, w)
            assert sum(a is w.data for a in casts) == 1
            w.assign(weft.zeros_like(w) + 2)
            assert float(weft.linear(x, w).numpy()[0, 0]) == 6 and sum(a is w.data for a in casts) == 2
        with weft.autocast("bfloat16"), weft.no_grad():
            weft.linear(x, w), weft.linear(x, w)
            assert sum(a is w.data for a in casts) == 3
    finally:
        autograd.observers.remove(observer)
    (first + second).sum().backward()
    np.testing.assert_array_equal(w.grad.numpy(), 4)  # of both uses


def test_backward_inside_and_twice():
    w, x = weft.Tensor(np.ones((3, 3), "f"), requires_grad=True), weft.ones((2, 3))
    with weft.autocast("bfloat16"):
        for _ in range(2):  # the cast of the first round is freed with its graph
            weft.linear(x, w).sum().backward()
    np.testing.assert_array_equal(w.grad.numpy(), 4)


def test_regions_nest_and_are_of_their_thread():
    x = weft.ones((2, 2))
    seen = []
    with weft.autocast("bfloat16"):
        with weft.autocast("float16"):
            assert (x @ x).dtype == np.float16
        with weft.autocast(enabled=False):
            assert (x @ x).dtype == np.float32 and casting.current() is None
        assert (x @ x).dtype == BF16 and casting.current() == BF16
        thread = threading.Thread(target=lambda: seen.append((x @ x).dtype))
        thread.start()
        thread.join()
    assert seen == [np.float32]
    with pytest.raises(ZeroDivisionError), weft.autocast():
        raise ZeroDivisionError
    assert (x @ x).dtype == np.float32
    assert weft.autocast(weft.bfloat16)(lambda: (x @ x).dtype)() == BF16
    for wrong in ("float32", np.float64):
        with pytest.raises(ValueError, match="expected 'bfloat16' or 'float16'"):
            weft.autocast(wrong)


def test_float64_is_left_alone():
    x = weft.Tensor(np.ones((2, 2)))
    with weft.autocast():
        assert (x @ x).dtype == np.float64 and weft.exp(x).dtype == np.float64
        assert (x @ weft.ones((2, 2))).dtype == np.float64
    with pytest.raises(TypeError, match="one dtype"):
        weft.linear(x, weft.ones((2, 2)))


def test_checkpoints_and_second_order():
    rng = np.random.default_rng(0)
    w, x = normal(rng, 4, 4, grad=True), normal(rng, 3, 4)

    def f(x):
        return weft.exp(weft.linear(x, w) * 0.1)

    with weft.autocast("bfloat16"):
        plain = f(x).sum()
        kept = weft.checkpoint(f, x).sum()
    expected, got = weft.autograd.grad(plain, w), weft.autograd.grad(kept, w)
    np.testing.assert_array_equal(got.numpy(), expected.numpy())  # the second run casts as the first did
    with weft.autocast("bfloat16"):
        first = weft.autograd.grad(f(x).sum(), w, create_graph=True)
    second = weft.autograd.grad((first * first).sum(), w)
    y = weft.linear(x, w)
    expected = weft.autograd.grad((y * y).sum(), w, create_graph=True)
    with weft.autocast("bfloat16"):  # backward is as the forward pass was, here in float32
        inside = weft.autograd.grad((y * y).sum(), w, create_graph=True)
    np.testing.assert_array_equal(inside.numpy(), expected.numpy())
    assert second.dtype == np.float32 and np.isfinite(second.numpy()).all()


def test_a_fused_loss_casts_the_factors_of_its_product():
    rng = np.random.default_rng(1)
    x, w, classes = normal(rng, 5, 6), normal(rng, 7, 6, grad=True), weft.asarray(np.linspace(0.1, 1.3, 7, dtype="f"))
    labels = weft.asarray(rng.integers(0, 7, 5))
    with weft.autocast("bfloat16"):
        fused = weft.linear_cross_entropy(x, w, labels, weight=classes)
        apart = nn.functional.cross_entropy(weft.linear(x, w), labels, classes)
    assert fused.dtype == apart.dtype == np.float32
    assert fused.item() == pytest.approx(apart.item(), rel=1e-2)
    fused.backward()
    assert w.grad.dtype == np.float32


def test_labels_cost_float32_and_their_logits_stay_narrow(where):
    """The loss is that of logits cast to float32, and so are the gradients, but for a rounding that falls otherwise."""
    rng = np.random.default_rng()
    x, w, labels = normal(rng, 9, 6, device=where), normal(rng, 5, 6, device=where, grad=True), rng.integers(0, 5, 9)
    labels, classes = weft.asarray(labels, device=where), weft.asarray(rng.random(5).astype("f"), device=where)
    cast = []
    observer = lambda body, arrays, out: cast.append(arrays[0].shape) if body.__name__ == "astype" else None  # noqa: E731
    for options in ({}, {"reduction": "none"}, {"weight": classes, "label_smoothing": 0.1}):
        grads = []
        for written_out in (False, True):
            with weft.autocast("bfloat16"):
                y = weft.linear(x, w)
                y = weft.astype(y, np.float32) if written_out else y
                autograd.observers.append(observer)
                loss = weft.cross_entropy(y, labels, **options)
                autograd.observers.remove(observer)
            loss.sum().backward()
            grads.append((loss.numpy(), w.grad.numpy()))
            w.grad = None
        assert loss.dtype == np.float32 and not cast
        (loss, gradient), (expected, expected_gradient) = grads
        np.testing.assert_allclose(loss, expected, rtol=2e-6, atol=2e-6)
        unit = 2.0**-8 * np.abs(expected_gradient).max()
        np.testing.assert_allclose(gradient, expected_gradient, rtol=2.0**-7, atol=unit)


def layers():
    return {
        "cnn": (nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
                              nn.Flatten(), nn.Linear(36, 3)), (4, 2, 6, 6)),
        "transformer": (nn.TransformerEncoderLayer(8, 2, 12, dropout=0.0, batch_first=True), (2, 5, 8)),
        "lstm": (nn.LSTM(6, 4), (5, 2, 6)),
    }  # fmt: skip


@pytest.mark.parametrize("name", ["cnn", "transformer", "lstm"])
def test_layers(name):
    rng = np.random.default_rng(0)  # of some inputs a maximum changes its place, which is no error of rounding
    weft.random.seed(0)
    model, shape = layers()[name]
    x = normal(rng, *shape)
    grads = []
    for enabled in (False, True):
        with weft.autocast("bfloat16", enabled=enabled):
            y = model(x)
            y = y[0] if name == "lstm" else y
            weight = weft.asarray(np.linspace(-1, 1, y.size, dtype="f").reshape(y.shape))
            (y * weight).sum().backward()
        grads.append([p.grad.numpy() for p in model.parameters()])
        assert all(g.dtype == np.float32 for g in grads[-1])
        model.zero_grad()
    flat = [np.concatenate([g.ravel() for g in gs]) for gs in grads]
    assert 0 < np.linalg.norm(flat[0] - flat[1]) < 0.03 * np.linalg.norm(flat[0])
