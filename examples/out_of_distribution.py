"""Outside the training distribution: a net that knows digits tells clothes apart, if asked the right way.

A classifier answers for any picture, and often surely. Three scores of how foreign a picture is, none of which has ever
seen one: 1 minus the largest probability (arXiv:1610.02136), the energy of the scores (arXiv:2010.03759), and the
distance of the last features from those of the nearest class (arXiv:1807.03888).
"""

import numpy as np

import weft
from weft import nn, optim
from weft.data import DataLoader, Normalize, fashion_mnist, mnist, random_split
from weft.metrics import roc_auc
from weft.recipes.example import Example, main

SCALE = Normalize(0.1307, 0.3081)


class Net(nn.Module):
    def __init__(self):
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(1568, 64), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        return self.head(self.features(x))


def train(loader: DataLoader, epochs: int) -> Net:
    model = Net()
    optimizer = optim.AdamW(model.parameters(), lr=4e-3)
    schedule = optim.OneCycleLR(optimizer, max_lr=4e-3, total_steps=epochs * len(loader))
    for _ in range(epochs):
        for x, y in loader:
            loss = nn.functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def look(model: Net, samples) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features (N, 64), scores (N, 10) and labels (N,)."""
    parts = []
    with weft.no_grad():
        for x, y in DataLoader(samples, 500, transform=SCALE):
            h = model.features(x)
            parts.append((h.numpy(), model.head(h).numpy(), y.numpy()))
    return tuple(np.concatenate(column) for column in zip(*parts))


def foreignness(known: tuple, features: np.ndarray, scores: np.ndarray) -> dict[str, np.ndarray]:
    """How foreign each sample is, the higher the more, by three scores; `known` is what the model saw in training."""
    shifted = scores - scores.max(axis=1, keepdims=True)
    total = np.log(np.exp(shifted).sum(axis=1))
    seen, _, labels = known
    means = np.stack([seen[labels == c].mean(axis=0) for c in range(10)])  # (10, 64)
    within = np.cov((seen - means[labels]).T) + 1e-3 * np.eye(seen.shape[1])
    away = features[:, None] - means  # (N, 10, 64)
    distance = np.einsum("ncd,de,nce->nc", away, np.linalg.inv(within), away).min(axis=1)
    return {
        "probability": 1 - np.exp(-total),
        "energy": -(total + scores.max(axis=1)),
        "distance": distance,
    }


def once(example: Example, seed: int):
    weft.random.seed(seed)
    digits, test, _, _ = mnist(example.data)
    part = example.choose(short=0.07, default=0.4)
    digits, _ = random_split(digits, [part, 1 - part], seed=seed)
    model = train(DataLoader(digits, 64, shuffle=True, seed=seed, drop_last=True, transform=SCALE), epochs=2)
    known, inside = look(model, digits), look(model, test)
    accuracy = 100 * (inside[1].argmax(axis=1) == inside[2]).mean()
    clothes = fashion_mnist(example.data).test
    found = [foreignness(known, *look(model, samples)[:2]) for samples in (test, clothes)]
    return accuracy, found, clothes


def run(example: Example) -> None:
    runs = [once(example, seed) for seed in example.seeds()]
    accuracy = np.mean([r[0] for r in runs])
    foreign = np.repeat([0, 1], 10_000)
    areas = {
        name: np.mean([roc_auc(foreign, np.concatenate([f[name] for f in found])) for _, found, _ in runs])
        for name in runs[0][1][0]
    }
    example.figure("accuracy on digits", accuracy, "%", at_least=example.choose(short=90.0, default=98.0))
    beside = {name: area for name, area in areas.items() if name != "energy"}
    example.figure("AUROC of the energy", areas["energy"], at_least=0.95, beside={**beside, "chance": 0.5})
    draw(example, runs[0][1], areas, runs[0][2])


def draw(example: Example, found, areas, clothes) -> None:
    figure, axes = example.canvas(13, 3.4, 4)
    for axis, (name, area) in zip(axes, areas.items()):
        both = [f[name] for f in found]
        if name == "distance":
            both = [np.log10(values) for values in both]
        low, high = np.percentile(np.concatenate(both), [0.2, 99.8])
        for values, label, colour in zip(both, ("digits", "clothes"), ("#2166ac", "#d95f0e")):
            axis.hist(values, np.linspace(low, high, 50), color=colour, alpha=0.7, label=label)
        unit = "log10 of the distance" if name == "distance" else "1 - p" if name == "probability" else name
        axis.set(title=f"{name}: AUROC {area:.3f}", xlabel=unit, ylabel="test images")
    axes[0].legend(frameon=False)
    # The pieces of clothing that look most like digits.
    near = np.argsort(found[1]["energy"])[:9]
    tiles = np.stack([clothes[int(i)][0][0] for i in near]).reshape(3, 3, 28, 28)
    axes[3].imshow(tiles.transpose(0, 2, 1, 3).reshape(84, 84), cmap="gray_r")
    axes[3].set(title="clothes most like a digit", xticks=[], yticks=[])
    example.picture(figure)


if __name__ == "__main__":
    main(run)
