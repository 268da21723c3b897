"""Dropouts: whose masks PyTorch cannot share, so that their shapes, shares and moments are what is checked."""

import numpy as np
import pytest

import weft
from peer import torch
from policy import needs
from weft import nn
from weft.nn import functional as F
from weft.testing import gradcheck, gradgradcheck

SHAPES = {"Dropout1d": [(50, 40, 3), (2000, 3)], "Dropout2d": [(50, 40, 3, 2), (50, 40, 3)],
          "Dropout3d": [(50, 40, 2, 1, 2), (2000, 2, 1, 2)]}  # fmt: skip


@pytest.mark.filterwarnings("ignore:dropout2d")
@pytest.mark.parametrize("p", [0.1, 0.3, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("name", SHAPES)
def test_whole_channels_fall(name, p):
    weft.random.seed(1)  # shares of 2000 channels
    for shape in SHAPES[name]:
        x = weft.Tensor(np.ones(shape, np.float32), True)
        out = getattr(nn, name)(p)(x)
        channels = out.numpy().reshape(2000, -1)
        assert (channels == channels[:, :1]).all()
        kept = channels[:, 0] != 0
        assert abs(kept.mean() - (1 - p)) < 0.05
        np.testing.assert_allclose(channels[kept], 1 / (1 - p) if p < 1 else 0, rtol=1e-6)
        out.sum().backward()
        np.testing.assert_array_equal(x.grad.numpy(), out.numpy())
        ones = torch.ones(shape)
        assert (getattr(torch.nn, name)(p)(ones).reshape(2000, -1).std(1, correction=0) == 0).all()  # so does PyTorch's


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("name", ["AlphaDropout", "FeatureAlphaDropout"])
def test_mean_and_variance_stay(name, p):
    """PyTorch's two values for an input of 0: kept, and dropped; and the moments of a normal input."""
    weft.random.seed(int(10 * p))
    torch.manual_seed(0)
    zeros = np.zeros((200, 100), np.float32)
    ours = getattr(nn, name)(p)(weft.asarray(zeros)).numpy()
    theirs = getattr(torch.nn, name)(p)(torch.tensor(zeros)).numpy()
    np.testing.assert_allclose(np.unique(ours), np.unique(theirs), rtol=1e-5, atol=1e-6)
    assert abs((ours == ours.min()).mean() - (p if p < 1 else 1)) < 0.02
    if p < 1:
        x = np.random.default_rng(0).standard_normal((300, 100)).astype(np.float32)
        out = getattr(nn, name)(p)(weft.asarray(x)).numpy()
        assert abs(out.mean()) < 0.05 and abs(out.var() - 1) < 0.1


@pytest.mark.parametrize("p", [0.0, 0.25, 0.5, 0.9, 1.0])
def test_drop_path(p):
    weft.random.seed(2)  # shares of 2000 rows
    x = weft.Tensor(np.ones((2000, 2, 3), np.float32), True)
    for scale in (True, False):
        rows = nn.DropPath(p, scale)(x).numpy().reshape(2000, -1)
        assert (rows == rows[:, :1]).all()
        kept = rows[:, 0] != 0
        assert abs(kept.mean() - (1 - p)) < 0.05
        np.testing.assert_allclose(rows[kept], 1 / (1 - p) if scale and p < 1 else 1, rtol=1e-6)


@pytest.mark.parametrize("name", [*SHAPES, "AlphaDropout", "FeatureAlphaDropout", "DropPath", "Dropout"])
def test_eval_mode_gives_the_input_back(name):
    layer = getattr(nn, name)(0.5).eval()
    x = weft.ones(SHAPES.get(name, [(4, 3, 2)])[0])
    assert layer(x) is x
    with pytest.raises(ValueError, match=rf"{name}: expected (p|drop_prob) in \[0, 1\], got 1.5"):
        getattr(nn, name)(1.5)


@pytest.mark.parametrize("function", [F.dropout1d, F.alpha_dropout, F.feature_alpha_dropout, F.drop_path])
def test_gradients_of_one_mask(function):
    def seeded(x):
        weft.random.seed(3)
        return function(x, 0.4, True)

    x = np.random.default_rng(0).standard_normal((4, 3, 2))
    gradcheck(seeded, [x])
    gradgradcheck(lambda x: seeded(x) ** 3, [x])


@needs("emulator")
@pytest.mark.gpu
@pytest.mark.parametrize("function", [F.dropout1d, F.alpha_dropout, F.drop_path])
def test_on_a_device(function, device):
    x = np.random.default_rng(0).standard_normal((4, 3, 2)).astype(np.float32)
    out = []
    for at in ("cpu", device):
        weft.random.seed(5)
        out.append(function(weft.asarray(x, device=at), 0.4, True))
    assert out[1].device == device
    np.testing.assert_allclose(out[1].numpy(), out[0].numpy(), rtol=1e-6, atol=1e-6)
