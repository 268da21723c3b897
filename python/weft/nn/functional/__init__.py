"""The functions under the layers, with PyTorch's names and arguments (`dim`, `input`, `reduction`)."""

from weft.nn.functional.activation import *
from weft.nn.functional.attention import attention_with_weights, scaled_dot_product_attention, varlen_attention
from weft.nn.functional.ctc import ctc_loss
from weft.nn.functional.dropout import *
from weft.nn.functional.embedding import *
from weft.nn.functional.layers import *
from weft.nn.functional.loss import *
from weft.nn.functional.loss_compositions import *
from weft.nn.functional.pool import *
from weft.nn.functional.resize import *
from weft.nn.functional.shape import (
    cosine_similarity,
    flatten,
    normalize,
    one_hot,
    pad,
    pairwise_distance,
    unflatten,
)
from weft.nn.functional.volumes import *

__all__ = sorted([name for name, value in globals().items() if callable(value) and not name.startswith("_")])


def __dir__() -> list[str]:
    """The functions: not the files that they are in."""
    return __all__
