"""The fast entries of softmax, losses, norms and activations against their references in float64, on every instruction
set; against PyTorch; and bit for bit on any number of threads."""

import hashlib

import numpy as np
import pytest

import weft
from backends.image_checks import elsewhere
from policy import needs
from weft.backends import reference as K

pytestmark = needs("native")

CHECK = "from backends.test_rowwise import check\nfor seed in range({0}, {1}): check(seed)"
DIGEST = "from backends.test_rowwise import digest\nprint(digest())"
SIZES = (1, 2, 3, 5, 7, 8, 10, 15, 16, 17, 31, 33, 63, 64, 65, 100, 129, 257, 1000)


def agree(name, arrays, tolerance=3e-6, scale=None, **params):
    """The entry of `name` within `tolerance` of `scale`, the largest element by default, from the float64 reference."""
    primitive = getattr(K, name)
    assert primitive.select(tuple(arrays)) is not primitive.reference, f"{name} has no entry for these arrays"
    got = primitive(*arrays, **params)
    exact = [a.astype(np.float64) if a is not None and a.dtype.kind == "f" else a for a in arrays]
    with np.errstate(all="ignore"):
        want = primitive.reference(*exact, **params)
    pairs = zip(got, want, strict=True) if isinstance(got, tuple) else [(got, want)]
    for g, w in pairs:
        what = f"{name} {[None if a is None else a.shape for a in arrays]} {params}"
        if w is None:
            assert g is None, what
            continue
        assert g.shape == w.shape and g.dtype == np.float32, f"{what}: {g.shape} {g.dtype}, expected {w.shape}"
        np.testing.assert_array_equal(np.isnan(g), np.isnan(w), what)
        finite = np.isfinite(w)
        np.testing.assert_array_equal(g[~finite & ~np.isnan(w)], w[~finite & ~np.isnan(w)], what)
        if finite.any():
            worst = np.abs(g[finite] - w[finite]).max()
            largest = max(np.abs(w[finite]).max(), scale or 0, 1e-3)
            assert worst <= tolerance * largest, f"{what}: off by {worst}"
    return got


def layout(rng, a):
    """The same values in memory as it may come."""
    kind = rng.integers(0, 4)
    if kind == 0 and a.ndim > 1:
        return np.ascontiguousarray(a.T).T
    if kind == 1 and a.ndim:
        return np.repeat(a, 2, axis=-1)[..., ::2]
    return a


def check(seed):
    """Every entry once, on one random shape."""
    rng = np.random.default_rng(seed)

    def normal(*shape):
        return layout(rng, rng.standard_normal(shape, dtype=np.float32))

    rows, columns = int(rng.choice([0, 1, 2, 3, 17, 40, 150])), int(rng.choice(SIZES))
    shape = [(rows, columns), (columns,), (2, rows, columns), (3, rows, 2, columns)][seed % 4]
    x, g = normal(*shape) * int(rng.choice([1, 10])), normal(*shape)
    for axis in range(-1, len(shape)):
        y = agree("softmax", [x], axis=axis)
        agree("softmax_backward", [g, y], axis=axis, scale=1)
        log = agree("log_softmax", [x], axis=axis)
        agree("log_softmax_backward", [g, log], 2e-5, axis=axis, scale=10)
    w, b = normal(columns), normal(columns)
    for weight, bias in ((w, b), (w, None), (None, b), (None, None)):
        _, mean, rstd = agree("layer_norm", [x, weight, bias], 1e-5, eps=1e-5)
        scale = 10 * float(rstd.max(initial=0))
        agree("layer_norm_backward", [g, x, weight, mean, rstd], 2e-6, scale=max(scale, rows))
        _, rstd = agree("rms_norm", [x, weight], eps=1e-6)
        scale = 10 * float(rstd.max(initial=0))
        agree("rms_norm_backward", [g, x, weight, rstd], 2e-6, scale=max(scale, rows))
    labels = rng.integers(0, columns, rows)
    labels[rng.random(rows) < 0.2] = -100
    logits = layout(rng, rng.standard_normal((rows, columns), dtype=np.float32) * 4)
    for weight in (None, np.abs(w)):
        for smoothing in (0.0, 0.1):
            options = {"ignore_index": -100, "label_smoothing": smoothing}
            _, lse = agree("cross_entropy", [logits, labels, weight], 5e-6, **options)
            for g_rows in (normal(rows), normal(1)):
                agree("cross_entropy_backward", [g_rows, logits, labels, weight, lse], 2e-5, scale=1, **options)
    for form in ("none", "tanh"):
        agree("gelu", [x * 3], scale=1, approximate=form)
        agree("gelu_backward", [g, x * 3], 5e-6, scale=1, approximate=form)
    agree("silu", [x * 3])
    agree("silu_backward", [g, x * 3], 5e-6, scale=1)
    agree("relu_backward", [g, agree("relu", [x])])


