"""batch_norm.cu against its references in float64: shapes, memory formats, ReLU and residual, schedules, bugs."""

from __future__ import annotations

import numpy as np
import pytest

import policy
import weft
from kernels.array_checks import dtype, on, runs  # noqa: F401  (runs: a fixture)
from kernels.checked import same_under_every_schedule
from kernels.rows_checks import accurate, caught, lie
from weft.backends import reference as K
from weft.backends.gpu import batch_norm

pytestmark = pytest.mark.gpu

#: Types of elements and parameters, and shape: few and many channels, one and 16 bytes at a time, one part and several.
COMMON = [("ff", (5, 3)), ("ff", (2, 64, 3, 5)), ("ff", (3, 10, 7)), ("ff", (3000, 8)), ("ff", (9, 132)),
          ("Ef", (4, 16, 5, 5)), ("EE", (6, 24)), ("ee", (4, 3, 5)), ("dd", (5, 6))]  # fmt: skip
REST = [("ff", (2, 1, 30)), ("ff", (5, 300, 2, 2)), ("ff", (40_000, 4)), ("ff", (9, 2000)), ("Ef", (2, 512, 7, 7)),
        ("EE", (3000, 16)), ("ef", (50, 40, 3)), ("dd", (700, 33)), ("dd", (3, 128, 2, 2))]  # fmt: skip
SHAPES = [*COMMON, *(pytest.param(*case, marks=pytest.mark.slow) for case in REST)]
#: relu, residual, weight and bias
FUSED = [(False, False, "wb"), (True, False, "w"), (True, True, "wb"), (False, True, "b"), (False, False, "")]


def some(rng, shape, char, mean=0.0):
    return (mean + rng.standard_normal(shape)).astype(dtype(char))


def check(rng, chars, shape, fused, device, place=on, eps=1e-5, mean=0.5):
    """Value, statistics and gradients in training, and the value from given statistics. -> all, on the device"""
    relu, added, which = fused
    x, g = some(rng, shape, chars[0], mean), some(rng, shape, chars[0])
    r = some(rng, shape, chars[0]) if added else None
    w, b = (some(rng, shape[1], chars[1], 1) if letter in which else None for letter in "wb")
    wide = np.dtype("d" if chars[0] == "d" else "f")
    X, G, W, B, R = (v if v is None else place(device, v) if v.ndim > 1 else on(device, v) for v in (x, g, w, b, r))
    out, m, v = K.batch_norm_act(X, W, B, R, eps=eps, relu=relu)
    size = 4 * (1 if w is None else np.abs(w.astype("d")).max())
    params = {"eps": eps, "relu": relu}
    accurate((out, m, v), K.batch_norm_act.reference, [x, w, b, r], params, terms=size, kinds=[x.dtype, wide, wide])
    found = K.batch_norm_act_backward(G, X, W, m, v, out if relu else None, eps=eps, residual=added)
    rows = x.size // shape[1]
    rstd = (1 / np.sqrt(v.get().astype("d") + eps)).max()
    terms = size * np.abs(g.astype("d")).max() * max(rstd, rows**0.5)
    kind = x.dtype if w is None else w.dtype
    arrays = [g, x, w, m.get(), v.get(), out.get() if relu else None]
    accurate(found, K.batch_norm_act_backward.reference, arrays, {"eps": eps, "residual": added}, terms=terms,
             kinds=[x.dtype, kind, kind, x.dtype])  # fmt: skip
    given = m.get(), v.get()
    from_given = K.batch_norm_inference(X, W, B, on(device, given[0]), on(device, given[1]), R, eps=eps, relu=relu)
    arrays = [x, w, b, *given, r]
    accurate(from_given, K.batch_norm_inference.reference, arrays, params, terms=size, kinds=[x.dtype])
    return out, m, v, *found, from_given


@pytest.mark.parametrize("fused", FUSED, ids=str)
@pytest.mark.parametrize(("chars", "shape"), SHAPES)
def test_shapes(chars, shape, fused, device, rng):
    check(rng, chars, shape, fused, device)


def channels_last(device, values):
    """(N, C, H, W)"""
    return on(device, np.ascontiguousarray(values.transpose(0, 2, 3, 1))).transpose(0, 3, 1, 2)


PLACES = {
    "channels last": channels_last,
    "channels first": on,
    "every other row": lambda device, v: on(device, np.repeat(v, 2, 0))[::2],
    "gaps": lambda device, v: lie(v, device, "gaps"),
    "misaligned": lambda device, v: lie(v, device, "misaligned"),
}


@pytest.mark.sanitized
@pytest.mark.parametrize("place", PLACES.values(), ids=list(PLACES))
def test_memory_formats(place, device, rng):
    outs = check(rng, "ff", (2, 8, 3, 5), (True, True, "wb"), device, place)
    for out in (outs[0], outs[3], outs[6], outs[7]):
        assert out.strides == (8 * 15 * 4, 4, 8 * 5 * 4, 8 * 4)  # channels last, whatever came


def test_the_plain_primitives_are_the_same_kernels(device, rng):
    x, g, w = some(rng, (4, 8, 5), "f"), some(rng, (4, 8, 5), "f"), some(rng, 8, "f")
    X, G, W = on(device, x), on(device, g), on(device, w)
    out, mean, var = K.batch_norm(X, W, W, eps=1e-5)
    fused = K.batch_norm_act(X, W, W, None, eps=1e-5, relu=False)
    for a, b in zip((out, mean, var), fused, strict=True):
        np.testing.assert_array_equal(a.get(), b.get())
    got = K.batch_norm_backward(G, X, W, mean, var, eps=1e-5)
    want = K.batch_norm_act_backward(G, X, W, mean, var, None, eps=1e-5, residual=False)
    for a, b in zip(got, want[:3], strict=True):
        np.testing.assert_array_equal(a.get(), b.get())


