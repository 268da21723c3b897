// out[i] = EXPRESSION of a[i], b[i], ... (arrays or numbers), with strides and broadcasting. Memory bound: threads walk
// vectors of 16 bytes where every operand lies so, single elements elsewhere, in a grid-stride loop.
//
// Defines:
//   PARAMETERS      how the operands are declared, each after a comma: const TYPE* of an array, else a number
//   EACH_OPERAND    OPERAND(k, x, SEEN) for each of them: its number from 0, its name, the type that the expression sees
//   ARITY           how many there are
//   EXPRESSION      a C expression over their names, the position i in the order of the walk, and p, q, r
//   OUT             element type of out, to which the value is converted
//   VECTOR          elements of a vector
//   WIDE            1: 64-bit indices
#include "expressions.cuh"

constexpr int THREADS = 256;
using Index = typename Choose<WIDE, unsigned long long, unsigned>::type;
using Offset = typename Choose<WIDE, long long, int>::type;

// `Plan.layout` of python/weft/backends/gpu/maps.py packs the same.
struct Map {
  long long size;            // elements of out
  int vectors;               // 1: every row of every operand that has one after the other may be accessed in vectors
  Layout<ARITY + 1> layout;  // out, then the operands
  long long p, q, r;
};

#define OPERAND(k, x, SEEN) , SEEN x
DEVICE_INLINE auto evaluate(long long i, long long p, long long q, long long r EACH_OPERAND) { return EXPRESSION; }
#undef OPERAND

// Elements of an array: N neighbours of the walk, `count` of them inside.
template <int N, class As, class T>
DEVICE_INLINE void load(As (&x)[N], const T* from, Offset at, Offset stride, int count) {
  from += at;
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

template <int N, class As, class Number>
DEVICE_INLINE void load(As (&x)[N], Number value, Offset, Offset, int) {
#pragma unroll
  for (int v = 0; v < N; v++) x[v] = convert<As>(value);
}

template <int N>
DEVICE_INLINE void walk(OUT* out, const Map& map PARAMETERS) {
  const Index size = Index(map.size), step = Index(gridDim.x) * (THREADS * N);
  for (Index first = (Index(blockIdx.x) * THREADS + threadIdx.x) * N; first < size; first += step) {
    const int count = size - first < Index(N) ? int(size - first) : N;
    Offset at[ARITY + 1];
    map.layout.locate(first, at);
#define OPERAND(k, x, SEEN) \
  SEEN x##_values[N];       \
  load<N>(x##_values, x, at[k + 1], Offset(map.layout.strides[k + 1][0]), count);
    EACH_OPERAND
#undef OPERAND
    Vector<OUT, N> result;
#pragma unroll
    for (int v = 0; v < N; v++) {
#define OPERAND(k, x, SEEN) , x##_values[v]
      result.at[v] = convert<OUT>(evaluate((long long)(first) + v, map.p, map.q, map.r EACH_OPERAND));
#undef OPERAND
    }
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

// How many blocks per multiprocessor leave the registers that are needed: left to itself, ptxas keeps to few and spills.
constexpr int BLOCKS = sizeof(OUT) == 8 ? 1 : VECTOR == 16 && is_same<OUT, bool> ? 4 : 0;

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) map(OUT* out, const Map layout PARAMETERS) {
#define OPERAND(k, x, SEEN) , x
  if (layout.vectors)
    walk<VECTOR>(out, layout EACH_OPERAND);
  else
    walk<1>(out, layout EACH_OPERAND);
#undef OPERAND
}
EXPORT_KERNEL(map)
