"""weft.capture of what trains for real: mixed precision with a loss scale, and a transformer with dropout."""

from __future__ import annotations

import numpy as np
import pytest

import weft
from policy import needs
from weft import nn, optim
from weft.recipes import digits

pytestmark = [needs("emulator"), pytest.mark.gpu]


def run(device, captured, dtype, steps):
    """Losses, scales and the last state of a small model; one batch makes float16 overflow."""
    rng = np.random.default_rng(0)
    weft.random.seed(3)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3)).to(device)
    optimizer = optim.AdamW(model.parameters(), lr=0.02)
    scaler = weft.GradScaler(init_scale=64.0, growth_interval=2, enabled=dtype == "float16")

    def step(x, y):
        optimizer.zero_grad()
        with weft.autocast(dtype):
            loss = nn.functional.cross_entropy(model(x), y)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        return loss

    taken = weft.capture(step) if captured else step
    losses, scales = [], []
    for i in range(steps):
        x, y = rng.standard_normal((12, 6)).astype("f"), rng.integers(0, 3, 12)
        if i == 4:
            x[0, 0] = 1e30  # an infinity in float16
        losses.append(taken(weft.asarray(x, device=device), weft.asarray(y, device=device)).item())
        scales.append(scaler.get_scale())
    state = {**model.state_dict(), **optimizer.state_dict()["state"][0], "random": weft.random.get_state()}
    return losses, scales, state, taken


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_mixed_precision(device, dtype):
    expected, scales, state, _ = run(device, False, dtype, 7)
    losses, got, replayed, taken = run(device, True, dtype, 7)
    assert (taken.captures, taken.replays) == (1, 5) and got == scales
    if dtype == "float16":
        assert scales == [64, 128, 128, 256, 128, 128, 256] and state["step"] == replayed["step"] == 6
    np.testing.assert_allclose(losses, expected, rtol=1e-3)
    for name in state:
        np.testing.assert_allclose(replayed[name], state[name], rtol=1e-2, atol=1e-3, err_msg=name)


def test_a_transformer(device):
    rng = np.random.default_rng(1)
    tokens, targets = rng.integers(0, 13, (5, 4, 6)), rng.integers(0, 3, (5, 4))

    def losses(captured):
        weft.random.seed(2)
        embedding, head = nn.Embedding(13, 16), nn.Linear(16, 3)
        block = nn.TransformerEncoderLayer(16, 2, 24, dropout=0.1, batch_first=True)
        model = nn.Sequential(embedding, block).to(device)
        head.to(device)
        parameters = [*model.parameters(), *head.parameters()]
        optimizer = optim.SGD(parameters, lr=0.1, momentum=0.9)

        def step(tokens, targets):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(head(model(tokens).mean(axis=1)), targets)
            loss.backward()
            optimizer.step()
            return loss

        taken = weft.capture(step) if captured else step
        out = [taken(weft.asarray(x, device=device), weft.asarray(t, device=device)).item()
               for x, t in zip(tokens, targets, strict=True)]  # fmt: skip
        return out, [p.numpy() for p in parameters], taken

    expected, weights, _ = losses(False)
    got, replayed, taken = losses(True)
    assert got == expected and taken.replays == 3
    for a, b in zip(replayed, weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_cnn_of_a_recipe(device):
    rng = np.random.default_rng(1)
    images, targets = rng.standard_normal((4, 8, 1, 8, 8)).astype("f"), rng.integers(0, 10, (4, 8))

    def losses(captured):
        weft.random.seed(2)
        model = digits.build(8).to(device)
        optimizer = optim.AdamW(model.parameters(), lr=1e-3)

        def step(x, t):
            optimizer.zero_grad()
            with weft.autocast("bfloat16"):
                loss = nn.functional.cross_entropy(model(x), t)
            loss.backward()
            optimizer.step()
            return loss

        taken = weft.capture(step) if captured else step
        out = [taken(weft.asarray(x, device=device), weft.asarray(t, device=device)).item()
               for x, t in zip(images, targets, strict=True)]  # fmt: skip
        return out, model.state_dict()

    expected, state = losses(False)
    got, replayed = losses(True)
    np.testing.assert_allclose(got, expected, rtol=1e-3)
    assert replayed["1.num_batches_tracked"] == state["1.num_batches_tracked"] == 4
    np.testing.assert_allclose(replayed["1.running_mean"], state["1.running_mean"], rtol=1e-2, atol=1e-3)


def test_an_index_out_of_range_is_still_told(device):
    table = weft.ones((4, 2), device=device)
    step = weft.capture(lambda i: weft.embedding(i, table))
    good, bad = (weft.asarray(np.array(i), device=device) for i in ([0, 3], [1, 9]))
    for _ in range(3):
        step(good).numpy()
    with pytest.raises(IndexError, match=r"embedding: expected indices in \[0, 4\), got 9"):
        step(bad).numpy()
    assert step(good).tolist() == [[1, 1], [1, 1]] and step.captures == 1
