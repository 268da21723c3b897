"""Every layer computes in the dtype that it was given, 16-bit ones too, and its gradients come in that dtype."""

import numpy as np
import pytest

import weft
from weft import nn

DTYPES = [np.dtype(np.float64), np.dtype(np.float32), np.dtype(np.float16), weft.bfloat16]

LAYERS = {
    "Linear": (lambda dtype: nn.Linear(6, 3, dtype=dtype), (4, 6)),
    "Bilinear": (lambda dtype: nn.Bilinear(6, 6, 3, dtype=dtype), (4, 6)),
    "Conv2d": (lambda dtype: nn.Conv2d(2, 4, 3, padding=1, dtype=dtype), (3, 2, 6, 6)),
    "Conv2d reflect": (lambda dtype: nn.Conv2d(2, 4, 3, padding=1, padding_mode="reflect", dtype=dtype), (3, 2, 6, 6)),
    "Conv1d": (lambda dtype: nn.Conv1d(2, 4, 3, dtype=dtype), (3, 2, 6)),
    "BatchNorm2d": (lambda dtype: nn.BatchNorm2d(2, dtype=dtype), (3, 2, 4, 4)),
    "LayerNorm": (lambda dtype: nn.LayerNorm(6, dtype=dtype), (4, 6)),
    "RMSNorm": (lambda dtype: nn.RMSNorm(6, dtype=dtype), (4, 6)),
    "GroupNorm": (lambda dtype: nn.GroupNorm(2, 4, dtype=dtype), (3, 4, 5)),
    "PReLU": (lambda dtype: nn.PReLU(dtype=dtype), (4, 6)),
    "MaxPool2d": (lambda dtype: nn.MaxPool2d(2), (3, 2, 6, 6)),
    "AvgPool2d": (lambda dtype: nn.AvgPool2d(3, 2, 1, ceil_mode=True), (3, 2, 6, 6)),
    "AdaptiveAvgPool2d": (lambda dtype: nn.AdaptiveAvgPool2d(4), (3, 2, 6, 6)),
    "Dropout": (lambda dtype: nn.Dropout(0.5), (4, 6)),
    "LSTM": (lambda dtype: nn.LSTM(6, 3, bidirectional=True, dtype=dtype), (5, 2, 6)),
    "GRU": (lambda dtype: nn.GRU(6, 3, 2, dtype=dtype), (5, 2, 6)),
    "RNN": (lambda dtype: nn.RNN(6, 3, dtype=dtype), (5, 2, 6)),
    "TransformerEncoderLayer": (lambda dtype: nn.TransformerEncoderLayer(6, 2, 8, dtype=dtype), (5, 2, 6)),
    "GELU": (lambda dtype: nn.GELU(), (4, 6)),
    "Softmax": (lambda dtype: nn.Softmax(1), (4, 6)),
}


def first(out):
    return out[0] if isinstance(out, tuple) else out


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", LAYERS)
def test_layers_keep_their_dtype(name, dtype):
    make, shape = LAYERS[name]
    layer = make(dtype)
    x = weft.Tensor(np.random.default_rng(0).standard_normal(shape).astype(dtype), requires_grad=True)
    out = first(layer(x, x) if name == "Bilinear" else layer(x))
    assert out.dtype == dtype
    out.backward(np.ones(out.shape, dtype))
    assert x.grad.dtype == dtype and np.isfinite(x.grad.data.astype(np.float64)).all()
    for parameter in layer.parameters():
        assert parameter.dtype == dtype and parameter.grad.dtype == dtype


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_losses_keep_their_dtype(dtype):
    rng = np.random.default_rng(0)
    x, t = (weft.Tensor(rng.random((4, 3)).astype(dtype), requires_grad=True) for _ in range(2))
    labels = np.array([0, 2, 1, 1])
    for loss in (nn.MSELoss(), nn.L1Loss(), nn.SmoothL1Loss(), nn.HuberLoss(), nn.BCELoss(), nn.BCEWithLogitsLoss(),
                 nn.KLDivLoss(), nn.CrossEntropyLoss()):  # fmt: skip
        out = loss(x, t)
        assert out.dtype == dtype, loss
        out.backward()
        assert x.grad.dtype == dtype, loss
    for loss in (nn.CrossEntropyLoss(label_smoothing=0.1), nn.NLLLoss()):
        assert loss(x, labels).dtype == dtype


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_16_bit_state_loads_into_wider_parameters(dtype):
    narrow, wide = nn.Linear(3, 2, dtype=dtype), nn.Linear(3, 2)
    wide.load_state_dict(narrow.state_dict())
    np.testing.assert_array_equal(wide.weight.data, narrow.weight.data.astype(np.float32))
    assert wide.to(dtype).weight.dtype == dtype
