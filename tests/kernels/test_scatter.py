"""scatter.cu: indices sorted stably, and the rows of each added in order; against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

import policy
from kernels.array_checks import ROUNDING, draw, dtype, on, runs, same  # noqa: F401
from kernels.checked import same_under_every_schedule
from opcheck import never_waiting
from weft.backends import reference as K
from weft.backends.gpu import flags
from weft.backends.gpu.embedding import stable_order

pytestmark = pytest.mark.gpu


DRAWN = {
    "few": lambda rng, n, rows: rng.integers(0, min(rows, 3), n),
    "any": lambda rng, n, rows: rng.integers(0, rows, n),
    "one": lambda rng, n, rows: np.full(n, rows - 1),
    "mostly one": lambda rng, n, rows: np.where(rng.random(n) < 0.7, rows // 2, rng.integers(0, rows, n)),
    "falling": lambda rng, n, rows: np.arange(n)[::-1] * (rows - 1) // max(n - 1, 1),
}


@pytest.mark.sanitized
@pytest.mark.parametrize("char", "il")
@pytest.mark.parametrize(
    ("count", "rows"), [(1, 1), (5, 255), (2048, 256), (2049, 257), (4500, 70000), (2100, 1 << 25)]
)
@pytest.mark.parametrize("drawn", DRAWN)
def test_the_order_is_stable(drawn, count, rows, char, device, rng):
    """Equal indices keep their order, through tiles and passes of eight bits."""
    indices = DRAWN[drawn](rng, count, rows).astype(char)
    there = on(device, indices)
    keys, order = stable_order(there, rows, flags.raising(IndexError, there.device_name, "", (there.size,)))
    want = np.argsort(indices, kind="stable")
    same(order, want.astype(np.uint32))
    same(keys, indices[want].astype(np.uint32))


@pytest.mark.parametrize("char", ["f", "e", "E", "d", "i"])
@pytest.mark.parametrize("drawn", DRAWN)
def test_sums(drawn, char, device, rng):
    """Rows of whole vectors and of rests, runs within chunks and over many of them."""
    kind = dtype(char)
    for count, width, rows in ((700, 40, 9), (130, 3, 300), (33, 300, 5), (400, 1, 2)):
        g = draw(rng, (count, width), kind) if char != "i" else rng.integers(-99, 99, (count, width)).astype(kind)
        indices = DRAWN[drawn](rng, count, rows)
        there = on(device, g), on(device, indices)
        assert K.scatter_add.select(there) is not K.scatter_add.reference
        with never_waiting():
            got = K.scatter_add(*there, rows=rows)
        exact, terms = np.zeros((rows, width)), np.zeros((rows, width))
        np.add.at(exact, indices, g.astype("d"))
        np.add.at(terms, indices, np.abs(g.astype("d")))
        assert got.dtype == kind and got.shape == (rows, width)
        unit = 0 if char == "i" else ROUNDING["f" if char in "eE" else char]
        reference = K.scatter_add.reference(g, indices, rows=rows) if char != "i" else exact
        allowed = 2 * np.abs(reference.astype("d") - exact).max() + 8 * unit * terms
        allowed = allowed + 1.01 * ROUNDING.get(char, 0) * np.abs(exact)
        assert (np.abs(got.get().astype("d") - exact) <= allowed).all()


def test_long_chunks(device, rng, monkeypatch):
    """A warp takes more than 32 places where there are enough of them; the same sums in another grouping."""
    monkeypatch.setattr("weft.backends.gpu.embedding.FILLING", 4)
    g, indices = rng.integers(-9, 9, (1000, 5)).astype("f"), rng.integers(0, 6, 1000)
    want = np.zeros((6, 5), "f")
    np.add.at(want, indices, g)  # whole numbers: every order gives the same
    same(K.scatter_add(on(device, g), on(device, indices), rows=6), want)


@pytest.mark.parametrize("bad", [-1, 6, 2**40])
def test_out_of_range(bad, device, rng):
    """Noted, and no other row suffers."""
    g, indices = rng.standard_normal((50, 4)).astype("f"), rng.integers(0, 6, 50)
    indices[17] = bad
    out = K.scatter_add(on(device, g), on(device, indices), rows=6)
    with pytest.raises(IndexError, match=rf"scatter_add: expected indices in \[0, 6\), got {bad} at position 17$"):
        out.get()
    want = np.zeros((6, 4))
    np.add.at(want, np.delete(indices, 17), np.delete(g, 17, 0).astype("d"))
    np.testing.assert_allclose(out.get(), want, rtol=1e-5, atol=1e-5)


@policy.needs("emulator")
def test_checked_under_every_schedule(rng):
    """No report, and the same bits: runs of one index cross many chunks, and tiles."""
    g = rng.standard_normal((2100, 8)).astype("f")
    indices = DRAWN["mostly one"](rng, 2100, 300)

    def run():
        return K.scatter_add(on("emulated", g), on("emulated", indices), rows=300).get()

    same_under_every_schedule(run)
