// Softmax and its logarithm along the middle axis of (outer, columns, inner), inner > 1, with their gradients: 32
// neighbouring threads take neighbours in memory, 8 such lines share a row. A row is read twice, mostly out of the cache.
//
// Defines: TYPE   element type;   VECTOR   elements of an access, of which `inner` is a multiple
#include "softmax.cuh"

using Real = Wide<TYPE>;
using Pack = Vector<TYPE, VECTOR>;
constexpr int ACROSS = 32, LINES = 8, THREADS = ACROSS * LINES, CHUNK = 16;

// Where the thread's VECTOR rows begin, or -1 if it has none: blocks walk along `inner` first.
DEVICE_INLINE long long begin(long long columns, long long inner) {
  const long long tiles = (inner + ACROSS * VECTOR - 1) / (ACROSS * VECTOR), outer = blockIdx.x / tiles;
  const long long i = ((blockIdx.x - outer * tiles) * ACROSS + threadIdx.x % ACROSS) * VECTOR;
  return i < inner ? outer * columns * inner + i : -1;
}

DEVICE_INLINE Pack at(const TYPE* p) { return *reinterpret_cast<const Pack*>(p); }

// The reduction over the lines of a block, each thread's own VECTOR values, in the order of lines.
template <class T, class Combine>
DEVICE_INLINE void join_lines(T (&values)[VECTOR], T* scratch, Combine combine) {
#pragma unroll
  for (int v = 0; v < VECTOR; v++) {
    __syncthreads();  // the lines of the value before are read
    scratch[threadIdx.x] = values[v];
    __syncthreads();
    values[v] = scratch[threadIdx.x % ACROSS];
    for (int l = 1; l < LINES; l++) values[v] = combine(values[v], scratch[l * ACROSS + threadIdx.x % ACROSS]);
  }
}

struct Plus {
  DEVICE_INLINE Real operator()(Real a, Real b) const { return a + b; }
};

template <bool LOG>
DEVICE_INLINE void forward(TYPE* out, const TYPE* x, long long columns, long long inner, Peak* scratch) {
  const long long start = begin(columns, inner), end = start < 0 ? 0 : columns;
  Peak peak[VECTOR];
#pragma unroll
  for (int v = 0; v < VECTOR; v++) peak[v] = Peak::of_nothing();
  for (long long c = threadIdx.x / ACROSS; c < end;) {  // sums of sixteen, then of those: errors grow as pairwise
    Peak some[VECTOR];
#pragma unroll
    for (int v = 0; v < VECTOR; v++) some[v] = Peak::of_nothing();
#pragma unroll 2
    for (int k = 0; k < CHUNK && c < end; k++, c += LINES) {
      const Pack part = at(x + start + c * inner);
#pragma unroll
      for (int v = 0; v < VECTOR; v++) some[v].add(part.at[v]);
    }
#pragma unroll
    for (int v = 0; v < VECTOR; v++) peak[v] = JoinPeaks()(peak[v], some[v]);
  }
  join_lines(peak, scratch, JoinPeaks());
  Real scale[VECTOR];
#pragma unroll
  for (int v = 0; v < VECTOR; v++) scale[v] = LOG ? logarithm(peak[v].sum) : 1 / peak[v].sum;
  for (long long c = threadIdx.x / ACROSS; c < end; c += LINES) {
    Pack part = at(x + start + c * inner);
#pragma unroll
    for (int v = 0; v < VECTOR; v++) {
      const Real shifted = Real(part.at[v]) - peak[v].most;
      part.at[v] = convert<TYPE>(LOG ? shifted - scale[v] : exponential(shifted) * scale[v]);
    }
    *reinterpret_cast<Pack*>(out + start + c * inner) = part;
  }
}

extern "C" __global__ void __launch_bounds__(THREADS, 2)
    softmax_columns(TYPE* out, const TYPE* x, long long columns, long long inner) {
  __shared__ Peak scratch[THREADS];
  forward<false>(out, x, columns, inner, scratch);
}
EXPORT_KERNEL(softmax_columns)

extern "C" __global__ void __launch_bounds__(THREADS, 2)
    log_softmax_columns(TYPE* out, const TYPE* x, long long columns, long long inner) {
  __shared__ Peak scratch[THREADS];
  forward<true>(out, x, columns, inner, scratch);
}
EXPORT_KERNEL(log_softmax_columns)

// The gradient of x for the gradient g of y, which is softmax(x) or log_softmax(x).
template <bool LOG>
DEVICE_INLINE void backward(TYPE* out, const TYPE* g, const TYPE* y, long long columns, long long inner,
                            Real* scratch) {
  const long long start = begin(columns, inner), end = start < 0 ? 0 : columns;
  Real sum[VECTOR];
#pragma unroll
  for (int v = 0; v < VECTOR; v++) sum[v] = 0;
#pragma unroll 2
  for (long long c = threadIdx.x / ACROSS; c < end; c += LINES) {
    const Pack a = at(g + start + c * inner);
    if constexpr (LOG) {
#pragma unroll
      for (int v = 0; v < VECTOR; v++) sum[v] += Real(a.at[v]);
    } else {
      const Pack b = at(y + start + c * inner);
#pragma unroll
      for (int v = 0; v < VECTOR; v++) sum[v] += Real(a.at[v]) * Real(b.at[v]);
    }
  }
  join_lines(sum, scratch, Plus());
  for (long long c = threadIdx.x / ACROSS; c < end; c += LINES) {
    Pack a = at(g + start + c * inner);
    const Pack b = at(y + start + c * inner);
#pragma unroll
    for (int v = 0; v < VECTOR; v++) {
      const Real g_here = a.at[v], y_here = b.at[v];
      a.at[v] = convert<TYPE>(LOG ? g_here - exponential(y_here) * sum[v] : y_here * (g_here - sum[v]));
    }
    *reinterpret_cast<Pack*>(out + start + c * inner) = a;
  }
}

extern "C" __global__ void __launch_bounds__(THREADS, 2)
    softmax_columns_backward(TYPE* out, const TYPE* g, const TYPE* y, long long columns, long long inner) {
  __shared__ Real scratch[THREADS];
  backward<false>(out, g, y, columns, inner, scratch);
}
EXPORT_KERNEL(softmax_columns_backward)

extern "C" __global__ void __launch_bounds__(THREADS, 2)
    log_softmax_columns_backward(TYPE* out, const TYPE* g, const TYPE* y, long long columns, long long inner) {
  __shared__ Real scratch[THREADS];
  backward<true>(out, g, y, columns, inner, scratch);
}
EXPORT_KERNEL(log_softmax_columns_backward)
