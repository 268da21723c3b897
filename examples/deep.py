"""Networks of hundreds of hidden layers build, run backward and train, if the signal can pass through them.

As built by default, a deep stack of tanh layers multiplies the gradient by less than one at each layer, and its first
layer learns nothing. Orthogonal weights keep lengths (arXiv:1312.6120), and residual blocks add to what passes through
(arXiv:1512.03385): both train. No part of Weft walks a network by recursion, so ten thousand layers run backward too.
"""

import numpy as np

import weft
from weft import nn, optim
from weft.data import DataLoader, digits, random_split
from weft.recipes.example import Example, main
from weft.train import Trainer

WIDTH = 32
KINDS = {"as built": "#b2182b", "orthogonal": "#d95f0e", "residual": "#2166ac"}


class Residual(nn.Module):
    """x + tanh(W norm(x)), the sum scaled so that all blocks together add about as much as there was."""

    def __init__(self, scale: float):
        self.norm, self.linear, self.scale = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH), scale

    def forward(self, x):
        return x + self.scale * weft.tanh(self.linear(self.norm(x)))


def build(kind: str, depth: int) -> nn.Sequential:
    """Images (N, 1, 8, 8) -> scores (N, 10), through `depth` hidden layers."""
    hidden: list[nn.Module] = []
    for _ in range(depth):
        if kind == "residual":
            hidden.append(Residual(depth**-0.5))
            continue
        linear = nn.Linear(WIDTH, WIDTH)
        if kind == "orthogonal":
            nn.init.orthogonal_(linear.weight)
            nn.init.zeros_(linear.bias)
        hidden += [linear, nn.Tanh()]
    return nn.Sequential(nn.Flatten(), nn.Linear(64, WIDTH), *hidden, nn.Linear(WIDTH, 10))


def gradients(model: nn.Module, images, labels) -> np.ndarray:
    """The norm of the gradient of each hidden layer's weights; 0 where it is below float32's smallest number."""
    nn.functional.cross_entropy(model(images), labels).backward()
    norms = [np.linalg.norm(p.grad.numpy().astype(float)) for p in model.parameters() if p.shape == (WIDTH, WIDTH)]
    model.zero_grad()
    return np.array(norms)


def run(example: Example) -> None:
    depth, epochs = example.choose(short=50, default=300), example.choose(short=3, default=6)
    samples, _ = digits()
    train, validation = random_split(samples, [0.8, 0.2], seed=example.seed, stratify=samples.arrays[1])
    images, labels = next(iter(DataLoader(train, 128)))
    figure, (flow, curve) = example.canvas(11, 3.8, 2)
    for kind, colour in KINDS.items():
        weft.random.seed(example.seed)
        model = build(kind, depth)
        norms = gradients(model, images, labels)
        flow.semilogy(range(1, depth + 1), np.where(norms > 0, norms, np.nan), color=colour, label=kind)
        optimizer = optim.AdamW(model.parameters(), lr=1e-3 if kind == "residual" else 0.03 / depth)
        options = {"metrics": ["accuracy"], "clip_norm": 1.0, "log_every": 1, "progress": False}
        trainer = Trainer(model, optimizer, nn.CrossEntropyLoss(), **options)
        trainer.fit(DataLoader(train, 64, shuffle=True, seed=example.seed), epochs=epochs)
        reached = 100 * trainer.evaluate(DataLoader(validation, 256))["accuracy"]
        losses = [record["loss"] for record in trainer.records if record["event"] == "step"]
        curve.plot(range(1, len(losses) + 1), losses, color=colour, label=f"{kind}: {reached:.1f} % of validation")
        least = {"orthogonal": example.choose(short=40, default=60), "residual": example.choose(short=80, default=92)}
        bar = {"at_least": least[kind]} if kind in least else {"at_most": 20}
        example.figure(f"{depth} hidden layers {kind}", reached, "%", **bar, beside={"chance": 10})
        if kind != "orthogonal":
            ratio = np.log10(max(norms[0], 1e-45) / norms[-1])
            bar = {"at_most": -6.0} if kind == "as built" else {"at_least": -1.0}
            example.figure(f"gradient of the first over the last, {kind}", ratio, "powers of ten", **bar)
    deepest(example, images[:4], labels[:4])
    flow.set(
        title="gradient before training", xlabel="hidden layer (no line: 0 in float32)", ylabel="norm of its gradient"
    )
    curve.set(title="training", xlabel="step", ylabel="loss of the batch", ylim=(0, None))
    for axis in (flow, curve):
        axis.legend(frameon=False, fontsize=9)
    example.picture(figure)


def deepest(example: Example, images, labels) -> None:
    """One backward pass through far more layers than Python allows calls within calls."""
    depth = example.choose(short=500, default=10000)
    norms = gradients(build("residual", depth), images, labels)
    example.figure("layers with a gradient in one backward pass", np.count_nonzero(norms), at_least=depth)


if __name__ == "__main__":
    main(run)
