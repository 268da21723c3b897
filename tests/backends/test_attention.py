"""The fast entries of attention, rope and scatter_add against their references in float64, on every instruction set."""

import os
import subprocess
import sys

import numpy as np
import pytest

import weft
from policy import needs
from weft.backends import reference as K

pytestmark = needs("native")

CONFIGS = range(60)
DIGEST = """
import sys, zlib
from backends.test_attention import CONFIGS, problem, run
print(*[zlib.crc32(b"".join(a.tobytes() for a in run(*problem(i)))) for i in CONFIGS[::3]])
"""
CHECK = """
from backends.test_attention import CONFIGS, check
for i in CONFIGS[::4]:
    check(i)
"""


def problem(i):
    """Arrays (g, q, k, v, mask) and parameters: odd lengths, groups of heads, masks of every kind, dropout, strides."""
    rng = np.random.default_rng(i)
    B, Hkv, group = (int(n) for n in rng.integers(1, 4, 3))
    S, T = int(rng.integers(1, 150)), int(rng.integers(2, (40, 300, 700)[i % 3]))
    D, Dv = (64, 64) if i % 4 == 0 else (int(n) for n in rng.integers(1, 70, 2))
    H = Hkv * group

    def heads(count, length, width):
        if i % 2:
            return rng.standard_normal((B, count, length, width)).astype(np.float32)
        return rng.standard_normal((B, length, count, width)).astype(np.float32).swapaxes(1, 2)  # as from (B, T, H * D)

    g, q, k, v = heads(H, S, Dv), heads(H, S, D), heads(Hkv, T, D), heads(Hkv, T, Dv)
    mask, kind = None, i % 5
    if kind:
        shape = [n if rng.random() < 0.6 else 1 for n in (B, H, S, T)][int(rng.integers(0, 3)) :]
        mask = rng.standard_normal(shape).astype(np.float32)
        if kind == 1:
            mask = mask > -0.5
            mask[..., : max(1, mask.shape[-2] // 3), :] = False  # rows that see nothing
        elif kind == 2:
            mask = np.where(mask < -1, -np.inf, mask).astype(np.float32)
    dropout = 0.2 if i % 3 == 1 else 0.0
    params = {"scale": D**-0.5, "causal": i % 7 < 3, "dropout": dropout, "seed": 2**40 + i, "offset": 4 * i}
    return (g, q, k, v, mask), params


def run(arrays, params):
    g, q, k, v, mask = arrays
    out, lse = K.attention(q, k, v, mask, **params)
    return out, lse, *K.attention_backward(g, q, k, v, mask, out, lse, **params)


def check(i):
    arrays, params = problem(i)
    got = run(arrays, params)
    exact = [a if a is None or a.dtype == bool else a.astype(np.float64) for a in arrays]
    g, q, k, v, mask = exact
    out, lse = K.attention.reference(q, k, v, mask, **params)
    want = out, lse, *K.attention_backward.reference(g, q, k, v, mask, out, lse, **params)
    for name, a, b in zip(("out", "lse", "gq", "gk", "gv"), got, want):
        assert a.shape == b.shape and a.dtype == np.float32
        finite = np.isfinite(b)
        np.testing.assert_array_equal(np.isfinite(a), finite, f"{name} of {i}")
        worst = np.abs(a[finite] - b[finite]).max(initial=0)
        assert worst <= 2e-5 * max(0.5, np.abs(b[finite]).max(initial=0)), f"{name} of problem {i}: off by {worst}"


@pytest.mark.parametrize("i", CONFIGS)
def test_against_reference(i):
    arrays, params = problem(i)
    assert weft.which("attention", *arrays[1:]) == "cpu.attention"
    check(i)


def elsewhere(script, **settings):
    path = [os.path.dirname(os.path.dirname(__file__)), *sys.path]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in path if p), **settings}
    return subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)


def test_every_instruction_set():
    """All but this process's own, which test_against_reference runs."""
    from weft import _cpu

    for isa in set(_cpu.supported_isas()) - {_cpu.isa()}:
        elsewhere(CHECK, WEFT_ISA=isa)


def test_same_bits_for_every_number_of_threads():
    """Few heads are divided by rows and keys, many are not: no sum may change its order."""
    digests = {elsewhere(DIGEST, WEFT_NUM_THREADS=n).stdout for n in ("1", "2", "7")}
    assert len(digests) == 1


