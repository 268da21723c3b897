#include "norm.h"

#include <cstring>

#include "rows.h"

#define WEFT_KERNELS "norm.inc"
#include "each_isa.h"

namespace weft {

namespace {

constexpr int slot = 14;

// Runs `part(begin, end, sums)` on fixed blocks of rows, each with its own zeroed sums (width,), and adds those up into
// `out` in the order of the blocks.
template <class F>
void sum_over_rows(long rows, long C, long width, float* out, F&& part) {
  long blocks = row_blocks(rows, C, width);
  if (blocks == 1) {
    std::memset(out, 0, size_t(width) * sizeof(float));
    return part(0L, rows, out);
  }
  float* sums = scratch(slot, size_t(blocks * width));
  parallel_for(blocks, [&](long b, int) {
    long first, last;
    split(rows, b, blocks, first, last);
    std::memset(sums + b * width, 0, size_t(width) * sizeof(float));
    part(first, last, sums + b * width);
  });
  WEFT_DISPATCH(add_blocks, sums, out, blocks, width);
}

}  // namespace

void layer_norm(const float* x, const float* weight, const float* bias, float* out, float* mean, float* rstd, long rows,
                long C, float eps) {
  parallel_rows(
      rows, C, [=](long a, long b) { WEFT_DISPATCH(layer_norm_rows, x, weight, bias, out, mean, rstd, a, b, C, eps); });
}

void layer_norm_backward(const float* g, const float* x, const float* weight, const float* mean, const float* rstd,
                         float* gx, float* gw, float* gb, long rows, long C) {
  // The two sums lie side by side: of g x^ (with a weight), then of g.
  long width = gw ? 2 * C : C;
  float* both = gw ? scratch(slot + 1, size_t(width)) : gb;
  sum_over_rows(rows, C, width, both, [=](long a, long b, float* sums) {
    float *into_w = gw ? sums : nullptr, *into_b = gw ? sums + C : sums;
    WEFT_DISPATCH(layer_norm_rows_backward, g, x, weight, mean, rstd, gx, into_w, into_b, a, b, C);
  });
  if (!gw) return;
  std::memcpy(gw, both, size_t(C) * sizeof(float));
  std::memcpy(gb, both + C, size_t(C) * sizeof(float));
}

void rms_norm(const float* x, const float* weight, float* out, float* rstd, long rows, long C, float eps) {
  parallel_rows(rows, C, [=](long a, long b) { WEFT_DISPATCH(rms_norm_rows, x, weight, out, rstd, a, b, C, eps); });
}

void rms_norm_backward(const float* g, const float* x, const float* weight, const float* rstd, float* gx, float* gw,
                       long rows, long C) {
  if (!gw)
    return parallel_rows(rows, C, [=](long a, long b) {
      WEFT_DISPATCH(rms_norm_rows_backward, g, x, weight, rstd, gx, nullptr, a, b, C);
    });
  sum_over_rows(rows, C, C, gw, [=](long a, long b, float* sums) {
    WEFT_DISPATCH(rms_norm_rows_backward, g, x, weight, rstd, gx, sums, a, b, C);
  });
}

}  // namespace weft
