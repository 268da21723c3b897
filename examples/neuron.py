"""A neuron by hand, activation(sum(w * x) + b), equals nn.Linear and its activation.

One neuron learns to tell handwritten eights from threes. Its answers, and those of eight activations, are then computed
again by loops over Python's own numbers, and both ways agree to the last digits of float32.
"""

import math

import numpy as np

import weft
from weft import nn, optim
from weft.data import ArrayDataset, DataLoader, digits, random_split
from weft.recipes.example import Example, main

BY_HAND = {
    nn.Identity: lambda s: s,
    nn.ReLU: lambda s: max(s, 0.0),
    nn.LeakyReLU: lambda s: s if s > 0 else 0.01 * s,
    nn.Sigmoid: lambda s: 1 / (1 + math.exp(-s)),
    nn.Tanh: math.tanh,
    nn.GELU: lambda s: s * (1 + math.erf(s / math.sqrt(2))) / 2,
    nn.SiLU: lambda s: s / (1 + math.exp(-s)),
    nn.Softplus: lambda s: math.log1p(math.exp(s)),
}


def neuron(w: list[float], x: list[float], b: float, activation) -> float:
    total = b
    for weight, value in zip(w, x):
        total += weight * value
    return activation(total)


def run(example: Example) -> None:
    samples, _ = digits()  # images (1797, 1, 8, 8) from 0 to 1
    both = np.isin(samples.arrays[1], (3, 8))
    pairs = ArrayDataset(samples.arrays[0][both], samples.arrays[1][both])
    train, test = random_split(pairs, [0.7, 0.3], seed=example.seed, stratify=pairs.arrays[1])
    images, labels = next(iter(DataLoader(train, len(train))))
    layer = learned(nn.Linear(64, 1), images.reshape(-1, 64), (labels == 8).astype("float32")[:, None])

    images, labels = next(iter(DataLoader(test, len(test))))
    x, truth = images.reshape(-1, 64), labels.numpy()  # (N, 64), (N,)
    w, b, rows = layer.weight.numpy()[0].tolist(), layer.bias.item(), x.numpy().tolist()
    worst = {}
    for module, by_hand in BY_HAND.items():
        ours = nn.Sequential(layer, module())(x).numpy()[:, 0]
        theirs = np.array([neuron(w, row, b, by_hand) for row in rows])
        worst[module.__name__] = np.abs(ours - theirs).max() / np.abs(theirs).max()
        print(
            f"{module.__name__}: {len(theirs)} answers, by hand and by nn, {worst[module.__name__]:.1e} apart at most"
        )
    name = max(worst, key=worst.get)
    example.figure(f"largest difference ({name})", worst[name], "of the largest answer", at_most=1e-6)
    sums = layer(x).numpy()[:, 0]
    right = 100 * ((sums > 0) == (truth == 8)).mean()
    example.figure("eights told from threes", right, "%", at_least=93, beside={"chance": 100 * (truth == 3).mean()})
    draw(example, w, sums, truth, right)


def learned(layer: nn.Linear, x: weft.Tensor, y: weft.Tensor) -> nn.Linear:
    """Logistic regression: the sigmoid of the neuron is the probability of an eight."""
    optimizer = optim.SGD(layer.parameters(), lr=1.0, weight_decay=1e-3)
    for _ in range(200):
        loss = nn.functional.binary_cross_entropy_with_logits(layer(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return layer


def draw(example: Example, w, sums, truth, right: float) -> None:
    figure, (weights, answers, curves) = example.canvas(12, 3.4, 3)
    largest = max(map(abs, w))
    shown = weights.imshow(np.reshape(w, (8, 8)), cmap="RdBu", vmin=-largest, vmax=largest)
    figure.colorbar(shown, ax=weights, label="weight of the pixel", shrink=0.85)
    weights.set(title="w: blue speaks for 8, red for 3", xticks=[], yticks=[])
    line = np.linspace(sums.min() - 1, sums.max() + 1, 200)
    answers.plot(line, 1 / (1 + np.exp(-line)), color="#8a8a8a", zorder=0, label="sigmoid")
    for digit, colour in ((3, "#b2182b"), (8, "#2166ac")):
        own = sums[truth == digit]
        answers.plot(
            own, 1 / (1 + np.exp(-own)), "o", color=colour, alpha=0.5, markersize=5, label=f"images of {digit}"
        )
    answers.set(
        title=f"the neuron's answers: {right:.1f} % right", xlabel="sum(w * x) + b", ylabel="probability of an 8"
    )
    answers.legend(frameon=False, fontsize=9)
    line = np.linspace(-4, 4, 200)
    for module, by_hand in BY_HAND.items():
        curves.plot(line, [by_hand(s) for s in line.tolist()], label=module.__name__, linewidth=1.4)
    curves.set(title="activations, by hand", xlabel="sum(w * x) + b", ylabel="answer", ylim=(-1.2, 4))
    curves.legend(frameon=False, fontsize=8)
    example.picture(figure)


if __name__ == "__main__":
    main(run)
