"""cross_entropy.cu against its reference in float64: lengths, weights, smoothing, labels, gradients in place, bugs."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import policy
import weft
from kernels.array_checks import dtype, on, runs  # noqa: F401  (runs: a fixture)
from kernels.checked import same_under_every_schedule
from kernels.rows_checks import LAYOUTS, accurate, caught, lie
from weft.backends import reference as K
from weft.backends.gpu import index, loss, maps, namespace

pytestmark = pytest.mark.gpu

#: Type and number of classes: every team of threads, whole vectors and odd ends.
COMMON = [("f", 5), ("f", 100), ("f", 3001), ("f", 16400), ("E", 24), ("E", 50257), ("e", 101), ("d", 6)]
REST = [("f", 64), ("f", 7), ("f", 2001), ("f", 4096), ("f", 20001), ("E", 1000), ("E", 8192), ("e", 33), ("d", 501),
        ("d", 20000)]  # fmt: skip
CLASSES = [*COMMON, *(pytest.param(*case, marks=pytest.mark.slow) for case in REST)]
#: Smoothing, whether classes weigh differently, whether the gradient is one number for all.
OPTIONS = [(0.0, False, False), (0.0, True, False), (0.1, False, True), (0.3, True, False)]


def drawn(rng, count, classes, char, weighted, label="l"):
    """Logits, labels of which one is ignored, and class weights or None."""
    logits = (3 * rng.standard_normal((count, classes))).astype(dtype(char))
    labels = rng.integers(0, classes, count).astype(label)
    if count > 1:
        labels[rng.integers(count)] = -100
    return logits, labels, (rng.random(classes) + 0.1).astype(dtype(char)) if weighted else None


def check(logits, labels, weight, g, smoothing, device, place=on):
    """Losses, logarithms of sums and gradients; everything in NumPy. -> the three on the device"""
    params = {"ignore_index": -100, "label_smoothing": smoothing}
    X, L = place(device, logits), on(device, labels)
    W = None if weight is None else place(device, weight) if weight.ndim and place is on else on(device, weight)
    real = np.dtype("d" if logits.dtype.char == "d" else "f")
    losses, lse = K.cross_entropy(X, L, W, **params)
    terms = 4 * np.abs(logits.astype("d")).max() * (1 if weight is None else weight.astype("d").max())
    arrays = [logits, labels, weight]
    accurate((losses, lse), K.cross_entropy.reference, arrays, params, terms=terms, kinds=[real, real])
    gx = K.cross_entropy_backward(on(device, g), X, L, W, lse, **params)
    terms = np.abs(g.astype("d")).max() * (1 if weight is None else weight.astype("d").max())
    arrays = [g, logits, labels, weight, lse.get()]
    accurate(gx, K.cross_entropy_backward.reference, arrays, params, terms=terms, kinds=[logits.dtype])
    return losses, lse, gx


def in_place(logits, labels, weight, ignore_index, smoothing):
    """The losses of dense logits, which become the gradient of each row's loss."""
    call = loss.Call(logits, labels, weight, ignore_index, smoothing)
    losses = loss.empty(logits.shape[:1], call.real, logits.device_name)
    call.launch("cross_entropy_in_place", losses, logits, call.labels)
    return losses


@pytest.mark.parametrize(("smoothing", "weighted", "single"), OPTIONS)
@pytest.mark.parametrize(("char", "classes"), CLASSES)
def test_classes(char, classes, smoothing, weighted, single, device, rng):
    for count in (1, 9, 40) if classes < 200 else (3,):
        logits, labels, weight = drawn(rng, count, classes, char, weighted)
        g = rng.standard_normal(1 if single else count).astype(dtype(char))
        check(logits, labels, weight, g, smoothing, device)


@pytest.mark.sanitized
@pytest.mark.parametrize("label", ["i", "l", "B", "h"])
def test_labels_of_every_width(label, device, rng):
    logits, labels, _ = drawn(rng, 9, 11, "f", False, "l")
    labels = np.abs(labels) % 11
    outs = check(logits, labels.astype(label), None, np.ones(9, "f"), 0.1, device)
    for got, want in zip(outs, check(logits, labels, None, np.ones(9, "f"), 0.1, device), strict=True):
        np.testing.assert_array_equal(got.get(), want.get())


@pytest.mark.sanitized
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout, device, rng):
    logits, labels, weight = drawn(rng, 6, 10, "f", True)
    check(logits, labels, weight, rng.standard_normal(6).astype("f"), 0.2, device, lambda d, v: lie(v, d, layout))


@pytest.mark.parametrize("char", ["f", "E"])
def test_weights_of_another_type(char, device, rng):
    logits, labels, weight = drawn(rng, 9, 24, char, True)
    for kind in ("f", "e", "E"):
        check(logits, labels, weight.astype(dtype(kind)), np.ones(9, dtype(char)), 0.1, device)


