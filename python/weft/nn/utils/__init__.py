"""Gradient clipping, parameters as one vector, reparametrised weights, and batches of sequences, by PyTorch's names."""

from weft.nn.utils import rnn
from weft.nn.utils.gradients import (
    GradientScale,
    clip_grad_norm_,
    clip_grad_value_,
    gradient_scale,
    gradients,
    parameters_to_vector,
    vector_to_parameters,
)
from weft.nn.utils.reparametrised import remove_spectral_norm, remove_weight_norm, spectral_norm, weight_norm
