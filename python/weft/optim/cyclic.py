"""The schedule that goes up and down between two rates."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from weft.optim.lr_scheduler import LRScheduler, of_groups, set_momentum
from weft.optim.optimizer import Optimizer

Bound = float | Sequence[float]
MODES = {"triangular": "cycle", "triangular2": "cycle", "exp_range": "iterations"}


class CyclicLR(LRScheduler):
    """Up from base_lr to max_lr over step_size_up steps, down over step_size_down, again and again.  Smith, 2017.

    base_lr, max_lr: one for all groups, or one for each. step_size_down: as step_size_up by default. mode:
    "triangular"; "triangular2", each cycle half as high; "exp_range", as high as gamma^step; or scale_fn, of the
    cycle's number (from 1) or, with scale_mode "iterations", of the step. cycle_momentum: momentum (or the first beta)
    goes the other way, from max_momentum to base_momentum. `step` is called after each batch.

    >>> from weft import nn, optim
    >>> optimizer = optim.SGD([nn.Parameter([1.0])], lr=0.1, momentum=0.9)
    >>> schedule, rates = CyclicLR(optimizer, 0.1, 0.5, step_size_up=2), []
    >>> for _ in range(4):
    ...     schedule.step()
    ...     rates.append(round(schedule.get_last_lr()[0], 3))
    >>> rates
    [0.3, 0.5, 0.3, 0.1]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: Bound,
        max_lr: Bound,
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: Bound = 0.8,
        max_momentum: Bound = 0.9,
        last_epoch: int = -1,
    ):
        step_size_down = step_size_up if step_size_down is None else step_size_down
        if step_size_up < 1 or step_size_down < 0:
            raise ValueError(
                f"CyclicLR: expected step_size_up >= 1 and step_size_down >= 0, got {step_size_up}, {step_size_down}"
            )
        if (scale_fn is None and mode not in MODES) or scale_mode not in ("cycle", "iterations"):
            raise ValueError(
                f"CyclicLR: expected mode {', '.join(MODES)} or a scale_fn, and scale_mode cycle or iterations, "
                f"got {mode!r} and {scale_mode!r}"
            )
        if cycle_momentum and not {"momentum", "betas"} & set(optimizer.defaults):
            raise ValueError(
                f"CyclicLR: expected an optimizer with momentum or betas, got {type(optimizer).__name__}; "
                "pass cycle_momentum=False"
            )
        self.total_size, self.mode, self.gamma = step_size_up + step_size_down, mode, gamma
        self.rise = step_size_up / self.total_size
        self.scale_fn, self.scale_mode = scale_fn, scale_mode if scale_fn else MODES[mode]
        bounds = {"base_lr": base_lr, "max_lr": max_lr, "max_momentum": max_momentum, "base_momentum": base_momentum}
        lows, self.max_lrs, *momenta = (of_groups("CyclicLR", optimizer, k, v) for k, v in bounds.items())
        self.cycle_momentum, self.momenta = cycle_momentum, momenta
        if last_epoch == -1:
            for group, low in zip(optimizer.param_groups, lows, strict=True):
                group.update(lr=low, initial_lr=low)
        super().__init__(optimizer, last_epoch)

    def scale(self, cycle: int) -> float:
        """How high this cycle goes, as a share of the whole."""
        at = cycle if self.scale_mode == "cycle" else self.last_epoch
        if self.scale_fn is not None:
            return self.scale_fn(at)
        return {"triangular": 1.0, "triangular2": 0.5 ** (cycle - 1), "exp_range": self.gamma**at}[self.mode]

    def get_lr(self) -> list[float]:
        turns = self.last_epoch / self.total_size
        cycle = math.floor(1 + turns)
        part = 1.0 + turns - cycle
        height = (part / self.rise if part <= self.rise else (part - 1) / (self.rise - 1)) * self.scale(cycle)
        if self.cycle_momentum:
            for group, high, low in zip(self.optimizer.param_groups, *self.momenta, strict=True):
                set_momentum(group, high - (high - low) * height)
        return [low + (high - low) * height for low, high in zip(self.base_lrs, self.max_lrs, strict=True)]
