"""The Trainer: what it computes, writes, refuses."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

import weft
from policy import needs
from weft import nn, optim
from weft.data import ArrayDataset, DataLoader
from weft.io import load
from weft.metrics import TopK
from weft.train import Callback, EarlyStopping, NonFiniteError, Trainer, draw_confusion, draw_curves, draw_images

rng = np.random.default_rng(1)
X = rng.standard_normal((40, 5)).astype("f")
Y = (X @ rng.standard_normal((5, 3))).argmax(1)
LOADER = ArrayDataset(X, Y)


def linear(seed=0):
    weft.random.seed(seed)
    return nn.Linear(5, 3)


def by_hand(model, optimizer, batches, schedule=None, clip=None):
    """What the Trainer must compute, written out."""
    for group in batches:
        optimizer.zero_grad()
        for x, y in group:
            (nn.CrossEntropyLoss()(model(weft.asarray(x)), y) / len(group)).backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        if schedule:
            schedule.step()


def test_is_the_loop_written_out():
    model, other = linear(), linear()
    optimizer, by = optim.Adam(model.parameters(), 0.05), optim.Adam(other.parameters(), 0.05)
    schedule, also = (optim.lr_scheduler.StepLR(o, 2, 0.5) for o in (optimizer, by))
    loader = DataLoader(LOADER, 8, shuffle=True, seed=3)
    trainer = Trainer(model, optimizer, nn.CrossEntropyLoss(), schedule=schedule, clip_norm=0.3, progress=False)
    trainer.fit(loader, epochs=2)
    batches = [[(X[i], Y[i])] for epoch in range(2) for i in np.split(loader.order(epoch), 5)]
    by_hand(other, by, batches, also, clip=0.3)
    assert all(np.array_equal(a.data, b.data) for a, b in zip(model.parameters(), other.parameters()))


def test_accumulate_is_a_larger_batch():
    model, other = linear(), linear()
    loader = DataLoader(LOADER, 8)  # 5 batches: two steps of 2 and one of 1
    trainer = Trainer(model, optim.SGD(model.parameters(), 0.1), nn.CrossEntropyLoss(), accumulate=2, progress=False)
    trainer.fit(loader, epochs=1)
    assert trainer.step == 3
    by_hand(other, optim.SGD(other.parameters(), 0.1), [[(X[:16], Y[:16])], [(X[16:32], Y[16:32])], [(X[32:], Y[32:])]])
    assert all(np.allclose(a.data, b.data, atol=1e-6) for a, b in zip(model.parameters(), other.parameters()))


def test_evaluate_and_predict():
    model = nn.Sequential(linear(), nn.Dropout(0.5))
    trainer = Trainer(model, optim.SGD(model.parameters(), 0.1), nn.CrossEntropyLoss(),
                      metrics={"accuracy": weft.metrics.Accuracy(), "top 2": TopK(2)}, progress=False)  # fmt: skip
    outputs = trainer.predict(X, batch_size=7)
    assert isinstance(outputs, np.ndarray) and outputs.shape == (40, 3) and model.training
    assert np.array_equal(outputs, trainer.predict(DataLoader(LOADER, 7)))
    figures = trainer.evaluate(DataLoader(LOADER, 7))
    assert figures["accuracy"] == (outputs.argmax(1) == Y).mean() and figures["top 2"] >= figures["accuracy"]
    log = outputs - np.log(np.exp(outputs).sum(1, keepdims=True))
    assert figures["loss"] == pytest.approx(-log[np.arange(40), Y].mean(), rel=1e-5)
    assert list(figures) == ["loss", "accuracy", "top 2"] and model[0].weight.grad is None


def test_records_and_files(tmp_path, capsys):
    model = linear()
    trainer = Trainer(model, optim.Adam(model.parameters(), 0.05), nn.CrossEntropyLoss(), metrics=["accuracy"],
                      out=tmp_path / "run", log_every=5, describe={"recipe": "test"})  # fmt: skip
    rounds = trainer.fit(DataLoader(LOADER, 8), DataLoader(LOADER, 40), epochs=3)
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert records == trainer.records and [r for r in records if r["event"] == "epoch"] == rounds
    assert [r["event"] for r in records] == ["step", "epoch"] * 3 and [r["epoch"] for r in rounds] == [1, 2, 3]
    wanted = ["event", "epoch", "step", "loss", "accuracy", "validation_loss", "validation_accuracy", "learning_rate",
              "seconds", "samples_per_second", "idle"]  # fmt: skip
    assert list(rounds[0]) == wanted and rounds[-1]["loss"] < rounds[0]["loss"]
    assert records[0].keys() == {"event", "step", "loss", "gradient_norm", "learning_rate"}
    assert np.array_equal(load(tmp_path / "run" / "model.safetensors")["weight"], model.weight.data)
    out = capsys.readouterr().out
    assert "epoch 3/3" in out and "validation: loss" in out and "samples/s" in out and "a checkpoint (" in out
    assert (tmp_path / "run" / "curves.png").read_bytes()[:4] == b"\x89PNG"


def test_steps_and_rounds():
    model = linear()
    trainer = Trainer(model, optim.SGD(model.parameters(), 0.1), nn.CrossEntropyLoss(), progress=False)
    rounds = trainer.fit(DataLoader(LOADER, 8), DataLoader(LOADER, 40), steps=12, evaluate_every=5)
    assert [r["step"] for r in rounds] == [5, 10, 12] and [r["epoch"] for r in rounds] == [1, 2, 2.4]


def test_early_stopping_and_callbacks():
    seen = []

    class Watch(Callback):
        def on_step(self, trainer):
            seen.append(trainer.step)

        def on_round(self, trainer, record):
            seen.append(record["epoch"])

        def on_end(self, trainer):
            seen.append("end")

    model = linear()
    trainer = Trainer(model, optim.SGD(model.parameters(), 0.0), nn.CrossEntropyLoss(),
                      callbacks=[Watch(), EarlyStopping(patience=2)], progress=False)  # fmt: skip
    rounds = trainer.fit(DataLoader(LOADER, 20), DataLoader(LOADER, 40), epochs=50)
    assert len(rounds) == 3 and seen == [1, 2, 1, 3, 4, 2, 5, 6, 3, "end"]
    with pytest.raises(KeyError, match="monitor out of loss, learning_rate"):
        Trainer(model, optim.SGD(model.parameters(), 0.0), nn.CrossEntropyLoss(), progress=False,
                callbacks=[EarlyStopping("accuracy")]).fit(DataLoader(LOADER, 20), epochs=1)  # fmt: skip


def test_several_inputs():
    class Sum(nn.Module):
        def __init__(self):
            self.linear = linear()

        def forward(self, a, b):
            return self.linear(a + b)

    model = Sum()
    trainer = Trainer(model, optim.Adam(model.parameters(), 0.1), nn.CrossEntropyLoss(), progress=False)
    rounds = trainer.fit(DataLoader(ArrayDataset(X, X, Y), 8), epochs=5)
    assert rounds[-1]["loss"] < rounds[0]["loss"]


@pytest.mark.parametrize("name", ["bfloat16", "float16"])
def test_autocast(name, tmp_path):
    def run(autocast, out, resume=False, epochs=4):
        model = linear()
        trainer = Trainer(model, optim.Adam(model.parameters(), 0.05), nn.CrossEntropyLoss(), metrics=["accuracy"],
                          autocast=autocast, out=tmp_path / out, progress=False)  # fmt: skip
        loader = DataLoader(LOADER, 8, shuffle=True)
        return model, trainer, trainer.fit(loader, DataLoader(LOADER, 8), epochs=epochs, resume=resume)

    plain, cast = run(None, "plain")[2], run(name, "cast")[2]
    for a, b in zip(plain, cast, strict=True):
        assert a["loss"] != b["loss"] == pytest.approx(a["loss"], rel=2e-2)
        assert a["validation_loss"] != b["validation_loss"] == pytest.approx(a["validation_loss"], rel=2e-2)
    run(name, "parts", epochs=2)
    model, trainer, _ = run(name, "parts", resume=True)
    assert np.array_equal(model.weight.numpy(), load(tmp_path / "cast" / "model.safetensors")["weight"])
    assert trainer.predict(X).dtype == weft.asarray(X).astype(weft.bfloat16 if name == "bfloat16" else name).dtype
    with pytest.raises(ValueError, match="'float16', as in the run to resume"):
        run("bfloat16" if name == "float16" else "float16", "parts", resume=True)


def test_float16_leaves_out_steps_that_overflow():
    model = linear()
    trainer = Trainer(model, optim.SGD(model.parameters(), 0.1), nn.CrossEntropyLoss(), autocast="float16",
                      progress=False)  # fmt: skip
    trainer.train_step.scaler = weft.GradScaler(init_scale=2.0**127)
    before = model.weight.numpy().copy()
    trainer.fit(DataLoader(LOADER, 40), steps=1)
    assert np.array_equal(model.weight.numpy(), before) and trainer.train_step.scaler.get_scale() == 2.0**126
    model.bias.data[:] = np.nan
    with pytest.raises(NonFiniteError, match="is not finite"):
        trainer.fit(DataLoader(LOADER, 40), steps=100)
    assert trainer.train_step.skipped == 25


def test_what_is_refused(tmp_path):
    model = linear()
    optimizer, loss = optim.SGD(model.parameters(), 0.1), nn.CrossEntropyLoss()
    for options, message in (
        ({"autocast": "float32"}, "'bfloat16' or 'float16', got 'float32'"),
        ({"accumulate": 0}, "accumulate >= 1"), ({"clip_norm": 0.0}, "clip_norm > 0"),
        ({"metrics": ["auc"]}, "metrics out of accuracy"), ({"metrics": "accuracy"}, "metrics out of"),
        ({"schedule_every": "batch"}, "'step' or 'round'"), ({"restore_best": True}, "folder `out`"),
        ({"out": tmp_path, "checkpoint_steps": 0}, "checkpoint_steps >= 1"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=f"Trainer: expected .*{message}"):
            Trainer(model, optimizer, loss, **options)
    trainer = Trainer(model, optimizer, loss, progress=False)
    for options in ({}, {"epochs": 1, "steps": 1}, {"epochs": 0}, {"steps": 3, "evaluate_every": -1}):
        with pytest.raises(ValueError, match="fit: expected epochs or steps"):
            trainer.fit(DataLoader(LOADER, 8), **options)
    with pytest.raises(TypeError, match="DataLoader, got list"):
        trainer.fit([(X, Y)], epochs=1)
    with pytest.raises(ValueError, match="at least one batch"):
        trainer.fit(DataLoader(ArrayDataset(X[:0], Y[:0]), 8), epochs=1)
    with pytest.raises(TypeError, match=r"\(\*inputs, targets\), got tuple of 1"):
        trainer.fit(DataLoader(ArrayDataset(X), 8), epochs=1)
    with pytest.raises(ValueError, match=r"loss of one number, got shape \(8,\)"):
        vector = Trainer(model, optimizer, nn.CrossEntropyLoss(reduction="none"), progress=False)
        vector.fit(DataLoader(LOADER, 8), epochs=1)
    with pytest.raises(ValueError, match="none of the parameters"):
        Trainer(model, optim.SGD(linear().parameters(), 0.1), loss, progress=False).fit(DataLoader(LOADER, 8), epochs=1)


# ---- pictures


@needs("matplotlib")
def test_pictures(tmp_path):
    from PIL import Image

    records = [{"event": "epoch", "epoch": i, "step": i, "loss": 1 / i, "validation_loss": 1 / i} for i in (1, 2, 3)]
    records[1]["validation_loss"] = None
    draw_curves(records, tmp_path / "curves.png", "digits-1")
    draw_confusion(np.diag([5, 3, 2]) + np.eye(3, k=1, dtype=int), ["a", "b", "long name"], tmp_path / "confusion.png")
    for name in ("curves.png", "confusion.png"):
        with Image.open(tmp_path / name) as picture:
            assert min(picture.size) > 300 and np.unique(np.asarray(picture.convert("L"))).size > 20
    with pytest.raises(ValueError, match=r"expected a matrix \(2, 2\)"):
        draw_confusion(np.eye(3), ["a", "b"], tmp_path / "c.png")
    with pytest.raises(ValueError, match="with a loss, got none"):
        draw_curves([], tmp_path / "c.png")


@needs("matplotlib")
def test_images_are_drawn_as_tiles_with_captions():
    from weft.train.plots import new_figure

    images = np.random.default_rng(0).integers(0, 256, (5, 1, 20, 30), dtype=np.uint8)
    figure, (axis,) = new_figure(4, 3)
    draw_images(axis, images, 3, list("abcde"), ["red"] * 5, room=0.5)
    sheet = np.asarray(axis.images[0].get_array())
    assert sheet.shape == (60, 96, 3) and [text.get_text() for text in axis.texts] == list("abcde")
    np.testing.assert_allclose(sheet[30:50, 32:62], np.repeat(images[4, 0, :, :, None] / 255, 3, axis=2))
    assert (sheet[:, 64:][30:] == 1).all(), "nothing where there is no image"
    colour = np.random.default_rng(1).random((2, 3, 8, 8))
    draw_images(axis, colour, 1)
    np.testing.assert_allclose(np.asarray(axis.images[1].get_array())[8:16, :8], colour[1].transpose(1, 2, 0))
    draw_images(axis, images[:0], 3)
    assert len(axis.images) == 2
    for wrong in ((images[0], 3), (images, 0), (images, 3, ["a"]), (images, 3, (), ["red"])):
        with pytest.raises(ValueError, match="draw_images: expected"):
            draw_images(axis, *wrong)


def test_without_matplotlib(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    model = linear()
    trainer = Trainer(model, optim.SGD(model.parameters(), 0.1), nn.CrossEntropyLoss(), out=tmp_path)
    trainer.fit(DataLoader(LOADER, 8), epochs=1)
    assert "curves.png: not drawn, matplotlib is not installed" in capsys.readouterr().out
    assert (tmp_path / "model.safetensors").exists()


@needs("matplotlib")
def test_confusion_of_an_evaluation(tmp_path):
    model = linear()
    trainer = Trainer(model, optim.SGD(model.parameters(), 0.1), nn.CrossEntropyLoss(), out=tmp_path, progress=False)
    trainer.fit(DataLoader(LOADER, 8), epochs=1)
    trainer.evaluate(DataLoader(LOADER, 8), confusion="confusion.png", classes=["x", "y", "z"])
    assert (tmp_path / "confusion.png").read_bytes()[:4] == b"\x89PNG"