def test_a_mean_far_from_zero_loses_no_variance(device, rng):
    x = (1000 + rng.standard_normal((3000, 4))).astype("f")
    _, mean, var = K.batch_norm(on(device, x), None, None, eps=0.0)
    np.testing.assert_allclose(var.get(), x.astype("d").var(0), rtol=1e-4)
    np.testing.assert_allclose(mean.get(), x.astype("d").mean(0), rtol=2e-7)


@pytest.mark.parametrize("char", ["f", "e", "E", "d"])
def test_running_statistics(char, device, rng):
    old_mean, old_var = some(rng, 300, char), np.abs(some(rng, 300, char))
    kind = "d" if char == "d" else "f"
    mean, var = some(rng, 300, kind), np.abs(some(rng, 300, kind))
    arrays = [old_mean, old_var, mean, var]
    params = {"momentum": 0.25, "count": 12}
    got = K.running_statistics(*(on(device, a) for a in arrays), **params)
    accurate(got, K.running_statistics.reference, arrays, params, terms=4, kinds=[dtype(char)] * 2)


def test_a_layer_trains_and_evaluates_as_on_the_cpu(device, rng):
    """Running statistics, and the layer with ReLU and a residual, in both modes."""
    x, r = some(rng, (4, 6, 3, 3), "f", 2), some(rng, (4, 6, 3, 3), "f")
    results = []
    for where in ("cpu", device):
        layer = weft.nn.BatchNorm2d(6).to(where)
        X, R = (weft.Tensor(on(where, v) if where != "cpu" else v, requires_grad=True) for v in (x, r))
        made = []
        for training in (True, False):
            layer.train(training)
            out = weft.nn.functional.batch_norm(
                X, layer.running_mean, layer.running_var, layer.weight, layer.bias, training, 0.3, 1e-5, R, True
            )
            (out * out).sum().backward()
            made += [out, X.grad, R.grad, layer.weight.grad, layer.running_mean, layer.running_var]
        results.append([t.numpy().copy() for t in made])
    for got, want in zip(results[1], results[0], strict=True):
        np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-5)


CHECKED = [("ff", (5, 3)), ("ff", (500, 8)), pytest.param("Ef", (4, 16, 5, 5), marks=pytest.mark.slow)]


@policy.needs("emulator")
@pytest.mark.parametrize(("chars", "shape"), CHECKED)
def test_checked_under_every_schedule(chars, shape, rng):
    x, g, r = (some(rng, shape, chars[0]) for _ in range(3))
    w = some(rng, shape[1], chars[1])

    def run():
        X, G, R, W = (on("emulated", v) for v in (x, g, r, w))
        out, mean, var = K.batch_norm_act(X, W, W, R, eps=1e-5, relu=True)
        found = K.batch_norm_act_backward(G, X, W, mean, var, out, eps=1e-5, residual=True)
        return out, mean, var, *found, *K.running_statistics(mean, var, mean, var, momentum=0.1, count=9)

    same_under_every_schedule(run)


#: what is wrong -> text, its replacement, shape, whether the checks are needed to see it
BUGS = {
    "lines are joined before they are there": (
        "half >= across; half /= 2) {\n    __syncthreads();", "half >= across; half /= 2) {", (500, 8), True),
    "parts are joined before they are there": (
        "half >= ACROSS; half /= 2) {\n    __syncthreads();", "half >= ACROSS; half /= 2) {", (3000, 8), True),
    "half of the lines are left out": (
        "int half = THREADS / 2; half >= across;", "int half = THREADS / 4; half >= across;", (500, 8), False),
    "parts overlap": ("start = w.part * blockIdx.y", "start = w.part * blockIdx.y / 2", (3000, 8), False),
    "counts of parts are equal": ("left < walk.part ? left : walk.part", "1", (3000, 8), False),
    "distances of parts are forgotten": ("difference * difference * a.count * part", "0", (40, 8), False),
    "ReLU passes gradients of nothing": ("if (!(Real(y.at[v]) > 0))", "if (!(Real(y.at[v]) >= 0))", (40, 8), False),
    "the residual is taken twice": ("value += Real(r.at[v])", "value += 2 * Real(r.at[v])", (5, 3), False),
    "channels beyond the last": ("end = channel < w.channels ? ", "end = channel <= w.channels ? ", (5, 3), True),
}  # fmt: skip


@policy.needs("emulator")
@pytest.mark.parametrize("bug", BUGS)
def test_bugs_are_caught(bug, patched, rng, monkeypatch):
    text, replacement, shape, checked = BUGS[bug]
    batch_norm.walk_over.cache_clear()
    patched("batch_norm.cu", text, replacement)
    caught(lambda: check(rng, "ff", shape, (True, True, "wb"), "emulated"), checked)


def test_a_layer_takes_a_residual_and_relu(device, rng):
    """The layer called so is the layer, a sum and ReLU, one after the other."""
    x, r = some(rng, (4, 8, 3, 3), "f"), some(rng, (4, 8, 3, 3), "f")
    layers = [weft.nn.BatchNorm2d(8).to(device) for _ in range(2)]
    X, R = weft.Tensor(on(device, x)), weft.Tensor(on(device, r))
    fused, apart = layers[0](X, R, relu=True), (layers[1](X) + R).relu()
    np.testing.assert_allclose(fused.numpy(), apart.numpy(), rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(layers[0].running_var.numpy(), layers[1].running_var.numpy())
