"""Layers with Keras 3's names, arguments and defaults; images and sequences have their channels last."""

from weft.keras import registry
from weft.keras.layer import Layer
from weft.keras.layers import (
    activation,
    adaptive_pooling,
    attention,
    categories,
    cells,
    conv,
    conv_recurrent,
    core,
    geometry,
    lookups,
    merging,
    normalization,
    pooling,
    preprocessing,
    recurrent,
    regularization,
    reshaping,
    text,
)
from weft.keras.layers.activation import ELU, LeakyReLU, PReLU, ReLU, Softmax
from weft.keras.layers.adaptive_pooling import (
    AdaptiveAveragePooling1D,
    AdaptiveAveragePooling2D,
    AdaptiveAveragePooling3D,
    AdaptiveMaxPooling1D,
    AdaptiveMaxPooling2D,
    AdaptiveMaxPooling3D,
)
from weft.keras.layers.attention import AdditiveAttention, Attention, MultiHeadAttention
from weft.keras.layers.categories import CategoryEncoding, Discretization, Hashing
from weft.keras.layers.cells import GRUCell, LSTMCell, SimpleRNNCell, StackedRNNCells
from weft.keras.layers.conv import (
    Conv1D,
    Conv1DTranspose,
    Conv2D,
    Conv2DTranspose,
    Conv3D,
    Conv3DTranspose,
    DepthwiseConv1D,
    DepthwiseConv2D,
    SeparableConv1D,
    SeparableConv2D,
)
from weft.keras.layers.conv_recurrent import ConvLSTM1D, ConvLSTM2D, ConvLSTM3D
from weft.keras.layers.core import (
    Activation,
    ActivityRegularization,
    Dense,
    EinsumDense,
    Embedding,
    Identity,
    Input,
    InputLayer,
    Lambda,
    Masking,
    TimeDistributed,
    Wrapper,
)
from weft.keras.layers.geometry import RandomCrop, RandomRotation, RandomShear, RandomTranslation, RandomZoom
from weft.keras.layers.lookups import IntegerLookup, StringLookup
from weft.keras.layers.merging import (
    Add,
    Average,
    Concatenate,
    Dot,
    Maximum,
    Minimum,
    Multiply,
    Subtract,
    add,
    average,
    concatenate,
    dot,
    maximum,
    minimum,
    multiply,
    subtract,
)
from weft.keras.layers.normalization import (
    BatchNormalization,
    GroupNormalization,
    LayerNormalization,
    Normalization,
    RMSNormalization,
    UnitNormalization,
)
from weft.keras.layers.pooling import (
    AveragePooling1D,
    AveragePooling2D,
    AveragePooling3D,
    GlobalAveragePooling1D,
    GlobalAveragePooling2D,
    GlobalAveragePooling3D,
    GlobalMaxPooling1D,
    GlobalMaxPooling2D,
    GlobalMaxPooling3D,
    MaxPooling1D,
    MaxPooling2D,
    MaxPooling3D,
    UpSampling1D,
    UpSampling2D,
    UpSampling3D,
)
from weft.keras.layers.preprocessing import (
    CenterCrop,
    RandomBrightness,
    RandomContrast,
    RandomFlip,
    Rescaling,
    Resizing,
)
from weft.keras.layers.recurrent import GRU, LSTM, RNN, Bidirectional, SimpleRNN
from weft.keras.layers.regularization import (
    AlphaDropout,
    Dropout,
    GaussianDropout,
    GaussianNoise,
    SpatialDropout1D,
    SpatialDropout2D,
    SpatialDropout3D,
)
from weft.keras.layers.reshaping import (
    Cropping1D,
    Cropping2D,
    Cropping3D,
    Flatten,
    Permute,
    RepeatVector,
    Reshape,
    ZeroPadding1D,
    ZeroPadding2D,
    ZeroPadding3D,
)
from weft.keras.layers.text import TextVectorization

CLASSES = {
    name: value for name, value in dict(globals()).items()
    if isinstance(value, type) and issubclass(value, Layer) and value is not Layer
}  # fmt: skip
TABLE = registry.Table("layer", "keras.layers", CLASSES)
serialize, deserialize = registry.serialize, registry.deserialize

#: Keras's other names of the same layers.
MaxPool1D, MaxPool2D, MaxPool3D = MaxPooling1D, MaxPooling2D, MaxPooling3D
AvgPool1D, AvgPool2D, AvgPool3D = AveragePooling1D, AveragePooling2D, AveragePooling3D
GlobalAvgPool1D, GlobalAvgPool2D, GlobalAvgPool3D = (
    GlobalAveragePooling1D, GlobalAveragePooling2D, GlobalAveragePooling3D,
)  # fmt: skip
GlobalMaxPool1D, GlobalMaxPool2D, GlobalMaxPool3D = GlobalMaxPooling1D, GlobalMaxPooling2D, GlobalMaxPooling3D
Convolution1D, Convolution2D, Convolution3D = Conv1D, Conv2D, Conv3D
Convolution1DTranspose, Convolution2DTranspose, Convolution3DTranspose = (
    Conv1DTranspose, Conv2DTranspose, Conv3DTranspose,
)  # fmt: skip
SeparableConvolution1D, SeparableConvolution2D = SeparableConv1D, SeparableConv2D


def __getattr__(name: str) -> object:
    if name.startswith("_"):
        raise AttributeError(name)
    raise AttributeError(f"weft.keras.layers has no {name!r}; it has {', '.join(sorted(CLASSES))}")
