// Attention backward, keys and values, on tensor cores by mma.sync: float16 since Turing, bfloat16 from sm_80 on.
#include "attention/mma.cuh"
#include "attention/backward_keys.cuh"
