"""Forward, loss, backward, update: four steps by hand or one call of fit, and the same weights to the bit.

The loop below is all of training. `Trainer.fit` is the same four lines with validation, records, checkpoints and
refusals around them, so both nets end alike in every bit; the picture also tells what each step costs.
"""

import time

import numpy as np

import weft
from weft import nn, optim
from weft.data import DataLoader, digits, random_split
from weft.recipes.example import Example, main
from weft.train import Trainer

STEPS = ("forward", "loss", "backward", "update")


def parts(seed: int, train) -> tuple[nn.Module, optim.Adam, DataLoader]:
    """A net, its optimizer and its batches, alike whenever the seed is."""
    weft.random.seed(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.2), nn.Linear(144, 10)
    )
    return model, optim.Adam(model.parameters(), lr=0.005), DataLoader(train, 64, shuffle=True, seed=seed)


def by_hand(seed: int, train, epochs: int) -> tuple[nn.Module, list[float], np.ndarray]:
    """The trained model, the loss of each step, and the seconds (steps, 4) that went into its four parts."""
    model, optimizer, loader = parts(seed, train)
    losses, seconds = [], []
    for _ in range(epochs):
        for images, labels in loader:
            clock = [time.perf_counter()]
            scores = model(images)  # 1. forward
            clock.append(time.perf_counter())
            loss = nn.functional.cross_entropy(scores, labels)  # 2. loss
            clock.append(time.perf_counter())
            optimizer.zero_grad()
            loss.backward()  # 3. backward
            clock.append(time.perf_counter())
            optimizer.step()  # 4. update
            clock.append(time.perf_counter())
            losses.append(loss.item())
            seconds.append(np.diff(clock))
    return model, losses, np.array(seconds)


def by_fit(seed: int, train, epochs: int) -> tuple[Trainer, list[float]]:
    model, optimizer, loader = parts(seed, train)
    trainer = Trainer(model, optimizer, nn.CrossEntropyLoss(), metrics=["accuracy"], log_every=1, progress=False)
    trainer.fit(loader, epochs=epochs)
    return trainer, [record["loss"] for record in trainer.records if record["event"] == "step"]


def run(example: Example) -> None:
    samples, _ = digits()
    train, test = random_split(samples, [0.8, 0.2], seed=example.seed, stratify=samples.arrays[1])
    epochs = example.choose(short=3, default=20)
    model, losses, seconds = by_hand(example.seed, train, epochs)
    trainer, fitted = by_fit(example.seed, train, epochs)
    pairs = zip(model.state_dict().values(), trainer.model.state_dict().values())
    different = sum(int((a != b).sum()) for a, b in pairs)
    count = sum(p.size for p in model.parameters())
    example.figure("weights that differ", different, f"of {count:,}", at_most=0)
    example.figure("losses that differ", sum(a != b for a, b in zip(losses, fitted)), f"of {len(losses)}", at_most=0)
    reached = 100 * trainer.evaluate(DataLoader(test, 256))["accuracy"]
    example.figure("test accuracy", reached, "%", at_least=example.choose(short=80, default=95), beside={"chance": 10})
    draw(example, losses, fitted, np.median(seconds[1:], axis=0) * 1e3)


def draw(example: Example, losses, fitted, milliseconds) -> None:
    figure, (curve, cost) = example.canvas(11, 3.6, 2)
    steps = range(1, len(losses) + 1)
    curve.plot(steps, fitted, color="#9ecae1", linewidth=5, label="Trainer.fit")
    curve.plot(steps, losses, color="#222222", linewidth=1, label="four steps by hand")
    curve.set(title="one curve under the other", xlabel="step", ylabel="loss of the batch", ylim=(0, None))
    curve.legend(frameon=False, fontsize=9)
    bars = cost.barh(STEPS, milliseconds, color=["#2166ac", "#8a8a8a", "#d95f0e", "#8a8a8a"])
    cost.bar_label(bars, [f"{ms:.2f} ms" for ms in milliseconds], padding=4, fontsize=9)
    cost.invert_yaxis()
    cost.set(title="what a step of 64 images costs", xlabel="milliseconds, median", xlim=(0, 1.25 * max(milliseconds)))
    example.picture(figure)


if __name__ == "__main__":
    main(run)