@pytest.mark.parametrize("first", range(0, 80, 20))
def test_against_the_references(first):
    for seed in range(first, first + 20):
        check(seed)


def test_on_every_instruction_set():
    for isa in weft._cpu.supported_isas():
        elsewhere(CHECK.format(100, 140), WEFT_ISA=isa)


def digest():
    """A checksum of every entry on arrays that all threads share."""
    rng = np.random.default_rng(0)
    rows, columns = 301, 517
    x, g = rng.standard_normal((2, rows, columns), dtype=np.float32)
    w, b = rng.standard_normal((2, columns), dtype=np.float32)
    labels, options = rng.integers(0, columns, rows), {"ignore_index": 3, "label_smoothing": 0.1}
    found = [K.softmax(x, axis=1), K.softmax(x, axis=0), K.log_softmax(x, axis=1), *K.layer_norm(x, w, b, eps=1e-5)]
    found += K.layer_norm_backward(g, x, w, *found[-2:])
    found += K.layer_norm_backward(g, x, None, *found[4:6])[::2]
    found += K.rms_norm(x, w, eps=1e-5)
    found += K.rms_norm_backward(g, x, w, found[-1])
    found += K.cross_entropy(x, labels, None, **options)
    found += [K.cross_entropy_backward(found[-2], x, labels, None, found[-1], **options)]
    found += [K.softmax_backward(g, found[0], axis=1), K.log_softmax_backward(g, found[2], axis=1), K.silu(x)]
    found += [K.gelu(x, approximate="none"), K.gelu_backward(g, x, approximate="none"), K.relu(x)]
    return hashlib.sha256(b"".join([a.tobytes() for a in found])).hexdigest()


def test_the_number_of_threads_changes_no_bit():
    assert len({elsewhere(DIGEST, WEFT_NUM_THREADS=n) for n in ("1", "2", "3", "7")}) == 1


ODD = np.array(
    [
        [np.nan, 1, 2, 3],
        [np.inf, 1, 2, 3],
        [-np.inf, 1, 2, 3],
        [-np.inf, -np.inf, -np.inf, -np.inf],
        [1.5e38, -1.5e38, 0, 1],
        [1e-40, -1e-40, 0, 0],
        [88.7, -88.7, 104, -104],
    ],
    np.float32,
)


@pytest.mark.parametrize("width", [4, 23])
def test_nan_infinities_and_huge_logits(width):
    x = np.concatenate([ODD, np.tile(ODD[:, -1:], width - 4)], axis=1)
    for axis in (0, 1):
        y = agree("softmax", [x], axis=axis)
        log = agree("log_softmax", [x], axis=axis)
        agree("softmax_backward", [np.ones_like(y), y], axis=axis, scale=1)
        agree("log_softmax_backward", [np.ones_like(y), log], 1e-5, axis=axis, scale=10)
    labels = np.arange(len(x)) % 4
    options = {"ignore_index": 3, "label_smoothing": 0.0}
    _, lse = agree("cross_entropy", [x, labels, None], **options)
    agree("cross_entropy_backward", [np.ones(1, np.float32), x, labels, None, lse], 1e-5, **options)
    for form in ("none", "tanh"):
        moderate = np.where(np.abs(x) > 1e30, 0, x)  # x^3 of the reference in float64 overflows later
        agree("gelu", [moderate], approximate=form)
        agree("gelu_backward", [moderate * 0 + 1, moderate], 1e-5, approximate=form)
    agree("silu", [np.where(np.isinf(x), 0, x)])
    agree("relu", [x])
    agree("relu_backward", [np.ones_like(x), K.relu(x)])


