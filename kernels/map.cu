// out[i] = EXPRESSION of a[i], b[i], c[i] (up to three arrays or numbers), with strides and broadcasting. Memory bound:
// threads walk vectors of 16 bytes where every operand lies so, single elements elsewhere, in a grid-stride loop.
//
// Defines:
//   EXPRESSION      a C expression over a, b, c, the position i in the order of the walk, and p, q, r
//   ARITY           how many of a, b, c there are;   SCALARS   bit k set: operand k is a number, passed by value
//   TYPE_A, TYPE_B, TYPE_C   element types in memory;   SEEN_A, SEEN_B, SEEN_C   the types that the expression sees
//   OUT             element type of out, to which the value is converted;   SCALAR   type of numbers
//   VECTOR          elements of a vector
//   WIDE            1: 64-bit indices
#include "expressions.cuh"

constexpr int THREADS = 256;
using Index = typename Choose<WIDE, unsigned long long, unsigned>::type;
using Offset = typename Choose<WIDE, long long, int>::type;

// `Plan.layout` of python/weft/backends/gpu/maps.py packs the same.
struct Map {
  long long size;    // elements of out
  int vectors;       // 1: every row of every operand that has one after the other may be accessed in vectors
  Layout<4> layout;  // out, a, b, c
  long long p, q, r;
};

DEVICE_INLINE auto evaluate(SEEN_A a, SEEN_B b, SEEN_C c, long long i, long long p, long long q, long long r) {
  return EXPRESSION;
}

// Elements of one operand: N neighbours of the walk, `count` of them inside.
template <int N, class As, class T>
DEVICE_INLINE void load(As (&x)[N], const T* from, Offset stride, int count) {
  if (stride == 1 && count == N) {
    const Vector<T, N> values = *reinterpret_cast<const Vector<T, N>*>(from);
#pragma unroll
    for (int v = 0; v < N; v++) x[v] = convert<As>(values.at[v]);
  } else if (stride == 0) {
    const As value = convert<As>(*from);
#pragma unroll
    for (int v = 0; v < N; v++) x[v] = value;
  } else {
#pragma unroll
    for (int v = 0; v < N; v++) x[v] = v < count ? convert<As>(from[Offset(v) * stride]) : As{};
  }
}

template <int N, class As>
DEVICE_INLINE void fill(As (&x)[N], SCALAR value) {
#pragma unroll
  for (int v = 0; v < N; v++) x[v] = convert<As>(value);
}

template <int N>
DEVICE_INLINE void walk(OUT* out, const TYPE_A* a, const TYPE_B* b, const TYPE_C* c, SCALAR a_scalar, SCALAR b_scalar,
                        SCALAR c_scalar, const Map& map) {
  SEEN_A x[N] = {};
  SEEN_B y[N] = {};
  SEEN_C z[N] = {};
  if constexpr (SCALARS & 1) fill(x, a_scalar);
  if constexpr (SCALARS & 2) fill(y, b_scalar);
  if constexpr (SCALARS & 4) fill(z, c_scalar);
  const Index size = Index(map.size), step = Index(gridDim.x) * (THREADS * N);
  for (Index first = (Index(blockIdx.x) * THREADS + threadIdx.x) * N; first < size; first += step) {
    const int count = size - first < Index(N) ? int(size - first) : N;
    Offset at[4];
    map.layout.locate(first, at);
    if constexpr (ARITY > 0 && !(SCALARS & 1)) load<N>(x, a + at[1], Offset(map.layout.strides[1][0]), count);
    if constexpr (ARITY > 1 && !(SCALARS & 2)) load<N>(y, b + at[2], Offset(map.layout.strides[2][0]), count);
    if constexpr (ARITY > 2 && !(SCALARS & 4)) load<N>(z, c + at[3], Offset(map.layout.strides[3][0]), count);
    Vector<OUT, N> result;
#pragma unroll
    for (int v = 0; v < N; v++)
      result.at[v] = convert<OUT>(evaluate(x[v], y[v], z[v], (long long)(first) + v, map.p, map.q, map.r));
    const Offset stride = Offset(map.layout.strides[0][0]);
    if (stride == 1 && count == N) {
      *reinterpret_cast<Vector<OUT, N>*>(out + at[0]) = result;
    } else {
#pragma unroll
      for (int v = 0; v < N; v++)
        if (v < count) out[at[0] + Offset(v) * stride] = result.at[v];
    }
  }
}

// Of 8 bytes, one block per multiprocessor is asked for: left to itself, ptxas keeps to few registers and spills.
extern "C" __global__ void __launch_bounds__(THREADS, sizeof(OUT) == 8 ? 1 : 0)
    map(OUT* out, const TYPE_A* a, const TYPE_B* b, const TYPE_C* c, SCALAR a_scalar, SCALAR b_scalar, SCALAR c_scalar,
        const Map layout) {
  if (layout.vectors)
    walk<VECTOR>(out, a, b, c, a_scalar, b_scalar, c_scalar, layout);
  else
    walk<1>(out, a, b, c, a_scalar, b_scalar, c_scalar, layout);
}
EXPORT_KERNEL(map)
