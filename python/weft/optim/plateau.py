"""The schedule that waits until a figure has stopped getting better."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from weft.optim.lr_scheduler import not_recorded, of_groups
from weft.optim.optimizer import Optimizer


class ReduceLROnPlateau:
    """Times `factor` when a figure has not got better for more than `patience` steps: call `step(figure)`.

    mode: "min" or "max" is better; threshold: by how much, a share ("rel") or a number ("abs"); cooldown: steps to wait
    after a cut; min_lr: one floor, or one for each group; eps: smaller changes are not made.

    >>> optimizer = weft.optim.SGD([nn.Parameter([1.0])], lr=1.0)
    >>> schedule = ReduceLROnPlateau(optimizer, factor=0.5, patience=0)
    >>> for loss in (1.0, 2.0):
    ...     schedule.step(loss)
    >>> schedule.get_last_lr()
    [0.5]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0.0,
        eps: float = 1e-8,
    ):
        if not factor < 1 or mode not in ("min", "max") or threshold_mode not in ("rel", "abs"):
            raise ValueError(
                "ReduceLROnPlateau: expected factor < 1, mode min or max, threshold_mode rel or abs, "
                f"got {factor}, {mode!r}, {threshold_mode!r}"
            )
        self.min_lrs = of_groups("ReduceLROnPlateau", optimizer, "min_lr", min_lr)
        self.optimizer, self.mode, self.factor, self.patience = optimizer, mode, factor, patience
        self.threshold, self.threshold_mode, self.cooldown, self.eps = threshold, threshold_mode, cooldown, eps
        self.best: float | None = None
        self.num_bad_epochs, self.cooldown_counter, self.last_epoch = 0, 0, 0

    def step(self, metrics: Any) -> None:
        """Tell the figure of this step, a number or a Tensor of one value."""
        not_recorded()
        value = float(metrics)
        self.last_epoch += 1
        if self.is_better(value):
            self.best, self.num_bad_epochs = value, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter, self.num_bad_epochs = self.cooldown_counter - 1, 0
        if self.num_bad_epochs > self.patience:
            for group, low in zip(self.optimizer.param_groups, self.min_lrs, strict=True):
                new = max(group["lr"] * self.factor, low)
                if group["lr"] - new > self.eps:
                    group["lr"] = new
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0

    def is_better(self, value: float) -> bool:
        if self.best is None:
            return not math.isnan(value)
        sign = 1 if self.mode == "min" else -1
        margin = self.threshold * (self.best if self.threshold_mode == "rel" else sign)
        return sign * value < sign * (self.best - (margin if self.threshold_mode == "abs" else sign * margin))

    def get_last_lr(self) -> list[float]:
        """The rate of each group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """All but the optimizer, as JSON-able data."""
        return {k: v for k, v in vars(self).items() if k != "optimizer"}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned; the rate itself is in the optimizer's state."""
        vars(self).update(state_dict)