MEMORY = """
import resource, numpy as np
from weft.backends import reference as K
S = 8192
rng = np.random.default_rng(0)
q, k, v = (rng.standard_normal((1, 2, S, 32), dtype=np.float32) for _ in range(3))
params = {"scale": 0.2, "causal": True, "dropout": 0.1, "seed": 0, "offset": 0}
small = [x[:, :, :64] for x in (q, k, v)]
out, lse = K.attention(*small, None, **params)
K.attention_backward(out, *small, None, out, lse, **params)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
out, lse = K.attention(q, k, v, None, **params)
K.attention_backward(out, q, k, v, None, out, lse, **params)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_memory_is_linear_in_the_length():
    """Forward and backward over 8192 keys take less than a tenth of one S x S matrix of floats (256 MiB)."""
    grown = int(elsewhere(MEMORY, WEFT_NUM_THREADS="2").stdout)  # KiB
    assert grown < 25 * 1024


def test_broadcast_inputs():
    """Heads that share memory (stride 0), and rows in reverse."""
    rng = np.random.default_rng(0)
    k = np.broadcast_to(rng.standard_normal((2, 1, 9, 16), dtype=np.float32), (2, 3, 9, 16))
    q = rng.standard_normal((2, 3, 9, 16), dtype=np.float32)[:, :, ::-1]
    params = {"scale": 0.25, "causal": False, "dropout": 0.0, "seed": 0, "offset": 0}
    got = run((q, q, k, k, None), params)
    wide = [x.astype(np.float64) for x in (q, q, k, k)]
    out, lse = K.attention.reference(*wide[1:], None, **params)
    want = out, lse, *K.attention_backward.reference(*wide, None, out, lse, **params)
    for a, b in zip(got, want):
        np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("shape", [(7, 40), (3, 100, 33), (2000, 8), (500, 300)])
@pytest.mark.parametrize("rows", [1, 17, 3000])
def test_scatter_add_is_the_reference_bit_for_bit(shape, rows):
    rng = np.random.default_rng(0)
    g, indices = rng.standard_normal(shape, dtype=np.float32), rng.integers(0, rows, shape[:-1])
    assert weft.which("scatter_add", g, indices) == "cpu.embedding"
    np.testing.assert_array_equal(K.scatter_add(g, indices, rows=rows), K.scatter_add.reference(g, indices, rows=rows))


def test_scatter_add_refuses_indices_out_of_range():
    with pytest.raises(IndexError, match=r"\[0, 3\), got 3 at position 1"):
        K.scatter_add(np.ones((2, 4), np.float32), np.array([0, 3]), rows=3)


@pytest.mark.parametrize("shape", [(5, 8), (3, 70, 64), (2, 3, 11, 6), (2, 2, 3, 5, 32)])
def test_rope(shape):
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape, dtype=np.float32)
    cos, sin = rng.standard_normal((2, shape[-2], shape[-1] // 2), dtype=np.float32)
    views = [x, x[..., ::-1, :], np.ascontiguousarray(x.swapaxes(0, -2)).swapaxes(0, -2)]
    for view in views:
        assert weft.which("rope", view, cos, sin) == "cpu.attention"
        np.testing.assert_allclose(K.rope(view, cos, sin), K.rope.reference(view, cos, sin), atol=2e-6)


def test_extension_checks_what_it_is_given():
    """Whatever reaches the extension, it raises or stays inside the arrays."""
    from weft import _cpu

    q = np.zeros((1, 2, 3, 4), np.float32)
    good = {"q": q, "k": q, "v": q, "mask": None, "out": q.copy(), "scale": 1.0, "causal": False, "dropout": None}
    bad = [
        {"q": q[0]}, {"k": q[:, :, :2]}, {"k": q[:, :1].repeat(3, 1)}, {"v": q.astype(np.float64)},
        {"q": np.zeros((1, 2, 3, 8), np.float32)[..., ::2]}, {"mask": np.ones((3, 4), bool)},
        {"mask": np.ones((1, 1, 1, 1, 3), bool)}, {"mask": np.ones((3, 3), np.int32)}, {"out": q[:, :, :2].copy()},
    ]  # fmt: skip
    frozen = q.copy()
    frozen.flags.writeable = False
    for change in (*bad, {"out": frozen}):
        with pytest.raises((ValueError, TypeError)):
            _cpu.attention(**{**good, **change})
