"""Optimizers that look at a whole matrix: Adafactor, LAMB and Muon."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import ml_dtypes
import numpy as np

from weft.optim.composed import Composed, Moved, fit, mean_towards, power

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


def norm(xp: Any, x: Any) -> Any:
    """The root of the sum of squares, ()."""
    return xp.sqrt(xp.sum(x * x))


class Adafactor(Composed):
    """Adam without momentum, whose mean squares of a matrix are kept as those of its rows and its columns.

    lr: the largest relative rate; the rate is min(lr, 1 / sqrt(t)) times the root mean square of p, at least eps[1].
    beta2_decay: the means move by t^beta2_decay. eps[0]: least mean square, the dtype's epsilon by default. d: the root
    mean square of a move that is not scaled down. weight_decay: lr weight_decay p is taken off p. maximize: climb.
    State of p (..., m, n): row_var (..., m, 1), col_var (..., 1, n); of a vector: variance. Shazeer and Stern, 2018.

    >>> import weft; from weft import nn
    >>> p = nn.Parameter([1.0]); p.grad = weft.asarray([2.0])
    >>> Adafactor([p], lr=0.1).step(); round(p.item(), 4)
    0.9
    """

    coupled_decay = False

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ):
        defaults: dict[str, Any] = dict(lr=lr, beta2_decay=beta2_decay, eps=tuple(eps), d=d, weight_decay=weight_decay)
        super().__init__(params, defaults | dict(maximize=maximize))

    def check(self, group: dict[str, Any]) -> None:
        first, second = group["eps"]
        super().check({**group, "eps": 0.0})
        self.expect(group, "eps", (first is None or first >= 0) and second >= 0, "a pair >= 0, the first one or None")
        self.expect(group, "beta2_decay", group["beta2_decay"] <= 0, "<= 0")
        self.expect(group, "d", group["d"] >= 1, ">= 1")

    def begin(self, group: dict[str, Any], p: Any) -> dict[str, Any]:
        if p.ndim < 2:
            return {"variance": self.zeros(p)}
        return {
            "row_var": self.zeros(p, (*p.shape[:-1], 1)),
            "col_var": self.zeros(p, (*p.shape[:-2], 1, p.shape[-1])),
        }

    def move(self, xp: Any, p: Any, g: Any, state: dict[str, Any], group: dict[str, Any], lr: Any, t: Any) -> Moved:
        eps1, eps2 = group["eps"]
        eps1 = float(np.finfo(p.dtype).eps) if eps1 is None else eps1
        slow = fit(xp, t**-0.5, p)
        rate = min(lr, slow) if isinstance(slow, float) and isinstance(lr, (int, float)) else xp.minimum(slow, lr)
        share = fit(xp, t ** group["beta2_decay"], p)
        size = math.sqrt(p.size)
        rate = xp.maximum(norm(xp, p) / size, eps2) * rate
        if group["weight_decay"]:
            p = p * (1 - lr * group["weight_decay"])
        squares = g * g
        if g.ndim < 2:
            new = {"variance": mean_towards(state["variance"], squares, share)}
            v = new["variance"]
        else:
            row = mean_towards(state["row_var"], xp.mean(squares, axis=-1, keepdims=True), share)
            column = mean_towards(state["col_var"], xp.mean(squares, axis=-2, keepdims=True), share)
            new = {"row_var": row, "col_var": column}
            v = row * column / xp.maximum(xp.mean(row, axis=-2, keepdims=True), eps1)
        step = g / xp.sqrt(xp.maximum(v, eps1 * eps1))
        return p - step * (rate / xp.maximum(norm(xp, step) / (size * group["d"]), 1.0)), new


class LAMB(Composed):
    """Adam whose move of each parameter is scaled to the parameter's own norm, for large batches.

    p -= lr |p| / |u| u, with u = m / (sqrt(v) + eps) + weight_decay p and m, v as in Adam; |p| / |u| counts as 1 where
    either is 0. maximize: climb.  You et al., "Large batch optimization for deep learning" (2020), algorithm 2.

    >>> import weft; from weft import nn
    >>> p = nn.Parameter([2.0]); p.grad = weft.asarray([2.0])
    >>> LAMB([p], lr=0.1, weight_decay=0.0).step(); round(p.item(), 4)
    1.8
    """

    coupled_decay = False

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.01,
        *,
        maximize: bool = False,
    ):
        super().__init__(params, dict(lr=lr, betas=tuple(betas), eps=eps, weight_decay=weight_decay, maximize=maximize))

    def kept(self, group: dict[str, Any]) -> tuple[str | None, ...]:
        return ("exp_avg", "exp_avg_sq")

    def move(self, xp: Any, p: Any, g: Any, state: dict[str, Any], group: dict[str, Any], lr: Any, t: Any) -> Moved:
        beta1, beta2 = group["betas"]
        m = mean_towards(state["exp_avg"], g, 1 - beta1)
        v = mean_towards(state["exp_avg_sq"], g * g, 1 - beta2)
        seen1, seen2 = (fit(xp, 1 - power(xp, beta, t), p) for beta in (beta1, beta2))
        step = m / seen1 / (xp.sqrt(v / seen2) + group["eps"])
        step = step + p * group["weight_decay"]
        long, wide = norm(xp, p), norm(xp, step)
        both = (long > 0) & (wide > 0)
        trust = xp.where(both, long / xp.where(both, wide, 1.0), 1.0)
        return p - step * (trust * lr), {"exp_avg": m, "exp_avg_sq": v}


class Muon(Composed):
    """Momentum whose move of each matrix is made orthogonal by ns_steps steps of a Newton-Schulz iteration.

    For the matrices of hidden layers; the rest wants another optimizer. ValueError for a parameter that is no matrix.
    ns_coefficients: of the iteration's odd polynomial of degree 5. eps: least norm. adjust_lr_fn: "original" (the
    default) multiplies lr by sqrt(max(1, rows / columns)), "match_rms_adamw" by 0.2 sqrt(max(rows, columns)).
    weight_decay: lr weight_decay p is taken off p. The iteration rounds to bfloat16, as its author's.  Jordan et al.,
    "Muon: an optimizer for hidden layers in neural networks" (2024).

    >>> import weft; from weft import nn
    >>> p = nn.Parameter([[1.0, 0.0], [0.0, 1.0]]); p.grad = weft.asarray([[2.0, 0.0], [0.0, 2.0]])
    >>> Muon([p], lr=0.1, weight_decay=0.0).step(); bool(0.85 < p[0, 0].item() < 0.95)
    True
    """

    coupled_decay = False

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.775, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ):
        defaults: dict[str, Any] = dict(lr=lr, weight_decay=weight_decay, momentum=momentum, nesterov=nesterov, eps=eps)
        defaults |= dict(ns_coefficients=tuple(ns_coefficients), ns_steps=ns_steps, adjust_lr_fn=adjust_lr_fn)
        super().__init__(params, defaults)

    def check(self, group: dict[str, Any]) -> None:
        super().check(group)
        self.expect(group, "momentum", group["momentum"] >= 0, ">= 0")
        self.expect(group, "ns_coefficients", len(group["ns_coefficients"]) == 3, "three numbers")
        self.expect(group, "ns_steps", 0 <= group["ns_steps"] < 100, "in [0, 100)")
        known = (None, "original", "match_rms_adamw")
        self.expect(group, "adjust_lr_fn", group["adjust_lr_fn"] in known, "original or match_rms_adamw")
        for p in group["params"]:
            if p.ndim != 2:
                raise ValueError(f"Muon: expected matrices, got a parameter {p.shape}")

    def kept(self, group: dict[str, Any]) -> tuple[str | None, ...]:
        return ("momentum_buffer",)

    def move(self, xp: Any, p: Any, g: Any, state: dict[str, Any], group: dict[str, Any], lr: Any, t: Any) -> Moved:
        momentum, (rows, columns) = group["momentum"], p.shape
        buffer = mean_towards(state["momentum_buffer"], g, 1 - momentum)
        step = mean_towards(g, buffer, momentum) if group["nesterov"] else buffer
        step = orthogonal(xp, step, group["ns_coefficients"], group["ns_steps"], group["eps"])
        wide = 0.2 * math.sqrt(max(rows, columns))
        factor = wide if group["adjust_lr_fn"] == "match_rms_adamw" else math.sqrt(max(1, rows / columns))
        return p * (1 - lr * group["weight_decay"]) - step * (lr * factor), {"momentum_buffer": buffer}


def orthogonal(xp: Any, x: Any, coefficients: tuple[float, float, float], steps: int, eps: float) -> Any:
    """x (m, n) with its singular values near 1: each step a x + (b s + c s^2) x with s = x x^T, rounded to bfloat16."""
    a, b, c = coefficients
    dtype = x.dtype

    def rounded(values: Any) -> Any:
        return xp.astype(xp.astype(values, BFLOAT16), dtype)

    tall = x.shape[0] > x.shape[1]
    x = rounded(xp.matrix_transpose(x) if tall else x)
    x = rounded(x / xp.maximum(rounded(norm(xp, x)), eps))
    for _ in range(steps):
        s = rounded(xp.matmul(x, xp.matrix_transpose(x)))
        s = rounded(s * b + xp.matmul(s, s) * c)
        x = rounded(x * a + xp.matmul(s, x))
    return xp.matrix_transpose(x) if tall else x