@pytest.mark.parametrize(("char", "classes"), [("f", 5), ("f", 3001), ("E", 24)])
def test_the_gradient_over_the_logits(char, classes, device, rng):
    """In one launch, and in the backward pass: the same values as beside them."""
    for smoothing, weighted in itertools.product((0.0, 0.1), (False, True)):
        logits, labels, weight = drawn(rng, 9, classes, char, weighted)
        losses, lse, gx = check(logits, labels, weight, np.ones(9, dtype(char)), smoothing, device)
        X, L, W = on(device, logits), on(device, labels), None if weight is None else on(device, weight)
        narrow = in_place(X, L, W, -100, smoothing).get().astype(losses.dtype)
        np.testing.assert_array_equal(narrow, losses.get())
        np.testing.assert_array_equal(X.get(), gx.get())
        X = on(device, logits)
        one = on(device, np.ones(1, dtype(char)))
        assert loss.write_gradient(X, one, X, lse, loss.Call(X, L, W, -100, smoothing)) is X
        np.testing.assert_array_equal(X.get(), gx.get())


def test_huge_and_infinite_logits(device):
    """A label of probability 0 costs infinitely much; a row without a finite number is NaN."""
    inf = np.inf
    logits = np.array([[1e4, -1e4, 0], [-inf, 0, 0], [-inf, 5, -inf], [-inf, 5, 1], [-inf] * 3, [inf, 0, 0]], "f")
    labels = np.array([1, 2, 1, 0, 0, 1])
    for smoothing in (0.0, 0.1):
        params = {"ignore_index": -100, "label_smoothing": smoothing}
        with np.errstate(invalid="ignore", divide="ignore"):
            want, _ = K.cross_entropy.reference(logits, labels, None, **params)
        losses, _ = K.cross_entropy(on(device, logits), on(device, labels), None, **params)
        np.testing.assert_allclose(losses.get(), want, rtol=1e-6)


@pytest.mark.parametrize("classes", [10, 300])
def test_a_bad_label_is_named_when_values_are_waited_for(classes, device, rng):
    for bad in (classes, -1, 2**40):
        logits, labels, _ = drawn(rng, 4, classes, "f", False)
        labels[2] = bad
        out = weft.cross_entropy(weft.Tensor(on(device, logits)), weft.Tensor(on(device, labels)))
        message = rf"cross_entropy: expected labels in \[0, {classes}\), got {bad} at position 2$"
        with pytest.raises(IndexError, match=message):
            out.numpy()


def test_an_ignored_row_is_not_looked_at(device):
    logits = np.array([[1.0, 2.0, 3.0], [np.nan, np.inf, 0]], "f")
    params = {"ignore_index": 7, "label_smoothing": 0.1}
    X, L = on(device, logits), on(device, np.array([0, 7]))
    losses, lse = K.cross_entropy(X, L, None, **params)
    assert losses.get()[1] == 0
    gx = K.cross_entropy_backward(on(device, np.ones(2, "f")), X, L, None, lse, **params)
    np.testing.assert_array_equal(gx.get()[1], [0, 0, 0])


def test_nothing(device):
    params = {"ignore_index": -100, "label_smoothing": 0.0}
    X, L = on(device, np.zeros((0, 3), "f")), on(device, np.zeros(0, "l"))
    losses, lse = K.cross_entropy(X, L, None, **params)
    assert losses.shape == lse.shape == (0,)
    assert K.cross_entropy_backward(on(device, np.zeros(0, "f")), X, L, None, lse, **params).shape == (0, 3)


def head(rng, char, count=9, features=6, classes=40):
    """Inputs of the last linear layer: x, weight, bias, labels, class weights."""
    x, w, b = ((rng.standard_normal(s)).astype(dtype(char)) for s in ((count, features), (classes, features), classes))
    return x, w, b, *drawn(rng, count, classes, char, True)[1:]


@pytest.mark.parametrize("chunk", [4, None])
@pytest.mark.parametrize("char", policy.mostly_slow("fEed", "fE".__contains__))
def test_with_the_linear_layer_before_it(char, chunk, device, rng):
    """Both ways to the gradients, some rows at a time, as in float64; those of the parameters come in float32."""
    arrays = head(rng, char)
    params = {"ignore_index": -100, "label_smoothing": 0.1, "chunk": chunk}
    x, w, b, labels, weights = (on(device, a) for a in arrays)
    wide = [a if a.dtype.kind == "i" else a.astype("d") for a in arrays]
    every = {**params, "wanted": (True, True, True)}
    losses, *early = K.linear_cross_entropy_gradients(x, w, b, labels, weights, **every)
    again, lse = K.linear_cross_entropy(x, w, b, labels, weights, **params)
    np.testing.assert_array_equal(losses.get(), again.get())
    want, *gradients = K.linear_cross_entropy_gradients.reference(*wide, **every)
    unit = {"f": 1e-6, "E": 2e-2, "e": 2e-3, "d": 1e-14}[char]
    np.testing.assert_allclose(losses.get(), want, rtol=unit, atol=4 * unit)
    late = K.linear_cross_entropy_backward(on(device, np.ones(1, dtype(char))), x, w, b, labels, weights, lse, **every)
    assert early[0].dtype == dtype(char) and early[1].dtype == early[2].dtype == losses.dtype == lse.dtype
    for got, other, expected in zip(early, late, gradients, strict=True):
        np.testing.assert_array_equal(got.get(), other.get())
        np.testing.assert_allclose(got.get().astype("d"), expected, atol=2 * unit * np.abs(expected).max())


