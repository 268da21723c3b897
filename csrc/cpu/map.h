// Elementwise functions over contiguous float32 arrays, on all threads from some ten thousand elements.
#pragma once

namespace weft {

enum class Unary { negative, abs, square, sqrt, exp, log, tanh, sigmoid, relu, erf, reciprocal, count };
enum class Binary { add, subtract, multiply, divide, maximum, minimum, count };

void unary_map(Unary f, const float* x, float* y, long n);

// y[p, q, r] = f(a[p, q, r], b[q]), or f(b[q], a[p, q, r]) where swapped. b is a row (R = 1), a channel (P images of Q
// channels of R pixels), a column (P = 1) or one number (P = Q = 1).
void binary_map(Binary f, const float* a, const float* b, float* y, long P, long Q, long R, bool swapped);
void binary_map_same(Binary f, const float* a, const float* b, float* y, long n);

void accumulate_map(float* a, const float* b, long n);  // a += b

}  // namespace weft
