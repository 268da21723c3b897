// Attention backward, keys and values, of float32 in IEEE arithmetic.
#include "attention/simt.cuh"
#include "attention/backward_keys.cuh"
