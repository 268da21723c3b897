"""Optimizers with Keras's names, arguments, defaults and steps, over `weft.optim`.

What differs there is made up for: Keras's Adam adds epsilon to a root that is not yet corrected for its start, its SGD
keeps moves rather than gradients as momentum, and its weight decay is decoupled everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from weft import optim
from weft.autograd import Tensor, no_grad
from weft.backends.device import beside
from weft.keras import registry
from weft.keras.optimizers import schedules
from weft.keras.registry import Configured, Table
from weft.nn.utils import clip_grad_norm_, clip_grad_value_
from weft.optim.composed import Composed, Moved, filled, fit, mean_towards, power


class Optimizer(Configured):
    """Base of the optimizers below; `make` says which of `weft.optim` moves the weights.

    learning_rate: a number or a schedule; it may be set between steps. weight_decay: decoupled. clipnorm: largest norm
    of each gradient; global_clipnorm: of all together; clipvalue: largest element. gradient_accumulation_steps: moves
    only every so many steps, by their mean gradient.

    >>> from weft import keras
    >>> optimizer = keras.optimizers.Adam(learning_rate=0.01)
    >>> optimizer.learning_rate = 0.001
    >>> optimizer.learning_rate
    0.001
    """

    own_decay = False  # whether the optimizer of `weft.optim` takes weight_decay itself

    def __init__(
        self, learning_rate: Any, weight_decay: float | None = None, clipnorm: float | None = None,
        clipvalue: float | None = None, global_clipnorm: float | None = None, use_ema: bool = False,
        ema_momentum: float = 0.99, ema_overwrite_frequency: int | None = None, loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None, name: str | None = None,
    ):  # fmt: skip
        kind = type(self).__name__
        if use_ema or loss_scale_factor is not None:
            raise ValueError(f"{kind}: expected no use_ema and no loss_scale_factor, which Weft has as "
                             "weft.optim.swa_utils and GradScaler")  # fmt: skip
        given = [v for v in (clipnorm, clipvalue, global_clipnorm) if v is not None]
        if len(given) > 1 or any(v <= 0 for v in given):
            raise ValueError(f"{kind}: expected at most one of clipnorm, clipvalue and global_clipnorm, above 0, "
                             f"got {clipnorm}, {clipvalue} and {global_clipnorm}")  # fmt: skip
        if gradient_accumulation_steps is not None and gradient_accumulation_steps < 2:
            raise ValueError(f"{kind}: expected gradient_accumulation_steps >= 2, got {gradient_accumulation_steps}")
        self.name = name or registry.snake(kind)
        self.learning_rate = learning_rate
        self.weight_decay, self.clipnorm, self.clipvalue = weight_decay, clipnorm, clipvalue
        self.global_clipnorm, self.gradient_accumulation_steps = global_clipnorm, gradient_accumulation_steps
        self.iterations = 0  # steps that moved the weights
        self.pending = 0  # gradients that wait for the others
        self.inner: Any = None
        self.excluded: tuple[Any, ...] = ()
        self.excluded_names: tuple[str, ...] = ()

    def get_config(self) -> dict[str, Any]:
        """The arguments it was made with, and the learning rate as it is now."""
        rate = self.learning_rate if self.schedule is None else self.schedule
        return super().get_config() | {"name": self.name, "learning_rate": registry.serialize(rate)}

    # ---- the learning rate

    @property
    def learning_rate(self) -> float:
        """The rate of the next step."""
        return self.rate if self.schedule is None else float(self.schedule(self.iterations))

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        value = value() if isinstance(value, type) else value
        self.schedule: Any = value if callable(value) else None
        self.rate = 0.0 if self.schedule is not None else float(value)
        if self.schedule is None and not 0 <= self.rate < math.inf:
            raise ValueError(f"{type(self).__name__}: expected learning_rate >= 0 or a schedule, got {value!r}")

    lr = learning_rate

    # ---- steps

    def build(self, variables: Iterable[Any]) -> None:
        """Take the weights to move; done at the first step."""
        self.variables = list(variables)
        if not self.variables:
            raise ValueError(f"{type(self).__name__}: expected weights to move, got none")
        decay = self.weight_decay if self.own_decay else None
        kept = [p for p in self.variables if self.decays(p)]
        groups: list[dict[str, Any]] = [{"params": kept}] if kept else []
        rest = [p for p in self.variables if not self.decays(p)]
        if rest:
            groups.append({"params": rest, **({} if decay is None else {"weight_decay": 0.0})})
        self.inner = self.make(groups)

    def make(self, groups: list[dict[str, Any]]) -> Any:
        raise NotImplementedError(f"{type(self).__name__}: expected a method `make`, got none")

    def exclude_from_weight_decay(self, var_list: Any = None, var_names: Any = None) -> None:
        """Leave these weights, and those whose path holds one of the names, without weight decay."""
        if self.inner is not None:
            raise ValueError("exclude_from_weight_decay: expected to be called before the first step")
        self.excluded, self.excluded_names = tuple(var_list or ()), tuple(var_names or ())

    def decays(self, p: Any) -> bool:
        path = getattr(p, "path", "")
        return all(p is not other for other in self.excluded) and not any(n in path for n in self.excluded_names)

    def zero_grad(self) -> None:
        """Drop the gradients, unless they wait for others."""
        if not self.pending:
            for p in self.variables if self.inner is not None else ():
                p.grad = None

    def apply_gradients(self, grads_and_vars: Iterable[tuple[Any, Any]]) -> None:
        """One step by gradients that are given: pairs of (gradient, weight)."""
        pairs = list(grads_and_vars)
        if self.inner is None:
            self.build([p for _, p in pairs])
        for g, p in pairs:
            g = g if g is None or isinstance(g, Tensor) else Tensor(np.asarray(g, p.dtype))
            p.grad = g if not self.pending or p.grad is None else p.grad + g
        self.step()

    def apply(self, grads: Iterable[Any], trainable_variables: Iterable[Any] | None = None) -> None:
        """One step by gradients that are given, of the weights in their order."""
        self.apply_gradients(zip(grads, self.variables if trainable_variables is None else trainable_variables))

    def step(self) -> None:
        """Move the weights by the gradients that they hold."""
        every = self.gradient_accumulation_steps
        self.pending += 1
        if every is not None and self.pending < every:
            return
        moved = [p for p in self.variables if p.grad is not None]
        if every is not None:
            for p in moved:
                p.grad = Tensor(p.grad.data / every)
        self.pending = 0
        self.clip(moved)
        rate = self.learning_rate
        if self.weight_decay and not self.own_decay:
            with no_grad():
                for p in moved:
                    if self.decays(p):
                        p.assign(p * (1 - self.weight_decay * rate), by="weight_decay")
        self.move(rate)
        self.iterations += 1

    def clip(self, moved: list[Any]) -> None:
        if self.clipnorm is not None:
            for p in moved:
                clip_grad_norm_([p], self.clipnorm)
        elif self.global_clipnorm is not None:
            clip_grad_norm_(moved, self.global_clipnorm)
        elif self.clipvalue is not None:
            clip_grad_value_(moved, self.clipvalue)

    def move(self, rate: float) -> None:
        for group in self.inner.param_groups:
            group["lr"] = rate
        self.inner.step()

    # ---- state

    def state_dict(self) -> dict[str, Any]:
        """What a continued run needs: the steps so far, the rate, and the state of `weft.optim`'s optimizer."""
        inner = None if self.inner is None else self.inner.state_dict()
        return {"iterations": self.iterations, "learning_rate": self.rate, "inner": inner}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        if state["inner"] is not None:
            self.inner.load_state_dict(state["inner"])
        self.iterations, self.rate = int(state["iterations"]), float(state["learning_rate"])


