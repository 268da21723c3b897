"""check.cu: what breaks a rule on a device is told as on the CPU, with its value and its position."""

from __future__ import annotations

import numpy as np
import pytest

import policy
import weft
from kernels.array_checks import dtype, on, runs  # noqa: F401  (runs: a fixture)
from weft.backends import emulator
from weft.backends.checks import RULES, check

pytestmark = pytest.mark.gpu

#: rule, values that keep it, one that breaks it, what p and q are
CASES = {
    "index": ("index", [0, 3, 4, -7, 2, 1], 5, {"p": 5, "q": -7}),
    "negative index": ("index", [0, 3, 4, -7, 2, 1], -1, {"p": 5, "q": -7}),
    "huge index": ("index", [0, 3, 4, 1, 2, 1], 2**40, {"p": 5}),
    "unsigned index": ("index", np.array([0, 3, 4, 1], "L"), 2**64 - 7, {"p": 5, "q": -7}),
    "unsigned ignored": ("index", np.array([0, 3, 9, 1], "L"), 10, {"p": 5, "q": 9}),
    "probability": ("probability", np.array([0, 1, 0.5, 0.25], "f"), 1.1, {}),
    "no number": ("probability", np.array([0, 1, 0.5, 0.25], "d"), np.nan, {}),
    "narrow": ("probability", np.array([0, 1, 0.5, 0.25], dtype("E")), -0.5, {}),
    "exponent": ("exponent", np.array([0, 1, 2, 7], "b"), -3, {}),
    "end": ("offset", np.array([0, 3, 3, 9], "i"), 10, {"p": 9, "q": 6}),
    "falling": ("offset", np.array([0, 3, 3, 9], "l"), 1, {"p": 9, "q": 6}),
    "gap": ("offset", np.array([0, 3, 3, 9], "l"), 7, {"p": 9, "q": 3}),
    "beginning": ("offset", np.array([0, 3, 3, 9], "l"), 1, {"p": 9, "q": 6}),
}
PLACES = {"end": 3, "gap": 2, "beginning": 0}


def told(device, rule, values, limits, shape=None):
    with pytest.raises(RULES[rule].error) as caught:
        x = values if device == "cpu" else on(device, values)
        check(rule, x, f"op: expected {rule}", shape=shape, **limits)
        on(device, np.zeros(1)).get()
    return str(caught.value)


@pytest.mark.parametrize("case", CASES)
def test_what_breaks_a_rule_is_told_as_on_the_cpu(case, device):
    rule, values, wrong, limits = CASES[case]
    values = np.array(values)
    if case != "gap":
        check(rule, values, "", **limits)
        check(rule, on(device, values), "", **limits)
        on(device, np.zeros(1)).get()
    place = PLACES.get(case, 2)
    values[place] = wrong
    message = told(device, rule, values, limits)
    assert message == told("cpu", rule, values, limits)
    assert message == f"op: expected {rule}, got {values[place]!s} at position {place}"
    if rule != "offset":
        square = values.reshape(2, -1)
        index = np.unravel_index(place, square.shape)
        message = told(device, rule, square, limits)
        assert message == told("cpu", rule, square, limits) and message.endswith(f"position {tuple(map(int, index))}")
        assert told(device, rule, values, limits, shape=(values.size, 1)).endswith(f"position ({place}, 0)")


def test_many_values_and_layouts(device):
    values = np.zeros((300, 70), "f")
    values[299, 68] = 2
    assert "got 2.0 at position (68, 299)" in told(device, "probability", values.T, {})
    turned = on(device, np.ascontiguousarray(values)).T
    check("probability", turned, "op: expected it")
    with pytest.raises(ValueError, match=r"got 2.0 at position \(68, 299\)"):
        turned.get()
    check("probability", on(device, np.zeros((0, 3), "f")), "")


@policy.needs("emulator")
def test_checked_under_every_schedule():
    values = np.zeros(1000, "i")
    values[700] = 9
    for schedule in emulator.SCHEDULES:
        with emulator.settings(checked=True, schedule=schedule, seed=7, multiprocessors=2):
            assert "got 9 at position 700" in told("emulated", "index", values, {"p": 5})


# -- the ops that use it ----------------------------------------------------------------------------------------------


def of(device, *arrays):
    return [weft.Tensor(on(device, a)) for a in arrays]


def test_no_probability(device):
    x = np.full((2, 3), 0.5, "f")
    x[1, 1] = 1.5
    for where in ("cpu", device):
        with pytest.raises(ValueError, match=r"binary_cross_entropy: expected probabilities in \[0, 1\].* got 1.5 at "
                                             r"position \(1, 1\)"):  # fmt: skip
            weft.binary_cross_entropy(*of(where, x, np.ones_like(x))).numpy()


def test_integers_to_a_negative_power(device):
    a, b = of(device, np.array([2, 3, 4]), np.array([1, -1, 2]))
    for wrong in (lambda: a**b, lambda: 2**b, lambda: a**-1):
        with pytest.raises(ValueError, match="integers to the power of integers from 0, got -1"):
            wrong().numpy()
    assert (a ** weft.abs(b)).tolist() == [2, 3, 16] and (a**2).tolist() == [4, 9, 16]
    assert (weft.astype(a, dtype="float32") ** b)[1].item() == np.float32(1 / 3)


@pytest.mark.parametrize(
    ("until", "longest", "message"),
    [
        ([0, 5, 3, 9], None, "rise from 0 to at most 9, got 3 at position 2"),
        ([0, 5, 10, 10], None, "rise from 0 to at most 9, got 10 at position 2"),
        ([1, 5, 7, 9], None, "rise from 0 to at most 9, got 1 at position 0"),
        ([0, 5, 7, 9], 4, "rise from 0 to at most 9 by at most 4, got 5 at position 1"),
    ],
)
def test_offsets_of_packed_sequences(until, longest, message, device):
    x = np.random.default_rng(0).standard_normal((9, 2, 8)).astype("f")
    for where in ("cpu", device):
        packed, offsets = of(where, x, np.array(until))
        with pytest.raises(ValueError, match=f"varlen_attention: expected offsets that {message}"):
            weft.varlen_attention(packed, packed, packed, offsets, longest_queries=longest).numpy()


def test_an_index_of_an_embedding(device):
    table, indices = of(device, np.ones((4, 2), "f"), np.array([[0, 3], [4, 1]]))
    with pytest.raises(IndexError, match=r"embedding: expected indices in \[0, 4\), got 4 at position \(1, 0\)"):
        weft.embedding(indices, table).numpy()


def test_a_label_among_pixels(device):
    x, labels = of(device, np.ones((2, 3, 2), "f"), np.array([[0, 1], [2, 3]]))
    for loss in (weft.cross_entropy, weft.nll_loss):
        with pytest.raises(IndexError, match=rf"{loss.__name__}: .* labels in \[0, 3\), got 3 at position \(1, 1\)"):
            loss(x, labels).numpy()
