"""Functions of `keras.ops` give what Keras's of that name give, and work on symbols."""

from __future__ import annotations

import numpy as np
import pytest

from keras_beside import close, flat, ours, theirs
from policy import needs

pytestmark = [pytest.mark.slow, needs("keras")]
X = np.random.default_rng(0).random((3, 4)).astype("f") * 0.8 + 0.1
Y = np.random.default_rng(1).random((3, 4)).astype("f") + 0.2
SIGNED = X - Y
I = np.array([[5, 3], [0, 6]])
ROWS = {
    **{name: (SIGNED,) for name in "ceil tan sinh cosh trunc isinf erf exp2 ravel fliplr flipud signbit tril triu "
       "arctan arcsinh rad2deg deg2rad fabs amax amin sort argsort ptp logsumexp count_nonzero trace".split()},
    **{name: (X,) for name in "arcsin arccos arctanh log2 log10 reciprocal".split()}, "arccosh": (X + 1,),
    **{name: (X, Y) for name in "arctan2 logaddexp hypot mod floor_divide true_divide isclose allclose nextafter "
       "inner outer".split()},
    **{name: (I, I + 1) for name in "bitwise_and bitwise_or bitwise_xor".split()},
    "divide_no_nan": (X, np.round(Y)), "split": (X, 2, 1), "split at": (X, [1, 3], 1), "pad": (X, ((1, 2), (0, 1))),
    "pad alike": (X, 1), "top_k": (X, 2), "logsumexp of an axis": (SIGNED, 1), "diagonal": (X, 1), "roll": (X, 2),
    "roll along": (X, 1, 1), "average": (X, 1, Y[0]), "moments": (X, [0]), "cumprod": (X, 1), "diff": (X,),
    "dot": (X, Y.T), "tensordot": (X, Y, [[1], [1]]), "hstack": ([X, Y],), "vstack": ([X[0], Y[0]],),
    "unstack": (X,), "nan_to_num": (np.array([1, np.nan, np.inf, -np.inf], "f"),), "slice": (X, (1, 0), (2, 3)),
    "searchsorted": (np.array([0.1, 0.4, 0.6], "f"), X.ravel()), "segment_sum": (X, np.array([1, 0, 1]), 3),
    "in_top_k": (np.array([1, 3, 0]), X, 2), "meshgrid": (X[0], Y[0]), "full_like": (X, 3.0),
    "rms_normalization": (X / 1000,), "rms_normalization scaled": (X, Y[0]),
    "rms_normalization of axis 0": (X, None, 0),
    "rms_normalization of axes": (X, Y[0], (0, 1), 0.5), "argsort of all": (X, None), "sort of all": (X, None),
    "nan_to_num of whole numbers": (I,),
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_values(name):
    args = ROWS[name]
    found = [flat(getattr(k.ops, name.split()[0])(*args)) for k in (ours, theirs)]
    assert len(found[0]) == len(found[1])
    for a, b in zip(*found):
        close(a, b, name)


def test_they_work_on_symbols():
    x = ours.Input((4,))
    parts = ours.ops.split(x, 2, axis=1)
    model = ours.Model(x, ours.ops.logsumexp(parts[0], axis=1) + ours.ops.arctan(parts[1])[:, 0])
    expected = np.logaddexp(X[:, 0], X[:, 1]) + np.arctan(X[:, 2])
    np.testing.assert_allclose(model.predict(X, verbose=0), expected, rtol=1e-5)
    twin = ours.models.model_from_json(model.to_json())  # with its slices
    np.testing.assert_allclose(twin.predict(X, verbose=0), expected, rtol=1e-5)


def test_parts_that_are_not_there_are_refused():
    x = ours.ops.convert_to_tensor(X)
    for cut in ([1, 9], [3, 1], [-1]):
        with pytest.raises(ValueError, match="split: expected rising indices within 4"):
            ours.ops.split(x, cut, axis=1)
    with pytest.raises(ValueError, match=r"top_k: expected k within the last axis of \(3, 4\), got 5"):
        ours.ops.top_k(x, 5)
