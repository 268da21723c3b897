// Attention forward on tensor cores by mma.sync, for every generation since Turing: float16, and bfloat16 from sm_80 on.
#include "attention/mma.cuh"
#include "attention/forward.cuh"
