"""Gradient clipping, parameters as one vector, reparametrised weights, batches of sequences, by PyTorch's names; pruned
and 8-bit weights."""

from weft.nn.utils import rnn
from weft.nn.utils.compress import apply_masks, int8_state_dict, load_int8_state_dict, prune_by_magnitude
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