def test_the_logits_of_a_chunk_at_a_time(device, rng):
    """No array of all logits is made, and what is not wanted is not computed."""
    x, w, b, labels, _ = (on(device, a) for a in head(rng, "f", count=64, classes=300))
    sizes = []
    original = loss.empty
    loss.empty = lambda shape, *rest: sizes.append(int(np.prod(shape))) or original(shape, *rest)
    try:
        params = {"ignore_index": -100, "label_smoothing": 0.0, "chunk": 8, "wanted": (True, False, False)}
        _, gx, gw, gb = K.linear_cross_entropy_gradients(x, w, b, labels, None, **params)
    finally:
        loss.empty = original
    assert gw is gb is None and gx.shape == x.shape
    assert max(sizes) == 8 * 300


def test_a_bad_label_of_a_head(device, rng):
    x, w, b, labels, _ = head(rng, "f")
    labels[3] = 40
    inputs = [weft.Tensor(on(device, a)) for a in (x, w, labels, b)]
    for shape, place in (((9,), "3"), ((3, 3), r"\(1, 0\)")):
        x, labels = inputs[0].reshape((*shape, -1)), inputs[2].reshape(shape)
        out = weft.linear_cross_entropy(x, inputs[1], labels, inputs[3], chunk_size=2)
        message = rf"^linear_cross_entropy: expected labels in \[0, 40\), got 40 at position {place}$"
        with pytest.raises(IndexError, match=message):
            out.numpy()


CHECKED = [("f", 5), ("f", 3001), pytest.param("E", 50257, marks=pytest.mark.slow)]


@policy.needs("emulator")
@pytest.mark.parametrize(("char", "classes"), CHECKED)
def test_checked_under_every_schedule(char, classes, rng):
    logits, labels, weight = drawn(rng, 3, classes, char, True)
    g = rng.standard_normal(3).astype(dtype(char))

    def run():
        X, L, W, G = (on("emulated", v) for v in (logits, labels, weight, g))
        params = {"ignore_index": -100, "label_smoothing": 0.1}
        losses, lse = K.cross_entropy(X, L, W, **params)
        gx = K.cross_entropy_backward(G, X, L, W, lse, **params)
        return losses, lse, gx, in_place(X, L, W, -100, 0.1), X

    same_under_every_schedule(run)


@pytest.mark.slow
@policy.needs("emulator")
def test_a_head_checked_under_every_schedule(rng):
    arrays = head(rng, "E", classes=70)
    params = {"ignore_index": -100, "label_smoothing": 0.1, "chunk": 4, "wanted": (True, True, True)}
    same_under_every_schedule(lambda: K.linear_cross_entropy_gradients(*(on("emulated", a) for a in arrays), **params))


FILE = "cross_entropy.cu"
#: what is wrong -> text, its replacement, classes, whether the checks are needed to see it
BUGS = {
    "the gradient is written while others still read the label's logit": (
        "    if constexpr (LANES > 32)\n      __syncthreads();\n    else\n      __syncwarp();\n",
        "    const_cast<Real&>(hit) = logits[row * o.columns + label < 0 ? 0 : row * o.columns + label];\n", 300, True),
    "smoothing takes elements beyond the row": (
        "if (!WHOLE && (at + v < 0 || at + v >= o.columns)) continue;", "", 5, True),
    "the label's probability is not lowered": ("at + v == label ? p - 1 : p", "p", 5, False),
    "an ignored row has a gradient": ("label < 0 ? Real(0) : here * g", "here * g", 5, False),
    "sums are joined without their distance": ("below + weight * (most - old)", "below", 300, False),
    "a label beyond the classes is taken": ("label < o.columns)", "label <= o.columns)", 5, True),
}  # fmt: skip


