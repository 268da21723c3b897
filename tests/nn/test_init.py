"""Initialisers: distributions, reproducibility, and what they refuse."""

import math

import numpy as np
import pytest

import weft
from peer import torch
from weft import nn
from weft.nn import init

SHAPE = (200, 50, 3, 3)


def empty(shape=SHAPE, dtype=np.float32):
    return nn.Parameter(np.full(shape, np.nan, dtype))


RANDOM = [
    *[("uniform_", {"a": -2.0, "b": 3.0}), ("normal_", {"mean": 1.0, "std": 0.5}), ("xavier_uniform_", {"gain": 2.0})],
    *[("xavier_normal_", {}), ("kaiming_uniform_", {"a": math.sqrt(5)}), ("kaiming_normal_", {"mode": "fan_out"})],
    *[("kaiming_normal_", {"nonlinearity": "relu"}), ("trunc_normal_", {"std": 2.0})],
    ("trunc_normal_", {"a": 1.0, "b": 1.5}),
]  # fmt: skip


@pytest.mark.parametrize("name, options", RANDOM, ids=str)
def test_distribution_is_pytorchs(name, options):
    torch.manual_seed(0)
    ours = getattr(init, name)(empty(), **options, generator=weft.random.Generator(3)).data
    theirs = getattr(torch.nn.init, name)(torch.empty(SHAPE), **options).numpy()
    spread = theirs.std()
    assert abs(ours.mean() - theirs.mean()) < 0.02 * spread
    for q in (0.0, 0.01, 0.25, 0.5, 0.75, 0.99, 1.0):
        slack = 1.0 if q in (0, 1) and "normal" in name and "trunc" not in name else 0.04
        assert abs(np.quantile(ours, q) - np.quantile(theirs, q)) < slack * spread, q


def test_layers_start_as_pytorchs():
    torch.manual_seed(0)
    weft.random.seed(0)
    makers = [
        lambda m: m.Linear(300, 200), lambda m: m.Conv2d(30, 40, 5, groups=2), lambda m: m.Conv1d(60, 40, 5),
        lambda m: m.Embedding(500, 40), lambda m: m.LSTM(60, 70), lambda m: m.GRU(60, 70, 2), lambda m: m.RNN(60, 70),
        lambda m: m.MultiheadAttention(60, 3),
        lambda m: m.MultiheadAttention(60, 3, kdim=30, add_bias_kv=True),
        lambda m: m.BatchNorm2d(50), lambda m: m.LayerNorm(50),
        lambda m: m.Transformer(32, 2, 1, 1, 64, batch_first=True),
        lambda m: m.PReLU(3), lambda m: m.Bilinear(20, 30, 10),
    ]  # fmt: skip
    for make in makers:
        ours, theirs = make(nn).state_dict(), make(torch.nn).state_dict()
        for name, b in theirs.items():
            a, b = ours[name], b.numpy()
            assert a.shape == b.shape and a.dtype == b.dtype
            if b.size < 100 or b.std() == 0:
                assert a.std() == pytest.approx(b.std(), rel=1, abs=1e-7) and abs(a.mean() - b.mean()) <= b.std() + 1e-7
                continue
            assert a.std() == pytest.approx(b.std(), rel=0.2), name
            assert np.abs(a).max() == pytest.approx(np.abs(b).max(), rel=0.3), name


def test_a_seed_gives_the_same_numbers():
    for name, options in RANDOM:
        a, b = (getattr(init, name)(empty(), **options, generator=weft.random.Generator(5)).data for _ in range(2))
        np.testing.assert_array_equal(a, b)
    weft.random.seed(1)
    a = nn.Linear(3, 4).state_dict()
    weft.random.seed(1)
    np.testing.assert_array_equal(nn.Linear(3, 4).state_dict()["weight"], a["weight"])


@pytest.mark.parametrize("shape", [(4, 4), (3, 8), (9, 2), (6, 2, 3)])
def test_orthogonal(shape):
    w = init.orthogonal_(empty(shape, np.float64), gain=2.0).data.reshape(shape[0], -1)
    gram = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
    np.testing.assert_allclose(gram, 4 * np.eye(len(gram)), atol=1e-9)


def test_fixed_values():
    assert (init.zeros_(empty((2, 3))).data == 0).all()
    assert (init.ones_(empty((2, 3))).data == 1).all()
    assert (init.constant_(empty((2, 3)), 0.5).data == 0.5).all()
    np.testing.assert_array_equal(init.eye_(empty((2, 3))).data, np.eye(2, 3))
    for shape, groups in (((4, 2, 3), 2), ((3, 3, 3, 3), 1), ((2, 4, 5), 1)):
        theirs = torch.nn.init.dirac_(torch.empty(shape), groups).numpy()
        np.testing.assert_array_equal(init.dirac_(empty(shape), groups).data, theirs)


@pytest.mark.parametrize("nonlinearity", ["linear", "relu", "leaky_relu", "tanh", "sigmoid", "selu"])
def test_gains(nonlinearity):
    assert init.calculate_gain(nonlinearity) == pytest.approx(torch.nn.init.calculate_gain(nonlinearity))


def test_refusals():
    with pytest.raises(ValueError, match=r"init: expected a tensor of at least 2 dimensions, got shape \(3,\)"):
        init.xavier_uniform_(empty((3,)))
    with pytest.raises(ValueError, match="expected mode fan_in or fan_out"):
        init.kaiming_normal_(empty((3, 3)), mode="fan")
    with pytest.raises(ValueError, match="expected one of leaky_relu"):
        init.kaiming_normal_(empty((3, 3)), nonlinearity="swoosh")
    with pytest.raises(ValueError, match="trunc_normal_: expected a < b"):
        init.trunc_normal_(empty((3, 3)), a=1, b=1)
