"""A CNN and a GPT train on kernels alone: op by op, step by step beside the CPU, and twice with the same bits."""

from __future__ import annotations

import contextlib
import json
from collections import Counter

import numpy as np
import pytest

import weft
from fallbacks import watched
from policy import needs
from weft import nn, optim
from weft.backends import emulator
from weft.cli import main
from weft.data import DataLoader, Dataset, RandomAffine, random_split
from weft.data import digits as load_digits
from weft.nn import functional as F
from weft.recipes import digits, shakespeare
from weft.train import Trainer

pytestmark = needs("emulator", "sklearn")

VOCABULARY, LENGTH = 17, 24


class Gpt(shakespeare.GPT):
    """The recipe's, with dropout behind the embeddings."""

    def forward(self, tokens):
        x = F.dropout(self.token(tokens) + self.position.weight[: tokens.shape[1]], 0.1, self.training)
        return self.head(self.norm(self.blocks(x)))


class Sentences(Dataset):
    """Sequences in which each token depends on the one before it."""

    def __len__(self):
        return 40

    def get(self, i, rng):
        first = int(rng.integers_array(0, VOCABULARY))
        tokens = (first + np.arange(LENGTH + 1) * (1 + i % 3)) % VOCABULARY
        return tokens[:-1], tokens[1:]


def cnn(width):
    samples, _ = load_digits()
    train, _, _ = random_split(samples, [0.7, 0.1, 0.2], seed=0, stratify=samples.arrays[1])
    augment = RandomAffine(degrees=10, translate=(0.125, 0.125), scale=(0.9, 1.1))
    loader = DataLoader(train, 64, shuffle=True, drop_last=True, transform=augment)
    return digits.build(width), loader, F.cross_entropy


def gpt(width):
    return Gpt(VOCABULARY, width, 2, 2), DataLoader(Sentences(), 8, shuffle=True), shakespeare.loss


TASKS = {"cnn": cnn, "gpt": gpt}
SCHEDULES = {  # the recipes' own
    "cnn": lambda optimizer: optim.OneCycleLR(optimizer, max_lr=3e-3, total_steps=40 * 19),
    "gpt": lambda optimizer: optim.LinearLR(optimizer, 0.01, total_iters=100),
}


def trained(task, device, dtype=None, steps=20, width=8, **settings):
    """The losses of a run's steps, then its weights and where its random numbers stand."""
    weft.random.seed(0)
    model, loader, loss = TASKS[task](width)
    loader.device = device
    model.to(device)
    optimizer = optim.AdamW(model.parameters(), lr=3e-3)
    schedule = SCHEDULES[task](optimizer)
    trainer = Trainer(model, optimizer, loss, schedule=schedule, clip_norm=1.0, autocast=dtype, log_every=1,
                      progress=False)  # fmt: skip
    with emulator.settings(**settings) if settings else contextlib.nullcontext():
        trainer.fit(loader, steps=steps)
    losses = np.array([record["loss"] for record in trainer.records if record["event"] == "step"])
    return losses, model.state_dict(), weft.random.get_state()


def same(a, b):
    np.testing.assert_array_equal(a[0], b[0])
    assert a[2] == b[2]
    for name, values in a[1].items():
        np.testing.assert_array_equal(values, b[1][name], err_msg=name)


# ---- op by op


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [None, "bfloat16"])
@pytest.mark.parametrize("task", TASKS)
def test_a_step_falls_back_nowhere(device, task, dtype):
    weft.random.seed(0)
    model, loader, loss = TASKS[task](8)
    model.to(device)
    loader.device = device
    optimizer = optim.AdamW(model.parameters(), lr=1e-3)
    *inputs, targets = next(iter(loader))
    with watched() as seen:
        with weft.autocast(dtype or "bfloat16", enabled=dtype is not None):
            out = loss(model(*inputs), targets)
        out.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    fallen = sorted(seen.references) + sorted(seen.cold)
    assert not fallen, f"{task}: expected an entry for each primitive, got references for {fallen}"
    layers = Counter(type(module).__name__ for module in model.modules())
    wanted = {"Conv2d": "conv2d", "BatchNorm2d": "batch_norm", "MaxPool2d": "max_pool2d", "LayerNorm": "layer_norm",
              "Block": "attention"}  # fmt: skip
    for layer, primitive in wanted.items():  # the watch looks where it should
        assert not layers[layer] or any(name.startswith(f"{primitive}_") for name in seen.entries), seen.entries
    assert seen.entries["adam"] and seen.entries["dropout"] and seen.entries["cross_entropy_backward"]


