"""Gradients of gradients through whole networks, as a gradient penalty needs them, against PyTorch's."""

import numpy as np
import pytest

import weft
from peer import close, load, pair, torch
from weft import autograd, nn

tnn = torch.nn

NETWORKS = {
    "dense": (lambda m: m.Sequential(m.Linear(6, 8), m.LayerNorm(8), m.GELU(), m.Linear(8, 1)), (4, 6)),
    "convolution": (
        lambda m: m.Sequential(m.Conv2d(2, 4, 3, padding=1), m.SiLU(), m.AvgPool2d(2), m.GroupNorm(2, 4), m.Flatten(),
                               m.Linear(36, 1)),
        (3, 2, 6, 6),
    ),
    "batch norm": (lambda m: m.Sequential(m.Linear(6, 8), m.BatchNorm1d(8), m.Tanh(), m.Linear(8, 1)), (5, 6)),
    "max pool": (
        lambda m: m.Sequential(m.Conv2d(2, 4, 3), m.MaxPool2d(2), m.Sigmoid(), m.Flatten(), m.Linear(16, 1)),
        (3, 2, 6, 6),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_gradient_penalty(name):
    torch.manual_seed(0)
    make, shape = NETWORKS[name]
    ours, theirs = make(nn).to(weft.float64), make(tnn).double()
    load(ours, theirs)
    x, reference = pair(np.random.default_rng(0).standard_normal(shape))
    gradient = autograd.grad(ours(x).sum(), x, create_graph=True)
    (expected,) = torch.autograd.grad(theirs(reference).sum(), reference, create_graph=True)
    close(gradient, expected, "gradient", 1e-9)
    penalty = ((gradient * gradient).sum() - 1.0) ** 2
    penalty.backward()
    (((expected * expected).sum() - 1) ** 2).backward()
    own = dict(ours.named_parameters())
    compared = 0
    for key, p in theirs.named_parameters():
        if p.grad is not None:
            close(own[key].grad if own[key].grad is not None else np.zeros(p.shape), p.grad, key, 1e-8)
            compared += 1
    assert compared >= 2
    close(x.grad, reference.grad, "input", 1e-8)


SEQUENCES = {
    "encoder": lambda: nn.TransformerEncoderLayer(6, 2, 8, 0.0),
    "lstm": lambda: nn.LSTM(6, 4),
    "attention": lambda: nn.MultiheadAttention(6, 2),
}


@pytest.mark.parametrize("make", SEQUENCES.values(), ids=SEQUENCES)
def test_second_order_of_sequence_layers_by_differences(make):
    weft.random.seed(0)
    layer = make().to(weft.float64)
    x = np.random.default_rng(0).standard_normal((4, 2, 6))

    def f(x):
        out = layer(x, x, x) if isinstance(layer, nn.MultiheadAttention) else layer(x)
        return out[0] if isinstance(out, tuple) else out

    weft.testing.gradgradcheck(f, [x])
