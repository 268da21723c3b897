"""The learning-rate finder: one short run in which the rate climbs, and what the loss does meanwhile."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import weft.random
from weft.data import DataLoader
from weft.nn.module import in_mode
from weft.train.plots import BLUE, GREY, ORANGE, new_figure
from weft.train.trainer import check_batch

Array = np.ndarray[Any, Any]


class RateCurve(NamedTuple):
    """The loss at each learning rate of a climb, and where it diverged.

    rates, losses, smoothed: float64 (n,), one for each step; smoothed is the running mean that the suggestion is read
    from. diverged_at: the rate at which the climb was stopped, or None if it came to its end.

    >>> losses = np.array([3.0, 2.0, 1.0, 5.0])
    >>> round(weft.train.RateCurve(np.array([0.001, 0.01, 0.1, 1.0]), losses, losses, 1.0).suggestion, 6)
    0.01
    """

    rates: Array
    losses: Array
    smoothed: Array
    diverged_at: float | None

    @property
    def lowest(self) -> float:
        """The rate at which the smoothed loss was lowest: beyond it training becomes worse, not faster."""
        return float(self.rates[np.argmin(self.smoothed)])

    @property
    def falls(self) -> bool:
        """Whether the loss fell at all as the rate climbed: else there is nothing to suggest."""
        return int(np.argmin(self.smoothed)) >= 2

    @property
    def suggestion(self) -> float:
        """A tenth of `lowest`: the climb shows the harm of a rate late, by its momentum and the running mean."""
        if not self.falls:
            raise ValueError("suggestion: expected a loss that falls as the rate climbs, got one that is lowest at "
                             f"{self.lowest:.2g}: begin with a lower rate, or take more steps")  # fmt: skip
        return self.lowest / 10

    def draw(self, axis: Any) -> None:
        """The curve on a matplotlib axis, with the suggestion and the point of divergence."""
        axis.plot(self.rates, self.losses, color=GREY, linewidth=0.8, alpha=0.6, label="loss of each batch")
        axis.plot(self.rates, self.smoothed, color=BLUE, linewidth=1.8, label="smoothed")
        if self.falls:
            axis.axvline(self.suggestion, color=ORANGE, linestyle="--", label=f"suggestion {self.suggestion:.2g}")
        if self.diverged_at is not None:
            axis.axvline(self.diverged_at, color="#b2182b", linestyle=":", label=f"diverges at {self.diverged_at:.2g}")
        finite = self.smoothed[np.isfinite(self.smoothed)]
        low, top = finite.min(), min(finite.max(), 1.6 * finite[0])
        axis.set(xscale="log", xlabel="learning rate", ylabel="loss", ylim=(low - 0.1 * (top - low), top))
        axis.legend(frameon=False, fontsize=9)

    def save(self, path: Path | str) -> None:
        """The curve as a PNG. Needs matplotlib."""
        figure, (axis,) = new_figure(5.6, 3.6)
        self.draw(axis)
        figure.savefig(path, format="png")


def find_learning_rate(
    model: Any, optimizer: Any, loss: Any, loader: DataLoader, *, lowest: float = 1e-6, highest: float = 10.0,
    steps: int = 100, smooth: float = 0.9, stop: float = 4.0,
) -> RateCurve:  # fmt: skip
    """Train for `steps` batches while the learning rate climbs from `lowest` to `highest`, each the same factor above
    the last, and return the losses; the climb ends where the smoothed loss lies more than (stop - 1) |lowest| above its
    lowest, or is none.

    A batch is (*inputs, targets), as for the Trainer; the loader begins anew when it is through. smooth: how much the
    running mean keeps of itself, 0 to 1. Groups of parameters keep the ratio of their rates. Model, optimizer, loader
    and random numbers are afterwards as they were; gradients are dropped. Source: arXiv:1506.01186, section 3.3.

    >>> curve = weft.train.find_learning_rate(model, optimizer, nn.CrossEntropyLoss(), loader)  # doctest: +SKIP
    >>> curve.suggestion                                                                    # doctest: +SKIP
    0.13
    """
    if not 0 < lowest < highest or steps < 3 or not 0 <= smooth < 1 or not stop > 1:
        raise ValueError("find_learning_rate: expected 0 < lowest < highest, steps >= 3, 0 <= smooth < 1 and stop > 1, "
                         f"got {lowest}, {highest}, {steps}, {smooth} and {stop}")  # fmt: skip
    first = float(optimizer.param_groups[0]["lr"])
    if first <= 0:
        raise ValueError(f"find_learning_rate: expected an optimizer with a learning rate above 0, got {first}")
    if not len(loader):
        raise ValueError("find_learning_rate: expected at least one batch in loader, got none")
    before = model.state_dict(), optimizer.state_dict(), loader.state_dict(), weft.random.get_state()
    rates = np.geomspace(lowest, highest, steps)
    losses: list[float] = []
    smoothed: list[float] = []
    mean, diverged = 0.0, None
    try:
        with in_mode(model, True):
            for rate, batch in zip(rates, endless(loader)):
                for group, saved in zip(optimizer.param_groups, before[1]["param_groups"]):
                    group["lr"] = rate * saved["lr"] / first
                *inputs, targets = check_batch(batch)
                optimizer.zero_grad()
                value = loss(model(*inputs), targets)
                number = float(value.item())
                mean = smooth * mean + (1 - smooth) * number
                # A mean of what has been seen, not of zeros.
                smoothed.append(mean / (1 - smooth ** (len(smoothed) + 1)))
                losses.append(number)
                if not math.isfinite(number) or smoothed[-1] - min(smoothed) > (stop - 1) * abs(min(smoothed)):
                    diverged = float(rate)
                    break
                value.backward()
                optimizer.step()
    finally:
        optimizer.zero_grad()
        model.load_state_dict(before[0])
        optimizer.load_state_dict(before[1])
        loader.load_state_dict(before[2])
        weft.random.set_state(before[3])
    seen = int(np.isfinite(losses).sum())
    if not seen:
        raise ValueError(f"find_learning_rate: expected a finite loss of the first batch, got {losses[0]}")
    return RateCurve(rates[:seen], np.array(losses[:seen]), np.array(smoothed[:seen]), diverged)


def endless(loader: DataLoader) -> Iterator[Any]:
    while True:
        yield from loader
