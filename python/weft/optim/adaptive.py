"""Adam's relatives: NAdam, RAdam, Adamax, Adagrad and Adadelta."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from weft.optim.composed import Composed, Moved, filled, fit, mean_towards, power, root

MEANS = ("exp_avg", "exp_avg_sq")


class NAdam(Composed):
    """Adam with Nesterov's momentum, whose weight grows by momentum_decay.

    weight_decay: added to the gradient as weight_decay p (decoupled_weight_decay: taken off p itself). maximize: climb.
    Dozat, "Incorporating Nesterov momentum into Adam" (2016).

    >>> import weft; from weft import nn
    >>> p = nn.Parameter([1.0]); p.grad = weft.asarray([2.0])
    >>> NAdam([p], lr=0.1).step(); round(p.item(), 4)
    0.8944
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
    ):
        defaults: dict[str, Any] = dict(
            lr=lr, betas=tuple(betas), eps=eps, weight_decay=weight_decay, momentum_decay=momentum_decay
        )
        defaults |= dict(decoupled_weight_decay=decoupled_weight_decay, maximize=maximize)
        super().__init__(params, defaults)

    def check(self, group: dict[str, Any]) -> None:
        super().check(group)
        self.expect(group, "momentum_decay", group["momentum_decay"] >= 0, ">= 0")

    def kept(self, group: dict[str, Any]) -> tuple[str | None, ...]:
        return MEANS

    def begin(self, group: dict[str, Any], p: Any) -> dict[str, Any]:
        return {"mu_product": filled(self.zeros(p, ()), 1), **super().begin(group, p)}

    def move(self, xp: Any, p: Any, g: Any, state: dict[str, Any], group: dict[str, Any], lr: Any, t: Any) -> Moved:
        beta1, beta2 = group["betas"]
        if group["decoupled_weight_decay"]:
            p = p * (1 - lr * group["weight_decay"])
        grown = (beta1 * (1 - 0.5 * power(xp, 0.96 ** group["momentum_decay"], t + k)) for k in (0, 1))
        mu, mu_next = (fit(xp, x, p) for x in grown)
        product = state["mu_product"] * mu
        m = mean_towards(state["exp_avg"], g, 1 - beta1)
        v = mean_towards(state["exp_avg_sq"], g * g, 1 - beta2)
        below = xp.sqrt(v / fit(xp, 1 - power(xp, beta2, t), p)) + group["eps"]
        step = g * ((1 - mu) / (1 - product)) + m * (mu_next / (1 - product * mu_next))
        return p - step * lr / below, {"mu_product": product, "exp_avg": m, "exp_avg_sq": v}


class RAdam(Composed):
    """Adam whose adaptive rate sets in as its variance settles: plain momentum in the first steps.

    weight_decay: added to the gradient as weight_decay p (decoupled_weight_decay: taken off p itself). maximize: climb.
    Liu et al., "On the variance of the adaptive learning rate and beyond" (2020).

    >>> import weft; from weft import nn
    >>> p = nn.Parameter([1.0]); p.grad = weft.asarray([2.0])
    >>> RAdam([p], lr=0.1).step(); round(p.item(), 4)
    0.8
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
    ):
        defaults: dict[str, Any] = dict(lr=lr, betas=tuple(betas), eps=eps, weight_decay=weight_decay)
        defaults |= dict(decoupled_weight_decay=decoupled_weight_decay, maximize=maximize)
        super().__init__(params, defaults)

    def kept(self, group: dict[str, Any]) -> tuple[str | None, ...]:
        return MEANS

    def move(self, xp: Any, p: Any, g: Any, state: dict[str, Any], group: dict[str, Any], lr: Any, t: Any) -> Moved:
        beta1, beta2 = group["betas"]
        if group["decoupled_weight_decay"]:
            p = p * (1 - lr * group["weight_decay"])
        m = mean_towards(state["exp_avg"], g, 1 - beta1)
        v = mean_towards(state["exp_avg_sq"], g * g, 1 - beta2)
        left = power(xp, beta2, t)
        longest = 2 / (1 - beta2) - 1
        length = longest - 2 * t * left / (1 - left)  # of the mean that v approximates
        step = m * fit(xp, lr / (1 - power(xp, beta1, t)), p)

        def adapted() -> Any:
            ratio = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
            return step * fit(xp, root(xp, ratio * (1 - left)), p) / (xp.sqrt(v) + group["eps"])

        if isinstance(length, float):
            step = adapted() if length > 5 else step
        else:
            settled = length > 5
            length = xp.where(settled, length, longest)  # a root where there is one
            step = xp.where(settled, adapted(), step)
        return p - step, {"exp_avg": m, "exp_avg_sq": v}


class Adamax(Composed):
    """Adam with the largest gradient, let fall by beta2, in place of the root of the mean square.

    weight_decay: added to the gradient as weight_decay p. maximize: climb. Kingma and Ba, 2015, section 7.1.

    >>> import weft; from weft import nn
    >>> p = nn.Parameter([1.0]); p.grad = weft.asarray([2.0])
    >>> Adamax([p], lr=0.1).step(); round(p.item(), 4)
    0.9
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        *,
        maximize: bool = False,
    ):
        super().__init__(params, dict(lr=lr, betas=tuple(betas), eps=eps, weight_decay=weight_decay, maximize=maximize))

    def kept(self, group: dict[str, Any]) -> tuple[str | None, ...]:
        return ("exp_avg", "exp_inf")

    def move(self, xp: Any, p: Any, g: Any, state: dict[str, Any], group: dict[str, Any], lr: Any, t: Any) -> Moved:
        beta1, beta2 = group["betas"]
        m = mean_towards(state["exp_avg"], g, 1 - beta1)
        largest = xp.maximum(state["exp_inf"] * beta2, xp.abs(g) + group["eps"])
        return p - m / largest * fit(xp, lr / (1 - power(xp, beta1, t)), p), {"exp_avg": m, "exp_inf": largest}


