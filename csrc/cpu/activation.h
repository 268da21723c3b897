// Activations of n values and their gradients.
#pragma once

namespace weft {

void relu(const float* x, float* y, long n);
void relu_backward(const float* g, const float* y, float* gx, long n);  // y: the result
void gelu(const float* x, float* y, long n, bool by_tanh);
void gelu_backward(const float* g, const float* x, float* gx, long n, bool by_tanh);
void silu(const float* x, float* y, long n);
void silu_backward(const float* g, const float* x, float* gx, long n);

}  // namespace weft
