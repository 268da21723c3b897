"""Scaled dot-product attention, by its Case rows; against PyTorch; and what it refuses."""

import numpy as np
import pytest

import weft
from opcheck import Case, checks
from policy import needs
from weft import ops
from weft.backends.reference.dropout import kept
from weft.ops.attention import attend
from weft.random import Generator

sdpa = ops.scaled_dot_product_attention


def oracle(q, k, v, mask=None, *, p=0.0, is_causal=False, causal_offset=None, scale=None, enable_gqa=False):
    """The definition, row by row."""
    S, T, heads = q.shape[-2], k.shape[-2], q.shape[-3] if q.ndim > 2 else 1
    group = heads // k.shape[-3] if enable_gqa else 1
    lead = q.shape[:-2]
    mask = np.broadcast_to(True if mask is None else mask, (*lead, S, T))
    stays = kept((*lead, S, T), p=p, seed=7, offset=0)
    out = np.zeros((*lead, S, v.shape[-1]))
    for at in np.ndindex(*lead, S):
        *index, i = at
        where = (*index[:-1], index[-1] // group) if index else ()
        scores = k[where] @ q[at] * (q.shape[-1] ** -0.5 if scale is None else scale)
        scores = np.where(mask[at], scores, -np.inf) if mask.dtype == bool else scores + mask[at]
        if is_causal or causal_offset is not None:
            scores[max(0, i + 1 + (T - S if causal_offset == "bottom-right" else causal_offset or 0)) :] = -np.inf
        if np.isfinite(scores).any():
            weights = np.exp(scores - scores.max())
            out[at] = (weights / weights.sum() * stays[at] / (1 - p)) @ v[where]
    return out


def dropped(q, k, v, mask=None, *, p, **params):
    """With a generator of its own, so that every call drops the same weights."""
    return sdpa(q, k, v, mask, dropout=p, generator=Generator(7), **params)


def packed(q, k, v, *, p=0.0, **params):
    """Sequences of fixed cuts, one of them without queries, one without keys, and a row of no sequence."""
    return weft.varlen_attention(
        q, k, v, [0, 4, 4, 6, 9], [0, 3, 5, 5, 10], dropout=p, generator=Generator(7), **params
    )  # fmt: skip


def packed_oracle(q, k, v, *, p=0.0, is_causal=False, causal_offset=0):
    """Each sequence by itself; with dropout, whose weights are counted over all, one matrix with the others hidden."""
    H = q.shape[1]
    mask = np.zeros((len(q), len(k)), bool)
    for i, j, m, n in ((0, 4, 0, 3), (4, 4, 3, 5), (4, 6, 5, 5), (6, 9, 5, 10)):
        offset = (n - m) - (j - i) if causal_offset == "bottom-right" else causal_offset
        mask[i:j, m:n] = np.tri(j - i, n - m, offset, dtype=bool) if is_causal else True
    arrays = (q, *[x.repeat(H // x.shape[1], axis=1) for x in (k, v)])
    heads = [np.ascontiguousarray(x.swapaxes(0, 1))[None] for x in arrays]
    return oracle(*heads, mask, p=p)[0].swapaxes(0, 1)


def keep(*shape):
    """A bool mask that hides whole rows here and there."""

    def make(rng):
        mask = rng.random(shape) < 0.6
        mask[..., :1, :] = False
        return mask

    return make


def logged(q, k, v):
    return sdpa(q, k, v, return_lse=True)[0]


def offset(q, k, v, mask=None, *, causal_offset):
    return sdpa(q, k, v, mask, is_causal=True, causal_offset=causal_offset)


QKV = (2, 3, 4, 5), (2, 3, 6, 5), (2, 3, 6, 2)
PACKED = (10, 4, 5), (11, 2, 5), (11, 2, 3)

CASES = [
    Case(sdpa, *QKV, oracle=oracle, order=3),
    Case(logged, *QKV, oracle=oracle, order=2, name="with lse"),
    Case(sdpa, *QKV, oracle=oracle, params={"is_causal": True}, order=3),
    Case(sdpa, (2, 3, 7, 4), (2, 3, 5, 4), (2, 3, 5, 4), oracle=oracle, params={"is_causal": True, "scale": 0.3}),
    Case(sdpa, *QKV, keep(4, 6), oracle=oracle, order=3, name="bool mask"),
    Case(sdpa, *QKV, keep(2, 1, 1, 6), oracle=oracle, params={"is_causal": True}, name="padding mask"),
    Case(sdpa, *QKV, keep(3, 4, 1), oracle=oracle, name="mask of rows"),
    Case(sdpa, *QKV, (2, 1, 4, 6), oracle=oracle, order=3, name="additive mask"),
    Case(sdpa, (2, 4, 3, 5), (2, 2, 6, 5), (2, 2, 6, 3), oracle=oracle, params={"enable_gqa": True}, order=3),
    Case(dropped, *QKV, oracle=oracle, params={"p": 0.4}, order=3, name="dropout"),
    Case(dropped, (1, 4, 6, 5), (1, 1, 7, 5), (1, 1, 7, 3), keep(6, 7), oracle=oracle,
         params={"p": 0.25, "enable_gqa": True, "is_causal": True}, name="everything"),
    Case(offset, *QKV, oracle=oracle, params={"causal_offset": 2}, order=3, name="offset"),
    Case(offset, *QKV, keep(4, 6), oracle=oracle, params={"causal_offset": -2}, name="negative offset"),
    Case(offset, *QKV, (4, 6), oracle=oracle, params={"causal_offset": "bottom-right"}, name="bottom right"),
    Case(packed, *PACKED, oracle=packed_oracle, order=3, name="packed"),
    Case(packed, *PACKED, oracle=packed_oracle, params={"is_causal": True, "causal_offset": 1}, name="packed causal"),
    Case(packed, *PACKED, oracle=packed_oracle, params={"is_causal": True, "causal_offset": "bottom-right"},
         name="packed bottom right"),
    Case(packed, *PACKED, oracle=packed_oracle, params={"p": 0.3}, name="packed dropout"),
    Case(sdpa, (4, 5), (6, 5), (6, 3), oracle=oracle, name="one head"),
    Case(sdpa, (3, 4, 5), (3, 6, 5), (3, 6, 3), keep(3, 4, 6), oracle=oracle, name="three axes"),
    Case(sdpa, (2, 2, 3, 4, 5), (2, 2, 3, 6, 5), (2, 2, 3, 6, 3), keep(2, 1, 1, 4, 6), oracle=oracle,
         name="five axes"),
    Case(sdpa, (2, 3, 0, 5), (2, 3, 6, 5), (2, 3, 6, 2), oracle=oracle, name="no queries"),
    Case(sdpa, (2, 3, 4, 5), (2, 3, 0, 5), (2, 3, 0, 2), oracle=oracle, name="no keys"),
]  # fmt: skip

globals().update(checks(CASES))


def random(*shapes, dtype=np.float32):
    rng = np.random.default_rng(0)
    return [weft.Tensor(rng.standard_normal(s).astype(dtype), True) for s in shapes]


def test_hidden_rows_give_zero_and_no_gradient():
    q, k, v = random(*QKV)
    mask = np.ones((4, 6), bool)
    mask[2] = False
    out = sdpa(q, k, v, mask)
    assert not out.numpy()[:, :, 2].any()
    out.sum().backward()
    assert not q.grad.numpy()[:, :, 2].any() and np.isfinite(k.grad.numpy()).all()


def test_views_of_one_projection():
    """q, k and v as views of one (B, T, 3, H, D) array; the result lies so that joining the heads is a view."""
    (x,) = random((2, 7, 3, 4, 8))
    q, k, v = (weft.permute_dims(x[:, :, i], (0, 2, 1, 3)) for i in range(3))
    out = weft.permute_dims(sdpa(q, k, v, is_causal=True), (0, 2, 1, 3))
    exact = oracle(*(np.moveaxis(x.numpy()[:, :, i].astype(float), 1, 2) for i in range(3)), is_causal=True)
    np.testing.assert_allclose(np.moveaxis(out.numpy(), 1, 2), exact, atol=1e-6)
    (g,) = weft.autograd.grad(out.sum(), [x])
    assert g.shape == x.shape
    if weft.which("attention", q, k, v) != "reference":
        assert out.numpy().flags.c_contiguous


@pytest.mark.parametrize("causal_offset", [0, 3, -2, "bottom-right"])
def test_log_sum_exp(causal_offset):
    q, k, v = random(*QKV)
    out, lse = sdpa(q, k, v, is_causal=True, causal_offset=causal_offset, return_lse=True)
    (plain_out,) = (sdpa(q, k, v, is_causal=True, causal_offset=causal_offset),)
    np.testing.assert_array_equal(out.numpy(), plain_out.numpy())
    scores = q.numpy().astype(float) @ k.numpy().astype(float).swapaxes(-1, -2) * 5**-0.5
    seen = np.tri(4, 6, 2 if causal_offset == "bottom-right" else causal_offset, dtype=bool)
    with np.errstate(divide="ignore"):
        exact = np.log((np.exp(scores) * seen).sum(-1))
    np.testing.assert_allclose(lse.numpy(), exact, rtol=1e-5)
    assert not lse.requires_grad and out.requires_grad
    out.sum().backward()
    assert np.isfinite(q.grad.numpy()).all()


def test_packed_sequences_have_a_log_sum_exp_and_rows_of_none_give_zero():
    q, k, v = random(*PACKED)
    out, lse = packed(q, k, v, return_lse=True)
    assert lse.shape == (4, 10) and (lse.numpy()[:, [4, 5, 9]] == -np.inf).all()
    assert not out.numpy()[[4, 5, 9]].any() and np.isfinite(lse.numpy()[:, [0, 1, 2, 3, 6, 7, 8]]).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"queries_until": [0, 5, 3]}, "offsets that rise from 0 to at most 10"),
        ({"queries_until": [1, 5]}, "offsets that rise"),
        ({"keys_until": [0, 12]}, "at most 11"),
        ({"keys_until": [0, 3, 5]}, "as many sequences"),
        ({"keys_until": None}, "expected keys_until"),
        ({"q": np.ones((10, 3, 5), np.float32)}, "multiple"),
        ({"q": np.ones((10, 4, 6), np.float32)}, "expected q"),
        ({"is_causal": True, "causal_offset": 0.5}, "integer"),
    ],
)
def test_packed_refuses(change, message):
    q, k, v = random(*PACKED)
    good = {"q": q, "k": k, "v": v, "queries_until": [0, 10], "keys_until": [0, 11]}
    with pytest.raises(ValueError, match=message):
        weft.varlen_attention(**{**good, **change})


