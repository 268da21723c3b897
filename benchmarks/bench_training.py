"""One training step of five models, Weft beside PyTorch in its best settings: `python benchmarks/bench_training.py`.

The same code builds both models, the same weights start both, the losses of the first steps must agree. PyTorch runs
with fused Adam, as many threads as Weft, and both memory formats for images (the faster counts). A step is zero_grad,
forward, loss, backward, Adam. Memory is the peak of a process of its own above what it held after its imports.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import harness

if __name__ == "__main__":
    harness.quiet_environment()

import numpy as np

from models import MODELS


def weft_step(name: str, weights: dict[str, Any] | None) -> tuple[Callable[[], float], Any]:
    import weft
    from weft import nn, optim
    from weft.nn import functional as F

    weft.random.seed(0)
    make, batch, _ = MODELS[name]
    model = make(nn, F)
    if weights:
        model.load_state_dict(weights)
    x, y = (weft.asarray(a) for a in batch(np.random.default_rng(0)))
    optimizer = optim.Adam(model.parameters(), lr=1e-3)

    def step() -> float:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step, model


def torch_step(name: str, channels_last: bool) -> tuple[Callable[[], float], Any]:
    import torch
    import torch.nn.functional as F
    from torch import nn

    torch.manual_seed(0)
    make, batch, _ = MODELS[name]
    model = make(nn, F)
    x, y = (torch.from_numpy(a) for a in batch(np.random.default_rng(0)))
    if channels_last:
        model, x = model.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)

    def step() -> float:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step, model


def resident(field: str) -> int:
    """Kilobytes of this process: VmRSS now, VmHWM at its peak."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(field))


def peak_memory(framework: str, name: str, steps: int = 12) -> int:
    """Bytes that a process training with one framework needs above its imports."""
    command = [sys.executable, __file__, "--memory", framework, name, str(steps)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout) * 1024


def memory_child(framework: str, name: str, steps: int) -> None:
    if framework == "torch":
        import torch  # noqa: F401
    import weft  # noqa: F401
    from weft import nn, optim  # noqa: F401

    before = resident("VmRSS")
    step, _ = weft_step(name, None) if framework == "weft" else torch_step(name, channels_last=False)
    for _ in range(steps):
        step()
    print(resident("VmHWM") - before)


def bench(name: str, seconds: float) -> dict[str, Any]:
    first, peer = torch_step(name, channels_last=False)
    weights = {k: v.detach().numpy().copy() for k, v in peer.state_dict().items()}
    ours, _ = weft_step(name, weights)
    losses = [(ours(), first()) for _ in range(4)]
    worst = max(abs(a - b) for a, b in losses) / losses[0][1]  # Adam's first steps are sign steps: they amplify
    if worst > 1e-3:
        raise SystemExit(f"{name}: the losses of the first steps differ by {worst:.1e}: {losses}")
    functions = {"weft": ours, "torch": first}
    if name in ("cnn", "resnet18"):
        functions["torch channels_last"] = torch_step(name, channels_last=True)[0]
    times = harness.alternate(functions, seconds=seconds)
    best = min((t["median"], n) for n, t in times.items() if n != "weft")
    memory = {f: peak_memory(f, name) for f in ("weft", "torch")}
    ratio = times["weft"]["median"] / best[0]
    share = memory["weft"] / memory["torch"]
    spread = f"{harness.duration(times['weft']['p10'])} to {harness.duration(times['weft']['p90'])}"
    print(
        f"  {name:9s} Weft {harness.duration(times['weft']['median']):>8s} ({spread}), "
        f"{best[1]} {harness.duration(best[0]):>8s}: time ratio {ratio:.2f}; "
        f"memory {memory['weft'] / 2**20:.0f} MiB, {memory['torch'] / 2**20:.0f} MiB: ratio {share:.2f}; "
        f"losses agree to {worst:.0e}",
        flush=True,
    )
    return {
        "model": name,
        "what": MODELS[name][2],
        "times": times,
        "ratio": ratio,
        "memory": memory,
        "memory_ratio": share,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=[], help=f"some of {', '.join(MODELS)}; all by default")
    parser.add_argument("--seconds", type=float, default=6.0, help="per model")
    parser.add_argument("--memory", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.memory:
        memory_child(args.memory[0], args.memory[1], int(args.memory[2]))
        return
    try:
        import torch
    except ImportError:
        raise SystemExit("bench_training: expected PyTorch beside Weft; install the extra `peers`") from None
    import weft

    torch.set_num_threads(len(__import__("os").sched_getaffinity(0)))
    facts = harness.announce(
        f"One training step, float32 (extension: {weft.which('linear', *[np.ones((1, 1), 'f')] * 3)})"
    )
    rows = [bench(name, args.seconds) for name in args.models or MODELS]
    harness.save("training", facts, rows)


if __name__ == "__main__":
    main()
