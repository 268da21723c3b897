"""The page in Chromium: the exported model computes there what Python computes, and what is drawn and taught counts."""

from __future__ import annotations

import threading
from contextlib import contextmanager

import numpy as np
import pytest

import weft
from policy import needs
from weft.browser.chromium import Chromium
from weft.cli import serve
from weft.cli.runs import open_run
from weft.models import pretrained
from weft.recipes.common import center_ink

pytestmark = needs("chromium", "sklearn", "PIL")

TEXT = "document.getElementById('{}').textContent"


@contextmanager
def page(name, engine, **options):
    """Chromium with the page of a run, ready, and the server."""
    server = serve.start(name, engine, None, 0)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        with Chromium(**options) as chrome:
            chrome.open(server.url)
            chrome.wait("document.body && document.body.dataset.ready")
            yield chrome
            assert chrome.messages == []  # no fault, nothing that the Content-Security-Policy stopped
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.chdir(tmp_path_factory.mktemp("page"))  # where taught weights are written
    with page("digits-cnn", "tfjs") as chrome:
        yield chrome
    patch.undo()


def agrees_with_python(chrome, name):
    """Same class for 100 of 100 test digits, and probabilities within 1e-4, of Weft here and Chromium there."""
    found = np.array(chrome.value("weft.predict(weft.digits())"))
    recipe, settings, _ = open_run(name, "example")
    test = recipe.split(recipe.load(), settings["seed"])[-1]
    samples = [test[i] for i in range(len(test))]
    labels = chrome.value("weft.digits().map((digit) => digit.label)")
    assert found.shape == (100, 10) and sorted(labels) == sorted(list(range(10)) * 10)
    # Which digits those are is asked of the data set again, and not of the server.
    turns, by_class = {}, {label: [x for x, y in samples if y == label] for label in range(10)}
    images = []
    for label in labels:
        images.append(by_class[label][turns.get(label, 0)])
        turns[label] = turns.get(label, 0) + 1
    want = pretrained(name).probabilities(np.stack(images))
    assert (found.argmax(axis=1) == want.argmax(axis=1)).sum() == 100
    np.testing.assert_allclose(found, want, rtol=0, atol=1e-4)
    assert "100 of 100 the same class" in chrome.value(TEXT.format("check"))


@needs("npm/tfjs")
def test_tensorflow_js_agrees_with_python_on_100_of_100_digits(digits):
    agrees_with_python(digits, "digits-cnn")


@needs("npm/onnx", "onnx")
def test_onnxruntime_web_agrees_with_python_on_100_of_100_digits():
    with page("digits-cnn", "onnx") as chrome:
        agrees_with_python(chrome, "digits-cnn")
        assert chrome.value("document.getElementById('teaching').hidden")


@pytest.mark.slow
@needs("data/mnist", "npm/tfjs", "npm/onnx", "onnx")
@pytest.mark.parametrize("engine", ["tfjs", "onnx"])
def test_mnist_agrees_with_python_on_100_of_100_digits(engine, monkeypatch):
    from policy import DATA

    monkeypatch.setenv("WEFT_DATA", str(DATA))
    with page("mnist-cnn", engine, webgl=True) as chrome:
        agrees_with_python(chrome, "mnist-cnn")


@needs("npm/tfjs")
def test_what_is_drawn_is_seen_and_said(digits):
    digits.value("document.getElementById('clear').click()")
    digits.wait(f"{TEXT.format('best')} === '–'")
    x, y, width = digits.value("weft.paper()")
    digits.mouse([(x + width * 0.5, y + width * t) for t in np.linspace(0.1, 0.9, 12)])
    digits.wait(f"{TEXT.format('best')} !== '–'")
    side = digits.value("document.getElementById('paper').width")
    script = f"document.getElementById('paper').getContext('2d').getImageData(0, 0, {side}, {side}).data"
    grey = digits.value(f"Array.from({script}).filter((_, i) => i % 4 === 0)")
    want = center_ink(np.array(grey, np.uint8).reshape(side, side), 8, 0)[0]
    size = "document.getElementById('seen').getContext('2d').getImageData(0, 0, 8, 8).data"
    seen = np.array(digits.value(f"Array.from({size}).filter((_, i) => i % 4 === 0)"), np.float32).reshape(8, 8) / 255
    np.testing.assert_allclose(seen, want, atol=1.5 / 255)
    assert want.max() > 0.9 and want[:, 0].max() == 0
    answer = pretrained("digits-cnn").predict(want[None])[0]
    assert digits.value(TEXT.format("best")) == str(answer)
    digits.value("document.getElementById('undo').click()")
    digits.wait(f"{TEXT.format('best')} === '–'")


