// Rotary position embedding: element i of the first half of a row and element i of the second are turned by the angle of
// the row's position, given as tables of cosines and sines. Su et al., "RoFormer" (2021), with the halves of GPT-NeoX.
// Memory bound: a thread turns VECTOR pairs, two accesses of 16 bytes each way.
//
// Defines:
//   TYPE    element type of x and out;   TABLE   of the tables
//   VECTOR  pairs of a thread where rows allow it;   WIDE   1: 64-bit indices
#include "common.cuh"

constexpr int THREADS = 256;
using Real = Wide<TYPE>;
using Index = typename Choose<WIDE, unsigned long long, unsigned>::type;

// `Walk.packed` of python/weft/backends/gpu/walk.py: `size` vectors of pairs, and where they lie in out, x and tables.
struct Operands {
  long long size;
  Layout<3> layout;
};

template <int N>
DEVICE_INLINE void turn(TYPE* out, const TYPE* x, const TABLE* cosines, const TABLE* sines, const Operands& operands,
                        int half) {
  using Row = Vector<TYPE, N>;
  using Angles = Vector<TABLE, N>;
  const Index size = Index(operands.size), step = Index(gridDim.x) * THREADS;
  for (Index i = Index(blockIdx.x) * THREADS + threadIdx.x; i < size; i += step) {
    long long at[3];
    operands.layout.locate(i, at);
    const Row a = *reinterpret_cast<const Row*>(x + at[1]), b = *reinterpret_cast<const Row*>(x + at[1] + half);
    const Angles c = *reinterpret_cast<const Angles*>(cosines + at[2]);
    const Angles s = *reinterpret_cast<const Angles*>(sines + at[2]);
    Row first, second;
#pragma unroll
    for (int v = 0; v < N; v++) {
      const Real p = convert<Real>(a.at[v]), q = convert<Real>(b.at[v]);
      const Real cosine = convert<Real>(c.at[v]), sine = convert<Real>(s.at[v]);
      first.at[v] = convert<TYPE>(p * cosine - q * sine);
      second.at[v] = convert<TYPE>(q * cosine + p * sine);
    }
    *reinterpret_cast<Row*>(out + at[0]) = first;
    *reinterpret_cast<Row*>(out + at[0] + half) = second;
  }
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    rope(TYPE* out, const TYPE* x, const TABLE* cosines, const TABLE* sines, const Operands operands, int half,
         int vectors) {
  if (vectors)
    turn<VECTOR>(out, x, cosines, sines, operands, half);
  else
    turn<1>(out, x, cosines, sines, operands, half);
}
EXPORT_KERNEL(rope)
