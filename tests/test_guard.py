"""nanguard names the op, the place and the module of the first value or gradient that is not finite."""

import numpy as np
import pytest

import weft
from weft import autograd, nn
from weft.nn import module

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


class Call(nn.Module):
    def __init__(self, function):
        self.function = function
        self.shift = nn.Parameter(np.zeros(3, np.float32))

    def forward(self, x):
        return self.function(x + self.shift)


def network(function):
    return nn.ModuleDict({"body": nn.Sequential(nn.Identity(), Call(function))})


def run(function, x, backward=False):
    net = network(function)
    net.forward = lambda x: net["body"](x)
    with weft.nanguard():
        out = net(weft.asarray(x))
        if backward:
            out.sum().backward()


def test_a_value():
    with pytest.raises(FloatingPointError) as caught:
        run(weft.log, [1.0, 0.0, 2.0])
    assert str(caught.value) == (
        "Call at body.1: nanguard: expected finite values, log made -inf at (1,) of shape (3,), 1 of 3 not finite "
        "(likely cause: an argument that is 0 or negative)"
    )


def test_a_gradient():
    with pytest.raises(FloatingPointError, match=r"backward of sqrt made inf at \(2,\) .* input 0, in Call at body.1"):
        run(weft.sqrt, [1.0, 4.0, 0.0], backward=True)


def test_the_gradient_of_a_parameter_is_named():
    class Root(nn.Module):
        def __init__(self):
            self.inner = nn.Module()
            self.inner.w = nn.Parameter([0.0, 1.0])
            self.inner.forward = lambda: weft.sqrt(self.inner.w)

        def forward(self):
            return self.inner()

    with pytest.raises(FloatingPointError, match="the parameter inner.w, in Module at inner"), weft.nanguard():
        Root()().sum().backward()


def test_a_nan_from_outside_is_an_input():
    with pytest.raises(FloatingPointError, match=r"input 0 of add holds nan at \(0,\)"):
        run(weft.exp, [np.nan, 0.0, 0.0])


def test_outside_a_module():
    with pytest.raises(FloatingPointError, match="^nanguard: .*multiply made inf"), weft.nanguard():
        weft.asarray([1e38]) * 100.0


def test_masks_of_infinity_are_no_fault():
    x = weft.asarray(np.random.default_rng(0).standard_normal((2, 4, 6)).astype(np.float32))
    mask = np.triu(np.full((4, 4), -np.inf, np.float32), 1)
    attention = nn.MultiheadAttention(6, 2, batch_first=True)
    with weft.nanguard():
        for options in ({"attn_mask": weft.asarray(mask)}, {"is_causal": True}):
            for need in (True, False):
                attention(x, x, x, need_weights=need, **options)[0].sum().backward()
        nn.TransformerEncoderLayer(6, 2, batch_first=True)(x, is_causal=True).sum().backward()


def test_leaves_nothing_behind():
    with pytest.raises(ValueError), weft.nanguard(), weft.nanguard():
        raise ValueError
    assert not autograd.observers and not autograd.gradient_observers and module.watch is None
    weft.log(weft.asarray([0.0]))
