"""The meaning of every primitive, one file per family."""

from weft.backends.reference.activation import (  # noqa: F401
    gated,
    gated_backward,
    gelu,
    gelu_backward,
    relu,
    relu_backward,
    silu,
    silu_backward,
)
from weft.backends.reference.attention import (  # noqa: F401
    attention,
    attention_backward,
    attention_varlen,
    attention_varlen_backward,
)
from weft.backends.reference.batch_norm import (  # noqa: F401
    batch_norm,
    batch_norm_act,
    batch_norm_act_backward,
    batch_norm_backward,
    batch_norm_inference,
    running_statistics,
)
from weft.backends.reference.conv import conv2d, conv2d_input_grad, conv2d_weight_grad  # noqa: F401
from weft.backends.reference.dropout import dropout  # noqa: F401
from weft.backends.reference.embedding import scatter_add  # noqa: F401
from weft.backends.reference.linear_loss import (  # noqa: F401
    linear_cross_entropy,
    linear_cross_entropy_backward,
    linear_cross_entropy_gradients,
)
from weft.backends.reference.loss import cross_entropy, cross_entropy_backward  # noqa: F401
from weft.backends.reference.matmul import linear, matmul  # noqa: F401
from weft.backends.reference.norm import layer_norm, layer_norm_backward, rms_norm, rms_norm_backward  # noqa: F401
from weft.backends.reference.optimizer import (  # noqa: F401
    adam,
    count_step,
    gradient_scale,
    lion,
    rmsprop,
    scale_arrays,
    sgd,
    sum_of_squares,
)
from weft.backends.reference.pool import avg_pool2d, avg_pool2d_backward, max_pool2d, max_pool2d_backward  # noqa: F401
from weft.backends.reference.random import random_bits, random_normal, random_uniform  # noqa: F401
from weft.backends.reference.rnn import (  # noqa: F401
    gru_cell,
    gru_cell_backward,
    gru_layer,
    gru_layer_backward,
    lstm_cell,
    lstm_cell_backward,
    lstm_layer,
    lstm_layer_backward,
)
from weft.backends.reference.rope import rope  # noqa: F401
from weft.backends.reference.softmax import log_softmax, log_softmax_backward, softmax, softmax_backward  # noqa: F401
