"""Learning-rate schedules, with PyTorch's names, arguments and rates.

A schedule is a formula from a step number to a rate. Where the rate in the optimizer is still the one that the schedule
set, `step` writes the next one; where something else has changed it (another schedule, the user), `step` scales it by
what the formula changes, so schedules chain. The state is plain numbers.
"""

from __future__ import annotations

import importlib
import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from weft.backends import capturing
from weft.optim.optimizer import Optimizer

__all__ = """
    ConstantLR CosineAnnealingLR CosineAnnealingWarmRestarts CyclicLR ExponentialLR LambdaLR LinearLR LRScheduler
    MultiStepLR OneCycleLR PolynomialLR ReduceLROnPlateau SequentialLR StepLR
""".split()


def not_recorded() -> None:
    """Rates are the host's: a replay would not move them."""
    capturing.refuse("a step of a learning-rate schedule", "take it after the recorded step")


class LRScheduler:
    """Base: a subclass has `get_lr`, the rates of all groups at step `self.last_epoch` from `self.base_lrs`.

    last_epoch: the step that was last taken when resuming, whose groups must have "initial_lr"; -1 to start.

    >>> class Constant(LRScheduler):
    ...     def get_lr(self):
    ...         return list(self.base_lrs)
    >>> optimizer = weft.optim.SGD([nn.Parameter([1.0])], lr=0.5)
    >>> Constant(optimizer).get_last_lr()
    [0.5]
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1):
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(self).__name__}: expected an Optimizer, got {type(optimizer).__name__}")
        self.optimizer = optimizer
        for group in optimizer.param_groups:
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise KeyError(f'{type(self).__name__}: expected "initial_lr" in every group to resume at {last_epoch}')
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._planned = list(self.base_lrs)
        if last_epoch >= 0:
            self._planned = self.get_lr()
        self.step()

    def get_lr(self) -> list[float]:
        raise NotImplementedError(f"{type(self).__name__}: expected a method `get_lr`, got none")

    def step(self) -> None:
        """Go on by one and set the rates."""
        not_recorded()
        before = self._planned
        self.last_epoch += 1
        self._planned = self.get_lr()
        for group, old, new in zip(self.optimizer.param_groups, before, self._planned, strict=True):
            group["lr"] = new if group["lr"] == old or not old else group["lr"] * (new / old)
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def jump(self, epoch: int) -> None:
        """Set the rates of step `epoch`, whatever they were."""
        self.last_epoch = epoch
        self._planned = self.get_lr()
        for group, lr in zip(self.optimizer.param_groups, self._planned, strict=True):
            group["lr"] = lr
        self._last_lr = list(self._planned)

    def get_last_lr(self) -> list[float]:
        """The rate of each group after the last step."""
        return self._last_lr

    def state_dict(self) -> dict[str, Any]:
        """All that changes, and the arguments, as JSON-able data; functions are left out."""
        return {k: v for k, v in vars(self).items() if k != "optimizer" and not is_code(v)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned; sets the rates in the optimizer."""
        if len(state_dict["base_lrs"]) != len(self.base_lrs):
            raise ValueError(
                f"{type(self).__name__}.load_state_dict: expected {len(self.base_lrs)} groups, "
                f"got {len(state_dict['base_lrs'])}"
            )
        vars(self).update({k: v for k, v in state_dict.items() if k != "optimizer"})
        for group, lr, base in zip(self.optimizer.param_groups, self._last_lr, self.base_lrs, strict=True):
            group["lr"], group["initial_lr"] = lr, base


class FactorLR(LRScheduler):
    """A schedule whose rates are those of the start times one factor."""

    def factor(self, t: int) -> float:
        raise NotImplementedError(f"{type(self).__name__}: expected a method `factor`, got none")

    def get_lr(self) -> list[float]:
        factor = self.factor(self.last_epoch)
        return [base * factor for base in self.base_lrs]


