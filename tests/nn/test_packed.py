"""Packed and padded batches, recurrent layers over them, projections: against PyTorch's."""

import numpy as np
import pytest

import weft
from peer import close, compare, flat, pair, torch
from weft import nn
from weft.nn.utils import rnn
from weft.testing import gradgradcheck

theirs_rnn = torch.nn.utils.rnn


def random(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def draw(seed, N=5, T=7):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, T, N)
    lengths[rng.integers(N)] = T
    return rng, lengths if seed % 2 else -np.sort(-lengths)


@pytest.mark.parametrize("seed", range(6))
def test_packing_and_padding(seed):
    rng, lengths = draw(seed)
    batch_first = bool(seed % 3)
    x = random(rng, *((5, 7) if batch_first else (7, 5)), *[(3,), (), (2, 2)][seed % 3])
    a, b = pair(x)
    options = {"batch_first": batch_first, "enforce_sorted": not seed % 2}
    ours, theirs = rnn.pack_padded_sequence(a, lengths, **options), theirs_rnn.pack_padded_sequence(
        b, torch.tensor(lengths), **options
    )  # fmt: skip
    assert isinstance(ours, rnn.PackedSequence) and ours._fields == theirs._fields
    for mine, its in zip(ours, theirs):
        assert (mine is None) == (its is None)
        if its is not None:
            close(mine, its, "packed")
    total = [None, 7, 9][seed % 3]
    (mine, sizes), (its, their_sizes) = (
        m.pad_packed_sequence(p, batch_first, -1.5, total) for m, p in ((rnn, ours), (theirs_rnn, theirs))
    )  # fmt: skip
    close(mine, its, "padded")
    np.testing.assert_array_equal(sizes.numpy(), their_sizes.numpy())
    g = random(rng, *its.shape)
    (mine * g).sum().backward()
    (its * torch.tensor(g)).sum().backward()
    close(a.grad, b.grad, "gradient")


@pytest.mark.parametrize("seed", range(4))
def test_sequences(seed):
    rng, lengths = draw(seed)
    arrays = [random(rng, n, *[(3,), ()][seed % 2]) for n in lengths]
    pairs = [pair(x) for x in arrays]
    mine, its = [p[0] for p in pairs], [p[1] for p in pairs]
    options = {"batch_first": bool(seed % 2), "padding_value": 0.5, "padding_side": ["right", "left"][seed // 2]}
    a, b = rnn.pad_sequence(mine, **options), theirs_rnn.pad_sequence(its, **options)
    close(a, b, "padded")
    a.sum().backward()
    for x in mine:
        np.testing.assert_array_equal(x.grad.numpy(), 1)
    packed = rnn.pack_sequence(mine, enforce_sorted=False)
    close(packed.data, theirs_rnn.pack_sequence(its, enforce_sorted=False).data, "packed")
    for x, y in zip(rnn.unpack_sequence(packed), arrays):
        np.testing.assert_array_equal(x.numpy(), y)
    right = rnn.pad_sequence(mine, batch_first=True)
    for x, y in zip(rnn.unpad_sequence(right, lengths, batch_first=True), arrays):
        np.testing.assert_array_equal(x.numpy(), y)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_recurrent_layers_over_packed_batches(name, seed):
    torch.manual_seed(seed)
    rng, lengths = draw(seed)
    options = {"num_layers": 1 + seed % 2, "bidirectional": seed in (1, 2, 4), "bias": seed != 3}
    if name == "LSTM" and seed > 3:
        options["proj_size"] = 2
    ours, theirs = getattr(nn, name)(3, 4, **options), getattr(torch.nn, name)(3, 4, **options)
    n = options["num_layers"] * (1 + options["bidirectional"])
    sizes = [options.get("proj_size", 4), 4][: 1 + (name == "LSTM")]
    states = [random(rng, n, 5, size) for size in sizes] if seed > 1 else []

    def call(module, x, *hx):
        utils, to = (rnn, weft.asarray) if isinstance(module, nn.Module) else (theirs_rnn, torch.tensor)
        packed = utils.pack_padded_sequence(x, to(lengths), enforce_sorted=not seed % 2)
        out, last = module(packed, *([] if not hx else [hx if name == "LSTM" else hx[0]]))
        return flat([utils.pad_packed_sequence(out)[0], last])

    compare(ours, theirs, [random(rng, 7, 5, 3), *states], call=call)


@pytest.mark.parametrize("seed", range(5))
def test_lstm_with_projections(seed):
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    options = {"num_layers": 1 + seed % 2, "bidirectional": seed > 1, "bias": seed != 3, "batch_first": bool(seed % 2)}
    ours, theirs = (m.LSTM(3, 5, proj_size=1 + seed % 4, **options) for m in (nn, torch.nn))
    compare(ours, theirs, [random(rng, 4, 6, 3)] if seed != 4 else [random(rng, 4, 3)])


def test_packed_layers_differentiate_twice():
    rng = np.random.default_rng(0)
    layer = nn.GRU(2, 3, bidirectional=True, dtype=np.float64)
    gradgradcheck(lambda x: layer(rnn.pack_padded_sequence(x, [4, 3, 1]))[0].data, [rng.standard_normal((4, 3, 2))])


REFUSALS = [
    (lambda: rnn.pack_padded_sequence(weft.ones((3, 2)), [1, 3]), "expected lengths that fall, got .*enforce_sorted"),
    (lambda: rnn.pack_padded_sequence(weft.ones((3, 2)), [4, 1]), r"expected 2 lengths from 1 to 3 .*got \[4, 1\]"),
    (lambda: rnn.pack_padded_sequence(weft.ones((3, 2)), [3, 0]), r"from 1 to 3 .*got \[3, 0\]"),
    (lambda: rnn.pack_padded_sequence(weft.ones((3, 2)), [3.0, 1.0]), "expected lengths .* integers, got float64"),
    (lambda: rnn.pad_packed_sequence(rnn.pack_sequence([weft.ones((3,))]), total_length=2), "of at least 3, got 2"),
    (lambda: rnn.pad_sequence([weft.ones((2, 3)), weft.ones((2, 4))]), r"got \(2, 3\), \(2, 4\)"),
    (lambda: rnn.unpad_sequence(weft.ones((3, 2)), [3]), r"one length for each of \(3, 2\), got \(1,\)"),
    (lambda: nn.LSTM(3, 4)(rnn.pack_sequence([weft.ones((3, 2))])), r"LSTM: expected packed data \(steps, 3\)"),
    (lambda: nn.LSTM(3, 4, proj_size=4), r"LSTM: expected proj_size in \[0, 4\), got 4"),
    (lambda: nn.GRU(3, 4)(weft.ones((5, 2, 3)), weft.ones((1, 3, 4))), r"hx of shape \(1, 2, 4\), got \(1, 3, 4\)"),
]  # fmt: skip


@pytest.mark.parametrize("call, message", REFUSALS, ids=[message for _, message in REFUSALS])
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()
