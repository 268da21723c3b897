"""Every recipe in a tiny form: it trains, writes its folder, resumes, and its run can be used."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from functools import partial

import numpy as np
import pytest

import weft
from policy import HANG, ROOT, needs
from weft.cli import main
from weft.cli.train import find_recipe, names
from weft.data import ArrayDataset
from weft.data.catalog import CIFAR_CLASSES, FASHION_CLASSES, Loaded
from weft.data.text import read_text
from weft.recipes import cifar10, cifar10_resnet18, common, dates, digits, fashion, mnist, shakespeare
from weft.train.progress import table


def pictures(shape, classes, train=240, test=60):
    """A data set of noise in which each class has a bright patch of its own."""
    rng = np.random.default_rng(0)

    def part(n):
        labels = np.arange(n) % 10
        images = rng.integers(0, 60, (n, *shape), dtype=np.uint8)
        for i, label in enumerate(labels):
            images[i, :, 2 * label : 2 * label + 6, 4:12] = 250
        return ArrayDataset(images, labels)

    return lambda data: Loaded(part(train), part(test), classes, "patches")


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """Data of a few samples for every recipe."""
    monkeypatch.setattr(mnist, "mnist", pictures((1, 28, 28), [str(i) for i in range(10)]))
    monkeypatch.setattr(fashion, "fashion_mnist", pictures((1, 28, 28), FASHION_CLASSES))
    monkeypatch.setattr(cifar10, "cifar10", pictures((3, 32, 32), CIFAR_CLASSES, train=320))
    monkeypatch.setattr(cifar10_resnet18, "cifar10", pictures((3, 32, 32), CIFAR_CLASSES, train=320))
    monkeypatch.setattr(cifar10_resnet18, "build", partial(cifar10_resnet18.build, width=2))
    monkeypatch.setattr(dates, "make_dates", partial(dates.make_dates, train=128, validation=20, test=30))
    (tmp_path / "text").write_text("What light through yonder window breaks? It is the east.\n" * 40)
    monkeypatch.setattr(shakespeare, "tiny_shakespeare", lambda data: read_text(tmp_path / "text"))
    monkeypatch.setattr(shakespeare, "ITERATIONS_PER_EPOCH", 3)
    return tmp_path / "runs"


WRITTEN = ("config.json", "figures.json", "metrics.jsonl", "model.safetensors", "curves.png")


@needs("matplotlib", "sklearn")
@pytest.mark.parametrize(
    ("name", "picture"),
    [
        ("digits", "confusion.png"),
        ("mnist", "confusion.png"),
        ("fashion", "confusion.png"),
        ("cifar10", "confusion.png"),
        ("cifar10_resnet18", "confusion.png"),
        ("dates", "attention.png"),
        ("shakespeare", None),
    ],
)
def test_a_recipe_trains_and_writes_its_folder(name, picture, tiny, capsys):
    assert main(["train", name, "--epochs", "1", "--seed", "3", "--out", str(tiny)]) == 0
    folder = tiny / f"{name}-1"
    for file in (*WRITTEN, *([picture] if picture else [])):
        assert (folder / file).stat().st_size > 0, file
    figures = json.loads((folder / "figures.json").read_text())
    assert figures["recipe"] == name and figures["seed"] == 3 and figures["epochs"] == 1
    assert all(np.isfinite(figures[part]) for part in ("train", "validation"))
    out = capsys.readouterr().out
    assert f"{figures['parameters']:,} parameters" in out and "seed 3, 1 epochs" in out


def test_every_recipe_is_listed_and_tested():
    assert names() == ["cifar10", "cifar10_resnet18", "dates", "digits", "fashion", "mnist", "shakespeare"]


@needs("sklearn")
def test_the_next_run_gets_the_next_number_and_two_recipes_one_table(tiny, capsys):
    assert main(["train", "dates", "digits", "dates", "--epochs", "1", "--out", str(tiny)]) == 0
    assert sorted(path.name for path in tiny.iterdir()) == ["dates-1", "dates-2", "digits-1"]
    last = capsys.readouterr().out.splitlines()[-5:]
    assert last[0].split()[:4] == ["recipe", "train", "validation", "test"]
    assert [line.split()[0] for line in last[2:]] == ["dates", "digits", "dates"]


@needs("sklearn")
def test_the_same_seed_gives_the_same_run(tiny):
    for _ in range(2):
        digits.run(epochs=1, out=tiny)
    first, second = (weft.load(tiny / f"digits-{n}" / "model.safetensors") for n in (1, 2))
    assert all((first[name] == second[name]).all() for name in first)


@needs("sklearn")
def test_resume_goes_on_with_the_settings_of_the_run(tiny, capsys):
    dates.run(epochs=1, seed=5, out=tiny)
    before = weft.load(tiny / "dates-1" / "model.safetensors")
    assert main(["train", "dates", "--resume", "--out", str(tiny)]) == 0
    assert not (tiny / "dates-2").exists()
    assert "seed 5, 1 epochs" in capsys.readouterr().out
    after = weft.load(tiny / "dates-1" / "model.safetensors")
    assert all((before[name] == after[name]).all() for name in before)


@needs("sklearn")
def test_a_terminated_run_exits_with_75_and_goes_on_to_the_same_weights(tmp_path):
    def start(*words, before=("-m", "weft")):
        command = [sys.executable, *before, "train", "digits", *words]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    whole = start("--epochs", "4", "--out", str(tmp_path / "whole"))
    press = (str(ROOT / "tests" / "terminated.py"), "epoch 1/4")
    cut = start("--epochs", "4", "--out", str(tmp_path / "cut"), before=press)
    said, faults = cut.communicate(timeout=HANG)
    assert "saved" in said and cut.returncode == 75, said + faults
    resumed = start("--resume", "--out", str(tmp_path / "cut"))
    assert "resumed after step" in resumed.communicate(timeout=HANG)[0]
    whole.communicate(timeout=HANG)
    assert resumed.returncode == whole.returncode == 0
    first, second = (weft.load(tmp_path / part / "digits-1" / "model.safetensors") for part in ("whole", "cut"))
    assert all((first[name] == second[name]).all() for name in first)


def test_a_device_that_is_not_there_is_named(tiny, capsys):
    assert main(["train", "dates", "--device", "cuda:0", "--out", str(tiny)]) == 1
    assert "cuda:0" in capsys.readouterr().err


def test_resume_without_a_run_and_with_other_settings(tiny, capsys):
    assert main(["train", "dates", "--resume", "--out", str(tiny)]) == 1
    assert "expected a run to resume" in capsys.readouterr().err
    assert main(["train", "dates", "--resume", "--seed", "1", "--out", str(tiny)]) == 1
    assert "keeps its own" in capsys.readouterr().err


@needs("sklearn")
def test_steps_and_autocast(tiny, capsys):
    """So many steps, products in 16 bits, and a run that is resumed keeps both."""
    assert main(["train", "dates", "--steps", "3", "--autocast", "bf16", "--out", str(tiny)]) == 0
    printed = capsys.readouterr().out
    assert "3 steps" in printed and "bfloat16" in printed
    folder = tiny / "dates-1"
    settings, figures = (json.loads((folder / name).read_text()) for name in ("config.json", "figures.json"))
    assert (settings["steps"], settings["autocast"]) == (3, "bfloat16") and figures["steps"] == 3
    assert json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])["step"] == 3
    assert main(["train", "dates", "--resume", "--out", str(tiny)]) == 0
    assert "3 steps" in capsys.readouterr().out
    for wrong, words in (
        (["--steps", "3", "--epochs", "1"], "--epochs or --steps, got both"),
        (["--steps", "0"], "--steps >= 1, got 0"),
        (["--resume", "--autocast", "f16"], "keeps its own"),
    ):
        assert main(["train", "dates", *wrong, "--out", str(tiny)]) == 1
        assert words in capsys.readouterr().err
    for name in names():
        assert {"steps", "autocast"} <= inspect.signature(find_recipe(name).run).parameters.keys(), name


def test_a_copied_recipe_is_a_recipe(tmp_path, capsys):
    text = "def run(epochs=1, seed=0, **_):\n    return {'recipe': 'mine', 'test': epochs / 4}\n"
    (tmp_path / "mine.py").write_text(text)
    assert main(["train", str(tmp_path / "mine.py"), "--epochs", "3"]) == 0
    assert "0.7500" in capsys.readouterr().out
    (tmp_path / "empty.py").write_text("")
    with pytest.raises(ValueError, match="expected a function run"):
        find_recipe(str(tmp_path / "empty.py"))
    with pytest.raises(ValueError, match="expected one of cifar10, cifar10_resnet18, dates"):
        find_recipe("imagenet")
    with pytest.raises(FileNotFoundError, match="no such file"):
        find_recipe(str(tmp_path / "none.py"))


@needs("PIL", "sklearn")
def test_predict_names_the_class(tiny, tmp_path, capsys):
    from PIL import Image

    digits.run(epochs=12, out=tiny)
    images, labels = weft.data.digits()[0].arrays
    right = 0
    for i in range(0, 100, 10):
        ink = np.kron(images[i, 0], np.ones((20, 20)))  # as a person's photo: large, dark on bright, off the middle
        paper = np.pad(230 - 200 * ink, ((40, 90), (100, 30)), constant_values=230).astype(np.uint8)
        Image.fromarray(paper).save(tmp_path / "photo.png")
        capsys.readouterr()
        assert main(["predict", str(tiny / "digits-1"), str(tmp_path / "photo.png"), "--top", "1"]) == 0
        right += capsys.readouterr().out.split(": ")[1].startswith(str(labels[i]))
    assert right >= 7


@needs("PIL")
def test_a_blank_picture_is_refused(tmp_path):
    from PIL import Image

    Image.new("L", (50, 50), 200).save(tmp_path / "blank.png")
    with pytest.raises(ValueError, match="one shade"):
        common.prepare_ink(tmp_path / "blank.png", 28, 4)


@needs("PIL")
@pytest.mark.parametrize(("recipe", "shape"), [(mnist, (1, 28, 28)), (fashion, (1, 28, 28)), (cifar10, (3, 32, 32))])
def test_pictures_are_prepared_to_the_shape_of_the_data(recipe, shape, tmp_path):
    from PIL import Image

    pixels = np.full((60, 40, 3), 220, np.uint8)
    pixels[10:50, 15:25] = 30
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    image = recipe.prepare(tmp_path / "photo.png")
    assert image.shape == shape and image.dtype == np.float32
    assert recipe.build()(weft.asarray(image[None])).shape == (1, 10)


def test_generate_writes_and_translates(tiny, capsys):
    shakespeare.run(epochs=1, out=tiny)
    capsys.readouterr()
    words = ["generate", str(tiny / "shakespeare-1"), "--prompt", "What light", "--length", "20"]
    assert main(words) == 0
    first = capsys.readouterr().out
    assert first.startswith("What light") and len(first) == 31
    assert main(words) == 0 and capsys.readouterr().out == first
    assert main([*words, "--seed", "1"]) == 0 and capsys.readouterr().out != first
    dates.run(epochs=1, out=tiny)
    capsys.readouterr()
    assert main(["generate", str(tiny / "dates-1"), "--prompt", "July 20, 1969"]) == 0
    assert len(capsys.readouterr().out) <= dates.WRITTEN + 1


def test_a_run_that_cannot_do_it_is_named(tiny, tmp_path, capsys):
    dates.run(epochs=1, out=tiny)
    assert main(["predict", str(tiny / "dates-1"), "photo.png"]) == 1
    assert "recipe has prepare()" in capsys.readouterr().err
    assert main(["generate", str(tmp_path), "--prompt", "x"]) == 1
    assert "expected a run's folder" in capsys.readouterr().err


def test_dates_are_what_they_say():
    day = dates.datetime.date(2021, 3, 3)
    assert dates.forms(day)[9] == "the 3rd of march 2021"
    assert all(len(form) <= dates.READ for form in dates.forms(dates.datetime.date(2021, 9, 22)))
    train, validation, test = dates.make_dates(0, 300, 40, 50)
    isos = [dates.decode(row) for part in (train, validation, test) for row in part.arrays[2]]
    assert len(set(isos)) == len(isos) == 390
    assert (train.arrays[1][:, 1:] == train.arrays[2][:, :-1]).all() and (train.arrays[1][:, 0] == dates.BEGIN).all()
    with pytest.raises(ValueError, match="dates: expected at most 30 characters"):
        dates.encode(["3. März"], dates.READ)


def test_the_loss_of_a_whole_text_counts_every_token():
    model = shakespeare.build(vocabulary=7, width=16, heads=2, layers=1)
    tokens = np.random.default_rng(0).integers(0, 7, 2 * shakespeare.BLOCK + 10)
    losses = []
    for start in range(0, len(tokens) - 1, shakespeare.BLOCK):
        x, y = tokens[start : start + shakespeare.BLOCK], tokens[start + 1 : start + shakespeare.BLOCK + 1]
        scores = model(weft.asarray(x[None, : len(y)])).numpy()[0].astype(np.float64)
        shares = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
        losses += list(-np.log(shares[np.arange(len(y)), y]))
    assert len(losses) == len(tokens) - 1
    assert shakespeare.loss_of_all(model, tokens) == pytest.approx(np.mean(losses), rel=1e-5)


def test_the_table_lines_up():
    text = table([{"recipe": "a", "test": 0.5, "seconds": 1.23}, {"recipe": "bb", "parameters": 12345}])
    assert text.splitlines() == [
        "recipe  test    seconds  parameters",
        "------  ------  -------  ----------",
        "a       0.5000  1.2      -",
        "bb      -       -        12,345",
    ]
