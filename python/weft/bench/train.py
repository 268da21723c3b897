"""Training steps: Weft beside PyTorch, eager and compiled, from the same weights, on the same batches.

A step is zero_grad, forward, loss, backward and the optimizer's update; its time includes what Python and launches
cost. bf16 is autocast of both. Peak memory is what a device's allocator has reserved, or, on a CPU, what a process of
its own needs above its imports.
"""

from __future__ import annotations

import contextlib
import gc
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from weft.bench.timing import alternate, duration

Step = Callable[[], Any]  #: returns the loss, on the device
#: How far the first loss may differ from PyTorch's, and those after an update, which amplifies roundings: batch norm
#: over few pixels and the signs of Adam's first step do. Relative to the first loss.
TOLERANCE = {"f32": 1e-3, "bf16": 2e-2}
LATER = 0.1
CHECKED_STEPS = 3
MEMORY_STEPS = 5


@dataclass(frozen=True)
class Workload:
    """A model, its batch and its optimizer, at one precision."""

    model: str  #: a function of weft.models
    dtype: str  #: f32, or bf16 by autocast
    batch: int
    size: int  #: pixels of an image's side, or tokens of a sequence
    optimizer: str = "SGD"
    options: dict[str, Any] = field(default_factory=dict, hash=False)  #: of the model

    def __str__(self) -> str:
        return f"{self.model} {self.dtype} batch {self.batch} of {self.size}"

    @property
    def text(self) -> bool:
        return self.model == "gpt2"

    @property
    def unit(self) -> str:
        return "tokens" if self.text else "images"

    @property
    def per_step(self) -> int:
        return self.batch * self.size if self.text else self.batch

    @property
    def classes(self) -> int:
        if self.text:
            return int(self.options.get("vocabulary", 50_304))
        return 10 if self.model == "mnist_cnn" else int(self.options.get("classes", 1000))

    def build(self, framework: Any) -> Any:
        from weft import models

        return getattr(models, self.model)(**self.options, framework=framework)

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """Normal pixels or uniform tokens, and labels."""
        rng = np.random.default_rng(0)
        if self.text:
            return rng.integers(0, self.classes, (self.batch, self.size)), rng.integers(0, self.classes, self.per_step)
        channels = 1 if self.model == "mnist_cnn" else 3
        x = rng.standard_normal((self.batch, channels, self.size, self.size), dtype=np.float32)
        return x, rng.integers(0, self.classes, self.batch)

    def updates(self, optim: Any, parameters: Any, **fused: bool) -> Any:
        if self.optimizer == "SGD":
            return optim.SGD(parameters, lr=1e-3, momentum=0.9, weight_decay=1e-4, **fused)
        return getattr(optim, self.optimizer)(parameters, lr=3e-4, **fused)


def gpu_workloads() -> Iterator[Workload]:
    """Batches small enough that all contenders' memory fits a GPU of 80 GB at the same time."""
    for dtype in ("bf16", "f32"):
        yield Workload("mnist_cnn", dtype, 128, 28, "Adam")
        yield Workload("gpt2", dtype, 16 if dtype == "bf16" else 4, 1024, "AdamW")
        yield Workload("resnet50", dtype, 128 if dtype == "bf16" else 64, 224)
        yield Workload("resnet18", dtype, 512, 32, options={"small": True, "classes": 10})


def cpu_workloads() -> Iterator[Workload]:
    """Small sizes, and a GPT-2 of two layers: the same code, in the time that a CPU has."""
    yield Workload("mnist_cnn", "f32", 64, 28, "Adam")
    yield Workload("resnet18", "f32", 16, 32, options={"small": True, "classes": 10})
    yield Workload("resnet50", "f32", 8, 64)
    yield Workload("gpt2", "f32", 8, 128, "AdamW",
                   options={"vocabulary": 1024, "length": 128, "layers": 2, "width": 256, "heads": 4})  # fmt: skip


# ---- the contenders


