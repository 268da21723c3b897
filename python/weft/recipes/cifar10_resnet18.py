"""CIFAR-10 with a ResNet-18 of full width, for a GPU; on a CPU its example, a quarter as wide, takes two minutes.

Of the 50,000 training images 5,000 are kept for validation; the 10,000 test images are read once, at the end. Training
images are mirrored, shifted and cut out. The network is ResNet-18 of He et al., 2015, with a stem for 32 x 32 pixels.
Where only the copy as JPEG is found, the output says so: results on it are not comparable with published ones.

    weft train cifar10_resnet18 --autocast bf16
    weft predict runs/cifar10_resnet18-1 photo.jpg
"""

from __future__ import annotations

from typing import Any

import weft
from weft import models, nn
from weft.data import Compose, Cutout, DataLoader, RandomCrop, RandomHorizontalFlip, cifar10, random_split
from weft.optim import SGD, OneCycleLR
from weft.recipes.cifar10 import SCALE, example, prepare
from weft.recipes.common import Run
from weft.train import Trainer

__all__ = ["build", "example", "prepare", "run"]
BATCH, RATE = 256, 0.4


def build(width: int = 64) -> nn.Module:
    """Images (N, 3, 32, 32) -> scores (N, 10)."""
    model: nn.Module = models.resnet18(10, small=True, width=width)
    return model


def run(
    device: str | None = None,
    epochs: int = 30,
    seed: int = 0,
    data: str | None = None,
    out: str = "runs",
    resume: bool = False,
    steps: int | None = None,
    autocast: str | None = None,
) -> dict[str, Any]:
    samples, test, classes, source = cifar10(data)
    this = Run(
        "cifar10_resnet18", out, resume, epochs=epochs, steps=steps, autocast=autocast, seed=seed, classes=classes
    )
    seed = this.seed
    weft.random.seed(seed)
    train, validation = random_split(samples, [0.9, 0.1], seed=seed, stratify=samples.arrays[1])
    augment = Compose([RandomHorizontalFlip(), RandomCrop(4, padding_mode="reflect"), Cutout(8), SCALE])
    loader = DataLoader(train, BATCH, shuffle=True, drop_last=True, seed=seed, workers=4, transform=augment)

    model = build().to(device)
    this.announce(f"{source}: {len(train):,} train, {len(validation):,} validation, {len(test):,} test", model)

    # Weights decay; the scales and shifts of batch norm and the bias of the head do not.
    groups = [{"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": 5e-4},
              {"params": [p for p in model.parameters() if p.ndim == 1], "weight_decay": 0.0}]  # fmt: skip
    optimizer = SGD(groups, lr=RATE, momentum=0.9, nesterov=True)
    schedule = OneCycleLR(optimizer, max_lr=RATE, total_steps=this.steps_of(loader))
    trainer = Trainer(
        model, optimizer, nn.CrossEntropyLoss(label_smoothing=0.1), schedule=schedule, metrics=["accuracy"],
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
