"""Two networks invent clothes by playing against each other: a GAN and a Wasserstein GAN on Fashion-MNIST.

A generator makes images of noise, a discriminator tells them from real ones, and each learns from the other
(arXiv:1406.2661). The Wasserstein kind scores instead of judging, and is charged where its score is steeper or flatter
than 1: that charge holds a gradient, so it is learnt from by a gradient of second order (arXiv:1704.00028).
A classifier that saw only real images counts the classes that each of them finds: those to which it gives at least 1 %
of 1,000 samples, each with a confidence of 80 % or more. The first kind is apt to leave some of the ten out.
"""

import numpy as np

import weft
from weft import nn, optim
from weft.autograd import grad
from weft.data import fashion_mnist
from weft.nn import functional as F
from weft.recipes.example import Example, main, tiles

NOISE, HIDDEN, BATCH = 32, 256, 64


def generator() -> nn.Module:
    """Noise (N, 32) -> images (N, 784) in -1..1."""
    return nn.Sequential(
        nn.Linear(NOISE, HIDDEN), nn.BatchNorm1d(HIDDEN), nn.ReLU(),
        nn.Linear(HIDDEN, 2 * HIDDEN), nn.BatchNorm1d(2 * HIDDEN), nn.ReLU(),
        nn.Linear(2 * HIDDEN, 784), nn.Tanh(),
    )  # fmt: skip


def discriminator() -> nn.Module:
    """Images (N, 784) -> scores (N, 1), high for real ones."""
    return nn.Sequential(
        nn.Linear(784, HIDDEN), nn.LeakyReLU(0.2), nn.Linear(HIDDEN, HIDDEN), nn.LeakyReLU(0.2), nn.Linear(HIDDEN, 1)
    )


class Game:
    """A GAN: what each player wants to be small, and how they learn."""

    rounds, rate, betas = 1, 4e-4, (0.5, 0.999)  # of the discriminator for one of the generator

    def discriminator_loss(self, judge: nn.Module, real: weft.Tensor, made: weft.Tensor) -> weft.Tensor:
        return F.softplus(-judge(real)).mean() + F.softplus(judge(made)).mean()

    def generator_loss(self, judge: nn.Module, made: weft.Tensor) -> weft.Tensor:
        return F.softplus(-judge(made)).mean()


class WassersteinGame(Game):
    """WGAN-GP: scores without limits, and a charge on their slope at places between real and made images."""

    rounds, rate, betas = 4, 5e-4, (0.0, 0.9)

    def discriminator_loss(self, judge, real, made):
        share = weft.random.uniform((len(real), 1))
        between = share * real + (1 - share) * made
        between.requires_grad = True
        (slope,) = grad(judge(between).sum(), [between], create_graph=True)  # (N, 784)
        charge = 10 * (((slope**2).sum(axis=1) ** 0.5 - 1) ** 2).mean()
        return judge(made).mean() - judge(real).mean() + charge

    def generator_loss(self, judge, made):
        return -judge(made).mean()


def play(game: Game, images: weft.Tensor, steps: int) -> nn.Module:
    """A generator that has learnt from images (n, 784), in evaluation mode."""
    maker, judge = generator(), discriminator()
    of_maker, of_judge = (optim.Adam(p.parameters(), lr=game.rate, betas=game.betas) for p in (maker, judge))
    for _ in range(steps):
        for _ in range(game.rounds):
            real = images[weft.random.integers(0, len(images), (BATCH,))]
            with weft.no_grad():
                made = maker(weft.random.normal((BATCH, NOISE)))
            update(of_judge, game.discriminator_loss(judge, real, made))
        update(of_maker, game.generator_loss(judge, maker(weft.random.normal((BATCH, NOISE)))))
    return maker.eval()


def update(optimizer: optim.Optimizer, loss: weft.Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def classifier(images: weft.Tensor, labels: weft.Tensor) -> nn.Module:
    """Images (n, 784) -> scores (n, 10), after a look at each image of the training set."""
    model = nn.Sequential(
        nn.Unflatten(1, (1, 28, 28)),
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),  # (N, 32, 7, 7)
        nn.Flatten(), nn.Linear(1568, 10),
    )  # fmt: skip
    steps = len(images) // 100
    optimizer = optim.Adam(model.parameters(), lr=3e-3)
    schedule = optim.OneCycleLR(optimizer, max_lr=3e-3, total_steps=steps)
    for part in weft.random.permutation(len(images))[: 100 * steps].reshape(steps, 100):
        update(optimizer, F.cross_entropy(model(images[part]), labels[part]))
        schedule.step()
    return model


def confident(model: nn.Module, images: weft.Tensor) -> np.ndarray:
    """How many of images (n, 784) are of each class with a confidence of 80 % or more: (10,)."""
    with weft.no_grad():
        chances = F.softmax(model(images), dim=1).numpy()
    return np.bincount(chances.argmax(axis=1)[chances.max(axis=1) >= 0.8], minlength=10)


def run(example: Example) -> None:
    samples, test, classes, _ = fashion_mnist(example.data)
    n, m = example.choose(short=(6_000, 1_000), default=(60_000, 10_000))
    images, tested = (
        weft.asarray(part.arrays[0][:k].reshape(-1, 784) / np.float32(127.5) - 1)
        for part, k in ((samples, n), (test, m))
    )
    games = {"GAN": Game(), "WGAN-GP": WassersteinGame()}
    steps = example.choose(short=(160, 100), default=(2000, 700), full=(4000, 1000))
    found, right, sheets = {name: [] for name in games}, [], {}
    for seed in example.seeds():
        weft.random.seed(seed)
        judge = classifier(images, weft.asarray(samples.arrays[1][:n]))
        with weft.no_grad():
            right.append((judge(tested).numpy().argmax(axis=1) == test.arrays[1][:m]).mean())
        for (name, game), count in zip(games.items(), steps):
            maker = play(game, images, count)
            with weft.no_grad():
                made = maker(weft.random.normal((1000, NOISE)))
            found[name].append(confident(judge, made))
            sheets[name] = made[:70].numpy()
    example.figure("accuracy of the classifier, test images", 100 * np.mean(right), "%")
    noise = np.sum(confident(judge, weft.random.uniform((1000, 784), -1, 1)) >= 10)
    bars = example.choose(short=(1, 2), default=(6, 8))
    for name, bar in zip(games, bars):
        counts = np.stack(found[name])  # (seeds, 10)
        beside = {"test images": np.sum(confident(judge, tested[:1000]) >= 10), "noise": noise}
        example.figure(
            f"{name}, classes found", (counts >= 10).sum(axis=1).mean(), "of 10", at_least=bar, beside=beside
        )
        example.figure(f"{name}, confident samples", counts.sum(axis=1).mean() / 10, "%")
    sheets = {"real": images[:70].numpy(), **sheets}
    figure, axes = example.canvas(13, 6.6, 3)
    for axis, (name, sheet) in zip(axes, sheets.items()):
        axis.imshow(tiles(sheet.reshape(-1, 28, 28) / 2 + 0.5, 7, paper=0.0), cmap="gray_r", vmin=0, vmax=1)
        title = "real" if name == "real" else f"{name}: {(found[name][-1] >= 10).sum()} of 10 classes"
        axis.set(title=title, xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    example.picture(figure)


if __name__ == "__main__":
    main(run)
