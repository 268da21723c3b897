// Softmax and its logarithm along the rows of (rows, columns), with their gradients. Defines: those of rows.cuh.
#include "rows.cuh"
#include "softmax.cuh"

DEVICE_INLINE Peak peak_of(const Share<1>& x) {
  Peak peak = Peak::of_nothing();
  if constexpr (KEEP > 0) {
    x.each([&](int, const Pack(&part)[1], int) {
#pragma unroll
      for (int v = 0; v < VECTOR; v++) peak.most = larger_of(peak.most, Real(part[0].at[v]));
    });
    x.each([&](int, const Pack(&part)[1], int) {
#pragma unroll
      for (int v = 0; v < VECTOR; v++) peak.sum += exponential(Real(part[0].at[v]) - peak.most);
    });
  } else {
    x.each([&](int, const Pack(&part)[1], int) {
      Real most = peak.most, sum = 0;
#pragma unroll
      for (int v = 0; v < VECTOR; v++) most = larger_of(most, Real(part[0].at[v]));
#pragma unroll
      for (int v = 0; v < VECTOR; v++) sum += exponential(Real(part[0].at[v]) - most);
      peak.sum = peak.sum * exponential(peak.most - most) + sum;
      peak.most = most;
    });
  }
  return peak;
}

template <bool LOG>
DEVICE_INLINE void forward(TYPE* out, const TYPE* in, long long rows, int columns, Peak* scratch) {
  const long long row = row_of_team();
  const Share<1> x({in}, row, row < rows ? columns : 0, convert<TYPE>(-INFINITY));
  const Peak peak = team_reduce(peak_of(x), scratch, JoinPeaks());
  const Real scale = LOG ? logarithm(peak.sum) : 1 / peak.sum;
  x.each([&](int at, const Pack(&part)[1], int) {
    Pack y;
#pragma unroll
    for (int v = 0; v < VECTOR; v++) {
      const Real shifted = Real(part[0].at[v]) - peak.most;
      y.at[v] = convert<TYPE>(LOG ? shifted - scale : exponential(shifted) * scale);
    }
    store_part(out + row * columns, at, columns, y);
  });
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    softmax(TYPE* out, const TYPE* x, long long rows, int columns) {
  __shared__ Peak scratch[THREADS / 32];
  forward<false>(out, x, rows, columns, scratch);
}
EXPORT_KERNEL(softmax)

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    log_softmax(TYPE* out, const TYPE* x, long long rows, int columns) {
  __shared__ Peak scratch[THREADS / 32];
  forward<true>(out, x, rows, columns, scratch);
}
EXPORT_KERNEL(log_softmax)

// The gradient of x for the gradient g of y, which is softmax(x) or log_softmax(x).
template <bool LOG>
DEVICE_INLINE void backward(TYPE* out, const TYPE* g, const TYPE* y, long long rows, int columns, Real* scratch) {
  const long long row = row_of_team();
  const Share<2> both({g, y}, row, row < rows ? columns : 0, convert<TYPE>(0));
  Real sum = 0;
  both.each([&](int, const Pack(&part)[2], int) {
#pragma unroll
    for (int v = 0; v < VECTOR; v++) sum += LOG ? Real(part[0].at[v]) : Real(part[0].at[v]) * Real(part[1].at[v]);
  });
  sum = team_reduce(sum, scratch, Plus());
  both.each([&](int at, const Pack(&part)[2], int) {
    Pack gx;
#pragma unroll
    for (int v = 0; v < VECTOR; v++) {
      const Real g_here = part[0].at[v], y_here = part[1].at[v];
      gx.at[v] = convert<TYPE>(LOG ? g_here - exponential(y_here) * sum : y_here * (g_here - sum));
    }
    store_part(out + row * columns, at, columns, gx);
  });
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    softmax_backward(TYPE* out, const TYPE* g, const TYPE* y, long long rows, int columns) {
  __shared__ Real scratch[THREADS / 32];
  backward<false>(out, g, y, rows, columns, scratch);
}
EXPORT_KERNEL(softmax_backward)

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    log_softmax_backward(TYPE* out, const TYPE* g, const TYPE* y, long long rows, int columns) {
  __shared__ Real scratch[THREADS / 32];
  backward<true>(out, g, y, rows, columns, scratch);
}
EXPORT_KERNEL(log_softmax_backward)
