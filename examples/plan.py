"""Cost before running: operations, memory and the time of an epoch, forecast by weft.plan and then compared.

The forecast runs two batches of a few samples and counts; the machine is measured by a matrix product, a sum and a
chain of small ops. Only then is each model trained for real steps, and its memory and time are set beside.
"""

import time

import numpy as np

import weft
from weft import nn, optim
from weft.recipes.example import Example, main, shown


def models(batch: int):
    """name -> (model, shape or tokens of a sample, a batch, its labels)."""
    from weft.recipes import cifar10, mnist

    rng = np.random.default_rng(0)
    labels = weft.asarray(np.arange(batch) % 10)

    def images(*shape):
        return weft.asarray(rng.standard_normal((batch, *shape), dtype=np.float32))

    dense = nn.Sequential(
        nn.Flatten(), nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 10)
    )
    tokens = np.arange(32) % 50
    layer = nn.TransformerEncoderLayer(64, 4, 256, dropout=0.0, batch_first=True)
    mixer = nn.Sequential(nn.Embedding(50, 64), nn.TransformerEncoder(layer, 2), nn.Flatten(), nn.Linear(2048, 10))
    return {
        "dense net": (dense, (1, 28, 28), images(1, 28, 28), labels),
        "CNN": (mnist.build(), (1, 28, 28), images(1, 28, 28), labels),
        "ResNet-20": (cifar10.build(), (3, 32, 32), images(3, 32, 32), labels),
        "transformer": (mixer, tokens, weft.asarray(np.tile(tokens, (batch, 1))), labels),
    }


def train(model: nn.Module, x, y, steps: int) -> float:
    """Seconds of a training step, at best."""
    optimizer, found = optim.Adam(model.parameters()), []
    for _ in range(steps):
        begun = time.perf_counter()
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(time.perf_counter() - begun)
    return min(found[1:])


def run(example: Example) -> None:
    batch, samples = example.choose(short=32, default=64), 60_000
    rows = {}
    for name, (model, sample, x, y) in models(batch).items():
        forecast = weft.plan(model, sample, batch=batch, samples=samples)
        print(f"\n{name}\n{forecast}")
        with weft.profile() as p:
            nn.functional.cross_entropy(model(x), y).backward()
        model.zero_grad()
        seconds = train(model, x, y, example.choose(short=4, default=12)) * -(-samples // batch)
        rows[name] = forecast, p.peak, seconds
    print()
    products = 784 * 512 + 512 * 256 + 256 * 10
    counted = rows["dense net"][0].flops / batch
    by_hand = 2 * (3 * products - 784 * 512)  # forward and two backward products each, but no gradient of the image
    example.figure("operations of the dense net, counted over by hand", counted / by_hand, at_least=1, at_most=1)
    for name, (forecast, peak, _) in rows.items():
        ratio = forecast.activations / peak
        example.figure(f"{name}: memory, forecast over found", ratio, at_least=0.8, at_most=1.25)
    # Other work on the machine makes a step longer, and no forecast knows of it.
    loose = example.choose(short=20.0, default=2.0)
    for name, (forecast, _, seconds) in rows.items():
        ratio = forecast.epoch_seconds / seconds
        example.figure(f"{name}: epoch, forecast over found", ratio, at_least=1 / loose, at_most=loose)
    draw(example, rows)


def draw(example: Example, rows) -> None:
    figure, (memory, epoch) = example.canvas(10, 3.8, 2)
    place = np.arange(len(rows))
    for axis, pairs, label in (
        (memory, [(f.activations / 2**20, peak / 2**20) for f, peak, _ in rows.values()], "MiB"),
        (epoch, [(f.epoch_seconds, seconds) for f, _, seconds in rows.values()], "seconds"),
    ):
        for shift, values, colour, name in zip((-0.2, 0.2), zip(*pairs), ("#2166ac", "#8a8a8a"), ("forecast", "found")):
            bars = axis.bar(place + shift, values, 0.38, color=colour, label=name)
            axis.bar_label(bars, fmt=shown, fontsize=8)
        axis.set_xticks(place, list(rows))
        axis.set_ylabel(label)
    memory.set_title("activations and gradients at their peak")
    epoch.set_title("an epoch of 60,000 samples")
    memory.legend(frameon=False)
    example.picture(figure)


if __name__ == "__main__":
    main(run)
