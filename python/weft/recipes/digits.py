"""Handwritten digits of 8 x 8 pixels: a small CNN, in half a minute on two CPU cores.

The 1,797 images come with scikit-learn. They are split at random, each class in the same share: 70 % to train, 10 % to
validate, 20 % to test. The images are turned, shifted and scaled a little, anew in each epoch.

    weft train digits
    weft predict runs/digits-1 photo-of-a-digit.png
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import weft
from weft import nn
from weft.data import DataLoader, RandomAffine, digits, random_split
from weft.optim import AdamW, OneCycleLR
from weft.recipes.common import Ink, Run
from weft.train import Trainer

INK = Ink(size=8, margin=0)


def layer(inputs: int, outputs: int) -> list[Any]:
    return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]


def build(width: int = 32) -> nn.Sequential:
    """Images (N, 1, 8, 8) -> scores (N, 10)."""
    return nn.Sequential(
        *layer(1, width),
        *layer(width, width),
        nn.MaxPool2d(2),  # (N, width, 4, 4)
        *layer(width, 2 * width),
        *layer(2 * width, 2 * width),
        nn.MaxPool2d(2),  # (N, 2 width, 2, 2)
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(8 * width, 10),
    )


def example() -> tuple[dict[str, Any], Any]:
    """Inputs for an export, and their dynamic axes; None: the batch."""
    return {"x": weft.random.normal((2, 1, 8, 8))}, None


def prepare(path: Path | str) -> Any:
    return INK.prepare(path)


def load(data: str | None = None) -> Any:
    return digits()


def split(loaded: Any, seed: int) -> list[Any]:
    """The images to train with, to validate and to test, out of what `load` gave."""
    samples, _ = loaded
    return random_split(samples, [0.7, 0.1, 0.2], seed=seed, stratify=samples.arrays[1])


def run(
    device: str | None = None,
    epochs: int = 40,
    seed: int = 0,
    data: str | None = None,
    out: str = "runs",
    resume: bool = False,
    steps: int | None = None,
    autocast: str | None = None,
) -> dict[str, Any]:
    loaded = load(data)
    classes = loaded[1]
    this = Run("digits", out, resume, epochs=epochs, steps=steps, autocast=autocast, seed=seed,
               model={"width": 32}, classes=classes)  # fmt: skip
    seed = this.seed
    weft.random.seed(seed)
    train, validation, test = split(loaded, seed)
    augment = RandomAffine(degrees=10, translate=(0.125, 0.125), scale=(0.9, 1.1))
    loader = DataLoader(train, 64, shuffle=True, drop_last=True, seed=seed, transform=augment)

    model = build(**this.settings["model"]).to(device)
    this.announce(f"{len(train):,} train, {len(validation)} validation, {len(test)} test, at random, stratified", model)

    optimizer = AdamW(model.parameters(), lr=3e-3)
    schedule = OneCycleLR(optimizer, max_lr=3e-3, total_steps=this.steps_of(loader))
    trainer = Trainer(
        model, optimizer, nn.CrossEntropyLoss(), schedule=schedule, metrics=["accuracy"],
        out=this.folder, autocast=this.autocast,
    )  # fmt: skip
    rounds = trainer.fit(loader, DataLoader(validation, 256), epochs=this.epochs, steps=this.steps, resume=resume)
    trained = trainer.evaluate(DataLoader(train, 256))  # as they are, not turned and shifted
    tested = trainer.evaluate(DataLoader(test, 256), confusion="confusion.png", classes=classes)
    return this.conclude(
        train=trained["accuracy"], validation=rounds[-1]["validation_accuracy"], test=tested["accuracy"]
    )


if __name__ == "__main__":
    run()