def test_gradient_of_a_mask():
    q, k, v, mask = random(*QKV, (4, 6))
    out = sdpa(q, k, v, mask)
    np.testing.assert_allclose(out.numpy(), sdpa(q, k, v, mask.detach()).numpy(), atol=1e-6)
    out.sum().backward()
    assert mask.grad.shape == (4, 6)


def test_dropout_draws_from_the_generator():
    q, k, v = random(*QKV)
    generator = Generator(3)
    first = sdpa(q, k, v, dropout=0.5, generator=generator).numpy()
    assert generator.get_state() == (3, 2 * 3 * 4 * 6)
    assert (first != sdpa(q, k, v, dropout=0.5, generator=generator).numpy()).any()
    generator.set_state((3, 0))
    assert (first == sdpa(q, k, v, dropout=0.5, generator=generator).numpy()).all()
    assert not sdpa(q, k, v, dropout=1.0).numpy().any()


@pytest.mark.parametrize(
    ("shapes", "params", "message"),
    [
        (((2, 3, 4, 5), (2, 3, 6, 4), (2, 3, 6, 4)), {}, r"q \(\.\.\., S, D\).* got q \(2, 3, 4, 5\), k \(2, 3"),
        (((2, 3, 4, 5), (2, 3, 6, 5), (2, 3, 7, 5)), {}, "expected q"),
        (((5,), (5,), (5,)), {}, "expected q"),
        (((2, 3, 4, 5), (1, 3, 6, 5), (1, 3, 6, 5)), {}, "same leading axes"),
        (((2, 4, 4, 5), (2, 2, 6, 5), (2, 2, 6, 5)), {}, "enable_gqa"),
        (((2, 3, 4, 5), (2, 2, 6, 5), (2, 2, 6, 5)), {"enable_gqa": True}, "multiple"),
        (((2, 3, 4, 5), (2, 3, 6, 5), (2, 3, 6, 5)), {"dropout": 1.5}, "probability between 0 and 1, got 1.5"),
        (((2, 3, 4, 5), (2, 3, 6, 5), (2, 3, 6, 5)), {"mask": np.ones((4, 5), bool)}, r"mask broadcastable .*4, 5"),
    ],
)  # fmt: skip
def test_refuses(shapes, params, message):
    with pytest.raises(ValueError, match=message):
        sdpa(*random(*shapes), **params)


