"""The gradient of every weight of a CNN equals finite differences.

Each weight in turn is moved a little up and down, and the loss is measured: the slope must be what backpropagation
says. The step must be neither large (the curve bends) nor small (the digits run out): the picture shows both.
"""

import numpy as np

import weft
from weft import nn
from weft.data import DataLoader, digits
from weft.recipes.example import Example, main

STEP = 1e-5  # the third root of float64's precision, about


def build(dtype: str) -> nn.Module:
    """Images (N, 1, 8, 8) -> scores (N, 10): convolutions, three kinds of norm, pooling, attention, dense layers."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.GELU(), nn.AvgPool2d(2),  # (N, 4, 4, 4)
        nn.Conv2d(4, 4, 3, padding=1, groups=2), nn.GroupNorm(2, 4), nn.SiLU(),  # (N, 4, 4, 4)
        nn.Flatten(2), nn.TransformerEncoderLayer(16, 2, 8, dropout=0.0, activation="gelu", batch_first=True),
        nn.Flatten(), nn.Linear(64, 10),
    ).to(dtype=dtype)  # fmt: skip


def run(example: Example) -> None:
    samples, _ = digits()
    images, labels = next(iter(DataLoader(samples, example.choose(short=4, default=16))))
    images = images.astype("float64")
    model = build("float64")

    def loss() -> weft.Tensor:
        return nn.functional.cross_entropy(model(images), labels)

    loss().backward()
    slopes = {
        name: differences(p, loss, example.choose(short=5, default=10**6)) for name, p in model.named_parameters()
    }
    pairs = {name: (p.grad.numpy().ravel()[slopes[name][0]], slopes[name][1]) for name, p in model.named_parameters()}
    backward, measured = (np.concatenate([pair[i] for pair in pairs.values()]) for i in (0, 1))
    largest = np.abs(backward).max()
    worst = np.abs(backward - measured).max() / largest
    example.figure("weights compared", len(backward), at_least=example.choose(short=80, default=2000))
    example.figure("largest difference", worst, "of the largest gradient", at_most=1e-7)

    weft.testing.gradcheck(lambda x: model(x), [images.numpy()])  # raises where it fails
    figure, (scatter, bend) = example.canvas(11, 3.9, 2)
    scatter.axline((0, 0), slope=1, color="#8a8a8a", linewidth=0.8)
    for (ours, theirs), colour in zip(pairs.values(), colours(len(pairs))):
        scatter.plot(theirs, ours, "o", markersize=3, alpha=0.6, color=colour)
    scatter.set(title=f"{len(backward):,} weights, apart by {worst:.0e} at most", xlabel="slope by finite differences",
                ylabel="gradient by backpropagation")  # fmt: skip
    draw_steps(bend, images, labels, model)
    example.picture(figure)


def differences(parameter, loss, most: int, step: float = STEP) -> tuple[np.ndarray, np.ndarray]:
    """Up to `most` places of a parameter, evenly spread, and the slope of the loss along each: (f(+h) - f(-h)) / 2h."""
    flat = parameter.numpy().ravel().copy()
    places = np.unique(np.linspace(0, flat.size - 1, min(most, flat.size)).astype(int))

    def at(place: int, value: float) -> float:
        moved = flat.copy()
        moved[place] = value
        parameter[...] = weft.asarray(moved.reshape(parameter.shape))
        return loss().item()

    with weft.no_grad():
        slopes = [(at(i, flat[i] + step) - at(i, flat[i] - step)) / (2 * step) for i in places]
        parameter[...] = weft.asarray(flat.reshape(parameter.shape))
    return places, np.array(slopes)


def draw_steps(axis, images, labels, model) -> None:
    """The error of the slope of one layer's weights against the step, in double and in single precision."""
    steps = np.logspace(-9, -1, 9)
    for dtype, colour in (("float64", "#2166ac"), ("float32", "#d95f0e")):
        cast, x = build(dtype), images.astype(dtype)
        cast.load_state_dict(model.state_dict())
        weight = cast[-1].weight
        loss = lambda: nn.functional.cross_entropy(cast(x), labels)  # noqa: B023
        loss().backward()
        errors = []
        for step in steps:
            places, slopes = differences(weight, loss, 3, step)
            errors.append(np.abs(slopes - weight.grad.numpy().ravel()[places]).max())
        axis.loglog(steps, np.maximum(errors, 1e-17), "o-", color=colour, markersize=3.5, label=dtype)
    axis.set(
        title="too small a step: digits run out; too large: it bends", xlabel="step h", ylabel="error of the slope"
    )
    axis.legend(frameon=False, fontsize=9)


def colours(n: int) -> list:
    from matplotlib import colormaps

    return [colormaps["viridis"](i / n) for i in range(n)]


if __name__ == "__main__":
    main(run)
