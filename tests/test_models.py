"""The models of weft.models: PyTorch's values and gradients from PyTorch's weights, and names that checkpoints know."""

from __future__ import annotations

import numpy as np
import pytest

import weft
from policy import needs, require
from weft import models

GPT = {"vocabulary": 96, "length": 24, "layers": 2, "width": 32, "heads": 2}
CASES = {
    "mnist_cnn": ({}, (3, 1, 28, 28)),
    "alexnet": ({"classes": 10, "small": True, "width": 8}, (3, 3, 32, 32)),
    "resnet18": ({"classes": 10, "small": True, "width": 16}, (3, 3, 8, 8)),
    "resnet50": ({"classes": 7}, (2, 3, 64, 64)),
    "gpt2": (GPT, None),
}


def without_dropout(module):
    if type(module).__name__ == "Dropout":
        module.p = 0.0


def batch(shape):
    rng = np.random.default_rng(3)
    return rng.integers(0, 96, (2, 24)) if shape is None else rng.standard_normal(shape)


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow if n == "resnet50" else ()) for n in CASES])
def test_a_step_is_pytorchs(name):
    """Outputs and every gradient, from the same weights, in float64: small batches make batch norm ill-conditioned."""
    require("torch")
    import torch

    options, shape = CASES[name]
    torch.manual_seed(1)
    peer = getattr(models, name)(**options, framework=torch).double()
    model = getattr(models, name)(**options).to(weft.float64)
    state = {key: value.detach().numpy() for key, value in peer.state_dict().items()}
    assert {key: value.shape for key, value in model.state_dict().items()} == {k: v.shape for k, v in state.items()}
    model.load_state_dict(state)
    peer.apply(without_dropout), model.apply(without_dropout)
    x = batch(shape)
    y = model(weft.asarray(x))
    want = peer(torch.from_numpy(x))
    np.testing.assert_allclose(y.numpy(), want.detach().numpy(), rtol=0, atol=1e-10 * want.abs().max().item())
    labels = np.random.default_rng(4).integers(0, y.shape[-1], y.size // y.shape[-1])
    weft.nn.functional.cross_entropy(y.reshape(-1, y.shape[-1]), weft.asarray(labels)).backward()
    torch.nn.functional.cross_entropy(want.reshape(-1, want.shape[-1]), torch.from_numpy(labels)).backward()
    theirs = {key: value.grad.numpy() for key, value in peer.named_parameters()}
    ours = {key: value.grad.numpy() for key, value in model.named_parameters()}
    assert ours.keys() == theirs.keys()
    for key, gradient in theirs.items():
        assert np.linalg.norm(ours[key] - gradient) <= 1e-7 * np.linalg.norm(gradient) + 1e-12, key


def test_residual_networks_have_torchvisions_names():
    names = set(models.resnet18().state_dict())
    assert {"conv1.weight", "bn1.running_var", "layer1.0.conv1.weight", "layer2.0.downsample.1.bias"} <= names
    model = models.resnet50()
    assert model.layer2[0].conv2.stride == (2, 2) and model.layer2[0].conv1.stride == (1, 1)
    assert sum(p.size for p in model.parameters()) == 25_557_032


def test_alexnet_has_torchvisions_names_and_size():
    """Of 224 pixels, as published; the shapes of a small one follow its width."""
    model = models.alexnet()
    assert sum(p.size for p in model.parameters()) == 61_100_840
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    assert {name.rsplit(".", 1)[0] for name in shapes} == {
        *(f"features.{i}" for i in (0, 3, 6, 8, 10)), *(f"classifier.{i}" for i in (1, 4, 6))
    }  # fmt: skip
    assert shapes["features.0.weight"] == (64, 3, 11, 11) and shapes["classifier.1.weight"] == (4096, 9216)
    small = models.alexnet(10, small=True, width=16).state_dict()
    assert small["features.8.weight"].shape == (64, 96, 3, 3) and small["classifier.1.weight"].shape == (1024, 256)
    for make in (models.alexnet, models.resnet18):
        with pytest.raises(ValueError, match="expected width >= 1, got 0"):
            make(width=0)


def test_gpt2_has_its_size_and_one_matrix_for_words():
    model = models.gpt2(layers=1)
    per_layer = 12 * 768**2 + 13 * 768
    assert sum(p.size for p in model.parameters()) == (50_304 + 1024 + 2) * 768 + per_layer
    assert not [name for name, _ in model.named_parameters() if "head" in name]
    with pytest.raises(ValueError, match="width that 5 heads divide, got 768"):
        models.gpt2(heads=5)


@needs("torch")
def test_the_frameworks_keep_to_their_own_layers():
    import torch

    assert isinstance(models.gpt2(**GPT, framework=torch), torch.nn.Module)
    assert isinstance(models.gpt2(**GPT), weft.nn.Module)
