"""A net leaves for the browser, as a TensorFlow.js layers model and as ONNX, sees the same digits, and comes back.

A network of three dense layers learns MNIST. Its page (`weft serve` shows such a one of any run) opens in Chromium
without a window, once computed by TensorFlow.js and once by onnxruntime-web; the probabilities of 100 test digits are
compared with Weft's. Without Chromium, or without npm, onnxruntime computes instead.
"""

import json
import threading
from pathlib import Path

import numpy as np

import weft
from weft import nn, optim
from weft.browser import chromium, runtime, server, site
from weft.data import DataLoader, Normalize, Subset, mnist
from weft.data.download import DownloadError
from weft.recipes.common import Ink
from weft.recipes.example import Example, main

INK = Ink(size=28, margin=4, mean=0.1307, std=0.3081)
ENGINES = {"tfjs": "TensorFlow.js", "onnx": "onnxruntime-web"}


def network() -> nn.Sequential:
    """(N, 1, 28, 28) -> (N, 10), 109,386 parameters."""
    dense = (nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))
    return nn.Sequential(nn.Flatten(), *dense)


def train(train_set, epochs: int) -> nn.Sequential:
    model = network()
    optimizer = optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(epochs):
        for x, y in DataLoader(train_set, 64, shuffle=True, transform=Normalize(INK.mean, INK.std)):
            loss = nn.functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model.eval()


def probabilities(model: nn.Module, images: np.ndarray) -> np.ndarray:
    with weft.no_grad():
        return nn.functional.softmax(model(weft.asarray(INK.scaled(images))), dim=1).numpy()


def in_browser(model: nn.Module, digits, engine: str, folder: Path) -> tuple[np.ndarray, dict | None]:
    """(probabilities of the digits, the model's weights) as a page in Chromium gives them."""
    classes = [str(digit) for digit in range(10)]
    made = site.make("browser", model, weft.ones((1, 1, 28, 28)), INK, classes, tested=digits, engine=engine)
    with server.Server(made, keep=lambda body: "nowhere") as page:
        threading.Thread(target=page.serve_forever, daemon=True).start()
        with chromium.Chromium() as browser:
            browser.open(page.url)
            browser.wait("document.body && document.body.dataset.ready")
            browser.key("7", ord("7"))
            browser.wait("document.getElementById('best').textContent !== '–'")
            found = np.array(browser.value("weft.predict(weft.digits())"))
            weights = json.loads(browser.value("weft.weights()")) if engine == "tfjs" else None
            browser.screenshot(folder / f"page-{engine}.png")
        page.shutdown()
    return found, weights


def in_onnxruntime(path: Path, images: np.ndarray) -> np.ndarray:
    import onnxruntime

    (scores,) = onnxruntime.InferenceSession(path).run(None, {"x": INK.scaled(images)})
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def has(engine: str) -> bool:
    """Whether Chromium and the engine's library are here, which npm is asked for once."""
    if chromium.find() is None:
        return False
    try:
        return runtime.get(engine, progress=False).is_dir()
    except DownloadError as error:
        print(error)
        return False


def run(example: Example) -> None:
    train_set, test_set, _, _ = mnist(example.data)
    some = Subset(train_set, np.arange(example.choose(short=6_000, default=60_000)))
    model = train(some, epochs=example.choose(short=1, default=5))
    right = (probabilities(model, test_set.arrays[0]).argmax(axis=1) == test_set.arrays[1]).mean()
    example.figure("accuracy on MNIST's test images", 100 * right, "%", at_least=example.choose(short=85, default=96.5))

    digits = site.even(test_set, classes=10)  # 10 of each class
    want = probabilities(model, digits[0])
    weft.tfjs.export(model, weft.ones((1, 1, 28, 28)), example.folder / "tfjs")
    weft.onnx.export(model, weft.ones((1, 1, 28, 28)), example.folder / "model.onnx", input_names=["x"])
    found, weights = {}, None
    for engine, name in ENGINES.items():
        if has(engine):
            found[f"{name} in Chromium"], sent = in_browser(model, digits, engine, example.folder)
            weights = sent or weights
    if not found:
        found["onnxruntime"] = in_onnxruntime(example.folder / "model.onnx", digits[0])
    for where, shares in found.items():
        same = (shares.argmax(axis=1) == want.argmax(axis=1)).sum()
        example.figure(f"same class, {where}", same, "of 100", at_least=100)
        example.figure(f"largest difference of a probability, {where}", np.abs(shares - want).max(), at_most=1e-4)

    # Back again: what the page holds, or the files where there is no page, and the ONNX file as a module of its own.
    path = example.folder / ("from-the-page.json" if weights else "tfjs")
    if weights:
        path.write_text(json.dumps(weights))
    from_onnx = weft.onnx.load(example.folder / "model.onnx")
    for name, again in (("TensorFlow.js", weft.tfjs.load(path, network()).eval()), ("ONNX", from_onnx)):
        difference = np.abs(probabilities(again, digits[0]) - want).max()
        example.figure(f"largest difference, back from {name}", difference, at_most=1e-6)
    draw(example, digits, {"Weft": want, **found})


def draw(example: Example, digits, shares: dict[str, np.ndarray]) -> None:
    """Ten test digits, and below each how sure each of the runtimes is of each class."""
    figure, axes = example.canvas(12, 3.4, 10)
    for axis, image, label in zip(axes, *(part[:10] for part in digits)):
        axis.imshow(1 - image[0], cmap="gray", vmin=0, vmax=1)
        axis.set(xticks=[], yticks=[], title=str(label))
        i = int(label)
        below = axis.inset_axes((0, -1.15, 1, 0.95))
        height = 0.8 / len(shares)
        for row, (where, values) in enumerate(shares.items()):
            below.barh(np.arange(10) + (row + 0.5) * height - 0.4, values[i], height, label=where)
        below.set(xlim=(0, 1), yticks=range(10), xticks=[0, 1], xticklabels=["0", "1"])
        below.tick_params(labelsize=7)
        below.invert_yaxis()
        below.set_xlabel("probability", fontsize=7)
        if axis is axes[0]:
            below.set_ylabel("class", fontsize=7)
    names = below.get_legend_handles_labels()
    figure.legend(*names, loc="lower center", bbox_to_anchor=(0.5, 0.82), ncols=len(shares), frameon=False)
    example.picture(figure)


if __name__ == "__main__":
    main(run)
