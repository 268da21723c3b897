"""The layers of the table once more: derivatives of derivatives, and the emulated device beside the CPU."""

import numpy as np
import pytest

import weft
from nn.rows import Draw
from nn.test_names_layers import ROWS
from opcheck import many
from policy import needs
from weft import nn
from weft.testing import gradcheck, gradgradcheck

# What the kernels of one row stand for; the others are made of the same ones.
SPOTS = {"MaxPool1d", "ReflectionPad2d", "Upsample bicubic 2d", "Unfold", "Fold", "InstanceNorm2d",
         "LocalResponseNorm", "EmbeddingBag", "PixelShuffle"}  # fmt: skip


def drawn(name, seed, dtype):
    (positional, named), inputs = ROWS[name](Draw(name, seed))
    layer = getattr(nn, name.split()[0])(*positional, **named).to(dtype)
    rng = np.random.default_rng(seed)
    for parameter in layer.parameters():
        parameter.assign(rng.standard_normal(parameter.shape).astype(dtype))
    inputs = [x if x is None or x.dtype.kind != "f" else x.astype(dtype) for x in inputs]
    if "Pool" in name:  # no two values alike, so that differences do not step over a kink
        inputs = [0.1 * rng.permutation(x.size).reshape(x.shape).astype(dtype) + 0.1 for x in inputs]
    return layer, inputs


@pytest.mark.parametrize("name", ROWS)
def test_derivatives_of_derivatives(name):
    layer, inputs = drawn(name, 1, np.float64)
    layer.eval() if "Instance" in name else layer.train()  # statistics may not move between two evaluations
    if "BatchNorm" in name:
        layer.momentum = 0.0
    if getattr(layer, "max_norm", None):
        pytest.skip("scaling rows in place has no derivative")
    if inputs[0].dtype.kind != "f":

        def function(weight):
            layer.weight.assign(weight.data)
            if isinstance(layer, nn.Embedding):
                return nn.functional.embedding(inputs[0], weight, layer.padding_idx)
            rest = {"mode": layer.mode, "padding_idx": layer.padding_idx}
            return nn.functional.embedding_bag(
                *[inputs[0], weight, *inputs[1:2]], include_last_offset=layer.include_last_offset, **rest
            )

        gradcheck(function, [layer.weight.numpy().copy()])
        return
    names = [n for n, _ in layer.named_parameters()]

    def function(x, *weights):
        for n, w in zip(names, weights):
            object.__setattr__(layer, n, w)
        out = layer(x)
        return out[0] if isinstance(out, tuple) else out

    arrays = [*inputs, *[getattr(layer, n).numpy().copy() for n in names]]
    gradcheck(function, arrays, rtol=1e-5)
    gradgradcheck(function, arrays, rtol=1e-4)


@needs("emulator")
@pytest.mark.gpu
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in SPOTS else pytest.mark.slow) for n in ROWS], ids=list(ROWS)
)
def test_on_a_device(name, device):
    results = []
    for at in ("cpu", device):
        layer, inputs = drawn(name, 2, np.float32)
        layer = layer.to(at)
        given = [x if x is None else weft.Tensor(weft.asarray(x, device=at).data, x.dtype.kind == "f") for x in inputs]
        out = layer(*given)
        out = out if isinstance(out, tuple) else (out,)
        assert all(o.device == at for o in out)
        weights = np.random.default_rng(0).standard_normal(out[0].shape).astype(np.float32)
        if out[0].requires_grad:
            (out[0] * weft.asarray(weights, device=at)).sum().backward()
        leaves = [x for x in (*given, *layer.parameters()) if isinstance(x, weft.Tensor) and x.grad is not None]
        results.append([*many(out), *[x.grad.numpy() for x in leaves]])
    assert len(results[0]) == len(results[1])
    for ours, on_device in zip(*results):
        scale = max(np.abs(ours).max(initial=0), 1e-3)
        np.testing.assert_allclose(on_device, ours, rtol=0, atol=1e-5 * scale)
