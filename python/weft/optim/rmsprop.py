"""RMSprop."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from weft.backends import reference as K
from weft.optim.optimizer import Optimizer


class RMSprop(Optimizer):
    """p -= lr g / (sqrt(v) + eps), with v the running mean of the squared gradient (centered: of its variance).

    alpha: decay of that mean. momentum: of a running sum of the moves. maximize: climb. Hinton, lecture 6e, 2012.

    >>> p = nn.Parameter([1.0])
    >>> (p * 2).sum().backward()
    >>> RMSprop([p], lr=0.1).step()
    >>> p.numpy()
    array([8.046627e-08], dtype=float32)
    """

    primitive = K.rmsprop
    counts = False

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ):
        super().__init__(
            params,
            dict(
                lr=lr,
                alpha=alpha,
                eps=eps,
                weight_decay=weight_decay,
                momentum=momentum,
                centered=centered,
                maximize=maximize,
            ),
        )

    def check(self, group: dict[str, Any]) -> None:
        super().check(group)
        for key in ("alpha", "momentum"):
            self.expect(group, key, group[key] >= 0, ">= 0")

    def kept(self, group: dict[str, Any]) -> tuple[str | None, ...]:
        return (
            "square_avg",
            "grad_avg" if group["centered"] else None,
            "momentum_buffer" if group["momentum"] else None,
        )
