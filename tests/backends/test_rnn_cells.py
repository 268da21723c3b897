"""The fast entries of recurrent cells and layers against their references in float64, on every instruction set, and
whole layers against PyTorch's."""

import hashlib

import numpy as np
import pytest

import weft
from backends.image_checks import elsewhere
from backends.test_rowwise import agree
from policy import needs
from weft.backends import reference as K

pytestmark = needs("native")

CHECK = "from backends.test_rnn_cells import check\nfor seed in range(40): check(seed)"
DIGEST = "from backends.test_rnn_cells import digest\nprint(digest())"


def check(seed):
    """Every entry once, on one random shape."""
    rng = np.random.default_rng(seed)

    def normal(*shape, scale=1.0):
        a = rng.standard_normal(shape, dtype=np.float32) * np.float32(scale)
        return np.asfortranarray(a) if rng.random() < 0.2 else a

    n, h = int(rng.choice([0, 1, 2, 5, 14, 33])), int(rng.choice([1, 3, 4, 15, 16, 17, 32, 50]))
    gates, c, gh, gc = normal(n, 4 * h, scale=3), normal(n, h), normal(n, h), normal(n, h)
    _, c_new = agree("lstm_cell", [gates, c])
    agree("lstm_cell_backward", [gh, gc, gates, c, c_new], 5e-6)
    agree("lstm_cell_backward", [gh, None, gates, c, c_new], 5e-6)
    gi, gr = normal(n, 3 * h, scale=3), normal(n, 3 * h)
    agree("gru_cell", [gi, gr, c])
    agree("gru_cell_backward", [gh, gi, gr, c], 5e-6)

    t, inputs, reverse = int(rng.integers(1, 6)), int(rng.integers(1, 9)), bool(seed % 2)
    x = normal(t, n, inputs)
    for count in (4, 3):
        w_ih, w_hh = normal(count * h, inputs, scale=0.5), normal(count * h, h, scale=h**-0.5)
        b_ih, b_hh = (normal(count * h), normal(count * h)) if seed % 3 else (None, None)
        gy = normal(t, n, h) if seed % 4 else None
        gh_last = normal(n, h) if seed % 5 or gy is None else None
        if count == 4:
            _, gates, cs = agree("lstm_layer", [x, gh, c, w_ih, w_hh, b_ih], 1e-5, reverse=reverse)
            gc_last = gc if seed % 2 else None
            agree("lstm_layer_backward", [gates, cs, c, w_hh, gy, gh_last, gc_last], 2e-5, reverse=reverse)
        else:
            hs, gi, gr = agree("gru_layer", [x, gh, w_ih, w_hh, b_ih, b_hh], 1e-5, reverse=reverse)
            agree("gru_layer_backward", [gi, gr, hs, gh, w_hh, gy, gh_last], 2e-5, reverse=reverse)


def test_against_the_references():
    for seed in range(40):
        check(seed)


def test_on_every_instruction_set():
    for isa in weft._cpu.supported_isas():
        elsewhere(CHECK, WEFT_ISA=isa)


def digest():
    rng = np.random.default_rng(0)
    x, h, c = (rng.standard_normal(s, dtype=np.float32) for s in ((5, 40, 64), (40, 96), (40, 96)))
    w_ih, w_hh = rng.standard_normal((384, 64), dtype=np.float32), rng.standard_normal((384, 96), dtype=np.float32) / 10
    found = [*K.lstm_layer(x, h, c, w_ih, w_hh, None, reverse=False)]
    found += K.lstm_layer_backward(found[1], found[2], c, w_hh, found[0], h, c, reverse=False)
    found += K.gru_layer(x, h, w_ih[:288], w_hh[:288], None, None, reverse=True)
    found += K.gru_layer_backward(*found[-2:], found[-3], h, w_hh[:288], found[-3], h, reverse=True)
    return hashlib.sha256(b"".join([a.tobytes() for a in found])).hexdigest()


def test_the_number_of_threads_changes_no_bit():
    assert len({elsewhere(DIGEST, WEFT_NUM_THREADS=n) for n in ("1", "2", "5")}) == 1


def test_saturated_gates_and_nan():
    gates = np.zeros((5, 12), np.float32)
    gates[0], gates[1], gates[2], gates[3, 4] = 1e30, -1e30, np.inf, np.nan
    c = np.ones((5, 3), np.float32)
    _, c_new = agree("lstm_cell", [gates, c])
    agree("lstm_cell_backward", [c, c, gates, c, c_new])
    agree("gru_cell", [gates[:, :9].copy(), np.zeros((5, 9), np.float32), c])


def test_wrong_shapes_raise():
    a, c = np.zeros((2, 8), np.float32), np.zeros((2, 3), np.float32)
    with pytest.raises(ValueError, match=r"lstm_cell: gates: expected \(2, 12\), got \(2, 8\)"):
        K.lstm_cell(a, c)
    with pytest.raises(ValueError, match=r"gru_cell: gi: expected \(2, 9\), got \(2, 8\)"):
        K.gru_cell(a, a, c)
    x, w = np.zeros((4, 2, 5), np.float32), np.zeros((12, 5), np.float32)
    with pytest.raises(ValueError, match=r"lstm_layer: expected a sequence \(T, N, F\) and w_hh \(4 \* H, H\)"):
        K.lstm_layer(x, c, c, w, w, None, reverse=False)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_a_layer_against_torch(kind, reverse):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(len(kind) + reverse)
    T, N, inputs, H = 7, 5, 6, 9
    layer = getattr(torch.nn, kind)(inputs, H)
    x, h, c = (rng.standard_normal(s, dtype=np.float32) for s in ((T, N, inputs), (N, H), (N, H)))
    states = [h, c] if kind == "LSTM" else [h]
    arrays = [x, *states, *[p.detach().numpy().copy() for p in layer.parameters()]]
    mine = [weft.Tensor(a, requires_grad=True) for a in arrays]
    out, *last = {"LSTM": weft.lstm, "GRU": weft.gru, "RNN": weft.rnn}[kind](*mine, reverse=reverse)

    its = [torch.tensor(a, requires_grad=True) for a in arrays[: 1 + len(states)]]
    begin = tuple(s[None] for s in its[1:])
    turned = its[0].flip(0) if reverse else its[0]
    t_out, t_last = layer(turned, begin if kind == "LSTM" else begin[0])
    t_out = t_out.flip(0) if reverse else t_out
    t_last = [s[0] for s in (t_last if kind == "LSTM" else [t_last])]

    weights = [rng.standard_normal(o.shape, dtype=np.float32) for o in (out, *last)]
    sum([(o * w).sum() for o, w in zip((out, *last), weights)], start=weft.zeros(())).backward()
    sum([(o * torch.tensor(w)).sum() for o, w in zip((t_out, *t_last), weights)]).backward()
    want = [o.detach() for o in (t_out, *t_last)] + [p.grad for p in (*its, *layer.parameters())]
    got = [o.numpy() for o in (out, *last)] + [m.grad.numpy() for m in mine]
    for g, w in zip(got, want, strict=True):
        assert np.abs(g - w.numpy()).max() <= 1e-5 * max(np.abs(w.numpy()).max(), 0.1)
