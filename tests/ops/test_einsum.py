"""einsum by its Case rows and against NumPy's over random subscripts."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import weft
from opcheck import Case, checks
from weft import ops


def einsum(subscripts):
    return lambda *arrays: ops.einsum(subscripts, *arrays)


def row(subscripts, *shapes, **options):
    oracle = lambda *arrays: np.einsum(subscripts, *arrays)
    return Case(einsum(subscripts), *shapes, oracle=oracle, name=f"einsum[{subscripts}]", **options)


CASES = [
    row("ij,jk->ik", (3, 4), (4, 2)),
    row("bij,bjk,k->bi", (2, 3, 4), (2, 4, 5), (5,)),
    row("...i,...i->...", (2, 1, 3), (4, 3)),
    row("ii->i", (3, 3)),
    row("iji,j->", (3, 2, 3), (2,)),
    row("i,j", (3,), (2,)),
]
globals().update(checks(CASES))


@st.composite
def problem(draw):
    """Subscripts and shapes that fit them, with letters that come again, ellipses and lengths of 0 and 1."""
    sizes = {c: draw(st.integers(0, 3)) for c in "abcde"}
    hidden = [draw(st.integers(1, 3)) for _ in range(draw(st.integers(0, 2)))]
    terms, shapes = [], []
    for _ in range(draw(st.integers(1, 3))):
        letters = draw(st.text("abcde", max_size=3))
        dots = draw(st.booleans())
        at = draw(st.integers(0, len(letters)))
        axes = [n if draw(st.booleans()) else 1 for n in hidden] if dots else []
        terms.append(letters[:at] + ("..." if dots else "") + letters[at:])
        shapes.append((*[sizes[c] for c in letters[:at]], *axes, *[sizes[c] for c in letters[at:]]))
    used = sorted(set("".join(terms)) - {"."})
    out = "".join(draw(st.permutations(used)))[: draw(st.integers(0, len(used)))]
    arrow = draw(st.sampled_from(["", "->"]))
    dots = "..." if any("..." in t for t in terms) else ""
    return ",".join(terms) + (f"->{dots}{out}" if arrow else ""), shapes


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(problem(), st.integers(0, 2**31))
def test_random_subscripts_are_numpys(problem, seed):
    subscripts, shapes = problem
    rng = np.random.default_rng(seed)
    arrays = [rng.standard_normal(shape) for shape in shapes]
    expected = np.einsum(subscripts, *arrays)
    got = weft.einsum(subscripts, *map(weft.Tensor, arrays))
    assert got.shape == expected.shape
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-12, atol=1e-12)


REFUSED = {
    "lengths": ("ij,jk->ik", [(2, 3), (4, 2)], "one length for 'j', got 3 and 4"),
    "axes": ("ij->i", [(2,)], r"2 axes for 'ij', got shape \(2,\)"),
    "twice": ("i->ii", [(2,)], "each letter of the result once"),
    "unknown": ("i->j", [(2,)], "each letter of the result once, and in an operand"),
    "arrays": ("i,j", [(2,)], "2 arrays for 'i,j', got 1"),
    "digits": ("i1->i", [(2, 2)], "expected letters"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_subscripts_that_do_not_fit_are_refused(case):
    subscripts, shapes, words = REFUSED[case]
    with pytest.raises(ValueError, match=words):
        weft.einsum(subscripts, *[weft.ones(shape) for shape in shapes])
