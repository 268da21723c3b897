"""Attention: Weft's kernels beside the backends of PyTorch's scaled_dot_product_attention.

Head dimensions x lengths x causal or not x pass. Batch and heads are those of 16,384 tokens of a model 2,048 wide on a
GPU, as the published figures of FlashAttention are, and one sequence of few heads on a CPU. A forward pass counts
4 B H S^2 D operations, half of them where it is causal, a backward pass two and a half times as many.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from weft.bench.gemm import DTYPES, as_torch
from weft.bench.timing import duration, in_turns

TOKENS, WIDTH = 16384, 2048
#: What roundings may cost, relative to the largest value.
ERROR = {"f32": 2e-5, "f16": 4e-3, "bf16": 3e-2}
CHECKED_ROWS = 64  # of one head, against float64


@dataclass(frozen=True)
class Case:
    """One shape in one pass: forward, or backward, which is given the forward's result."""

    batch: int
    heads: int
    length: int
    head: int
    dtype: str
    causal: bool
    backward: bool

    @property
    def flops(self) -> float:
        forward = 4.0 * self.batch * self.heads * self.length**2 * self.head * (0.5 if self.causal else 1.0)
        return forward * (2.5 if self.backward else 1.0)

    @property
    def bytes(self) -> float:
        """The fewest bytes that must move: q, k, v and out once, and in the backward pass three gradients and two."""
        arrays = 9 if self.backward else 4
        return float(arrays * DTYPES[self.dtype].itemsize * self.batch * self.heads * self.length * self.head)

    def __str__(self) -> str:
        words = f"hd{self.head} {self.length} {self.dtype} {'causal' if self.causal else 'full'}"
        return f"{words} {'backward' if self.backward else 'forward'}"

    def arrays(self, rng: np.random.Generator) -> list[np.ndarray]:
        """q, k, v and the gradient of the result, normal values, (B, H, S, D)."""
        shape = (self.batch, self.heads, self.length, self.head)
        return [rng.standard_normal(shape, dtype=np.float32).astype(DTYPES[self.dtype]) for _ in range(4)]


