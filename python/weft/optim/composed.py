"""What the optimizers share that are array code: no primitive of their own, but the same promises.

Subclasses say in `move` what one parameter becomes. 16-bit parameters move in float32, by their masters; `scale` and
`skip` are kept on the device that they are on.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from weft.backends.array import namespace
from weft.backends.reference.precision import wide
from weft.optim.optimizer import Optimizer

Moved = tuple[Any, dict[str, Any]]


class Composed(Optimizer):
    """Base: a subclass has `kept` (state names) and `move`."""

    coupled_decay = True  # weight_decay is added to the gradient

    def move(self, xp: Any, p: Any, g: Any, state: dict[str, Any], group: dict[str, Any], lr: Any, t: Any) -> Moved:
        """The parameter and its state after step t with gradient g; lr and t are numbers, or arrays () on a device.

        Arrays of t are float64: what is made of them meets p by `fit`.
        """
        raise NotImplementedError(f"{type(self).__name__}: expected a method `move`, got none")

    def update(
        self,
        group: dict[str, Any],
        data: list[Any],
        grads: list[Any],
        states: list[dict[str, Any]],
        options: dict[str, Any],
    ) -> None:
        scale, skip, lr, t = (options[key] for key in ("scale", "skip", "lr", "step"))
        if isinstance(skip, np.ndarray):
            if skip.any():
                return
            skip = None
        if not isinstance(t, int):  # counted on the device, where 1 - beta^t would lose its digits in float32
            t = namespace(t).astype(t, np.dtype(np.float64))
        decay = group.get("weight_decay") if self.coupled_decay else 0
        for array, p, g, state in zip(data, options.get("masters", data), grads, states):
            xp = namespace(p)
            g = wide(g) if scale is None else wide(g) * xp.astype(scale, wide(g).dtype)
            g = -g if group.get("maximize") else g
            g = g + p * decay if decay and not group.get("decoupled_weight_decay") else g
            new, changed = self.move(xp, p, g, state, group, lr, t)
            for old, value in [(p, new), *[(state[key], value) for key, value in changed.items()]]:
                xp.assign(old, value if skip is None else xp.where(skip, old, value))
            if array is not p:
                xp.assign(array, p)


def power(xp: Any, base: float, t: Any) -> Any:
    """base^t for a number of steps that may be on a device, in float64."""
    return base**t if isinstance(t, (int, float)) else xp.pow(base, t)


def root(xp: Any, x: Any) -> Any:
    """The square root of a number or an array."""
    return x**0.5 if isinstance(x, (int, float)) else xp.sqrt(x)


def fit(xp: Any, x: Any, p: Any) -> Any:
    """A number, or an array () in the dtype of p."""
    return x if isinstance(x, (int, float)) else xp.astype(x, p.dtype)


def mean_towards(average: Any, x: Any, weight: Any) -> Any:
    """A running mean, moved towards x by `weight`."""
    return average + (x - average) * weight


def filled(array: Any, value: float) -> Any:
    """The array, with `value` everywhere."""
    namespace(array).assign(array, value)
    return array
