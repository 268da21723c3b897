"""Adam and AdamW."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from weft.backends import reference as K
from weft.optim.optimizer import Optimizer


class Adam(Optimizer):
    """p -= lr m / (sqrt(v) + eps), with m and v the bias-corrected running means of the gradient and its square.

    betas: decay of the two means. weight_decay: added to the gradient as weight_decay p (decoupled_weight_decay: taken
    off p itself, which is AdamW). amsgrad: never let v fall. maximize: climb. Kingma and Ba, 2015.

    >>> import weft; from weft import nn
    >>> p = nn.Parameter([1.0]); p.grad = weft.asarray([2.0])
    >>> Adam([p], lr=0.1).step(); round(p.item(), 4)
    0.9
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
    ):
        super().__init__(
            params,
            dict(
                lr=lr,
                betas=tuple(betas),
                eps=eps,
                weight_decay=weight_decay,
                amsgrad=amsgrad,
                maximize=maximize,
                decoupled_weight_decay=decoupled_weight_decay,
            ),
        )

    def check(self, group: dict[str, Any]) -> None:
        super().check(group)
        self.expect(group, "eps", group["eps"] >= 0, ">= 0")
        self.expect(
            group, "betas", len(group["betas"]) == 2 and all(0 <= b < 1 for b in group["betas"]), "a pair in [0, 1)"
        )

    def slots(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq", "max_exp_avg_sq") if group["amsgrad"] else ("exp_avg", "exp_avg_sq")

    def update(
        self,
        group: dict[str, Any],
        data: list[Any],
        grads: list[Any],
        states: list[dict[str, Any]],
        options: dict[str, Any],
    ) -> None:
        beta1, beta2 = group["betas"]
        K.adam(
            data,
            grads,
            [s["exp_avg"] for s in states],
            [s["exp_avg_sq"] for s in states],
            [s["max_exp_avg_sq"] for s in states] if group["amsgrad"] else [],
            beta1=beta1,
            beta2=beta2,
            eps=group["eps"],
            weight_decay=group["weight_decay"],
            decoupled=group["decoupled_weight_decay"],
            amsgrad=group["amsgrad"],
            maximize=group["maximize"],
            **options,
        )


class AdamW(Adam):
    """Adam whose weight decay shrinks the parameters themselves: p -= lr weight_decay p.  Loshchilov, Hutter, 2019."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ):
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize, decoupled_weight_decay=True)