class StepLR(FactorLR):
    """Times gamma every step_size steps.

    >>> optimizer = weft.optim.SGD([nn.Parameter([1.0])], lr=1.0)
    >>> schedule = StepLR(optimizer, step_size=1, gamma=0.5)
    >>> schedule.step()
    >>> schedule.get_last_lr()
    [0.5]
    """

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1):
        if step_size < 1:
            raise ValueError(f"StepLR: expected step_size >= 1, got {step_size}")
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch)

    def factor(self, t: int) -> float:
        return self.gamma ** (t // self.step_size)


class MultiStepLR(FactorLR):
    """Times gamma at each of the milestones.

    >>> optimizer = weft.optim.SGD([nn.Parameter([1.0])], lr=1.0)
    >>> schedule = MultiStepLR(optimizer, milestones=[1, 5])
    >>> schedule.step()
    >>> schedule.get_last_lr()
    [0.1]
    """

    def __init__(self, optimizer: Optimizer, milestones: Sequence[int], gamma: float = 0.1, last_epoch: int = -1):
        self.milestones, self.gamma = sorted(milestones), gamma
        super().__init__(optimizer, last_epoch)

    def factor(self, t: int) -> float:
        return self.gamma ** bisect_right(self.milestones, t)


class ExponentialLR(FactorLR):
    """Times gamma every step.

    >>> optimizer = weft.optim.SGD([nn.Parameter([1.0])], lr=1.0)
    >>> schedule = ExponentialLR(optimizer, gamma=0.5)
    >>> schedule.step()
    >>> schedule.get_last_lr()
    [0.5]
    """

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1):
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def factor(self, t: int) -> float:
        return self.gamma**t


class ConstantLR(FactorLR):
    """Times `factor` for the first total_iters steps.

    >>> optimizer = weft.optim.SGD([nn.Parameter([1.0])], lr=1.0)
    >>> ConstantLR(optimizer, factor=0.5, total_iters=3).get_last_lr()
    [0.5]
    """

    def __init__(self, optimizer: Optimizer, factor: float = 1 / 3, total_iters: int = 5, last_epoch: int = -1):
        if not 0 <= factor <= 1:
            raise ValueError(f"ConstantLR: expected factor in [0, 1], got {factor}")
        self.start_factor, self.total_iters = factor, total_iters
        super().__init__(optimizer, last_epoch)

    def factor(self, t: int) -> float:
        return self.start_factor if t < self.total_iters else 1.0


class LinearLR(FactorLR):
    """From start_factor to end_factor on a line over total_iters steps: a warm-up.

    >>> optimizer = weft.optim.SGD([nn.Parameter([1.0])], lr=1.0)
    >>> schedule = LinearLR(optimizer, start_factor=0.5, total_iters=2)
    >>> schedule.step()
    >>> schedule.get_last_lr()
    [0.75]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ):
        if not 0 < start_factor <= 1 or not 0 <= end_factor <= 1:
            raise ValueError(
                f"LinearLR: expected start_factor in (0, 1] and end_factor in [0, 1], "
                f"got {start_factor} and {end_factor}"
            )
        self.start_factor, self.end_factor, self.total_iters = start_factor, end_factor, total_iters
        super().__init__(optimizer, last_epoch)

    def factor(self, t: int) -> float:
        return self.start_factor + (self.end_factor - self.start_factor) * min(t, self.total_iters) / self.total_iters


class PolynomialLR(FactorLR):
    """Times (1 - t / total_iters)^power, 0 from total_iters on.

    >>> optimizer = weft.optim.SGD([nn.Parameter([1.0])], lr=1.0)
    >>> schedule = PolynomialLR(optimizer, total_iters=4)
    >>> schedule.step()
    >>> schedule.get_last_lr()
    [0.75]
    """

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1):
        self.total_iters, self.power = total_iters, power
        super().__init__(optimizer, last_epoch)

    def factor(self, t: int) -> float:
        return (1 - min(t, self.total_iters) / self.total_iters) ** self.power


class LambdaLR(LRScheduler):
    """Times lr_lambda(t), one function or one for each group; the functions are not part of the state.

    >>> optimizer = weft.optim.SGD([nn.Parameter([1.0])], lr=1.0)
    >>> schedule = LambdaLR(optimizer, lambda t: 1 / (t + 1))
    >>> schedule.step()
    >>> schedule.get_last_lr()
    [0.5]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ):
        groups = len(optimizer.param_groups)
        self.lr_lambdas = [lr_lambda] * groups if callable(lr_lambda) else list(lr_lambda)
        if len(self.lr_lambdas) != groups:
            raise ValueError(f"LambdaLR: expected one function for each of {groups} groups, got {len(self.lr_lambdas)}")
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return [base * f(self.last_epoch) for base, f in zip(self.base_lrs, self.lr_lambdas, strict=True)]


