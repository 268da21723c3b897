"""What every test of the attention kernels does: draw a problem, run it on the emulated device, compare with float64.

The error against float64 may be twice that of attention written out in the same precision (every array between two
operations rounded to the dtype), plus one rounding of the result. Outputs are poisoned.
"""

from __future__ import annotations

import ml_dtypes
import numpy as np

from weft.backends import reference as K
from weft.backends.gpu import attention as device
from weft.backends.gpu import attention_backward
from weft.backends.gpu.array import from_host
from weft.backends.reference.attention import drop, per_group, per_head

DTYPES = {"float32": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
#: Half a unit in the last place, relative.
ROUNDING = {"float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
#: Of sums of products of normal numbers that cancel in part, in float32; times what scores are past normal ones, whose
#: roundings exp makes relative errors of the weights.
FLOOR = 2e-6
MASKS = ("", "bool", "rows", "keys", "added", "added32", "heads")


def label(x):
    """Of a parameter in the name of a test."""
    return getattr(x, "name", str(x))


def in_turn(case):
    """Of (dtype, mask, dropout): each mask in each type, every second with dropout, others in the next type."""
    dtype, mask, dropout = case
    return (list(DTYPES).index(dtype) + MASKS.index(mask)) % 2 == bool(dropout)


def in_words(case):
    return "-".join(map(str, case))


def draw(rng, shape, dtype, order=(0, 1, 2, 3), margin=0):
    """(values, device array of them): axes lie in memory in `order`, rows `margin` elements longer than they are."""
    values = rng.standard_normal(shape).astype(np.float32).astype(dtype)
    stored = np.zeros((*[shape[i] for i in order[:3]], shape[3] + margin), dtype)
    stored[..., : shape[3]] = values.transpose(order)
    back = tuple(int(i) for i in np.argsort(order))
    return values, from_host(stored)[..., : shape[3]].transpose(back)


def draw_mask(rng, kind, B, H, S, T, dtype):
    """A mask of MASKS: where it broadcasts, and what it holds."""
    if not kind:
        return None
    shape = {"rows": (S, 1), "keys": (B, 1, 1, T), "heads": (H, S, T)}.get(kind, (B, 1, S, T))
    if kind.startswith("added") or kind == "heads":
        mask = np.where(rng.random(shape) < 0.1, -np.inf, rng.standard_normal(shape))
        return mask.astype(np.float32 if kind == "added32" else dtype)
    mask = rng.random(shape) < 0.7
    if S > 2 and mask.shape[-2] > 1:
        mask[..., 1, :] = False  # a row that sees no key
    return mask


def written_out(
    q, k, v, mask, g, *, scale, causal, causal_offset, dropout, seed, offset, dtype, order=0
):  # fmt: skip
    """(out, gq, gk, gv) with every array between two operations rounded to dtype; order: of sums, 0 as terms lie."""

    def narrow(x):
        return x.astype(dtype).astype(np.float32)

    def along(n):
        return np.random.default_rng(order).permutation(n) if order else slice(None)

    def product(a, b):
        at = along(a.shape[-1])
        return narrow(a[..., at] @ b[..., at, :])

    def total(x):
        return x[..., along(x.shape[-1])].sum(-1, keepdims=True)

    H, S, T = q.shape[1], q.shape[2], k.shape[2]
    q, k, v, g = (x.astype(np.float32) for x in (q, k, v, g))
    kh, vh = per_head(np, k, H), per_head(np, v, H)
    scores = product(narrow(q * np.float32(scale)), kh.swapaxes(-1, -2))
    if mask is not None:
        scores = np.where(mask, scores, -np.inf) if mask.dtype == bool else narrow(scores + mask.astype(np.float32))
    if causal:
        scores = np.where(np.tri(S, T, causal_offset, dtype=bool), scores, -np.inf)
    largest = scores.max(axis=-1, keepdims=True, initial=-np.inf)
    largest = np.where(np.isinf(largest), 0, largest)
    e = np.exp(scores - largest)
    divisor = total(e)
    divisor[divisor == 0] = 1
    weights = narrow(e / divisor)
    out = product(narrow(drop(np_namespace(), weights, dropout, seed, offset)), vh)
    # The way back takes its weights from the log-sum-exp, which is kept in float32.
    weights = narrow(np.exp(scores - (largest + np.log(divisor))))
    dropped = narrow(drop(np_namespace(), weights, dropout, seed, offset))
    gv = product(dropped.swapaxes(-1, -2), g)
    gw = narrow(drop(np_namespace(), product(g, vh.swapaxes(-1, -2)), dropout, seed, offset))
    gs = narrow(narrow(weights * (gw - total(out * g))) * np.float32(scale))
    gq, gk = product(gs, kh), product(gs.swapaxes(-1, -2), q)
    return out, gq, narrow(per_group(np, gk, k.shape[1])), narrow(per_group(np, gv, k.shape[1]))


def np_namespace():
    from weft.backends.array import namespace

    return namespace(np.zeros(1))


def close(name, got, exact, references, dtype, sums, spread):
    """Whether got errs at most twice as much as the references, beside its own rounding: in the worst element, and as
    a root of the mean square. sums: the number of rows that a kernel adds one after the other, in float32, so that the
    sum is rounded as often; spread: the standard deviation of scores."""
    if not exact.size:
        return
    got = got.astype(np.float64)
    assert np.isfinite(got).all(), f"{name}: poison in the output"
    for norm in (np.max, lambda x: np.sqrt(np.mean(x * x))):
        size = norm(np.abs(exact))
        off = max(norm(np.abs(reference.astype(np.float64) - exact)) for reference in references)
        added = 0.5 * np.sqrt(sums) * ROUNDING["float32"] * size
        allowed = 2 * off + 2 * ROUNDING[dtype] * size + added + FLOOR * max(1.0, spread)
        error = norm(np.abs(got - exact))
        assert error <= allowed, f"{name}: error {error:.3g}, allowed {allowed:.3g}, values to {size:.3g}"


class Problem:
    """Arrays on host and device, parameters, and the float64 result."""

    def __init__(
        self, rng, dtype, B, H, Hkv, S, T, D, Dv, *, mask="", causal=None, dropout=0.0, scale=None, order=(0, 1, 2, 3),
        margin=0,
    ):  # fmt: skip
        self.name, self.dtype = dtype, DTYPES[dtype]
        shapes = (B, H, S, D), (B, Hkv, T, D), (B, Hkv, T, Dv), (B, H, S, Dv)
        drawn = [draw(rng, shape, self.dtype, order, margin) for shape in shapes]
        self.host, self.device = [x for x, _ in drawn], [x for _, x in drawn]
        self.mask = draw_mask(rng, mask, B, H, S, T, self.dtype)
        self.spread = D**0.5 * abs(D**-0.5 if scale is None else scale)
        self.params = {
            "scale": D**-0.5 if scale is None else scale, "causal": causal is not None, "causal_offset": causal or 0,
            "dropout": dropout, "seed": int(rng.integers(2**62)), "offset": 4 * int(rng.integers(1000)),
        }  # fmt: skip

    def exact(self):
        wide = [x.astype(np.float64) for x in self.host]
        mask = self.mask if self.mask is None or self.mask.dtype == bool else self.mask.astype(np.float64)
        q, k, v, g = wide
        out, lse = K.attention.reference(q, k, v, mask, **self.params)
        return out, lse, *K.attention_backward.reference(g, q, k, v, mask, out, lse, **self.params)

    def rounded(self):
        """Of each result, what the same precision makes of it: in float32 in four orders of the terms of sums, which
        decide which element comes off worst."""
        orders = range(4 if self.name == "float32" else 1)
        *qkv, g = self.host
        return [*zip(*[written_out(*qkv, self.mask, g, **self.params, dtype=self.dtype, order=i) for i in orders])]

    def forward(self, tile=None):
        """(out, lse) of the device, poisoned before."""
        q, k, v, _ = self.device
        out = device.empty_in_order((*q.shape[:3], v.shape[3]), q)
        lse = device.empty(q.shape[:3], np.float32, "emulated")
        out.memory[...], lse.memory[...] = np.nan, np.nan
        mask = None if self.mask is None else from_host(self.mask)
        device.forward(device.dense(q, k, v, mask, out, lse, self.params), tile)
        return out, lse

    def check_forward(self, tile=None):
        out, lse = self.forward(tile)
        exact_out, exact_lse, *_ = self.exact()
        close("out", out.get(), exact_out, self.rounded()[0], self.name, self.host[1].shape[2], self.spread)
        finite = np.isfinite(exact_lse)
        np.testing.assert_array_equal(lse.get()[~finite], -np.inf)
        np.testing.assert_allclose(lse.get()[finite], exact_lse[finite], rtol=1e-6, atol=4e-6)
        assert not out.get()[~finite].any(), "a row that sees no key gives 0"
        return out.get(), lse.get()

    def backward(self, out, lse, unordered=False, queries=None, keys=None):
        """(gq, gk, gv) of the device, poisoned before; queries, keys: names of tiles."""
        q, k, v, g = self.device
        mask = None if self.mask is None else from_host(self.mask)
        grads = [device.empty_in_order(x.shape, x) for x in (q, k, v)]
        for x in grads:
            x.memory[...] = np.nan
        call = device.dense(q, k, v, mask, out, lse, self.params)
        attention_backward.backward(call, g, *grads, unordered=unordered, queries=queries, keys=keys)
        return grads

    def check_backward(self, unordered=False, queries=None, keys=None):
        grads = [x.get() for x in self.backward(*self.forward(), unordered, queries, keys)]
        q, k, *_ = self.host
        rows = q.shape[2] * q.shape[1] // k.shape[1]
        results = zip(("gq", "gk", "gv"), grads, self.exact()[2:], self.rounded()[1:], (k.shape[2], rows, rows))
        for name, got, exact, rounded, sums in results:
            close(name, got, exact, rounded, self.name, sums, self.spread)
        return grads
