"""`weft bench train`: the steps learn, agree with PyTorch's, and a row that does not agree is no row."""

from __future__ import annotations

import json

import numpy as np
import pytest

import weft
from policy import needs, require
from weft import autograd
from weft.bench import train
from weft.cli import main

TINY = train.Workload("mnist_cnn", "f32", 4, 28, "Adam")
TEXT = train.Workload(
    "gpt2", "f32", 2, 16, "AdamW", options={"vocabulary": 64, "length": 16, "layers": 1, "width": 32, "heads": 2}
)


@pytest.mark.parametrize("work", [TINY, TEXT], ids=str)
def test_a_step_lowers_the_loss(work):
    step = train.weft_step(work, "cpu")
    losses = [float(step().item()) for _ in range(8)]
    assert losses[-1] < losses[0]


def test_the_language_models_head_is_fused_with_its_loss():
    seen = []
    observer = lambda body, arrays, out: seen.append(body.__name__)  # noqa: E731
    step = train.weft_step(TEXT, "cpu")
    autograd.observers.append(observer)
    try:
        fused = step().item()
    finally:
        autograd.observers.remove(observer)
    assert "linear_cross_entropy_of_labels" in seen and "cross_entropy_of_labels" not in seen
    weft.random.seed(0)
    model, (x, y) = TEXT.build(weft), map(weft.asarray, TEXT.data())
    assert fused == pytest.approx(weft.cross_entropy(model(x).reshape((-1, TEXT.classes)), y).item(), rel=1e-5)


def test_losses_that_differ_or_end_are_refused():
    with pytest.raises(ArithmeticError, match="expected finite losses"):
        train.check(TINY, {"weft": [1.0, float("nan")]})
    with pytest.raises(ArithmeticError, match="expected the losses"):
        train.check(TINY, {"weft": [2.0, 1.8], "torch": [2.01, 1.8]})
    with pytest.raises(ArithmeticError, match="of weft captured"):
        train.check(TINY, {"weft": [2.0, 1.8], "weft captured": [2.0, 2.0], "torch": [2.0, 1.7]})
    train.check(TINY, {"weft": [2.0, 1.8], "torch": [2.0, 1.75]})
    train.check(TINY, {"weft": [2.0, 1.8]})


def test_each_row_counts_what_it_trains():
    for work in (*train.gpu_workloads(), *train.cpu_workloads()):
        x, y = work.data() if work.per_step < 1024 else (None, None)
        assert work.unit == ("tokens" if work.text else "images")
        if x is not None:
            assert x.shape[0] == work.batch and y.max() < work.classes
    assert TEXT.per_step == 32 and TINY.per_step == 4


@needs("torch")
def test_the_command_measures_and_keeps(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(train, "cpu_workloads", lambda: iter([TINY]))
    monkeypatch.setattr(train, "peak_on_cpu", lambda name, index: 1 << 20)
    assert main(["bench", "train", "--device", "cpu", "--seconds", "0.01", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "images/s" in said and "torch" in said and "kept in" in said
    (path,) = tmp_path.glob("train-*.json")
    (row,) = json.loads(path.read_text())["rows"]
    assert set(row["times"]) == {"weft", "torch"} and row["memory"] == {"weft": 1 << 20, "torch": 1 << 20}
    np.testing.assert_allclose(row["losses"]["weft"], row["losses"]["torch"], rtol=1e-3)


@pytest.mark.slow
def test_peak_memory_is_a_process_of_its_own():
    require("torch")
    ours, theirs = (train.peak_on_cpu(name, 0) for name in ("weft", "torch"))
    assert 1 << 20 < ours < 1 << 30 and 1 << 20 < theirs < 1 << 31
