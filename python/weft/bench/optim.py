"""Optimizer steps over all parameters of a model: Weft's, in one launch, beside PyTorch's fused and foreach ones.

What bounds a step is memory: every parameter, gradient and state is read once, and all but gradients written once. So
rows tell bytes per second, and how that stands to a copy of the same device.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from weft.bench.timing import duration, in_turns

Shapes = list[tuple[int, ...]]
#: optimizer -> (arguments, arrays of state per parameter)
OPTIMIZERS: dict[str, tuple[dict[str, Any], int]] = {
    "SGD": ({"lr": 1e-3, "momentum": 0.9}, 1),
    "Adam": ({"lr": 1e-3}, 2),
    "AdamW": ({"lr": 1e-3, "weight_decay": 0.1}, 2),
    "RMSprop": ({"lr": 1e-3}, 1),
    "Lion": ({"lr": 1e-4, "weight_decay": 0.1}, 1),
}
ERROR = 1e-6  # of three steps in float32 against float64, of the largest parameter


def gpt2() -> Shapes:
    """The 148 parameters of GPT-2 with 124 million elements."""
    d, blocks = 768, 12
    block: Shapes = [(d,), (d,), (d, 3 * d), (3 * d,), (d, d), (d,), (d,), (d,), (d, 4 * d), (4 * d,), (4 * d, d), (d,)]
    return [(50257, d), (1024, d), *block * blocks, (d,), (d,)]


def cnn() -> Shapes:
    """A small CNN for MNIST: 8 parameters, 0.4 million elements."""
    return [(32, 1, 3, 3), (32,), (64, 32, 3, 3), (64,), (128, 3136), (128,), (10, 128), (10,)]


def block() -> Shapes:
    """One block of a transformer of width 768: 12 parameters, 7 million elements."""
    return gpt2()[2:14]


MODELS: dict[str, Callable[[], Shapes]] = {"GPT-2": gpt2, "block": block, "CNN": cnn}


@dataclass(frozen=True)
class Step:
    """One step of an optimizer over the parameters of a model."""

    optimizer: str
    model: str
    dtype: str = "f32"
    clipped: bool = False
    """Whether the norm of all gradients is taken, and limits them, too."""

    @property
    def shapes(self) -> Shapes:
        return MODELS[self.model]()

    @property
    def elements(self) -> int:
        return sum([int(np.prod(s)) for s in self.shapes])

    @property
    def bytes(self) -> float:
        """The fewest bytes that must move; 16-bit parameters have a copy in float32, and clipping reads gradients."""
        width, copies = (4, 0) if self.dtype == "f32" else (2, 1)
        moved = 3 * width + 8 * (OPTIMIZERS[self.optimizer][1] + copies) + width * self.clipped
        return float(moved * self.elements)

    def __str__(self) -> str:
        return f"{self.optimizer} {self.model} {self.dtype}{' clipped' * self.clipped}"


def cpu_steps() -> Iterator[Step]:
    for name in OPTIMIZERS:
        yield Step(name, "block")
    yield Step("AdamW", "CNN")
    yield Step("AdamW", "block", clipped=True)


def gpu_steps() -> Iterator[Step]:
    for name in OPTIMIZERS:
        yield Step(name, "GPT-2")
    yield Step("AdamW", "GPT-2", clipped=True)
    yield Step("AdamW", "GPT-2", "bf16")
    yield Step("AdamW", "CNN")


def weft_step(step: Step, values: list[Any], grads: list[Any], device: str) -> tuple[Callable[[], Any], list[Any]]:
    """The step in Weft, and its parameters."""
    import weft
    from weft import nn, optim

    place = lambda a: weft.asarray(a, device=device, dtype=weft.bfloat16 if step.dtype == "bf16" else None)
    params = [nn.Parameter(place(a.copy())) for a in values]
    for p, g in zip(params, grads):
        p.grad = place(g)
    optimizer = getattr(optim, step.optimizer)(params, **OPTIMIZERS[step.optimizer][0])

    def run() -> None:
        if step.clipped:
            _, scale, skip = nn.utils.gradient_scale(params, 1.0)
            optimizer.step(scale=scale, skip=skip)
        else:
            optimizer.step()

    return run, params


def torch_steps(step: Step, values: list[Any], grads: list[Any], device: str) -> dict[str, Callable[[], Any]]:
    """PyTorch's steps, where it is installed and has the optimizer. In bf16 they keep no float32 copies."""
    try:
        import torch
    except ImportError:
        return {}
    make = getattr(torch.optim, step.optimizer, None)
    if make is None:
        return {}
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    found: dict[str, Callable[[], Any]] = {}
    for kind in ("fused", "foreach"):
        dtype = torch.bfloat16 if step.dtype == "bf16" else torch.float32
        there = lambda a, dtype=dtype: torch.from_numpy(a.copy()).to(device, dtype)
        params = [torch.nn.Parameter(there(a)) for a in values]
        for p, g in zip(params, grads):
            p.grad = there(g)
        try:
            optimizer = make(params, **OPTIMIZERS[step.optimizer][0], **{kind: True})
        except (RuntimeError, TypeError):  # not of this optimizer, or not on this device
            continue

        def run(optimizer: Any = optimizer, params: Any = params) -> None:
            if step.clipped:
                torch.nn.utils.clip_grad_norm_(params, 1.0)
            optimizer.step()

        found[f"torch {kind}"] = run
    return found


