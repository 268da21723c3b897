"""CIFAR-10, colour photos of 32 x 32 pixels: a small residual network, in about an hour on two CPU cores.

Of the 50,000 training images 5,000 are kept for validation; the 10,000 test images are read once, at the end. Training
images are mirrored and shifted. The network is ResNet-20 of He et al., 2015, section 4.2. Where only the copy as JPEG
is found, the output says so: results on it are not comparable with published ones.

    weft train cifar10
    weft predict runs/cifar10-1 photo.jpg
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import weft
from weft import nn
from weft.data import (
    Compose,
    DataLoader,
    Normalize,
    RandomCrop,
    RandomHorizontalFlip,
    cifar10,
    random_split,
    read_image,
)
from weft.nn import functional as F
from weft.optim import SGD, OneCycleLR
from weft.recipes.common import Run
from weft.train import Trainer

SCALE = Normalize([0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616])  # per channel, of the training images


class Block(nn.Module):
    """Two convolutions that learn what to add to the image; where the size changes, the image is fitted to it."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.fit: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.fit = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Any) -> Any:
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.fit(x))


def build(width: int = 16, blocks: int = 3) -> nn.Sequential:
    """Images (N, 3, 32, 32) -> scores (N, 10)."""
    layers = [nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    inputs = width
    for stage in range(3):  # 32 x 32, 16 x 16, 8 x 8 pixels
        for block in range(blocks):
            outputs = width * 2**stage
            layers.append(Block(inputs, outputs, stride=2 if stage and not block else 1))
            inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, 10))


def example() -> tuple[dict[str, Any], Any]:
    """Inputs for an export, and their dynamic axes; None: the batch."""
    return {"x": weft.random.normal((2, 3, 32, 32))}, None


def prepare(path: Path | str) -> Any:
    return SCALE(read_image(path, (32, 32))[None])[0]


def run(
    device: str | None = None,
    epochs: int = 20,
    seed: int = 0,
    data: str | None = None,
    out: str = "runs",
    resume: bool = False,
    steps: int | None = None,
    autocast: str | None = None,
) -> dict[str, Any]:
    samples, test, classes, source = cifar10(data)
    this = Run("cifar10", out, resume, epochs=epochs, steps=steps, autocast=autocast, seed=seed, classes=classes)
    seed = this.seed
    weft.random.seed(seed)
    train, validation = random_split(samples, [0.9, 0.1], seed=seed, stratify=samples.arrays[1])
    augment = Compose([RandomHorizontalFlip(), RandomCrop(4), SCALE])
    loader = DataLoader(train, 128, shuffle=True, drop_last=True, seed=seed, workers=1, transform=augment)

    model = build().to(device)
    this.announce(f"{source}: {len(train):,} train, {len(validation):,} validation, {len(test):,} test", model)

    optimizer = SGD(model.parameters(), lr=0.4, momentum=0.9, nesterov=True, weight_decay=5e-4)
    schedule = OneCycleLR(optimizer, max_lr=0.4, total_steps=this.steps_of(loader))
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
