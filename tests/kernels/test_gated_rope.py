"""gated.cu and rope.cu against their references in float64, in the memory that models use."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import policy
from kernels.array_checks import ROUNDING, draw, dtype, on, runs  # noqa: F401
from kernels.checked import same_under_every_schedule
from weft.backends import emulator
from weft.backends import reference as K
from weft.backends.gpu import walk
from weft.backends.gpu.gated import ACTIVATIONS

pytestmark = pytest.mark.gpu

CHARS = ["f", "e", "E", "d"]


def close(got, exact, reference):
    """Within twice the error of the reference in the same precision, and one rounding."""
    value = got.get()
    assert value.dtype == reference.dtype and value.shape == exact.shape
    unit = ROUNDING[value.dtype.char]
    allowed = 2 * np.abs(reference.astype("d") - exact).max(initial=0) + 1.01 * unit * np.abs(exact)
    computed = 256 * ROUNDING["d"] if value.dtype.char == "d" else 4 * ROUNDING["f"]  # float64 has no wider judge
    allowed = allowed + computed * np.abs(exact).max(initial=9)  # products of up to 3 by 3 may cancel
    assert (np.abs(value.astype("d") - exact) <= allowed).all()


#: Shapes of one operand: vectors, rests, one number, nothing.
SHAPES = [(5, 64), (3, 7), (2, 3, 16), (1,), (0, 8)]


def in_turn(case):
    """Each activation in float32 and in one more type, which is another for the next."""
    activation, char = case
    return char == "f" or (list(ACTIVATIONS).index(activation) + CHARS.index(char)) % 3 == 0


@pytest.mark.sanitized
@pytest.mark.parametrize("case", policy.mostly_slow(itertools.product(ACTIVATIONS, CHARS), in_turn), ids="-".join)
def test_gated(case, device, rng):
    activation, char = case
    for shape in SHAPES:
        g, x, gate = (draw(rng, shape, dtype(char), -3, 3) for _ in range(3))
        there = [on(device, a) for a in (g, x, gate)]
        wide = [a.astype("d") for a in (g, x, gate)]
        assert K.gated.select(tuple(there[1:])) is not K.gated.reference
        reference = K.gated.reference(x, gate, activation=activation)
        close(
            K.gated(*there[1:], activation=activation), K.gated.reference(*wide[1:], activation=activation), reference
        )
        o = {"activation": activation, "joined": None}
        for got, exact, same in zip(
            K.gated_backward(*there, **o), K.gated_backward.reference(*wide, **o),
            K.gated_backward.reference(g, x, gate, **o), strict=True,
        ):  # fmt: skip
            close(got, exact, same)


@pytest.mark.parametrize("char", ["f", "E"])
@pytest.mark.parametrize(("shape", "axis"), [((4, 32), 1), ((4, 6), 1), ((6, 16), 0), ((2, 8, 24), 1), ((2, 4, 3), 1)])
def test_halves_of_one_array(shape, axis, char, device, rng):
    """Operands are views, and the gradients come as one array."""
    both, n = draw(rng, shape, dtype(char)), shape[axis] // 2
    halves = lambda a: [a[(*[slice(None)] * axis, part)] for part in (slice(0, n), slice(n, None))]
    x, gate = halves(both)
    g = draw(rng, x.shape, dtype(char))
    there = halves(on(device, both))
    close(
        K.gated(*there, activation="silu"), K.gated.reference(x.astype("d"), gate.astype("d"), activation="silu"),
        K.gated.reference(x, gate, activation="silu"),
    )  # fmt: skip
    o = {"activation": "silu", "joined": axis}
    got = K.gated_backward(on(device, g), *there, **o)
    assert got.shape == shape
    close(
        got, K.gated_backward.reference(*[a.astype("d") for a in (g, x, gate)], **o),
        K.gated_backward.reference(g, x, gate, **o),
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["transposed", "gaps", "backwards", "repeated"])
def test_gated_memory(kind, device, rng):
    g, x, gate = (draw(rng, (6, 16), np.dtype("f")) for _ in range(3))

    def lying(a):
        if kind == "transposed":
            return on(device, a.T.copy()).T
        if kind == "gaps":
            return on(device, np.repeat(a, 2, 1))[:, ::2]
        if kind == "backwards":
            return on(device, a[:, ::-1].copy())[:, ::-1]
        return on(device, a[:1].copy()).broadcast_to(a.shape)

    if kind == "repeated":
        g, x, gate = (np.broadcast_to(a[:1], a.shape) for a in (g, x, gate))
    exact = [a.astype("d") for a in (g, x, gate)]
    want = K.gated.reference(*exact[1:], activation="gelu")
    np.testing.assert_allclose(K.gated(lying(x), lying(gate), activation="gelu").get(), want, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(K.gated(lying(x), on(device, gate), activation="gelu").get(), want, rtol=1e-5, atol=1e-6)
    for joined in (None, 0, 1):
        got = K.gated_backward(lying(g), lying(x), on(device, gate), activation="gelu", joined=joined)
        want = K.gated_backward.reference(*exact, activation="gelu", joined=joined)
        for a, b in zip(got, want) if joined is None else [(got, want)]:
            np.testing.assert_allclose(a.get(), b, rtol=1e-5, atol=1e-6)


def tables(rng, length, half, char):
    angles = rng.uniform(-7, 7, (length, half))
    return np.cos(angles).astype(dtype(char)), np.sin(angles).astype(dtype(char))


@pytest.mark.sanitized
@pytest.mark.parametrize("char", CHARS)
@pytest.mark.parametrize("shape", [(2, 3, 5, 32), (7, 64), (2, 1, 4, 6), (3, 2), (2, 0, 8), (2, 4, 2, 3, 16)])
def test_rope(shape, char, device, rng):
    for table in dict.fromkeys(("f", char)):
        x, (cos, sin) = draw(rng, shape, dtype(char)), tables(rng, shape[-2], shape[-1] // 2, table)
        there = [on(device, a) for a in (x, cos, sin)]
        assert K.rope.select(tuple(there)) is not K.rope.reference
        exact = K.rope.reference(*[a.astype("d") for a in (x, cos, sin)])
        close(K.rope(*there), exact, K.rope.reference(x, cos, sin))


@pytest.mark.parametrize("char", ["f", "E"])
@pytest.mark.parametrize("kind", ["heads", "gaps", "backwards", "shifted"])
def test_rope_memory(kind, char, device, rng):
    """Heads that were cut out of one product lie between each other; the result lies as they do."""
    x, (cos, sin) = draw(rng, (2, 3, 5, 16), dtype(char)), tables(rng, 5, 8, "f")
    if kind == "heads":
        there = on(device, x.transpose(0, 2, 1, 3).copy()).transpose(0, 2, 1, 3)
    elif kind == "gaps":
        there = on(device, np.repeat(x, 2, 3))[..., ::2]
    elif kind == "backwards":
        there = on(device, x[..., ::-1].copy())[..., ::-1]
    else:
        there = on(device, np.concatenate([x[:1].ravel()[:1], x.ravel()]))[1:].reshape(x.shape)
    got = K.rope(there, on(device, cos), on(device, sin))
    if kind == "heads":
        assert got.transpose(0, 2, 1, 3).flags.c_contiguous
    close(got, K.rope.reference(*[a.astype("d") for a in (x, cos, sin)]), K.rope.reference(x, cos, sin))


@policy.needs("emulator")
@pytest.mark.parametrize("char", ["f", "E"])
def test_checked_under_every_schedule(char, rng):
    """No report, and the same bits."""
    g, x, gate = (draw(rng, (9, 40), dtype(char)) for _ in range(3))
    cos, sin = tables(rng, 9, 20, "f")

    def run():
        there = [on("emulated", a) for a in (g, x, gate)]
        found = [K.gated(*there[1:], activation="gelu"), K.rope(there[0], on("emulated", cos), on("emulated", sin))]
        found.append(K.gated_backward(*there, activation="gelu", joined=1))
        return found

    same_under_every_schedule(run)


@policy.needs("emulator")
def test_threads_take_several_turns(rng, monkeypatch):
    """More vectors than threads, and each of them once: a second writer would be a race."""
    monkeypatch.setattr(walk, "FILLING", 1)
    walk.walk.cache_clear()
    g, x, gate = (draw(rng, (9, 300), np.dtype("f")) for _ in range(3))
    cos, sin = tables(rng, 9, 150, "f")
    o = {"activation": "silu", "joined": 1}
    with emulator.settings(checked=True):
        there = [on("emulated", a) for a in (g, x, gate)]
        got = K.gated_backward(*there, **o), K.rope(there[0], on("emulated", cos), on("emulated", sin))
    walk.walk.cache_clear()
    np.testing.assert_allclose(got[0].get(), K.gated_backward.reference(g, x, gate, **o), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(got[1].get(), K.rope.reference(g, cos, sin), rtol=1e-5, atol=1e-5)