class CosineAnnealingLR(LRScheduler):
    """Down to eta_min along half a cosine over T_max steps (and up again after).  Loshchilov and Hutter, 2017.

    >>> optimizer = weft.optim.SGD([nn.Parameter([1.0])], lr=1.0)
    >>> schedule = CosineAnnealingLR(optimizer, T_max=2)
    >>> schedule.step()
    >>> [round(rate, 6) for rate in schedule.get_last_lr()]
    [0.5]
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1):  # noqa: N803
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return [cosine(base, self.eta_min, self.last_epoch / self.T_max) for base in self.base_lrs]


class CosineAnnealingWarmRestarts(LRScheduler):
    """Half cosines down to eta_min, the first over T_0 steps, each next T_mult times as long.

    >>> optimizer = weft.optim.SGD([nn.Parameter([1.0])], lr=1.0)
    >>> schedule = CosineAnnealingWarmRestarts(optimizer, T_0=2)
    >>> for _ in range(2):
    ...     schedule.step()
    >>> schedule.get_last_lr()
    [1.0]
    """

    def __init__(self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1):  # noqa: N803
        if T_0 < 1 or T_mult < 1:
            raise ValueError(f"CosineAnnealingWarmRestarts: expected T_0 >= 1 and T_mult >= 1, got {T_0} and {T_mult}")
        self.T_0, self.T_mult, self.eta_min = T_0, T_mult, eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        at, period = self.last_epoch, self.T_0
        if self.T_mult == 1:
            at %= period
        while at >= period:
            at, period = at - period, period * self.T_mult
        return [cosine(base, self.eta_min, at / period) for base in self.base_lrs]


class OneCycleLR(LRScheduler):
    """Up from max_lr / div_factor to max_lr, then far down; momentum goes the other way.  Smith and Topin, 2018.

    total_steps, or epochs times steps_per_epoch: step is called after each batch, and no more often. pct_start:
    the share of the rise. anneal_strategy: "cos" or "linear". final_div_factor: the last rate is the first over this.
    cycle_momentum: move momentum (or the first beta) between max_momentum and base_momentum. three_phase: down to the
    first rate as slowly as up, then on to the last.

    >>> optimizer = weft.optim.SGD([nn.Parameter([1.0])], lr=1.0, momentum=0.9)
    >>> schedule = OneCycleLR(optimizer, max_lr=1.0, total_steps=10)
    >>> schedule.get_last_lr()
    [0.040000000000000036]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | Sequence[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float = 0.85,
        max_momentum: float = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ):
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ValueError("OneCycleLR: expected total_steps, or epochs and steps_per_epoch, got neither")
            total_steps = epochs * steps_per_epoch
        if total_steps < 1 or not 0 <= pct_start <= 1 or anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                "OneCycleLR: expected total_steps >= 1, pct_start in [0, 1] and anneal_strategy cos or linear, "
                f"got {total_steps}, {pct_start} and {anneal_strategy!r}"
            )
        groups = optimizer.param_groups
        peaks = of_groups("OneCycleLR", optimizer, "max_lr", max_lr)
        if cycle_momentum and not {"momentum", "betas"} & set(optimizer.defaults):
            raise ValueError(
                f"OneCycleLR: expected an optimizer with momentum or betas, got {type(optimizer).__name__}; "
                "pass cycle_momentum=False"
            )
        self.total_steps, self.anneal_strategy, self.cycle_momentum = total_steps, anneal_strategy, cycle_momentum
        up, last = pct_start * total_steps - 1.0, total_steps - 1.0
        # (last step of the phase, the values it goes between): first rate, peak, last rate; high and low momentum
        self.phases = (
            [(up, 0, 1), (2 * pct_start * total_steps - 2.0, 1, 0), (last, 0, 2)]
            if three_phase
            else [(up, 0, 1), (last, 1, 2)]
        )
        self.rates = [(peak / div_factor, peak, peak / div_factor / final_div_factor) for peak in peaks]
        self.momenta = (max_momentum, base_momentum, max_momentum)
        if last_epoch == -1:
            for group, (first, peak, end) in zip(groups, self.rates, strict=True):
                group.update(initial_lr=first, max_lr=peak, min_lr=end, lr=first)
        super().__init__(optimizer, last_epoch)

    def at(self, values: Sequence[float]) -> float:
        """Where the cycle stands between three values: at its start, peak and end."""
        t, start = float(self.last_epoch), 0.0
        for end, i, j in self.phases:
            if t <= end or end == self.phases[-1][0]:
                part = (t - start) / (end - start) if end != start else 1.0
                if self.anneal_strategy == "linear":
                    return (values[j] - values[i]) * part + values[i]
                return cosine(values[i], values[j], part)
            start = end
        raise AssertionError("unreachable: the last phase takes every step")

    def get_lr(self) -> list[float]:
        if self.last_epoch > self.total_steps:  # as PyTorch: the step after the last batch is free
            raise ValueError(f"OneCycleLR: expected at most {self.total_steps} steps (total_steps), got one more")
        if self.cycle_momentum:
            momentum = self.at(self.momenta)
            for group in self.optimizer.param_groups:
                set_momentum(group, momentum)
        return [self.at(rates) for rates in self.rates]


