"""Photos found by a word, and pairs told apart: metric learning on the product photos of Fashion-MNIST.

A net lays each photo on a sphere of 64 dimensions. Each pair of a batch asks whether both have one label, and its
cosine is the answer, so that learning pulls like photos together and pushes others apart (as in arXiv:2303.15343).
- Verification: are two photos of one kind? Scored by the area under the ROC curve over pairs of test photos, half of
  them of one label. The photos are new, the labels are not; a second net that never saw the last two labels answers for
  pairs that begin with those.
- Search: a word stands where its training photos lie in the mean; the nearest of unlabelled photos are its hits.
"""

import numpy as np

import weft
from weft import nn, optim
from weft.data import ArrayDataset, DataLoader, Normalize, fashion_mnist
from weft.metrics import roc_auc, roc_curve
from weft.nn import functional as F
from weft.recipes.example import Example, main, tiles

SCALE = Normalize(0.2860, 0.3530)  # mean and standard deviation of the training photos
HITS, PAIRS = 20, 50_000


class Embedding(nn.Module):
    """Photos (N, 1, 28, 28) -> points of a sphere (N, 64)."""

    def __init__(self):
        self.body = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(64, 128, 3, padding=1, bias=False), nn.BatchNorm2d(128), nn.ReLU(),  # (N, 128, 7, 7)
            nn.Flatten(), nn.Linear(6272, 64),
        )  # fmt: skip
        self.sharpness = nn.Parameter(weft.asarray(10.0))
        self.bias = nn.Parameter(weft.asarray(-5.0))

    def forward(self, photos: weft.Tensor) -> weft.Tensor:
        return F.normalize(self.body(photos))

    def loss(self, photos: weft.Tensor, labels: weft.Tensor) -> weft.Tensor:
        """How badly the cosines of all pairs of a batch tell which are of one label."""
        points = self(photos)
        answers = self.sharpness * (points @ points.T) + self.bias  # (N, N)
        same = (labels[:, None] == labels).astype("float32")
        return F.binary_cross_entropy_with_logits(answers, same)


def train(photos: ArrayDataset, epochs: int, seed: int) -> Embedding:
    model = Embedding()
    loader = DataLoader(photos, 128, shuffle=True, drop_last=True, seed=seed, transform=SCALE)
    optimizer = optim.AdamW(model.parameters(), lr=2e-3)
    schedule = optim.OneCycleLR(optimizer, max_lr=2e-3, total_steps=epochs * len(loader))
    for _ in range(epochs):
        for images, labels in loader:
            loss = model.loss(images, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def embed(model: Embedding, images: np.ndarray) -> np.ndarray:
    """uint8 (N, 1, 28, 28) -> points (N, 64)."""
    with weft.no_grad():
        parts = [model(weft.asarray(SCALE(images[i : i + 500]))).numpy() for i in range(0, len(images), 500)]
    return np.concatenate(parts)


def pairs(labels: np.ndarray, first: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places (PAIRS, 2) of two photos, the first out of `first`, half of one label; and which those are (PAIRS,)."""
    rng = np.random.default_rng(0)
    one, same = rng.choice(first, PAIRS), np.arange(PAIRS) % 2
    other = rng.integers(0, len(labels), PAIRS)
    wrong = np.flatnonzero(((labels[one] == labels[other]) != same) | (one == other))
    while len(wrong):  # drawn again until each is as it should be
        other[wrong] = rng.integers(0, len(labels), len(wrong))
        wrong = wrong[((labels[one] == labels[other]) != same)[wrong] | (one == other)[wrong]]
    return np.stack([one, other], axis=1), same


def run(example: Example) -> None:
    samples, test, classes, _ = fashion_mnist(example.data)
    images, labels = samples.arrays
    n, tested, epochs = example.choose(short=(3_000, 2_000, 1), default=(60_000, 10_000, 1))
    photos, kinds = (array[:tested] for array in test.arrays)
    learnt = labels[:n] < 8  # by the second net
    places, same = pairs(kinds, np.arange(tested))
    new_places, new_same = pairs(kinds, np.flatnonzero(kinds >= 8))
    figures = []
    for seed in example.seeds():
        weft.random.seed(seed)
        model = train(ArrayDataset(images[:n], labels[:n]), epochs, seed)
        points, known = embed(model, photos), embed(model, images[:2000])
        words = np.stack([known[labels[:2000] == c].mean(axis=0) for c in range(10)])  # (10, 64)
        hits = np.argsort(-words @ points.T, axis=1)[:, :HITS]  # (10, HITS)
        right = kinds[hits] == np.arange(10)[:, None]
        cosines = (points[places[:, 0]] * points[places[:, 1]]).sum(axis=1)
        other = embed(train(ArrayDataset(images[:n][learnt], labels[:n][learnt]), epochs, seed), photos)
        new = (other[new_places[:, 0]] * other[new_places[:, 1]]).sum(axis=1)
        figures.append((roc_auc(same, cosines), roc_auc(new_same, new), 100 * right.mean()))
    auc, auc_new, precision = np.mean(figures, axis=0)
    pixels = photos.reshape(tested, -1) / np.float32(255)
    near, near_new = (-((pixels[at[:, 0]] - pixels[at[:, 1]]) ** 2).sum(axis=1) for at in (places, new_places))
    bar, beside = example.choose(short=0.84, default=0.97), {"distance of pixels": roc_auc(same, near)}
    example.figure("AUC, pairs of new photos", auc, at_least=bar, beside=beside)
    beside = {"distance of pixels": roc_auc(new_same, near_new)}
    example.figure("AUC, pairs with labels never seen", auc_new, beside=beside)
    example.figure(f"right among the {HITS} first hits", precision, "%", at_least=example.choose(short=60, default=90))
    example.picture(draw(example, photos, classes, hits, right, roc_curve(same, cosines), auc))


def draw(example: Example, photos: np.ndarray, classes: list[str], hits: np.ndarray, right: np.ndarray, curve, auc):
    """The first hits of each word, wrong ones on orange, and the ROC curve of the pairs."""
    figure, (found, roc) = example.canvas(13, 6.4, 2)
    shown = hits[:, :12]
    colours = np.repeat(1 - photos[shown.ravel()] / 255, 3, axis=1)  # (120, 3, 28, 28)
    wrong = ~right[:, :12].ravel()
    colours[wrong] = colours[wrong] * np.array([0.99, 0.68, 0.42])[:, None, None]
    found.imshow(tiles(colours, 12))
    found.set_yticks(30 * np.arange(10) + 14, classes)
    found.set(title=f"the nearest of {len(photos):,} photos to a word (orange: wrong)", xticks=[])
    found.spines[:].set_visible(False)
    found.tick_params(length=0)
    roc.plot(*curve[:2], color="#2166ac", linewidth=2)
    roc.plot([0, 1], [0, 1], color="#999999", linestyle=":")
    roc.set(title=f"same kind or not: AUC {auc:.3f}", xlabel="other pairs taken for the same",
            ylabel="same pairs found", aspect="equal")  # fmt: skip
    return figure


if __name__ == "__main__":
    main(run)
