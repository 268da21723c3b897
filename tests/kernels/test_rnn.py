"""rnn.cu and the layers around it, held to the same-precision reference's error: types, sizes, layouts, directions."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import policy
import weft
from kernels.array_checks import ROUNDING, build, dtype, on, require
from kernels.checked import same_under_every_schedule
from weft.backends import reference as K
from weft.backends.gpu import layout, rnn
from weft.backends.gpu.rnn_configurations import rnn as configurations
from weft.backends.launch import kernel

pytestmark = pytest.mark.gpu

#: T, N, I, H: units one by one and in vectors, more than one block, a single row.
SIZES = [(3, 2, 5, 7), (2, 37, 3, 12), (4, 1, 8, 4)]
MISSING = [(0, 1, 1), (1, 0, 1), (1, 1, 0), (1, 0, 0), (0, 0, 1), (1, 1, 1)]


@pytest.fixture(scope="module", autouse=True)
def built(device):
    require(device)
    rows = [row for row in configurations() if row[2]["TYPE"] in ("float", "bf16")]  # the quick cases'
    build([kernel(file, name, **defines) for file, name, defines, *_ in rows], device)


def near(got, exact, same_precision, kind):
    """Each output within twice the error of the reference in `kind`, and few roundings of its largest element."""
    roundings = 2 if kind.itemsize == 2 else 16  # float64 is its own reference
    for g, e, s in zip(got, exact, same_precision, strict=True):
        assert g.shape == e.shape and g.dtype == kind, (g.shape, e.shape, g.dtype)
        g, s = g.get().astype("d"), s.astype("d")
        scale = np.abs(e).max(initial=0)
        error = np.abs(g - e).max(initial=0)
        assert error <= 2 * np.abs(s - e).max(initial=0) + roundings * ROUNDING[kind.char] * scale, (error, scale)


def many(out):
    return out if isinstance(out, tuple) else (out,)


def compare(primitive, arrays, kind, device, lie=lambda x: x, **params):
    """The entry on `device` against the reference in float64 and in `kind`, of the same rounded inputs."""
    arrays = [None if a is None else a.astype(kind) for a in arrays]
    given = [None if a is None else lie(on(device, a)) for a in arrays]
    assert weft.which(primitive.__name__, *given).startswith("gpu.rnn")
    got = many(primitive(*given, **params))
    exact = many(primitive.reference(*[None if a is None else a.astype("d") for a in arrays], **params))
    near(got, exact, many(primitive.reference(*arrays, **params)), kind)
    return got, exact


def normal(rng, *shape):
    return rng.standard_normal(shape)


def weights(rng, gates, inputs, hidden):
    scale = hidden**-0.5
    shapes = ((gates * hidden, inputs), (gates * hidden, hidden), (gates * hidden,), (gates * hidden,))
    return [normal(rng, *shape) * scale for shape in shapes]


def lstm(rng, size, kind, device, *, bias=True, missing=(1, 1, 1), **options):
    length, rows, inputs, hidden = size
    w_ih, w_hh, b, _ = weights(rng, 4, inputs, hidden)
    x, h0, c0 = normal(rng, length, rows, inputs), normal(rng, rows, hidden), normal(rng, rows, hidden)
    out, exact = compare(K.lstm_layer, (x, h0, c0, w_ih, w_hh, b if bias else None), kind, device, **options)
    shapes = ((length, rows, hidden), (rows, hidden), (rows, hidden))
    upstream = [normal(rng, *shape) if there else None for shape, there in zip(shapes, missing)]
    _, gates, cs = exact
    back, _ = compare(K.lstm_layer_backward, (gates, cs, c0, w_hh, *upstream), kind, device, **options)
    return [*out, *back]


def gru(rng, size, kind, device, *, bias=True, missing=(1, 1, 1), **options):
    length, rows, inputs, hidden = size
    w_ih, w_hh, b_ih, b_hh = weights(rng, 3, inputs, hidden)
    x, h0 = normal(rng, length, rows, inputs), normal(rng, rows, hidden)
    biases = (b_ih, b_hh) if bias else (None, b_hh)
    out, exact = compare(K.gru_layer, (x, h0, w_ih, w_hh, *biases), kind, device, **options)
    gy = normal(rng, length, rows, hidden) if missing[0] else None
    gh = normal(rng, rows, hidden) if missing[1] or gy is None else None
    hs, gi, gh_parts = exact
    back, _ = compare(K.gru_layer_backward, (gi, gh_parts, hs, h0, w_hh, gy, gh), kind, device, **options)
    return [*out, *back]


LAYERS = {"lstm": lstm, "gru": gru}


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("char", policy.mostly_slow("fEed", "fE".__contains__))
@pytest.mark.parametrize("layer", LAYERS)
def test_layers(layer, char, size, device, rng):
    for reverse in (False, True):
        LAYERS[layer](rng, size, dtype(char), device, bias=not reverse, reverse=reverse)


@pytest.mark.parametrize("missing", MISSING, ids=str)
@pytest.mark.parametrize("layer", LAYERS)
def test_gradients_that_are_not_there(layer, missing, device, rng):
    for char in "fE":
        LAYERS[layer](rng, (2, 3, 2, 8), dtype(char), device, missing=missing, reverse=False)


VIEWS = {
    "transposed": lambda x: on_axes(x, lambda v: np.ascontiguousarray(v.T), lambda v: v.T),
    "gaps": lambda x: on_axes(x, lambda v: np.repeat(v, 2, -1), lambda v: v[..., ::2]),
    "backwards": lambda x: on_axes(x, lambda v: np.ascontiguousarray(v[..., ::-1]), lambda v: v[..., ::-1]),
    "misaligned": lambda x: on_axes(x, lambda v: np.append(v.dtype.type(0), v), lambda v: v[1:].reshape(x.shape)),
}


def on_axes(x, put, take):
    """The values of x in other memory of its device."""
    return take(on(x.device_name, put(x.get())))


def in_turn(case):
    """Each layer in each view, in one of the two types."""
    layer, view, char = case
    return "fE"[(list(VIEWS).index(view) + list(LAYERS).index(layer)) % 2] == char


@pytest.mark.parametrize("case", policy.mostly_slow(itertools.product(LAYERS, VIEWS, "fE"), in_turn), ids="-".join)
def test_layouts(case, device, rng):
    layer, view, char = case
    LAYERS[layer](rng, (2, 3, 5, 8), dtype(char), device, lie=VIEWS[view], reverse=True)


@pytest.mark.sanitized
@pytest.mark.parametrize("char", "fE")
def test_cells(char, device, rng):
    kind = dtype(char)
    for shape in ((5, 8), (3, 2, 7), (129, 4)):
        *lead, h = shape
        gates, c, c_new, gh, gc = (normal(rng, *lead, n) for n in (4 * h, h, h, h, h))
        compare(K.lstm_cell, (gates, c), kind, device)
        for upstream in ((gh, gc), (gh, None), (None, gc)):
            compare(K.lstm_cell_backward, (*upstream, gates, c, c_new), kind, device)
        gi, recurrent = normal(rng, *lead, 3 * h), normal(rng, *lead, 3 * h)
        compare(K.gru_cell, (gi, recurrent, c), kind, device)
        compare(K.gru_cell_backward, (gh, gi, recurrent, c), kind, device)


def test_gates_far_out_stay_finite(device):
    """Activations saturate: no overflow of an exponential becomes NaN."""
    gates = np.repeat(np.array([-1e4, -100.0, 100.0, 1e4], "f"), 4)[None].repeat(4, 0)
    c = np.ones((4, 4), "f")
    for g in (gates, gates[:, ::-1].copy()):
        h, c_new = K.lstm_cell(on(device, g), on(device, c))
        got = (h, c_new, *K.lstm_cell_backward(h, c_new, on(device, g), on(device, c), c_new))
        assert all(np.isfinite(x.get()).all() for x in got)


def test_nothing(device):
    for rows, hidden in ((0, 4), (3, 0)):
        x, h = on(device, np.ones((2, rows, 3), "f")), on(device, np.ones((rows, hidden), "f"))
        w = [on(device, np.ones(s, "f")) for s in ((4 * hidden, 3), (4 * hidden, hidden))]
        hs, gates, cs = K.lstm_layer(x, h, h, *w, None, reverse=False)
        assert hs.shape == cs.shape == (2, rows, hidden) and gates.shape == (2, rows, 4 * hidden)
        g_gates, gh, gc = K.lstm_layer_backward(gates, cs, h, w[1], hs, None, None, reverse=False)
        assert g_gates.shape == gates.shape and gh.shape == gc.shape == h.shape


def test_wide_indices(device, rng, monkeypatch):
    monkeypatch.setattr(layout, "NARROW", 0)
    made = []
    monkeypatch.setattr(rnn, "kernel", lambda *a, **defines: made.append(defines["WIDE"]) or kernel(*a, **defines))
    for layer in LAYERS.values():
        layer(rng, (2, 3, 2, 8), dtype("f"), device, reverse=False)
    assert set(made) == {1}


def test_16_bit_states_are_carried_in_float32(device):
    """A cell that adds 2^-9 to 1 at each step: bfloat16 alone would stay at 1."""
    rows, hidden, length = 1, 4, 8
    gates = np.concatenate([np.full(hidden, v) for v in (20.0, 20.0, 2.0**-9, 20.0)])
    kind = dtype("E")
    x, zero = np.zeros((length, rows, 1), kind), np.zeros((rows, hidden), kind)
    w_ih, w_hh = np.zeros((4 * hidden, 1), kind), np.zeros((4 * hidden, hidden), kind)
    args = (x, zero, zero + kind.type(1), w_ih, w_hh, gates.astype(kind))
    _, _, cs = K.lstm_layer(*[on(device, a) for a in args], reverse=False)
    np.testing.assert_array_equal(cs.get()[-1].astype("f"), 1 + length * 2.0**-9)


@policy.needs("emulator")
@pytest.mark.parametrize(
    "case",
    policy.mostly_slow(itertools.product(LAYERS, "fE"), (("lstm", "E"), ("gru", "f")).__contains__),
    ids="-".join,
)
def test_checked_under_every_schedule(case):
    """No report, and the same bits, whichever block or thread runs first."""
    layer, char = case
    run = lambda: LAYERS[layer](np.random.default_rng(1), (2, 35, 3, 8), dtype(char), "emulated", reverse=True)
    same_under_every_schedule(run)
