"""An RNN trained through time forgets its first input; LSTM and GRU, whose gates can stay open, remember it.

The first of many symbols, one of four, is to be named at the end; all between are noise. Backpropagation through time
multiplies the gradient by one Jacobian per step, so it vanishes (or explodes) with the distance (Hochreiter 1991;
Bengio, Simard and Frasconi 1994). The picture shows that gradient: how far the loss depends on each input, before
training and after. The gates' biases start so that memories of all lengths up to the text's are there at first (Tallec
and Ollivier, "Can recurrent neural networks warp time?", 2018); an RNN has no such gate to open.
"""

import numpy as np

import weft
from weft import nn, optim
from weft.nn import functional as F
from weft.random import Generator
from weft.recipes.example import Example, main

KINDS, NOISE, WIDTH = 4, 4, 32
LAYERS = {"RNN": nn.RNN, "GRU": nn.GRU, "LSTM": nn.LSTM}
COLOURS = {"RNN": "#d95f0e", "GRU": "#2166ac", "LSTM": "#1b7837"}


def texts(rng: Generator, length: int, count: int) -> tuple[weft.Tensor, weft.Tensor]:
    """One-hot symbols (length, count, KINDS + NOISE), of which the first is the answer (count,)."""
    symbols = rng.integers_array(KINDS, KINDS + NOISE, (length, count))
    symbols[0] = rng.integers_array(0, KINDS, count)
    return weft.asarray(np.eye(KINDS + NOISE, dtype=np.float32)[symbols]), weft.asarray(symbols[0])


class Reader(nn.Module):
    """Reads a text and says what stood first.  (T, N, KINDS + NOISE) -> (N, KINDS)"""

    def __init__(self, kind: str, length: int, rng: Generator):
        self.layer = LAYERS[kind](KINDS + NOISE, WIDTH)
        self.head = nn.Linear(WIDTH, KINDS)
        if kind != "RNN":  # the second gate of each, of remembering: sigmoid(log u) forgets after about u steps
            times = rng.uniform_array(WIDTH) * (length - 2) + 1
            with weft.no_grad():
                self.layer.bias_ih_l0[WIDTH : 2 * WIDTH] = weft.asarray(np.log(times))
                if kind == "LSTM":  # and as little is written as is forgotten; GRU has one gate for both
                    self.layer.bias_ih_l0[:WIDTH] = weft.asarray(-np.log(times))

    def forward(self, x: weft.Tensor) -> weft.Tensor:
        outputs, _ = self.layer(x)
        return self.head(outputs[-1])


def train(model: Reader, rng: Generator, length: int, steps: int) -> None:
    optimizer = optim.Adam(model.parameters(), lr=0.005)
    for _ in range(steps):
        x, first = texts(rng, length, 32)
        loss = F.cross_entropy(model(x), first)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()


def gradient_over_time(model: Reader, x: weft.Tensor, first: weft.Tensor) -> np.ndarray:
    """The mean norm, over texts, of the loss's gradient with respect to the input of each step, (T,)."""
    by_input = weft.grad(lambda x: F.cross_entropy(model(x), first, reduction="sum"))(x)
    return np.linalg.norm(by_input.numpy(), axis=2).mean(axis=1)


def run(example: Example) -> None:
    length = example.choose(short=60, default=100)
    steps = example.choose(short=200, default=400)
    right = {kind: [] for kind in LAYERS}
    gradients = {}
    for seed in example.seeds():
        weft.random.seed(seed)
        test = texts(Generator(1000 + seed), length, 500)
        for kind in LAYERS:
            rng = Generator(seed)
            model = Reader(kind, length, rng)
            before = gradient_over_time(model, *test)
            train(model, rng, length, steps)
            right[kind].append(100 * (model(test[0]).numpy().argmax(1) == test[1].numpy()).mean())
            gradients.setdefault(kind, (before, gradient_over_time(model, *test)))
    for kind, reached in right.items():
        bar = {"at_most": 60.0} if kind == "RNN" else {"at_least": 95.0}
        example.figure(f"{kind}, first of {length} symbols", np.mean(reached), "%", **bar, beside={"chance": 25.0})
    draw(example, gradients, length)


def draw(example: Example, gradients: dict, length: int) -> None:
    figure, axes = example.canvas(10, 3.6, 2)
    for axis, when, title in zip(axes, (0, 1), ("before training", "after training")):
        for kind, of_steps in gradients.items():
            axis.semilogy(np.arange(1, length + 1), of_steps[when], color=COLOURS[kind], label=kind)
        axis.set(title=title, xlabel="step of the input (1: to be remembered)")
        axis.set(ylabel="norm of the loss's gradient", ylim=(1e-12, 1))
    axes[0].legend(frameon=False)
    example.picture(figure)


if __name__ == "__main__":
    main(run)