def weft_step(work: Workload, device: str, weights: dict[str, np.ndarray] | None = None) -> Step:
    import weft
    from weft import optim
    from weft.nn import functional as F

    weft.random.seed(0)
    model = work.build(weft)
    if weights:
        model.load_state_dict(weights)
    model.to(device)
    x, y = (weft.asarray(values, device=device) for values in work.data())
    optimizer = work.updates(optim, model.parameters())
    casting = weft.autocast("bfloat16") if work.dtype == "bf16" else contextlib.nullcontext()

    def step() -> Any:
        optimizer.zero_grad()
        with casting:
            loss = loss_of(model, x, y)
        loss.backward()
        optimizer.step()
        return loss

    def loss_of(model: Any, x: Any, y: Any) -> Any:
        if not work.text:
            return F.cross_entropy(model(x), y)
        decoder = model.transformer  # the head is fused with its loss: the scores never exist in full
        return F.linear_cross_entropy(decoder(x), decoder.wte.weight, y.reshape(x.shape))

    return step


def torch_step(
    work: Workload, device: str, weights: dict[str, np.ndarray] | None = None, *, compiled: bool = False
) -> Step:
    import torch
    import torch.nn.functional as F

    torch.manual_seed(0)
    torch.set_num_threads(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    model = work.build(torch).to(device)
    if weights:
        model.load_state_dict({name: torch.from_numpy(values.copy()) for name, values in weights.items()})
    x, y = (torch.from_numpy(values).to(device) for values in work.data())
    if not work.text:
        model, x = model.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    optimizer = work.updates(torch.optim, model.parameters(), fused=True)
    kind = device.partition(":")[0]

    def forward(x: Any, y: Any) -> Any:
        with torch.autocast(kind, dtype=torch.bfloat16, enabled=work.dtype == "bf16"):
            return F.cross_entropy(model(x).reshape(-1, work.classes), y)

    # the mode with CUDA graphs: what a step of small kernels gains most from
    run = torch.compile(forward, mode="reduce-overhead" if kind == "cuda" else "default") if compiled else forward

    def step() -> Any:
        optimizer.zero_grad()
        loss = run(x, y)
        loss.backward()
        optimizer.step()
        return loss

    return step


def captured_step(work: Workload, device: str, weights: dict[str, np.ndarray] | None = None) -> Step:
    import weft

    return weft.capture(weft_step(work, device, weights))  # type: ignore[no-any-return]


def compiled_step(work: Workload, device: str, weights: dict[str, np.ndarray] | None = None) -> Step:
    return torch_step(work, device, weights, compiled=True)


def contenders(device: str, compiled: bool) -> dict[str, Callable[..., Step]]:
    """What can take part here, Weft first."""
    import weft

    found: dict[str, Callable[..., Step]] = {"weft": weft_step}
    if device != "cpu" and hasattr(weft, "capture"):
        found["weft captured"] = captured_step
    try:
        import torch  # noqa: F401
    except ImportError:
        return found
    found["torch"] = torch_step
    if compiled:
        found["torch.compile"] = compiled_step
    return found


def initial(work: Workload, names: dict[str, Any]) -> dict[str, np.ndarray] | None:
    """Weights that all start from: PyTorch's, where there is PyTorch."""
    if "torch" not in names:
        return None
    import torch

    torch.manual_seed(0)
    return {name: values.detach().numpy().copy() for name, values in work.build(torch).state_dict().items()}


# ---- measuring


def waiter(device: str) -> Callable[[], Any]:
    """Waits until the device has done what it was given; both frameworks' streams lie on it."""
    if device == "cpu":
        return lambda: None
    import weft

    return lambda: weft.cuda.synchronize(device)


def reserved(name: str, device: str) -> Any:
    """The module whose allocator a contender uses: weft.cuda or torch.cuda."""
    if name.startswith("torch"):
        import torch

        return torch.cuda
    import weft

    return weft.cuda


def peak_on_gpu(name: str, make: Callable[..., Step], work: Workload, device: str) -> int:
    """Bytes that the contender's allocator has reserved at most, in a few steps from an empty pool."""
    memory = reserved(name, device)
    gc.collect()
    memory.empty_cache()
    reset = getattr(memory, "reset_peak_memory", None) or memory.reset_peak_memory_stats
    reset(device)
    step = make(work, device)
    for _ in range(MEMORY_STEPS):
        step()
    memory.synchronize(device)
    peak = int(memory.max_memory_reserved(device))
    del step
    gc.collect()
    memory.empty_cache()
    return peak


def resident(field_: str) -> int:
    """Bytes of this process: VmRSS now, VmHWM at its peak."""
    with open("/proc/self/status") as status:
        return 1024 * next(int(line.split()[1]) for line in status if line.startswith(field_))


def peak_on_cpu(name: str, index: int) -> int | None:
    """Bytes that a process of its own needs above its imports; None where the system does not tell."""
    if sys.platform != "linux":
        return None
    command = [sys.executable, "-m", "weft.bench.train", name, str(index)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1])