@policy.needs("emulator")
@pytest.mark.parametrize("bug", BUGS)
def test_bugs_are_caught(bug, patched, rng):
    text, replacement, classes, checked = BUGS[bug]
    patched(FILE, text, replacement)
    logits, labels, weight = drawn(rng, 5, classes, "f", True)

    def run():
        losses, lse, gx = check(logits, labels, weight, np.ones(5, "f"), 0.2, "emulated")
        X = on("emulated", logits)
        np.testing.assert_array_equal(
            in_place(X, on("emulated", labels), on("emulated", weight), -100, 0.2).get(), losses.get()
        )
        if "beyond" in bug:
            params = {"ignore_index": -100, "label_smoothing": 0.0}
            K.cross_entropy(X, on("emulated", np.full(5, classes)), None, **params)

    caught(run, checked)


# -- backward, which writes over logits that nobody else holds -------------------------------------------------------


def backward(device, make, y, after=lambda loss, logits: loss.backward(), weight=None):
    """Gradients of x (and of weight) through make(x) and cross_entropy, and whether the logits became their gradient.

    after: what is done with the loss, and with the logits where it keeps them.
    """
    x, over = weft.Tensor(on(device, X), requires_grad=True), []
    logits = make(x)
    pointer = getattr(logits.data, "pointer", 0)
    logits.register_hook(lambda g: over.append(getattr(g.data, "pointer", 1) == pointer))
    weights = None if weight is None else weft.Tensor(on(device, weight), requires_grad=True)
    loss = weft.cross_entropy(logits, weft.Tensor(on(device, y)), weights)
    held = logits if after.__name__ == "keeping" else None
    del logits
    after(loss, held)
    return [t.grad.numpy() for t in (x, weights) if t is not None], over


X = np.random.default_rng(5).standard_normal((6, 5)).astype("f")
Y = np.array([0, 4, 2, -100, 1, 1])


def keeping(loss, logits):
    before = logits.numpy().copy()
    loss.backward()
    np.testing.assert_array_equal(logits.numpy(), before)


def twice(loss, _):
    loss.backward(retain_graph=True)
    loss.backward()


def view_kept(x):
    global kept
    out = x * 2
    kept = out[1:3]
    return out


SOLE = {
    "product": (lambda x: x * 2, {}, True),
    "view": (lambda x: (x * 2).reshape((2, 3, 5)).reshape((6, 5)), {}, True),
    "more axes": (lambda x: (x * 2).reshape((2, 3, 5)).swapaxes(1, 2), {"y": Y.reshape(2, 3)}, None),
    "weights": (lambda x: x * 2, {"weight": np.linspace(0.5, 2, 5, dtype="f")}, False),
    "result that was saved": (weft.exp, {}, False),
    "Tensor kept": (lambda x: x * 2, {"after": keeping}, False),
    "view kept": (view_kept, {}, False),
    "graph kept": (lambda x: x * 2, {"after": twice}, None),
}


@pytest.mark.parametrize("case", SOLE)
def test_backward_writes_over_logits_that_nobody_else_holds(case, device):
    make, options, expected = SOLE[case]
    options = {"y": Y, **options}
    got, over = backward(device, make, **options)
    if case == "view kept":
        np.testing.assert_array_equal(kept.numpy(), 2 * X[1:3])
    want, _ = backward("cpu", make, **options)
    for a, e in zip(got, want, strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-5, atol=1e-6)
    if case == "graph kept":
        assert over == [False, True]
    elif expected is not None:
        assert over == [expected]


def test_of_two_losses_the_last_takes_the_logits(device):
    x = weft.Tensor(on(device, X), requires_grad=True)
    y, z = weft.Tensor(on(device, Y)), weft.Tensor(on(device, (Y + 1) % 5))
    logits = x * 2
    loss = weft.cross_entropy(logits, y) + weft.cross_entropy(logits, z)
    del logits
    loss.backward()
    other = weft.Tensor(X, requires_grad=True)
    logits = other * 2
    (weft.cross_entropy(logits, Y) + weft.cross_entropy(logits, (Y + 1) % 5)).backward()
    np.testing.assert_allclose(x.grad.numpy(), other.grad.numpy(), rtol=1e-5, atol=1e-6)


def test_labels_of_32_bits_are_taken_as_they_are(device, monkeypatch):
    copies = []
    original = maps.apply
    for module in (namespace, index):
        monkeypatch.setattr(module, "apply", lambda *a, **k: copies.append((a[0], k)) or original(*a, **k))
    loss = weft.cross_entropy(weft.Tensor(on(device, X)), weft.Tensor(on(device, Y.astype(np.int32))))
    assert not [c for c in copies if c[0] == "copy" and c[1].get("dtype") == np.int64]
    assert loss.item() == weft.cross_entropy(weft.Tensor(on(device, X)), weft.Tensor(on(device, Y))).item()
    labels = weft.Tensor(on(device, np.abs(Y % 5).astype("i")))
    assert np.isfinite(weft.cross_entropy(weft.Tensor(on(device, X)), labels, ignore_index=2**40).item())
