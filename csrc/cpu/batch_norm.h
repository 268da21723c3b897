// Batch normalisation of x (N, C, P) over N and P, and its gradient. Results do not depend on the number of threads.
#pragma once

namespace weft {

// weight and bias (C,) may be null. mean and var (biased) receive (C,) values.
void batch_norm(long N, long C, long P, const float* x, const float* weight, const float* bias, float eps, float* out,
                float* mean, float* var);
void batch_norm_backward(long N, long C, long P, const float* g, const float* x, const float* weight, const float* mean,
                         const float* var, float eps, float* gx, float* gw, float* gb);

}  // namespace weft
