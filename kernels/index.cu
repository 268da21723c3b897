// Taking by index, of arrays in C order. An index below zero counts from the end; one out of range is noted
// in the flag word, and zeros are taken for it.
//
// Defines:
//   WORD     what take moves: 1, 2, 4, 8 or 16 bytes;   INDEX   int32_t | int64_t
#include "common.cuh"
#include "flags.cuh"

constexpr int THREADS = 256;

// The row that `index` names among n, or -1.
DEVICE_INLINE long long row_of(long long index, long long n) {
  if (index < 0) index += n;
  return index < 0 || index >= n ? -1 : index;
}

// out (outer, count, inner) = x (outer, n, inner)[:, indices (count)]
// One block per multiprocessor is asked for: left to itself, ptxas keeps to few registers and spills.
extern "C" __global__ void __launch_bounds__(THREADS, 1)
    take(WORD* out, const WORD* x, const INDEX* indices, long long outer, long long n, long long count, long long inner,
         void* flag, unsigned long long what) {
  const long long size = outer * count * inner, step = (long long)(gridDim.x) * THREADS;
  for (long long i = blockIdx.x * (long long)(THREADS) + threadIdx.x; i < size; i += step) {
    const bool small = size < 1LL << 31;  // 32-bit divisions take a fifth of the time
    const long long place = small ? unsigned(i) / unsigned(inner) : i / inner, column = i - place * inner;
    const long long above = small ? unsigned(place) / unsigned(count) : place / count, k = place - above * count;
    const long long row = row_of(indices[k], n);
    if (row < 0) {
      if (column == 0 && above == 0) raise_flag(static_cast<FlagWord*>(flag), what, indices[k], k);
      out[i] = WORD{};
    } else {
      out[i] = x[(above * n + row) * inner + column];
    }
  }
}
EXPORT_KERNEL(take)

// out (outer, m, inner) = x (outer, n, inner) at [o, indices (outer, m, inner), i]
extern "C" __global__ void __launch_bounds__(THREADS)
    take_along_axis(WORD* out, const WORD* x, const INDEX* indices, long long outer, long long n, long long m,
                    long long inner, void* flag, unsigned long long what) {
  const long long size = outer * m * inner, step = (long long)(gridDim.x) * THREADS;
  for (long long i = blockIdx.x * (long long)(THREADS) + threadIdx.x; i < size; i += step) {
    const long long column = i % inner, above = i / inner / m;
    const long long row = row_of(indices[i], n);
    if (row < 0) raise_flag(static_cast<FlagWord*>(flag), what, indices[i], i);
    out[i] = row < 0 ? WORD{} : x[(above * n + row) * inner + column];
  }
}
EXPORT_KERNEL(take_along_axis)
