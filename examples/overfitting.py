"""Overfitting, and the gap between training and validation closed by dropout, L1, L2, early stopping, augmentation.

A net of 235,000 weights learns 400 photos of clothes by heart: its loss on them falls to nothing, and on 2,000 others
it climbs. Each remedy is given to the same net, from the same weights, on the same photos.
"""

import numpy as np

import weft
from weft import nn, optim
from weft.data import ArrayDataset, DataLoader, RandomAffine, fashion_mnist, random_split
from weft.recipes.example import Example, main
from weft.train import Callback, EarlyStopping, Trainer

REMEDIES = ("nothing", "dropout", "L1", "L2", "early stopping", "augmentation")


class Penalised(nn.Module):
    """Cross entropy plus `strength` times the sum of the absolute weights of a model."""

    def __init__(self, model: nn.Module, strength: float):
        self.weights = tuple(p for p in model.parameters() if p.ndim > 1)
        self.strength = strength

    def forward(self, scores, labels):
        loss = nn.functional.cross_entropy(scores, labels)
        if not scores.requires_grad:  # when it is measured, the penalty is no part of the loss
            return loss
        return loss + self.strength * sum(abs(w).sum() for w in self.weights)


class OnPlainImages(Callback):
    """Keeps both losses and accuracies of each epoch, those of the training images measured as validation's are."""

    def __init__(self, train):
        self.loader, self.rows = DataLoader(train, 500), []

    def on_round(self, trainer, record):
        seen = trainer.evaluate(self.loader)
        self.rows.append([seen["loss"], record["validation_loss"], seen["accuracy"], record["validation_accuracy"]])


def trained(remedy: str, train, validation, seed: int, epochs: int) -> np.ndarray:
    """Losses and accuracies (epochs, 4) of a training with one remedy: training, validation, of each."""
    weft.random.seed(seed)
    drop = 0.7 if remedy == "dropout" else 0.0
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 256), nn.ReLU(), nn.Dropout(drop),
                          nn.Linear(256, 128), nn.ReLU(), nn.Dropout(drop), nn.Linear(128, 10))  # fmt: skip
    optimizer = optim.Adam(model.parameters(), lr=3e-3, weight_decay=0.03 if remedy == "L2" else 0.0)
    loss = Penalised(model, 2e-3) if remedy == "L1" else nn.CrossEntropyLoss()
    turned = RandomAffine(degrees=10, translate=(0.1, 0.1), scale=(0.9, 1.1)) if remedy == "augmentation" else None
    loader = DataLoader(train, 50, shuffle=True, seed=seed, transform=turned)
    kept = OnPlainImages(train)
    callbacks = [kept] + ([EarlyStopping(patience=3)] if remedy == "early stopping" else [])
    trainer = Trainer(model, optimizer, loss, metrics=["accuracy"], callbacks=callbacks, progress=False)
    trainer.fit(loader, DataLoader(validation, 500), epochs=epochs)
    return np.array(kept.rows)


def run(example: Example) -> None:
    samples = fashion_mnist(example.data).train
    sizes, epochs = [400, 2000, len(samples) - 2400], example.choose(short=14, default=60)
    curves: dict[str, list[np.ndarray]] = {remedy: [] for remedy in REMEDIES}
    for seed in example.seeds():
        parts = random_split(samples, sizes, seed=seed, stratify=samples.arrays[1])
        train, validation = (as_numbers(part) for part in parts[:2])
        for remedy in REMEDIES:
            curves[remedy].append(trained(remedy, train, validation, seed, epochs))
    ends = {remedy: np.mean([rows[-1] for rows in runs], axis=0) for remedy, runs in curves.items()}
    gaps = {remedy: end[1] - end[0] for remedy, end in ends.items()}
    example.figure("gap of the losses with nothing", gaps["nothing"], at_least=example.choose(short=0.4, default=1.0))
    for remedy in REMEDIES[1:]:
        example.figure(f"gap with {remedy}", gaps[remedy], at_most=0.6 * gaps["nothing"])
        beside = {"with nothing": ends["nothing"][1]}
        most = example.choose(short=1.2, default=1.0) * ends["nothing"][1]
        example.figure(f"validation loss with {remedy}", ends[remedy][1], at_most=most, beside=beside)
    draw(example, {remedy: runs[0] for remedy, runs in curves.items()})


def draw(example: Example, curves: dict[str, np.ndarray]) -> None:
    figure, axes = example.canvas(11, 6, len(REMEDIES))
    top = 1.25 * curves["nothing"][:, 1].max()
    for axis, place, (remedy, rows) in zip(axes, figure.add_gridspec(2, 3), curves.items()):
        axis.set_subplotspec(place)
        epochs, (seen, unseen, right, others) = range(1, len(rows) + 1), rows.T
        axis.fill_between(epochs, seen, unseen, where=unseen > seen, color="#fdd0a2", alpha=0.6)
        axis.plot(epochs, seen, color="#8a8a8a", label="training")
        axis.plot(epochs, unseen, color="#2166ac", label="validation")
        axis.set(title=f"{remedy}: gap {unseen[-1] - seen[-1]:.2f}", ylim=(0, top), xlim=(1, len(curves["nothing"])))
        axis.annotate(f"right: {right[-1]:.0%} of training, {others[-1]:.0%} of validation", (0.97, 0.92),
                      xycoords="axes fraction", fontsize=8, ha="right")  # fmt: skip
        axis.set(xlabel="epoch", ylabel="loss")
    axes[0].legend(frameon=False, fontsize=9, loc="center right")
    example.picture(figure)


def as_numbers(part) -> ArrayDataset:
    """Images in memory as float32 from 0 to 1, with their labels."""
    images, labels = next(iter(DataLoader(part, len(part))))
    return ArrayDataset(images.numpy().astype("float32") / 255, labels.numpy())


if __name__ == "__main__":
    main(run)
