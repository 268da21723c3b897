// Sums over axes of contiguous float32 arrays: short runs in float32, the runs in float64, cut where only the shape says,
// so that the result is accurate and the same for any number of threads.
#pragma once

namespace weft {

// y[p, r] = sum of x[p, q, r] over q. Leading axes: P = 1; trailing: R = 1; all: both.
void sum_middle(const float* x, float* y, long P, long Q, long R);

// y[q] = sum of x[p, q, r] over p and r: a value per channel.
void sum_around(const float* x, float* y, long P, long Q, long R);

}  // namespace weft
