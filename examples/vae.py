"""Digits sort themselves with no labels: an autoencoder and a VAE, and the heaps that their codes lie in.

Both squeeze an image into 10 numbers and draw it again from them. The variational one (arXiv:1312.6114) codes it as a
cloud and pays for how far that lies from a standard normal, which leaves the codes in round heaps. A mixture of ten
Gaussians, fitted to codes of training images, then finds the heaps. Labels of test images only score it: purity is the
share of images that are of their cluster's commonest digit.
"""

import numpy as np
from sklearn.cluster import KMeans
from sklearn.manifold import TSNE
from sklearn.mixture import GaussianMixture
from threadpoolctl import threadpool_limits

import weft
from weft import nn, optim
from weft.data import ArrayDataset, DataLoader, mnist
from weft.metrics import purity
from weft.nn import functional as F
from weft.recipes.example import Example, main, tiles

CODE, HIDDEN = 10, 256


class Autoencoder(nn.Module):
    """Images (N, 784) in 0..1 -> codes (N, 10) -> scores of pixels (N, 784)."""

    def __init__(self, variational: bool):
        self.variational = variational
        self.encoder = nn.Sequential(
            nn.Linear(784, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(),
            nn.Linear(HIDDEN, 2 * CODE if variational else CODE),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.Linear(CODE, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 784)
        )

    def code(self, images: weft.Tensor) -> weft.Tensor:
        """The code of an image, or the middle of its cloud."""
        return self.encoder(images)[:, :CODE]

    def loss(self, images: weft.Tensor) -> weft.Tensor:
        """What drawing an image again costs, in nats per image; with its cloud's distance from the normal one."""
        coded = self.encoder(images)
        mean, extra = coded[:, :CODE], 0.0
        if self.variational:
            log_variance = coded[:, CODE:]
            extra = 0.5 * (mean**2 + weft.exp(log_variance) - 1 - log_variance).sum()
            mean = mean + weft.exp(0.5 * log_variance) * weft.random.normal(mean.shape)
        drawn = F.binary_cross_entropy_with_logits(self.decoder(mean), images, reduction="sum")
        return (drawn + extra) / len(images)


def train(model: Autoencoder, loader: DataLoader, epochs: int) -> None:
    optimizer = optim.Adam(model.parameters(), lr=2e-3)
    schedule = optim.OneCycleLR(optimizer, max_lr=2e-3, total_steps=epochs * len(loader))
    for _ in range(epochs):
        for (images,) in loader:
            loss = model.loss(flat(images))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()


def flat(images: weft.Tensor) -> weft.Tensor:
    """uint8 (N, 1, 28, 28) -> float32 (N, 784) in 0..1."""
    return images.reshape(len(images), 784).astype("float32") / 255


def run(example: Example) -> None:
    samples, test, classes, _ = mnist(example.data)
    n, batch, epochs = example.choose(short=(8_000, 50, 2), default=(60_000, 128, 6))
    m = example.choose(short=3_000, default=10_000)
    images, labels = samples.arrays[0][:n], test.arrays[1][:m]
    few = flat(weft.asarray(images[:m])), flat(weft.asarray(test.arrays[0][:m]))  # to fit clusters to, and to score
    scores = {"autoencoder": [], "VAE": []}
    for seed in example.seeds():
        weft.random.seed(seed)
        loader = DataLoader(ArrayDataset(images), batch, shuffle=True, drop_last=True, seed=seed)
        for name in scores:
            model = Autoencoder(variational=name == "VAE")
            train(model, loader, epochs)
            with weft.no_grad():
                codes = [model.code(part).numpy() for part in few]
                loss = model.loss(few[1]).item()
            mixture = GaussianMixture(10, n_init=3, reg_covar=1e-3, random_state=seed)
            with threadpool_limits(1):  # of matrices so small threads only wait for each other
                purest = purity(labels, mixture.fit(codes[0]).predict(codes[1]))
            scores[name].append((purest, loss))
    pixels = KMeans(10, n_init=1, random_state=example.seed)
    with threadpool_limits(1):
        pixels.fit(few[0].numpy())
    beside = {"k-means of pixels": 100 * purity(labels, pixels.predict(few[1].numpy()))}
    beside["autoencoder"] = 100 * np.mean(scores["autoencoder"], axis=0)[0]
    reached, loss = np.mean(scores["VAE"], axis=0)
    bar = example.choose(short=40, default=70)
    example.figure("purity of 10 clusters, VAE", 100 * reached, "%", at_least=bar, beside=beside)
    example.figure("VAE, bound on a test image", loss, "nats", at_most=example.choose(short=185, default=120))
    shown = example.choose(short=300, default=2000)
    example.picture(draw(example, model, mixture, codes[1][:shown], labels[:shown]))


def draw(example: Example, model: Autoencoder, mixture: GaussianMixture, codes: np.ndarray, labels: np.ndarray):
    """The map of the codes, what each cluster looks like, and digits on the way between two others."""
    figure, (plane, clusters, walks) = example.canvas(14, 5, 3)
    with threadpool_limits(1):  # on so few points threads only wait for each other
        places = TSNE(init="pca", max_iter=500, random_state=0).fit_transform(codes)  # (n, 2)
    for digit in range(10):
        own = places[labels == digit]
        plane.plot(*own.T, ".", markersize=3, color=f"C{digit}")
        plane.text(*np.median(own, axis=0), str(digit), fontsize=16, weight="bold", ha="center", va="center")
    plane.set(title=f"codes of {len(codes):,} test images, on a plane (t-SNE)", xticks=[], yticks=[], aspect="equal")

    found, rng = mixture.predict(codes), np.random.default_rng(0)
    pure = [np.bincount(labels[found == k], minlength=10) for k in range(10)]
    order = sorted(range(10), key=lambda k: (pure[k].argmax(), -pure[k].max()))
    # Samples of each Gaussian, nearer to its middle than most.
    cloud = [
        mixture.means_[k] + 0.7 * rng.normal(size=(9, CODE)) @ np.linalg.cholesky(mixture.covariances_[k]).T
        for k in order
    ]
    clusters.imshow(tiles(drawn(model, np.concatenate(cloud)), 9, paper=0.0), cmap="gray_r")
    names = [f"{pure[k].argmax()}: {100 * pure[k].max() / max(pure[k].sum(), 1):.0f} %" for k in order]
    clusters.set_yticks(30 * np.arange(10) + 14, names)
    clusters.set(title="drawn from each cluster; its commonest digit", xticks=[])

    starts, ends = codes[:10], codes[10:20]
    steps = np.linspace(0, 1, 9)[:, None]
    between = np.concatenate([(1 - steps) * start + steps * end for start, end in zip(starts, ends)])
    walks.imshow(tiles(drawn(model, between), 9, paper=0.0), cmap="gray_r")
    walks.set(title="from one test image to another", xticks=[], yticks=[])
    for axis in (plane, clusters, walks):
        axis.spines[:].set_visible(False)
        axis.tick_params(length=0)
    return figure


def drawn(model: Autoencoder, codes: np.ndarray) -> np.ndarray:
    """Codes (n, 10) -> the images (n, 28, 28) that they stand for."""
    with weft.no_grad():
        return F.sigmoid(model.decoder(weft.asarray(codes.astype(np.float32)))).numpy().reshape(-1, 28, 28)


if __name__ == "__main__":
    main(run)
