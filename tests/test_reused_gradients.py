"""Gradients that nobody else holds are written over on the way back, and those that somebody holds are not."""

import numpy as np
import pytest

import weft
from weft import backward
from weft.nn import functional as F

ROWS, C = 96, 256  # more than WORTH_REUSING elements


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


BODIES = {
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "layer_norm": lambda x: F.layer_norm(x, (C,), weft.asarray(normal(C)), weft.asarray(normal(C, seed=1))),
    "rms_norm": lambda x: weft.rms_norm(x, weft.asarray(normal(C))),
    "batch_norm": lambda x: weft.batch_norm(
        x, None, None, weft.asarray(normal(C)), weft.asarray(normal(C)), training=True
    )[0],
}


@pytest.fixture
def nothing_is_reused(monkeypatch):
    return lambda: monkeypatch.setattr(backward, "may_write", lambda held: False)


def gradient_of(body, use, x):
    x = weft.Tensor(x.copy(), requires_grad=True)
    held = use(body, x)
    return [x.grad.numpy(), *held]


def alone(body, x):
    (body(x * 1.5) * weft.asarray(normal(ROWS, C, seed=2))).sum().backward()
    return []


def beside_a_residual(body, x):
    h = x * 1.5
    ((h + body(h) + h) * weft.asarray(normal(ROWS, C, seed=2))).sum().backward()
    return []


def with_a_hook_that_keeps(body, x):
    kept = []
    y = body(x * 1.5)
    y.register_hook(lambda g: kept.append(g))
    (y * weft.asarray(normal(ROWS, C, seed=2))).sum().backward()
    return [g.numpy() for g in kept]


def with_gradients_asked_for(body, x):
    h = x * 1.5
    y = body(h)
    loss = (y * weft.asarray(normal(ROWS, C, seed=2))).sum()
    found = weft.autograd.grad(loss, [y, h], retain_graph=True)
    loss.backward()
    return [g.numpy() for g in found]


def twice_through_one_graph(body, x):
    y = body(x * 1.5)
    seed = weft.asarray(normal(ROWS, C, seed=3))
    y.backward(seed, retain_graph=True)
    y.backward(seed)
    return [seed.numpy()]


def through_views(body, x):
    h = x * 1.5
    halves = weft.concat([body(h)[: ROWS // 2], body(h)[ROWS // 2 :]], axis=0)
    (weft.reshape(halves, (-1,)) * weft.asarray(normal(ROWS * C, seed=4))).sum().backward()
    return []


USES = [
    alone, beside_a_residual, with_a_hook_that_keeps, with_gradients_asked_for, twice_through_one_graph, through_views,
]  # fmt: skip


@pytest.mark.parametrize("use", USES, ids=lambda use: use.__name__)
@pytest.mark.parametrize("name", BODIES)
def test_what_is_held_is_never_written_over(name, use, nothing_is_reused):
    x = normal(ROWS, C, seed=5)
    found = gradient_of(BODIES[name], use, x)
    nothing_is_reused()
    for got, want in zip(found, gradient_of(BODIES[name], use, x), strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.skipif(not weft.backends.cpu.native, reason="the references write gradients into memory of their own")
@pytest.mark.parametrize("kept", [False, True], ids=["nobody", "a_hook"])
@pytest.mark.parametrize("name", BODIES)
def test_a_gradient_that_nobody_holds_gives_its_memory(name, kept):
    places, held = [], []

    @weft.op
    def watched(x):
        return x * 1, (lambda g: (places.append(g.ctypes.data), g)[1],)

    x = weft.Tensor(normal(ROWS, C), requires_grad=True)
    y = BODIES[name](watched(x))
    if kept:
        y.register_hook(held.append)
    (watched(y) * weft.asarray(normal(ROWS, C, seed=2))).sum().backward()
    behind, before = places
    assert (behind == before) is not kept


def test_a_sum_of_gradients_grows_in_place_unless_somebody_holds_it():
    x = weft.Tensor(normal(ROWS, C), requires_grad=True)
    kept = []
    h = x * 2
    a, b, c = h * 1, h * 1, h * 1
    a.register_hook(lambda g: kept.append((g, g.numpy().copy())))
    (a + b + c).sum().backward()
    for g, before in kept:
        np.testing.assert_array_equal(g.numpy(), before)
    np.testing.assert_array_equal(x.grad.numpy(), np.full((ROWS, C), 6, np.float32))
