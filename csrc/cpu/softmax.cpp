#include "softmax.h"

#include "rows.h"

#define WEFT_KERNELS "softmax.inc"
#include "each_isa.h"

namespace weft {

void softmax(const float* x, float* y, long outer, long n, long inner, bool log) {
  if (inner == 1)
    return parallel_rows(outer, n, [=](long a, long b) {
      if (log)
        WEFT_DISPATCH(log_softmax_rows, x, y, a, b, n);
      else
        WEFT_DISPATCH(softmax_rows, x, y, a, b, n);
    });
  // One strip is 16 neighbouring columns, a cache line, of one outer index.
  long strips = (inner + 15) / 16;
  parallel_rows(outer * strips, 16 * n,
                [=](long a, long b) { WEFT_DISPATCH(softmax_strips, x, y, a, b, n, inner, strips, log); });
}

void softmax_backward(const float* g, const float* y, float* gx, long outer, long n, long inner, bool log) {
  if (inner == 1)
    return parallel_rows(outer, n, [=](long a, long b) {
      if (log)
        WEFT_DISPATCH(log_softmax_rows_backward, g, y, gx, a, b, n);
      else
        WEFT_DISPATCH(softmax_rows_backward, g, y, gx, a, b, n);
    });
  long strips = (inner + 15) / 16;
  parallel_rows(outer * strips, 16 * n,
                [=](long a, long b) { WEFT_DISPATCH(softmax_strips_backward, g, y, gx, a, b, n, inner, strips, log); });
}

}  // namespace weft
