"""Augmentation: photos turned, shifted, mirrored, recoloured, noisy, cut and mixed, and what that gains.

A hand sign stays the same sign when it is turned a little or lit otherwise. Transforms show the net each photo anew in
every epoch, so it learns more from 100 photos than what just these 100 look like. With and without, the net gets the
same photos and the same number of steps; the transforms were chosen by validation photos.
"""

import numpy as np

import weft
from weft import nn, optim
from weft.data import (
    ArrayDataset,
    ColorJitter,
    Compose,
    CutMix,
    Cutout,
    DataLoader,
    GaussianBlur,
    GaussianNoise,
    MixUp,
    Normalize,
    RandomAffine,
    RandomErasing,
    RandomGrayscale,
    RandomHorizontalFlip,
    RandomPerspective,
    RandomResizedCrop,
    RandomVerticalFlip,
    Resize,
    SampleRandom,
    random_split,
    sign_digits,
)
from weft.recipes.example import Example, main
from weft.train import Trainer, draw_images

SCALE = Normalize(0.5, 0.25)
GENTLE = Compose([RandomHorizontalFlip(), RandomAffine(12, (0.1, 0.1), (0.9, 1.1)), SCALE])
SHOWN = {
    "as taken": Compose([]), "mirrored": RandomHorizontalFlip(1.0),
    "upside down": RandomVerticalFlip(1.0), "turned": RandomAffine((15, 40)),
    "shifted": RandomAffine(0, (0.25, 0.25)), "scaled": RandomAffine(0, scale=(0.6, 0.8)),
    "sheared": RandomAffine(0, shear=(15, 30)), "perspective": RandomPerspective(0.8, p=1.0),
    "crop resized": RandomResizedCrop(100, (0.2, 0.4)), "darker": ColorJitter(brightness=(0.5, 0.6)),
    "contrast": ColorJitter(contrast=(1.6, 2.0)), "saturation": ColorJitter(saturation=(2.0, 3.0)),
    "hue": ColorJitter(hue=(0.2, 0.5)), "grey": RandomGrayscale(1.0), "noise": GaussianNoise(0.15),
    "blur": GaussianBlur(9, (2.0, 3.0)), "cutout": Cutout(40), "erased": RandomErasing(1.0, value="random"),
}  # fmt: skip
MIXED = {"mixup": MixUp(8.0, num_classes=10), "cutmix": CutMix(8.0, num_classes=10)}


def net() -> nn.Sequential:
    """Photos (N, 3, 32, 32) -> scores (N, 10)."""

    def layer(inputs: int, outputs: int) -> list[nn.Module]:
        convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        return [convolution, nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(2)]

    layers = [*layer(3, 16), *layer(16, 32), *layer(32, 64)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.2), nn.Linear(1024, 10))


def learn(train, transform, mix, epochs: int, seed: int, device: str | None) -> Trainer:
    weft.random.seed(seed)
    model = net().to(device)
    loader = DataLoader(train, 25, shuffle=True, drop_last=True, seed=seed, transform=transform, mix=mix)
    optimizer = optim.AdamW(model.parameters(), lr=5e-3)
    schedule = optim.OneCycleLR(optimizer, max_lr=5e-3, total_steps=epochs * len(loader))
    trainer = Trainer(model, optimizer, nn.CrossEntropyLoss(), schedule=schedule, progress=False)
    trainer.fit(loader, epochs=epochs)
    return trainer


def run(example: Example) -> None:
    photos, classes = sign_digits(example.data)
    small = ArrayDataset(Resize(32)(photos.arrays[0]), photos.arrays[1])
    epochs = example.choose(short=20, default=150)
    mixup = MixUp(0.2, num_classes=10)
    ways = {"as taken": (SCALE, None), "augmented": (GENTLE, None)}
    if example.form != "short":
        ways["augmented and mixed"] = (GENTLE, mixup)
    reached: dict[str, list[float]] = {name: [] for name in ways}
    for seed in example.seeds():
        train, _, test = random_split(small, [0.2, 0.2, 0.6], seed=seed, stratify=small.arrays[1])
        images, labels = (field[test.indices] for field in small.arrays)
        for name, (transform, mix) in ways.items():
            scores = learn(train, transform, mix, epochs, seed, example.device).predict(SCALE(images))
            reached[name].append(100 * (scores.argmax(1) == labels).mean())
        print(f"seed {seed}: " + ", ".join(f"{name} {values[-1]:.1f} %" for name, values in reached.items()))
    mean = {name: float(np.mean(values)) for name, values in reached.items()}
    example.figure("test accuracy, augmented", mean["augmented"], "%",
                   beside={name: value for name, value in mean.items() if name != "augmented"})  # fmt: skip
    gain = mean["augmented"] - mean["as taken"]
    example.figure("gain by augmentation", gain, "points", at_least=example.choose(short=-15, default=4))
    draw(example, photos, mean)


def draw(example: Example, photos, mean) -> None:
    """Every transform on three photos; below each mixture the shares of its labels."""
    chosen = np.array([60, 285, 460])  # a 1, a 5 and a 9
    images, labels = (field[chosen] for field in photos.arrays)
    rng = SampleRandom(example.seed, 0, chosen)
    tiles = [transform(images, rng) for transform in SHOWN.values()]  # (3, 3, 100, 100) each
    captions = [list(SHOWN)] * 3
    for name, mix in MIXED.items():
        mixed, targets = mix(images, labels, rng)
        tiles.append(mixed)
        shares = [", ".join(f"{100 * row[c]:.0f} % {c}" for c in np.argsort(-row)[:2]) for row in targets]
        captions = [[*row, f"{name}:\n{share}"] for row, share in zip(captions, shares)]
    figure, (axis,) = example.canvas(12, 9.6)
    in_rows = np.stack(tiles, axis=1).reshape(-1, 3, 100, 100)  # of each photo all transforms
    draw_images(axis, in_rows, len(tiles) // 2, [caption for row in captions for caption in row])
    said = ", ".join(f"{name} {value:.1f} %" for name, value in mean.items())
    axis.set_title(f"right on test photos after 100 to learn from: {said}", fontsize=11)
    example.picture(figure)


if __name__ == "__main__":
    main(run)