class SequentialLR:
    """One schedule after another: schedulers[i] from step milestones[i - 1] on, each from its own beginning.

    last_epoch: the step that was last taken when resuming; -1 to start.

    >>> optimizer = weft.optim.SGD([nn.Parameter([1.0])], lr=1.0)
    >>> parts = [ConstantLR(optimizer, factor=0.1, total_iters=2), ExponentialLR(optimizer, gamma=0.9)]
    >>> schedule = SequentialLR(optimizer, parts, milestones=[2])
    >>> schedule.get_last_lr()
    [0.1]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: Sequence[LRScheduler],
        milestones: Sequence[int],
        last_epoch: int = -1,
    ):
        if len(schedulers) != len(milestones) + 1:
            raise ValueError(
                f"SequentialLR: expected one schedule more than milestones, got {len(schedulers)} and {len(milestones)}"
            )
        if any(s.optimizer is not optimizer for s in schedulers):
            raise ValueError("SequentialLR: expected schedules of this optimizer, got one of another")
        self.optimizer, self.schedulers, self.milestones = optimizer, list(schedulers), list(milestones)
        self.last_epoch = last_epoch + 1
        self.schedulers[0].jump(0)  # building the others has set rates too

    def step(self) -> None:
        """Go on by one and set the rates."""
        not_recorded()
        self.last_epoch += 1
        i = bisect_right(self.milestones, self.last_epoch)
        if i and self.milestones[i - 1] == self.last_epoch:
            self.schedulers[i].jump(0)
        else:
            self.schedulers[i].step()

    def get_last_lr(self) -> list[float]:
        """The rate of each group after the last step."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """JSON-able data, with that of every schedule."""
        return {
            "last_epoch": self.last_epoch,
            "milestones": self.milestones,
            "schedulers": [s.state_dict() for s in self.schedulers],
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned; sets the rates in the optimizer."""
        if len(state_dict["schedulers"]) != len(self.schedulers):
            raise ValueError(
                f"SequentialLR.load_state_dict: expected {len(self.schedulers)} schedules, "
                f"got {len(state_dict['schedulers'])}"
            )
        self.last_epoch, self.milestones = state_dict["last_epoch"], list(state_dict["milestones"])
        current = bisect_right(self.milestones, self.last_epoch)
        order = sorted(range(len(self.schedulers)), key=lambda i: i == current)  # the current one sets the rates
        for i in order:
            self.schedulers[i].load_state_dict(state_dict["schedulers"][i])


def of_groups(name: str, optimizer: Optimizer, what: str, value: float | Sequence[float]) -> list[float]:
    """One number for each group of the optimizer."""
    groups = len(optimizer.param_groups)
    values = [float(value)] * groups if isinstance(value, (int, float)) else [float(v) for v in value]
    if len(values) != groups:
        raise ValueError(f"{name}: expected one {what} for each of {groups} groups, got {len(values)}")
    return values


def set_momentum(group: dict[str, Any], momentum: float) -> None:
    """Write a group's momentum, which is the first of its betas where it has these."""
    if "betas" in group:
        group["betas"] = (momentum, *group["betas"][1:])
    else:
        group["momentum"] = momentum


def cosine(start: float, end: float, part: float) -> float:
    """From start (part 0) to end (part 1) along half a cosine."""
    return end + (start - end) * (1 + math.cos(math.pi * part)) / 2


def is_code(value: Any) -> bool:
    return callable(value) or (isinstance(value, list) and any(map(callable, value)))


def __getattr__(name: str) -> Any:
    homes = {"CyclicLR": "cyclic", "ReduceLROnPlateau": "plateau"}  # files that need this one
    if name in homes:
        return getattr(importlib.import_module(f"weft.optim.{homes[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
