"""The checker that every op passes: one Case row says what to call, everything else is derived from it.

    CASES = [Case(ops.layer_norm, (4, 7), (7,), (7,), oracle=layer_norm_oracle, params={"eps": 1e-2})]
    globals().update(checks(CASES))

From a row follow: the value against an oracle in float64, first and second derivatives against differences on fresh
inputs, layouts, dtypes, the native entries against the references, and the emulated device (or a GPU) against the CPU.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import weft
from weft import autograd
from weft.backends.device import check_device as check_name
from weft.backends.device import on_host, place
from weft.backends.gpu.array import EmulatedArray
from weft.backends.registry import PRIMITIVES
from weft.testing import gradcheck, gradgradcheck

SAMPLES = 20
TOLERANCE = {"float64": 1e-12, "float32": 2e-5, "float16": 1e-2, "bfloat16": 6e-2}  # of the largest element


def normal(*shape: int) -> Callable[[np.random.Generator], np.ndarray]:
    return lambda rng: rng.standard_normal(shape)


def positive(*shape: int) -> Callable[[np.random.Generator], np.ndarray]:
    return lambda rng: rng.uniform(0.3, 2.0, shape)


def within(low: float, high: float, *shape: int) -> Callable[[np.random.Generator], np.ndarray]:
    return lambda rng: rng.uniform(low, high, shape)


def apart(*shape: int, gap: float = 0.05) -> Callable[[np.random.Generator], np.ndarray]:
    """Values no two of which, nor 0, are closer than `gap`: for max, abs and other functions with kinks."""

    def make(rng: np.random.Generator) -> np.ndarray:
        n = int(np.prod(shape))
        values = (np.arange(n) - n / 2 + 0.25 + 0.5 * rng.random()) * 2 * gap
        return rng.permutation(values).reshape(shape)

    return make


def integers(high: int, *shape: int, dtype: Any = np.int64) -> Callable[[np.random.Generator], np.ndarray]:
    return lambda rng: rng.integers(0, high, shape).astype(dtype)


@dataclass
class Case:
    """One call of one op.

    fn(*Tensors, **params); each input is a shape (normal values), a maker of arrays, or None. oracle: the same in
    NumPy on float64 arrays. grad: False where nothing is differentiable. order: how many derivatives to check.
    half: False where 16-bit types are not taken; layouts: False where an input must keep its memory. why: the reason.
    off_device: why the devices are left out, if they are; slow: their kernels take long, so only --full runs them.
    """

    fn: Callable[..., Any]
    inputs: tuple[Any, ...]
    params: dict[str, Any] = field(default_factory=dict)
    oracle: Callable[..., Any] | None = None
    grad: bool = True
    order: int = 2
    half: bool = True
    layouts: bool = True
    rtol: float = 1e-6
    off_device: str = ""
    slow: bool = False
    why: str = ""
    name: str = ""

    def __init__(self, fn: Callable[..., Any], *inputs: Any, **options: Any):
        self.fn, self.inputs = fn, inputs
        for key, value in {"params": {}, **options}.items():
            if key not in self.__dataclass_fields__:
                raise TypeError(f"Case: unknown option {key}")
            setattr(self, key, value)

    def __str__(self) -> str:
        shapes = "-".join("x".join(map(str, s)) if isinstance(s, tuple) else "" for s in self.inputs)
        params = ",".join(f"{k}={v}" for k, v in self.params.items())
        return self.name or f"{self.fn.__name__}({shapes}{';' if params else ''}{params})".replace(" ", "")

    def sample(self, seed: int, dtype: Any = np.float64) -> list[Any]:
        """Fresh inputs; float ones in `dtype`, but rounded to it from the same float64 numbers."""
        rng = np.random.default_rng([seed, *map(ord, self.fn.__name__)])
        made = [None if i is None else normal(*i)(rng) if isinstance(i, tuple) else i(rng) for i in self.inputs]
        return [a.astype(dtype) if a is not None and a.dtype == np.float64 else a for a in made]

    def call(self, arrays: list[Any], recorded: bool = False, device: str = "cpu") -> Any:
        tensors = [
            a if a is None else weft.Tensor(place(a, device), recorded and a.dtype.kind not in "biu") for a in arrays
        ]
        return self.fn(*tensors, **self.params), tensors

    def closed(self, arrays: list[Any]) -> tuple[Callable[..., Any], list[Any]]:
        """The op as a function of its float64 inputs alone."""
        where = [i for i, a in enumerate(arrays) if a is not None]

        def f(*given: Any) -> Any:
            full: list[Any] = [None] * len(arrays)
            for i, x in zip(where, given):
                full[i] = x
            return self.fn(*full, **self.params)

        f.__name__ = self.fn.__name__
        return f, [arrays[i] for i in where]


def many(out: Any) -> list[np.ndarray]:
    return [
        on_host(o.data if isinstance(o, weft.Tensor) else o) for o in (out if isinstance(out, (tuple, list)) else [out])
    ]


def close(got: Any, want: Any, tolerance: float, what: str) -> None:
    """Every element within `tolerance` of the largest; shapes equal, NaN and infinity in the same places."""
    for g, w in zip(many(got), many(want), strict=True):
        assert g.shape == w.shape, f"{what}: shape {g.shape}, expected {w.shape}"
        if g.dtype.kind in "biu":
            np.testing.assert_array_equal(g, w, what)
            continue
        g, w = g.astype(np.float64), w.astype(np.float64)
        np.testing.assert_array_equal(np.isnan(g), np.isnan(w), f"{what}: NaN in other places")
        finite = np.isfinite(w)
        np.testing.assert_array_equal(g[~finite & ~np.isnan(w)], w[~finite & ~np.isnan(w)], what)
        if finite.any():
            worst = np.abs(g[finite] - w[finite]).max()
            assert worst <= tolerance * max(np.abs(w[finite]).max(), 1e-3), (
                f"{what}: off by {worst} of {np.abs(w[finite]).max()}"
            )


@contextlib.contextmanager
def references_only():
    """Run every primitive by its reference."""
    saved = {name: p.entries for name, p in PRIMITIVES.items()}
    try:
        for p in PRIMITIVES.values():
            p.entries = [e for e in p.entries if e[0] is weft.Tensor]
            p.found.clear()
        yield
    finally:
        for name, p in PRIMITIVES.items():
            p.entries = saved[name]
            p.found.clear()


@contextlib.contextmanager
def never_waiting():
    """The host may not look at values on a device: that would make it wait, in every step of a training run."""

    def get(array):
        raise AssertionError(f"the host waited for a value of shape {array.shape} on {array.device_name}")

    original = EmulatedArray.get
    EmulatedArray.get = get
    try:
        yield
    finally:
        EmulatedArray.get = original


def gradients(case: Case, arrays: list[Any], seed: int, device: str = "cpu") -> list[Any]:
    """The outputs, then the gradient of every float input for random output weights."""
    with never_waiting():
        out, tensors = case.call(arrays, True, device)
    outs = [o for o in (out if isinstance(out, tuple) else (out,)) if o.requires_grad]
    rng = np.random.default_rng(seed)
    weights = [weft.Tensor(place(rng.standard_normal(o.shape).astype(o.dtype), device)) for o in outs]
    leaves = [t for t in tensors if t is not None and t.requires_grad]
    with never_waiting():
        grads = autograd.grad(outs, leaves, weights, allow_unused=True) if outs and leaves else []
    made = [o for o in (out if isinstance(out, tuple) else (out,)) if isinstance(o, weft.Tensor)] + list(grads)
    assert all(t is None or t.device == device for t in made), f"{case}: a result that left {device}"
    return many(out) + [np.zeros(leaf.shape) if g is None else on_host(g.data) for g, leaf in zip(grads, leaves)]


def scattered(a: Any, kind: str) -> Any:
    """The same values in other memory: transposed, with gaps, or backwards."""
    if a is None or not a.ndim:
        return a
    if kind == "transposed":
        return np.ascontiguousarray(a.T).T
    if kind == "gaps":
        wide = np.full((*a.shape[:-1], 2 * a.shape[-1] + 1), np.nan if a.dtype.kind not in "biu" else 1, a.dtype)
        wide[..., 1::2] = a
        return wide[..., 1::2]
    return np.ascontiguousarray(a[..., ::-1])[..., ::-1]


def check_value(case: Case) -> None:
    arrays = case.sample(0)
    exact = case.call(arrays)[0]
    if case.oracle is not None:
        want = case.oracle(*arrays, **case.params)
        close(exact, want, TOLERANCE["float64"] * 10, f"{case}: float64 against the oracle")
    for o in many(exact):
        assert o.dtype.kind in "biu" or o.dtype == np.float64, f"{case}: float64 in, {o.dtype} out"


def check_dtypes(case: Case) -> None:
    types = [np.float32] + ([np.float16, ml_dtypes.bfloat16] if case.half else [])
    for dtype in types:
        arrays = case.sample(1, dtype)
        out = case.call(arrays)[0]
        floats = any(a is not None and a.dtype == dtype for a in arrays)
        for o in many(out):
            expected = np.dtype(dtype) if floats else o.dtype
            assert o.dtype.kind in "biu?" or o.dtype in (expected, np.float32), (
                f"{case}: {np.dtype(dtype)} in, {o.dtype} out"
            )
        first = many(out)[0]
        if floats and first.dtype.kind not in "biu":
            assert first.dtype == np.dtype(dtype), f"{case}: {np.dtype(dtype)} in, {first.dtype} out"
            wide = [a.astype(np.float64) if a is not None and a.dtype == dtype else a for a in arrays]
            want = many(case.call(wide)[0])[0]
            close([first], [want], TOLERANCE[np.dtype(dtype).name], f"{case}: {np.dtype(dtype)} against float64")


def check_first_order(case: Case) -> None:
    for seed in range(SAMPLES):
        f, arrays = case.closed(case.sample(100 + seed))
        gradcheck(f, arrays, seed=seed, rtol=case.rtol)


def check_second_order(case: Case) -> None:
    for seed in range(SAMPLES):
        f, arrays = case.closed(case.sample(200 + seed))
        gradgradcheck(f, arrays, seed=seed, rtol=max(1e-5, case.rtol))


def check_third_order(case: Case) -> None:
    for seed in range(3):
        f, arrays = case.closed(case.sample(300 + seed))
        gradgradcheck(f, arrays, order=3, seed=seed, rtol=1e-4, atol=1e-5)


def check_layouts(case: Case) -> None:
    arrays = case.sample(2)
    want = gradients(case, arrays, 2)
    for kind in ("transposed", "gaps", "backwards"):
        close(gradients(case, [scattered(a, kind) for a in arrays], 2), want, 1e-10, f"{case}: {kind} memory")
        singles = [a.astype(np.float32) if a is not None and a.dtype == np.float64 else a for a in arrays]
        got = gradients(case, [scattered(a, kind) for a in singles], 2)
        close(got, gradients(case, singles, 2), TOLERANCE["float32"], f"{case}: {kind} memory in float32")


def check_native(case: Case) -> None:
    for seed in (3, 4):
        arrays = case.sample(seed, np.float32)
        exact = case.sample(seed, np.float64)
        exact = [e if e is None or e.dtype.kind in "biu" else a.astype(np.float64) for a, e in zip(arrays, exact)]
        with references_only():
            want = gradients(case, exact, seed)
        got = gradients(case, arrays, seed)
        close(got, want, TOLERANCE["float32"], f"{case}: float32 entries against the float64 reference")


def check_device(case: Case, device: str) -> None:
    """Value and gradient on a device as on the CPU, dtypes too; nothing leaves the device on the way."""
    arrays = case.sample(5, np.float32)
    exact = [a.astype(np.float64) if a is not None and a.dtype == np.float32 else a for a in arrays]
    with references_only():
        want = gradients(case, exact, 5)
    on_cpu = gradients(case, arrays, 5)
    got = gradients(case, arrays, 5, device)
    assert [g.dtype for g in got] == [w.dtype for w in on_cpu], f"{case}: {[g.dtype for g in got]} on {device}"
    close(got, want, 2 * TOLERANCE["float32"], f"{case}: float32 on {device} against the float64 reference")


def check_device_bfloat16(case: Case, device: str) -> None:
    """Value and gradient in bfloat16, which is computed wide and rounded once per op."""
    check_16_bits(case, device, np.dtype(ml_dtypes.bfloat16))


def check_device_dtypes(case: Case, device: str) -> None:
    """The same in float16, and in float64."""
    arrays = case.sample(7)
    got, want = gradients(case, arrays, 7, device), gradients(case, arrays, 7)
    assert [g.dtype for g in got] == [w.dtype for w in want]
    close(got, want, 10 * TOLERANCE["float64"], f"{case}: float64 on {device} against the CPU")
    if case.half:
        check_16_bits(case, device, np.dtype(np.float16))


def check_16_bits(case: Case, device: str, dtype: np.dtype) -> None:
    arrays = case.sample(6, dtype)
    if not any(a is not None and a.dtype == dtype for a in arrays):
        return
    got, want = gradients(case, arrays, 6, device), gradients(case, arrays, 6)
    assert [g.dtype for g in got] == [w.dtype for w in want], f"{case}: {[g.dtype for g in got]} on {device}"
    close(got, want, TOLERANCE[dtype.name], f"{case}: {dtype} on {device} against the CPU")
    wide = [a.astype(np.float64) if a is not None and a.dtype == dtype else a for a in arrays]
    exact = many(case.call(wide)[0])[:1]
    close(got[:1], exact, TOLERANCE[dtype.name], f"{case}: {dtype} on {device} against float64")


def check_device_second_order(case: Case, device: str) -> None:
    """Gradients of gradients, for which the bodies run again on Tensors of the device."""

    def second(arrays: list[Any], device: str) -> list[Any]:
        out, tensors = case.call(arrays, True, device)
        outs = [o for o in (out if isinstance(out, tuple) else (out,)) if o.requires_grad]
        leaves = [t for t in tensors if t is not None and t.requires_grad]
        rng = np.random.default_rng(8)

        def weights(like: list[weft.Tensor]) -> list[weft.Tensor]:
            return [weft.Tensor(place(rng.standard_normal(t.shape).astype(t.dtype), device)) for t in like]

        with never_waiting():
            first = autograd.grad(outs, leaves, weights(outs), create_graph=True, allow_unused=True)
            first = [g for g in first if g is not None and g.requires_grad]
            found = autograd.grad(first, leaves, weights(first), allow_unused=True) if first else []
        return [np.zeros(leaf.shape) if g is None else on_host(g.data) for g, leaf in zip(found, leaves)]

    arrays = case.sample(8, np.float32)
    exact = [a.astype(np.float64) if a is not None and a.dtype == np.float32 else a for a in arrays]
    close(second(arrays, device), second(exact, "cpu"), 10 * TOLERANCE["float32"], f"{case}: second order on {device}")


def check_device_layouts(case: Case, device: str) -> None:
    """Inputs that lie transposed, with gaps or backwards in device memory."""

    def lie(a: Any, kind: str) -> Any:
        if a is None or not a.ndim:
            return a if a is None else place(a, device)
        if kind == "transposed":
            return place(np.ascontiguousarray(a.T), device).T
        if kind == "gaps":
            wide = np.full((*a.shape[:-1], 2 * a.shape[-1] + 1), np.nan if a.dtype.kind not in "biu" else 1, a.dtype)
            wide[..., 1::2] = a
            return place(wide, device)[..., 1::2]
        return place(np.ascontiguousarray(a[..., ::-1]), device)[..., ::-1]

    arrays = case.sample(9, np.float32)
    want = gradients(case, arrays, 9)
    for kind in ("transposed", "gaps", "backwards"):
        got = gradients(case, [lie(a, kind) for a in arrays], 9, device)
        close(got, want, 5 * TOLERANCE["float32"], f"{case}: {kind} memory on {device}")


COVERED: set[str] = set()  # names of ops that some differentiable case ran through


def checks(cases: list[Case]) -> dict[str, Callable[..., None]]:
    """Test functions for a module: `globals().update(checks(CASES))`."""

    def over(check: Callable[[Case], None], chosen: list[Case]) -> Callable[..., None]:
        def test(case: Case) -> None:
            check(case)

        return pytest.mark.parametrize("case", chosen, ids=str)(test)

    def on_device(check: Callable[[Case, str], None], chosen: list[Case]) -> Callable[..., None]:
        """The same for what runs on the device that --device names."""

        def test(case: Case, device: str) -> None:
            check(case, check_name(device))

        rows = [pytest.param(c, marks=[pytest.mark.slow] * c.slow, id=str(c)) for c in chosen if not c.off_device]
        return pytest.mark.needs("emulator")(pytest.mark.gpu(pytest.mark.parametrize("case", rows)(test)))

    differentiable = [c for c in cases if c.grad]
    half = [c for c in cases if c.half]  # a third each time on a device: every kernel has such tests of its own
    made = {
        "test_value": over(check_value, cases),
        "test_dtypes": over(check_dtypes, cases),
        "test_first_order": over(check_first_order, differentiable),
        "test_second_order": over(check_second_order, [c for c in differentiable if c.order >= 2]),
        "test_third_order": over(check_third_order, [c for c in differentiable if c.order >= 3]),
        "test_layouts": over(check_layouts, [c for c in differentiable if c.layouts]),
        "test_native": over(check_native, differentiable),
        "test_device": on_device(check_device, cases),
        "test_device_bfloat16": on_device(check_device_bfloat16, half[::3]),
        "test_device_bfloat16_of_others": pytest.mark.slow(
            on_device(check_device_bfloat16, [c for i, c in enumerate(half) if i % 3])
        ),
        "test_device_dtypes": pytest.mark.slow(on_device(check_device_dtypes, cases)),
        "test_device_second_order": on_device(check_device_second_order, [c for c in differentiable if c.order >= 2]),
        "test_device_layouts": on_device(check_device_layouts, [c for c in differentiable if c.layouts]),
        "CASES": cases,
    }
    return {name: test for name, test in made.items() if name == "CASES" or test.pytestmark[0].args[1]}