# ---- step by step


@pytest.mark.gpu
@pytest.mark.parametrize("task", TASKS)
def test_a_few_steps_are_the_cpus(device, task):
    (here, *_, numbers), (there, *_, theirs) = trained(task, "cpu", steps=3), trained(task, device, steps=3)
    np.testing.assert_allclose(there, here, rtol=1e-4)
    assert numbers == theirs


@pytest.mark.slow
@pytest.mark.parametrize("dtype, tolerance", [(None, 1e-3), ("bfloat16", 2e-2), ("float16", 2e-2)])
@pytest.mark.parametrize("task", TASKS)
def test_twenty_steps_are_the_cpus(task, dtype, tolerance):
    """The 16-bit runs are held to the CPU's in float32."""
    (here, *_), (there, *_) = trained(task, "cpu", width=32), trained(task, "emulated", dtype, width=32)
    assert len(here) == 20 and here[-1] < here[0]
    np.testing.assert_allclose(there, here, rtol=tolerance)


@pytest.mark.slow
def test_weft_train_digits_on_the_emulated_device(tmp_path):
    """The command itself, with its two epochs of 19 steps, validation and report."""
    losses = []
    for device in ("cpu", "emulated"):
        out = tmp_path / device
        assert main(["train", "digits", "--device", device, "--epochs", "2", "--out", str(out)]) == 0
        lines = (out / "digits-1" / "metrics.jsonl").read_text().splitlines()
        losses.append([(r["loss"], r["validation_loss"]) for r in map(json.loads, lines) if r["event"] == "epoch"])
    assert len(losses[0]) == 2
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [None, "bfloat16"])
@pytest.mark.parametrize("task", TASKS)
def test_twenty_steps_have_the_same_bits_again(task, dtype):
    """Under other schedules of threads and blocks, and with async copies that land at once, too."""
    first = trained(task, "emulated", dtype)
    same(trained(task, "emulated", dtype), first)
    same(trained(task, "emulated", dtype, schedule="lifo", late=False), first)
    same(trained(task, "emulated", dtype, schedule="random", seed=7, workers=1), first)


def test_the_same_bits_twice_and_under_two_schedules():
    first = trained("gpt", "emulated", "bfloat16", steps=2)
    same(trained("gpt", "emulated", "bfloat16", steps=2, schedule="random", seed=3), first)


# ---- the same numbers on every device


@pytest.mark.gpu
def test_init_dropout_and_shuffling_are_the_cpus(device):
    seen = []
    for place in ("cpu", device):
        weft.random.seed(5)
        model = nn.Sequential(nn.Linear(7, 5), nn.Conv2d(3, 4, 3), nn.LSTM(4, 3), nn.Embedding(9, 4)).to(place)
        loader = DataLoader(Sentences(), 8, shuffle=True, seed=4, device=place, workers=2)
        order = [np.concatenate([x.numpy() for x, _ in loader]) for _ in range(2)]
        masks = []
        for dtype in (np.float32, np.float16, weft.bfloat16):
            masks.append(weft.dropout(weft.ones((3, 37), device=place, dtype=dtype), p=0.3).numpy())
        q = weft.random.normal((1, 2, 9, 8), device=place)
        attended = F.scaled_dot_product_attention(q, q, q, dropout_p=0.5).numpy()
        drawn = [f((5,), device=place).numpy() for f in (weft.random.uniform, weft.random.normal)]
        seen.append(([*model.state_dict().values(), *order, *masks, *drawn], attended, weft.random.get_state()))
    (here, near, state), (there, far, theirs) = seen
    for a, b in zip(here, there, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(far, near, rtol=1e-4, atol=1e-5)  # whose weights are dropped is the same
    assert state == theirs