def child(name: str, index: int) -> None:
    """A process that trains with one framework and says what it needed."""
    if name.startswith("torch"):
        import torch  # noqa: F401
    from weft import models, nn, optim  # noqa: F401

    work = list(cpu_workloads())[index]
    before = resident("VmRSS")
    step = (weft_step if name == "weft" else torch_step)(work, "cpu")
    for _ in range(MEMORY_STEPS):
        step()
    print(resident("VmHWM") - before)


def measured(work: Workload, index: int, device: str, seconds: float, compiled: bool = True) -> dict[str, Any]:
    """One row: the first losses of all contenders compared, then their steps timed in turns, then their memory."""
    made = contenders(device, compiled)
    weights = initial(work, made)
    steps: dict[str, Step] = {}
    first: dict[str, list[float]] = {}
    warm: dict[str, float] = {}
    failed: dict[str, str] = {}
    wait = waiter(device)
    for name, make in made.items():
        start = time.perf_counter()
        try:
            step = make(work, device, weights)
            first[name] = [float(step().item()) for _ in range(CHECKED_STEPS)]
        except Exception as error:
            if name == "weft":
                raise
            failed[name] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:200]
            continue
        warm[name] = time.perf_counter() - start
        steps[name] = step
    check(work, first)
    times = alternate(steps, seconds=seconds, rounds=5, wait=wait)
    steps.clear()
    memory: dict[str, int | None] = {}
    for name, make in made.items():
        if name in failed or (device == "cpu" and name not in ("weft", "torch")):
            continue
        memory[name] = peak_on_cpu(name, index) if device == "cpu" else peak_on_gpu(name, make, work, device)
    ours = min(t["median"] for name, t in times.items() if name.startswith("weft"))
    peers = [t["median"] for name, t in times.items() if not name.startswith("weft")]
    return {
        "what": str(work), "dtype": work.dtype, "unit": work.unit, "per_step": work.per_step, "times": times,
        "per_second": {name: work.per_step / t["median"] for name, t in times.items()}, "memory": memory,
        "losses": first, "first_steps": warm, "failed": failed,
        "ratio": min(peers) / ours if peers else None,  # above 1: Weft is faster than the best peer
    }  # fmt: skip


def check(work: Workload, losses: dict[str, list[float]]) -> None:
    """The first losses are finite, and, beside PyTorch's from the same weights, the same. ArithmeticError otherwise."""
    for name, values in losses.items():
        if name.startswith("weft") and not np.isfinite(values).all():
            raise ArithmeticError(f"train: {work}: expected finite losses, got {values} of {name}")
    if "torch" not in losses:
        return
    for name, values in losses.items():
        apart = [abs(a - b) / abs(losses["torch"][0]) for a, b in zip(values, losses["torch"])]
        if name.startswith("weft") and not (apart[0] <= TOLERANCE[work.dtype] and max(apart) <= LATER):
            raise ArithmeticError(f"train: {work}: expected the losses {losses['torch']}, got {values} of {name}")


def lines(row: dict[str, Any]) -> Iterator[str]:
    """The row as text: a line of its own for each contender."""
    ratio = "" if row["ratio"] is None else f"  ({row['ratio']:.2f} of the best peer's speed)"
    yield f"  {row['what']}{ratio}"
    for name, t in row["times"].items():
        peak = row["memory"].get(name)
        held = f"{peak / 2**20:8.0f} MiB" if peak is not None else " " * 12
        spread = 50 * (t["p90"] - t["p10"]) / t["median"]
        yield (f"    {name:14s} {duration(t['median']):>9s} ±{spread:2.0f}%  {row['per_second'][name]:10.5g} "
               f"{row['unit']}/s {held}  first {CHECKED_STEPS} steps {duration(row['first_steps'][name])}")  # fmt: skip
    for name, why in row["failed"].items():
        yield f"    {name:14s} did not run: {why}"


if __name__ == "__main__":
    child(sys.argv[1], int(sys.argv[2]))
