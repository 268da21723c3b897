"""GradScaler: scaling, skipped steps, growth and backoff as PyTorch's; the same on devices."""

from __future__ import annotations

import numpy as np
import pytest

import weft
from policy import needs
from weft import nn, optim
from weft.optim import GradScaler

DEVICES = ["cpu", pytest.param("kernels", marks=[needs("emulator"), pytest.mark.gpu])]


@pytest.fixture(params=DEVICES)
def where(request, device):
    return "cpu" if request.param == "cpu" else device


def parameter(values, device="cpu"):
    return nn.Parameter(weft.asarray(np.asarray(values, "f"), device=device))


def test_a_step_is_that_of_the_unscaled_gradient(where):
    p, q = parameter([1.0, -2.0], where), parameter([1.0, -2.0], where)
    one, other, scaler = optim.SGD([p], lr=0.1), optim.SGD([q], lr=0.1), GradScaler()
    scaler.scale((p * p).sum()).backward()
    assert scaler.get_scale() == 2.0**16
    np.testing.assert_array_equal(p.grad.numpy(), [2.0**17, -(2.0**18)])
    scaler.step(one)
    scaler.update()
    (q * q).sum().backward()
    other.step()
    np.testing.assert_array_equal(p.numpy(), q.numpy())
    np.testing.assert_array_equal(p.grad.numpy(), q.grad.numpy())


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_a_step_that_overflows_changes_nothing_but_the_scale(where, bad):
    p, q = parameter([1.0, 2.0, 3.0], where), parameter([4.0], where)
    optimizer, scaler = optim.AdamW([p, q], lr=0.1), GradScaler(init_scale=8.0)

    def step(values):
        p.grad, q.grad = (weft.asarray(np.asarray(v, "f"), device=where) for v in (values, [8.0]))
        scaler.scale(q.detach().sum())  # tells the scaler the device
        scaler.step(optimizer)
        scaler.update()

    step([8.0, 16.0, -8.0])
    before = [p.numpy().copy(), q.numpy().copy(), optimizer.state_dict()["state"][0]]
    step([8.0, bad, 8.0])
    after = [p.numpy(), q.numpy(), optimizer.state_dict()["state"][0]]
    np.testing.assert_equal(after, before)
    assert scaler.get_scale() == 4.0
    step([8.0, 16.0, -8.0])
    assert optimizer.state_dict()["state"][0]["step"] == 2 and (p.numpy() != before[0]).all()


@needs("torch")
def test_the_scale_goes_as_pytorchs():
    import torch

    rng = np.random.default_rng()
    options = {"init_scale": 1024.0, "growth_interval": 3, "growth_factor": 3.0, "backoff_factor": 0.25}
    ours, theirs = GradScaler(**options), torch.amp.GradScaler("cpu", **options)
    p, t = parameter([1.0]), torch.nn.Parameter(torch.ones(1))
    one, other = optim.Adam([p], lr=0.1), torch.optim.Adam([t], lr=0.1)
    for i in range(40):
        g = np.inf if rng.random() < 0.25 else rng.standard_normal()
        g = np.float32([g * ours.get_scale()])
        p.grad, t.grad = weft.asarray(g), torch.tensor(g)
        ours.scale(p), theirs.scale(t)
        if i % 2:
            ours.unscale_(one), theirs.unscale_(other)
        ours.step(one), theirs.step(other)
        ours.update(), theirs.update()
        assert ours.state_dict() == theirs.state_dict()
        # p is rounded once a step, near 1 or near 0; a step is at most 0.1 long and has a few roundings of its own.
        roundings = (i + 1) * 2.0**-24 * (max(1, abs(p.item())) + 4 * 0.1)
        np.testing.assert_allclose(p.numpy(), t.detach().numpy(), rtol=1e-5, atol=2 * roundings)
    ours.load_state_dict(theirs.state_dict())
    assert ours.state_dict() == theirs.state_dict()


def test_what_is_refused_and_passed_through():
    p = parameter([1.0])
    optimizer, scaler = optim.SGD([p], lr=0.1), GradScaler()
    with pytest.raises(RuntimeError, match="run backward first"):
        scaler.step(optimizer)
    with pytest.raises(RuntimeError, match="expected a step before it"):
        scaler.update()
    p.grad = weft.ones((1,))
    scaler.unscale_(optimizer)
    with pytest.raises(RuntimeError, match="got one twice"):
        scaler.unscale_(optimizer)
    scaler.step(optimizer)
    with pytest.raises(RuntimeError, match=r"update\(\) after each step"):
        scaler.step(optimizer)
    with pytest.raises(RuntimeError, match="no closure"):
        scaler.step(optimizer, lambda: None)
    with pytest.raises(TypeError, match="expected Tensors, got float"):
        scaler.scale(1.0)
    with pytest.raises(ValueError, match="growth_factor > 1"):
        GradScaler(growth_factor=1.0)
    off = GradScaler(enabled=False)
    x = weft.ones((1,))
    assert off.scale(x) is x and off.get_scale() == 1.0 and off.state_dict() == {} and not off.is_enabled()
    off.step(optimizer), off.update(), off.unscale_(optimizer), off.load_state_dict({})
    with pytest.raises(RuntimeError, match="got an empty one"):
        GradScaler().load_state_dict({})
    assert weft.GradScaler is GradScaler
