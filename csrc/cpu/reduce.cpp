#include "reduce.h"

#include "pool.h"

#define WEFT_KERNELS "reduce.inc"
#include "each_isa.h"

namespace weft {

void sum_middle(const float* x, float* y, long P, long Q, long R) { WEFT_DISPATCH(sum_middle, x, y, P, Q, R); }
void sum_around(const float* x, float* y, long P, long Q, long R) { WEFT_DISPATCH(sum_around, x, y, P, Q, R); }

}  // namespace weft
