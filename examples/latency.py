"""Real-time inference: how long a prediction takes by batch size, and what a larger batch is worth.

One image at a time has the least delay; a batch shares what each call costs, until the arithmetic itself takes the
time. A delay is worth little without its tail, so the 95th percentile stands beside the median.
"""

import time

import numpy as np

import weft
from weft import nn
from weft.recipes.example import Example, main


def build() -> nn.Sequential:
    """The CNN of `weft train mnist`, 468,000 parameters; its speed does not depend on what it has learned."""
    from weft.recipes import mnist

    return mnist.build().eval()


def timed(model: nn.Module, batch: int, seconds: float, device: str | None) -> np.ndarray:
    """Milliseconds of each prediction, from host memory to host memory."""
    images = np.random.default_rng(batch).standard_normal((batch, 1, 28, 28), dtype=np.float32)
    found = []
    with weft.no_grad():
        for _ in range(3):
            model(weft.asarray(images, device=device)).numpy()
        until = time.perf_counter() + seconds
        while time.perf_counter() < until or len(found) < 10:
            begun = time.perf_counter()
            model(weft.asarray(images, device=device)).numpy().argmax(axis=1)
            found.append(1e3 * (time.perf_counter() - begun))
    return np.array(found)


def run(example: Example) -> None:
    model = build().to(example.device)
    sizes = example.choose(short=[1, 8, 64], default=[1, 2, 4, 8, 16, 32, 64, 128, 256])
    rows = {n: timed(model, n, example.choose(short=0.3, default=2.0), example.device) for n in sizes}
    print(f"{'batch':>6} {'median ms':>10} {'95 % ms':>9} {'images/s':>9}")
    for n, found in rows.items():
        median, tail = np.median(found), np.percentile(found, 95)
        print(f"{n:6} {median:10.3f} {tail:9.3f} {1e3 * n / median:9,.0f}")
    # The least time of each is the machine's own; the others tell of what else it did.
    one, most = rows[1].min(), max(1e3 * n / found.min() for n, found in rows.items() if n > 1)
    example.figure("one image", np.median(rows[1]), "ms")
    example.figure("one image, at best", one, "ms", at_most=100)
    bar = example.choose(short=None, default=1.0)
    example.figure("images a second in the best batch, over one at a time", most / (1e3 / one), at_least=bar)
    draw(example, rows)


def draw(example: Example, rows) -> None:
    sizes = list(rows)
    middle, tail = ([np.percentile(found, q) for found in rows.values()] for q in (50, 95))
    figure, (delay, rate) = example.canvas(10, 3.6, 2)
    delay.loglog(sizes, middle, "o-", color="#2166ac", label="median")
    delay.loglog(sizes, tail, "o--", color="#8a8a8a", markersize=4, label="95th percentile")
    delay.axhline(1000 / 60, color="#d95f0e", linewidth=1, linestyle=":")
    delay.text(sizes[0], 1000 / 60 * 1.1, "60 frames a second", color="#d95f0e", fontsize=9)
    delay.set(xlabel="images in a batch", ylabel="milliseconds", title="delay of a prediction")
    delay.legend(frameon=False, loc="lower right")
    rate.semilogx(sizes, [1e3 * n / m for n, m in zip(sizes, middle)], "o-", color="#2166ac")
    rate.set(xlabel="images in a batch", ylabel="images a second", title="throughput", ylim=(0, None))
    for axis in (delay, rate):
        axis.set_xticks(sizes, [str(n) for n in sizes])
        axis.minorticks_off()
        axis.grid(color="#e6e6e6")
    example.picture(figure)


if __name__ == "__main__":
    main(run)
