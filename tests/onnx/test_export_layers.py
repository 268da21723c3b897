"""Every layer of weft.nn leaves as ONNX, and gives in onnxruntime what it gives in Weft, for any batch."""

from __future__ import annotations

import numpy as np
import pytest

import weft
from onnx_checks import check_export, session
from policy import require
from weft import nn

OPSETS = (17, 26)


def normal(*shape):
    return ("normal", shape)


def positive(*shape):
    return ("positive", shape)


def whole(high, *shape):
    return (high, shape)


def signs(*shape):
    return ("signs", shape)


def shares(*shape):
    return ("shares", shape)


IMAGE, LINE, VOLUME = normal(2, 4, 6, 5), normal(2, 4, 7), normal(2, 4, 4, 5, 6)
ROWS, LABELS = normal(5, 4), whole(4, 5)
SEQUENCE = {"input": {0: "time", 1: "batch"}}
FIXED = {}  # no dynamic axes

# name: (how to make it, inputs, dynamic axes: None for a batch first)
LAYERS = {
    **{name: (getattr(nn, name), [IMAGE], None) for name in (
        "CELU", "ELU", "GELU", "Hardsigmoid", "Hardswish", "Hardtanh", "LeakyReLU", "LogSigmoid", "Mish", "PReLU",
        "ReLU", "ReLU6", "SELU", "SiLU", "Sigmoid", "Softplus", "Softsign", "Tanh", "Identity", "Flatten",
    )},
    "GELU tanh": (lambda: nn.GELU(approximate="tanh"), [IMAGE], None),
    "PReLU of channels": (lambda: nn.PReLU(4), [IMAGE], None),
    "Softplus of 2": (lambda: nn.Softplus(beta=2.0), [IMAGE], None),
    "Softmax": (lambda: nn.Softmax(dim=1), [IMAGE], None),
    "LogSoftmax": (lambda: nn.LogSoftmax(dim=-1), [IMAGE], None),
    **{name: (lambda name=name: getattr(nn, name)(dim=1), [IMAGE], None)
       for name in ("GLU", "SwiGLU", "GEGLU", "ReGLU")},
    "Unflatten": (lambda: nn.Unflatten(1, (2, 2)), [IMAGE], None),
    "Sequential": (lambda: nn.Sequential(nn.Linear(4, 3), nn.ReLU()), [ROWS], None),
    "Linear": (lambda: nn.Linear(4, 3), [ROWS], None),
    "Linear of sequences": (lambda: nn.Linear(4, 3, bias=False), [normal(2, 5, 4)], {"x": {0: "batch", 1: "time"}}),
    "Bilinear": (lambda: nn.Bilinear(4, 3, 2), [ROWS, normal(5, 3)], None),
    "Embedding": (lambda: nn.Embedding(7, 3), [whole(7, 2, 5)], {"x": {0: "batch", 1: "time"}}),
    "EmbeddingBag": (lambda: nn.EmbeddingBag(7, 3), [whole(7, 4, 5)], FIXED),
    "SinusoidalPositionalEncoding": (lambda: nn.SinusoidalPositionalEncoding(6), [normal(2, 5, 6)], None),
    "RotaryEmbedding": (lambda: nn.RotaryEmbedding(6), [normal(2, 3, 5, 6)], None),
    "Conv1d": (lambda: nn.Conv1d(4, 6, 3, 2, 1), [LINE], None),
    "Conv2d": (lambda: nn.Conv2d(4, 6, 3, 2, 1), [IMAGE], {"x": {0: "batch", 2: "height", 3: "width"}}),
    "Conv2d of groups": (lambda: nn.Conv2d(4, 6, (3, 2), padding="same", dilation=2, groups=2), [IMAGE], None),
    "Conv2d of even kernels": (lambda: nn.Conv2d(4, 6, (2, 4), padding="same"), [IMAGE], None),
    "Conv3d": (lambda: nn.Conv3d(4, 3, 2, padding=1), [VOLUME], None),
    "ConvTranspose1d": (lambda: nn.ConvTranspose1d(4, 6, 3, 2), [LINE], None),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(4, 6, 3, 2, 1, output_padding=1, groups=2), [IMAGE], None),
    "ConvTranspose3d": (lambda: nn.ConvTranspose3d(4, 2, 2, 2), [VOLUME], None),
    "MaxPool1d": (lambda: nn.MaxPool1d(3, 2), [LINE], None),
    "MaxPool2d": (lambda: nn.MaxPool2d(2, 2, 1), [IMAGE], {"x": {0: "batch", 2: "height"}}),
    "MaxPool2d and where": (lambda: nn.MaxPool2d(2, return_indices=True), [IMAGE], None),
    "MaxPool2d ceil": (lambda: nn.MaxPool2d(2, ceil_mode=True), [IMAGE], None),
    "AvgPool1d": (lambda: nn.AvgPool1d(3, 2), [LINE], None),
    "AvgPool2d": (lambda: nn.AvgPool2d(2, 2, 1), [IMAGE], None),
    "AvgPool2d ceil": (lambda: nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False), [IMAGE], None),
    "LPPool1d": (lambda: nn.LPPool1d(2, 3), [LINE], None),
    "LPPool2d": (lambda: nn.LPPool2d(2, 2), [IMAGE], None),
    "AdaptiveAvgPool1d": (lambda: nn.AdaptiveAvgPool1d(3), [LINE], None),
    "AdaptiveAvgPool2d": (lambda: nn.AdaptiveAvgPool2d((2, 3)), [IMAGE], None),
    "AdaptiveAvgPool2d of 1": (lambda: nn.AdaptiveAvgPool2d(1), [IMAGE], {"x": {0: "batch", 2: "height", 3: "width"}}),
    "AdaptiveMaxPool1d": (lambda: nn.AdaptiveMaxPool1d(3), [LINE], None),
    "AdaptiveMaxPool2d": (lambda: nn.AdaptiveMaxPool2d((2, 3)), [IMAGE], None),
    "MaxPool3d": (lambda: nn.MaxPool3d(2, padding=1), [VOLUME], None),
    "MaxPool3d and where": (lambda: nn.MaxPool3d(2, return_indices=True), [VOLUME], None),
    "AvgPool3d": (lambda: nn.AvgPool3d((2, 3, 2), 1, count_include_pad=False), [VOLUME], None),
    "AdaptiveAvgPool3d": (lambda: nn.AdaptiveAvgPool3d((2, 3, 1)), [VOLUME], None),
    "AdaptiveMaxPool3d": (lambda: nn.AdaptiveMaxPool3d((2, 3, 1)), [VOLUME], None),
    "LPPool3d": (lambda: nn.LPPool3d(2, 2), [VOLUME], None),
    "BatchNorm1d": (lambda: nn.BatchNorm1d(4), [ROWS], None),
    "BatchNorm2d": (lambda: nn.BatchNorm2d(4), [IMAGE], None),
    "BatchNorm2d of the batch": (lambda: nn.BatchNorm2d(4, track_running_stats=False), [IMAGE], None),
    "BatchNorm3d": (lambda: nn.BatchNorm3d(4), [VOLUME], None),
    "LayerNorm": (lambda: nn.LayerNorm(5), [IMAGE], None),
    "LayerNorm of two": (lambda: nn.LayerNorm((6, 5), bias=False), [IMAGE], None),
    "RMSNorm": (lambda: nn.RMSNorm(5), [IMAGE], None),
    "GroupNorm": (lambda: nn.GroupNorm(2, 4), [IMAGE], None),
    "InstanceNorm1d": (lambda: nn.InstanceNorm1d(4), [LINE], None),
    "InstanceNorm2d": (lambda: nn.InstanceNorm2d(4, affine=True), [IMAGE], None),
    "InstanceNorm3d": (lambda: nn.InstanceNorm3d(4), [VOLUME], None),
    "LocalResponseNorm": (lambda: nn.LocalResponseNorm(3), [IMAGE], None),
    **{name: (getattr(nn, name), [IMAGE], None) for name in (
        "Dropout", "Dropout2d", "AlphaDropout", "FeatureAlphaDropout", "DropPath",
    )},
    "Dropout1d": (nn.Dropout1d, [LINE], None),
    "Dropout3d": (nn.Dropout3d, [VOLUME], None),
    "RNN": (lambda: nn.RNN(4, 3, 2, nonlinearity="relu"), [normal(6, 2, 4)], SEQUENCE),
    "LSTM": (lambda: nn.LSTM(4, 3, 2, bidirectional=True), [normal(6, 2, 4)], SEQUENCE),
    "GRU": (lambda: nn.GRU(4, 3, bias=False, batch_first=True), [normal(2, 6, 4)], {"input": {0: "batch", 1: "time"}}),
    "RNNCell": (lambda: nn.RNNCell(4, 3), [ROWS, normal(5, 3)], None),
    "GRUCell": (lambda: nn.GRUCell(4, 3), [ROWS, normal(5, 3)], None),
    "LSTMCell": (lambda: nn.LSTMCell(4, 3), [ROWS], None),
    "MultiheadAttention": (lambda: nn.MultiheadAttention(8, 2, batch_first=True), [normal(2, 5, 8)] * 3, None),
    "TransformerEncoderLayer": (lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), [normal(2, 5, 8)],
                                {"src": {0: "batch", 1: "time"}}),
    "TransformerDecoderLayer": (lambda: nn.TransformerDecoderLayer(8, 2, 16, batch_first=True, norm_first=True),
                                [normal(2, 5, 8), normal(2, 3, 8)], None),
    "TransformerEncoder": (lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16), 2),
                           [normal(5, 2, 8)], {"src": {1: "batch"}}),
    "TransformerDecoder": (lambda: nn.TransformerDecoder(nn.TransformerDecoderLayer(8, 2, 16), 1),
                           [normal(5, 2, 8), normal(3, 2, 8)], {"tgt": {1: "batch"}, "memory": {1: "batch"}}),
    "Transformer": (lambda: nn.Transformer(8, 2, 1, 1, 16, batch_first=True), [normal(2, 5, 8), normal(2, 3, 8)], None),
    **{f"{kind}Pad{n}d": (lambda kind=kind, n=n: getattr(nn, f"{kind}Pad{n}d")(1, *[0.5] * (kind == "Constant")),
                          [{1: LINE, 2: IMAGE, 3: VOLUME}[n]], None)
       for kind in ("Constant", "Zero", "Reflection", "Replication", "Circular") for n in (1, 2, 3)},
    "PixelShuffle": (lambda: nn.PixelShuffle(2), [IMAGE], None),
    "PixelUnshuffle": (lambda: nn.PixelUnshuffle(2), [normal(2, 3, 4, 6)], None),
    "Upsample": (lambda: nn.Upsample(scale_factor=2), [IMAGE], None),
    "Upsample bilinear": (lambda: nn.Upsample(scale_factor=2, mode="bilinear"), [IMAGE], None),
    "Unfold": (lambda: nn.Unfold(2), [IMAGE], None),
    "Fold": (lambda: nn.Fold((4, 5), 2), [normal(2, 12, 12)], None),
    # losses, of a fixed batch: a mean over it is a number of its own
    **{name: (getattr(nn, name), [ROWS, normal(5, 4)], FIXED) for name in (
        "MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss", "KLDivLoss", "PoissonNLLLoss",
    )},
    "CrossEntropyLoss": (nn.CrossEntropyLoss, [ROWS, LABELS], FIXED),
    "CrossEntropyLoss smoothed": (lambda: nn.CrossEntropyLoss(label_smoothing=0.1, reduction="sum"), [ROWS, LABELS],
                                  FIXED),
    "NLLLoss": (nn.NLLLoss, [ROWS, LABELS], FIXED),
    "BCELoss": (nn.BCELoss, [shares(5, 4), shares(5, 4)], FIXED),
    "BCEWithLogitsLoss": (nn.BCEWithLogitsLoss, [ROWS, shares(5, 4)], FIXED),
    "GaussianNLLLoss": (nn.GaussianNLLLoss, [ROWS, normal(5, 4), positive(5, 4)], FIXED),
    "HingeEmbeddingLoss": (nn.HingeEmbeddingLoss, [ROWS, signs(5, 4)], FIXED),
    "MarginRankingLoss": (nn.MarginRankingLoss, [normal(5), normal(5), signs(5)], FIXED),
    "CosineEmbeddingLoss": (nn.CosineEmbeddingLoss, [ROWS, normal(5, 4), signs(5)], FIXED),
    "TripletMarginLoss": (nn.TripletMarginLoss, [ROWS, normal(5, 4), normal(5, 4)], FIXED),
    "FocalLoss": (nn.FocalLoss, [ROWS, LABELS], FIXED),
    "DiceLoss": (nn.DiceLoss, [IMAGE, shares(2, 4, 6, 5)], FIXED),
}  # fmt: skip

