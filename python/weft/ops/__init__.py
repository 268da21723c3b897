"""Every op: what `weft` offers on arrays, and the namespace in which bodies run on Tensors."""

# ruff: noqa: F401
from types import ModuleType as _Module

from weft.ops.activation import (
    celu,
    elu,
    geglu,
    gelu,
    glu,
    hardsigmoid,
    hardswish,
    hardtanh,
    leaky_relu,
    log_softmax,
    logsigmoid,
    mish,
    reglu,
    relu,
    relu6,
    selu,
    silu,
    softmax,
    softplus,
    softsign,
    swiglu,
)
from weft.ops.attention import scaled_dot_product_attention, varlen_attention
from weft.ops.batch_norm import batch_norm
from weft.ops.complex import conj, imag, real
from weft.ops.conv import conv2d
from weft.ops.conv3d import conv3d
from weft.ops.conv_transpose import conv_transpose2d
from weft.ops.creation import (
    arange,
    asarray,
    empty,
    empty_like,
    eye,
    from_dlpack,
    full,
    full_like,
    linspace,
    meshgrid,
    ones,
    ones_like,
    zeros,
    zeros_like,
)
from weft.ops.cumulative import cumulative_prod, cumulative_sum, diff
from weft.ops.dropout import dropout
from weft.ops.dtypes import can_cast, finfo, iinfo, isdtype, result_type
from weft.ops.einsum import einsum
from weft.ops.elementwise import (
    abs,
    acos,
    acosh,
    add,
    asin,
    asinh,
    astype,
    atan,
    atan2,
    atanh,
    clip,
    copysign,
    cos,
    cosh,
    divide,
    erf,
    exp,
    expm1,
    hypot,
    log,
    log1p,
    log2,
    log10,
    logaddexp,
    maximum,
    minimum,
    multiply,
    negative,
    positive,
    pow,
    reciprocal,
    remainder,
    sigmoid,
    sign,
    sin,
    sinh,
    sqrt,
    square,
    subtract,
    tan,
    tanh,
    where,
)
from weft.ops.embedding import embedding, scatter_add
from weft.ops.examples import EXAMPLES as _EXAMPLES
from weft.ops.heads import split_heads
from weft.ops.index import argsort, sort, take, take_along_axis
from weft.ops.inspection import __array_namespace_info__
from weft.ops.linalg import linear, matmul, tensordot, vecdot
from weft.ops.linear_loss import linear_cross_entropy
from weft.ops.logic import (
    bitwise_and,
    bitwise_invert,
    bitwise_left_shift,
    bitwise_or,
    bitwise_right_shift,
    bitwise_xor,
    ceil,
    equal,
    floor,
    floor_divide,
    greater,
    greater_equal,
    isfinite,
    isinf,
    isnan,
    less,
    less_equal,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    nextafter,
    not_equal,
    round,
    signbit,
    trunc,
)
from weft.ops.loss import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    huber_loss,
    kl_div,
    l1_loss,
    mse_loss,
    nll_loss,
    smooth_l1_loss,
)
from weft.ops.norm import group_norm, layer_norm, rms_norm
from weft.ops.pool import adaptive_avg_pool2d, avg_pool2d, max_pool2d
from weft.ops.reduce import all, any, argmax, argmin, count_nonzero, max, mean, min, prod, std, sum, var
from weft.ops.rnn import gru, gru_cell, lstm, lstm_cell, rnn
from weft.ops.rope import rope, rope_tables
from weft.ops.search import nonzero, searchsorted, unique_all, unique_counts, unique_inverse, unique_values
from weft.ops.shape import (
    broadcast_arrays,
    broadcast_to,
    concat,
    expand_dims,
    flip,
    matrix_transpose,
    moveaxis,
    pad,
    permute_dims,
    repeat,
    reshape,
    roll,
    split,
    squeeze,
    stack,
    swapaxes,
    tile,
    tril,
    triu,
    unstack,
)

for _name, _example in _EXAMPLES.items():
    globals()[_name].__doc__ += "\n" + _example

__all__ = [n for n, value in globals().items() if not n.startswith("_") and not isinstance(value, _Module)]
