"""Training, validation and test data, and a sweep of hyperparameters with its table.

Every choice, of the learning rate, the batch size, the width, is made by validation data; the test data is read once,
by the winner. With `out=FILE` a sweep keeps each trial as it ends, and one that was stopped goes on from there.
"""

import numpy as np

import weft
from weft import nn, optim
from weft.data import DataLoader, digits, random_split
from weft.recipes.example import Example, main
from weft.train import Trainer, sweep


def build(width: int) -> nn.Sequential:
    """Images (N, 1, 8, 8) -> scores (N, 10)."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))


def run(example: Example) -> None:
    samples, _ = digits()
    train, validation, test = random_split(samples, [0.6, 0.2, 0.2], seed=example.seed, stratify=samples.arrays[1])
    epochs = example.choose(short=3, default=8)
    print(f"{len(train):,} images to train with, {len(validation)} to choose by, {len(test)} to be read once")

    def fit(lr: float, batch_size: int, width: int, seed: int = example.seed) -> Trainer:
        weft.random.seed(seed)
        model = build(width)
        trainer = Trainer(model, optim.SGD(model.parameters(), lr=lr, momentum=0.9), nn.CrossEntropyLoss(),
                          metrics=["accuracy"], progress=False)  # fmt: skip
        with np.errstate(over="ignore", invalid="ignore"):
            trainer.fit(DataLoader(train, batch_size, shuffle=True, seed=seed), epochs=epochs)
        return trainer

    def trial(**settings) -> dict[str, float]:
        figures = fit(**settings).evaluate(DataLoader(validation, 512))
        return {"validation_loss": figures["loss"], "validation_accuracy": figures["accuracy"]}

    grid = {
        "lr": example.choose(short=[0.001, 0.03, 1.0], default=[0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0]),
        "batch_size": example.choose(short=[16, 128], default=[8, 32, 128, 512]),
        "width": example.choose(short=[64], default=[16, 128]),
    }
    seeds = list(example.seeds()) if example.form == "full" else None
    table = sweep(trial, grid, seeds=seeds)
    print(table.table(10))
    best, worst = table.best, min(row["validation_accuracy"] for row in table)
    tested = 100 * fit(**table.settings).evaluate(DataLoader(test, 512))["accuracy"]
    least = example.choose(short=85, default=95)
    example.figure("trials", len(table), at_least=len(grid["lr"]) * len(grid["batch_size"]) * len(grid["width"]))
    example.figure("test accuracy of the best", tested, "%", at_least=least, beside={"worst trial": 100 * worst})
    chosen = 100 * best["validation_accuracy"]
    example.figure("validation less test accuracy of the best", chosen - tested, "points", at_most=4)
    draw(example, table, grid)


def draw(example: Example, table, grid) -> None:
    """Validation accuracy by rate and batch size, one panel for each width, the winner framed."""
    figure, axes = example.canvas(1.5 + 4.6 * len(grid["width"]), 3.8, len(grid["width"]))
    for axis, width in zip(axes, grid["width"]):
        found = {
            (row["batch_size"], row["lr"]): 100 * row["validation_accuracy"] for row in table if row["width"] == width
        }
        values = np.array([[found[size, rate] for rate in grid["lr"]] for size in grid["batch_size"]])
        shown = axis.imshow(values, cmap="Blues", vmin=10, vmax=100, aspect="auto")
        for (i, j), value in np.ndenumerate(values):
            axis.text(
                j, i, f"{value:.1f}", ha="center", va="center", fontsize=9, color="white" if value > 65 else "#222222"
            )
        axis.set_xticks(range(len(grid["lr"])), [f"{rate:g}" for rate in grid["lr"]])
        axis.set_yticks(range(len(grid["batch_size"])), grid["batch_size"])
        axis.set(title=f"width {width}", xlabel="learning rate", ylabel="batch size")
        if width == table.settings["width"]:
            place = grid["lr"].index(table.settings["lr"]), grid["batch_size"].index(table.settings["batch_size"])
            axis.plot(
                *place, "s", markersize=34, markerfacecolor="none", markeredgecolor="#d95f0e", markeredgewidth=2.5
            )
    figure.colorbar(shown, ax=axes, label="validation accuracy, %")
    example.picture(figure)


if __name__ == "__main__":
    main(run)
