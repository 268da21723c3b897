"""index.cu: taking and adding by index against NumPy; what is out of range raises when values are waited for."""

from __future__ import annotations

import numpy as np
import pytest

import policy
from kernels.array_checks import BF16, ROUNDING, draw, dtype, on, runs, same  # noqa: F401
from kernels.checked import same_under_every_schedule
from weft.backends import emulator
from weft.backends.device import check_device
from weft.backends.gpu import flags, namespace

pytestmark = pytest.mark.gpu


@pytest.mark.sanitized
@pytest.mark.parametrize("index_type", ["i", "l", "B", "h"])
@pytest.mark.parametrize(("shape", "axis"), [((9, 16), 0), ((9, 5), 0), ((3, 9, 4), 1), ((2, 3, 9), -1), ((9,), 0)])
def test_take(shape, axis, index_type, device, rng):
    x, low = draw(rng, shape, "f"), 0 if index_type == "B" else -9
    for count in ((5, 3), (), (0,), (1,), (300,)):
        indices = rng.integers(low, 9, count).astype(index_type)
        same(namespace.take(on(device, x), on(device, indices), axis=axis), np.take(x, indices, axis=axis))


@pytest.mark.parametrize("char", "EdB?")
def test_take_moves_any_dtype(char, device, rng):
    for width in (1, 3, 8, 33):
        x, indices = draw(rng, (7, width), dtype(char)), rng.integers(-7, 7, 20)
        same(namespace.take(on(device, x), on(device, indices), axis=0), np.take(x, indices, axis=0))
        same(
            namespace.take(on(device, x)[::-2], on(device, indices % 4), axis=0), np.take(x[::-2], indices % 4, axis=0)
        )
        view, part = on(device, x)[:, 1:], x[:, 1:]
        same(namespace.take(view, on(device, indices), axis=0), np.take(part, indices, axis=0))


@pytest.mark.sanitized
def test_take_along_axis(device, rng):
    x = draw(rng, (3, 9, 4), "f")
    for axis, shape in (
        (1, (3, 5, 4)),
        (0, (6, 9, 4)),
        (-1, (3, 9, 2)),
        (1, (3, 0, 4)),
        (1, (1, 5, 4)),
        (1, (3, 2, 1)),
    ):
        indices = rng.integers(-x.shape[axis], x.shape[axis], shape)
        got = namespace.take_along_axis(on(device, x), on(device, indices), axis=axis)
        same(got, np.take_along_axis(x, indices, axis=axis))


@pytest.mark.parametrize("bad", [9, -10, 2**40])
def test_take_out_of_range(bad, device):
    x = on(device, np.ones((2, 9), "f"))
    out = namespace.take(x, on(device, np.array([0, bad, 3])), axis=1)
    message = rf"take: expected indices below 9 along axis 1 of shape \(2, 9\), got {bad} at position 1$"
    with pytest.raises(IndexError, match=message):
        out.get()
    same(out, np.array([[1, 0, 1]] * 2, "f"))  # said once; zeros stand for what is not there


def test_take_along_axis_out_of_range(device):
    x = on(device, np.ones((2, 9), "f"))
    out = namespace.take_along_axis(x, on(device, np.array([[3], [12]])), axis=1)
    with pytest.raises(IndexError, match=r"take_along_axis: expected indices within 9, got 12 at position \(1, 0\)"):
        out.sum().item()


def test_the_first_note_stays_and_each_device_has_its_own(device):
    x = on(device, np.ones(4, "f"))
    namespace.take(x, on(device, np.array([5])), axis=0)
    namespace.take(x.reshape(2, 2), on(device, np.array([7])), axis=0)
    flags.check("cpu")
    with pytest.raises(IndexError, match=r"take: expected indices below 4 along axis 0 of .*, got 5 at position 0"):
        flags.check(check_device(device))
    flags.check(check_device(device), every_stream=True)


def test_messages_give_their_number_away(device, monkeypatch):
    monkeypatch.setattr(flags, "MESSAGES", 2)
    monkeypatch.setattr(flags, "notes", [])
    monkeypatch.setattr(flags, "numbers", {})
    where = check_device(device)
    whats = [flags.raising(IndexError, where, f"message {i}", ())[1] for i in (0, 1, 2, 1, 3)]
    assert len(flags.notes) == 2 and len(flags.numbers) == 2 and whats[1] == whats[3] and whats[0] == whats[2]
    flags.check(where)


@pytest.mark.sanitized
@pytest.mark.parametrize("char", ["f", "E", "d", "i"])
@pytest.mark.parametrize(
    ("count", "width", "rows"), [(1000, 40, 7), (300, 3, 300), (5, 1, 2), (600, 33, 1), (129, 8, 2)]
)
def test_scatter_add(count, width, rows, char, device, rng):
    kind = dtype(char)
    g = draw(rng, (count, width), kind) if kind.kind != "i" else rng.integers(-99, 99, (count, width)).astype(kind)
    indices = rng.integers(0, rows, count)
    got = namespace.scatter_add(on(device, g), on(device, indices), rows=rows)
    exact, terms = np.zeros((rows, width)), np.zeros((rows, width))
    np.add.at(exact, indices, g.astype("d"))
    np.add.at(terms, indices, np.abs(g.astype("d")))
    assert got.dtype == kind and got.shape == (rows, width)
    unit = 0 if kind.kind == "i" else ROUNDING["f" if char == "E" else char]
    bound = 300 * unit * terms + 1.01 * ROUNDING.get(char, 0) * np.abs(exact)
    assert (np.abs(got.get().astype("d") - exact) <= bound).all()


