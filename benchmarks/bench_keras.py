"""What `fit` of weft.keras costs beside weft.train.Trainer, per step: `python benchmarks/bench_keras.py`.

An epoch of 32 samples a step with Adam and accuracy, of the same layers, in turns. "small" is a perceptron so small
that its steps are the loop's own cost; in "mlp" and "cnn" the products count too. --peer: Keras's own `fit`, on
PyTorch, in turns with them (the extra `peers`); its threads disturb the other two, whose ratio is to be had without.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import Any

import harness

if __name__ == "__main__":
    harness.quiet_environment()
    os.environ.setdefault("KERAS_BACKEND", "torch")

import numpy as np

# name -> (shape of a sample, steps of an epoch, layers in Keras's words)
MODELS: dict[str, tuple[tuple[int, ...], int, Callable[[Any], list[Any]]]] = {
    "small": ((2, 2), 200, lambda L: [L.Flatten(), *(L.Dense(8, activation="relu") for _ in range(2))]),
    "mlp": ((28, 28), 100, lambda L: [L.Flatten(), *(L.Dense(n, activation="relu") for n in (128, 64))]),
    "cnn": ((16, 16, 3), 50, lambda L: [
        L.Conv2D(16, 3, activation="relu"), L.BatchNormalization(), L.MaxPooling2D(),
        L.Conv2D(32, 3, activation="relu"), L.GlobalAveragePooling2D(),
    ]),
}  # fmt: skip
CLASSES, BATCH = 10, 32


def keras_fit(keras: Any, name: str, x: Any, y: Any) -> Callable[[], Any]:
    shape, _, layers = MODELS[name]
    last = keras.layers.Dense(CLASSES, activation="softmax")
    model = keras.Sequential([keras.Input(shape), *layers(keras.layers), last])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return lambda: model.fit(x, y, batch_size=BATCH, verbose=0)


def trainer_fit(name: str, x: Any, y: Any) -> Callable[[], Any]:
    from weft import nn, optim
    from weft.data import ArrayDataset, DataLoader
    from weft.train import Trainer

    if name == "cnn":
        x = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
        layers = [nn.Conv2d(3, 16, 3), nn.ReLU(), nn.BatchNorm2d(16), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3),
                  nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, CLASSES)]  # fmt: skip
    else:
        widths = (4, 8, 8) if name == "small" else (784, 128, 64)
        hidden = [layer for a, b in zip(widths, widths[1:]) for layer in (nn.Linear(a, b), nn.ReLU())]
        layers = [nn.Flatten(), *hidden, nn.Linear(widths[-1], CLASSES)]
    model = nn.Sequential(*layers)
    optimizer = optim.Adam(model.parameters())

    def fit() -> None:
        trainer = Trainer(model, optimizer, nn.CrossEntropyLoss(), metrics=["accuracy"], progress=False)
        trainer.fit(DataLoader(ArrayDataset(x, y), BATCH, True), epochs=1)

    return fit


def bench(name: str, seconds: float, peer: bool) -> dict[str, Any]:
    from weft import keras

    shape, steps, _ = MODELS[name]
    rng = np.random.default_rng(0)
    x, y = rng.random((steps * BATCH, *shape)).astype("f"), rng.integers(0, CLASSES, steps * BATCH)
    functions = {"trainer": trainer_fit(name, x, y), "weft.keras": keras_fit(keras, name, x, y)}
    if peer:
        import keras as theirs

        functions["keras"] = keras_fit(theirs, name, x, y)
    times = harness.alternate(functions, seconds=seconds, rounds=15)
    each = {f: {k: v / steps for k, v in t.items()} for f, t in times.items()}
    ratio = each["weft.keras"]["median"] / each["trainer"]["median"]
    text = ", ".join(f"{f} {harness.duration(t['median'])} ({harness.duration(t['p10'])} to "
                     f"{harness.duration(t['p90'])})" for f, t in each.items())  # fmt: skip
    print(f"  {name:5s} a step: {text}; weft.keras / trainer {ratio:.2f}", flush=True)
    return {"model": name, "steps": steps, "seconds_per_step": each, "ratio": ratio}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", help=f"some of {', '.join(MODELS)}; all by default")
    parser.add_argument("--seconds", type=float, default=15.0, help="per model")
    parser.add_argument("--peer", action="store_true", help="Keras on PyTorch, too")
    args = parser.parse_args()
    facts = harness.announce("One step of fit, float32")
    harness.save("keras", facts, [bench(name, args.seconds, args.peer) for name in args.models or MODELS])


if __name__ == "__main__":
    main()
