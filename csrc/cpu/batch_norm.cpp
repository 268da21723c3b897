#include "batch_norm.h"

#include <algorithm>
#include <cmath>

#include "pool.h"

#define WEFT_KERNELS "batch_norm.inc"
#include "each_isa.h"

namespace weft {

void batch_norm(long N, long C, long P, const float* x, const float* weight, const float* bias, const float* residual,
                bool relu, float eps, float* out, float* mean, float* var) {
  if (P == 1) {
    WEFT_DISPATCH(normalise_columns, N, C, x, weight, bias, residual, relu, eps, out, mean, var);
  } else {
    WEFT_DISPATCH(normalise_planes, N, C, P, x, weight, bias, residual, relu, eps, out, mean, var);
  }
}

void batch_norm_inference(long N, long C, long P, const float* x, const float* weight, const float* bias,
                          const float* mean, const float* var, const float* residual, bool relu, float eps,
                          float* out) {
  if (P == 1) {
    WEFT_DISPATCH(scale_columns, N, C, x, weight, bias, mean, var, residual, relu, eps, out);
  } else {
    WEFT_DISPATCH(scale_planes, N, C, P, x, weight, bias, mean, var, residual, relu, eps, out);
  }
}

void batch_norm_backward(long N, long C, long P, const float* g, const float* x, const float* weight, const float* mean,
                         const float* var, float eps, float* gx, float* gw, float* gb) {
  if (P == 1) {
    WEFT_DISPATCH(differentiate_columns, N, C, g, x, weight, mean, var, eps, gx, gw, gb);
  } else {
    WEFT_DISPATCH(differentiate_planes, N, C, P, g, x, weight, mean, var, eps, gx, gw, gb);
  }
}

}  // namespace weft
