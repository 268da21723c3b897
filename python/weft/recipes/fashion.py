"""Fashion-MNIST, clothes of 28 x 28 pixels: a CNN with batch norm, in several minutes on two CPU cores.

Of the 60,000 training images 5,000 are kept for validation; the 10,000 test images are read once, at the end. Half of
the training images are mirrored, others in each epoch: a boot may point either way.

    weft train fashion
    weft predict runs/fashion-1 photo-of-a-shoe.png
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import weft
from weft import nn
from weft.data import Compose, DataLoader, Normalize, RandomHorizontalFlip, fashion_mnist, random_split, read_image
from weft.optim import AdamW, OneCycleLR
from weft.recipes.common import Run
from weft.train import Trainer

SCALE = Normalize(0.2860, 0.3530)  # mean and standard deviation of the training images


def layer(inputs: int, outputs: int) -> list[Any]:
    return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]


def build() -> nn.Sequential:
    """Images (N, 1, 28, 28) -> scores (N, 10)."""
    return nn.Sequential(
        *layer(1, 32),
        *layer(32, 32),
        nn.MaxPool2d(2),  # (N, 32, 14, 14)
        *layer(32, 64),
        *layer(64, 64),
        nn.MaxPool2d(2),  # (N, 64, 7, 7)
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(3136, 128),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(128, 10),
    )


def example() -> tuple[dict[str, Any], Any]:
    """Inputs for an export, and their dynamic axes; None: the batch."""
    return {"x": weft.random.normal((2, 1, 28, 28))}, None


def prepare(path: Path | str) -> Any:
    image = read_image(path, (28, 28), channels=1)  # (1, 28, 28)
    if image[0, :, [0, -1]].mean() > 127:  # the data set shows bright clothes on black
        image = 255 - image
    return SCALE(image[None])[0]


def load(data: str | None = None) -> Any:
    return fashion_mnist(data)


def split(loaded: Any, seed: int) -> list[Any]:
    """The images to train with, to validate and to test, out of what `load` gave."""
    samples = loaded.train
    return [*random_split(samples, [11 / 12, 1 / 12], seed=seed, stratify=samples.arrays[1]), loaded.test]


def run(
    device: str | None = None,
    epochs: int = 6,
    seed: int = 0,
    data: str | None = None,
    out: str = "runs",
    resume: bool = False,
    steps: int | None = None,
    autocast: str | None = None,
) -> dict[str, Any]:
    loaded = load(data)
    classes, source = loaded.classes, loaded.name
    this = Run("fashion", out, resume, epochs=epochs, steps=steps, autocast=autocast, seed=seed, classes=classes)
    seed = this.seed
    weft.random.seed(seed)
    train, validation, test = split(loaded, seed)
    augment = Compose([RandomHorizontalFlip(), SCALE])
    loader = DataLoader(train, 64, shuffle=True, drop_last=True, seed=seed, workers=1, transform=augment)

    model = build().to(device)
    this.announce(f"{source}: {len(train):,} train, {len(validation):,} validation, {len(test):,} test", model)

    optimizer = AdamW(model.parameters(), lr=3e-3)
    schedule = OneCycleLR(optimizer, max_lr=3e-3, total_steps=this.steps_of(loader))
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
