"""L-BFGS, with a line search by the strong Wolfe conditions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from weft.autograd import Tensor, enable_grad, no_grad
from weft.backends.array import ARRAYS, namespace
from weft.backends.device import host_copy, on_host, place
from weft.optim.optimizer import Optimizer


class Point(NamedTuple):
    """A step t along the direction, with the loss f, the gradient g (n,) and the slope g . d there."""

    t: float
    f: float
    g: Any
    slope: float


class LBFGS(Optimizer):
    """Newton's method with the curvature of the last history_size steps in place of the Hessian.

    `step(closure)` needs a closure that computes the gradients anew and returns the loss; it makes up to max_iter moves
    with up to max_eval (5/4 max_iter by default) calls of it. It stops where no gradient is larger than tolerance_grad,
    or a move or what it gains is smaller than tolerance_change. line_search_fn: None moves by lr, "strong_wolfe" looks
    for the length of each move. One group, one device; the host waits for the loss.  Liu and Nocedal, 1989.

    >>> from weft import nn
    >>> p = nn.Parameter([3.0, -2.0])
    >>> optimizer = LBFGS([p], line_search_fn="strong_wolfe")
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = ((p - 1) ** 2).sum()
    ...     loss.backward()
    ...     return loss
    >>> loss = optimizer.step(closure); p.numpy().round(3)
    array([1., 1.], dtype=float32)
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ):
        max_eval = max_iter * 5 // 4 if max_eval is None else max_eval
        defaults: dict[str, Any] = dict(lr=lr, max_iter=max_iter, max_eval=max_eval, tolerance_grad=tolerance_grad)
        defaults |= dict(tolerance_change=tolerance_change, history_size=history_size, line_search_fn=line_search_fn)
        super().__init__(params, defaults)

    def check(self, group: dict[str, Any]) -> None:
        super().check(group)
        if self.param_groups:
            raise ValueError(f"LBFGS: expected one group of parameters, got {len(self.param_groups) + 1}")
        for key in ("max_iter", "max_eval", "history_size"):
            self.expect(group, key, group[key] >= 1, ">= 1")
        self.expect(group, "line_search_fn", group["line_search_fn"] in (None, "strong_wolfe"), "None or strong_wolfe")

    # ---- parameters and gradients as one vector

    def gradient(self) -> Any:
        """All gradients as a vector (n,), zeros where there is none."""
        params = self.parameters()
        xp = namespace(*[p.data for p in params])
        parts = [self.zeros(p.data) if p.grad is None else p.grad.data for p in params]
        return xp.concat([xp.reshape(part, (-1,)) for part in parts], axis=0)

    def move(self, t: Any, direction: Any) -> None:
        """Every parameter by t times its part of the direction."""
        start = 0
        for p in self.parameters():
            part = direction[start : start + p.size].reshape(p.shape)
            p.assign(p.data + part * t, by="LBFGS.step")
            start += p.size

    def evaluate(self, closure: Callable[[], Any]) -> tuple[float, Any]:
        with enable_grad():
            loss = float(closure())
        return loss, self.gradient()

    # ---- one step

    def step(self, closure: Callable[[], Any] | None = None, **options: Any) -> Any:
        """Minimise the loss that `closure` computes; returns the loss it started from."""
        if closure is None or any(value is not None for value in options.values()):
            raise TypeError("LBFGS.step: expected a closure that computes the loss and its gradients, and nothing else")
        with no_grad():
            return self.minimise(closure)

    def minimise(self, closure: Callable[[], Any]) -> Any:
        group, params = self.param_groups[0], self.parameters()
        lr, limit, change = group["lr"], group["max_iter"], group["tolerance_change"]
        state = self.state.setdefault(params[0], {"func_evals": 0, "n_iter": 0})
        with enable_grad():
            first = closure()
        loss, g = float(first), self.gradient()
        state["func_evals"] += 1
        if largest(g) <= group["tolerance_grad"]:
            return first
        calls, moves = 1, 0
        while moves < limit:
            moves += 1
            state["n_iter"] += 1
            direction = self.direction(state, g, group["history_size"])
            state.update(d=direction, prev_flat_grad=g, prev_loss=loss)
            fresh = state["n_iter"] == 1
            t = min(1.0, 1.0 / float(abs(g).sum())) * lr if fresh else lr
            slope = dot(g, direction)
            if slope > -change:
                state["t"] = t
                break
            used, before = 0, loss
            if group["line_search_fn"] is not None:
                start = [p.data.copy() for p in params]

                def at(t: float, direction: Any = direction, start: Any = start) -> Point:
                    self.move(t, direction)
                    f, g = self.evaluate(closure)
                    for p, value in zip(params, start):
                        p.assign(value, by="LBFGS.step")
                    return Point(t, f, g, dot(g, direction))

                budget = group["max_eval"] - calls
                found, used = strong_wolfe(at, Point(0.0, loss, g, slope), t, direction, change, budget)
                loss, g, t = found.f, found.g, found.t
                self.move(t, direction)
            else:
                self.move(t, direction)
                if moves != limit:
                    loss, g = self.evaluate(closure)
                    used = 1
            calls += used
            state["func_evals"] += used
            state["t"] = t
            settled = largest(g) <= group["tolerance_grad"] or largest(direction * t) <= change
            if moves == limit or calls >= group["max_eval"] or settled or abs(loss - before) < change:
                break
        return first

    @staticmethod
    def direction(state: dict[str, Any], g: Any, history: int) -> Any:
        """Minus the approximate inverse Hessian times g, by the two loops over the last moves."""
        if state["n_iter"] == 1:
            state.update(old_dirs=[], old_stps=[], ro=[], H_diag=1)
            return -g
        y, s = g - state["prev_flat_grad"], state["d"] * state["t"]
        curvature = dot(y, s)
        if curvature > 1e-10:
            for name, value in (("old_dirs", y), ("old_stps", s), ("ro", 1 / curvature)):
                state[name] = [*state[name][-(history - 1) :], value] if history > 1 else [value]
            state["H_diag"] = curvature / dot(y, y)
        q, shares = -g, []
        for y, s, ro in reversed(list(zip(state["old_dirs"], state["old_stps"], state["ro"]))):
            shares.append(dot(s, q) * ro)
            q = q - y * shares[-1]
        q = q * state["H_diag"]
        for y, s, ro in zip(state["old_dirs"], state["old_stps"], state["ro"]):
            q = q + s * (shares.pop() - dot(y, q) * ro)
        return q

    # ---- state

    def state_dict(self) -> dict[str, Any]:
        """As in PyTorch: all of it is that of parameter 0; lists hold the last moves, oldest first."""

        def saved(value: Any) -> Any:
            if isinstance(value, list):
                return [saved(v) for v in value]
            return host_copy(value) if isinstance(value, ARRAYS) else value

        groups = [{**group, "params": list(range(len(group["params"])))} for group in self.param_groups]
        values = next(iter(self.state.values()), None)
        state = {} if values is None else {0: {k: saved(v) for k, v in values.items()}}
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned; ValueError where the sizes differ, with nothing changed."""
        name, params, saved = "LBFGS.load_state_dict", self.parameters(), state_dict["param_groups"]
        if [len(g["params"]) for g in saved] != [len(params)]:
            raise ValueError(f"{name}: expected one group of {len(params)} parameters, got {saved!r:.80}")
        size = sum(p.size for p in params)

        def loaded(key: str, value: Any) -> Any:
            if isinstance(value, (list, tuple)):
                return [loaded(key, v) for v in value if v is not None]
            value = value.data if isinstance(value, Tensor) else value
            if not hasattr(value, "shape"):
                return value
            array = on_host(value)
            if array.ndim and array.shape != (size,):
                raise ValueError(f"{name}: expected {key} of shape ({size},), got {array.shape}")
            if not array.ndim:
                return float(array)
            return place(array.astype(params[0].dtype, copy=True), params[0].device)

        values = next(iter(state_dict["state"].values()), None)
        state = {} if values is None else {params[0]: {k: loaded(k, v) for k, v in values.items() if k != "al"}}
        for key, value in saved[0].items():
            if key not in ("params", "param_names"):
                self.param_groups[0][key] = value
        self.state = state


def dot(a: Any, b: Any) -> float:
    return float(namespace(a).sum(a * b))


def largest(x: Any) -> float:
    return float(namespace(x).max(abs(x)))


def strong_wolfe(
    at: Callable[[float], Point], start: Point, t: float, direction: Any, tolerance: float, budget: int
) -> tuple[Point, int]:
    """A step that satisfies the strong Wolfe conditions, or the best one within the budget, and how many it looked at.

    Nocedal and Wright, "Numerical optimization" (2006), algorithms 3.5 and 3.6, with c1 = 1e-4 and c2 = 0.9.
    """
    c1, c2 = 1e-4, 0.9

    def rises(point: Point) -> bool:
        return not point.f <= start.f + c1 * point.t * start.slope  # NaN is too far

    last, point, looks, trials = start, at(t), 1, 0
    bracket: tuple[Point, ...] = ()
    while trials < budget:
        if rises(point) or (trials > 1 and point.f >= last.f):
            bracket = (last, point)
        elif abs(point.slope) <= -c2 * start.slope:
            return point, looks
        elif point.slope >= 0:
            bracket = (last, point)
        if bracket:
            break
        low, high = point.t + 0.01 * (point.t - last.t), point.t * 10
        last, point = point, at(cubic_minimum(last, point, low, high))
        looks, trials = looks + 1, trials + 1
    ends = list(bracket or (start, point))
    low = int(ends[1].f < ends[0].f)
    length, stuck = largest(direction), False
    while trials < budget and abs(ends[1].t - ends[0].t) * length >= tolerance:
        left, right = sorted(end.t for end in ends)
        t = cubic_minimum(ends[0], ends[1], left, right)
        margin = 0.1 * (right - left)
        near = min(right - t, t - left) < margin  # of an end: the second time, or on it, go a tenth inside
        if near and (stuck or not left < t < right):
            t = right - margin if abs(t - right) < abs(t - left) else left + margin
            near = False
        stuck = near
        point = at(t)
        looks, trials = looks + 1, trials + 1
        if rises(point) or point.f >= ends[low].f:
            ends[1 - low] = point
            low = int(ends[1].f < ends[0].f)
            continue
        done = abs(point.slope) <= -c2 * start.slope
        if not done and point.slope * (ends[1 - low].t - ends[low].t) >= 0:
            ends[1 - low] = ends[low]
        ends[low] = point
        if done:
            break
    return ends[low], looks


def cubic_minimum(a: Point, b: Point, low: float, high: float) -> float:
    """Where the cubic through two points with their slopes is least, within [low, high]; the middle if nowhere."""
    if a.t > b.t:
        a, b = b, a
    chord = a.slope + b.slope - 3 * (a.f - b.f) / (a.t - b.t)
    square = chord * chord - a.slope * b.slope
    if not 0 <= square < np.inf:
        return (low + high) / 2
    bend = float(np.sqrt(square))
    below = b.slope - a.slope + 2 * bend
    t = b.t - (b.t - a.t) * ((b.slope + bend - chord) / below) if below else np.inf
    return min(max(t, low), high)
