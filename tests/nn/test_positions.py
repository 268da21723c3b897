"""Rotary and sinusoidal positions against their papers in float64, and decoding with a cache against the whole pass."""

import numpy as np
import pytest

import weft
from policy import needs
from weft import nn
from weft.testing import gradcheck, gradgradcheck


@pytest.mark.parametrize("seed", range(5))
def test_rotary_is_its_papers(seed):
    """Equation 15 of Su et al. (2021) with pairs (i, i + D/2): a complex number turned by t theta_i."""
    rng = np.random.default_rng(seed)
    D, T, start, base = 2 * int(rng.integers(1, 6)), int(rng.integers(1, 9)), [0, 3][seed % 2], [1e4, 500.0][seed % 2]
    x = rng.standard_normal((*[(2, 3), (), (4,)][seed % 3], T, D))
    angles = (start + np.arange(T))[:, None] * base ** (-2 * np.arange(D // 2) / D)
    z = (x[..., : D // 2] + 1j * x[..., D // 2 :]) * np.exp(1j * angles)
    layer = nn.RotaryEmbedding(D, base)
    wanted = np.concatenate([z.real, z.imag], -1)
    np.testing.assert_allclose(layer(weft.asarray(x.astype(np.float32)), start).numpy(), wanted, atol=3e-6)
    gradcheck(lambda x: layer(x, start), [x])
    gradgradcheck(lambda x: layer(x, start), [x])


def test_a_rotated_product_depends_on_the_distance():
    rng = np.random.default_rng(0)
    layer = nn.RotaryEmbedding(8)
    q, k = (weft.asarray(rng.standard_normal((1, 8)).astype(np.float32)) for _ in range(2))
    products = [float((layer(q, t) * layer(k, t + 3)).sum()) for t in (0, 7, 100)]
    np.testing.assert_allclose(products, products[0], rtol=1e-4)


@pytest.mark.parametrize("seed", range(5))
def test_sinusoidal_is_its_papers(seed):
    """PE(pos, 2i) = sin(pos / 10000^(2i / d)), PE(pos, 2i + 1) = cos of it: Vaswani et al. (2017)."""
    rng = np.random.default_rng(seed)
    d, T, start, batch_first = int(rng.integers(1, 9)), int(rng.integers(1, 9)), [0, 5][seed % 2], bool(seed % 3)
    x = rng.standard_normal((2, T, d) if batch_first else (T, 2, d)).astype(np.float32)
    added = np.zeros((T, d))
    for t in range(T):
        for j in range(d):
            angle = (start + t) / 10000 ** (2 * (j // 2) / d)
            added[t, j] = np.cos(angle) if j % 2 else np.sin(angle)
    layer = nn.SinusoidalPositionalEncoding(d, batch_first=batch_first)
    wanted = x + (added if batch_first else added[:, None])
    np.testing.assert_allclose(layer(weft.asarray(x), start).numpy(), wanted, rtol=1e-6, atol=1e-6)
    assert not list(layer.state_dict())


def test_sinusoids_are_those_of_each_call():
    """The table that is kept is made anew for other lengths, starts, axes and dtypes."""
    layer = nn.SinusoidalPositionalEncoding(4)
    for shape, start, dtype in [((2, 3, 4), 0, "float32"), ((2, 3, 4), 0, "float32"), ((2, 3, 4), 7, "float32"),
                                ((2, 5, 4), 7, "float32"), ((5, 4), 7, "float32"), ((5, 4), 7, "float64")]:  # fmt: skip
        got = layer(weft.zeros(shape, dtype=dtype), start)
        assert str(got.dtype) == dtype
        table = layer.table(shape[-2], start)
        np.testing.assert_allclose(got.numpy(), np.broadcast_to(table, shape), atol=1e-6 if dtype == "float32" else 0)


class Attention(nn.Module):
    """Grouped-query attention with rotary positions, of which a decoder is made."""

    def __init__(self, width=8, heads=4, key_heads=2):
        self.heads, self.key_heads, self.size = heads, key_heads, width // heads
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * key_heads * self.size)
        self.rotate = nn.RotaryEmbedding(self.size)

    def forward(self, x, cache=None):
        N, T, _ = x.shape
        start = 0 if cache is None else len(cache)
        q = self.q(x).reshape(N, T, self.heads, self.size).swapaxes(1, 2)
        kv = self.kv(x).reshape(N, T, 2, self.key_heads, self.size)
        k, v = (kv[:, :, i].swapaxes(1, 2) for i in (0, 1))
        q, k = self.rotate(q, start), self.rotate(k, start)
        if cache is not None:
            k, v = cache.append(k, v)
        out = weft.scaled_dot_product_attention(
            q, k, v, is_causal=True, causal_offset="bottom-right", enable_gqa=True
        )  # fmt: skip
        return out.swapaxes(1, 2).reshape(N, T, -1)


@needs("emulator")
@pytest.mark.gpu
@pytest.mark.parametrize("where", ["cpu", "device"])
@pytest.mark.parametrize("steps", [(1,) * 6, (3, 1, 2), (2, 4)])
def test_decoding_with_a_cache_is_the_whole_pass(steps, where, device):
    weft.random.seed(0)
    at = device if where == "device" else "cpu"
    layer, cache = Attention().to(at), nn.KeyValueCache()
    x = weft.asarray(np.random.default_rng(0).standard_normal((2, 6, 8)).astype(np.float32), device=at)
    with weft.no_grad():
        whole = layer(x).numpy()
        parts, done = [], 0
        for n in steps:
            parts.append(layer(x[:, done : done + n], cache).numpy())
            done += n
    np.testing.assert_allclose(np.concatenate(parts, 1), whole, rtol=1e-5, atol=1e-6)


def test_beams_and_steps_taken_back():
    cache = nn.KeyValueCache()
    rows = weft.asarray(np.arange(6, dtype=np.float32).reshape(3, 2, 1))
    cache.append(rows, -rows)
    cache.reorder(np.array([2, 2, 0]))
    cache.truncate(1)
    k, v = cache.append(rows[:, :1] + 10, rows[:, :1])
    np.testing.assert_array_equal(k.numpy()[..., 0], [[4, 10], [4, 12], [0, 14]])
    np.testing.assert_array_equal(v.numpy()[..., 0], [[-4, 0], [-4, 2], [0, 4]])


def test_earlier_results_stay_as_they_are():
    cache = nn.KeyValueCache()
    first, _ = cache.append(weft.ones((1, 1, 2)), weft.ones((1, 1, 2)))
    for _ in range(5):
        cache.append(weft.zeros((1, 1, 2)), weft.zeros((1, 1, 2)))
    np.testing.assert_array_equal(first.numpy(), 1)


REFUSALS = [
    (lambda: nn.RotaryEmbedding(3), "RotaryEmbedding: expected an even dim"),
    (lambda: nn.RotaryEmbedding(4)(weft.ones((2, 6))), r"rope: expected x \(..., T, 4\), got \(2, 6\)"),
    (lambda: nn.SinusoidalPositionalEncoding(4)(weft.ones((2, 6))), r"expected x \(..., T, 4\), got \(2, 6\)"),
    (lambda: nn.KeyValueCache().append(weft.ones((2, 3)), weft.ones((3, 3))), r"got \(2, 3\), \(3, 3\)"),
    (lambda: nn.KeyValueCache().truncate(1), "expected a length within 0, got 1"),
]  # fmt: skip


@pytest.mark.parametrize("call, message", REFUSALS, ids=[message for _, message in REFUSALS])
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_cache_wants_no_gradient_and_one_shape():
    x = weft.Tensor(np.ones((1, 1, 2), np.float32), requires_grad=True)
    with pytest.raises(RuntimeError, match="without a gradient"):
        nn.KeyValueCache().append(x, x)
    cache = nn.KeyValueCache()
    cache.append(weft.ones((1, 1, 2)), weft.ones((1, 1, 2)))
    with pytest.raises(ValueError, match=r"expected float32 \(1, T, 2\) as before, got float32 \(2, 1, 2\)"):
        cache.append(weft.ones((2, 1, 2)), weft.ones((2, 1, 2)))
