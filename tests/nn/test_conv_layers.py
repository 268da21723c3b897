"""Transposed and three-dimensional convolutions against PyTorch's: values, gradients and names, drawn at random."""

import numpy as np
import pytest

import weft
from nn.test_layers import both, pick, random, start
from peer import compare, torch
from weft import nn
from weft.nn import functional as F

SEEDS = range(10)


@pytest.mark.parametrize("seed", SEEDS)
def test_conv_transpose2d(seed):
    rng = start(seed, "conv_transpose2d")
    groups = pick(rng, 1, 1, 2, 3)
    c, o = groups * int(rng.integers(1, 5)), groups * int(rng.integers(1, 6))
    stride, dilation = pick(rng, 1, 2, (2, 1), 3), pick(rng, 1, 1, 2, (1, 3))
    least = [max(s, d) for s, d in zip(*(v if isinstance(v, tuple) else (v, v) for v in (stride, dilation)))]
    more = tuple(int(rng.integers(0, n)) for n in least)
    layers = both(
        "ConvTranspose2d", c, o, pick(rng, 1, 3, (3, 2), (1, 4)), stride, pick(rng, 0, 0, 1, (1, 0)), more, groups,
        bool(rng.integers(2)), dilation,
    )  # fmt: skip
    compare(*layers, [random(rng, *pick(rng, (3,), (2,), ()), c, int(rng.integers(4, 8)), int(rng.integers(4, 8)))])


@pytest.mark.parametrize("seed", SEEDS)
def test_conv_transpose1d(seed):
    rng = start(seed, "conv_transpose1d")
    groups, stride = pick(rng, 1, 2), pick(rng, 1, 2, 4)
    c, o = groups * int(rng.integers(1, 5)), groups * int(rng.integers(1, 6))
    layers = both(
        "ConvTranspose1d", c, o, pick(rng, 1, 3, 4), stride, pick(rng, 0, 1), int(rng.integers(0, stride)), groups,
        bool(seed % 2), pick(rng, 1, 2),
    )  # fmt: skip
    compare(*layers, [random(rng, *pick(rng, (3,), ()), c, 9)])


@pytest.mark.parametrize("seed", SEEDS)
def test_conv_transpose3d_layer(seed):
    rng = np.random.default_rng(seed)
    groups, stride = pick(rng, 1, 2), pick(rng, 1, 2, (2, 1, 3))
    c, o = groups * int(rng.integers(1, 4)), groups * int(rng.integers(1, 4))
    layers = both(
        "ConvTranspose3d", c, o, pick(rng, 1, 3, (3, 2, 1)), stride, pick(rng, 0, 0, (1, 0, 1)),
        tuple(int(rng.integers(0, s)) for s in (stride if isinstance(stride, tuple) else (stride,) * 3)), groups,
        bool(seed % 2), pick(rng, 1, 2),
    )  # fmt: skip
    compare(*layers, [random(rng, *pick(rng, (3,), (1,), ()), c, 4, 5, 3)])


@pytest.mark.parametrize("seed", SEEDS)
def test_conv3d(seed):
    rng = start(seed, "conv3d")
    groups = pick(rng, 1, 2)
    c, o = groups * int(rng.integers(1, 4)), groups * int(rng.integers(1, 5))
    stride = pick(rng, 1, 2, (2, 1, 3))
    padding = pick(rng, 0, 1, (2, 1, 0), "valid", *(["same"] if stride == 1 else []))
    mode = pick(rng, "zeros", "zeros", "replicate", "circular")
    layers = both(
        "Conv3d", c, o, pick(rng, 1, 3, (3, 2, 1), (2, 1, 3)), stride, padding, pick(rng, 1, 1, 2, (1, 2, 1)), groups,
        bool(rng.integers(2)), mode,
    )  # fmt: skip
    compare(*layers, [random(rng, *pick(rng, (2,), (1,), ()), c, *(int(n) for n in rng.integers(6, 9, 3)))])


