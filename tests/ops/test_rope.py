"""Rotary position embedding, by its Case rows."""

import numpy as np
import pytest

from opcheck import Case, checks
from weft import ops
from weft.ops.rope import rope_tables


def oracle(x, cos, sin):
    """Pairs (i, i + D/2) as complex numbers, turned."""
    half = x.shape[-1] // 2
    turned = (x[..., :half] + 1j * x[..., half:]) * (cos + 1j * sin)
    return np.concatenate([turned.real, turned.imag], -1)


CASES = [
    Case(ops.rope, (2, 3, 5, 8), (5, 4), (5, 4), oracle=oracle, order=3),
    Case(ops.rope, (5, 6), (5, 3), (5, 3), oracle=oracle),
    Case(ops.rope, (2, 2, 1, 3, 2), (3, 1), (3, 1), oracle=oracle),
    Case(ops.rope, (2, 0, 4), (0, 2), (0, 2), oracle=oracle),
]

globals().update(checks(CASES))


def test_scores_depend_on_the_distance_alone():
    rng = np.random.default_rng(0)
    q, k = rng.standard_normal((2, 1, 64))
    cos, sin = (t.numpy().astype(float) for t in rope_tables(40, 64))
    score = lambda i, j: (oracle(q, cos[i], sin[i]) @ oracle(k, cos[j], sin[j]).T).item()
    assert score(3, 9) == pytest.approx(score(30, 36), abs=1e-4)


def test_tables():
    cos, sin = rope_tables(3, 4, start=5)
    angles = np.array([5, 6, 7])[:, None] * np.array([1.0, 0.01])
    np.testing.assert_allclose(cos.numpy(), np.cos(angles), atol=1e-7)
    np.testing.assert_allclose(sin.numpy(), np.sin(angles), atol=1e-7)


def test_keeps_the_layout_of_a_view():
    x = np.random.default_rng(0).standard_normal((2, 5, 3, 8)).astype(np.float32)
    tables = rope_tables(5, 8)
    view = x.transpose(0, 2, 1, 3)
    want = ops.rope(np.ascontiguousarray(view), *tables).numpy()
    np.testing.assert_allclose(ops.rope(view, *tables).numpy(), want, atol=1e-6)


def test_refuses():
    with pytest.raises(ValueError, match=r"rope: expected x .* got \(2, 3, 5\), \(3, 2\), \(3, 2\)"):
        ops.rope(np.ones((2, 3, 5), "f"), np.ones((3, 2), "f"), np.ones((3, 2), "f"))
    with pytest.raises(ValueError, match="an even dim"):
        rope_tables(3, 5)
