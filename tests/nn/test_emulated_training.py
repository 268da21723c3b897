"""Whole models trained on the emulated device: the kernels that a GPU would run, step for step beside the CPU."""

from __future__ import annotations

import numpy as np
import pytest

import weft
from opcheck import never_waiting
from policy import needs
from weft import nn, optim
from weft.backends import emulator

pytestmark = needs("emulator")


def losses(make_model, make_optimizer, inputs, targets, device, steps):
    """The loss of each step of a training run on `device`."""
    weft.random.seed(11)
    model = make_model().to(device)
    optimizer = make_optimizer(model.parameters())
    x, t = weft.asarray(inputs, device=device), weft.asarray(targets, device=device)
    values = []
    for _ in range(steps):
        with never_waiting():
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), t)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
        values.append(loss.item())
    return np.array(values)


def check(device, make_model, make_optimizer, inputs, targets, steps, classes):
    on_cpu = losses(make_model, make_optimizer, inputs, targets, "cpu", steps)
    on_device = losses(make_model, make_optimizer, inputs, targets, device, steps)
    np.testing.assert_allclose(on_device, on_cpu, rtol=1e-3, atol=5e-7)  # a loss of 1e-5 is a difference of logits
    assert on_cpu[-1] < 0.8 * on_cpu[0], on_cpu  # it learns, so that later steps depend on earlier ones
    assert targets.max() < classes


def blobs(rng, n, features, classes):
    """Points around one centre for each class."""
    labels = rng.integers(0, classes, n)
    centres = rng.standard_normal((classes, features)) * 1.5
    return (centres[labels] + rng.standard_normal((n, features))).astype(np.float32), labels


OPTIMIZERS = {
    "sgd": lambda p: optim.SGD(p, lr=0.2, momentum=0.9, weight_decay=1e-3),
    "adamw": lambda p: optim.AdamW(p, lr=0.01),
    "rmsprop": lambda p: optim.RMSprop(p, lr=0.005),
}


@pytest.mark.gpu
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_mlp(device, name):
    inputs, targets = blobs(np.random.default_rng(5), 72, 20, 7)
    weft.random.seed(0)

    def model():
        return nn.Sequential(nn.Linear(20, 33), nn.ReLU(), nn.Linear(33, 18), nn.GELU(), nn.Linear(18, 7))

    check(device, model, OPTIMIZERS[name], inputs, targets, 20, 7)


@pytest.mark.gpu
def test_cnn(device):
    rng = np.random.default_rng(6)
    targets = rng.integers(0, 3, 12)
    inputs = rng.standard_normal((12, 2, 9, 9)).astype(np.float32)
    inputs[np.arange(12), :, targets * 2, :] += 2

    def model():
        return nn.Sequential(
            nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3, stride=2),
            nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3),
        )  # fmt: skip

    check(device, model, OPTIMIZERS["adamw"], inputs, targets, 12, 3)


class Classifier(nn.Module):
    """Embeddings, one block of a transformer, and the mean over the sequence."""

    def __init__(self):
        self.embedding = nn.Embedding(13, 16)
        self.block = nn.TransformerEncoderLayer(16, 4, 24, dropout=0.1, batch_first=True)
        self.head = nn.Linear(16, 3)

    def forward(self, tokens):
        return self.head(self.block(self.embedding(tokens)).mean(axis=1))


@pytest.mark.gpu
def test_transformer(device):
    rng = np.random.default_rng(7)
    targets = rng.integers(0, 3, 10)
    tokens = rng.integers(0, 13, (10, 6))
    tokens[:, 2] = targets  # the class is one of the tokens
    check(device, Classifier, OPTIMIZERS["adamw"], tokens, targets, 12, 3)


@pytest.mark.slow
@pytest.mark.parametrize("schedule", [{}, {"schedule": "random", "seed": 3}, {"schedule": "reverse", "late": False}])
def test_checked_runs_report_nothing_and_change_no_bit(schedule):
    """Every access of every kernel of a training step is checked: no race, nothing uninitialised, nothing outside."""
    inputs, targets = blobs(np.random.default_rng(8), 40, 20, 5)

    def model():
        return nn.Sequential(nn.Linear(20, 33), nn.LayerNorm(33), nn.GELU(), nn.Dropout(0.2), nn.Linear(33, 5))

    expected = losses(model, OPTIMIZERS["adamw"], inputs, targets, "emulated", 3)
    with emulator.settings(checked=True, **schedule):
        got = losses(model, OPTIMIZERS["adamw"], inputs, targets, "emulated", 3)
    np.testing.assert_array_equal(got, expected)
