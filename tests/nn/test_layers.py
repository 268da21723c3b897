"""Layers against PyTorch's, with its weights loaded by name: values and gradients on random configurations."""

import numpy as np
import pytest

from peer import compare, torch
from weft import nn

SEEDS = range(6)
tnn = torch.nn


def random(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def pick(rng, *choices):
    return choices[rng.integers(len(choices))]


def both(name, *args, **kwargs):
    return getattr(nn, name)(*args, **kwargs), getattr(tnn, name)(*args, **kwargs)


def start(seed, name):
    torch.manual_seed(seed)
    return np.random.default_rng([seed, *name.encode()])


@pytest.mark.parametrize("seed", SEEDS)
def test_linear(seed):
    rng = start(seed, "linear")
    i, o = (int(n) for n in rng.integers(1, 40, 2))
    lead = pick(rng, (5,), (2, 3), (), (4, 1, 2))
    compare(*both("Linear", i, o, bias=bool(rng.integers(2))), [random(rng, *lead, i)])


@pytest.mark.parametrize("seed", SEEDS)
def test_bilinear(seed):
    rng = start(seed, "bilinear")
    i, j, o = (int(n) for n in rng.integers(1, 8, 3))
    compare(*both("Bilinear", i, j, o, bias=bool(seed % 2)), [random(rng, 5, i), random(rng, 5, j)])


@pytest.mark.parametrize("seed", range(12))
def test_conv2d(seed):
    rng = start(seed, "conv2d")
    groups = pick(rng, 1, 1, 2, 3)
    c, o = groups * int(rng.integers(1, 5)), groups * int(rng.integers(1, 6))
    kernel = pick(rng, 1, 3, (3, 2), (1, 5), 5)
    stride = pick(rng, 1, 2, (2, 1), 3)
    padding = pick(rng, 0, 1, (2, 1), "valid", *(["same"] if stride == 1 else []))
    mode = pick(rng, "zeros", "zeros", "reflect", "replicate", "circular")
    layers = both(
        "Conv2d", c, o, kernel, stride, padding, pick(rng, 1, 1, 2, (1, 2)), groups, bool(rng.integers(2)), mode
    )
    lead = pick(rng, (3,), (2,), ())
    compare(*layers, [random(rng, *lead, c, int(rng.integers(9, 15)), int(rng.integers(9, 15)))])


@pytest.mark.parametrize("seed", SEEDS)
def test_conv1d(seed):
    rng = start(seed, "conv1d")
    groups = pick(rng, 1, 2)
    c, o = groups * int(rng.integers(1, 5)), groups * int(rng.integers(1, 6))
    stride = pick(rng, 1, 2)
    padding = pick(rng, 0, 2, "valid", *(["same"] if stride == 1 else []))
    mode = pick(rng, "zeros", "reflect", "circular")
    layers = both("Conv1d", c, o, pick(rng, 1, 3, 4), stride, padding, pick(rng, 1, 2), groups, bool(seed % 2), mode)
    compare(*layers, [random(rng, *pick(rng, (3,), ()), c, 16)])


@pytest.mark.parametrize("seed", range(8))
def test_max_pool2d(seed):
    rng = start(seed, "max_pool2d")
    kernel = pick(rng, 2, 3, (3, 2))
    layers = both(
        "MaxPool2d",
        kernel,
        pick(rng, None, 1, 2, (2, 3)),
        pick(rng, 0, 1),
        pick(rng, 1, 1, 2),
        ceil_mode=bool(rng.integers(2)),
    )
    compare(*layers, [random(rng, *pick(rng, (2,), ()), 3, int(rng.integers(7, 13)), int(rng.integers(7, 13)))])


@pytest.mark.parametrize("seed", range(8))
def test_avg_pool2d(seed):
    rng = start(seed, "avg_pool2d")
    layers = both(
        "AvgPool2d",
        pick(rng, 2, 3, (3, 2)),
        pick(rng, None, 1, 2, (2, 3)),
        pick(rng, 0, 1),
        bool(rng.integers(2)),
        bool(rng.integers(2)),
    )
    compare(*layers, [random(rng, *pick(rng, (2,), ()), 3, int(rng.integers(7, 13)), int(rng.integers(7, 13)))])


@pytest.mark.parametrize("size", [1, 3, (2, 5), (None, 4), 7, (1, None)])
def test_adaptive_avg_pool2d(size):
    rng = start(0, "adaptive")
    compare(*both("AdaptiveAvgPool2d", size), [random(rng, 2, 3, 9, 12)])


@pytest.mark.parametrize("seed", range(10))
def test_batch_norm(seed):
    rng = start(seed, "batch_norm")
    name, shape = pick(rng, ("BatchNorm2d", (4, 3, 5)), ("BatchNorm1d", ()), ("BatchNorm1d", (7,)))
    options = {
        "momentum": pick(rng, 0.1, 0.4, None),
        "eps": pick(rng, 1e-5, 1e-2),
        "affine": bool(rng.integers(3)),
        "track_running_stats": bool(rng.integers(3)),
    }
    shape = (6, 5, *shape[1:]) if name == "BatchNorm2d" else (6, 5, *shape)
    layers = both(name, 5, **options)
    if options["affine"]:
        with torch.no_grad():
            layers[1].weight.copy_(torch.tensor(random(rng, 5)))
            layers[1].bias.copy_(torch.tensor(random(rng, 5)))
    compare(*layers, [2 * random(rng, *shape) + 1], steps=3)
    for layer in layers:
        layer.eval()
        layer.zero_grad()
    compare(*layers, [random(rng, *shape)])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", ["LayerNorm", "RMSNorm"])
def test_row_norms(name, seed):
    rng = start(seed, name)
    shape = pick(rng, 7, (7,), (4, 7), (3, 4, 7))
    options = {"eps": pick(rng, 1e-5, 1e-3), "elementwise_affine": seed != 1}
    if name == "LayerNorm":
        options["bias"] = seed != 2
    elif seed == 3:
        options["eps"] = None
    layers = both(name, shape, **options)
    with torch.no_grad():
        for p in layers[1].parameters():
            p.copy_(torch.tensor(random(rng, *p.shape)))
    compare(*layers, [3 * random(rng, 5, 3, 4, 7) + 1])


@pytest.mark.parametrize("seed", SEEDS)
def test_group_norm(seed):
    rng = start(seed, "group_norm")
    groups = pick(rng, 1, 2, 3, 6)
    layers = both("GroupNorm", groups, 6, pick(rng, 1e-5, 1e-2), seed != 0)
    with torch.no_grad():
        for p in layers[1].parameters():
            p.copy_(torch.tensor(random(rng, 6)))
    compare(*layers, [random(rng, 3, 6, *pick(rng, (4,), (3, 5), (2, 3, 2)))])


@pytest.mark.parametrize("seed", SEEDS)
def test_embedding(seed):
    rng = start(seed, "embedding")
    layers = both("Embedding", 11, int(rng.integers(1, 9)), padding_idx=pick(rng, None, 0, -1))
    compare(*layers, [rng.integers(0, 11, pick(rng, (5,), (3, 4), ()))])


ACTIVATIONS = [
    *[("ReLU", {}), ("ReLU6", {}), ("LeakyReLU", {"negative_slope": 0.2}), ("ELU", {"alpha": 0.7}), ("SELU", {})],
    *[("CELU", {"alpha": 1.3}), ("GELU", {}), ("GELU", {"approximate": "tanh"}), ("SiLU", {}), ("Mish", {})],
    *[("Hardswish", {}), ("Hardtanh", {"min_val": -0.5, "max_val": 2.0}), ("Hardsigmoid", {}), ("Sigmoid", {})],
    *[("LogSigmoid", {}), ("Tanh", {}), ("Softplus", {"beta": 2.0, "threshold": 3.0}), ("Softsign", {})],
    *[("GLU", {"dim": 1}), ("Softmax", {"dim": 0}), ("Softmax", {"dim": -1}), ("LogSoftmax", {"dim": 1})],
    *[("PReLU", {}), ("PReLU", {"num_parameters": 4, "init": 0.3})],
]


@pytest.mark.parametrize("name, options", ACTIVATIONS, ids=str)
def test_activations(name, options):
    for seed in range(5):
        rng = start(seed, name)
        scale = 10.0 ** (seed - 2)
        compare(*both(name, **options), [scale * random(rng, 5, 4, 6)])


@pytest.mark.parametrize("dims", [(1, -1), (0, -1), (1, 2), (2, 3), (-2, -1)])
def test_flatten_and_unflatten(dims):
    rng = start(0, "flatten")
    compare(*both("Flatten", *dims), [random(rng, 2, 3, 4, 5)])
    compare(*both("Unflatten", pick(rng, 1, -3), (2, -1)), [random(rng, 3, 4, 2, 5)])


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_dropout_keeps_its_share_and_its_mean(p):
    import weft

    weft.random.seed(3)  # a share of 10,000
    x = weft.Tensor(np.ones((100, 100), np.float32), requires_grad=True)
    layer = nn.Dropout(p)
    out = layer(x)
    kept = out.numpy() != 0
    assert abs(kept.mean() - (1 - p)) < 0.02
    if p < 1:
        np.testing.assert_allclose(out.numpy()[kept], 1 / (1 - p), rtol=1e-6)
    out.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), out.numpy())
    assert layer.eval()(x) is x


def test_a_network_of_many_layers():
    rng = start(0, "network")

    def build(m):
        return m.Sequential(
            m.Conv2d(3, 8, 3, padding=1, bias=False), m.BatchNorm2d(8), m.ReLU(), m.MaxPool2d(2),
            m.Conv2d(8, 12, 3, stride=2), m.GroupNorm(3, 12), m.GELU(), m.AdaptiveAvgPool2d(2),
            m.Flatten(), m.Linear(48, 20), m.LayerNorm(20), m.SiLU(), m.Linear(20, 5), m.LogSoftmax(dim=1),
        )  # fmt: skip

    compare(build(nn), build(tnn), [random(rng, 4, 3, 16, 16)])
