"""One hidden layer comes as close to a continuous function as it is wide: the largest error falls with the width.

The function has corners, so no finite net is exact, and what is measured is the largest error anywhere on the interval
(Cybenko 1989, Hornik 1991: for some width it is below any bound). Beside it stands what as many straight pieces between
equally spaced points of the function reach, which a layer of ReLU can always copy.
"""

import numpy as np

import weft
from weft import nn, optim
from weft.recipes.example import Example, main

SEEN, ASKED = np.linspace(0, 1, 400), np.linspace(0, 1, 4001)  # where it is trained and where it is judged


def function(x):
    """Continuous, with corners at 1/3, 2/3 and where the second wave turns."""
    return np.abs(np.sin(3 * np.pi * x)) * (0.4 + x) + 0.3 * np.abs(x - 0.45) - 0.2 * np.cos(9 * x)


def build(width: int) -> nn.Sequential:
    """x (N, 1) -> y (N, 1); the steps of the hidden units begin spread over the interval, each as wide as its share."""
    model = nn.Sequential(nn.Linear(1, width), nn.Tanh(), nn.Linear(width, 1)).to(dtype="float64")
    knots = (np.arange(width) + 0.5) / width
    slopes = 2.0 * width * np.where(np.arange(width) % 2, -1, 1)
    model[0].weight, model[0].bias = nn.Parameter(slopes[:, None]), nn.Parameter(-slopes * knots)
    return model


def fitted(width: int, rounds: int) -> nn.Sequential:
    """The net after minimising the mean fourth power of its errors, which minds the large ones, by L-BFGS."""
    x, y = weft.asarray(SEEN[:, None]), weft.asarray(function(SEEN)[:, None])
    model = build(width)
    optimizer = optim.LBFGS(model.parameters(), max_iter=rounds, history_size=30, line_search_fn="strong_wolfe",
                            tolerance_grad=1e-14, tolerance_change=1e-16)  # fmt: skip
    for power in (2, 4):

        def closure():
            optimizer.zero_grad()
            loss = ((model(x) - y) ** power).mean()  # noqa: B023
            loss.backward()
            return loss

        optimizer.step(closure)
        optimizer.state.clear()
    return model


def run(example: Example) -> None:
    widths = example.choose(short=[2, 4, 8, 16, 32], default=[2, 4, 8, 16, 32, 64, 128])
    truth, seeds = function(ASKED), list(example.seeds())
    curves, errors, pieces = {}, {}, {}
    for width in widths:
        found = []
        for seed in seeds:
            weft.random.seed(seed)
            model = fitted(width, example.choose(short=150, default=1000))
            curves[width] = model(weft.asarray(ASKED[:, None])).numpy()[:, 0]
            found.append(np.abs(curves[width] - truth).max())
        knots = np.linspace(0, 1, width + 1)
        errors[width], pieces[width] = np.mean(found), np.abs(np.interp(ASKED, knots, function(knots)) - truth).max()
    reached = list(errors.values())
    most = example.choose(short=0.05, default=0.015)
    beside = {"as many straight pieces": pieces[widths[-1]]}
    example.figure(f"largest error at width {widths[-1]}", reached[-1], at_most=most, beside=beside)
    worst = max(after / before for before, after in zip(reached, reached[1:]))
    example.figure("error after doubling the width, over the one before, at worst", worst, at_most=0.95)
    slope = np.polyfit(np.log(widths), np.log(reached), 1)[0]
    example.figure("error falls as the width to the power of", slope, at_most=-0.7)
    draw(example, truth, curves, errors, pieces)


def draw(example: Example, truth, curves, errors, pieces) -> None:
    figure, (shapes, fall) = example.canvas(12, 4, 2)
    shapes.plot(ASKED, truth, color="#222222", linewidth=4, alpha=0.25, label="the function")
    for width, colour in ((2, "#d95f0e"), (4, "#41ab5d"), (16, "#2166ac")):
        shapes.plot(ASKED, curves[width], color=colour, linewidth=1.4, label=f"{width} hidden units")
    shapes.set(title="one hidden layer of tanh", xlabel="x", ylabel="f(x)")
    shapes.legend(frameon=False, fontsize=9)
    fall.loglog(list(errors), list(errors.values()), "o-", color="#2166ac", label="trained net")
    fall.loglog(list(pieces), list(pieces.values()), "s--", color="#8a8a8a", label="as many straight pieces")
    for width, error in errors.items():
        fall.annotate(f"{error:.2g}", (width, error), (0, -14), textcoords="offset points", ha="center", fontsize=8)
    fall.set_xscale("log", base=2)
    fall.set_xticks(list(errors), [str(width) for width in errors])
    fall.set(title="the largest error falls with the width", xlabel="hidden units", ylabel="largest error on [0, 1]",
             ylim=(0.6 * min(errors.values()), None))  # fmt: skip
    fall.legend(frameon=False, fontsize=9)
    example.picture(figure)


if __name__ == "__main__":
    main(run)
