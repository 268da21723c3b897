"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from weft.backends import reference as K
from weft.optim.optimizer import Optimizer


class SGD(Optimizer):
    """p -= lr b, with b = momentum b + (1 - dampening) g the running direction and g the gradient plus weight_decay p.

    nesterov: look ahead along b. maximize: climb. Sutskever et al., 2013.

    >>> import weft; from weft import nn
    >>> p = nn.Parameter([1.0]); p.grad = weft.asarray([2.0])
    >>> SGD([p], lr=0.25).step(); p.item()
    0.5
    """

    primitive = K.sgd

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ):
        super().__init__(
            params,
            dict(
                lr=lr,
                momentum=momentum,
                dampening=dampening,
                weight_decay=weight_decay,
                nesterov=nesterov,
                maximize=maximize,
            ),
        )

    def check(self, group: dict[str, Any]) -> None:
        super().check(group)
        self.expect(group, "momentum", group["momentum"] >= 0, ">= 0")
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise ValueError(
                "SGD: expected momentum > 0 and dampening 0 with nesterov, "
                f"got momentum {group['momentum']} and dampening {group['dampening']}"
            )

    def kept(self, group: dict[str, Any]) -> tuple[str | None, ...]:
        return ("momentum_buffer" if group["momentum"] else None,)

    def slots(self, group: dict[str, Any]) -> list[str]:
        return []  # the buffer comes with the first step that has momentum

    def update(
        self,
        group: dict[str, Any],
        data: list[Any],
        grads: list[Any],
        states: list[dict[str, Any]],
        options: dict[str, Any],
    ) -> None:
        counted = not isinstance(options["step"], int)  # by the device, which then knows which step is the first
        if not counted:
            options["step"] = None
        new = [i for i, s in enumerate(states) if s.get("momentum_buffer") is None] if group["momentum"] else []
        if not new:
            super().update(group, data, grads, states, {**options, "first": False})
            return
        for i in new:
            states[i]["momentum_buffer"] = self.zeros(data[i])
        for first, which in ((True, new), (False, sorted({*range(len(data))} - {*new}))):
            if which:
                columns: Any = (data, grads, states, options.get("masters"))
                p, g, s, masters = [column and [column[i] for i in which] for column in columns]
                given = {**options, "masters": masters, "first": first and not counted}
                super().update(group, p, g, s, given)