def error_of(step: Step, values: list[Any], grads: list[Any], device: str) -> float:
    """How far three steps of the smaller parameters are from float64's, of the largest element."""
    small = [k for k, a in enumerate(values) if a.size <= 4096]
    values, grads = [values[k] for k in small], [grads[k] for k in small]
    worst, largest = 0.0, 0.0
    run, got = weft_step(step, values, grads, device)
    exact_run, exact = weft_step(
        Step(step.optimizer, step.model, "f32", step.clipped),
        [a.astype(np.float64) for a in values], [g.astype(np.float64) for g in grads], "cpu",
    )  # fmt: skip
    for _ in range(3):
        run(), exact_run()
    for a, b in zip(got, exact):
        want = b.numpy()
        worst = max(worst, float(np.abs(a.numpy().astype(np.float64) - want).max()))
        largest = max(largest, float(np.abs(want).max()))
    return worst / largest


def measured(step: Step, device: str, seconds: float) -> dict[str, Any]:
    """One row: checked against float64, then timed in turns with the peers."""
    rng = np.random.default_rng(step.elements)
    values = [rng.standard_normal(s, dtype=np.float32) for s in step.shapes]
    grads = [rng.standard_normal(s, dtype=np.float32) for s in step.shapes]
    limit = ERROR if step.dtype == "f32" else 2.0**-8
    error = error_of(step, values, grads, device)
    if not error <= limit:
        raise ArithmeticError(f"optim: {step}: expected an error below {limit:.1e}, got {error:.1e}")
    run, _ = weft_step(step, values, grads, device)
    contenders = {"weft": run, **torch_steps(step, values, grads, device)}
    times = in_turns(contenders, device, seconds)
    peers = [t["median"] for name, t in times.items() if name != "weft"]
    return {
        "what": str(step),
        "flops": 0.0,
        "bytes": step.bytes,
        "dtype": step.dtype,
        "times": times,
        "errors": {"weft": error},
        "ratio": min(peers) / times["weft"]["median"] if peers else None,  # above 1: Weft is faster than the best peer
    }


def line(row: dict[str, Any], copy: float) -> str:
    """One row: times with their spread, bytes per second, that rate to a copy's, and the ratio to the best peer."""
    cells = []
    for name, t in row["times"].items():
        spread = 50 * (t["p90"] - t["p10"]) / t["median"]
        cells.append(f"{name} {duration(t['median'])} ±{spread:.0f}%")
    rate = row["bytes"] / row["times"]["weft"]["median"]
    ratio = "" if row["ratio"] is None else f", {row['ratio']:.2f}x the best peer"
    return f"  {row['what']:26s} {', '.join(cells)}; {rate / 1e9:.1f} GB/s, {rate / copy:.2f} of a copy{ratio}"
