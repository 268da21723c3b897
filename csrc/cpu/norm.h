// Layer norm and RMS norm over rows of C values, forward and backward. A null weight or bias is ones or zeros.
#pragma once

namespace weft {

void layer_norm(const float* x, const float* weight, const float* bias, float* out, float* mean, float* rstd, long rows,
                long C, float eps);
// gw (null where weight is) and gb are (C,).
void layer_norm_backward(const float* g, const float* x, const float* weight, const float* mean, const float* rstd,
                         float* gx, float* gw, float* gb, long rows, long C);
void rms_norm(const float* x, const float* weight, float* out, float* rstd, long rows, long C, float eps);
void rms_norm_backward(const float* g, const float* x, const float* weight, const float* rstd, float* gx, float* gw,
                       long rows, long C);

}  // namespace weft
