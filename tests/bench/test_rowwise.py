"""`weft bench rowwise`: every function is timed on what it takes, checked against float64, named when it is wrong."""

from __future__ import annotations

import numpy as np
import pytest

from weft.bench import rowwise
from weft.cli import main

SMALL = [
    rowwise.Case(name, (6, 8, 3, 3) if name.startswith("batch") else (16, 12), "f32", backward)
    for name in rowwise.NAMES
    for backward in (False, True)
]


@pytest.mark.parametrize("case", SMALL, ids=str)
def test_every_function_is_measured(case):
    row = rowwise.measured(case, "cpu", 0.001)
    assert {"weft", "numpy"} <= set(row["times"]) and row["errors"]["weft"] < 1e-5
    assert row["bytes"] >= np.prod(case.shape) * 4
    assert "GB/s" in rowwise.line(row, 1e9) and str(case) in rowwise.line(row, 1e9)


def test_a_wrong_result_stops_the_benchmark(monkeypatch):
    wrong = lambda case, got, made: 1.0
    monkeypatch.setattr(rowwise, "error_of", wrong)
    with pytest.raises(ArithmeticError, match="rowwise: softmax forward 16x12 f32: expected an error below"):
        rowwise.measured(SMALL[0], "cpu", 0.001)


def test_the_error_sees_a_wrong_row():
    case = SMALL[0]
    made = case.inputs()
    right = rowwise.calls_of(case, rowwise.references, made)()
    assert rowwise.error_of(case, right, made) < 1e-6
    right[-1, 3] += 0.1
    assert rowwise.error_of(case, right, made) > 1e-2


def test_peers_compute_the_same():
    torch = pytest.importorskip("torch")
    for case in SMALL:
        made = case.inputs()
        ours = rowwise.calls_of(case, rowwise.entries, made)()
        theirs = rowwise.torch_call(case, {name: rowwise.as_torch(v) for name, v in made.items()})()
        if case.name == "cross_entropy" and not case.backward:
            ours = ours[0].mean()
        first = ours[0] if isinstance(ours, tuple) else ours
        other = theirs[0] if isinstance(theirs, tuple) else theirs
        np.testing.assert_allclose(first, other.detach().numpy(), rtol=1e-4, atol=1e-5, err_msg=str(case))
    assert torch.get_num_threads() > 0


def test_all_cases_have_names_of_their_own():
    for cases in (list(rowwise.gpu_cases()), list(rowwise.cpu_cases())):
        assert len({str(c) for c in cases}) == len(cases)
        assert {c.name for c in cases} <= set(rowwise.NAMES)


def test_a_row_that_is_not_there(tmp_path, capsys):
    assert main(["bench", "rowwise", "--device", "cpu", "--match", "nosuch", "--out", str(tmp_path)]) == 1
    assert "expected --match to name a row" in capsys.readouterr().err
