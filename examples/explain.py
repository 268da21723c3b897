"""Explaining a prediction: five maps of what spoke for the answer, and a test of whether they are right.

Saliency, integrated gradients, Grad-CAM and occlusion of a CNN, the rollout of attention of a transformer over patches;
both read clothes (Fashion-MNIST). Integrated gradients must sum to what the score rose by, and erasing the pixels that
a map ranks highest must cost the score more than erasing others.
"""

import numpy as np

import weft
from weft import explain, nn, optim
from weft.data import DataLoader, Normalize, fashion_mnist, random_split
from weft.recipes.example import Example, main

SCALE = Normalize(0.2860, 0.3530)


def cnn() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(),  # 4: (N, 32, 14, 14), what Grad-CAM looks at
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(1568, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip


class PatchTransformer(nn.Module):
    """Images as 49 patches of 4 x 4 pixels, each with its place, read by two layers of attention."""

    def __init__(self):
        self.embed = nn.Conv2d(1, 48, 4, stride=4)
        self.place = nn.Parameter(0.1 * weft.random.normal((49, 48)))
        layer = nn.TransformerEncoderLayer(48, 4, 96, dropout=0.0, batch_first=True, norm_first=True)
        self.encoder, self.head = nn.TransformerEncoder(layer, 2), nn.Linear(48, 10)

    def forward(self, x):
        patches = self.embed(x).reshape(x.shape[0], 48, 49).swapaxes(1, 2)  # (N, 49, 48)
        return self.head(self.encoder(patches + self.place).mean(axis=1))


def train(model: nn.Module, loader: DataLoader, epochs: int) -> nn.Module:
    optimizer = optim.AdamW(model.parameters(), lr=4e-3)
    schedule = optim.OneCycleLR(optimizer, max_lr=4e-3, total_steps=epochs * len(loader))
    for _ in range(epochs):
        for x, y in loader:
            loss = nn.functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    return model.eval()


def right(model: nn.Module, x, labels) -> float:
    with weft.no_grad():
        return 100 * (model(x).numpy().argmax(axis=1) == labels).mean()


def score(model: nn.Module, x, target) -> np.ndarray:
    with weft.no_grad():
        return np.take_along_axis(model(x).numpy(), target[:, None], axis=1)[:, 0]


def cost_of_erasing(model: nn.Module, x, target, ranking: np.ndarray, share: float = 0.1) -> float:
    """What the score loses, on average, where that share of the pixels becomes background."""
    n, pixels = len(ranking), ranking.reshape(len(ranking), -1)
    erased = x.numpy().reshape(n, -1).copy()
    top = np.argsort(-pixels, axis=1)[:, : round(share * pixels.shape[1])]
    np.put_along_axis(erased, top, x.numpy().min(), axis=1)
    return float((score(model, x, target) - score(model, weft.asarray(erased.reshape(x.shape)), target)).mean())


def run(example: Example) -> None:
    clothes, test, classes, _ = fashion_mnist(example.data)
    part = example.choose(short=0.03, default=0.25)
    clothes, _ = random_split(clothes, [part, 1 - part], seed=example.seed)
    loader = DataLoader(clothes, 64, shuffle=True, seed=example.seed, drop_last=True, transform=SCALE)
    net = train(cnn(), loader, epochs=2)
    reader = train(PatchTransformer(), loader, epochs=example.choose(short=2, default=4))

    x, labels = next(iter(DataLoader(test, example.choose(short=100, default=500), transform=SCALE)))
    least = example.choose(short=60, default=85)
    example.figure("accuracy of the CNN", right(net, x, labels.numpy()), "%", at_least=least)
    example.figure("accuracy of the transformer", right(reader, x, labels.numpy()), "%",
                   at_least=example.choose(short=40, default=75))  # fmt: skip

    background = float(x.numpy().min())
    with weft.no_grad():
        answer = net(x).numpy().argmax(axis=1)
    maps = {
        "saliency": explain.saliency(net, x, answer).numpy()[:, 0],
        "integrated\ngradients": explain.integrated_gradients(net, x, answer, baseline=background).numpy()[:, 0],
        "Grad-CAM": explain.grad_cam(net, x, "4", answer).numpy(),
        "occlusion": explain.occlusion(net, x, answer, window=6, value=background).numpy(),
    }
    rise = score(net, x, answer) - score(net, 0 * x + background, answer)
    gap = np.abs(maps["integrated\ngradients"].sum(axis=(1, 2)) - rise) / np.abs(rise)
    example.figure("completeness: median gap of the sum", 100 * np.median(gap), "%", at_most=2.0)

    random = np.random.default_rng(example.seed).random(maps["saliency"].shape)
    cost = {name.replace("\n", " "): cost_of_erasing(net, x, answer, m) for name, m in maps.items()}
    chance = cost_of_erasing(net, x, answer, random)
    for name, lost in cost.items():
        example.figure(f"score lost with the tenth that {name} ranks highest", lost, at_least=chance,
                       beside={"a random tenth": chance})  # fmt: skip

    flow = explain.attention_rollout(explain.attention_weights(reader, x)).numpy()  # (N, 49, 49)
    maps["attention\nrollout"] = flow.mean(axis=1).reshape(-1, 7, 7).repeat(4, axis=1).repeat(4, axis=2)
    draw(example, x.numpy()[:, 0], maps, [classes[i] for i in answer])


def draw(example: Example, images: np.ndarray, maps, answers: list[str]) -> None:
    chosen = [answers.index(name) for name in dict.fromkeys(answers)][:5]  # one of a kind
    figure, axes = example.canvas(1.35 * (1 + len(maps)), 1.45 * len(chosen), 1)
    axes[0].remove()
    grid = figure.subplots(len(chosen), 1 + len(maps), squeeze=False)
    for row, i in zip(grid, chosen):
        row[0].imshow(images[i], cmap="gray_r")
        row[0].set_ylabel(answers[i], fontsize=9)
        for axis, values in zip(row[1:], maps.values()):
            signed = values[i].min() < 0
            most = np.abs(values[i]).max() or 1.0
            axis.imshow(images[i], cmap="gray_r", alpha=0.25)
            axis.imshow(
                values[i], cmap="RdBu_r" if signed else "Oranges", vmin=-most if signed else 0, vmax=most, alpha=0.85
            )
        for axis in row:
            axis.set(xticks=[], yticks=[])
    for axis, name in zip(grid[0], ["image", *maps]):
        axis.set_title(name, fontsize=9)
    figure.suptitle("what spoke for the answer (red) and against it (blue)", fontsize=10)
    example.picture(figure)


if __name__ == "__main__":
    main(run)
