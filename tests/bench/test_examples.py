"""The benchmark that runs the examples, and the gallery that is made of what it kept."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from policy import ROOT, needs
from weft.cli.example import folder, is_example

sys.path.insert(0, str(ROOT / "benchmarks"))
import bench_examples
import course
import gallery

FILES = {path.stem: path for path in folder().glob("*.py") if is_example(path)}
GOOD = '''"""One that holds."""
from weft.recipes.example import Example, main
def run(example: Example) -> None:
    example.figure("value", 2, "%", at_least=1, beside={"chance": 0.5})
    example.picture(example.canvas(3, 2)[0])
if __name__ == "__main__":
    main(run)
'''


def test_every_row_is_there_once_and_every_example_is_in_one():
    assert [row.number for row in course.ROWS] == list(range(1, 37))
    assert course.row_of("neuron") == 1 and course.row_of("no_such") is None
    assert [name for name in FILES if course.row_of(name) is None] == []
    for row in course.ROWS:
        assert (row.examples or row.beside) and set(row.examples) <= FILES.keys(), row
        assert all((ROOT / path).exists() for path in row.beside), row


@pytest.fixture
def three(tmp_path, monkeypatch):
    """A folder of examples of which one holds, one falls short, one raises; results are kept beside it."""
    (tmp_path / "examples").mkdir()
    (tmp_path / "benchmarks" / "results").mkdir(parents=True)
    for name, text in {
        "neuron": GOOD,
        "deep": GOOD.replace("at_least=1", "at_least=3"),
        "stray": GOOD.replace("example.figure(", "raise ValueError('no such thing')\n    example.figure("),
    }.items():
        (tmp_path / "examples" / f"{name}.py").write_text(text)
    kept = tmp_path / "benchmarks" / "results" / "examples.json"
    for module in (bench_examples, gallery):
        monkeypatch.setattr(module, "KEPT", kept)
        monkeypatch.setattr(module, "folder", lambda: tmp_path / "examples")
    for name, value in {
        "ROOT": tmp_path,
        "PAGE": tmp_path / "gallery.md",
        "PICTURES": tmp_path / "images" / "gallery",
    }.items():
        monkeypatch.setattr(gallery, name, value)
    return tmp_path, kept


def command(monkeypatch, module, *words):
    monkeypatch.setattr(sys, "argv", ["command", *map(str, words)])
    return module.main()


@needs("matplotlib", "PIL")
def test_it_runs_them_keeps_all_and_the_gallery_shows_it(three, monkeypatch, capsys):
    folder, kept = three
    monkeypatch.setattr(bench_examples, "PICTURES", folder / "runs")
    assert command(monkeypatch, bench_examples, "--short", "stray", "neuron") == 1
    assert command(monkeypatch, bench_examples, "neuron") == 0
    capsys.readouterr()
    assert command(monkeypatch, bench_examples, "deep", "stray") == 1
    said = capsys.readouterr().out
    assert "1 of 3 hold; not: deep, stray" in said and "value: 2% (>= 3: FALLS SHORT); beside it chance 0.5" in said
    forms = json.loads(kept.read_text())["forms"]
    assert [row["example"] for row in forms["short"]["rows"]] == ["neuron", "stray"]
    rows = {row["example"]: row for row in forms["default"]["rows"]}  # those of both runs
    assert [rows[name]["held"] for name in ("neuron", "deep", "stray")] == [True, False, False]
    assert rows["neuron"]["row"] == 1 and rows["stray"]["row"] is None
    assert rows["neuron"]["figures"]["value"]["value"] == 2 and rows["stray"]["failed"]

    assert command(monkeypatch, gallery, "--pictures", folder / "runs") == 0
    page = (folder / "gallery.md").read_text()
    assert "| 1 | a neuron by hand equals `nn.Linear` and its activation | [neuron](#neuron) |" in page
    assert "- value: 2% (>= 1); beside it chance 0.5" in page and "`weft example stray` did not run here" in page
    assert (folder / "images" / "gallery" / "neuron.png").read_bytes().startswith(b"\x89PNG")
    forms = json.loads(kept.read_text())["forms"]
    forms["full"] = {"machine": forms["default"]["machine"], "rows": [rows["neuron"] | {"cpu_seconds": 321}]}
    forms["default"]["rows"] = []
    kept.write_text(json.dumps({"forms": forms}))
    assert command(monkeypatch, gallery, "--pictures", folder / "runs") == 0
    page = (folder / "gallery.md").read_text()
    assert "`weft example neuron --full`, 321 s of CPU" in page
    assert "`weft example neuron --short`" in page and "deep" not in page.partition("### ")[2]


@needs("PIL")
def test_pictures_are_made_small_enough(tmp_path, monkeypatch):
    import numpy as np
    from PIL import Image

    noise = np.random.default_rng(0).integers(0, 256, (90, 160, 3)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    monkeypatch.setattr(gallery, "WIDTH", 100)
    monkeypatch.setattr(gallery, "LARGEST", 1000)  # noise of 32 colours and 100 by 56 pixels has three times as many
    gallery.shrink(tmp_path / "noise.png", tmp_path / "small.png")
    assert Path(tmp_path / "small.png").stat().st_size <= gallery.LARGEST
