"""MNIST, handwritten digits of 28 x 28 pixels: a CNN of 468,000 parameters, in a few minutes on two CPU cores.

Of the 60,000 training images 5,000 are kept for validation; the 10,000 test images are read once, at the end.

    weft train mnist
    weft predict runs/mnist-1 photo-of-a-digit.png
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import weft
from weft import nn
from weft.data import DataLoader, Normalize, mnist, random_split
from weft.optim import AdamW, OneCycleLR
from weft.recipes.common import Ink, Run
from weft.train import Trainer

INK = Ink(size=28, margin=4, mean=0.1307, std=0.3081)  # mean and standard deviation of the training images
SCALE = Normalize(INK.mean, INK.std)


def build() -> nn.Sequential:
    """Images (N, 1, 28, 28) -> scores (N, 10)."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),  # (N, 32, 14, 14)
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(64, 64, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),  # (N, 64, 7, 7)
        nn.Flatten(),
        nn.Dropout(0.25),
        nn.Linear(3136, 128),
        nn.ReLU(),
        nn.Dropout(0.25),
        nn.Linear(128, 10),
    )


def example() -> tuple[dict[str, Any], Any]:
    """Inputs for an export, and their dynamic axes; None: the batch."""
    return {"x": weft.random.normal((2, 1, 28, 28))}, None


def prepare(path: Path | str) -> Any:
    return INK.prepare(path)


def load(data: str | None = None) -> Any:
    return mnist(data)


def split(loaded: Any, seed: int) -> list[Any]:
    """The images to train with, to validate and to test, out of what `load` gave."""
    samples = loaded.train
    return [*random_split(samples, [11 / 12, 1 / 12], seed=seed, stratify=samples.arrays[1]), loaded.test]


def run(
    device: str | None = None,
    epochs: int = 3,
    seed: int = 0,
    data: str | None = None,
    out: str = "runs",
    resume: bool = False,
    steps: int | None = None,
    autocast: str | None = None,
) -> dict[str, Any]:
    loaded = load(data)
    classes, source = loaded.classes, loaded.name
    this = Run("mnist", out, resume, epochs=epochs, steps=steps, autocast=autocast, seed=seed, classes=classes)
    seed = this.seed
    weft.random.seed(seed)
    train, validation, test = split(loaded, seed)
    loader = DataLoader(train, 64, shuffle=True, drop_last=True, seed=seed, workers=1, transform=SCALE)

    model = build().to(device)
    this.announce(f"{source}: {len(train):,} train, {len(validation):,} validation, {len(test):,} test", model)

    optimizer = AdamW(model.parameters(), lr=2e-3)
    schedule = OneCycleLR(optimizer, max_lr=2e-3, total_steps=this.steps_of(loader))
    trainer = Trainer(
        model, optimizer, nn.CrossEntropyLoss(), schedule=schedule, metrics=["accuracy"],
        out=this.folder, autocast=this.autocast,
    )  # fmt: skip
    seen = DataLoader(validation, 500, transform=SCALE)
    rounds = trainer.fit(loader, seen, epochs=this.epochs, steps=this.steps, resume=resume)
    tested = trainer.evaluate(DataLoader(test, 500, transform=SCALE), confusion="confusion.png", classes=classes)
    return this.conclude(
        train=rounds[-1]["accuracy"], validation=rounds[-1]["validation_accuracy"], test=tested["accuracy"]
    )


if __name__ == "__main__":
    run()