def test_refuses_types():
    q, k, v = random(*QKV)
    with pytest.raises(TypeError, match="one floating dtype"):
        sdpa(q, k, weft.astype(v, np.float64))
    with pytest.raises(TypeError, match="mask of bool"):
        sdpa(q, k, v, np.ones((4, 6), np.int64))


@needs("torch")
@pytest.mark.parametrize("seed", range(8))
def test_against_torch(seed):
    import torch

    rng = np.random.default_rng(seed)
    B, H, group, S, T, D = (int(n) for n in rng.integers(1, (4, 4, 3, 40, 40, 33)))
    shapes = (B, H * group, S, D), (B, H, T, D), (B, H, T, D)
    arrays = [rng.standard_normal(s).astype(np.float32) for s in (*shapes, shapes[0])]
    causal, mask = bool(seed % 2), None
    if not causal:
        mask = rng.random((B, 1, S, T)) < 0.7
        mask[..., 0] = True
    ours = [weft.Tensor(a, True) for a in arrays[:3]]
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays[:3]]
    out = sdpa(*ours, mask, is_causal=causal, enable_gqa=True)
    peer = torch.nn.functional.scaled_dot_product_attention(
        *theirs, None if mask is None else torch.tensor(mask), is_causal=causal, enable_gqa=True
    )
    np.testing.assert_allclose(out.numpy(), peer.detach().numpy(), atol=1e-5)
    grads = weft.autograd.grad([out], ours, [arrays[3]])
    for g, p in zip(grads, torch.autograd.grad(peer, theirs, torch.tensor(arrays[3]))):
        np.testing.assert_allclose(g.numpy(), p.numpy(), atol=1e-5 * max(1.0, float(p.abs().max())))


def test_replay_keeps_the_dropped_weights():
    q, k, v = random(*QKV, dtype=np.float64)
    out = dropped(q, k, v, p=0.5)
    assert out.node.body is attend.body
    (g,) = weft.autograd.grad(out.sum(), [v], create_graph=True, retain_graph=True)
    (same,) = weft.autograd.grad(out.sum(), [v])
    np.testing.assert_array_equal(g.numpy(), same.numpy())
