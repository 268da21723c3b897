"""A perceptron learns AND and OR and never XOR; one hidden layer solves it.

The perceptron is trained by Rosenblatt's rule of 1958: a wrong answer moves the line by the sample. XOR's two classes
lie on no two sides of a line (Minsky and Papert, 1969), so the rule never comes to rest; a layer of tanh before it
bends the plane.
"""

import numpy as np

import weft
from weft import nn, optim
from weft.recipes.example import Example, main

INPUTS = weft.asarray([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], dtype="float32")  # (4, 2)
GATES = {"AND": [0.0, 0.0, 0.0, 1.0], "OR": [0.0, 1.0, 1.0, 1.0], "XOR": [0.0, 1.0, 1.0, 0.0]}


def perceptron(targets: weft.Tensor, rounds: int = 100) -> nn.Module:
    neuron = nn.Linear(2, 1)
    with weft.no_grad():
        for _ in range(rounds):
            for x, target in zip(INPUTS, targets):
                error = target - (neuron(x) > 0)  # (1,), -1, 0 or 1
                neuron.weight += error * x
                neuron.bias += error
    return neuron


def hidden_layer(targets: weft.Tensor, steps: int = 300) -> nn.Module:
    model = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1))
    optimizer = optim.Adam(model.parameters(), lr=0.05)
    for _ in range(steps):
        loss = nn.functional.binary_cross_entropy_with_logits(model(INPUTS), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


def right(model: nn.Module, targets: weft.Tensor) -> float:
    """The share of the four answers that are right, in %."""
    return 100 * ((model(INPUTS) > 0) == (targets > 0.5)).numpy().mean()


def run(example: Example) -> None:
    figure, axes = example.canvas(12, 3.2, 4)
    panels = [(gate, perceptron, "perceptron") for gate in GATES] + [("XOR", hidden_layer, "one hidden layer")]
    for axis, (gate, learn, name) in zip(axes, panels):
        targets = weft.asarray(GATES[gate], dtype="float32")[:, None]  # (4, 1)
        model = learn(targets)
        reached, solvable = right(model, targets), (gate, name) != ("XOR", "perceptron")
        bar = {"at_least": 100.0} if solvable else {"at_most": 75.0}
        example.figure(f"{gate}, {name}", reached, "%", **bar)
        draw(axis, model, targets, f"{gate}, {name}: {reached:.0f} %")
    axes[0].legend(title="answer", loc="center", frameon=False)
    example.picture(figure)


def draw(axis, model: nn.Module, targets: weft.Tensor, title: str) -> None:
    """The side of the line, or curve, on which each point of the plane falls."""
    ticks = np.linspace(-0.5, 1.5, 101, dtype=np.float32)
    plane = np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)
    score = model(weft.asarray(plane)).numpy().reshape(101, 101)
    axis.contourf(ticks, ticks, np.clip(score, -1, 1), levels=[-2, 0, 2], colors=["#f4f4f4", "#c6dbef"])
    for value, colour, label in ((1, "#2166ac", "1"), (0, "#d95f0e", "0")):
        points = INPUTS.numpy()[targets.numpy()[:, 0] == value]
        axis.plot(*points.T, "o", color=colour, markersize=9, label=label)
    axis.set(title=title, xlabel="first input", ylabel="second input", xticks=[0, 1], yticks=[0, 1])


if __name__ == "__main__":
    main(run)
