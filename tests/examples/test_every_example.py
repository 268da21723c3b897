"""Every example runs in its short form: each figure holds its bar, a picture is drawn, its models leave as ONNX."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

import run_example
from policy import DATA, STRICT, needs
from weft.cli import main
from weft.cli.example import folder, is_example, title
from weft.recipes.example import Example, Figure, tiles

EXAMPLES = {path.stem: path for path in sorted(folder().glob("*.py")) if is_example(path)}


#: The models that an ONNX file cannot hold, and what the refusal says.
NOT_EXPORTED = {
    # How many rounds there are is decided by the values, on the host.
    ("control_flow", "Ponder"): "ValueError: onnx.export: get: expected what follows the inputs to come from",
}


@needs("matplotlib", "sklearn", "onnx", "onnxruntime")
@pytest.mark.parametrize("name", EXAMPLES)
def test_short_form(name, tmp_path):
    # A process of its own, as a user starts it: nothing that other tests have set is there.
    options = ["--short", "--out", str(tmp_path), "--data", str(DATA)]
    code, printed = run_example.started(EXAMPLES[name], options, tmp_path)
    if code == os.EX_NOINPUT and not STRICT:
        pytest.skip(printed)
    assert code == 0, printed
    errors = json.loads((tmp_path / "exported.json").read_text())
    for model, error in errors.items():
        expected = NOT_EXPORTED.get((name, model.split()[1]), "")
        assert error.startswith(expected) and bool(error) == bool(expected), (model, error)
    assert errors
    record = json.loads((tmp_path / name / "figures.json").read_text())
    assert record["figures"] and record["pictures"]
    for picture in record["pictures"]:
        assert (tmp_path / name / picture).read_bytes().startswith(b"\x89PNG")


def test_each_has_a_title_that_a_list_can_show():
    for path in EXAMPLES.values():
        assert 10 < len(title(path)) < 118 and title(path).endswith("."), path


def test_the_command_lists_and_runs_them(tmp_path, capsys):
    assert main(["example"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in EXAMPLES)
    assert main(["example", "no_such"]) == 1
    assert "expected one of" in capsys.readouterr().err


@pytest.mark.parametrize(
    "value,low,high,holds",
    [(2, 1, None, True), (1, 1, None, True), (0.9, 1, None, False), (2, None, 1, False), (float("nan"), 1, None, False),
     (float("nan"), None, 1, False), (1.5, 1, 2, True), (float("nan"), None, None, True)],
)  # fmt: skip
def test_bars(value, low, high, holds):
    assert Figure(value, "%", low, high, {}).holds is holds


def test_a_figure_that_falls_short_fails_the_run(tmp_path, capsys):
    example = Example("none", "short", out=tmp_path)
    example.figure("good", 2, at_least=1)
    assert example.conclude(0.0, 0.0)
    example.figure("bad", 0.5, "%", at_least=1, beside={"majority": 0.2})
    assert not example.conclude(0.0, 0.0)
    printed = capsys.readouterr()
    example.figure("none at all", float("nan"), at_most=1)
    assert "none at all: nan (FALLS SHORT OF <= 1)" in capsys.readouterr().out
    assert "bad: 0.5% (FALLS SHORT OF >= 1); beside it majority 0.2" in printed.out and "bad" in printed.err
    with pytest.raises(ValueError, match="one figure named 'bad'"):
        example.figure("bad", 1)
    assert Example("none", "full", out=tmp_path).choose(short=1, default=2) == 2
    assert list(Example("none", "full", out=tmp_path, seed=4).seeds()) == [4, 5, 6]


@pytest.mark.parametrize("channels", [(), (1,), (3,)])
def test_tiles_lie_in_rows(channels):
    images = np.random.default_rng(0).random((5, *channels, 4, 6))
    sheet = tiles(images, columns=3, gap=1, paper=0.5)
    assert sheet.shape == (9, 20, 3) if channels == (3,) else (9, 20)
    for i in range(6):
        row, column = 5 * (i // 3), 7 * (i % 3)
        want = 0.5 if i == 5 else np.moveaxis(images[i], 0, -1) if channels == (3,) else images[i].reshape(4, 6)
        assert np.allclose(sheet[row : row + 4, column : column + 6], want)
