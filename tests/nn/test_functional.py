"""Functions that no layer stands for, against PyTorch's."""

import numpy as np
import pytest

import weft
from peer import close, pair, torch
from weft.nn import functional as F

TF = torch.nn.functional


def random(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def same(name, *arrays, **options):
    """Value and gradients of `name` in both, for the sum of its result times fixed numbers."""
    pairs = [pair(a) for a in arrays]
    ours, theirs = (getattr(f, name)(*[p[i] for p in pairs], **options) for i, f in enumerate((F, TF)))
    close(ours, theirs, name)
    g = random(99, *theirs.shape)
    (ours * g).sum().backward()
    (theirs * torch.tensor(g)).sum().backward()
    for k, (a, b) in enumerate(pairs):
        if b.grad is not None:
            close(a.grad, b.grad, f"gradient {k} of {name}")


@pytest.mark.parametrize("pad", [(1, 2), (0, 0, 2, 1), (-1, 2), (2, 2, 1, 0, 0, 1), (1, -2, -1, 0)])
def test_pad(pad):
    same("pad", random(0, 3, 4, 5), pad=pad, value=0.5)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize("pad", [(1, 2), (3, 0, 2, 1)])
def test_pad_modes(mode, pad):
    same("pad", random(0, 2, 3, 4, 5)[:, :, :, :] if len(pad) == 4 else random(0, 2, 3, 5), pad=pad, mode=mode)


@pytest.mark.parametrize("p, dim", [(2.0, 1), (2.0, -1), (1.0, 0), (3.0, 1)])
def test_normalize(p, dim):
    same("normalize", random(1, 4, 5), p=p, dim=dim)


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_cosine_similarity(dim):
    same("cosine_similarity", random(1, 4, 5), random(2, 4, 5), dim=dim)


def test_one_hot():
    labels = np.array([[0, 3], [2, 1]])
    np.testing.assert_array_equal(F.one_hot(labels).numpy(), TF.one_hot(torch.tensor(labels)).numpy())
    np.testing.assert_array_equal(
        F.one_hot(weft.asarray(labels), 6).numpy(), TF.one_hot(torch.tensor(labels), 6).numpy()
    )
    with pytest.raises(IndexError, match=r"\[0, 3\)"):
        F.one_hot(labels, 3)


@pytest.mark.parametrize("seed", range(5))
def test_scaled_dot_product_attention(seed):
    options = [{}, {"is_causal": True}, {"scale": 0.3}, {}, {"enable_gqa": True}][seed]
    H, heads = 4, 2 if seed == 4 else 4
    arrays = [random(1, 2, H, 5, 3), random(2, 2, heads, 6, 3), random(3, 2, heads, 6, 7)]
    if seed == 3:
        options["attn_mask"] = None
        pairs = [pair(a) for a in arrays]
        mask = np.random.default_rng(0).random((5, 6)) < 0.7
        mask[:, 0] = True
        close(
            F.scaled_dot_product_attention(*[p[0] for p in pairs], attn_mask=mask),
            TF.scaled_dot_product_attention(*[p[1] for p in pairs], attn_mask=torch.tensor(mask)),
            "masked",
        )
        return
    same("scaled_dot_product_attention", *arrays, **options)


def test_errors():
    with pytest.raises(ValueError, match="softmax: expected dim"):
        F.softmax(weft.ones((2, 3)))
    with pytest.raises(ValueError, match=r"conv1d: expected input \(N, 3, L\).*\(N, L, C\)"):
        F.conv1d(weft.ones((2, 8, 3)), weft.ones((4, 3, 2)))
    with pytest.raises(ValueError, match="reflect padding"):
        F.pad(weft.ones((1, 1, 3)), (3, 0), mode="reflect")
    with pytest.raises(ValueError, match=r"prelu: expected weight \(1,\) or \(3,\)"):
        F.prelu(weft.ones((2, 3)), weft.ones((2,)))
    with pytest.raises(ValueError, match="flatten: expected an input with dimensions 1 to -1, got shape"):
        F.flatten(weft.ones((3,)), 1)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(3, 5), (9, 4), (14, 17), (1, 1), (6, 8)])
def test_interpolate_with_antialias(mode, size):
    for align_corners in (False, True):
        same("interpolate", random(0, 2, 3, 6, 8), size=size, mode=mode, align_corners=align_corners, antialias=True)


@pytest.mark.parametrize("p, eps", [(2.0, 1e-6), (1.0, 0.0), (3.0, 1e-3), (0.5, 1e-6), (float("inf"), 1e-6)])
def test_pairwise_distance(p, eps):
    same("pairwise_distance", random(1, 4, 5), random(2, 4, 5), p=p, eps=eps)
    same("pairwise_distance", random(1, 2, 4, 5), random(2, 5), p=p, eps=eps, keepdim=True)


@pytest.mark.parametrize("name", ["relu", "relu6", "selu", "silu", "mish", "hardswish", "hardsigmoid", "elu", "celu"])
def test_inplace_is_taken_and_the_input_left(name):
    x = random(0, 3, 4)
    ours = weft.asarray(x.copy())
    close(getattr(F, name)(input=ours, inplace=True), getattr(TF, name)(torch.tensor(x)), name)
    np.testing.assert_array_equal(ours.numpy(), x)
