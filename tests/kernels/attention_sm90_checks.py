"""What the tests of attention_sm90.cu share: problems, their calls, and attention in float64."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from kernels.array_checks import ROUNDING, dtype, on
from weft.backends.gpu import attention_sm90, attention_sm90_backward
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
    highest = s.max(-1, keepdims=True, initial=-np.inf)
    highest = np.where(highest == -np.inf, 0, highest)
    e = np.exp(s - highest)
    z = e.sum(-1, keepdims=True)
    with np.errstate(divide="ignore"):
        return e / np.where(z == 0, 1, z), (highest + np.log(z))[..., 0]


def attended(w, v, heads):
    return w @ np.repeat(v, heads // v.shape[1], 1)


def close(out, exact, terms):
    """out in bfloat16 is exact, but for one rounding of its own and one of each weight. terms: exact, of sizes of v."""
    error = np.abs(out.astype("d") - exact)
    assert (error <= ROUNDING["E"] * (1.01 * np.abs(exact) + terms) + 1e-6).all(), (error.max(), terms.max())


def near(lse, exact, q, k, scale):
    """lse is exact, but for roundings to float32 of sums of products, of the exponential and of the logarithm."""
    np.testing.assert_array_equal(np.isinf(lse), np.isinf(exact))
    products = np.abs(scale * q) @ np.repeat(np.abs(k), q.shape[1] // k.shape[1], 1).swapaxes(2, 3)
    seen = np.isfinite(exact)
    rounding = ROUNDING["f"] * (q.shape[3] ** 0.5 * products.max(-1, initial=0) + 16)
    error = np.abs(lse[seen] - exact[seen])
    assert (error <= rounding[seen] + 2e-6 * np.abs(exact[seen])).all(), (error.max(), rounding.max())


def run(p, q, k, v, scale, device, *, tile=None, lie=lambda x: x, out=None, **until):
    """out and lse of the kernel; q, k, v lie in memory as `lie` puts them, out in that of `out` if it is given."""
    out = empty((*q.shape[:3], v.shape[3]), q.dtype, device) if out is None else out
    lse = empty(q.shape[:3], np.float32, device)
    q, k, v = (lie(on(device, x)) for x in (q, k, v))
    call = {"q": q, "k": k, "v": v, "out": out, "lse": lse, "queries_until": None, "keys_until": None, **until}
    attention_sm90.forward(SimpleNamespace(problem=p, scale=scale, **call), tile)
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
    near(lse, exact_lse, q.astype("d"), k.astype("d"), scale)
    assert not np.any(out[np.isinf(exact_lse)]), "rows that see nothing are 0"
    return out.tobytes() + lse.tobytes()


def check_varlen(lengths, device, *, heads=(2, 1), columns=(32, 32), visible=None, bottom_right=False, tile=TINY,
                 seed=None):  # fmt: skip
    """Sequences (queries, keys) one after the other, in memory that is poisoned behind them, each against float64."""
    queries, keys = zip(*lengths)
    shape = (1, *heads, sum(queries), sum(keys), *columns)
    q, k, v = draw(np.random.default_rng(seed), shape, "E")
    until = [np.cumsum([0, *n]).astype(np.int32) for n in (queries, keys)]
    longest = max(keys) if visible is None else visible
    p = problem(
        (len(lengths), *heads, max(queries), max(keys), *columns), visible=longest, varlen=True,
        bottom_right=bottom_right, causal=visible is not None,
    )  # fmt: skip
    poisoned = lambda x: np.concatenate([x, np.full((1, x.shape[1], 40, x.shape[3]), np.nan, x.dtype)], 2)
    out, lse = run(
        p, poisoned(q), poisoned(k), poisoned(v), 0.2, device, tile=tile,
        queries_until=on(device, until[0]), keys_until=on(device, until[1]),
    )  # fmt: skip
    for b, (n, m) in enumerate(lengths):
        rows, seen = slice(until[0][b], until[0][b + 1]), slice(until[1][b], until[1][b + 1])
        if not n:
            continue
        own_q, own_k, own_v = (x.astype("d") for x in (q[:, :, rows], k[:, :, seen], v[:, :, seen]))
        w, exact_lse = weights(own_q, own_k, longest + (m - n if bottom_right else 0), 0.2)
        close(out[:, :, rows], attended(w, own_v, heads[0]), attended(w, np.abs(own_v), heads[0]))
        near(lse[:, :, rows], exact_lse, own_q, own_k, 0.2)
    return out[:, :, : until[0][-1]].tobytes() + lse[:, :, : until[0][-1]].tobytes()


# -- gradients --------------------------------------------------------------------------------------------------------

TINY_BACKWARD = (attention_sm90_backward.Tile(32, 2), attention_sm90_backward.Tile(32, 2))


def gradients(q, k, v, g, visible, scale, rounded):
    """gq, gk, gv in float64, or, `rounded` to a dtype between any two operations, in float32."""
    narrow = (lambda x: x) if rounded is None else (lambda x: x.astype(rounded).astype("f"))
    q, k, v, g = (x.astype("d" if rounded is None else "f") for x in (q, k, v, g))
    heads, group = q.shape[1], q.shape[1] // k.shape[1]
    w = narrow(weights(q, k, visible, scale)[0])
    kh, vh = np.repeat(k, group, 1), np.repeat(v, group, 1)
    gv = w.swapaxes(2, 3) @ g
    delta = (narrow(w @ vh) * g).sum(-1, keepdims=True)
    gs = narrow(w * (narrow(g @ vh.swapaxes(2, 3)) - delta)) * scale
    gk = gs.swapaxes(2, 3) @ q
    fold = lambda x: x.reshape(x.shape[0], heads // group, group, *x.shape[2:]).sum(2)
    return [narrow(x.astype(q.dtype)) for x in (gs @ kh, fold(gk), fold(gv))]


def check_backward(shape, device, *, char="E", visible=None, seed=None, tiles=None, lie=lambda x: x):
    """Each gradient within twice the error of one whose every array is rounded to 16 bits, in mean square too."""
    p, kind = problem(shape, char, visible), dtype(char)
    rng = np.random.default_rng(seed)
    q, k, v = draw(rng, shape, char)
    g = rng.standard_normal((*q.shape[:3], shape[6])).astype(kind)
    scale = float(shape[5] ** -0.5)
    w, lse = weights(q.astype("d"), k.astype("d"), p.visible, scale)
    out = attended(w, v.astype("d"), p.heads)
    logs = np.where(np.isinf(lse), np.inf, lse / np.log(2)).astype("f")
    deltas = (out * g.astype("d")).sum(-1).astype("f")
    found = [empty(x.shape, kind, device) for x in (q, k, v)]
    for x in found:
        x.fill(np.nan)
    call = SimpleNamespace(problem=p, scale=scale, **{n: lie(on(device, x)) for n, x in zip("qkv", (q, k, v))})
    arrays = dict(zip(("gq", "gk", "gv"), found), logs=on(device, logs), deltas=on(device, deltas))
    attention_sm90_backward.run(SimpleNamespace(call=call, g=lie(on(device, g)), **arrays), tiles)
    exact = gradients(q, k, v, g, p.visible, scale, None)
    narrow = gradients(q, k, v, g, p.visible, scale, kind)
    for name, got, e, n in zip(("gq", "gk", "gv"), found, exact, narrow):
        got = got.get().astype("d")
        size = np.abs(e).max()
        worst, bound = np.abs(got - e).max(), 2 * np.abs(n - e).max() + 2 * ROUNDING[char] * size
        assert worst <= bound, (name, worst, bound)
        spread, usual = np.sqrt(np.mean((got - e) ** 2)), np.sqrt(np.mean((n - e) ** 2))
        assert spread <= 2 * usual + ROUNDING[char] * size, (name, spread, usual)
    return b"".join(x.get().tobytes() for x in found)
