#include "rope.h"

#define WEFT_KERNELS "rope.inc"
#include "each_isa.h"

namespace weft {

void rope(HeadArray x, HeadArray out, const float* cos, const float* sin, long A, long B, long T, long D) {
  long half = D / 2, rows = A * B * T, grain = 16384 / (D + 1) + 1;
  parallel_ranges(rows, grain, [=](long begin, long end) {
    for (long r = begin; r < end; r++) {
      long a = r / (B * T), b = r / T % B, t = r % T;
      const float* from = x.at(a, b) + t * x.row;
      float* to = out.at(a, b) + t * out.row;
      WEFT_DISPATCH(rope_row, from, to, cos + t * half, sin + t * half, half);
    }
  });
}

}  // namespace weft
