"""Learning rates as functions of the number of steps taken."""

from __future__ import annotations

import math
from typing import Any

from weft.keras import registry
from weft.keras.registry import Configured, Table


class LearningRateSchedule(Configured):
    """Base: define `__call__(step)`, which returns the rate for the step after so many.

    >>> from weft import keras
    >>> class Halved(keras.optimizers.schedules.LearningRateSchedule):
    ...     def __call__(self, step):
    ...         return 0.1 * 0.5 ** step
    >>> Halved()(1)
    0.05
    """

    def __call__(self, step: int) -> float:
        raise NotImplementedError(f"{type(self).__name__}: expected a method `__call__`, got none")


class ExponentialDecay(LearningRateSchedule):
    """initial decay_rate^(step / decay_steps); staircase: of whole decay_steps.

    >>> from weft import keras
    >>> keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)(20)
    0.025
    """

    def __init__(self, initial_learning_rate: float, decay_steps: int, decay_rate: float, staircase: bool = False,
                 name: str = "ExponentialDecay"):  # fmt: skip
        check_steps(type(self).__name__, decay_steps)
        self.initial_learning_rate, self.decay_steps = initial_learning_rate, decay_steps
        self.decay_rate, self.staircase, self.name = decay_rate, staircase, name

    def periods(self, step: int) -> float:
        return step // self.decay_steps if self.staircase else step / self.decay_steps

    def __call__(self, step: int) -> float:
        return float(self.initial_learning_rate * self.decay_rate ** self.periods(step))


class InverseTimeDecay(ExponentialDecay):
    """initial / (1 + decay_rate step / decay_steps); staircase: of whole decay_steps.

    >>> from weft import keras
    >>> keras.optimizers.schedules.InverseTimeDecay(0.1, 10, 1.0)(10)
    0.05
    """

    def __init__(self, initial_learning_rate: float, decay_steps: int, decay_rate: float, staircase: bool = False,
                 name: str = "InverseTimeDecay"):  # fmt: skip
        super().__init__(initial_learning_rate, decay_steps, decay_rate, staircase, name)

    def __call__(self, step: int) -> float:
        return float(self.initial_learning_rate / (1 + self.decay_rate * self.periods(step)))


class PiecewiseConstantDecay(LearningRateSchedule):
    """values[i] up to and with step boundaries[i], then the next.

    >>> from weft import keras
    >>> rate = keras.optimizers.schedules.PiecewiseConstantDecay([10], [0.1, 0.01])
    >>> rate(10), rate(11)
    (0.1, 0.01)
    """

    def __init__(self, boundaries: Any, values: Any, name: str = "PiecewiseConstant"):
        if len(boundaries) != len(values) - 1:
            raise ValueError("PiecewiseConstantDecay: expected one more value than boundaries, "
                             f"got {len(values)} and {len(boundaries)}")  # fmt: skip
        self.boundaries, self.values, self.name = list(boundaries), list(values), name

    def __call__(self, step: int) -> float:
        return float(self.values[sum(step > boundary for boundary in self.boundaries)])


class PolynomialDecay(LearningRateSchedule):
    """From initial to end in decay_steps, along (1 - step / decay_steps)^power; cycle: begin anew behind the end.

    >>> from weft import keras
    >>> keras.optimizers.schedules.PolynomialDecay(0.3, 10, 0.1)(5)
    0.2
    """

    def __init__(self, initial_learning_rate: float, decay_steps: int, end_learning_rate: float = 0.0001,
                 power: float = 1.0, cycle: bool = False, name: str = "PolynomialDecay"):  # fmt: skip
        check_steps("PolynomialDecay", decay_steps)
        self.initial_learning_rate, self.decay_steps, self.cycle = initial_learning_rate, decay_steps, cycle
        self.end_learning_rate, self.power, self.name = end_learning_rate, power, name

    def __call__(self, step: int) -> float:
        steps: float = self.decay_steps
        if self.cycle:
            steps *= 1 if step == 0 else math.ceil(step / steps)
        left = 1 - min(step, steps) / steps
        return float((self.initial_learning_rate - self.end_learning_rate) * left**self.power + self.end_learning_rate)


class CosineDecay(LearningRateSchedule):
    """Half a cosine from initial to alpha initial in decay_steps.  Loshchilov and Hutter, 2017.

    warmup_target: a line from initial to this in warmup_steps comes first, and the cosine goes from there.

    >>> from weft import keras
    >>> keras.optimizers.schedules.CosineDecay(0.1, 10)(5)
    0.05
    """

    def __init__(self, initial_learning_rate: float, decay_steps: int, alpha: float = 0.0, name: str = "CosineDecay",
                 warmup_target: float | None = None, warmup_steps: int = 0):  # fmt: skip
        check_steps("CosineDecay", decay_steps)
        self.initial_learning_rate, self.decay_steps, self.alpha, self.name = (
            initial_learning_rate, decay_steps, alpha, name,
        )  # fmt: skip
        self.warmup_target, self.warmup_steps = warmup_target, warmup_steps

    def __call__(self, step: int) -> float:
        top, done = self.initial_learning_rate, step
        if self.warmup_target is not None:
            if step < self.warmup_steps:
                return float(top + (self.warmup_target - top) * step / self.warmup_steps)
            top, done = self.warmup_target, step - self.warmup_steps
        cosine = 0.5 * (1 + math.cos(math.pi * min(done, self.decay_steps) / self.decay_steps))
        return float(top * ((1 - self.alpha) * cosine + self.alpha))


class CosineDecayRestarts(LearningRateSchedule):
    """Cosines one after the other, each t_mul times as long and beginning at m_mul times as much as the one before.

    >>> from weft import keras
    >>> keras.optimizers.schedules.CosineDecayRestarts(0.1, 10)(10)
    0.1
    """

    def __init__(self, initial_learning_rate: float, first_decay_steps: int, t_mul: float = 2.0, m_mul: float = 1.0,
                 alpha: float = 0.0, name: str = "SGDRDecay"):  # fmt: skip
        check_steps("CosineDecayRestarts", first_decay_steps)
        self.initial_learning_rate, self.first_decay_steps, self.name = initial_learning_rate, first_decay_steps, name
        self.t_mul, self.m_mul, self.alpha = t_mul, m_mul, alpha

    def __call__(self, step: int) -> float:
        length, begun, restarts = float(self.first_decay_steps), 0.0, 0
        while step >= begun + length:
            begun, length, restarts = begun + length, length * self.t_mul, restarts + 1
        cosine = 0.5 * self.m_mul**restarts * (1 + math.cos(math.pi * (step - begun) / length))
        return float(self.initial_learning_rate * ((1 - self.alpha) * cosine + self.alpha))


def check_steps(name: str, steps: float) -> None:
    if not steps > 0:
        raise ValueError(f"{name}: expected a number of steps above 0, got {steps}")


CLASSES = (ExponentialDecay, InverseTimeDecay, PiecewiseConstantDecay, PolynomialDecay, CosineDecay,
           CosineDecayRestarts)  # fmt: skip
TABLE = Table("schedule", "keras.optimizers.schedules", {c.__name__: c for c in CLASSES})
serialize, deserialize = registry.serialize, registry.deserialize
