"""A rare class, as fraud is: why accuracy misleads, precision-recall curves, focal loss, a threshold by its cost.

No fraud data here: Fashion-MNIST made imbalanced, where one image in a hundred is a dress and the others are T-shirts,
coats and shirts, which look like it. Thresholds are chosen on validation images, at the price of the mistakes.
"""

import numpy as np

import weft
from weft import metrics, nn, optim
from weft.data import ArrayDataset, DataLoader, fashion_mnist
from weft.recipes.example import Example, main

RARE, OTHERS = 3, (0, 4, 6)
COSTS = (1.0, 50.0)  # of a false alarm, of a dress that is missed
F = nn.functional
LOSSES = {
    "cross-entropy": lambda z, y, share: F.binary_cross_entropy_with_logits(z, y),
    "weighted": lambda z, y, share: F.binary_cross_entropy_with_logits(z, y, pos_weight=weft.asarray([1 / share - 1])),
    "focal": lambda z, y, share: F.focal_loss(z, y, alpha=0.75, gamma=2.0),
}


def rare(images: np.ndarray, labels: np.ndarray, share: float, rng: np.random.Generator) -> ArrayDataset:
    """All images of the other classes, and so many dresses that they are `share` of the whole."""
    others = np.flatnonzero(np.isin(labels, OTHERS))
    dresses = rng.permutation(np.flatnonzero(labels == RARE))[: round(len(others) * share / (1 - share))]
    rows = rng.permutation(np.r_[others, dresses])
    return ArrayDataset(images[rows].astype(np.float32) / 255, (labels[rows] == RARE).astype(np.float32)[:, None])


def learn(train: ArrayDataset, loss_of, share: float, epochs: int, seed: int) -> nn.Module:
    weft.random.seed(seed)
    model = nn.Sequential(nn.Conv2d(1, 16, 5, stride=2), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2), nn.ReLU(),
                          nn.Flatten(), nn.Dropout(0.3), nn.Linear(800, 1))  # fmt: skip
    loader = DataLoader(train, 64, shuffle=True, drop_last=True, seed=seed)
    optimizer = optim.AdamW(model.parameters(), lr=5e-3)
    schedule = optim.OneCycleLR(optimizer, max_lr=5e-3, total_steps=epochs * len(loader))
    for _ in range(epochs):
        for images, labels in loader:
            loss = loss_of(model(images), labels, share)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def scores_of(model: nn.Module, samples: ArrayDataset) -> tuple[np.ndarray, np.ndarray]:
    with weft.no_grad():
        scores = np.concatenate([model(images).numpy() for images, _ in DataLoader(samples, 500)])[:, 0]
    return samples.arrays[1][:, 0].astype(np.int64), scores


def cost(labels: np.ndarray, guesses: np.ndarray) -> float:
    """What the mistakes cost, per 1,000 images."""
    (_, alarms), (misses, _) = metrics.confusion_matrix(labels, guesses, 2)
    return 1000 * (COSTS[0] * alarms + COSTS[1] * misses) / len(labels)


def run(example: Example) -> None:
    training, testing, _, _ = fashion_mnist(example.data)
    share, rng = 0.01, np.random.default_rng(example.seed)
    images, labels = training.arrays
    most = example.choose(short=15_000, default=50_000)
    train = rare(images[:most], labels[:most], share, rng)
    validation = rare(images[50_000:], labels[50_000:], share, rng)
    test = rare(*testing.arrays, share, rng)
    reached: dict[str, list[list[float]]] = {name: [] for name in LOSSES}
    for seed in example.seeds():
        for name, loss_of in LOSSES.items():
            model = learn(train, loss_of, share, example.choose(short=2, default=8), seed)
            threshold = metrics.best_threshold(*scores_of(model, validation), costs=COSTS)
            truth, scores = scores_of(model, test)
            guesses = (scores >= threshold).astype(np.int64)
            reached[name].append([metrics.average_precision(truth, scores), metrics.roc_auc(truth, scores),
                                  cost(truth, (scores > 0).astype(np.int64)), cost(truth, guesses)])  # fmt: skip
            if name == "focal":
                curve, chosen, confusion = (metrics.precision_recall_curve(truth, scores), threshold,
                                            metrics.confusion_matrix(truth, guesses, 2))  # fmt: skip
    means = {name: np.mean(rows, axis=0) for name, rows in reached.items()}
    nobody = np.zeros_like(truth)
    print(f"{truth.sum()} dresses in {len(truth):,} images")
    example.figure("accuracy of 'never a dress'", 100 * metrics.accuracy(truth, nobody), "%")
    for i, (figure, bar) in enumerate((("average precision", example.choose(short=0.1, default=0.5)),
                                       ("ROC AUC", example.choose(short=0.8, default=0.94)))):  # fmt: skip
        values = {name: mean[i] for name, mean in means.items()}
        beside = values | {"chance": truth.mean() if i == 0 else 0.5}
        example.figure(f"{figure}, focal loss", beside.pop("focal"), at_least=bar, beside=beside)
    never, half = cost(truth, nobody), means["cross-entropy"][2]
    beside = {"never": never, "cross-entropy at probability 1/2": half}
    beside |= {f"{name}, chosen threshold": mean[3] for name, mean in means.items() if name != "focal"}
    example.figure("cost per 1,000, chosen threshold", means["focal"][3], at_most=half, beside=beside)
    draw(example, curve, chosen, means, never, confusion)


def draw(example, curve, threshold, means, never, confusion) -> None:
    figure, (line, along, bars) = example.canvas(13, 3.8, 3)
    at = min(np.searchsorted(curve.thresholds, threshold), len(curve.thresholds) - 1)
    line.step(curve.recall, curve.precision, where="post", color="#2166ac")
    line.plot(curve.recall[at], curve.precision[at], "o", color="#d95f0e", label="chosen on validation images")
    line.set(title="focal loss, test images", xlabel="recall", ylabel="precision", ylim=(0, 1.02))
    line.legend(frameon=False)
    along.plot(curve.thresholds, curve.precision[:-1], color="#2166ac", label="precision")
    along.plot(curve.thresholds, curve.recall[:-1], color="#8a8a8a", label="recall")
    along.axvline(threshold, color="#d95f0e", linewidth=1)
    (_, alarms), (misses, hits) = confusion
    along.set(title=f"found {hits}, missed {misses}, {alarms} false alarms", xlabel="threshold (logit)")
    along.legend(frameon=False)
    costs = {"never a dress": never} | {f"{name}, 1/2": mean[2] for name, mean in means.items()}
    costs |= {f"{name}, chosen": mean[3] for name, mean in means.items()}
    colours = ["#8a8a8a"] * 4 + ["#2166ac"] * 3
    bars.bar_label(bars.barh(list(costs), list(costs.values()), color=colours), fmt="%.0f", padding=3)
    bars.set(title=f"a miss costs {COSTS[1]:.0f}, a false alarm {COSTS[0]:.0f}", xlabel="cost per 1,000 images")
    bars.set_xlim(0, 1.15 * max(costs.values()))
    bars.invert_yaxis()
    example.picture(figure)


if __name__ == "__main__":
    main(run)
