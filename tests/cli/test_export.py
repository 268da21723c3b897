"""`weft export`: a run of every recipe becomes a file that onnxruntime runs."""

from __future__ import annotations

import json

import numpy as np
import pytest

import weft
from onnx_checks import session
from policy import needs
from weft.cli import main
from weft.cli.train import find_recipe


def untrained(name, folder):
    """A run's folder with the weights of a new model; returns (recipe, model)."""
    folder.mkdir()
    recipe = find_recipe(name)
    model = recipe.build().eval()
    (folder / "config.json").write_text(json.dumps({"recipe": name, "epochs": 1, "seed": 0}))
    weft.save(folder / "model.safetensors", model.state_dict())
    return recipe, model


RECIPES = ["digits", "dates", "mnist", "fashion", "cifar10", "shakespeare"]


@needs("onnx", "onnxruntime", "PIL", "sklearn")
@pytest.mark.parametrize("name", RECIPES)
def test_a_run_leaves_as_onnx(name, tmp_path, capsys):
    folder = tmp_path / f"{name}-1"
    recipe, model = untrained(name, folder)
    assert main(["export", str(folder), "--to", "onnx"]) == 0
    assert f"{folder / 'model.onnx'}: " in capsys.readouterr().out
    runtime = session(folder / "model.onnx")
    inputs, _ = recipe.example()
    arrays = {key: np.concatenate([np.asarray(x)] * 2) for key, x in inputs.items()}
    (found,) = runtime.run(None, arrays)
    want = model(*map(weft.asarray, arrays.values())).numpy()
    np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-4 * np.abs(want).max())


@needs("PIL", "sklearn")
@pytest.mark.parametrize("name", ["digits", "mnist", "fashion"])
def test_a_run_leaves_for_tensorflow_js_and_comes_back(name, tmp_path, capsys):
    folder = tmp_path / f"{name}-1"
    _, model = untrained(name, folder)
    assert main(["export", str(folder), "--to", "tfjs"]) == 0
    assert f"{folder / 'tfjs' / 'model.json'}: " in capsys.readouterr().out
    fresh = weft.tfjs.load(folder / "tfjs", find_recipe(name).build())
    for key, array in model.state_dict().items():
        np.testing.assert_array_equal(fresh.state_dict()[key], array, err_msg=key)


@needs("onnx", "PIL", "sklearn")
def test_a_pretrained_model_leaves_twice(tmp_path, monkeypatch, capsys):
    """What an export writes must not hide the name from the next command."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits-cnn").mkdir()  # any folder of that name, which is no run
    assert main(["export", "digits-cnn", "--to", "tfjs"]) == 0
    assert main(["export", "digits-cnn", "--to", "onnx"]) == 0
    folder = tmp_path / "runs" / "digits-cnn"
    assert {path.name for path in folder.iterdir()} == {"tfjs", "model.onnx"}


@needs("PIL", "sklearn")
@pytest.mark.parametrize("name, words", [("dates", "one input"), ("cifar10", "expected nn.Sequential of")])
def test_a_run_that_tensorflow_js_has_no_layers_for_is_named(name, words, tmp_path, capsys):
    untrained(name, tmp_path / "run")
    assert main(["export", str(tmp_path / "run"), "--to", "tfjs"]) == 1
    assert words in capsys.readouterr().err


def test_a_run_without_an_example_is_named(tmp_path, capsys):
    (tmp_path / "recipe.py").write_text("def build():\n    pass\n\n\ndef run(**settings):\n    pass\n")
    (tmp_path / "config.json").write_text(json.dumps({"recipe": str(tmp_path / "recipe.py"), "epochs": 1, "seed": 0}))
    assert main(["export", str(tmp_path), "--to", "onnx"]) == 1
    assert "example()" in capsys.readouterr().err
