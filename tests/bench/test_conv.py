"""`weft bench conv`: every pass is timed on what it takes, checked against float64, named when it is wrong."""

from __future__ import annotations

import numpy as np
import pytest

from weft.bench import conv
from weft.cli import main

SMALL = [conv.Layer(d, 2, 5, 9, 6, k, s, "f32", 3) for d in conv.PASSES for k, s in ((1, 1), (3, 1), (3, 2), (7, 2))]


@pytest.mark.parametrize("layer", SMALL, ids=str)
def test_every_pass_is_measured(layer):
    row = conv.measured(layer, "cpu", 0.001)
    assert "weft" in row["times"] and row["errors"]["weft"] < 1e-5
    assert "TFLOP/s" in conv.line(row) and str(layer) in conv.line(row)


@pytest.mark.parametrize("layer", SMALL, ids=str)
def test_peers_compute_the_same(layer):
    torch = pytest.importorskip("torch")
    a, b = layer.operands(np.random.default_rng())
    theirs = conv.torch_call(layer, torch.from_numpy(a), torch.from_numpy(b))()
    if isinstance(theirs, tuple):
        (theirs,) = [t for t in theirs if t is not None]
    np.testing.assert_allclose(layer.call(a, b), theirs.numpy(), rtol=1e-4, atol=1e-4)


def test_the_error_sees_a_wrong_value():
    for layer in SMALL:
        a, b = layer.operands(np.random.default_rng(0))
        right = np.array(layer.call(a, b))
        assert conv.error_of(layer, right, a, b) < 1e-5
        right[1, 2] += 0.1 * np.abs(right).max()
        assert conv.error_of(layer, right, a, b) > 1e-2


def test_a_wrong_result_stops_the_benchmark(monkeypatch):
    monkeypatch.setattr(conv, "error_of", lambda *_: 1.0)
    with pytest.raises(ArithmeticError, match="conv: forward 1x1 5-6 at 9 f32: expected an error below"):
        conv.measured(SMALL[0], "cpu", 0.001)


def test_the_layers_are_those_of_the_network():
    """53 convolutions, 4.09 billion multiply-adds an image with the last layer's, which is no convolution."""
    forward = [layer for layer in conv.layers(1, "f32") if layer.direction == "forward"]
    assert sum(layer.times for layer in forward) == 53
    products = sum(layer.times * layer.flops for layer in forward) / 2 + 2048 * 1000
    assert 4.08e9 < products < 4.1e9
    assert len(list(conv.layers(1, "f32"))) == 3 * 23 - 1


def test_the_command_prints_and_keeps_a_table(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(conv, "cpu_layers", lambda: iter(SMALL))
    assert (
        main(["bench", "conv", "--device", "cpu", "--seconds", "0.001", "--match", "3x3", "--out", str(tmp_path)]) == 0
    )
    said = capsys.readouterr().out
    assert "forward 3x3 5-6 at 9 f32" in said and "7x7" not in said and "a network" in said
    assert len(list(tmp_path.glob("conv-*.json"))) == 1
