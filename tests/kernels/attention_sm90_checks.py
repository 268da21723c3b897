"""What the tests of attention_sm90.cu share: problems, their calls, and attention in float64."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from kernels.array_checks import ROUNDING, dtype, on
from weft.backends.gpu import attention_sm90
from weft.backends.gpu.array import empty

WIDTHS = (32, 64, 96, 128, 160, 192, 256)
#: Not shipped: as small as the kernel's structure allows, for many runs in checked mode.
TINY = attention_sm90.Tile(2, 32)


def problem(shape, char="E", visible=None, capability=90, **options):
    """shape: batch, heads, heads of keys, queries, keys, columns of q and k, columns of v."""
    batch, heads, key_heads, queries, keys, head, head_v = shape
    visible = keys if visible is None else visible
    padded, padded_v = (next(w for w in WIDTHS if n <= w) for n in (head, head_v))
    made = {
        "dtype": dtype(char).name, "batch": batch, "heads": heads, "key_heads": key_heads, "queries": queries,
        "keys": keys, "head": head, "head_v": head_v, "visible": visible, "causal": visible < keys,
        "capability": capability, "mask": "", "dropout": False, "varlen": False, "bottom_right": False,
        "padded": padded, "padded_v": padded_v,
    }  # fmt: skip
    return SimpleNamespace(**{**made, **options})


def draw(rng, shape, char, scale=1.0):
    """q, k, v."""
    batch, heads, key_heads, queries, keys, head, head_v = shape
    shapes = ((batch, heads, queries, head), (batch, key_heads, keys, head), (batch, key_heads, keys, head_v))
    return [(scale * rng.standard_normal(s)).astype(dtype(char)) for s in shapes]


def weights(q, k, visible, scale):
    """The softmax's weights (B, H, S, T) and the logarithm of its denominator, in q's dtype."""
    queries, keys = q.shape[2], k.shape[2]
    s = q * q.dtype.type(scale) @ np.repeat(k, q.shape[1] // k.shape[1], 1).swapaxes(2, 3)
    s = np.where(np.arange(keys) < np.arange(queries)[:, None] + visible, s, -np.inf)
    highest = s.max(-1, keepdims=True)
    highest = np.where(highest == -np.inf, 0, highest)
    e = np.exp(s - highest)
    z = e.sum(-1, keepdims=True)
    with np.errstate(divide="ignore"):
        return e / np.where(z == 0, 1, z), (highest + np.log(z))[..., 0]


def attended(w, v, heads):
    return w @ np.repeat(v, heads // v.shape[1], 1)


def run(p, q, k, v, scale, device, *, tile=None, lie=lambda x: x, out=None):
    """out and lse of the kernel; q, k, v lie in memory as `lie` puts them, out in that of `out` if it is given."""
    out = empty((*q.shape[:3], v.shape[3]), q.dtype, device) if out is None else out
    lse = empty(q.shape[:3], np.float32, device)
    q, k, v = (lie(on(device, x)) for x in (q, k, v))
    attention_sm90.forward(SimpleNamespace(problem=p, q=q, k=k, v=v, out=out, lse=lse, scale=scale), tile)
    return out.get(), lse.get()


def check(shape, device, *, char="E", visible=None, seed=None, spread=1.0, **options):
    """The kernel within twice the error of an attention in float32 whose weights and result are rounded to 16 bits."""
    p = problem(shape, char, visible)
    q, k, v = draw(np.random.default_rng(seed), shape, char, spread)
    scale = float(shape[5] ** -0.5)
    out, lse = run(p, q, k, v, scale, device, **options)
    w, exact_lse = weights(q.astype("d"), k.astype("d"), p.visible, scale)
    exact = attended(w, v.astype("d"), p.heads)
    w, _ = weights(q.astype("f"), k.astype("f"), p.visible, scale)
    narrow = attended(w.astype(q.dtype).astype("f"), v.astype("f"), p.heads).astype(q.dtype)
    assert out.dtype == q.dtype and out.shape == exact.shape and lse.dtype == np.float32
    error = np.abs(out.astype("d") - exact).max()
    bound = 2 * np.abs(narrow.astype("d") - exact).max() + ROUNDING[char] * np.abs(exact).max()
    assert error <= bound, (error, bound)
    np.testing.assert_array_equal(np.isinf(lse), np.isinf(exact_lse))
    seen = np.isfinite(exact_lse)
    np.testing.assert_allclose(lse[seen], exact_lse[seen], rtol=1e-5, atol=1e-5)
    assert not np.any(out[~seen]), "rows that see nothing are 0"
    return out.tobytes() + lse.tobytes()
