"""The models that come with Weft predict at once, are what their cards say, and are refused if they are not."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import weft
from policy import needs
from weft.models import shipped
from weft.models.shipped import RECIPES, WEIGHTS, pretrained

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", RECIPES)
def test_each_is_small_and_says_what_it_is(name):
    weights, card = WEIGHTS / f"{name}.safetensors", json.loads((WEIGHTS / f"{name}.json").read_text())
    assert weights.stat().st_size < 1 << 20
    assert card["sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert card["recipe"] == RECIPES[name] and card["command"] == f"weft train {RECIPES[name]} --seed 0"
    model = pretrained(name)
    assert sum(p.size for p in model.model.parameters()) == card["parameters"]
    assert not any(m.training for m in model.model.modules())
    assert all(p.dtype == np.float32 for p in model.model.parameters())
    assert name in repr(model)


def test_importing_weft_reads_none_of_them():
    code = "import weft.models, sys; print([a for a in sys.modules if 'recipes' in a])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize("name", [
    pytest.param("digits-cnn", marks=needs("sklearn")),
    pytest.param("mnist-cnn", marks=[pytest.mark.slow, needs("data/mnist")]),
    pytest.param("fashion-cnn", marks=[pytest.mark.slow, needs("data/fashion-mnist")]),
])  # fmt: skip
def test_the_test_split_is_as_right_as_the_card_says(name):
    from policy import DATA

    model = pretrained(name)
    test = model.recipe.split(model.recipe.load(str(DATA)), 0)[-1]
    samples = [test[i] for i in range(len(test))]
    images, labels = np.stack([x for x, _ in samples]), np.array([y for _, y in samples])
    right = float((model.predict(images) == labels).mean())
    assert abs(right - model.card["test"]) < 1.5 / len(labels)  # one image may be on the edge


def test_dates_are_translated():
    model = pretrained("date-translator")
    asked = ["the 20th of july 1969", "Friday, 13 November 1987", "3.2.2021"]
    assert model.predict(asked) == ["1969-07-20", "1987-11-13", "2021-02-03"]
    assert model.predict("1 may 2000") == ["2000-05-01"]
    with pytest.raises(ValueError, match="expected a model of classes"):
        model.probabilities(asked)


def test_bytes_and_shares_of_light_are_the_same_image():
    images = np.random.default_rng().integers(0, 256, (3, 28, 28), np.uint8)
    model = pretrained("mnist-cnn")
    found = model.probabilities(images)
    assert found.shape == (3, 10) and np.allclose(found.sum(axis=1), 1, atol=1e-5)
    as_floats = weft.asarray(images[:, None].astype(np.float32) / np.float32(255))
    np.testing.assert_allclose(model.probabilities(as_floats), found, rtol=1e-5, atol=1e-6)
    assert model.predict(images[:0]).shape == (0,)


def test_other_images_are_refused():
    model = pretrained("mnist-cnn")
    with pytest.raises(ValueError, match=r"\(N, 28, 28\) or \(N, 1, 28, 28\), got \(28, 28\)"):
        model.predict(np.zeros((28, 28), np.uint8))
    with pytest.raises(ValueError, match=r"expected uint8, or floats in 0..1, got float32 from 0.0 to 255.0"):
        model.predict(np.full((1, 28, 28), 255, np.float32) * np.eye(28, dtype=np.float32))


@needs("PIL")
def test_pictures_are_read(tmp_path):
    from PIL import Image, ImageDraw

    image = Image.new("L", (80, 80), 250)
    ImageDraw.Draw(image).line([(40, 10), (40, 70)], fill=10, width=8)
    image.save(tmp_path / "one.png")
    model = pretrained("mnist-cnn")
    assert model.predict(tmp_path / "one.png").tolist() == model.predict([str(tmp_path / "one.png")]).tolist() == [1]


def test_names_and_hashes_are_checked(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="expected one of digits-cnn, mnist-cnn, fashion-cnn, date-translator"):
        pretrained("../digits-cnn")
    monkeypatch.setattr(shipped, "WEIGHTS", tmp_path)
    for suffix in ("json", "safetensors"):
        data = bytearray((WEIGHTS / f"digits-cnn.{suffix}").read_bytes())
        if suffix == "safetensors":
            data[-1] ^= 1
        (tmp_path / f"digits-cnn.{suffix}").write_bytes(data)
    with pytest.raises(ValueError, match="with SHA-256"):
        pretrained("digits-cnn")


def test_wheels_have_them():
    import tomllib

    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["weft"]
    packed = {path for pattern in patterns for path in (ROOT / "python" / "weft").glob(pattern)}
    wanted = {*WEIGHTS.iterdir(), *(ROOT / "python" / "weft" / "browser" / "page").iterdir()}
    assert len(wanted) > 12 and wanted <= packed