class SGD(Optimizer):
    """w -= learning_rate g; with momentum v = momentum v - learning_rate g, w += v.  nesterov: look ahead along v.

    >>> from weft import keras
    >>> keras.optimizers.SGD(0.1, momentum=0.9).learning_rate
    0.1
    """

    def __init__(self, learning_rate: Any = 0.01, momentum: float = 0.0, nesterov: bool = False,
                 weight_decay: float | None = None, name: str = "SGD", **kwargs: Any):  # fmt: skip
        super().__init__(learning_rate, weight_decay, name=name, **kwargs)
        if not 0 <= momentum <= 1:
            raise ValueError(f"SGD: expected momentum in [0, 1], got {momentum}")
        self.momentum, self.nesterov = momentum, nesterov and momentum > 0

    def make(self, groups: list[dict[str, Any]]) -> Any:
        return optim.SGD(groups, lr=1.0, momentum=self.momentum, nesterov=self.nesterov)

    def move(self, rate: float) -> None:
        if not self.momentum:
            super().move(rate)
            return
        # a move that is kept has its rate in it: gradients are scaled as they come, and the rate is 1
        scale = Tensor(beside(np.asarray(rate, np.float32), self.variables[0]))
        self.inner.step(scale=scale)


class Adam(Optimizer):
    """Kingma and Ba, 2015, with epsilon as in the paper's second form (2.1).

    >>> from weft import keras
    >>> keras.optimizers.Adam().learning_rate
    0.001
    """

    own_decay = True

    def __init__(self, learning_rate: Any = 0.001, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-7,
                 amsgrad: bool = False, weight_decay: float | None = None, name: str = "adam",
                 **kwargs: Any):  # fmt: skip
        super().__init__(learning_rate, weight_decay, name=name, **kwargs)
        self.beta_1, self.beta_2, self.epsilon, self.amsgrad = beta_1, beta_2, epsilon, amsgrad

    def make(self, groups: list[dict[str, Any]]) -> Any:
        return optim.AdamW(groups, lr=1.0, betas=(self.beta_1, self.beta_2), eps=self.epsilon,
                           weight_decay=self.weight_decay or 0.0, amsgrad=self.amsgrad)  # fmt: skip

    def move(self, rate: float) -> None:
        corrected = self.epsilon / math.sqrt(1 - self.beta_2 ** (self.iterations + 1))
        for group in self.inner.param_groups:
            group["eps"] = corrected
        super().move(rate)


