"""The functions under the layers, with PyTorch's names and arguments (`dim`, `input`, `reduction`)."""

from weft.nn.functional.activation import *
from weft.nn.functional.attention import attention_with_weights, scaled_dot_product_attention, varlen_attention
from weft.nn.functional.layers import *
from weft.nn.functional.loss import *
from weft.nn.functional.shape import (
    conv_padding,
    cosine_similarity,
    flatten,
    normalize,
    one_hot,
    pad,
    shape_of,
    tuple_of,
    unflatten,
)
