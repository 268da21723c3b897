"""Python's own while, if and recursion, decided by the data, differentiate.

Kepler's equation is solved by Newton's method in a `while` that ends when it has converged, and an integral by halving
intervals where they need it, a function that calls itself: both derivatives are known and hold to float64's last
digits. Then a net decides for each image how long to think: it goes on until it is sure, longer for hard digits.
"""

import math

import numpy as np

import weft
from weft import nn, optim
from weft.data import DataLoader, digits, random_split
from weft.recipes.example import Example, main


def kepler(mean, e):
    """The eccentric anomaly E of an orbit, E - e sin(E) = mean, by Newton's method."""
    anomaly, change = mean + e, math.inf
    while abs(change) > 1e-9:  # the data decides how often
        change = (anomaly - e * weft.sin(anomaly) - mean) / (1 - e * weft.cos(anomaly))
        anomaly = anomaly - change
        change = change.item()
    return anomaly


def integral(f, a: float, b: float, tolerance: float = 1e-8):
    """Adaptive Simpson: an interval that the rule is not sure of is halved, and so on."""
    middle = (a + b) / 2
    simpson = lambda a, b: (b - a) / 6 * (f(a) + 4 * f((a + b) / 2) + f(b))
    whole, halves = simpson(a, b), simpson(a, middle) + simpson(middle, b)
    if abs((halves - whole).item()) < 15 * tolerance:
        return halves
    return integral(f, a, middle, tolerance / 2) + integral(f, middle, b, tolerance / 2)


class Ponder(nn.Module):
    """Images (N, 1, 8, 8) -> scores (N, 10) and rounds (N,): one block again and again, until it is sure or tired."""

    def __init__(self, width: int = 32, sure: float = 0.99, most: int = 8):
        self.enter, self.block, self.leave = nn.Linear(64, width), nn.Linear(width, width), nn.Linear(width, 10)
        self.norm, self.sure, self.most = nn.LayerNorm(width), sure, most

    def forward(self, images):
        h = weft.tanh(self.enter(images.reshape(-1, 64)))  # (N, width)
        waiting, scores, order, rounds = np.arange(len(images)), [], [], []
        while len(waiting):
            h = h + nn.functional.relu(self.block(self.norm(h)))
            out = self.leave(h)
            done = nn.functional.softmax(out, dim=1).max(axis=1).numpy() > self.sure
            if len(rounds) + 1 == self.most:
                done[:] = True
            leaving, staying = np.nonzero(done)[0], np.nonzero(~done)[0]
            scores.append(out[leaving])
            order.append(waiting[leaving])
            rounds.append(np.full(len(leaving), len(rounds) + 1))
            h, waiting = h[staying], waiting[staying]
        back = np.argsort(np.concatenate(order))
        return weft.concat(scores)[back], np.concatenate(rounds)[back]


def run(example: Example) -> None:
    figure, (orbits, lengths, faces) = example.canvas(13, 3.6, 3)
    equations(example, orbits)
    samples, _ = digits()
    train, test = random_split(samples, [0.7, 0.3], seed=example.seed, stratify=samples.arrays[1])
    model = Ponder()
    optimizer = optim.Adam(model.parameters(), lr=0.003)
    loader = DataLoader(train, 64, shuffle=True, seed=example.seed)
    for _ in range(example.choose(short=12, default=30)):
        for images, labels in loader:
            loss = nn.functional.cross_entropy(model(images)[0], labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    images, labels = next(iter(DataLoader(test, len(test))))
    with weft.no_grad():
        scores, rounds = model(images)
    right = scores.numpy().argmax(1) == labels.numpy()
    least = example.choose(short=85, default=92)
    example.figure("digits right after thinking", 100 * right.mean(), "%", at_least=least, beside={"chance": 10})
    first, last = np.array_split(right[np.argsort(rounds, kind="stable")], 2)
    slow = 100 * last.mean()
    example.figure(
        "right, of the half decided first", 100 * first.mean(), "%", at_least=slow, beside={"the other": slow}
    )
    counts = np.bincount(rounds, minlength=model.most + 1)[1:]
    bars = lengths.bar(range(1, model.most + 1), counts, color="#2166ac")
    lengths.bar_label(bars, fontsize=8)
    lengths.set(title="rounds until the net was sure", xlabel="rounds of the while loop", ylabel="test images")
    show(faces, images.numpy()[:, 0], rounds)
    example.picture(figure)


def equations(example: Example, axis) -> None:
    """Kepler's dE/dM, dE/de and d2E/dM2 on three orbits, and an integral's derivative, against what is known."""
    errors: dict[str, list[float]] = {"dE/dM": [], "dE/de": [], "d2E/dM2": []}
    for e, colour in ((0.1, "#8a8a8a"), (0.5, "#2166ac"), (0.9, "#b2182b")):
        means = np.linspace(0.0, math.pi, example.choose(short=4, default=13))
        for mean in means:
            x, y = weft.asarray(mean, dtype="float64"), weft.asarray(e, dtype="float64")
            anomaly = kepler(x, y).item()
            fall = 1 - e * math.cos(anomaly)
            known = 1 / fall, math.sin(anomaly) / fall, -e * math.sin(anomaly) / fall**3
            second = weft.grad(weft.grad(kepler))
            found = weft.grad(kepler)(x, y).item(), weft.grad(kepler, 1)(x, y).item(), second(x, y).item()
            for name, a, b in zip(errors, found, known):
                errors[name].append(abs(a - b) / max(1, abs(b)))
            axis.plot(mean, found[0], "o", color=colour, markersize=4)
        anomalies = np.linspace(0, math.pi, 200)
        line = anomalies - e * np.sin(anomalies), 1 / (1 - e * np.cos(anomalies))
        axis.plot(*line, color=colour, linewidth=1, label=f"known, e = {e}")
    for name, worst in errors.items():
        example.figure(f"Kepler, {name}, largest error", max(worst), at_most=1e-9)
    peak = lambda width: integral(lambda t: width / (width**2 + t * t), -1.0, 1.0)  # 2 atan(1 / width)
    error = abs(weft.grad(peak)(weft.asarray(0.2, dtype="float64")).item() + 2 / (1 + 0.2**2))
    example.figure("adaptive integral, error of its derivative", error, at_most=1e-5)
    axis.plot([], [], "ko", markersize=4, label="gradient through the loop")
    axis.set(title="Kepler's equation, solved in a while loop", xlabel="mean anomaly M, radians", ylabel="dE/dM")
    axis.legend(frameon=False, fontsize=9)


def show(axis, images, rounds) -> None:
    """Ten images of those decided soon, above, and the ten decided last, below."""
    order = np.argsort(rounds, kind="stable")
    soon = np.nonzero(rounds <= np.median(rounds))[0]
    chosen = np.concatenate([soon[:10], order[-10:]]).reshape(4, 5)
    rows = [np.concatenate([np.pad(images[i], 1) for i in row], axis=1) for row in chosen]
    axis.imshow(np.concatenate(rows), cmap="gray_r")
    axis.axhline(19.5, color="#d95f0e")
    axis.set(title="decided soon (above), last (below)", xticks=[], yticks=[])


if __name__ == "__main__":
    main(run)