class AdamW(Adam):
    """Adam with a weight decay of 0.004 by default.  Loshchilov and Hutter, 2019.

    >>> from weft import keras
    >>> keras.optimizers.AdamW().weight_decay
    0.004
    """

    def __init__(self, learning_rate: Any = 0.001, weight_decay: float = 0.004, beta_1: float = 0.9,
                 beta_2: float = 0.999, epsilon: float = 1e-7, amsgrad: bool = False, name: str = "adamw",
                 **kwargs: Any):  # fmt: skip
        super().__init__(learning_rate, beta_1, beta_2, epsilon, amsgrad, weight_decay, name, **kwargs)


class Nadam(Optimizer):
    """Adam with Nesterov's momentum.  Dozat, 2016.

    >>> from weft import keras
    >>> keras.optimizers.Nadam().learning_rate
    0.001
    """

    def __init__(self, learning_rate: Any = 0.001, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-7,
                 weight_decay: float | None = None, name: str = "nadam", **kwargs: Any):  # fmt: skip
        super().__init__(learning_rate, weight_decay, name=name, **kwargs)
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon

    def make(self, groups: list[dict[str, Any]]) -> Any:
        return optim.NAdam(groups, betas=(self.beta_1, self.beta_2), eps=self.epsilon, momentum_decay=1.0)


class RootInside(Composed):
    """RMSprop with epsilon inside of the root: w -= lr g / sqrt(v + eps)."""

    def __init__(self, params: Any, alpha: float, momentum: float, eps: float, centered: bool):
        super().__init__(params, dict(lr=1.0, alpha=alpha, momentum=momentum, eps=eps, centered=centered))

    def kept(self, group: dict[str, Any]) -> tuple[str | None, ...]:
        names = ("square_avg", "grad_avg" if group["centered"] else None, "moves" if group["momentum"] else None)
        return tuple(name for name in names if name)

    def move(self, xp: Any, p: Any, g: Any, state: dict[str, Any], group: dict[str, Any], lr: Any, t: Any) -> Moved:
        v = mean_towards(state["square_avg"], g * g, 1 - group["alpha"])
        changed, below = {"square_avg": v}, v
        if group["centered"]:
            changed["grad_avg"] = mean_towards(state["grad_avg"], g, 1 - group["alpha"])
            below = v - changed["grad_avg"] ** 2
        step = g * fit(xp, lr, p) / xp.sqrt(below + group["eps"])
        if group["momentum"]:
            changed["moves"] = step = state["moves"] * group["momentum"] + step
        return p - step, changed


