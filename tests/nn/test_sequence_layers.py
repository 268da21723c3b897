"""Recurrent, attention and transformer layers against PyTorch's, with its weights loaded by name."""

import numpy as np
import pytest

import weft
from peer import compare, torch
from weft import nn

tnn = torch.nn


def random(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def start(seed):
    torch.manual_seed(seed)
    return np.random.default_rng(seed)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_recurrent(name, seed):
    rng = start(seed)
    options = {
        "num_layers": int(rng.integers(1, 4)),
        "bias": bool(rng.integers(4)),
        "batch_first": bool(rng.integers(2)),
        "bidirectional": bool(rng.integers(2)),
    }
    if name == "RNN":
        options["nonlinearity"] = ["tanh", "relu"][seed % 2]
    i, h, L, N = (int(n) for n in rng.integers(1, 7, 4))
    n = options["num_layers"] * (1 + options["bidirectional"])
    ours, theirs = getattr(nn, name)(i, h, **options), getattr(tnn, name)(i, h, **options)
    lead = (L,) if seed == 5 else (N, L) if options["batch_first"] else (L, N)
    shape = (n, h) if seed == 5 else (n, N, h)
    states = [random(rng, *shape) for _ in range(1 + (name == "LSTM"))]
    if seed % 2:
        compare(ours, theirs, [random(rng, *lead, i)])
    else:
        compare(
            ours, theirs, [random(rng, *lead, i), *states], call=lambda m, x, *hx: m(x, hx if len(hx) > 1 else hx[0])
        )


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", ["RNNCell", "LSTMCell", "GRUCell"])
def test_cells(name, seed):
    rng = start(seed)
    i, h = (int(n) for n in rng.integers(1, 7, 2))
    ours, theirs = getattr(nn, name)(i, h, bias=seed != 1), getattr(tnn, name)(i, h, bias=seed != 1)
    if seed == 2:
        compare(ours, theirs, [random(rng, 3, i)])
        return
    states = [random(rng, 3, h) for _ in range(1 + (name == "LSTMCell"))]
    compare(ours, theirs, [random(rng, 3, i), *states], call=lambda m, x, *hx: m(x, hx if len(hx) > 1 else hx[0]))


def masks(rng, N, H, L, S, kind):
    """attn_mask and key_padding_mask of a kind, each row of which leaves something to see."""
    attn, padding = None, None
    if "attn" in kind:
        attn = rng.random((N * H, L, S) if "heads" in kind else (L, S)) < 0.4
        attn[..., 0] = False
        if "float" in kind:
            attn = random(rng, *attn.shape)
    if "padding" in kind:
        padding = rng.random((N, S)) < 0.4
        padding[:, 0] = False
    return attn, padding


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize(
    "kind", ["", "attn", "attn heads", "attn float", "padding", "attn padding", "attn float padding"]
)
def test_multihead_attention(kind, need_weights):
    for seed in range(2):
        rng = start(seed)
        H, D, N, L, S = 2, 3, 2, 4, 5
        batch_first = bool(seed)
        options = {"bias": seed == 0, "batch_first": batch_first}
        if seed:
            options |= {"kdim": 5, "vdim": 7}
        ours, theirs = nn.MultiheadAttention(H * D, H, **options), tnn.MultiheadAttention(H * D, H, **options)
        attn, padding = masks(rng, N, H, L, S, kind)
        sizes = [(L, H * D), (S, options.get("kdim", H * D)), (S, options.get("vdim", H * D))]
        inputs = [random(rng, *((N, n, e) if batch_first else (n, N, e))) for n, e in sizes]

        def call(m, q, k, v, attn=attn, padding=padding):
            as_theirs = torch.tensor if isinstance(m, tnn.Module) else weft.asarray
            a, p = (x if x is None else as_theirs(x) for x in (attn, padding))
            if "float" in kind and p is not None and isinstance(m, tnn.Module):  # one kind of mask, or PyTorch warns
                p = torch.zeros(padding.shape).masked_fill(p, -np.inf)
            return m(q, k, v, key_padding_mask=p, need_weights=need_weights, attn_mask=a)

        compare(ours, theirs, inputs, call=call)


@pytest.mark.parametrize(
    "options",
    [{}, {"add_bias_kv": True}, {"add_zero_attn": True}, {"add_bias_kv": True, "add_zero_attn": True, "bias": False}],
    ids=str,
)
def test_self_attention(options):
    rng = start(0)
    x = random(rng, 5, 2, 6)
    causal = np.triu(np.ones((5, 5), bool), 1)
    ours, theirs = nn.MultiheadAttention(6, 3, **options), tnn.MultiheadAttention(6, 3, **options)
    with torch.no_grad():
        for p in theirs.parameters():
            p.copy_(torch.tensor(random(rng, *p.shape)) * 0.5)
    for mask in (None, causal):
        for average in (True, False):

            def call(m, x, mask=mask, average=average):
                a = mask if mask is None else torch.tensor(mask) if isinstance(m, tnn.Module) else mask
                return m(x, x, x, attn_mask=a, average_attn_weights=average)

            compare(ours, theirs, [x], call=call)
            ours.zero_grad()
            theirs.zero_grad()


def test_is_causal_is_the_causal_mask():
    x = weft.asarray(random(np.random.default_rng(0), 2, 5, 6))
    layer = nn.MultiheadAttention(6, 2, batch_first=True)
    mask = np.triu(np.ones((5, 5), bool), 1)
    for need in (True, False):
        a, _ = layer(x, x, x, attn_mask=mask, need_weights=need)
        b, _ = layer(x, x, x, is_causal=True, need_weights=need)
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-6)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("name", ["TransformerEncoderLayer", "TransformerDecoderLayer"])
def test_transformer_layers(name, seed):
    rng = start(seed)
    options = {
        "dropout": 0.0,
        "activation": ["relu", "gelu"][seed % 2],
        "norm_first": seed in (1, 2, 5),
        "batch_first": seed < 4,
        "bias": seed != 3,
        "layer_norm_eps": [1e-5, 1e-3][seed % 2],
    }
    ours, theirs = getattr(nn, name)(8, 2, 12, **options), getattr(tnn, name)(8, 2, 12, **options)
    lead = [(3, 5), (3, 4)] if options["batch_first"] else [(5, 3), (4, 3)]
    inputs = [random(rng, *shape, 8) for shape in lead[: 1 + (name == "TransformerDecoderLayer")]]
    mask = np.triu(np.ones((5, 5), bool), 1)
    padding = np.arange(5) >= np.array([5, 3, 4])[:, None]

    def call(m, *args):
        to = torch.tensor if isinstance(m, tnn.Module) else weft.asarray
        if name == "TransformerEncoderLayer":
            return m(*args, src_mask=to(mask), src_key_padding_mask=to(padding) if seed % 2 else None)
        return m(
            *args,
            tgt_mask=to(mask),
            tgt_key_padding_mask=to(padding) if seed % 2 else None,
            memory_mask=to(mask[:, :4]) if seed == 4 else None,
        )

    compare(ours, theirs, inputs, call=call)