@pytest.mark.parametrize("columns", [1, 7, 64, 1000])
def test_norms_of_odd_rows(columns):
    rng = np.random.default_rng(columns)
    x = rng.standard_normal((6, columns)).astype(np.float32)
    x[0, 0], x[1, -1], x[2] = np.nan, np.inf, 5.0
    x[3] += 1e4  # mean >> std
    x[4] *= 1e-20
    out, mean, rstd = K.layer_norm(x, None, None, eps=1e-5)
    with np.errstate(invalid="ignore"):
        exact = K.layer_norm.reference(x.astype(np.float64), None, None, eps=1e-5)
    assert np.isnan(out[:2]).all()
    np.testing.assert_array_equal(out[2], np.zeros(columns))
    np.testing.assert_allclose(out[3], exact[0][3], atol=2e-2)  # the mean itself is known to 1e-3 only
    np.testing.assert_allclose(rstd[3], exact[2][3], rtol=1e-3)
    np.testing.assert_allclose(out[4:], exact[0][4:], rtol=1e-4, atol=1e-5)
    constant = np.full((2, columns), 3e38 / columns, np.float32)  # its neighbours in a vector must not be read
    _, mean, rstd = K.layer_norm(constant, None, None, eps=1e-5)
    gx, _, _ = K.layer_norm_backward(np.ones_like(constant), constant, None, mean, rstd)
    assert np.isfinite(gx).all()


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (2, 0, 3), (0,)])
def test_empty_arrays(shape):
    x = np.zeros(shape, np.float32)
    w = np.ones(shape[-1], np.float32)
    for axis in range(len(shape)):
        assert K.softmax(x, axis=axis).shape == K.log_softmax_backward(x, x, axis=axis).shape == shape
    out, mean, rstd = K.layer_norm(x, w, w, eps=1e-5)
    assert out.shape == shape and mean.shape == rstd.shape == (*shape[:-1], 1)
    gx, gw, gb = K.layer_norm_backward(x, x, w, mean, rstd)
    assert gx.shape == shape
    np.testing.assert_array_equal([gw, gb], np.zeros((2, shape[-1])))
    out, rstd = K.rms_norm(x, w, eps=1e-5)
    np.testing.assert_array_equal(K.rms_norm_backward(x, x, w, rstd)[1], np.zeros(shape[-1]))
    assert K.gelu(x, approximate="none").shape == K.relu(x).shape == shape


def test_wrong_arguments_raise():
    x, labels = np.zeros((3, 4), np.float32), np.array([0, 4, 1])
    options = {"ignore_index": -100, "label_smoothing": 0.0}
    with pytest.raises(IndexError, match=r"cross_entropy: expected labels in \[0, 4\), got 4 at position 1"):
        K.cross_entropy(x, labels, None, **options)
    with pytest.raises(ValueError, match=r"cross_entropy: expected logits \(N, C\) and labels \(N,\)"):
        K.cross_entropy(x, labels[:2], None, **options)
    for wrong in (labels * 0.5, np.array("abc"), labels > 0):
        with pytest.raises(TypeError, match="cross_entropy: expected integer labels"):
            weft._cpu.cross_entropy(x, wrong, None, -100, 0.0)
    wide = np.array([0, 2**63 + 5, 1], np.uint64)
    with pytest.raises(IndexError, match="at position 1"):
        weft._cpu.cross_entropy(x, wide, None, -100, 0.0)
    with pytest.raises(ValueError, match=r"softmax: expected an axis of \(3, 4\), got 2"):
        K.softmax(x, axis=2)
    with pytest.raises(ValueError, match="layer_norm: weight: expected 4 values"):
        K.layer_norm(x, np.ones(3, np.float32), None, eps=1e-5)
    with pytest.raises(ValueError, match=r"silu_backward: expected arrays of one shape, got \(3, 4\) and \(4,\)"):
        K.silu_backward(x, x[0])


@pytest.mark.parametrize("seed", range(6))
def test_against_torch(seed):
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    rng = np.random.default_rng(seed)
    rows, columns = int(rng.integers(1, 60)), int(rng.integers(2, 200))
    x, g = rng.standard_normal((2, rows, columns), dtype=np.float32)
    w, b = rng.standard_normal((2, columns), dtype=np.float32)
    labels = rng.integers(0, columns, rows)
    labels[0] = -100

    def both(ours, theirs, *arrays):
        """Values and gradients of one function in both."""
        mine = [weft.Tensor(a, requires_grad=True) for a in arrays]
        its = [torch.tensor(a, requires_grad=True) for a in arrays]
        y, t = ours(*mine), theirs(*its)
        seed_gradient = g if y.ndim else np.ones((), np.float32)
        y.backward(seed_gradient)
        t.backward(torch.tensor(seed_gradient))
        for got, want in [(y.numpy(), t.detach()), *[(p.grad.numpy(), q.grad) for p, q in zip(mine, its)]]:
            want = want.numpy()
            assert got.shape == want.shape
            assert np.abs(got - want).max() <= 1e-5 * max(np.abs(want).max(), 1e-2)

    both(weft.softmax, lambda x: F.softmax(x, -1), x)
    both(weft.log_softmax, lambda x: F.log_softmax(x, -1), x)
    both(weft.layer_norm, lambda x, w, b: F.layer_norm(x, (columns,), w, b), x, w, b)
    both(weft.rms_norm, lambda x, w: F.rms_norm(x, (columns,), w), x, w)
    both(weft.gelu, F.gelu, x)
    both(weft.silu, F.silu, x)
    both(weft.relu, F.relu, x)
    for options in ({}, {"label_smoothing": 0.2}, {"weight": np.abs(w)}, {"weight": np.abs(w), "label_smoothing": 0.1}):
        theirs = {k: torch.tensor(v) if k == "weight" else v for k, v in options.items()}
        both(
            lambda x, o=options: weft.cross_entropy(x, labels, **o),
            lambda x, o=theirs: F.cross_entropy(x, torch.tensor(labels), **o),
            x,
        )
