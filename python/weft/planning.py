"""weft.plan: what training a model will cost, before it is trained: operations, parameters, memory, time.

print(weft.plan(model, (1, 28, 28), batch=64, samples=60_000))

The model runs forward and backward on two batches of a few samples, and what each primitive does is counted from the
shapes that it sees. All counts are sums of a part that each sample adds and a part that is there once, so two batches
give every other.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from weft import autograd, backward, ops, random
from weft.autograd import Tensor
from weft.backends import writes
from weft.backends.array import ARRAYS
from weft.backends.device import on_host
from weft.nn.module import Module, in_mode
from weft.profiling import BACKWARD, Profile, flat

__all__ = ["Count", "Machine", "Plan", "measure_machine", "plan"]

FEW = (2, 4)  # samples in the batches that are run: a batch norm of 1 x 1 pixels needs two


class Machine(NamedTuple):
    """How fast a machine is: operations a second in large products, bytes a second through memory, seconds per op.

    >>> h100 = weft.planning.Machine("H100, half of its data sheet", 495e12, 1.7e12, 10e-6)
    """

    name: str
    flops: float
    bandwidth: float
    overhead: float


class Count(NamedTuple):
    """Of one pass: operations of products (a multiplication and an addition are two), bytes read and written, ops."""

    flops: float = 0.0
    bytes: float = 0.0
    ops: float = 0.0

    def seconds(self, machine: Machine) -> float:
        """Arithmetic and memory one after the other, as ops do that each wait for the one before."""
        return self.flops / machine.flops + self.bytes / machine.bandwidth + self.ops * machine.overhead


@dataclass(frozen=True)
class Plan:
    """What `weft.plan` found for batches of `batch` samples. Sizes in bytes, `_seconds` on `machine`.

    forward, backward, update: Count of a batch. activations: bytes that the results of forward and backward hold at
    most at once, gradients of the parameters among them. memory: that, parameters, optimizer states and a batch.
    """

    parameters: int
    batch: int
    samples: int
    forward: Count
    backward: Count
    update: Count
    parameter_bytes: int
    state_bytes: int
    input_bytes: int
    activations: int
    machine: Machine

    @property
    def flops(self) -> float:
        """Operations of one training step."""
        return self.forward.flops + self.backward.flops

    @property
    def memory(self) -> int:
        return self.parameter_bytes + self.state_bytes + self.input_bytes + self.activations

    @property
    def step_seconds(self) -> float:
        return sum(each.seconds(self.machine) for each in (self.forward, self.backward, self.update))

    @property
    def epoch_seconds(self) -> float:
        return math.ceil(self.samples / self.batch) * self.step_seconds

    def __str__(self) -> str:
        rows = [
            ("parameters", f"{self.parameters:,}"),
            ("forward, one sample", f"{scaled(self.forward.flops / self.batch)}FLOP"),
            ("one training step", f"{scaled(self.flops)}FLOP, batch {self.batch:,}"),
            ("peak memory", f"{scaled(self.memory)}B, {scaled(self.activations)}B of it activations and gradients"),
            ("time of a step", f"{self.step_seconds:.3g} s on {self.machine.name}"),
            ("time of an epoch", f"{self.epoch_seconds:.3g} s, {self.samples:,} samples"),
        ]
        return "\n".join(f"{name:<20} {text}" for name, text in rows)


def plan(
    model: Module, *inputs: Any, batch: int = 32, samples: int | None = None,
    loss: Callable[[Any], Any] | None = None, states: int = 2, machine: Machine | None = None,
) -> Plan:  # fmt: skip
    """Forecast what training `model` costs; the model and random numbers are left as they were.

    inputs: of one sample each, a shape (filled with normal numbers of the parameters' dtype) or an array without batch
    axis, such as token numbers. batch: samples a step; samples: of an epoch, by default one batch. loss: outputs -> one
    value, by default their mean square. states: arrays that the optimizer keeps for each parameter: 2 for Adam, 1 for
    momentum. machine: the one to forecast for, by default this one, whose speed is measured first (a second).
    Parameters without requires_grad are stored, but have no gradient, no state and no update.
    ValueError if batch, samples or states are out of range, or nothing is to be trained.

    >>> found = weft.plan(nn.Linear(8, 4), (8,), batch=10, machine=weft.planning.Machine("any", 1e9, 1e9, 0.0))
    >>> found.parameters, found.forward.flops  # 10 rows, 8 inputs, 4 outputs, two operations each
    (36, 640.0)
    """
    samples = batch if samples is None else samples
    if batch < 1 or samples < 1 or states < 0 or not inputs:
        got = f"batch {batch}, samples {samples}, states {states}, {len(inputs)} inputs"
        raise ValueError(f"plan: expected inputs, batch >= 1, samples >= 1 and states >= 0, got {got}")
    parameters = list(model.parameters())
    if not any(p.requires_grad for p in parameters):
        raise ValueError(f"plan: expected a parameter with requires_grad, got none of {len(parameters)}")
    device, dtype = parameters[0].device, parameters[0].dtype
    few = [counted(model, [batch_of(x, n, device, dtype) for x in inputs], loss) for n in FEW]
    passes = for_batch([count.passes for count in few], batch)
    trained = sum(p.nbytes for p in parameters if p.requires_grad)
    return Plan(
        parameters=sum(p.size for p in parameters),
        batch=batch,
        samples=samples,
        forward=Count(*passes[0].tolist()),
        backward=Count(*passes[1].tolist()),
        # Parameter, gradient and states are read, all but the gradient written, in one op for all.
        update=Count(0.0, trained * (3 + 2 * states), 1.0),
        parameter_bytes=sum(p.nbytes for p in parameters),
        state_bytes=states * trained,
        input_bytes=batch * sum(batch_of(x, 1, device, dtype).nbytes for x in inputs),
        activations=round(float(for_batch(held(few), batch).max())),
        machine=measure_machine(device) if machine is None else machine,
    )


def held(few: list[Counting]) -> list[Any]:
    """The bytes of results over time: as each part grows with the batch, another moment may have the most."""
    both = [np.array([0, *(nbytes for _, nbytes in count.live)]) for count in few]
    return both if len(both[0]) == len(both[1]) else [np.array([count.peak]) for count in few]


def for_batch(few: list[Any], batch: int) -> Any:
    """A count of `batch` samples from those of FEW."""
    (low, high), (at_low, at_high) = FEW, few
    return at_low + (batch - low) * (at_high - at_low) / (high - low)


# ---- counting


class Counting(Profile):
    """A profile that counts, in place of timing, what primitives do: [forward, backward]."""

    def __init__(self) -> None:
        super().__init__()
        self.passes = np.zeros((2, 3))  # forward and backward, a Count each
        self.nested = False

    def op(self, name: str, body: Any, arrays: list[Any], params: dict[str, Any]) -> tuple[Any, Any]:
        out, vjp = super().op(name, body, arrays, params)
        self.passes[0] += 0.0, moved(arrays, out), 1.0
        return out, vjp

    def going_back(self, vjp: Callable[..., Any], name: str, module: str) -> Callable[..., Any]:
        timed = super().going_back(vjp, name, module)

        def counted(g: Any) -> Any:
            out = timed(g)
            # What the gradient was made from is about as much as what came and what goes.
            self.passes[1] += 0.0, 1.5 * moved([g], out), 1.0
            return out

        return counted

    def wrap(self, primitive: str, entry: Callable[..., Any], is_reference: bool) -> Callable[..., Any]:
        formula = FLOPS.get(primitive)
        if formula is None:
            return entry

        @functools.wraps(entry)
        def counted(*arrays: Any, **params: Any) -> Any:
            outermost, self.nested = not self.nested, True  # a reference may be made of other primitives
            try:
                out = entry(*arrays, **params)
            finally:
                self.nested = not outermost
            if outermost:
                inside = self.stack.events[-1] if self.stack.events else None
                back = inside is not None and inside.direction == BACKWARD
                self.passes[int(back), 0] += formula(arrays, params, out)
            return out

        return counted


def counted(model: Module, inputs: list[Any], loss: Callable[[Any], Any] | None) -> Counting:
    """One forward and backward pass in training mode, with nothing left of it in the model."""
    buffers = [(b, b.data.copy()) for b in model.buffers()]
    grads = [(p, p.grad) for p in model.parameters()]
    count, drawn = Counting(), random.get_state()
    # The real batch's gradients are large enough to be written over where nothing else holds them.
    worth, backward.WORTH_REUSING = backward.WORTH_REUSING, 0
    try:
        for p, _ in grads:
            p.grad = None
        with in_mode(model, True), autograd.enable_grad(), count:
            out = model(*inputs)
            value = default_loss(out) if loss is None else loss(out)
            value.backward()
    finally:
        backward.WORTH_REUSING = worth
        random.set_state(drawn)
        for p, grad in grads:
            p.grad = grad
        for b, data in buffers:
            b.data[...] = data
    return count


def default_loss(out: Any) -> Any:
    parts = [o for o in flat_tensors(out) if o.requires_grad]
    if not parts:
        raise ValueError("plan: expected outputs that depend on what is trained, got none")
    return functools.reduce(lambda a, b: a + b, [ops.mean(o * o) for o in parts])


def flat_tensors(out: Any) -> list[Tensor]:
    if isinstance(out, Tensor):
        return [out]
    within = out.values() if isinstance(out, Mapping) else out if isinstance(out, (tuple, list)) else ()
    return [t for o in within for t in flat_tensors(o)]


def batch_of(x: Any, n: int, device: str | None, dtype: Any = np.float32) -> Tensor:
    """n samples like x: a shape, or an array."""
    if isinstance(x, tuple):
        values = np.random.default_rng(0).standard_normal((n, *x), dtype=np.float32).astype(dtype)
    else:
        values = np.repeat(np.asarray(on_host(x.data) if isinstance(x, Tensor) else x)[None], n, axis=0)
    return ops.asarray(values, device=device)


def moved(arrays: Any, out: Any) -> float:
    """Bytes read and written; a view moves nothing."""
    given = [a for a in flat(arrays) if isinstance(a, ARRAYS)]
    owners = {id(writes.owner(a)) for a in given}
    made = [a for a in flat(out if isinstance(out, (tuple, list)) else [out]) if isinstance(a, ARRAYS)]
    made = [a for a in made if id(writes.owner(a)) not in owners]
    return float(sum(a.nbytes for a in given + made)) if made else 0.0


def per_filter(shape: tuple[int, ...]) -> int:
    return math.prod(shape[1:])


def pairs(q: Any, k: Any, causal: bool) -> float:
    """Queries times keys, of all heads; about half of them where each sees those before it."""
    return q.shape[0] * q.shape[1] * q.shape[2] * k.shape[2] * (0.5 if causal else 1.0)


def recurrent(x: Any, *weights: Any) -> float:
    return 2.0 * x.shape[0] * x.shape[1] * sum(w.size for w in weights)


#: Operations of a primitive from its arrays, parameters and result: two for each multiplication with its addition.
#: What is not here does no products, and takes the time of its bytes.
FLOPS: dict[str, Callable[[Any, dict[str, Any], Any], float]] = {
    "matmul": lambda a, p, out: 2.0 * out.size * a[0].shape[-1],
    "linear": lambda a, p, out: 2.0 * out.size * a[0].shape[-1],
    "conv2d": lambda a, p, out: 2.0 * out.size * per_filter(a[1].shape),
    "conv2d_input_grad": lambda a, p, out: 2.0 * a[0].size * per_filter(a[1].shape),
    "conv2d_weight_grad": lambda a, p, out: 2.0 * a[0].size * per_filter(p["shape"]),
    "attention": lambda a, p, out: 2.0 * pairs(a[0], a[1], p["causal"]) * (a[0].shape[3] + a[2].shape[3]),
    "attention_backward": lambda a, p, out: (
        2.0 * pairs(a[1], a[2], p["causal"]) * (3 * a[1].shape[3] + 2 * a[3].shape[3])
    ),
    "lstm_layer": lambda a, p, out: recurrent(a[0], a[3], a[4]),
    "lstm_layer_backward": lambda a, p, out: recurrent(a[0], a[3]),
    "gru_layer": lambda a, p, out: recurrent(a[0], a[2], a[3]),
    "gru_layer_backward": lambda a, p, out: recurrent(a[0], a[4]),
    "linear_cross_entropy": lambda a, p, out: 2.0 * a[0].size * a[1].shape[0],
    "linear_cross_entropy_gradients": lambda a, p, out: 6.0 * a[0].size * a[1].shape[0],
    "linear_cross_entropy_backward": lambda a, p, out: 6.0 * a[1].size * a[2].shape[0],
}


# ---- the machine


@functools.cache
def measure_machine(device: str | None = None) -> Machine:
    """How fast a device is, measured on a product of 768 x 768 matrices, a sum of 16 MiB and ops on few numbers.

    >>> weft.planning.measure_machine("cpu").flops > 1e6
    True
    """
    a, b = (ops.asarray(batch_of((768,), 768, None).data, device=device) for _ in range(2))
    long = ops.asarray(batch_of((1 << 22,), 1, None).data, device=device)
    few = Tensor(ops.asarray(batch_of((4,), 4, None).data, device=device).data, requires_grad=True)
    product, total = fastest(lambda: a @ b), fastest(lambda: long + long)
    small = fastest(lambda: functools.reduce(lambda x, _: x * few, range(100), few)) / 100
    with autograd.enable_grad():
        back = fastest(lambda: functools.reduce(lambda x, _: x * few, range(100), few).sum().backward()) / 100
    few.grad = None
    return Machine(
        f"{device or 'cpu'} as measured", 2 * 768**3 / product, 3 * long.nbytes / total, max(small, back / 2)
    )


def fastest(run: Callable[[], Any], times: int = 20) -> float:
    """The least seconds of several runs, each to its end on the device: other work only makes them longer."""
    found = []
    for _ in range(times):
        begun = time.perf_counter()
        out = run()
        if out is not None:
            on_host(out.data[:1])
        found.append(time.perf_counter() - begun)
    return min(found)


def scaled(value: float) -> str:
    """A number with k, M, G or T."""
    for power, prefix in ((12, "T"), (9, "G"), (6, "M"), (3, "k")):
        if value >= 10**power:
            return f"{value / 10**power:.3g} {prefix}"
    return f"{value:.3g} "