@pytest.mark.parametrize("norm", [False, True])
def test_transformer_stacks(norm):
    rng = start(0)

    def encoder(m):
        layer = m.TransformerEncoderLayer(8, 2, 12, 0.0, batch_first=True)
        return m.TransformerEncoder(layer, 3, m.LayerNorm(8) if norm else None)

    def decoder(m):
        layer = m.TransformerDecoderLayer(8, 2, 12, 0.0, batch_first=True)
        return m.TransformerDecoder(layer, 2, m.LayerNorm(8) if norm else None)

    compare(encoder(nn), encoder(tnn), [random(rng, 2, 5, 8)])
    compare(decoder(nn), decoder(tnn), [random(rng, 2, 5, 8), random(rng, 2, 4, 8)])


def test_whole_transformer():
    rng = start(0)
    ours, theirs = (m.Transformer(8, 2, 2, 2, 12, 0.0, "gelu", batch_first=True) for m in (nn, tnn))
    mask = tnn.Transformer.generate_square_subsequent_mask(4)
    np.testing.assert_array_equal(nn.Transformer.generate_square_subsequent_mask(4).numpy(), mask.numpy())

    def call(m, src, tgt):
        return m(src, tgt, tgt_mask=mask if isinstance(m, tnn.Module) else weft.asarray(mask.numpy()))

    compare(ours, theirs, [random(rng, 2, 5, 8), random(rng, 2, 4, 8)], call=call)


def test_encoder_copies_are_independent():
    stack = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 12), 2)
    assert stack.layers[0].linear1.weight is not stack.layers[1].linear1.weight
    assert len(list(stack.parameters())) == 2 * len(list(stack.layers[0].parameters()))
