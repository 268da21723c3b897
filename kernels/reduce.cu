// Reductions over any axes of a strided array, in an order that only shapes decide. The host (gpu/reduce.py) sorts the
// dimensions into kept and reduced ones and chooses among three shapes of work:
//
//   reduce_rows      the reduced dimension is the innermost in memory: 4, 32 or 256 threads read a row side by side
//   reduce_columns   a kept dimension is: 32 neighbouring threads read neighbouring columns, 8 of such lines (or one
//                    of 256) walk down the rows
//   reduce_partials  the second pass, where rows were cut into `splits` parts to occupy the device: 32 threads per result
//
// Sums are taken over sixteen elements, then over those sums, so that rounding errors grow as in pairwise summation.
//
// Defines: OPERATION, IN, ACCUMULATE (operations.cuh);   OUT   type of results;   VECTOR   elements that are read at once;
//   WIDE   1: 64-bit indices.
#include "operations.cuh"

constexpr int THREADS = 256, CHUNK = 16;
using Index = typename Choose<WIDE, unsigned long long, unsigned>::type;
using Offset = typename Choose<WIDE, long long, int>::type;
using Accumulator = OPERATION::Accumulator;

// `describe` of python/weft/backends/gpu/reduce.py packs the same.
struct Reduction {
  Layout<1> kept, reduced;
  long long outputs;  // elements of the result
  long long count;    // elements that go into each
  long long part;     // of which each block takes so many
  int splits;         // how often a row is cut
  int vectors;        // 1: reads are of VECTOR elements
  int lanes;          // threads per row, or lines of threads per column
};

struct Combine {
  DEVICE_INLINE Accumulator operator()(Accumulator a, Accumulator b) const { return OPERATION::combine(a, b); }
};

DEVICE_INLINE void write(OUT* out, Accumulator* partials, const Reduction& r, Index output, Accumulator total) {
  if (r.splits == 1)
    out[output] = convert<OUT>(OPERATION::finish(total, r.count));
  else
    partials[(long long)(output)*r.splits + blockIdx.y] = total;
}

template <int LANES, int N>
DEVICE_INLINE Accumulator reduce_row(const IN* row, const Reduction& r, Index start, Index end) {
  Accumulator total = OPERATION::identity();
  Index i = start + Index(threadIdx.x % LANES) * N;
  while (i < end) {
    Accumulator part[N];
#pragma unroll
    for (int v = 0; v < N; v++) part[v] = OPERATION::identity();
#pragma unroll 4
    for (int k = 0; k < CHUNK && i < end; k++, i += LANES * N) {
      Offset at[1];
      r.reduced.locate(i, at);
      if (N > 1 && end - i >= Index(N)) {
        const Vector<IN, N> x = *reinterpret_cast<const Vector<IN, N>*>(row + at[0]);
#pragma unroll
        for (int v = 0; v < N; v++) part[v] = OPERATION::add(part[v], x.at[v], (long long)(i) + v);
      } else {
#pragma unroll
        for (int v = 0; v < N; v++)
          if (i + v < end) part[v] = OPERATION::add(part[v], row[at[0] + v], (long long)(i) + v);
      }
    }
#pragma unroll
    for (int v = 1; v < N; v++) part[0] = OPERATION::combine(part[0], part[v]);
    total = OPERATION::combine(total, part[0]);
  }
  return total;
}

template <int LANES>
DEVICE_INLINE void rows(OUT* out, const IN* in, Accumulator* partials, const Reduction& r, Accumulator* scratch) {
  const Index output = Index(blockIdx.x) * (THREADS / LANES) + threadIdx.x / LANES;
  const bool inside = output < Index(r.outputs);
  const Index start = Index(r.part) * blockIdx.y;
  const Index last = Index(r.count) - start < Index(r.part) ? Index(r.count) : start + Index(r.part);
  const Index end = inside ? last : start;  // threads without a row still take part in the reduction
  Offset base[1] = {0};
  if (inside) r.kept.locate(output, base);
  Accumulator total = r.vectors ? reduce_row<LANES, VECTOR>(in + base[0], r, start, end)
                                : reduce_row<LANES, 1>(in + base[0], r, start, end);
  if constexpr (LANES > 32)
    total = block_reduce<THREADS>(total, scratch, OPERATION::identity(), Combine());
  else
    total = warp_reduce<LANES>(total, Combine());
  if (inside && threadIdx.x % LANES == 0) write(out, partials, r, output, total);
}

