#include "random.h"

#define WEFT_KERNELS "dropout.inc"
#include "each_isa.h"

namespace weft {

void dropout(const float* x, float* y, long n, uint32_t threshold, float scale, uint64_t seed, uint64_t offset) {
  parallel_ranges(n, 8192, [=](long a, long b) {
    WEFT_DISPATCH(dropout_range, x + a, y + a, b - a, threshold, scale, seed, offset + uint64_t(a));
  });
}

}  // namespace weft
