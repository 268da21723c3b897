#include "map.h"

#include "pool.h"

#define WEFT_KERNELS "map.inc"
#include "each_isa.h"

namespace weft {

void unary_map(Unary f, const float* x, float* y, long n) { WEFT_DISPATCH(unary, f, x, y, n); }

void binary_map(Binary f, const float* a, const float* b, float* y, long P, long Q, long R, bool swapped) {
  WEFT_DISPATCH(binary_spread, f, a, b, y, P, Q, R, swapped);
}

void binary_map_same(Binary f, const float* a, const float* b, float* y, long n) {
  WEFT_DISPATCH(binary_same, f, a, b, y, n);
}

void accumulate_map(float* a, const float* b, long n) { WEFT_DISPATCH(accumulate, a, b, n); }

}  // namespace weft