// One block per multiprocessor is asked for: left to itself, ptxas keeps more blocks there, and spills.
extern "C" __global__ void __launch_bounds__(THREADS, 1)
    reduce_rows(OUT* out, const IN* in, void* partials, const Reduction reduction) {
  __shared__ Accumulator scratch[THREADS / 32];
  Accumulator* parts = static_cast<Accumulator*>(partials);
  if (reduction.lanes == 4)
    rows<4>(out, in, parts, reduction, scratch);
  else if (reduction.lanes == 32)
    rows<32>(out, in, parts, reduction, scratch);
  else
    rows<THREADS>(out, in, parts, reduction, scratch);
}
EXPORT_KERNEL(reduce_rows)

// Column number `column` and the N - 1 after it. LINES threads share a column: line number l takes rows l, l + LINES, ...
template <int LINES, int N>
DEVICE_INLINE void columns(OUT* out, const IN* in, Accumulator* partials, const Reduction& r, Accumulator* scratch) {
  constexpr int ACROSS = THREADS / LINES;
  const int lane = threadIdx.x % ACROSS, line = threadIdx.x / ACROSS;
  const Index column = (Index(blockIdx.x) * ACROSS + lane) * N, outputs = Index(r.outputs);
  const int inside = column >= outputs ? 0 : outputs - column < Index(N) ? int(outputs - column) : N;
  const Index start = Index(r.part) * blockIdx.y;
  const Index end = Index(r.count) - start < Index(r.part) ? Index(r.count) : start + Index(r.part);
  Offset base[1] = {0};
  if (inside) r.kept.locate(column, base);
  const IN* top = in + base[0];

  Accumulator total[N];
#pragma unroll
  for (int v = 0; v < N; v++) total[v] = OPERATION::identity();
  Index i = start + line;
  while (inside && i < end) {
    Accumulator part[N];
#pragma unroll
    for (int v = 0; v < N; v++) part[v] = OPERATION::identity();
#pragma unroll 4
    for (int k = 0; k < CHUNK && i < end; k++, i += LINES) {
      Offset at[1];
      r.reduced.locate(i, at);
      if (N == 1 || inside == N) {
        const Vector<IN, N> x = *reinterpret_cast<const Vector<IN, N>*>(top + at[0]);
#pragma unroll
        for (int v = 0; v < N; v++) part[v] = OPERATION::add(part[v], x.at[v], (long long)(i));
      } else {
#pragma unroll
        for (int v = 0; v < N; v++)
          if (v < inside) part[v] = OPERATION::add(part[v], top[at[0] + v], (long long)(i));
      }
    }
#pragma unroll
    for (int v = 0; v < N; v++) total[v] = OPERATION::combine(total[v], part[v]);
  }
  if constexpr (LINES > 1) {
#pragma unroll
    for (int v = 0; v < N; v++) {
      __syncthreads();  // the lines of the value before are read
      scratch[threadIdx.x] = total[v];
      __syncthreads();
      if (line == 0)
        for (int l = 1; l < LINES; l++) total[v] = OPERATION::combine(total[v], scratch[l * ACROSS + lane]);
    }
  }
  if (line == 0) {
#pragma unroll
    for (int v = 0; v < N; v++)
      if (v < inside) write(out, partials, r, column + v, total[v]);
  }
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    reduce_columns(OUT* out, const IN* in, void* partials, const Reduction reduction) {
  __shared__ Accumulator scratch[THREADS];
  Accumulator* parts = static_cast<Accumulator*>(partials);
  if (reduction.lanes == 1) {
    if (reduction.vectors)
      columns<1, VECTOR>(out, in, parts, reduction, scratch);
    else
      columns<1, 1>(out, in, parts, reduction, scratch);
  } else {
    if (reduction.vectors)
      columns<8, VECTOR>(out, in, parts, reduction, scratch);
    else
      columns<8, 1>(out, in, parts, reduction, scratch);
  }
}
EXPORT_KERNEL(reduce_columns)

extern "C" __global__ void __launch_bounds__(THREADS)
    reduce_partials(OUT* out, const void* partials, int splits, long long outputs, long long count) {
  const long long output = blockIdx.x * (THREADS / 32LL) + threadIdx.x / 32;
  const Accumulator* parts = static_cast<const Accumulator*>(partials) + output * splits;
  Accumulator total = OPERATION::identity();
  if (output < outputs)
    for (int i = threadIdx.x % 32; i < splits; i += 32) total = OPERATION::combine(total, parts[i]);
  total = warp_reduce<32>(total, Combine());
  if (output < outputs && threadIdx.x % 32 == 0) out[output] = convert<OUT>(OPERATION::finish(total, count));
}
EXPORT_KERNEL(reduce_partials)
