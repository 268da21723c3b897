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

    primitive = K.adam

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

    def kept(self, group: dict[str, Any]) -> tuple[str | None, ...]:
        return ("exp_avg", "exp_avg_sq", "max_exp_avg_sq" if group["amsgrad"] else None)

    def arguments(self, group: dict[str, Any]) -> dict[str, Any]:
        values = super().arguments(group)
        values["decoupled"] = values.pop("decoupled_weight_decay")
        return values


class AdamW(Adam):
    """Adam whose weight decay shrinks the parameters themselves: p -= lr weight_decay p.  Loshchilov, Hutter, 2019.

    >>> p = nn.Parameter([1.0])
    >>> (p * 2).sum().backward()
    >>> AdamW([p], lr=0.1).step()
    >>> p.numpy()
    array([0.899], dtype=float32)
    """

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
