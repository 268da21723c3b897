"""Models of weft.models, the recipes and the examples leave as ONNX, for any batch and, where it may be, any length."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from onnx_checks import check_export
from policy import require
from weft import models, nn

rng = np.random.default_rng(5)


def image(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def tokens(high, *shape):
    return rng.integers(1, high, shape)


GPT2 = {"vocab_size": 97, "n_positions": 40, "n_embd": 32, "n_layer": 2, "n_head": 4}
BERT = {"vocab_size": 97, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
        "intermediate_size": 48, "max_position_embeddings": 40}  # fmt: skip
LLAMA = {"vocab_size": 97, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
         "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64}  # fmt: skip
VIT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48,
       "image_size": 24, "patch_size": 8, "num_labels": 5}  # fmt: skip
RESNET = {"embedding_size": 8, "hidden_sizes": [16, 32], "depths": [2, 1], "num_labels": 5}
SEQUENCE = {0: "batch", 1: "time"}


def of_files(name, config, **fields):
    kind = next(k for k in ("GPT2", "Bert", "Llama", "ViT", "ResNet") if name.startswith(k)) + "Config"
    return getattr(models, name)(getattr(models, kind)(**config, **fields))


def recipe(name, **settings):
    return importlib.import_module(f"weft.recipes.{name}").build(**settings)


MODELS = {
    "mnist_cnn": (models.mnist_cnn, lambda: [image(2, 1, 28, 28)], None),
    "resnet18": (lambda: models.resnet18(10, small=True), lambda: [image(2, 3, 8, 8)], None),
    "gpt2": (lambda: models.gpt2(96, length=24, layers=2, width=32, heads=2), lambda: [tokens(96, 2, 16)],
             {"input_ids": SEQUENCE}),
    "GPT2LMHeadModel": (lambda: of_files("GPT2LMHeadModel", GPT2), lambda: [tokens(97, 2, 9)], {"input_ids": SEQUENCE}),
    "BertModel": (lambda: of_files("BertModel", BERT), lambda: [tokens(97, 2, 9)], {"input_ids": SEQUENCE}),
    "BertForMaskedLM": (lambda: of_files("BertForMaskedLM", BERT), lambda: [tokens(97, 2, 9)], {"input_ids": SEQUENCE}),
    "BertForSequenceClassification": (lambda: of_files("BertForSequenceClassification", BERT, num_labels=3),
                                      lambda: [tokens(97, 2, 9)], {"input_ids": SEQUENCE}),
    "LlamaForCausalLM": (lambda: of_files("LlamaForCausalLM", LLAMA), lambda: [tokens(97, 2, 9)],
                         {"input_ids": {0: "batch"}}),
    "ViTForImageClassification": (lambda: of_files("ViTForImageClassification", VIT),
                                  lambda: [image(2, 3, 24, 24)], None),
    "ResNetForImageClassification": (lambda: of_files("ResNetForImageClassification", RESNET),
                                     lambda: [image(2, 3, 32, 32)], None),
    "digits": (lambda: recipe("digits", width=8), lambda: [image(2, 1, 8, 8)], None),
    "dates": (lambda: recipe("dates", width=16, heads=2, layers=1), lambda: [dates_read(), tokens(41, 2, 10)], None),
    "mnist": (lambda: recipe("mnist"), lambda: [image(2, 1, 28, 28)], None),
    "fashion": (lambda: recipe("fashion"), lambda: [image(2, 1, 28, 28)], None),
    "cifar10": (lambda: recipe("cifar10", width=4, blocks=1), lambda: [image(2, 3, 32, 32)], None),
    "shakespeare": (lambda: recipe("shakespeare", width=16, heads=2, layers=1), lambda: [tokens(65, 2, 20)], None),
    "quickstart": (lambda: nn.Sequential(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                                         nn.Linear(288, 10)), lambda: [image(2, 1, 8, 8)], None),
}  # fmt: skip


def dates_read():
    """Texts of several lengths: 0 fills them up."""
    read = tokens(41, 2, 30)
    read[0, 22:] = read[1, 25:] = 0
    return read


@pytest.mark.parametrize("opset", [17, pytest.param(20, marks=pytest.mark.slow), 26])
@pytest.mark.parametrize("name", MODELS)
def test_a_model_gives_the_same_in_onnxruntime(name, opset, tmp_path):
    require("onnx", "onnxruntime")
    build, inputs, dynamic = MODELS[name]
    model = build()
    for _, tensor in model._state():
        if tensor.dtype.kind == "f":
            tensor.data[...] += rng.uniform(0, 0.1, tensor.shape).astype(tensor.dtype)
    check_export(model, inputs(), tmp_path / "model.onnx", opset, dynamic)


@pytest.mark.slow
def test_resnet50_gives_the_same_in_onnxruntime(tmp_path):
    require("onnx", "onnxruntime")
    check_export(models.resnet50(7), [image(2, 3, 64, 64)], tmp_path / "model.onnx", 17)
