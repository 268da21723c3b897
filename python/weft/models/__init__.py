"""Models that are benchmarked and trained from scratch: an MNIST CNN, ResNet-18 and ResNet-50, GPT-2.

Each is written once and built of any framework's layers that have PyTorch's names; Weft's by default. So a benchmark
compares the same model, and its weights go from one to the other by `state_dict`.

>>> from weft import models
>>> sum(p.size for p in models.mnist_cnn().parameters())
421642
"""

from weft.models.language import gpt2
from weft.models.vision import mnist_cnn, resnet18, resnet50

__all__ = ["gpt2", "mnist_cnn", "resnet18", "resnet50"]
