// Attention backward, queries, of float32 in IEEE arithmetic.
#include "attention/simt.cuh"
#include "attention/backward_queries.cuh"
