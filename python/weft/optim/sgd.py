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

    def slots(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ()  # momentum_buffer comes with the first step that has momentum

    def update(
        self,
        group: dict[str, Any],
        data: list[Any],
        grads: list[Any],
        states: list[dict[str, Any]],
        options: dict[str, Any],
    ) -> None:
        step, masters = options.pop("step"), options.pop("masters", None)
        runs: list[tuple[bool, list[int]]] = [(False, list(range(len(data))))]
        buffers: list[Any] = []
        if group["momentum"]:
            new = [i for i, state in enumerate(states) if state.get("momentum_buffer") is None]
            for i in new:
                states[i]["momentum_buffer"] = self.zeros(data[i])
            buffers = [state["momentum_buffer"] for state in states]
            if new:
                runs = [(True, new), (False, [i for i in range(len(data)) if i not in set(new)])]
        for first, which in runs:
            if which:
                whole = len(which) == len(data)
                K.sgd(
                    *(
                        arrays if whole else [arrays[i] for i in which] if arrays else []
                        for arrays in (data, grads, buffers, masters)
                    ),
                    momentum=group["momentum"],
                    dampening=group["dampening"],
                    weight_decay=group["weight_decay"],
                    nesterov=group["nesterov"],
                    maximize=group["maximize"],
                    first=first and isinstance(step, int),
                    step=None if isinstance(step, int) else step,
                    **options,
                )