LEFT_OUT = {
    **dict.fromkeys(("Buffer", "KeyValueCache", "Module", "ModuleDict", "ModuleList", "Parameter"), "no layer"),
    "CTCLoss": "ONNX has no such operator, and its paths are found on the host",
    "LinearCrossEntropyLoss": "a loss that is fused for training; Linear and CrossEntropyLoss leave",
}


@pytest.mark.slow
def test_every_layer_has_a_case_or_a_reason():
    layers = {name for name in dir(nn) if isinstance(getattr(nn, name), type)}
    assert layers - {name.partition(" ")[0] for name in LAYERS} == set(LEFT_OUT)


def make(rng, spec):
    kind, shape = spec
    if kind == "normal":
        return rng.standard_normal(shape).astype(np.float32)
    if kind == "positive":
        return rng.uniform(0.5, 2, shape).astype(np.float32)
    if kind == "shares":
        return rng.uniform(0.1, 0.9, shape).astype(np.float32)
    if kind == "signs":
        return rng.choice([-1.0, 1.0], shape).astype(np.float32)
    return rng.integers(0, kind, shape)


def perturb(module, rng):
    """Statistics and weights as training leaves them: no ones, no zeros."""
    for name, tensor in module._state():
        if tensor.dtype.kind == "f":
            low = 0.5 if name.endswith("running_var") else -0.5
            tensor.data[...] = tensor.data * 0.5 + rng.uniform(low, 1, tensor.shape).astype(tensor.dtype)


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_gives_the_same_in_onnxruntime(name, opset, tmp_path):
    require("onnx", "onnxruntime")
    build, specs, dynamic = LAYERS[name]
    rng = np.random.default_rng(sum(map(ord, name)))
    module = build()
    perturb(module, rng)
    check_export(module, [make(rng, spec) for spec in specs], tmp_path / "model.onnx", opset, dynamic)


class NearZero(nn.Module):
    def forward(self, x):
        return weft.expm1(x), weft.log1p(x)


def test_small_numbers_keep_their_digits(tmp_path):
    """Where x is small, expm1 and log1p are x to the last digits; at the ends they are what they should be."""
    require("onnxruntime")
    ends = [0.0, -0.0, np.inf, np.nan, 80.0, -0.999, 0.5, 0.49999997]
    x = np.concatenate([np.geomspace(1e-30, 0.9, 200), -np.geomspace(1e-30, 0.9, 200), ends]).astype(np.float32)
    path = tmp_path / "near.onnx"
    weft.onnx.export(NearZero(), [x], path)
    found = session(path).run(None, {"x": x})
    for got, exact in zip(found, (np.expm1, np.log1p), strict=True):
        np.testing.assert_allclose(got, exact(x.astype(np.float64)), rtol=1e-6)