@needs("npm/tfjs")
def test_the_keyboard_draws_and_chooses(digits):
    for digit in "07":
        digits.key(digit, ord(digit))
        digits.wait(f"{TEXT.format('best')} === '{digit}'")
    digits.key("c", ord("C"))
    digits.wait(f"{TEXT.format('best')} === '–'")
    digits.value("document.getElementById('paper').focus()")
    digits.key(" ", 32)
    for _ in range(8):
        digits.key("ArrowDown", 40)
    digits.wait(f"{TEXT.format('best')} !== '–'")
    digits.key("Escape", 27)
    digits.wait(f"{TEXT.format('best')} === '–'")


@needs("npm/tfjs")
def test_what_is_taught_there_comes_back(digits):
    """A seven is taught to be a two; Weft, given the weights, sees a two as well, and still knows the other digits."""
    digits.value("document.getElementById('samples').children[7].click()")
    digits.wait(f"{TEXT.format('best')} === '7'")
    digits.value("document.getElementById('labels').children[2].click()")
    digits.wait(f"{TEXT.format('taught')}.startsWith('It knows')")
    digits.wait(f"{TEXT.format('best')} === '2'")
    digits.value("document.getElementById('send').click()")
    kept = digits.wait(f"{TEXT.format('taught')}.startsWith('Weft wrote') && {TEXT.format('taught')}").split()[-1]

    shipped = pretrained("digits-cnn")
    before = shipped.model.state_dict()
    shipped.model.load_state_dict(weft.load(kept))
    changed = [key for key, array in before.items() if not np.array_equal(array, shipped.model.state_dict()[key])]
    assert changed == ["16.weight", "16.bias"]
    test = shipped.recipe.split(shipped.recipe.load(), 0)[-1]
    samples = [test[i] for i in range(len(test))]
    images, labels = np.stack([x for x, _ in samples]), np.array([y for _, y in samples])
    seven = images[np.flatnonzero(labels == 7)[:1]]
    assert shipped.predict(seven).tolist() == [2]
    there = digits.value("weft.predict([weft.digits()[7]])")[0]
    np.testing.assert_allclose(shipped.probabilities(seven)[0], there, atol=1e-4)
    assert (shipped.predict(images) == labels).mean() > 0.9

    digits.value("document.getElementById('forget').click()")
    digits.wait(f"{TEXT.format('best')} === '7'")


@needs("npm/tfjs")
def test_both_colour_schemes_can_be_read(digits):
    """Text on its ground holds 4.5 to 1, WCAG's level AA, for what the page says."""
    script = """["model", "best", "speed", "check", "clear", "pixels"].map((id) => {
      const own = getComputedStyle(document.getElementById(id)).color;
      let at = document.getElementById(id), ground = "rgba(0, 0, 0, 0)";
      while (ground === "rgba(0, 0, 0, 0)") { ground = getComputedStyle(at).backgroundColor; at = at.parentElement; }
      return [own, ground].map((text) => text.match(/[0-9.]+/g).slice(0, 3).map(Number));
    })"""
    for scheme in ("dark", "light"):
        digits.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        for text, ground in digits.value(script):
            light, dark = sorted((luminance(text), luminance(ground)), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (scheme, text, ground)


@needs("npm/tfjs")
def test_a_prediction_that_fails_is_said_and_is_not_the_last(digits):
    digits.value("""(() => {
      const own = tf.Tensor.prototype.data;
      tf.Tensor.prototype.data = () => { tf.Tensor.prototype.data = own; throw new Error("the device was lost"); };
    })()""")
    digits.key("7", ord("7"))
    digits.wait(f"{TEXT.format('check')} === 'the device was lost'")
    digits.key("0", ord("0"))
    digits.wait(f"{TEXT.format('best')} === '0'")


def luminance(colour):
    """Relative luminance of sRGB, 0 to 1.  Source: WCAG 2.2."""
    c = np.array(colour) / 255
    return float(np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722])
