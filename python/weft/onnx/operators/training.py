"""Steps of optimizers, and what draws at random."""

from __future__ import annotations

from typing import Any

import weft
from weft.onnx.dtypes import dtype_of
from weft.onnx.operators import operator
from weft.onnx.operators.common import number, one_of
from weft.onnx.operators.shape import random_values

DOMAIN = "ai.onnx.preview.training"


def groups(values: tuple[Any, ...], kinds: int) -> list[tuple[Any, ...]]:
    """(parameter, gradient, states...) of each parameter, of inputs that come kind by kind."""
    if not values or len(values) % kinds:
        raise ValueError(f"expected {kinds} inputs for each parameter, got {len(values)}")
    n = len(values) // kinds
    return list(zip(*[values[i * n : (i + 1) * n] for i in range(kinds)]))


def by_kind(rows: list[tuple[Any, ...]]) -> tuple[Any, ...]:
    return tuple(value for column in zip(*rows) for value in column)


@operator("Momentum", domain=DOMAIN)
def momentum(rate: Any, count: Any, *values: Any, alpha: float, beta: float, mode: str, norm_coefficient: float) -> Any:
    one_of("mode", mode, ("standard", "nesterov"))
    rows = []
    for x, g, v in groups(values, 3):
        g = x * norm_coefficient + g
        v = v * alpha + g * (beta if number(count) > 0 else 1.0)
        rows.append((x - rate * (g + v * alpha if mode == "nesterov" else v), v))
    return by_kind(rows)


@operator("Adagrad", domain=DOMAIN)
def adagrad(
    rate: Any, count: Any, *values: Any, decay_factor: float = 0.0, epsilon: float = 1e-6,
    norm_coefficient: float = 0.0,
) -> Any:  # fmt: skip
    step = rate / (1 + number(count) * decay_factor)
    rows = []
    for x, g, h in groups(values, 3):
        g = x * norm_coefficient + g
        h = h + g * g
        rows.append((x - step * g / (weft.sqrt(h) + epsilon), h))
    return by_kind(rows)


@operator("Adam", domain=DOMAIN)
def adam(
    rate: Any, count: Any, *values: Any, alpha: float = 0.9, beta: float = 0.999, epsilon: float = 1e-6,
    norm_coefficient: float = 0.0, norm_coefficient_post: float = 0.0,
) -> Any:  # fmt: skip
    t = number(count)
    step = rate * ((1 - beta**t) ** 0.5 / (1 - alpha**t)) if t > 0 else rate
    rows = []
    for x, g, v, h in groups(values, 4):
        g = x * norm_coefficient + g
        v, h = v * alpha + g * (1 - alpha), h * beta + g * g * (1 - beta)
        after = x - step * v / (weft.sqrt(h) + epsilon)
        rows.append((after * (1 - norm_coefficient_post), v, h))
    return by_kind(rows)


@operator("Bernoulli", 15)
def bernoulli(x: Any, *, dtype: int | None = None, seed: float = 0.0) -> Any:
    """1 with the probability that x gives; the random numbers are weft's own."""
    drawn = weft.less(random_values("uniform_array", x.shape, x.dtype, seed, x), x)
    return drawn.astype(x.dtype if dtype is None else dtype_of(dtype))