@pytest.mark.parametrize("stride, padding, more, groups, dilation", [
    (1, 0, 0, 1, 1), (2, 1, 1, 1, 1), ((2, 1, 3), (0, 1, 2), (1, 0, 0), 2, 1), (2, 2, 1, 2, 3),
])  # fmt: skip
def test_conv_transpose3d(stride, padding, more, groups, dilation):
    rng = np.random.default_rng(3)
    arrays = [rng.standard_normal(shape) for shape in ((2, 4, 3, 4, 5), (4, 3, 2, 3, 2), (3 * groups,))]
    ours = [weft.Tensor(a, requires_grad=True) for a in arrays]
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
    out = F.conv_transpose3d(*ours, stride, padding, more, groups, dilation)
    expected = torch.nn.functional.conv_transpose3d(*theirs, stride, padding, more, groups, dilation)
    np.testing.assert_allclose(out.numpy(), expected.detach().numpy(), rtol=1e-10, atol=1e-10)
    (out * out).sum().backward()
    (expected * expected).sum().backward()
    for a, b in zip(ours, theirs):
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-10, atol=1e-8)


@pytest.mark.parametrize("size", [(9, 13), (10, 15), (2, 6, 10, 14)])
def test_the_size_of_a_transposed_convolution_can_be_asked_for(size):
    ours, theirs = both("ConvTranspose2d", 4, 6, 3, (2, 3), 1)
    theirs.load_state_dict({k: torch.from_numpy(v) for k, v in ours.state_dict().items()})
    x = random(np.random.default_rng(1), 2, 4, 5, 5)
    wanted = theirs(torch.from_numpy(x), output_size=size).detach().numpy()
    np.testing.assert_allclose(ours(weft.Tensor(x), output_size=size).numpy(), wanted, rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match=r"ConvTranspose2d: expected output_size from \(9, 13\) to .*got \(12, 13\)"):
        ours(weft.Tensor(x), output_size=(12, 13))


def test_layers_print_as_pytorch_prints_them():
    for args, options in (((3, 4, 2), {}), ((4, 6, (3, 2), 2, 1, 1, 2, False, 1), {}), ((3, 4, 2), {"dilation": 2})):
        for name in ("ConvTranspose2d",):
            ours, theirs = both(name, *args, **options)
            assert repr(ours) == repr(theirs)
    assert repr(nn.Conv3d(1, 2, 3)) == repr(torch.nn.Conv3d(1, 2, 3))


@pytest.mark.parametrize(
    "shapes, params, message",
    [
        (((2, 4, 8, 8), (3, 2, 3, 3)), {}, r"expected x with 3 channels .*got \(2, 4, 8, 8\)"),
        (((2, 4, 8, 8), (4, 2, 3, 3)), {"groups": 3}, "expected groups to divide 4 channels, got groups 3"),
        (((4, 8, 8), (4, 2, 3, 3)), {}, r"expected x \(N, C, H, W\), got \(4, 8, 8\)"),
        (((2, 4, 8, 8), (4, 2, 3, 3)), {"output_padding": 1}, "expected output_padding of at least 0, less than"),
        (((2, 4, 8, 8), (4, 2, 3, 3)), {"padding": "same"}, "expected padding in numbers, got 'same'"),
        (((2, 4, 1, 1), (4, 2, 1, 1)), {"padding": 1}, "expected a result of at least one pixel"),
        (((2, 4, 8, 8), (4, 2, 3, 3), (5,)), {}, r"expected bias \(2,\), got \(5,\)"),
    ],
)
def test_errors_name_the_cause(shapes, params, message):
    with pytest.raises(ValueError, match="conv_transpose2d: " + message):
        weft.conv_transpose2d(*(weft.Tensor(np.ones(s, np.float32)) for s in shapes), **params)


def test_errors_of_three_dimensions():
    x, w = weft.Tensor(np.ones((1, 2, 3, 4, 4), np.float32)), weft.Tensor(np.ones((2, 2, 3, 3, 3), np.float32))
    for bad, message in (({"dilation": 2}, "expected a volume of at least 5 planes"),
                         ({"stride": (1, 2)}, "expected stride to be an int or three ints"),
                         ({"padding": (1, 2)}, "expected padding of an int or of three"),
                         ({"padding": "same", "stride": 2}, "expected stride 1")):  # fmt: skip
        with pytest.raises(ValueError, match="conv3d: " + message):
            weft.conv3d(x, w, **bad)
