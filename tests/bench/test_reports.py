"""Reports of benchmarks: kept, read again, compared; a row that became slower is named."""

from __future__ import annotations

import json

import numpy as np
import pytest

from policy import needs
from weft.bench import gemm, history, report
from weft.cli import main

FACTS = {"cpu": "Some CPU (R) 9/5", "commit": "abc123+", "gpu": "Some GPU"}


def row(what, weft, peer, spread=0.01, flops=1e9):
    around = lambda t: {"median": t, "p10": t * (1 - spread), "p90": t * (1 + spread)}
    times = {"weft": around(weft), "peer": around(peer)}
    return {"what": what, "flops": flops, "bytes": 1e6, "dtype": "f32", "times": times, "errors": {"weft": 1e-7},
            "ratio": peer / weft}  # fmt: skip


def kept(folder, when, rows, commit="abc123"):
    path = folder / f"gemm-{when}.json"
    text = {"kind": "gemm", "device": "Some GPU", "when": when, "machine": {"commit": commit}, "rows": rows}
    path.write_text(json.dumps(text))


def test_a_report_comes_back_as_it_was_saved(tmp_path):
    rows = [row("a", 1.0, 2.0)]
    path = report.save("gemm", FACTS, rows, tmp_path / "deep" / "er", copy_bytes_per_second=1.0)
    assert path.name.startswith("gemm-Some-GPU-") and path.name.endswith("-abc123.json")
    ((key, reports),) = history.read(tmp_path).items()
    assert key == ("gemm", "Some GPU") and reports[0]["rows"] == rows
    assert not list(tmp_path.rglob("*.partial"))


def test_a_row_that_stands_worse_by_more_than_five_percent_is_named(tmp_path):
    kept(tmp_path, "2026-01-01", [row("same", 1.0, 1.0), row("slower", 1.0, 1.0), row("gone", 1.0, 1.0)])
    # the whole machine became twice as slow: only `slower` also lost against its peer
    kept(tmp_path, "2026-02-01", [row("same", 2.0, 2.0), row("slower", 2.2, 2.0), row("new", 1.0, 1.0)], "def456")
    (reports,) = history.read(tmp_path).values()
    assert history.regressions(reports) == ["slower: 10% slower than at abc123"]
    assert history.regressions(reports[:1]) == []


def test_a_change_within_the_spread_is_no_regression():
    before, after = row("noisy", 1.0, 1.0), row("noisy", 1.2, 1.1, spread=0.3)
    assert history.regressions([{"machine": {"commit": ""}, "rows": [r]} for r in (before, after)]) == []


def test_a_broken_file_is_named_and_others_are_left_alone(tmp_path):
    (tmp_path / "metrics.json").write_text("[1, 2]")
    assert history.read(tmp_path) == {}
    (tmp_path / "gemm-x.json").write_text("{")
    with pytest.raises(ValueError, match=r"expected JSON in .*gemm-x\.json"):
        history.read(tmp_path)


@needs("matplotlib")
def test_history_draws_and_fails_where_something_is_slower(tmp_path, capsys):
    kept(tmp_path, "2026-01-01", [row("a", 1.0, 1.0), row("b", 1.0, 1.0)])
    kept(tmp_path, "2026-02-01", [row("a", 1.5, 1.0), row("b", 1.0, 1.0)])
    assert main(["bench", "--history", "--out", str(tmp_path)]) == 1
    assert "SLOWER a: 50% slower" in capsys.readouterr().out
    assert (tmp_path / "gemm-Some-GPU-history.png").stat().st_size > 5000


@pytest.mark.parametrize("layout", gemm.LAYOUTS)
def test_operands_lie_in_memory_as_the_layout_says(layout):
    a, b = gemm.Product(5, 7, 3, "bf16", layout).operands(np.random.default_rng(0))
    assert a.shape == (5, 3) and b.shape == (3, 7)
    assert [x.flags.c_contiguous for x in (a, b)] == [c == "N" for c in layout]


def test_the_error_is_seen_even_in_the_last_row():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((1001, 9)), rng.standard_normal((9, 5))
    product = a @ b
    assert gemm.error_of(product, a, b) < 1e-15
    product[-1] = np.nan
    assert not gemm.error_of(product, a, b) < 1e-2


@needs("matplotlib")
def test_gemm_measures_checks_keeps_and_draws(tmp_path, capsys):
    out = str(tmp_path)
    assert main(["bench", "gemm", "--device", "cpu", "--match", "256x256x256", "--seconds", "0.05", "--out", out]) == 0
    said = capsys.readouterr().out
    assert "256x256x256 f32 NT" in said and "numpy" in said and "GB/s" in said
    (saved,) = tmp_path.glob("gemm-*.json")
    rows = json.loads(saved.read_text())["rows"]
    assert len(rows) == 2 and all(r["errors"]["weft"] < 1e-5 and r["times"]["numpy"]["median"] > 0 for r in rows)
    assert saved.with_suffix(".png").stat().st_size > 5000


def test_a_wrong_product_is_never_timed(monkeypatch):
    monkeypatch.setattr(gemm, "cpu_contenders", lambda p, a, b: {"weft": lambda: a @ b * 1.01})
    with pytest.raises(ArithmeticError, match="expected an error below"):
        gemm.measured(gemm.Product(8, 8, 8, "f32", "NN"), "cpu", 0.01)
