"""`weft bench attention`: what a row is, and that a wrong result is not timed."""

from __future__ import annotations

import numpy as np
import pytest

from weft.bench import attention
from weft.cli import main


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("backward", [False, True])
def test_a_row(causal, backward):
    case = attention.Case(1, 2, 40, 16, "f32", causal, backward)
    row = attention.measured(case, "cpu", 0.05)
    assert row["flops"] == 4 * 2 * 40**2 * 16 * (0.5 if causal else 1) * (2.5 if backward else 1)
    assert row["errors"]["weft"] < 2e-5 and row["what"] in attention.line(row)


def test_a_wrong_result_is_no_row(monkeypatch):
    monkeypatch.setattr(attention, "weft_call", lambda case, arrays: lambda: np.zeros_like(arrays[0]))
    with pytest.raises(ArithmeticError, match="hd16 40 f32 full forward: expected an error below"):
        attention.measured(attention.Case(1, 1, 40, 16, "f32", False, False), "cpu", 0.05)


def test_the_command(tmp_path, capsys):
    assert main(["bench", "attention", "--device", "cpu", "--seconds", "0.02", "--match", "hd32 128 f32 causal forward",
                 "--out", str(tmp_path)]) == 0  # fmt: skip
    assert "hd32 128 f32 causal forward" in capsys.readouterr().out and list(tmp_path.glob("attention-*.json"))
