"""Too high a learning rate diverges, too low a one crawls: the finder's curve says where to begin.

The finder trains for a few batches while the rate climbs, watches the loss, and puts everything back. What it suggests
is then held to the truth: the same net trained from the start at each of a ladder of rates, judged by validation data.
"""

import numpy as np

import weft
from weft import nn, optim
from weft.data import DataLoader, digits, random_split
from weft.recipes.example import Example, main
from weft.train import NonFiniteError, Trainer, find_learning_rate


def parts(train, rate: float, seed: int) -> tuple[nn.Module, optim.SGD, DataLoader]:
    weft.random.seed(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    return model, optim.SGD(model.parameters(), lr=rate, momentum=0.9), DataLoader(train, 32, shuffle=True, seed=seed)


def trained(train, validation, rate: float, seed: int, epochs: int) -> tuple[float, list[float]]:
    """The accuracy on the validation data in %, and the loss of every step (until it was none)."""
    model, optimizer, loader = parts(train, rate, seed)
    trainer = Trainer(model, optimizer, nn.CrossEntropyLoss(), metrics=["accuracy"], log_every=1, progress=False)
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            trainer.fit(loader, epochs=epochs)
            accuracy = trainer.evaluate(DataLoader(validation, 512))["accuracy"]
    except NonFiniteError:
        accuracy = 0.0
    return 100 * accuracy, [record["loss"] for record in trainer.records if record["event"] == "step"]


def run(example: Example) -> None:
    samples, _ = digits()
    train, validation = random_split(samples, [0.7, 0.3], seed=example.seed, stratify=samples.arrays[1])
    epochs, count = example.choose(short=4, default=10), example.choose(short=7, default=19)
    model, optimizer, loader = parts(train, 1e-3, example.seed)
    curve = find_learning_rate(model, optimizer, nn.CrossEntropyLoss(), loader, lowest=1e-5, highest=100.0, steps=140)
    example.figure("suggested rate", curve.suggestion, at_least=1e-3, at_most=1.0)

    ladder = np.geomspace(1e-5, 10, count)
    reached = [trained(train, validation, rate, example.seed, epochs)[0] for rate in ladder]
    runs = {
        "too low": curve.suggestion / 1000,
        "suggested": curve.suggestion,
        "too high": 3 * (curve.diverged_at or ladder[-1]),
    }
    results = {name: trained(train, validation, rate, example.seed, epochs) for name, rate in runs.items()}
    accuracy, losses = results["suggested"]
    least = example.choose(short=85, default=93)
    example.figure("accuracy at it", accuracy, "%", at_least=least, beside={f"best of {count} rates": max(reached)})
    example.figure("accuracy a thousandth of it", results["too low"][0], "%", at_most=40, beside={"chance": 10})
    example.figure("accuracy at three times the rate of divergence", results["too high"][0], "%", at_most=40)
    example.figure("its largest loss, over that of guessing", max(results["too high"][1]) / np.log(10), at_least=1.5)
    draw(example, curve, ladder, reached, runs, results)


def draw(example: Example, curve, ladder, reached, runs, results) -> None:
    figure, (finder, truth, courses) = example.canvas(14, 3.8, 3)
    curve.draw(finder)
    finder.set_title(f"the finder: {len(curve.rates)} batches")
    truth.semilogx(ladder, reached, "o-", color="#2166ac", markersize=4)
    truth.axvline(curve.suggestion, color="#d95f0e", linestyle="--", label="suggestion")
    truth.set(title="the truth: trained at each rate", xlabel="learning rate", ylabel="validation accuracy, %")
    truth.legend(frameon=False, fontsize=9)
    for (name, (accuracy, losses)), colour in zip(results.items(), ("#8a8a8a", "#d95f0e", "#b2182b")):
        courses.plot(range(1, len(losses) + 1), losses, color=colour, linewidth=1.2,
                     label=f"{name}, {runs[name]:.2g}: {accuracy:.0f} % right")  # fmt: skip
    courses.set(title="three trainings", xlabel="step", ylabel="loss of the batch", ylim=(0, 6))
    courses.legend(frameon=False, fontsize=9)
    example.picture(figure)


if __name__ == "__main__":
    main(run)
