"""Weight and spectral normalisation against PyTorch's: names of the state, values, gradients, and taken off again."""

import copy

import numpy as np
import pytest

import weft
from peer import close, compare, torch
from policy import needs
from weft import nn

pytestmark = pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")

LAYERS = {
    "Linear": ((5, 4), (3, 5)), "Conv1d": ((4, 6, 3), (2, 4, 8)), "Conv2d": ((4, 6, 3, 1, 1, 1, 2), (2, 4, 6, 6)),
    "ConvTranspose1d": ((4, 6, 3, 2), (2, 4, 5)), "ConvTranspose2d": ((3, 4, 2), (2, 3, 5, 5)),
    "Embedding": ((7, 4), None), "Bilinear": ((3, 4, 2), (5, 3)),
}  # fmt: skip


def inputs_of(name, rng):
    if name == "Embedding":
        return [rng.integers(0, 7, (3, 2))]
    shape = LAYERS[name][1]
    second = [rng.standard_normal((5, 4)).astype(np.float32)] if name == "Bilinear" else []
    return [rng.standard_normal(shape).astype(np.float32), *second]


def both(name):
    return getattr(nn, name)(*LAYERS[name][0]), getattr(torch.nn, name)(*LAYERS[name][0])


@pytest.mark.parametrize("name", LAYERS)
def test_weight_norm(name):
    for seed, dim in enumerate((0, 1, None, -1, 0)):
        torch.manual_seed(seed)
        rng = np.random.default_rng(seed)
        ours, theirs = both(name)
        nn.utils.weight_norm(ours, dim=dim)
        torch.nn.utils.weight_norm(theirs, dim=dim)
        with torch.no_grad():
            theirs.weight_g.mul_(torch.rand_like(theirs.weight_g) + 0.5)
        compare(ours, theirs, inputs_of(name, rng))
        before = ours(*map(weft.asarray, inputs_of(name, rng))) if seed == 4 else None
        close(ours.weight, theirs.weight, "weight")
        nn.utils.remove_weight_norm(ours)
        torch.nn.utils.remove_weight_norm(theirs)
        assert list(ours.state_dict()) == list(theirs.state_dict())
        close(ours.weight, theirs.weight, "weight, put back")
        assert before is None or not ours._forward_pre_hooks


@pytest.mark.parametrize("name", LAYERS)
def test_spectral_norm(name):
    for seed in range(5):
        torch.manual_seed(seed)
        rng = np.random.default_rng(seed)
        options = {"n_power_iterations": 1 + seed % 2, "eps": [1e-12, 1e-3][seed % 2]}
        ours, theirs = both(name)
        nn.utils.spectral_norm(ours, **options)
        torch.nn.utils.spectral_norm(theirs, **options)
        compare(ours, theirs, inputs_of(name, rng), steps=2)
        for layer in (ours.eval(), theirs.eval()):
            layer.zero_grad()
        compare(ours, theirs, inputs_of(name, rng))
        nn.utils.remove_spectral_norm(ours)
        torch.nn.utils.remove_spectral_norm(theirs)
        close(ours.weight, theirs.weight, "weight, put back")


def test_the_largest_singular_value_becomes_one():
    layer = nn.Linear(6, 5)
    u, _, v = np.linalg.svd(np.random.default_rng().standard_normal((5, 6)), full_matrices=False)
    with weft.no_grad():  # where the largest stands out, or the iteration takes as long as it likes
        layer.weight[...] = (u * [3, 2, 1, 0.5, 0.1] @ v).astype("f")
    nn.utils.spectral_norm(layer)
    for _ in range(30):
        layer(weft.ones((1, 6)))
    assert np.linalg.svd(layer.weight.numpy(), compute_uv=False)[0] == pytest.approx(1, abs=1e-4)


def test_two_calls_before_one_backward():
    """As a discriminator sees real and false pictures: the second call may not spoil what the first has saved."""
    layer = nn.utils.spectral_norm(nn.Linear(4, 3))
    (layer(weft.ones((2, 4))).sum() + layer(weft.zeros((2, 4))).sum()).backward()
    assert layer.weight_orig.grad is not None


def test_of_recurrent_weights_and_a_copy():
    layer = nn.utils.weight_norm(nn.LSTM(3, 4), "weight_hh_l0")
    theirs = torch.nn.utils.weight_norm(torch.nn.LSTM(3, 4), "weight_hh_l0")
    assert sorted(layer.state_dict()) == sorted(theirs.state_dict())
    layer.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    x = np.random.default_rng(0).standard_normal((5, 2, 3)).astype(np.float32)
    close(layer(weft.asarray(x))[0], theirs(torch.tensor(x))[0], "output")
    with weft.no_grad():
        layer(weft.asarray(x))
    twin = copy.deepcopy(layer)
    twin.weight_hh_l0_g.assign(twin.weight_hh_l0_g.numpy() * 2)
    assert not np.allclose(twin(weft.asarray(x))[0].numpy(), layer(weft.asarray(x))[0].numpy())


@needs("emulator")
@pytest.mark.gpu
@pytest.mark.parametrize("norm", [nn.utils.weight_norm, nn.utils.spectral_norm])
def test_on_a_device(norm, device):
    layer = norm(nn.Linear(5, 3).to(device))
    x = weft.asarray(np.random.default_rng(0).standard_normal((4, 5)).astype(np.float32), device=device)
    out = layer(x)
    out.sum().backward()
    twin = nn.Linear(5, 3)
    twin.load_state_dict({"weight": layer.weight.numpy(), "bias": layer.bias.numpy()})
    np.testing.assert_allclose(out.numpy(), twin(weft.asarray(x.numpy())).numpy(), rtol=1e-5, atol=1e-5)


REFUSALS = [
    (lambda m: nn.utils.weight_norm(m, "kernel"), "expected one of the parameters weight, bias of .*got 'kernel'"),
    (lambda m: nn.utils.weight_norm(nn.utils.weight_norm(m)), "expected one of the parameters bias, weight_g"),
    (lambda m: nn.utils.weight_norm(m, dim=2), r"weight_norm: expected dim within \(3, 2\), got 2"),
    (lambda m: nn.utils.spectral_norm(m, dim=2), r"spectral_norm: expected dim within \(3, 2\), got 2"),
    (lambda m: nn.utils.remove_weight_norm(m), "remove_weight_norm: expected a module with weight_norm of 'weight'"),
    (lambda m: nn.utils.spectral_norm(m, n_power_iterations=0), "expected n_power_iterations >= 1, got 0"),
    (lambda m: nn.utils.remove_spectral_norm(m), "remove_spectral_norm: expected a module with spectral_norm"),
]  # fmt: skip


@pytest.mark.parametrize("call, message", REFUSALS, ids=[message for _, message in REFUSALS])
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call(nn.Linear(2, 3))