def gpu_cases() -> Iterator[Case]:
    for dtype, heads, lengths in (
        ("bf16", (64, 128, 256), (512, 1024, 2048, 4096, 8192, 16384)), ("f16", (128,), (1024, 8192)),
        ("f32", (64, 128), (1024, 4096)),
    ):  # fmt: skip
        for head in heads:
            for length in lengths:
                for causal in (False, True):
                    for backward in (False, True):
                        yield Case(TOKENS // length, WIDTH // head, length, head, dtype, causal, backward)


def cpu_cases() -> Iterator[Case]:
    for head in (32, 64, 128):
        for length in (128, 512, 2048):
            for causal in (False, True):
                for backward in (False, True):
                    yield Case(2 if length < 2048 else 1, 4, length, head, "f32", causal, backward)


def exact_rows(case: Case, arrays: list[np.ndarray]) -> np.ndarray:
    """In float64, of the last head: some rows of out, or of the gradient of q."""
    q, k, v, g = (x[-1, -1].astype(np.float64) for x in arrays)
    rows = np.linspace(0, case.length - 1, min(case.length, CHECKED_ROWS)).astype(int)
    scores = q[rows] @ k.T * case.head**-0.5
    if case.causal:
        scores[np.arange(case.length)[None] > rows[:, None]] = -np.inf
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    if not case.backward:
        return weights @ v
    products = g[rows] @ v.T
    return weights * (products - (weights * products).sum(axis=1, keepdims=True)) @ k * case.head**-0.5


def error_of(case: Case, got: Any, exact: np.ndarray) -> float:
    """The largest distance of the checked rows from float64's, over their largest value."""
    rows = np.linspace(0, case.length - 1, min(case.length, CHECKED_ROWS)).astype(int)
    if type(got).__module__.startswith("torch"):
        got = got.detach()[-1, -1].float().cpu().numpy()
    else:
        got = got[-1, -1] if isinstance(got, np.ndarray) else got[-1, -1].get()
    return float(np.abs(got[rows].astype(np.float64) - exact).max() / np.abs(exact).max())


def weft_call(case: Case, arrays: list[Any]) -> Callable[[], Any]:
    from weft.backends import reference as K

    q, k, v, g = arrays
    params = {"scale": case.head**-0.5, "causal": case.causal, "dropout": 0.0, "seed": 0, "offset": 0}
    if not case.backward:
        return lambda: K.attention(q, k, v, None, **params)[0]
    out, lse = K.attention(q, k, v, None, **params)
    return lambda: K.attention_backward(g, q, k, v, None, out, lse, **params)[0]


def torch_calls(case: Case, arrays: list[Any]) -> dict[str, Callable[[], Any]]:
    """One per backend of PyTorch that takes the case; arrays: torch Tensors."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    names = {"flash": SDPBackend.FLASH_ATTENTION, "efficient": SDPBackend.EFFICIENT_ATTENTION,
             "cudnn": SDPBackend.CUDNN_ATTENTION}  # fmt: skip
    if arrays[0].device.type == "cpu":
        names = {"torch": SDPBackend.FLASH_ATTENTION}
    g = arrays[3]
    q, k, v = (x.requires_grad_() if case.backward else x for x in arrays[:3])

    def call(backend: Any) -> Callable[[], Any]:
        def forward() -> Any:
            with sdpa_kernel([backend]):
                return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=case.causal)

        if not case.backward:
            return forward
        out = forward()
        return lambda: torch.autograd.grad(out, (q, k, v), g, retain_graph=True)[0]

    found = {}
    for name, backend in names.items():
        try:
            found[name] = call(backend)
            found[name]()
        except RuntimeError:  # no kernel of this backend for the case
            found.pop(name, None)
    return found


def contenders(case: Case, arrays: list[np.ndarray], device: str) -> dict[str, Callable[[], Any]]:
    if device == "cpu":
        mine: list[Any] = list(arrays)
    else:
        import weft

        mine = [weft.asarray(x, device=device).data for x in arrays]
    found = {"weft": weft_call(case, mine)}
    try:
        import torch
    except ImportError:
        return found
    if device == "cpu":
        torch.set_num_threads(len(os.sched_getaffinity(0)))
        return found | torch_calls(case, [torch.from_numpy(x) for x in arrays])
    return found | torch_calls(case, [as_torch(x, case.dtype) for x in mine])


def measured(case: Case, device: str, seconds: float) -> dict[str, Any]:
    """One row: every contender checked against float64, then timed in turns."""
    rng = np.random.default_rng([case.length, case.head, case.causal])
    arrays = case.arrays(rng)
    found, exact = contenders(case, arrays, device), exact_rows(case, arrays)
    errors = {name: error_of(case, f(), exact) for name, f in found.items()}
    limit = max(ERROR[case.dtype], 2 * max((e for n, e in errors.items() if n != "weft"), default=0.0))
    if not errors["weft"] <= limit:
        raise ArithmeticError(f"attention: {case}: expected an error below {limit:.1e}, got {errors['weft']:.1e}")
    times = in_turns(found, device, seconds)
    peers = [t["median"] for name, t in times.items() if name != "weft"]
    return {
        "what": str(case), "flops": case.flops, "bytes": case.bytes, "dtype": case.dtype, "times": times,
        "errors": errors, "ratio": min(peers) / times["weft"]["median"] if peers else None,
    }  # fmt: skip


def line(row: dict[str, Any]) -> str:
    """One row of the table: Weft's rate and its ratio to the best peer, then everyone's time."""
    rate = row["flops"] / row["times"]["weft"]["median"] / 1e12
    ratio = "      -" if row["ratio"] is None else f"{row['ratio']:6.2f}x"
    times = "  ".join(f"{name} {duration(t['median'])}" for name, t in row["times"].items())
    return f"  {row['what']:34s} {rate:8.3g} TFLOP/s {ratio}  {times}  error {row['errors']['weft']:.0e}"
