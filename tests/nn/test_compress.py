"""Pruned and 8-bit weights: which ones go, how far values move, what a file weighs."""

from __future__ import annotations

import numpy as np
import pytest

import weft
from weft import nn
from weft.nn.utils import apply_masks, int8_state_dict, load_int8_state_dict, prune_by_magnitude


def net():
    return nn.Sequential(nn.Conv2d(3, 40, 3), nn.BatchNorm2d(40), nn.ReLU(), nn.Flatten(), nn.Linear(1440, 70))


@pytest.mark.parametrize("amount", [0.0, 0.3, 0.95])
def test_the_smallest_weights_of_the_whole_model_go(amount):
    model = net()
    before = [model[0].weight.numpy().copy(), model[4].weight.numpy().copy()]
    bias = model[4].bias.numpy().copy()
    masks = prune_by_magnitude(model, amount)
    total = sum(w.size for w in before)
    kept = sum(int(m.sum()) for m in masks.values())
    assert kept == total - round(amount * total) and set(masks) == {"0.weight", "4.weight"}
    every = np.abs(np.concatenate([w.ravel() for w in before]))
    limit = np.sort(every)[round(amount * total)] if amount else 0.0
    for layer, old in ((model[0], before[0]), (model[4], before[1])):
        np.testing.assert_array_equal(layer.weight.numpy(), np.where(np.abs(old) >= limit, old, 0))
    np.testing.assert_array_equal(model[4].bias.numpy(), bias)


def test_masks_hold_through_training():
    model = nn.Linear(20, 5)
    masks = prune_by_magnitude(model, 0.8)
    optimizer = weft.optim.Adam(model.parameters(), lr=0.1)
    for _ in range(3):
        (model(weft.random.normal((8, 20))) ** 2).mean().backward()
        optimizer.step()
        apply_masks(model, masks)
    assert ((model.weight.numpy() != 0) <= masks["weight"]).all() and model.weight.numpy().any()


def test_int8_is_within_half_a_step_of_each_row(tmp_path):
    model, again = net(), net()
    with weft.no_grad():
        model[4].weight[3] = 0.0  # a row of zeros has no scale
        model[4].weight[5] *= 1000.0  # and no other row suffers from a large one
    state = int8_state_dict(model)
    weft.save(tmp_path / "small.safetensors", state)
    weft.save(tmp_path / "large.safetensors", model.state_dict())
    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("small", "large")]
    assert sizes[0] <= 0.3 * sizes[1]
    load_int8_state_dict(again, weft.load(tmp_path / "small.safetensors"))
    for i in (0, 4):
        old, new = model[i].weight.numpy(), again[i].weight.numpy()
        step = np.abs(old).max(axis=tuple(range(1, old.ndim)), keepdims=True) / 127
        assert (np.abs(old - new) <= 0.5001 * step).all()
        assert not (old == new).all()
    np.testing.assert_array_equal(again[4].bias.numpy(), model[4].bias.numpy())
    np.testing.assert_array_equal(again[1].running_var.numpy(), model[1].running_var.numpy())


def test_errors():
    with pytest.raises(ValueError, match="expected 0 <= amount < 1, got 1"):
        prune_by_magnitude(net(), 1)
    with pytest.raises(ValueError, match=r"expected a parameter 'weight' \(3, 2\), got \(2, 3\)"):
        apply_masks(nn.Linear(3, 2), {"weight": np.ones((3, 2), bool)})
    state = int8_state_dict(nn.Linear(3, 2))
    state["weight.int8_scale"] = np.ones(3, "f")
    with pytest.raises(ValueError, match=r"expected weight int8 .* got int8 \(2, 3\) and \(3,\)"):
        load_int8_state_dict(nn.Linear(3, 2), state)
    broken = nn.Linear(3, 2)
    with weft.no_grad():
        broken.weight[0, 0] = np.nan
    with pytest.raises(ValueError, match="expected finite weights, got others in weight"):
        int8_state_dict(broken)


def test_a_shared_weight_is_8_bits_under_each_of_its_names():
    def tied():
        model = nn.Sequential(nn.Embedding(7, 5), nn.Linear(5, 7, bias=False))
        model[1].weight = model[0].weight
        return model

    first, second = tied(), tied()
    state = int8_state_dict(first)
    assert [value.dtype.name for value in state.values()] == ["int8", "int8", "float32", "float32"]
    load_int8_state_dict(second, state)
    off = np.abs(second[1].weight.numpy() - first[1].weight.numpy()).max(axis=1)
    assert second[0].weight is second[1].weight and off.max() > 0
    assert (off <= np.abs(first[0].weight.numpy()).max(axis=1) / 253).all()
