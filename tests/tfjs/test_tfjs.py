"""Layers models: what TensorFlow.js computes of them is what Weft computes, and what it saves comes back."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

import weft
from policy import needs
from tfjs_checks import Asked, evaluate
from weft import nn
from weft.tfjs import files

rng = np.random.default_rng()


def images(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def norm_2d(channels):
    """Statistics and factors that are not what a new layer has."""
    norm = nn.BatchNorm2d(channels, eps=1e-3)
    for name, array in norm.state_dict().items():
        if name != "num_batches_tracked":
            getattr(norm, name).assign(rng.uniform(0.5, 2, array.shape).astype(np.float32))
    return norm


# name -> (module, input, axes that bring Weft's output into TensorFlow.js's order)
LAST = (0, 2, 3, 1)
CASES = {
    "dense": (nn.Sequential(nn.Linear(5, 3), nn.ReLU(), nn.Linear(3, 2, bias=False), nn.Softmax(1)),
              images(4, 5), None),
    "a layer": (nn.Linear(5, 3), images(4, 5), None),
    "conv same": (nn.Conv2d(3, 4, 3, padding=1), images(2, 3, 6, 7), LAST),
    "conv 'same'": (nn.Conv2d(3, 4, (4, 3), padding="same", bias=False), images(2, 3, 6, 7), LAST),
    "conv strided, even": (nn.Conv2d(2, 4, 3, stride=2, padding=1), images(2, 2, 8, 6), LAST),
    "conv strided, odd": (nn.Conv2d(2, 4, 3, stride=2, padding=1), images(2, 2, 7, 9), LAST),
    "conv wide": (nn.Conv2d(2, 3, 3, padding=(4, 0), stride=(1, 3)), images(2, 2, 7, 9), LAST),
    "conv dilated": (nn.Conv2d(2, 3, 3, dilation=(2, 1)), images(2, 2, 7, 9), LAST),
    "depthwise": (nn.Conv2d(3, 6, 3, padding=1, groups=3), images(2, 3, 7, 5), LAST),
    "transposed": (nn.ConvTranspose2d(3, 2, 4, stride=2, padding=1), images(2, 3, 5, 4), LAST),
    "transposed, uncut": (nn.ConvTranspose2d(3, 2, (3, 2), stride=(1, 2)), images(2, 3, 5, 4), LAST),
    "conv 1d": (nn.Sequential(nn.Conv1d(3, 4, 3, padding=1), nn.MaxPool1d(2), nn.AvgPool1d(2), nn.Flatten()),
                images(2, 3, 9), None),
    "flatten in order": (nn.Sequential(nn.Flatten(), nn.Linear(60, 4)), images(2, 3, 4, 5), None),
    "flatten at the end": (nn.Flatten(), images(2, 3, 4, 5), None),
    "flatten of one channel": (nn.Sequential(nn.Flatten(), nn.Tanh()), images(2, 1, 4, 5), None),
    "unflatten": (nn.Sequential(nn.Linear(4, 24), nn.Unflatten(1, (2, -1, 4)), nn.Conv2d(2, 3, 2)), images(3, 4), LAST),
    "batch norm": (nn.Sequential(norm_2d(3), nn.ReLU6()), 9 * images(4, 3, 4, 4), LAST),
    "batch norm, bare": (nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6, affine=False)), images(5, 4), None),
    "layer norm": (nn.Sequential(nn.LayerNorm(5), nn.SiLU()), images(4, 5), None),
    "pools": (nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), nn.AvgPool2d(2)), images(2, 3, 7, 5), LAST),
    "pool of zeros": (nn.AvgPool2d(3, stride=2, padding=1), images(2, 3, 8, 5), LAST),
    "pool without zeros": (nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False), images(2, 3, 7, 5), LAST),
    "adaptive": (nn.Sequential(nn.AdaptiveAvgPool2d((2, 1)), nn.Flatten()), images(2, 3, 6, 5), None),
    "adaptive max": (nn.AdaptiveMaxPool2d((None, 3)), images(2, 3, 4, 6), LAST),
    "zeros and copies": (nn.Sequential(nn.ZeroPad2d((1, 2, 0, 3)), nn.Upsample(scale_factor=(2, 3))),
                         images(2, 2, 3, 4), LAST),
    "embedding": (nn.Sequential(nn.Embedding(11, 4), nn.Flatten(), nn.Linear(20, 3)),
                  rng.integers(0, 11, (6, 5)).astype(np.int32), None),
    "channel softmax": (nn.Sequential(nn.Conv2d(2, 3, 1), nn.LogSoftmax(1)), images(2, 2, 3, 3), LAST),
    "dropouts": (nn.Sequential(nn.Dropout(0.4), nn.AlphaDropout(0.2), nn.Identity(), nn.Linear(4, 2)),
                 images(3, 4), None),
    "nested": (nn.Sequential(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()),
                             nn.Sequential(nn.Flatten(), nn.Linear(8, 2))), images(3, 1, 4, 4), None),
}  # fmt: skip
for function in (nn.ReLU(), nn.LeakyReLU(0.2), nn.ELU(), nn.CELU(), nn.SELU(), nn.GELU(), nn.Mish(), nn.Sigmoid(),
                 nn.Softplus(), nn.Softsign(), nn.LogSoftmax(-1)):  # fmt: skip
    CASES[type(function).__name__] = (function, 3 * images(4, 5), None)


def in_tfjs_order(x, channels):
    axes = (0, *range(2, x.ndim), 1) if channels else tuple(range(x.ndim))
    return np.ascontiguousarray(x.transpose(axes))


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """What TensorFlow.js makes of every case, in one process."""
    folder, asked = tmp_path_factory.mktemp("models"), []
    for number, (module, x, _) in enumerate(CASES.values()):
        path = weft.tfjs.export(module, x, folder / str(number))
        model = json.loads(path.read_text())["modelTopology"]
        sizes = model["config"]["layers"][0]["config"]["batch_input_shape"][1:]
        asked.append(Asked(path, in_tfjs_order(x, channels=list(x.shape[1:]) != sizes or x.ndim == 4)))
    return dict(zip(CASES, evaluate(asked)))


@needs("node", "npm/tfjs")
@pytest.mark.parametrize("name", CASES)
def test_tensorflow_js_computes_the_same_and_its_weights_come_back(name, answers, tmp_path):
    module, x, axes = CASES[name]
    answer = answers[name]
    assert "error" not in answer, answer
    want = module.eval()(weft.asarray(x)).numpy()
    want = want if axes is None else want.transpose(axes)
    assert answer["shape"] == list(want.shape)
    found = np.array(answer["data"]).reshape(want.shape)
    np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-5 * max(1, np.abs(want).max()))

    before = module.state_dict()
    (tmp_path / "weights.json").write_text(json.dumps(answer["saved"]))
    for parameter in [*module.parameters()]:
        parameter.assign(np.zeros(parameter.shape, np.float32))
    weft.tfjs.load(tmp_path / "weights.json", module)
    for key, array in module.state_dict().items():
        np.testing.assert_array_equal(array, before[key], err_msg=key)


@pytest.mark.parametrize("name", CASES)
def test_weights_go_out_and_come_back(name, tmp_path):
    module, x, _ = CASES[name]
    before = {key: array.copy() for key, array in module.state_dict().items()}
    weft.tfjs.export(module, x, tmp_path)
    for parameter in module.parameters():
        parameter.assign(np.zeros(parameter.shape, np.float32))
    assert weft.tfjs.load(tmp_path, module) is module
    for key, array in module.state_dict().items():
        np.testing.assert_array_equal(array, before[key], err_msg=key)


def test_large_weights_lie_in_shards(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "SHARD", 64)
    module = nn.Linear(9, 5)
    weft.tfjs.export(module, images(1, 9), tmp_path)
    shards = sorted(tmp_path.glob("group1-shard*of4.bin"))
    assert [file.stat().st_size for file in shards] == [64, 64, 64, 8]
    np.testing.assert_array_equal(files.read(tmp_path)["linear/kernel"], module.weight.numpy().T)


def test_quantized_weights_are_read(tmp_path):
    values = {
        "half": np.array([0.5, -2], "<f2"),
        "bytes": np.array([0, 10, 255], "u1"),
        "words": np.array([1, 60_000], "<u2"),
    }
    specs = [{"name": name, "shape": [len(array)], "dtype": "float32",
              "quantization": {"dtype": {"half": "float16", "bytes": "uint8", "words": "uint16"}[name],
                               "scale": 0.5, "min": -1.0}} for name, array in values.items()]  # fmt: skip
    (tmp_path / "w.bin").write_bytes(b"".join(array.tobytes() for array in values.values()))
    (tmp_path / "model.json").write_text(json.dumps({"weightsManifest": [{"paths": ["w.bin"], "weights": specs}]}))
    made = files.read(tmp_path)
    np.testing.assert_array_equal(made["half"], np.float32([0.5, -2]))
    np.testing.assert_array_equal(made["bytes"], np.float32([-1, 4, 126.5]))
    np.testing.assert_array_equal(made["words"], np.float32([-0.5, 29_999]))
    assert all(array.dtype == np.float32 for array in made.values())


class Residual(nn.Module):
    def forward(self, x):
        return x + 1


@pytest.mark.parametrize("module, x, words", [
    (nn.Sequential(nn.Linear(4, 4), Residual()), images(2, 4), ["1:", "Residual", "Linear"]),
    (nn.Sequential(nn.Sequential(nn.Conv2d(4, 4, 3, groups=2))), images(2, 4, 5, 5), ["0.0:", "groups=2"]),
    (nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"), images(2, 2, 5, 5), ["the module:", "reflect"]),
    (nn.Conv2d(2, 2, 3, stride=2, dilation=2), images(2, 2, 9, 9), ["stride", "dilation"]),
    (nn.MaxPool2d(3, stride=2, padding=1), images(2, 2, 8, 8), ["(0, 1)", "(1, 1)"]),
    (nn.MaxPool2d(2, ceil_mode=True), images(2, 2, 7, 8), ["ceil_mode"]),
    (nn.Sequential(nn.Conv2d(2, 2, 3), nn.Linear(6, 2)), images(2, 2, 8, 8), ["1:", "nn.Flatten()"]),
    (nn.AdaptiveAvgPool2d(3), images(2, 2, 8, 9), ["divides"]),
    (nn.Softmax(2), images(2, 3, 4, 4), ["dim"]),
    (nn.ELU(0.7), images(2, 3), ["alpha=1"]),
    (nn.GELU("tanh"), images(2, 3), ["approximate"]),
    (nn.BatchNorm2d(2, track_running_stats=False), images(2, 2, 3, 3), ["running statistics"]),
    (nn.Upsample(scale_factor=2, mode="bilinear"), images(2, 2, 3, 3), ["nearest"]),
])  # fmt: skip
def test_what_tensorflow_js_has_not_is_named(module, x, words, tmp_path):
    with pytest.raises(weft.tfjs.UnsupportedError) as caught:
        weft.tfjs.export(module, x, tmp_path)
    assert all(word in str(caught.value) for word in words), caught.value
    assert not list(tmp_path.iterdir())


def test_layers_that_share_weights_are_refused(tmp_path):
    shared = nn.Linear(3, 3)
    with pytest.raises(ValueError, match="1: expected each layer with parameters once, got 0 again"):
        weft.tfjs.export(nn.Sequential(shared, shared), images(1, 3), tmp_path)


def test_a_weight_that_is_worked_out_of_others_is_refused(tmp_path):
    module = nn.Sequential(nn.utils.weight_norm(nn.Linear(3, 3)))
    with pytest.raises(weft.tfjs.UnsupportedError, match="0: expected a parameter weight"):
        weft.tfjs.export(module, images(1, 3), tmp_path)


def test_whole_numbers_are_no_weights(tmp_path):
    model = saved(tmp_path)
    for spec in model["weightsManifest"][0]["weights"]:
        spec["dtype"] = "int32"
    (tmp_path / "model.json").write_text(json.dumps(model))
    with pytest.raises(ValueError, match="linear/kernel: int32 in place of float32"):
        weft.tfjs.load(tmp_path, nn.Linear(3, 2))


def test_float64_is_refused(tmp_path):
    with pytest.raises(ValueError, match="weight: expected float32 or less, got float64"):
        weft.tfjs.export(nn.Linear(3, 3).to(dtype=np.float64), images(1, 3), tmp_path)


def saved(folder):
    weft.tfjs.export(nn.Linear(3, 2), images(1, 3), folder)
    return json.loads((folder / "model.json").read_text())


DAMAGE = {
    "a shard above the folder": lambda m: m["weightsManifest"][0].update(paths=["../model.bin"]),
    "an absolute shard": lambda m: m["weightsManifest"][0].update(paths=["/etc/hostname"]),
    "a folder": lambda m: m["weightsManifest"][0].update(paths=["."]),
    "a shard that is not there": lambda m: m["weightsManifest"][0].update(paths=["other.bin"]),
    "a link": lambda m: m["weightsManifest"][0].update(paths=["link.bin"]),
    "a shard twice": lambda m: m["weightsManifest"][0]["paths"].append(m["weightsManifest"][0]["paths"][0]),
    "a huge shape": lambda m: m["weightsManifest"][0]["weights"][0].update(shape=[2**31 - 1] * 3),
    "a negative size": lambda m: m["weightsManifest"][0]["weights"][0].update(shape=[-1, -8]),
    "true as a size": lambda m: m["weightsManifest"][0]["weights"][0].update(shape=[True, 6]),
    "another dtype": lambda m: m["weightsManifest"][0]["weights"][0].update(dtype="object"),
    "an object as a dtype": lambda m: m["weightsManifest"][0]["weights"][0].update(dtype={}),
    "half a quantization": lambda m: m["weightsManifest"][0]["weights"][0].update(quantization={"dtype": "uint8"}),
    "a weight twice": lambda m: m["weightsManifest"].append(m["weightsManifest"][0]),
    "no manifest": lambda m: m.pop("weightsManifest"),
    "a list for a group": lambda m: m.update(weightsManifest=[[]]),
    "no names": lambda m: m["weightsManifest"][0]["weights"][0].pop("name"),
    "letters that are none of base 64's": lambda m: m.update(weightData="A\u00e9", weightSpecs=[]),
    "a scale that no float32 is": lambda m: m["weightsManifest"][0]["weights"][0].update(
        quantization={"dtype": "uint8", "scale": 10**400, "min": 0}
    ),
    "no base 64": lambda m: m.update(weightData="~", weightSpecs=[]),
    "too few bytes": lambda m: m.update(weightData="AAAA", weightSpecs=m["weightsManifest"][0]["weights"]),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_files_are_refused(damage, tmp_path):
    model = saved(tmp_path / "model")
    (tmp_path / "model.bin").write_bytes(bytes(32))
    (tmp_path / "model" / "link.bin").symlink_to(tmp_path / "model.bin")
    DAMAGE[damage](model)
    (tmp_path / "model" / "model.json").write_text(json.dumps(model))
    with pytest.raises(weft.tfjs.FileError):
        weft.tfjs.read(tmp_path / "model")


@pytest.mark.parametrize("text", ["", "[]", "nul", '{"a": NaN}', '{"a": 1, "a": 2}', "[" * 100_000, "\xff"])
def test_other_texts_are_refused(text, tmp_path):
    (tmp_path / "model.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(weft.tfjs.FileError):
        weft.tfjs.read(tmp_path)


def test_a_model_keeps_its_weights_where_others_do_not_fit(tmp_path):
    weft.tfjs.export(nn.Linear(3, 2), images(1, 3), tmp_path)
    other = nn.Linear(3, 4)
    before = other.weight.numpy().copy()
    with pytest.raises(ValueError, match="linear/kernel"):
        weft.tfjs.load(tmp_path, other)
    np.testing.assert_array_equal(other.weight.numpy(), before)
    assert math.prod(before.shape) == 12
