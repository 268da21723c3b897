"""Lion."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from weft.backends import reference as K
from weft.optim.optimizer import Optimizer


class Lion(Optimizer):
    """p -= lr (sign(beta1 m + (1 - beta1) g) + weight_decay p), then m = beta2 m + (1 - beta2) g.

    Every element moves by lr, so lr is 3 to 10 times smaller than AdamW's, and weight_decay as much larger. maximize:
    climb. Chen et al., "Symbolic discovery of optimization algorithms" (2023), whose defaults these are.

    >>> import weft; from weft import nn
    >>> p = nn.Parameter([1.0]); p.grad = weft.asarray([2.0])
    >>> Lion([p], lr=0.25).step(); p.item()
    0.75
    """

    primitive = K.lion
    counts = False

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ):
        super().__init__(params, dict(lr=lr, betas=tuple(betas), weight_decay=weight_decay, maximize=maximize))

    def kept(self, group: dict[str, Any]) -> tuple[str | None, ...]:
        return ("exp_avg",)
