// Attention forward of float32 in IEEE arithmetic.
#include "attention/simt.cuh"
#include "attention/forward.cuh"