class RMSprop(Optimizer):
    """w -= learning_rate g / sqrt(v + epsilon), v the running mean of g^2 (centered: of its variance).  Hinton, 2012.

    >>> from weft import keras
    >>> keras.optimizers.RMSprop().rho
    0.9
    """

    def __init__(self, learning_rate: Any = 0.001, rho: float = 0.9, momentum: float = 0.0, epsilon: float = 1e-7,
                 centered: bool = False, weight_decay: float | None = None, name: str = "rmsprop",
                 **kwargs: Any):  # fmt: skip
        super().__init__(learning_rate, weight_decay, name=name, **kwargs)
        self.rho, self.momentum, self.epsilon, self.centered = rho, momentum, epsilon, centered

    def make(self, groups: list[dict[str, Any]]) -> Any:
        return RootInside(groups, self.rho, self.momentum, self.epsilon, self.centered)


class Adagrad(Optimizer):
    """w -= learning_rate g / sqrt(s + epsilon), s the sum of all g^2, from initial_accumulator_value on.  Duchi, 2011.

    >>> from weft import keras
    >>> keras.optimizers.Adagrad().initial_accumulator_value
    0.1
    """

    def __init__(self, learning_rate: Any = 0.001, initial_accumulator_value: float = 0.1, epsilon: float = 1e-7,
                 weight_decay: float | None = None, name: str = "adagrad", **kwargs: Any):  # fmt: skip
        super().__init__(learning_rate, weight_decay, name=name, **kwargs)
        self.initial_accumulator_value, self.epsilon = initial_accumulator_value, epsilon

    def make(self, groups: list[dict[str, Any]]) -> Any:
        start = self.initial_accumulator_value + self.epsilon  # inside of the root, it is a summand of the sum
        return optim.Adagrad(groups, initial_accumulator_value=start, eps=0.0)


class Adadelta(Optimizer):
    """Moves as large as those before, by their running means.  Zeiler, 2012.

    >>> from weft import keras
    >>> keras.optimizers.Adadelta().rho
    0.95
    """

    def __init__(self, learning_rate: Any = 0.001, rho: float = 0.95, epsilon: float = 1e-7,
                 weight_decay: float | None = None, name: str = "adadelta", **kwargs: Any):  # fmt: skip
        super().__init__(learning_rate, weight_decay, name=name, **kwargs)
        self.rho, self.epsilon = rho, epsilon

    def make(self, groups: list[dict[str, Any]]) -> Any:
        return optim.Adadelta(groups, rho=self.rho, eps=self.epsilon)


class LargestBelow(Composed):
    """Adamax with epsilon added to the largest gradient when dividing."""

    def __init__(self, params: Any, betas: tuple[float, float], eps: float):
        super().__init__(params, dict(lr=1.0, betas=betas, eps=eps))

    def kept(self, group: dict[str, Any]) -> tuple[str | None, ...]:
        return ("exp_avg", "exp_inf")

    def move(self, xp: Any, p: Any, g: Any, state: dict[str, Any], group: dict[str, Any], lr: Any, t: Any) -> Moved:
        beta1, beta2 = group["betas"]
        m = mean_towards(state["exp_avg"], g, 1 - beta1)
        largest = xp.maximum(state["exp_inf"] * beta2, xp.abs(g))
        rate = fit(xp, lr / (1 - power(xp, beta1, t)), p)
        return p - m * rate / (largest + group["eps"]), {"exp_avg": m, "exp_inf": largest}


class Adamax(Optimizer):
    """Adam with the largest gradient in place of the root of the mean square.  Kingma and Ba, 2015, section 7.1.

    >>> from weft import keras
    >>> keras.optimizers.Adamax().learning_rate
    0.001
    """

    def __init__(self, learning_rate: Any = 0.001, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-7,
                 weight_decay: float | None = None, name: str = "adamax", **kwargs: Any):  # fmt: skip
        super().__init__(learning_rate, weight_decay, name=name, **kwargs)
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon

    def make(self, groups: list[dict[str, Any]]) -> Any:
        return LargestBelow(groups, (self.beta_1, self.beta_2), self.epsilon)


