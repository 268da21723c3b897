"""What a CNN looks at: its first filters and activations drawn, edges first, shapes later.

The claim is also measured: from each layer of a net trained on photos of clothes, a linear readout tells how strong the
edges of four directions are at each place, and which of ten kinds of clothes the photo shows. The first is easiest in
the first layer, the second in the last.
"""

import numpy as np

import weft
from weft import nn, optim
from weft.data import DataLoader, Subset, fashion_mnist
from weft.recipes.example import Example, main
from weft.train import Trainer

SOBEL = np.array([[1, 2, 1], [0, 0, 0], [-1, -2, -1]]), np.array([[2, 1, 0], [1, 0, -1], [0, -1, -2]])
EDGES = np.stack([SOBEL[0], SOBEL[0].T, SOBEL[1], SOBEL[1][:, ::-1]])[:, None].astype("float32")  # (4, 1, 3, 3)


def build() -> nn.Sequential:
    """Images (N, 1, 28, 28) -> scores (N, 10)."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 7, padding=3), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),  # (N, 16, 14, 14)
        nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),  # (N, 32, 7, 7)
        nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(),  # (N, 64, 7, 7)
        nn.Flatten(), nn.Linear(3136, 10),
    )  # fmt: skip


def directed(filters: np.ndarray) -> float:
    """How far filters (C, 1, K, K) are edges of one direction, from 0 to 1: the mean coherence of their spectra."""
    power = np.abs(np.fft.fft2(filters[:, 0] - filters[:, 0].mean((1, 2), keepdims=True), (16, 16))) ** 2
    y, x = np.meshgrid(np.fft.fftfreq(16), np.fft.fftfreq(16), indexing="ij")
    turned = np.exp(2j * np.arctan2(y, x))  # the same for a direction and its opposite
    return float((np.abs((power * turned).sum((1, 2))) / power.sum((1, 2))).mean())


def activations(model: nn.Sequential, images: weft.Tensor) -> list[np.ndarray]:
    """What comes out of each ReLU: (N, C, H, W) each."""
    kept = []
    with weft.no_grad():
        for layer in model:
            images = layer(images)
            if isinstance(layer, nn.ReLU):
                kept.append(images.numpy())
    return kept


def readout(features: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Ridge regression from features (N, F) to targets (N, T), fitted on one half, its answers for the other."""
    half = len(features) // 2
    scaled = (features - features[:half].mean(0)) / (features[:half].std(0) + 1e-6)
    x = np.concatenate([scaled, np.ones((len(features), 1))], axis=1)
    normal = x[:half].T @ x[:half] + half * 1e-4 * np.eye(x.shape[1])
    return x[half:] @ np.linalg.solve(normal, x[:half].T @ targets[:half])


def edges_read(maps: np.ndarray, images: weft.Tensor) -> float:
    """The share of the variance of the edges' strength at each pixel, in four directions, that a layer tells: R2."""
    strength = abs(nn.functional.conv2d(images, weft.asarray(EDGES), padding=1)).numpy()
    times = 28 // maps.shape[2]
    maps = maps.repeat(times, axis=2).repeat(times, axis=3)  # (N, C, 28, 28)
    by_place = lambda a: np.moveaxis(a, 1, -1).reshape(-1, a.shape[1])
    targets = by_place(strength)
    wanted = targets[len(targets) // 2 :]
    return float(1 - ((readout(by_place(maps), targets) - wanted) ** 2).sum() / ((wanted - wanted.mean(0)) ** 2).sum())


def class_read(maps: np.ndarray, labels: np.ndarray) -> float:
    """How many of the photos a layer's channels name, each by its mean over all places, in %."""
    answers = readout(maps.mean(axis=(2, 3)), np.eye(10)[labels]).argmax(1)
    return 100 * float((answers == labels[len(labels) // 2 :]).mean())


def run(example: Example) -> None:
    train, test, _, _ = fashion_mnist(example.data)
    scale = lambda x, rng=None: x.astype("float32") / 255
    count, epochs = example.choose(short=2500, default=20000), example.choose(short=1, default=3)
    model = build()
    with weft.no_grad():
        model[0].weight *= 0.1  # the norm after it undoes the scale; what is learned soon outweighs what was drawn
    before = directed(model[0].weight.numpy())
    optimizer = optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.02)
    trainer = Trainer(model, optimizer, nn.CrossEntropyLoss(), metrics=["accuracy"], progress=False)
    loader = DataLoader(Subset(train, range(count)), 64, shuffle=True, seed=example.seed, transform=scale)
    trainer.fit(loader, epochs=epochs)
    unseen = DataLoader(Subset(test, range(example.choose(short=1000, default=10000))), 500, transform=scale)
    least = example.choose(short=45, default=85)
    example.figure(
        "test accuracy", 100 * trainer.evaluate(unseen)["accuracy"], "%", at_least=least, beside={"chance": 10}
    )
    images, labels = next(iter(DataLoader(test, example.choose(short=300, default=2000), transform=scale)))
    model.eval()
    layers = activations(model, images)
    after = directed(model[0].weight.numpy())
    least = before + example.choose(short=0.05, default=0.1)
    example.figure("direction of the first filters", after, "from 0 to 1", at_least=least, beside={"as drawn": before})
    edges = [edges_read(maps[:120], images[:120]) for maps in layers]
    kinds = [class_read(maps, labels.numpy()) for maps in layers]
    example.figure(
        "edges told by the first layer, R2", edges[0], at_least=1.15 * edges[2], beside={"the last": edges[2]}
    )
    example.figure("kinds told by the last layer", kinds[2], "%", at_least=kinds[0], beside={"the first": kinds[0]})
    draw(example, model[0].weight.numpy(), images.numpy(), layers, edges, kinds)


def tiles(maps: np.ndarray) -> np.ndarray:
    """The sixteen strongest of some maps (C, H, W), each from 0 to 1, as one picture of 4 x 4."""
    maps = maps[np.argsort(-maps.std(axis=(1, 2)), kind="stable")[:16]]
    maps = (maps - maps.min((1, 2), keepdims=True)) / (np.ptp(maps, axis=(1, 2), keepdims=True) + 1e-9)
    gap = max(1, maps.shape[1] // 12)
    framed = np.pad(maps, ((0, 0), (gap, gap), (gap, gap)), constant_values=1.0)
    return np.concatenate([np.concatenate(list(row), axis=1) for row in framed.reshape(4, 4, *framed.shape[1:])])


def draw(example: Example, filters, images, layers, edges, kinds) -> None:
    figure, axes = example.canvas(17, 3.6, 6)
    shoe = 0  # the test data begins with an ankle boot
    pictures = {"16 filters of 7 x 7": tiles(filters[:, 0]), "a photo": images[shoe, 0]}
    pictures |= {
        f"layer {i + 1}: {maps.shape[2]} x {maps.shape[3]}": tiles(maps[shoe]) for i, maps in enumerate(layers)
    }
    for axis, (title, picture) in zip(axes, pictures.items()):
        axis.imshow(picture, cmap="gray")
        axis.set(title=title, xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    chart = axes[5]
    chart.plot((1, 2, 3), [100 * value for value in edges], "o-", color="#d95f0e", label="edges: R2 in %")
    chart.plot((1, 2, 3), kinds, "o-", color="#2166ac", label="kinds of clothes: % right")
    chart.set(title="what a linear readout tells", xlabel="layer", ylabel="%", xticks=(1, 2, 3), ylim=(0, 100))
    chart.legend(frameon=False, fontsize=8, loc="lower left")
    example.picture(figure)


if __name__ == "__main__":
    main(run)
