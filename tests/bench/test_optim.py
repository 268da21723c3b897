"""`weft bench optim`: what it counts, checks and keeps."""

from __future__ import annotations

import json

import numpy as np
import pytest

from weft.bench import optim
from weft.cli import main


def test_the_model_is_gpt2():
    assert optim.Step("AdamW", "GPT-2").elements == 124_439_808 and len(optim.gpt2()) == 148


def test_bytes_that_must_move():
    """f32: parameter and state both ways, gradient once. bf16 adds a float32 copy both ways."""
    n = optim.Step("AdamW", "CNN").elements
    assert optim.Step("AdamW", "CNN").bytes == 28 * n
    assert optim.Step("AdamW", "CNN", clipped=True).bytes == 32 * n
    assert optim.Step("AdamW", "CNN", "bf16").bytes == 30 * n
    assert optim.Step("Lion", "CNN").bytes == 20 * n


def test_it_measures_checks_and_keeps(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("weft.bench.gemm.copy_rate", lambda device: 1e10)
    options = ["--device", "cpu", "--match", "CNN", "--seconds", "0.02", "--out", str(tmp_path)]
    assert main(["bench", "optim", *options]) == 0
    said = capsys.readouterr().out
    assert "AdamW CNN f32" in said and "GB/s" in said and "of a copy" in said
    (saved,) = tmp_path.glob("optim-*.json")
    (row,) = json.loads(saved.read_text())["rows"]
    assert row["errors"]["weft"] < optim.ERROR and row["times"]["weft"]["median"] > 0


@pytest.mark.parametrize("name", optim.OPTIMIZERS)
def test_three_steps_are_right(name):
    rng = np.random.default_rng(0)
    step = optim.Step(name, "CNN")
    values, grads = ([rng.standard_normal(s, dtype=np.float32) for s in step.shapes] for _ in range(2))
    assert optim.error_of(step, values, grads, "cpu") < optim.ERROR


def test_a_wrong_step_is_never_timed(monkeypatch):
    monkeypatch.setattr(optim, "error_of", lambda *args: 1e-3)
    with pytest.raises(ArithmeticError, match="AdamW CNN f32: expected an error below 1.0e-06, got 1.0e-03"):
        optim.measured(optim.Step("AdamW", "CNN"), "cpu", 0.01)
