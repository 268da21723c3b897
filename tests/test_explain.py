"""weft.explain: each map against what defines it, on models whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

import weft
from weft import explain, nn


@pytest.fixture
def rng():
    return np.random.default_rng()


def linear(rng, inputs=12, classes=3):
    weight = rng.standard_normal((classes, inputs)).astype("f")
    model = nn.Sequential(nn.Flatten(), nn.Linear(inputs, classes))
    with weft.no_grad():
        model[1].weight[...] = weft.asarray(weight)
    return model, weight


def smooth(classes=3):
    return nn.Sequential(
        nn.Conv2d(2, 5, 3, padding=1), nn.Tanh(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(5 * 6 * 7, classes)
    )


def test_saliency_of_a_linear_model_is_the_size_of_its_weights(rng):
    model, weight = linear(rng)
    x = rng.standard_normal((4, 1, 3, 4)).astype("f")
    got = explain.saliency(model, x, target=[0, 2, 1, 2]).numpy()
    np.testing.assert_allclose(got.reshape(4, -1), np.abs(weight[[0, 2, 1, 2]]), rtol=1e-6)


def test_the_target_is_the_answer_by_default(rng):
    model, weight = linear(rng)
    x = weft.asarray(rng.standard_normal((5, 1, 3, 4)).astype("f"))
    answer = model(x).numpy().argmax(1)
    np.testing.assert_array_equal(explain.saliency(model, x).numpy(), explain.saliency(model, x, answer).numpy())


@pytest.mark.parametrize("baseline", ["zero", "number", "array"])
def test_integrated_gradients_are_complete(rng, baseline):
    model = smooth()
    x = weft.asarray(rng.standard_normal((3, 2, 6, 7)).astype("f"))
    start = {"zero": 0.0, "number": 0.5, "array": weft.asarray(rng.standard_normal((2, 6, 7)).astype("f"))}[baseline]
    parts = explain.integrated_gradients(model, x, target=1, baseline=start, steps=32)
    model.eval()
    gap = parts.sum(axis=(1, 2, 3)) - (model(x) - model(0 * x + start))[:, 1]
    assert np.abs(gap.numpy()).max() < 1e-5
    # One step is not enough: the test can fail.
    rough = explain.integrated_gradients(model, x, target=1, baseline=start, steps=1)
    assert np.abs((rough - parts).sum(axis=(1, 2, 3)).numpy()).max() > 1e-4


def test_integrated_gradients_of_what_plays_no_part_are_zero(rng):
    model, _ = linear(rng)
    with weft.no_grad():
        model[1].weight[:, 5] = 0.0
    parts = explain.integrated_gradients(model, rng.standard_normal((2, 1, 3, 4)).astype("f"), target=0)
    assert (parts.numpy().reshape(2, -1)[:, 5] == 0).all() and (parts.numpy().reshape(2, -1)[:, 4] != 0).all()


def test_grad_cam_is_the_weighted_sum_of_channels(rng):
    model = nn.Sequential(nn.Conv2d(2, 5, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(5 * 3 * 4, 3))
    x = weft.asarray(rng.standard_normal((3, 2, 6, 8)).astype("f"))
    seen = model[1](model[0](x)).numpy().astype("d")  # (N, 5, 3, 4)
    weights = model[3].weight.numpy()[2].reshape(5, 3, 4).mean(axis=(1, 2))
    heat = (seen * weights[:, None, None]).sum(axis=1)
    if heat.max() <= 0:  # every channel speaks against the target, as in one model of nine: turn that round
        with weft.no_grad():
            model[3].weight[2] = -model[3].weight[2]
        heat = -heat
    heat = np.maximum(heat, 0)
    got = explain.grad_cam(model, x, "1", target=2).numpy()
    expected = nn.functional.interpolate(weft.asarray(heat[:, None]), size=(6, 8), mode="bilinear").numpy()[:, 0]
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    assert got.max() > 0
    np.testing.assert_array_equal(explain.grad_cam(model, x, model[1], target=2).numpy(), got)


def test_occlusion_of_a_linear_model_is_what_the_square_held(rng):
    model, weight = linear(rng)
    x = rng.standard_normal((2, 1, 3, 4)).astype("f")
    got = explain.occlusion(model, x, target=1, window=1).numpy()
    np.testing.assert_allclose(got, (x * weight[1].reshape(1, 3, 4))[:, 0], rtol=1e-4, atol=1e-5)
    whole = explain.occlusion(model, x, target=1, window=3, stride=2, value=0.0).numpy()
    parts = (x * weight[1].reshape(1, 3, 4))[:, 0]
    left, right = parts[:, :, :3].sum(axis=(1, 2)), parts[:, :, 1:].sum(axis=(1, 2))  # the two places of the window
    np.testing.assert_allclose(whole[:, 0, 0], left, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(whole[:, 0, 1], (left + right) / 2, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("causal", [False, True])
def test_attention_weights_are_those_of_the_layers(rng, causal):
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    model = nn.TransformerEncoder(layer, 2)
    x = weft.asarray(rng.standard_normal((3, 5, 8)).astype("f"))
    mask = weft.asarray(~np.tri(5, dtype=bool)) if causal else None
    maps = explain.attention_weights(lambda a: model(a, mask=mask), x)
    assert [m.shape for m in maps] == [(3, 2, 5, 5)] * 2
    _, first = model.layers[0].self_attn(x, x, x, attn_mask=mask, average_attn_weights=False)
    np.testing.assert_allclose(maps[0].numpy(), first.numpy(), atol=1e-6)
    flow = explain.attention_rollout(maps).numpy()
    expected = np.eye(5)
    for m in maps:
        expected = (0.5 * m.numpy().mean(axis=1) + 0.5 * np.eye(5)) @ expected
    np.testing.assert_allclose(flow, expected, atol=1e-6)
    assert not causal or not np.triu(flow[0], 1).any()


def test_the_model_is_left_as_it_was(rng):
    model = smooth()
    model[2].training = False
    x = weft.asarray(rng.standard_normal((2, 2, 6, 7)).astype("f"))
    before = [m.training for m in model.modules()]
    for f in (explain.saliency, explain.integrated_gradients, explain.occlusion):
        first = f(model, x, target=1)
        np.testing.assert_array_equal(first.numpy(), f(model, x, target=1).numpy())  # no dropout
    explain.grad_cam(model, x, "0")
    assert [m.training for m in model.modules()] == before
    assert all(p.grad is None and p.requires_grad for p in model.parameters()) and not x.requires_grad
    assert not model[0]._forward_hooks
    with weft.no_grad():  # it needs gradients, whoever calls
        assert explain.saliency(model, x, target=1).numpy().any()


def test_a_model_of_one_score(rng):
    x = rng.standard_normal((4, 3)).astype("f")
    got = explain.integrated_gradients(lambda a: (a * a).sum(axis=1), x).numpy()
    np.testing.assert_allclose(got, x * x, rtol=1e-5)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda m, x: explain.saliency(m, x, target=3), IndexError, "expected a target below 3, got 3 to 3"),
        (lambda m, x: explain.saliency(m, x, target=[0, 1, 2]), ValueError, r"expected target, .* got int64 \(3,\)"),
        (lambda m, x: explain.saliency(m, x, target=0.5), ValueError, "got float64"),
        (
            lambda m, x: explain.saliency(m, np.ones((2, 2, 6, 7), int)),
            TypeError,
            "expected floating inputs, got int64",
        ),
        (lambda m, x: explain.saliency(lambda a: a, x), ValueError, r"expected scores \(2, C\)"),
        (lambda m, x: explain.saliency(lambda a: (m(a), a), x), TypeError, "returns its scores alone, got tuple"),
        (lambda m, x: explain.integrated_gradients(m, x, steps=0), ValueError, "expected steps >= 1, got 0"),
        (
            lambda m, x: explain.integrated_gradients(m, x, baseline=np.ones((5, 2, 6, 7), "f")),
            ValueError,
            "fits",
        ),
        (lambda m, x: explain.grad_cam(m, x, "4"), ValueError, r"gives \(N, C, h, w\), got output \(2, 3\)"),
        (lambda m, x: explain.grad_cam(m, x, nn.ReLU()), ValueError, "expected a layer of the model"),
        (lambda m, x: explain.grad_cam(m, x, "9"), KeyError, "9"),
        (lambda m, x: explain.occlusion(m, x, window=7), ValueError, "stride <= window <= H, W"),
        (lambda m, x: explain.occlusion(m, x, window=2, stride=3), ValueError, "got .* stride 3, window 2"),
        (lambda m, x: explain.attention_rollout([]), ValueError, "got none"),
    ],
)
def test_errors(call, error, words):
    with pytest.raises(error, match=words):
        call(smooth(), weft.ones((2, 2, 6, 7)))
