"""Models: read from files of Hugging Face's layout, or trained from scratch.

`from_pretrained(folder)` reads GPT-2, BERT, Llama, ViT and ResNet from config.json and safetensors, by the names in the
files; `save_pretrained` of each writes what transformers reads. `generate` continues texts.

`pretrained(name)` gives a small model that comes with Weft, trained by one of its recipes: it predicts at once.

`mnist_cnn`, `alexnet`, `resnet18`, `resnet50` and `gpt2` are trained from scratch and benchmarked. Each is written
once and built of any framework's layers that have PyTorch's names; Weft's by default. So a benchmark compares the same
model, and its weights go from one to the other by `state_dict`.

>>> from weft import models
>>> sum(p.size for p in models.mnist_cnn().parameters())
421642
"""

from weft.models.bert import BertConfig, BertForMaskedLM, BertForSequenceClassification, BertModel
from weft.models.gpt2 import GPT2Config, GPT2LMHeadModel, gpt2
from weft.models.huggingface import from_pretrained
from weft.models.llama import LlamaConfig, LlamaForCausalLM
from weft.models.parts import Cache
from weft.models.resnet import ResNetConfig, ResNetForImageClassification
from weft.models.sampling import generate
from weft.models.shipped import Shipped, pretrained
from weft.models.vision import alexnet, mnist_cnn, resnet18, resnet50
from weft.models.vit import ViTConfig, ViTForImageClassification

CLASSES = (
    "GPT2LMHeadModel", "BertModel", "BertForMaskedLM", "BertForSequenceClassification", "LlamaForCausalLM",
    "ViTForImageClassification", "ResNetForImageClassification",
)  # fmt: skip

__all__ = [
    "BertConfig", "BertForMaskedLM", "BertForSequenceClassification", "BertModel", "Cache", "GPT2Config",
    "GPT2LMHeadModel", "LlamaConfig", "LlamaForCausalLM", "ResNetConfig", "ResNetForImageClassification", "Shipped",
    "ViTConfig", "ViTForImageClassification", "alexnet", "from_pretrained", "generate", "gpt2", "mnist_cnn",
    "pretrained", "resnet18", "resnet50",
]  # fmt: skip
