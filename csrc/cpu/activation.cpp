#include "activation.h"

#include "pool.h"

#define WEFT_KERNELS "activation.inc"
#include "each_isa.h"

namespace weft {

namespace {
constexpr long cheap = 32768, dear = 8192;  // elements that are worth a thread
}

void relu(const float* x, float* y, long n) {
  parallel_ranges(n, cheap, [=](long a, long b) { WEFT_DISPATCH(relu_part, x, y, a, b); });
}

void relu_backward(const float* g, const float* y, float* gx, long n) {
  parallel_ranges(n, cheap, [=](long a, long b) { WEFT_DISPATCH(relu_backward_part, g, y, gx, a, b); });
}

void gelu(const float* x, float* y, long n, bool by_tanh) {
  parallel_ranges(n, dear, [=](long a, long b) {
    if (by_tanh)
      WEFT_DISPATCH(gelu_tanh_part, x, y, a, b);
    else
      WEFT_DISPATCH(gelu_part, x, y, a, b);
  });
}

void gelu_backward(const float* g, const float* x, float* gx, long n, bool by_tanh) {
  parallel_ranges(n, dear, [=](long a, long b) {
    if (by_tanh)
      WEFT_DISPATCH(gelu_tanh_backward_part, g, x, gx, a, b);
    else
      WEFT_DISPATCH(gelu_backward_part, g, x, gx, a, b);
  });
}

void silu(const float* x, float* y, long n) {
  parallel_ranges(n, dear, [=](long a, long b) { WEFT_DISPATCH(silu_part, x, y, a, b); });
}

void silu_backward(const float* g, const float* x, float* gx, long n) {
  parallel_ranges(n, dear, [=](long a, long b) { WEFT_DISPATCH(silu_backward_part, g, x, gx, a, b); });
}

}  // namespace weft
