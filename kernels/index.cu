// Taking and adding by index, of arrays in C order. An index below zero counts from the end; one out of range is noted
// in the flag word, and zeros are taken for it.
//
// Defines:
//   WORD     what take moves: 1, 2, 4, 8 or 16 bytes;   INDEX   int32_t | int64_t
//   TYPE     element type of sums;   ACCUMULATE   type they are added in
#include "common.cuh"
#include "flags.cuh"

constexpr int THREADS = 256, CHUNK = 128;

// The row that `index` names among n, or -1.
DEVICE_INLINE long long row_of(long long index, long long n) {
  if (index < 0) index += n;
  return index < 0 || index >= n ? -1 : index;
}

// out (outer, count, inner) = x (outer, n, inner)[:, indices (count)]
extern "C" __global__ void __launch_bounds__(THREADS)
    take(WORD* out, const WORD* x, const INDEX* indices, long long outer, long long n, long long count, long long inner,
         void* flag, unsigned long long what) {
  const long long size = outer * count * inner, step = (long long)(gridDim.x) * THREADS;
  for (long long i = blockIdx.x * (long long)(THREADS) + threadIdx.x; i < size; i += step) {
    const bool small = size < 1LL << 31;  // 32-bit divisions take a fifth of the time
    const long long place = small ? unsigned(i) / unsigned(inner) : i / inner, column = i - place * inner;
    const long long above = small ? unsigned(place) / unsigned(count) : place / count, k = place - above * count;
    const long long row = row_of(indices[k], n);
    if (row < 0) {
      if (column == 0 && above == 0) raise_flag(static_cast<FlagWord*>(flag), what, indices[k]);
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
    if (row < 0) raise_flag(static_cast<FlagWord*>(flag), what, indices[i]);
    out[i] = row < 0 ? WORD{} : x[(above * n + row) * inner + column];
  }
}
EXPORT_KERNEL(take_along_axis)

// Notes one of `indices` that is neither in [0, n) nor `ignored`: for tables where none counts from the end.
extern "C" __global__ void __launch_bounds__(THREADS)
    check_range(const INDEX* indices, long long size, long long n, long long ignored, void* flag,
                unsigned long long what) {
  const long long step = (long long)(gridDim.x) * THREADS;
  for (long long i = blockIdx.x * (long long)(THREADS) + threadIdx.x; i < size; i += step) {
    const long long index = indices[i];
    if ((index < 0 || index >= n) && index != ignored) raise_flag(static_cast<FlagWord*>(flag), what, index);
  }
}
EXPORT_KERNEL(check_range)

// -- sums of rows by index. `sorted` (count) are the indices in ascending order, `order` where each was: equal ones stand
// side by side, in their order. A warp takes a chunk of them for 32 columns. The sum of a run of equal indices that lies
// in one chunk goes to its row; of a run that began in a chunk before, to `heads`; of one that only begins, to `tails`.
// The second kernel adds those up. No sum depends on which warp is first.

struct Run {
  const INDEX* sorted;
  long long count;

  DEVICE_INLINE bool crosses(long long place) const {  // whether a run goes on from place - 1 to place
    return place > 0 && place < count && sorted[place] == sorted[place - 1];
  }
};

// One block per multiprocessor is asked for: left to itself, ptxas keeps to 32 registers and spills.
extern "C" __global__ void __launch_bounds__(THREADS, 1)
    scatter_add(TYPE* out, const TYPE* g, const INDEX* sorted, const int64_t* order, ACCUMULATE* heads,
                ACCUMULATE* tails, long long rows, long long count, long long width, void* flag,
                unsigned long long what) {
  const long long chunk = blockIdx.x * (THREADS / 32LL) + threadIdx.x / 32;
  const long long column = blockIdx.y * 32LL + threadIdx.x % 32;
  const long long begin = chunk * CHUNK, end = begin + CHUNK < count ? begin + CHUNK : count;
  if (begin >= count || column >= width) return;
  const Run run{sorted, count};
  bool head = run.crosses(begin);
  ACCUMULATE sum = 0;
  for (long long place = begin; place < end; place++) {
    sum += convert<ACCUMULATE>(g[order[place] * width + column]);
    const bool more = run.crosses(place + 1);
    if (more && place + 1 < end) continue;
    const long long row = sorted[place];
    if (head)
      heads[chunk * width + column] = sum;
    else if (more)
      tails[chunk * width + column] = sum;
    else if (row >= 0 && row < rows)
      out[row * width + column] = convert<TYPE>(sum);
    else if (column == 0)
      raise_flag(static_cast<FlagWord*>(flag), what, row);
    head = false;
    sum = 0;
  }
}
EXPORT_KERNEL(scatter_add)

extern "C" __global__ void __launch_bounds__(THREADS)
    scatter_add_runs(TYPE* out, const INDEX* sorted, const ACCUMULATE* heads, const ACCUMULATE* tails, long long rows,
                     long long count, long long width, void* flag, unsigned long long what) {
  const long long chunk = blockIdx.x * (THREADS / 32LL) + threadIdx.x / 32;
  const long long column = blockIdx.y * 32LL + threadIdx.x % 32;
  const long long begin = chunk * CHUNK, end = begin + CHUNK;
  const Run run{sorted, count};
  if (end >= count || column >= width || !run.crosses(end)) return;
  if (run.crosses(begin) && sorted[begin] == sorted[end]) return;  // the run began before this chunk
  const long long row = sorted[end];
  ACCUMULATE sum = tails[chunk * width + column];
  for (long long next = chunk + 1; next * CHUNK < count && sorted[next * CHUNK] == row; next++)
    sum += heads[next * width + column];
  if (row >= 0 && row < rows)
    out[row * width + column] = convert<TYPE>(sum);
  else if (column == 0)
    raise_flag(static_cast<FlagWord*>(flag), what, row);
}
EXPORT_KERNEL(scatter_add_runs)
