// Softmax and its logarithm, forward and backward, along one axis of x (outer, n, inner).
#pragma once

namespace weft {

void softmax(const float* x, float* y, long outer, long n, long inner, bool log);
void softmax_backward(const float* g, const float* y, float* gx, long outer, long n, long inner, bool log);

}  // namespace weft
