"""What notebooks show of Tensors and Modules."""

import html
import re
from html.parser import HTMLParser

import numpy as np
import pytest

import weft
from weft import nn


class Check(HTMLParser):
    """Every tag is closed in its order."""

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def shown(x):
    markup = x._repr_html_()
    check = Check()
    check.feed(markup)
    assert not check.open
    return html.unescape(re.sub(r"<[^>]+>", "|", markup))


@pytest.mark.parametrize("device", ["cpu", "emulated"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int64", "bool"])
@pytest.mark.parametrize("shape", [(), (0, 3), (5,), (2, 3), (30, 40), (2, 3, 4, 5)], ids=str)
def test_tensors(shape, dtype, device):
    values = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    x = weft.asarray(values.astype(weft.bfloat16 if dtype == "bfloat16" else dtype), device=device)
    text = shown(x)
    assert dtype in text and device in text
    assert (" × ".join(map(str, shape)) or "no axes") in text
    assert text.count("|") < 600  # a long axis is cut in the middle
    if shape == (2, 3) and dtype != "bool":
        assert "|0|" in text and "|5|" in text and "from 0 to 5" in text


def test_where_a_tensor_comes_from():
    x = weft.Tensor([1.0, float("nan")], requires_grad=True)
    assert "requires a gradient" in shown(x) and "nan" in shown(x)
    assert "from exp" in shown(x.exp())
    assert "Parameter" in shown(nn.Parameter([1.0]))


def test_modules():
    model = nn.Sequential(nn.Linear(4, 3), nn.Sequential(nn.ReLU(), nn.Linear(3, 2)))
    text = shown(model)
    assert "23 parameters" in text and "in_features=3" in text and "1: " in text
    assert model._repr_html_().count("<details") == 2