class Adagrad(Composed):
    """p -= lr g / (sqrt(s) + eps), with s the sum of all squared gradients, from initial_accumulator_value on.

    lr_decay: the rate is divided by 1 + (t - 1) lr_decay. weight_decay: added to the gradient as weight_decay p.
    maximize: climb. Duchi, Hazan and Singer, 2011.

    >>> import weft; from weft import nn
    >>> p = nn.Parameter([1.0]); p.grad = weft.asarray([2.0])
    >>> Adagrad([p], lr=0.1).step(); round(p.item(), 4)
    0.9
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
    ):
        defaults: dict[str, Any] = dict(lr=lr, lr_decay=lr_decay, weight_decay=weight_decay, eps=eps, maximize=maximize)
        super().__init__(params, defaults | dict(initial_accumulator_value=initial_accumulator_value))

    def check(self, group: dict[str, Any]) -> None:
        super().check(group)
        for key in ("lr_decay", "initial_accumulator_value"):
            self.expect(group, key, group[key] >= 0, ">= 0")

    def kept(self, group: dict[str, Any]) -> tuple[str | None, ...]:
        return ("sum",)

    def add_param_group(self, param_group: Mapping[str, Any]) -> None:
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        for p in group["params"]:  # the sums are there from the start, as in PyTorch
            self.state[p] = {"step": 0, **self.begin(group, p.data)}

    def begin(self, group: dict[str, Any], p: Any) -> dict[str, Any]:
        return {"sum": filled(self.zeros(p), group["initial_accumulator_value"])}

    def move(self, xp: Any, p: Any, g: Any, state: dict[str, Any], group: dict[str, Any], lr: Any, t: Any) -> Moved:
        total = state["sum"] + g * g
        rate = fit(xp, lr / (1 + (t - 1) * group["lr_decay"]), p)
        return p - g / (xp.sqrt(total) + group["eps"]) * rate, {"sum": total}


class Adadelta(Composed):
    """p -= lr g sqrt(d + eps) / sqrt(v + eps), with v and d the running means of squared gradients and moves.

    rho: decay of both means. weight_decay: added to the gradient as weight_decay p. maximize: climb. Zeiler, 2012.

    >>> import weft; from weft import nn
    >>> p = nn.Parameter([1.0]); p.grad = weft.asarray([2.0])
    >>> Adadelta([p]).step(); round(p.item(), 4)
    0.9968
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        *,
        maximize: bool = False,
    ):
        super().__init__(params, dict(lr=lr, rho=rho, eps=eps, weight_decay=weight_decay, maximize=maximize))

    def check(self, group: dict[str, Any]) -> None:
        super().check(group)
        self.expect(group, "rho", 0 <= group["rho"] <= 1, "in [0, 1]")

    def kept(self, group: dict[str, Any]) -> tuple[str | None, ...]:
        return ("square_avg", "acc_delta")

    def move(self, xp: Any, p: Any, g: Any, state: dict[str, Any], group: dict[str, Any], lr: Any, t: Any) -> Moved:
        rho, eps = group["rho"], group["eps"]
        v = mean_towards(state["square_avg"], g * g, 1 - rho)
        step = xp.sqrt(state["acc_delta"] + eps) / xp.sqrt(v + eps) * g
        return p - step * lr, {"square_avg": v, "acc_delta": mean_towards(state["acc_delta"], step * step, 1 - rho)}