class Lion(Optimizer):
    """The sign of a running mean of gradients.  Chen et al., 2023.

    >>> from weft import keras
    >>> keras.optimizers.Lion().beta_2
    0.99
    """

    def __init__(self, learning_rate: Any = 0.001, beta_1: float = 0.9, beta_2: float = 0.99,
                 weight_decay: float | None = None, name: str = "lion", **kwargs: Any):  # fmt: skip
        super().__init__(learning_rate, weight_decay, name=name, **kwargs)
        self.beta_1, self.beta_2 = beta_1, beta_2

    def make(self, groups: list[dict[str, Any]]) -> Any:
        return optim.Lion(groups, betas=(self.beta_1, self.beta_2), weight_decay=0.0)


class Lamb(Optimizer):
    """Adam whose move of each weight is as long as the weight, for large batches.  You et al., 2020.

    >>> from weft import keras
    >>> keras.optimizers.Lamb().learning_rate
    0.001
    """

    def __init__(self, learning_rate: Any = 0.001, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-7,
                 weight_decay: float | None = None, name: str | None = None, **kwargs: Any):  # fmt: skip
        super().__init__(learning_rate, weight_decay, name=name, **kwargs)
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon

    def make(self, groups: list[dict[str, Any]]) -> Any:
        return optim.LAMB(groups, betas=(self.beta_1, self.beta_2), eps=self.epsilon, weight_decay=0.0)


class RegularizedLeader(Composed):
    """Each weight is where a sum of gradients, a pull to the weights so far, and l1 and l2 are least together."""

    def __init__(self, params: Any, **options: Any):
        super().__init__(params, dict(lr=1.0, **options))

    def begin(self, group: dict[str, Any], p: Any) -> dict[str, Any]:
        return {"sum": filled(self.zeros(p), group["initial"]), "linear": self.zeros(p)}

    def move(self, xp: Any, p: Any, g: Any, state: dict[str, Any], group: dict[str, Any], lr: Any, t: Any) -> Moved:
        rate, l1 = fit(xp, lr, p), group["l1"]
        total = state["sum"] + g * g
        before, after = (seen ** -group["power"] for seen in (state["sum"], total))
        linear = state["linear"] + (g + p * (2 * group["shrinkage"])) - (after - before) / rate * p
        below = after / rate + 2 * group["l2"] + group["beta"] / rate
        return (xp.clip(linear, -l1, l1) - linear) / below, {"sum": total, "linear": linear}


class Ftrl(Optimizer):
    """Follow the regularised leader, for sparse linear models of many features.  McMahan et al., 2013.

    learning_rate_power: -0.5 or another number <= 0, 0 for a rate that does not fall. l1_regularization_strength makes
    weights that matter little 0; l2_shrinkage_regularization_strength adds to the gradient alone.

    >>> from weft import keras
    >>> keras.optimizers.Ftrl().learning_rate
    0.001
    """

    def __init__(
        self, learning_rate: Any = 0.001, learning_rate_power: float = -0.5, initial_accumulator_value: float = 0.1,
        l1_regularization_strength: float = 0.0, l2_regularization_strength: float = 0.0,
        l2_shrinkage_regularization_strength: float = 0.0, beta: float = 0.0, weight_decay: float | None = None,
        name: str | None = None, **kwargs: Any,
    ):  # fmt: skip
        super().__init__(learning_rate, weight_decay, name=name, **kwargs)
        strengths = (initial_accumulator_value, l1_regularization_strength, l2_regularization_strength,
                     l2_shrinkage_regularization_strength, -learning_rate_power)  # fmt: skip
        if min(strengths) < 0:
            raise ValueError("Ftrl: expected learning_rate_power <= 0, and strengths and initial_accumulator_value "
                             f">= 0, got {learning_rate_power} and {strengths[:-1]}")  # fmt: skip
        self.options = {"power": learning_rate_power, "initial": initial_accumulator_value, "beta": beta,
                        "l1": l1_regularization_strength, "l2": l2_regularization_strength,
                        "shrinkage": l2_shrinkage_regularization_strength}  # fmt: skip

    def make(self, groups: list[dict[str, Any]]) -> Any:
        return RegularizedLeader(groups, **self.options)


CLASSES = (SGD, Adam, AdamW, Nadam, RMSprop, Adagrad, Adadelta, Adamax, Lion, Lamb, Ftrl)
TABLE = Table("optimizer", "keras.optimizers", {c.__name__: c for c in CLASSES})
get, serialize, deserialize = TABLE.get, registry.serialize, registry.deserialize
