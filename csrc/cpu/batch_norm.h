// Batch normalisation of x (N, C, P) over N and P, and its gradient. Results do not depend on the number of threads.
#pragma once

namespace weft {

// weight and bias (C,) may be null. To the result residual (N, C, P) is added, where there is one, and with relu what is
// then negative becomes 0. mean and var (biased) receive (C,) values; batch_norm_inference is given them.
void batch_norm(long N, long C, long P, const float* x, const float* weight, const float* bias, const float* residual,
                bool relu, float eps, float* out, float* mean, float* var);
void batch_norm_inference(long N, long C, long P, const float* x, const float* weight, const float* bias,
                          const float* mean, const float* var, const float* residual, bool relu, float eps, float* out);
void batch_norm_backward(long N, long C, long P, const float* g, const float* x, const float* weight, const float* mean,
                         const float* var, float eps, float* gx, float* gw, float* gb);

}  // namespace weft
