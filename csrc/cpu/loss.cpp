#include "loss.h"

#include "rows.h"

#define WEFT_KERNELS "loss.inc"
#include "each_isa.h"

namespace weft {

long bad_label(const int64_t* labels, long rows, long C, int64_t ignore_index) {
  for (long r = 0; r < rows; r++)
    if (uint64_t(labels[r]) >= uint64_t(C) && labels[r] != ignore_index) return r;
  return -1;
}

void cross_entropy(const CrossEntropy& of, float* losses, float* lse) {
  parallel_rows(of.rows, of.C, [&](long a, long b) { WEFT_DISPATCH(cross_entropy_rows, of, losses, lse, a, b); });
}

void cross_entropy_backward(const CrossEntropy& of, const float* g, long g_step, const float* lse, float* grad) {
  parallel_rows(of.rows, of.C,
                [&](long a, long b) { WEFT_DISPATCH(cross_entropy_rows_backward, of, g, g_step, lse, grad, a, b); });
}

}  // namespace weft
