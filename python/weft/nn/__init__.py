"""Layers, losses and their functions, with PyTorch's names, arguments, defaults and state names."""

from weft.nn import functional, init, utils
from weft.nn.activation import (
    CELU,
    ELU,
    GEGLU,
    GELU,
    GLU,
    SELU,
    Hardsigmoid,
    Hardswish,
    Hardtanh,
    LeakyReLU,
    LogSigmoid,
    LogSoftmax,
    Mish,
    PReLU,
    ReGLU,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Softsign,
    SwiGLU,
    Tanh,
)
from weft.nn.attention import MultiheadAttention
from weft.nn.container import Flatten, Identity, ModuleDict, ModuleList, Sequential, Unflatten
from weft.nn.conv import Conv1d, Conv2d, Conv3d
from weft.nn.conv_transpose import ConvTranspose1d, ConvTranspose2d
from weft.nn.dropout import Dropout
from weft.nn.embedding import Embedding
from weft.nn.linear import Bilinear, Linear
from weft.nn.loss import (
    BCELoss,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    HuberLoss,
    KLDivLoss,
    L1Loss,
    LinearCrossEntropyLoss,
    MSELoss,
    NLLLoss,
    SmoothL1Loss,
)
from weft.nn.module import Module
from weft.nn.norm import BatchNorm1d, BatchNorm2d, GroupNorm, LayerNorm, RMSNorm
from weft.nn.parameter import Buffer, Parameter
from weft.nn.pool import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d
from weft.nn.rnn import GRU, LSTM, RNN, GRUCell, LSTMCell, RNNCell
from weft.nn.transformer import (
    Transformer,
    TransformerDecoder,
    TransformerDecoderLayer,
    TransformerEncoder,
    TransformerEncoderLayer,
)