def test_scatter_add_edges(device, rng):
    g, indices = draw(rng, (4, 3, 5), "f"), rng.integers(0, 6, (4, 3)).astype("i")
    expected = np.zeros((6, 5))
    np.add.at(expected, indices, g)
    np.testing.assert_allclose(
        namespace.scatter_add(on(device, g), on(device, indices), rows=6).get(), expected, rtol=1e-5, atol=1e-5
    )
    same(namespace.scatter_add(on(device, g[:0]), on(device, indices[:0]), rows=2), np.zeros((2, 5), "f"))
    out = namespace.scatter_add(on(device, g), on(device, indices + 1), rows=4)
    if (indices + 1).max() >= 4:
        with pytest.raises(IndexError, match=r"scatter_add: expected indices in \[0, 4\), got \d"):
            out.get()
    with pytest.raises(ValueError, match="scatter_add: expected g of shape"):
        namespace.scatter_add(on(device, g), on(device, indices[0]), rows=4)
    with pytest.raises(TypeError, match="scatter_add: expected integer indices, got float32"):
        namespace.scatter_add(on(device, g), on(device, np.ones((4, 3), "f")), rows=4)


def test_indexing(device, rng):
    """NumPy's rules over these kernels: arrays, masks, both beside slices, and writes."""
    x = draw(rng, (5, 6, 7), "f")
    X, i, j, mask = on(device, x), np.array([[3, -1], [0, 3]]), np.array([5, 0]), x[..., 0] > 0
    I, J, M = (on(device, v) for v in (i, j, mask))
    for ours, theirs in (
        (X[I], x[i]), (X[:, J], x[:, j]), (X[I, J], x[i, j]), (X[M], x[mask]), (X[X > 0], x[x > 0]),
        (X[1:, J, ::2], x[1:, j, ::2]), (X[2, J], x[2, j]), (X[..., J], x[..., j]),
    ):  # fmt: skip
        same(ours, theirs)
    X[M] = -1.0
    x[mask] = -1
    X[:, J] = X[:, J] * 2
    x[:, j] = x[:, j] * 2
    same(X, x)


def test_moving_axes_and_copies(device, rng):
    x = draw(rng, (3, 4, 5), "f")
    X = on(device, x)
    for ours, theirs in (
        (namespace.concat([X, X[:, :2]], axis=1), np.concat([x, x[:, :2]], axis=1)),
        (namespace.concat([X, X], axis=None), np.concat([x, x], axis=None)),
        (namespace.stack([X, X], axis=-1), np.stack([x, x], axis=-1)),
        (namespace.pad(X, ((1, 2), (0, 0), (3, 0)), value=2.0), np.pad(x, ((1, 2), (0, 0), (3, 0)), constant_values=2)),
        (namespace.repeat(X, 3, axis=1), np.repeat(x, 3, axis=1)),
        (namespace.repeat(X, 2), np.repeat(x, 2)),
        (namespace.tile(X, (2, 1, 3)), np.tile(x, (2, 1, 3))),
        (namespace.tile(X, 2), np.tile(x, 2)),
        (namespace.roll(X, (1, -2), axis=(0, 2)), np.roll(x, (1, -2), axis=(0, 2))),
        (namespace.roll(X, 7), np.roll(x, 7)),
        (namespace.flip(X, axis=1), np.flip(x, axis=1)),
        (namespace.flip(X), np.flip(x)),
        (namespace.moveaxis(X, 0, -1), np.moveaxis(x, 0, -1)),
        (namespace.moveaxis(X, (0, 1), (2, 0)), np.moveaxis(x, (0, 1), (2, 0))),
        (namespace.expand_dims(X, axis=(0, -1)), np.expand_dims(x, (0, -1))),
        (namespace.squeeze(X[:, :1], axis=1), np.squeeze(x[:, :1], axis=1)),
        (namespace.matrix_transpose(X), np.matrix_transpose(x)),
        (namespace.broadcast_to(X[:, :1], (2, 3, 4, 5)), np.broadcast_to(x[:, :1], (2, 3, 4, 5))),
        (namespace.diagonal(X, 1, 1, 2), np.diagonal(x, 1, 1, 2)),
        (namespace.reshape(namespace.matrix_transpose(X), (5, 12)), np.matrix_transpose(x).reshape(5, 12)),
        (namespace.sort(X, axis=1), np.sort(x, axis=1)),
        (namespace.argsort(X, axis=-1), np.argsort(x, axis=-1)),
        (namespace.sort(namespace.astype(X, BF16), axis=1), np.sort(x.astype(BF16), axis=1)),
        (namespace.argsort(namespace.astype(X, BF16)), np.argsort(x.astype(BF16), kind="stable")),
        (namespace.full_like(X, 3), np.full_like(x, 3)),
        (namespace.concat([X, namespace.astype(X, BF16)], axis=0).sum(axis=0).reshape(-1)[:0], np.zeros(0, "f")),
    ):
        same(ours, theirs)


@policy.needs("emulator")
def test_checked_under_every_schedule(rng):
    """No report, and the same bits: long runs of one index cross many chunks."""
    x, g = draw(rng, (9, 12), "f"), draw(rng, (700, 40), "f")
    indices = np.where(rng.random(700) < 0.6, 3, rng.integers(0, 9, 700))

    def run():
        X, G, I = on("emulated", x), on("emulated", g), on("emulated", indices)
        along = on("emulated", indices[:9].reshape(9, 1))
        outs = (namespace.take(X, I, axis=0), namespace.take_along_axis(X, along, axis=1))
        return [out.get() for out in (*outs, namespace.scatter_add(G, I, rows=9))]

    same_under_every_schedule(run)
    with emulator.settings(checked=True):
        out = namespace.take(on("emulated", x), on("emulated", np.array([1, 99])), axis=0)
        with pytest.raises(IndexError, match="got 99"):
            out.get()
