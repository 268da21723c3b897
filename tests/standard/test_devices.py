"""The standard's functions on devices: what the CPU gives, on the device, with complex numbers refused by name."""

from __future__ import annotations

import functools

import numpy as np
import pytest

import weft
from standard.strict import same

pytestmark = pytest.mark.needs("emulator")
X = np.array([[3.0, -1, 0, 3], [2, 0, 5, -1], [3, 3, 0, 1]], np.float32)
I = np.array([2, 0, 1])  # noqa: E741
WHERE = np.array([[True, False, True, False]] * 3)
SORTED = np.array([-1, 0, 2, 3], np.float32)

CALLS = {
    "astype": lambda xp, x, i, m: weft.astype(x, weft.int32),
    "broadcast_arrays": lambda xp, x, i, m: weft.broadcast_arrays(x, x[:1]),
    "concat": lambda xp, x, i, m: weft.concat([x, x[1:]]),
    "count_nonzero": lambda xp, x, i, m: (weft.count_nonzero(x, axis=0), weft.count_nonzero(m, keepdims=True)),
    "cumulative_prod": lambda xp, x, i, m: (weft.cumulative_prod(x, axis=1), weft.cumulative_prod(i + 1)),
    "cumulative_sum": lambda xp, x, i, m: weft.cumulative_sum(x, axis=0, include_initial=True),
    "diff": lambda xp, x, i, m: weft.diff(x, n=2, prepend=x[:, :1]),
    "expand_dims": lambda xp, x, i, m: weft.expand_dims(x, axis=(0, 2)),
    "flip": lambda xp, x, i, m: weft.flip(x),
    "getitem": lambda xp, x, i, m: (x[m], x[i], x[i, None, ::-2], x[-1, ...]),
    "joined": lambda xp, x, i, m: weft.asarray([x[0], x[1]]),
    "meshgrid": lambda xp, x, i, m: weft.meshgrid(x[0], i, indexing="ij"),
    "moveaxis": lambda xp, x, i, m: weft.moveaxis(x, (0, 1), (1, 0)),
    "nonzero": lambda xp, x, i, m: (*weft.nonzero(x), *weft.nonzero(m)),
    "repeat": lambda xp, x, i, m: (weft.repeat(x, i, axis=0), weft.repeat(x, 2)),
    "reshape": lambda xp, x, i, m: (weft.reshape(x, (4, -1), copy=True), weft.reshape(x, (12,), copy=False)),
    "roll": lambda xp, x, i, m: weft.roll(x, (1, 2), axis=(0, 1)),
    "searchsorted": lambda xp, x, i, m: weft.searchsorted(xp(SORTED), x, side="right"),
    "sort": lambda xp, x, i, m: (weft.sort(x, axis=0), weft.argsort(x, descending=True)),
    "std": lambda xp, x, i, m: weft.std(x, axis=1, correction=1),
    "sum": lambda xp, x, i, m: (weft.sum(x, dtype=weft.float64), weft.prod(i, keepdims=True, dtype=weft.int32)),
    "take_along_axis": lambda xp, x, i, m: weft.take_along_axis(x, i[:, None], axis=1),
    "tile": lambda xp, x, i, m: weft.tile(x, (2, 1, 2)),
    "tril": lambda xp, x, i, m: (weft.tril(x, k=-1), weft.triu(x)),
    "unique": lambda xp, x, i, m: (*weft.unique_all(x), *weft.unique_counts(m), *weft.unique_inverse(i)),
    "where": lambda xp, x, i, m: weft.where(m, x, 2),
}  # fmt: skip


@pytest.mark.gpu
@pytest.mark.parametrize("name", CALLS)
def test_as_on_the_cpu(name, device):
    found = {}
    for where in ("cpu", device):
        xp = functools.partial(weft.asarray, device=where)
        out = CALLS[name](xp, xp(X), xp(I), xp(WHERE))
        found[where] = list(out) if isinstance(out, (tuple, list)) else [out]
        assert {x.device for x in found[where]} == {where}
    same(found[device], found["cpu"], name, exact=False)


@pytest.mark.gpu
def test_creation_on_a_device(device):
    for name, args in {"zeros": ((2,),), "ones": (3,), "empty": ((),), "full": ((2,), 7), "arange": (3,), "eye": (2, 3),
                       "linspace": (0, 1, 3), "asarray": ([1, 2],)}.items():  # fmt: skip
        x, on_cpu = getattr(weft, name)(*args, device=device), getattr(weft, name)(*args, device="cpu")
        assert (x.device, x.dtype, x.shape) == (device, on_cpu.dtype, on_cpu.shape), name
        if name != "empty":
            same(x, on_cpu, name)
        if name not in ("arange", "eye", "linspace", "asarray"):
            like = getattr(weft, f"{name}_like")
            assert like(x, *args[1:]).device == like(on_cpu, *args[1:], device=device).device == device
            assert like(x, *args[1:], device="cpu").device == "cpu"


@pytest.mark.gpu
def test_moving_and_copying(device):
    x = weft.asarray([1.0, 2.0], device="cpu")
    y = x.to_device(device)
    assert y.device == device and y.to_device(device) is y and y.to_device("cpu").tolist() == [1.0, 2.0]
    assert weft.asarray(y).device == weft.asarray(y, copy=True).device == weft.astype(x, x.dtype, device=device).device
    with pytest.raises(ValueError, match=f"asarray: expected copy allowed from {device} to cpu, got copy=False"):
        weft.asarray(y, device="cpu", copy=False)
    with pytest.raises(TypeError, match=f"add: expected both on one device, got cpu and {device}"):
        weft.add(x, y)
    with pytest.raises(TypeError, match="searchsorted: expected both on one device"):
        weft.searchsorted(x, y)


@pytest.mark.gpu
def test_moving_is_recorded(device):
    x = weft.Tensor(np.array([1.0, 2.0], "f"), requires_grad=True)
    weft.asarray(weft.asarray(x, device=device) * 3, device="cpu").sum().backward()
    assert x.grad.device == "cpu" and x.grad.tolist() == [3.0, 3.0]


COMPLEX = {
    "asarray": lambda x: weft.asarray(1j, device=x.device),
    "astype": lambda x: weft.astype(x, weft.complex64),
    "empty": lambda x: weft.empty((2,), dtype=weft.complex128, device=x.device),
    "full": lambda x: weft.full((2,), 1j, device=x.device),
    "like": lambda x: weft.zeros_like(x, dtype=weft.complex64),
    "multiply": lambda x: x * 1j,
    "numpy": lambda x: weft.asarray(np.array([1j]), device=x.device),
    "setitem": lambda x: x.__setitem__(0, 1j),
    "sum": lambda x: weft.sum(x, dtype=weft.complex64),
    "to_device": lambda x: weft.asarray([1j], device="cpu").to_device(x.device),
    "where": lambda x: weft.where(x > 0, x, 1j),
    "zeros": lambda x: weft.zeros((2,), dtype=weft.complex64, device=x.device),
}


@pytest.mark.gpu
@pytest.mark.parametrize("name", COMPLEX)
def test_complex_numbers_live_on_the_cpu(name, device):
    x = weft.asarray(np.ones(2, "f"), device=device)
    with pytest.raises(TypeError, match="expected (real numbers on|values that float32 can hold).*got complex"):
        COMPLEX[name](x)
